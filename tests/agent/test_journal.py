"""A running agent's journal, repeated; and what becomes of an agent whose journal cannot be written any more."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.agent.site import Done, Site
from tests.lab.routes import RandomRoutes


def reachable_routes(site: Site) -> RandomRoutes:
    """Return routes whose gateways are on the site's links."""
    for number in (0, 1):
        site.router.ip(f"addr del 10.0.{number}.1/24 dev e{number}")
        site.router.ip(f"addr add 10.{number}.0.1/16 dev e{number}")
    return RandomRoutes(7, links=2, groups=20)


def churn(site: Site) -> None:
    """Let much happen, in several rounds."""
    routes = reachable_routes(site)
    for lines in (routes.add(300), ["link set e1 down", "link set e1 up"], routes.change(300), ["link del e0"]):
        site.router.ip_batch(list(lines), force=True)
        site.wait()


def replayed(site: Site, path: Path) -> dict[str, object]:
    done = site.command("replay", "--json", str(path))
    assert done.status == (0 if json.loads(done.out)["same"] else 1), done
    verdict: dict[str, object] = json.loads(done.out)
    return verdict


def test_a_journal_repeats_every_decision(site: Site) -> None:
    path = site.lab.folder / "journal"
    site.config.write_text("[kernel]\nreceive_buffer_bytes = 4096\n")
    agent = site.start("--journal", str(path))
    churn(site)
    assert site.json("status")["overflows"] > 0
    agent.stop()
    verdict = replayed(site, path)
    assert (verdict["same"], verdict["torn"], verdict["full"]) == (True, False, False)
    done = site.command("replay", str(path))
    assert (0, "") == (done.status, done.err)
    assert done.out.startswith("the same decisions: ")


@pytest.mark.kernel("seg6")
def test_encapsulating_routes_are_repeated(site: Site) -> None:
    path = site.lab.folder / "journal"
    segments = "encap seg6 mode encap segs 2001:db8:a::1,2001:db8:a::4"
    agent = site.start("--journal", str(path))
    for line in (
        f"route add 192.0.2.0/24 {segments} via 10.0.0.2",
        f"route replace 192.0.2.0/24 nexthop {segments} via 10.0.0.2 nexthop via 10.0.1.2",
        "route add 198.51.100.0/24 encap ip id 1 src 10.0.0.1 dst 10.0.1.2 dev e0",
        "addr del 2001:db8::1/64 dev e0",
        "addr del 2001:db8:1::1/64 dev e1",
        "route del 192.0.2.0/24",
    ):
        site.router.ip(line)
        site.wait()
    agent.stop()
    assert replayed(site, path)["same"]


def test_a_journal_of_a_killed_agent_is_repeated_and_the_next_agent_begins_a_new_one(site: Site) -> None:
    path = site.lab.folder / "journal"
    site.config.write_text(f'[journal]\nfile = "{path}"\n')
    agent = site.start()
    churn(site)
    agent.kill()
    site.start()
    assert replayed(site, path.with_name("journal.1"))["same"]
    assert replayed(site, path)["same"]


def test_a_reload_is_repeated(site: Site) -> None:
    path = site.lab.folder / "journal"
    agent = site.start("--journal", str(path))
    site.router.ip("route add 192.0.2.0/24 via 10.0.0.2")
    site.config.write_text('[mirror]\nignore = ["e0"]\n')
    site.router.run("kill", "-HUP", str(agent.pid))
    agent.wait_for(lambda: "agent.reloaded" in agent.text(), "the reload")
    site.wait()
    agent.stop()
    assert replayed(site, path)["same"]


def test_a_full_journal_ends_and_the_mirror_goes_on(site: Site) -> None:
    path = site.lab.folder / "journal"
    site.config.write_text(f'[journal]\nfile = "{path}"\nmax_bytes = 65536\n')
    agent = site.start()
    routes = reachable_routes(site)
    site.router.ip_batch(list(routes.add(5000)))
    site.wait()
    assert agent.text().count("journal.filled") == 1
    assert path.stat().st_size <= 65536
    assert site.rtagent("diff").status == 0
    verdict = replayed(site, path)
    assert (verdict["same"], verdict["full"]) == (True, True)


def test_a_journal_on_a_full_disk_is_told_once_and_the_mirror_goes_on(site: Site) -> None:
    agent = site.start("--journal", "/dev/full")
    churn(site)
    assert agent.text().count("journal.write_failed") == 1
    assert Path("/dev/full").is_char_device()
    assert site.rtagent("diff").status == 0


def test_a_journal_that_cannot_be_begun_is_trouble(site: Site) -> None:
    done = site.rtagent("run", "--dataplane", "memory", "--journal", "/nowhere/journal")
    assert done == Done(2, "", "rtagent: /nowhere/journal: No such file or directory\n")


def test_what_is_no_journal_is_trouble(site: Site) -> None:
    path = site.lab.folder / "no-journal"
    assert site.command("replay", str(path)) == Done(2, "", f"rtagent: {path}: No such file or directory\n")
    path.write_text("hello\n")
    done = site.command("replay", str(path))
    assert (2, "") == (done.status, done.out)
    assert "not a journal of this version" in done.err
