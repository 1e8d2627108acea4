"""The commands, as a user meets them: an agent with a memory FIB, real Netlink, exit codes and JSON."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import pytest

from tests.agent.site import RTAGENT, Done, Site
from tests.lab.lab import wait_for

CONNECTED = {"10.0.0.0/24", "10.0.1.0/24", "2001:db8::/64", "2001:db8:1::/64"}


def test_fib_shows_every_kernel_route_in_the_words_of_the_contract(site: Site) -> None:
    site.router.ip("route add 192.0.2.0/24 nexthop via 10.0.0.2 weight 3 nexthop via 10.0.1.2 weight 5")
    site.router.ip("route add blackhole 198.51.100.0/24")
    site.router.ip("route add unreachable 2001:db8:a::/48")
    site.router.ip("route add prohibit 203.0.113.0/24 table 100")
    site.start()
    rows = {row["prefix"]: row for row in site.json("fib")}
    paths = [
        {"via": "10.0.0.2", "interface": "e0", "weight": 3, "labels": []},
        {"via": "10.0.1.2", "interface": "e1", "weight": 5, "labels": []},
    ]
    expected = {"family": "inet", "table": 254, "prefix": "192.0.2.0/24", "type": "unicast", "paths": paths}
    assert rows["192.0.2.0/24"] == expected | {"state": "installed", "reason": ""}
    assert {prefix: (row["type"], row["table"]) for prefix, row in rows.items() if row["type"] != "unicast"} == {
        "198.51.100.0/24": ("blackhole", 254),
        "2001:db8:a::/48": ("unreachable", 254),
        "203.0.113.0/24": ("prohibit", 100),
    }
    assert rows.keys() >= CONNECTED


def test_fib_selects_by_table_family_and_prefix(site: Site) -> None:
    site.router.ip("route add 192.0.2.0/24 via 10.0.0.2")
    site.router.ip("route add 192.0.2.0/24 via 10.0.0.2 table 100")
    site.start()
    assert site.prefixes("--table", "100") == {"192.0.2.0/24": "installed"}
    assert site.prefixes("--family", "inet6").keys() == {"2001:db8::/64", "2001:db8:1::/64"}
    assert [row["table"] for row in site.json("fib", "192.0.2.0/24")] == [100, 254]
    assert {row["prefix"] for row in site.json("fib", "192.0.2.77")} == {"192.0.2.0/24"}


def test_fib_of_a_prefix_that_is_not_there_says_no(site: Site) -> None:
    site.start()
    expected = "rtagent: no row for 192.0.2.0/24; rtagent explain 192.0.2.0/24 tells why\n"
    assert site.rtagent("fib", "192.0.2.0/24") == Done(1, "", expected)
    assert site.rtagent("fib", "192.0.2.0/24", "--json") == Done(1, "[]\n", "")


def test_fib_of_nonsense_is_trouble(site: Site) -> None:
    expected = "rtagent: 192.0.2.0/33: neither an address, a prefix, nor an MPLS label\n"
    assert site.rtagent("fib", "192.0.2.0/33") == Done(2, "", expected)


def test_a_change_is_in_the_fib_after_wait(site: Site) -> None:
    site.start()
    site.router.ip("route add 192.0.2.0/24 via 10.0.0.2")
    site.wait()
    assert site.json("fib", "192.0.2.0/24")[0]["paths"][0]["via"] == "10.0.0.2"
    site.router.ip("route replace 192.0.2.0/24 via 10.0.1.2")
    site.wait()
    assert site.json("fib", "192.0.2.0/24")[0]["paths"][0]["via"] == "10.0.1.2"
    site.router.ip("route del 192.0.2.0/24")
    site.wait()
    assert site.json("fib", "192.0.2.0/24") == []


def test_a_route_over_an_unpaired_link_is_parked_until_a_reload_pairs_it(site: Site) -> None:
    site.config.write_text('[[pairs]]\nhost = "e0"\nvpp = "port0"\n')
    agent = site.start()
    assert site.prefixes()["10.0.1.0/24"] == "parked"
    assert site.json("fib", "10.0.0.0/24")[0]["paths"][0]["interface"] == "port0"
    site.config.write_text('[[pairs]]\nhost = "e0"\nvpp = "port0"\n[[pairs]]\nhost = "e1"\nvpp = "port1"\n')
    os.kill(agent.pid, signal.SIGHUP)
    agent.wait_for(lambda: "agent.reloaded" in agent.text(), "the reload")
    site.wait()
    assert set(site.prefixes().values()) == {"installed"}


def test_a_reload_of_nonsense_changes_nothing_and_says_so(site: Site) -> None:
    agent = site.start()
    site.config.write_text("[[pairs]]\nhots = 3\n")
    os.kill(agent.pid, signal.SIGHUP)
    agent.wait_for(lambda: "agent.reload_refused" in agent.text(), "the refusal")
    assert "did you mean host?" in agent.text()
    assert site.prefixes().keys() == CONNECTED


def test_a_reload_names_what_takes_a_restart(site: Site) -> None:
    agent = site.start()
    site.config.write_text("[kernel]\nreceive_buffer_bytes = 65536\n")
    os.kill(agent.pid, signal.SIGHUP)
    agent.wait_for(lambda: "agent.restart_needed" in agent.text(), "the warning")
    assert '"settings": ["receive_buffer_bytes"]' in agent.text()


def test_links_that_are_ignored_are_neither_mirrored_nor_different(site: Site) -> None:
    site.config.write_text('[mirror]\nignore = ["e1"]\n')
    site.start()
    assert site.prefixes().keys() == {"10.0.0.0/24", "2001:db8::/64"}
    assert site.rtagent("diff").status == 0


def test_status_tells_health_rows_and_sources(site: Site) -> None:
    site.router.ip("route add 192.0.2.0/24 via 10.0.0.2 tos 0x10")
    site.start()
    done = site.rtagent("status", "--json")
    status = json.loads(done.out)
    assert (done.status, status["health"], status["in_sync"]) == (0, "ok", True)
    assert status["rows"] == {"installed": {"inet": 2, "inet6": 2}, "unsupported": {"inet": 1}}
    assert status["pairs"] == [{"host": name, "vpp": name, "state": "up"} for name in ("e0", "e1")]
    assert set(status["sources"].values()) == {"synced"}
    assert status["writes"] == 4


def test_diff_of_equals_is_empty(site: Site) -> None:
    site.start()
    assert site.rtagent("diff") == Done(0, "kernel and vpp are equal\n", "")
    assert site.rtagent("diff", "--json") == Done(0, "[]\n", "")


def test_diff_says_why_a_route_is_not_installed(site: Site) -> None:
    site.router.ip("route add 192.0.2.0/24 via 10.0.0.2 tos 0x10")
    site.router.ip("-6 route add 2001:db8:f::/48 from 2001:db8:e::/48 via 2001:db8::2")
    site.config.write_text('[[pairs]]\nhost = "e0"\nvpp = "e0"\n')
    site.start()
    done = site.rtagent("diff", "--between", "kernel,vpp", "--json")
    assert done.status == 1
    assert {row["prefix"]: row["why"] for row in json.loads(done.out)} == {
        "192.0.2.0/24": "unsupported",
        "2001:db8:f::/48": "unsupported",
        "10.0.1.0/24": "parked",
        "2001:db8:1::/64": "parked",
    }
    assert site.rtagent("diff", "--between", "desired,vpp").status == 0


def test_diff_does_not_count_what_the_kernel_itself_passes_over(site: Site) -> None:
    site.start()
    site.router.ip("route add 2001:db8:f:1::/64 via 2001:db8:1::2")
    site.router.ip("route add local 2001:db8:f::/48 dev lo table local")
    site.rtagent("wait", "--synced")
    assert site.json("diff") == []


def test_diff_between_nonsense_is_a_usage_error(site: Site) -> None:
    done = site.rtagent("diff", "--between", "kernel,kernel")
    assert (done.status, "two different ones of kernel, desired, vpp" in done.err) == (2, True)


def test_diff_of_a_memory_fib_without_its_agent_is_trouble(site: Site) -> None:
    done = site.rtagent("diff", "--dataplane", "memory", "--netns", site.router.name)
    assert (done.status, done.out) == (2, "")
    assert "the memory FIB lives in the agent" in done.err


def test_explain_follows_the_chain_to_the_interface(site: Site) -> None:
    site.router.ip("route add 192.0.2.0/24 via 10.0.0.2")
    site.start()
    answer = site.json("explain", "192.0.2.9")
    assert answer["broken"] is None
    assert [step["name"] for step in answer["steps"]] == [
        "kernel route", "best entry", "resolution", "data plane entry", "adjacency", "interface",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("destination", "broken", "text"),
    [
        ("198.51.100.9", "kernel route", "the kernel has no route for 198.51.100.9/32 in table 254"),
        ("2001:db8:f::1", "kernel route", "source-specific"),
        ("192.0.2.9", "resolution", "only for tos 0x10"),
        ("10.0.1.9", "resolution", "no pair for e1"),
        ("16", "kernel route", "the kernel has no route for 16"),
    ],
)
def test_explain_names_the_first_broken_link(site: Site, destination: str, broken: str, text: str) -> None:
    site.router.ip("route add 192.0.2.0/24 via 10.0.0.2 tos 0x10")
    site.router.ip("-6 route add 2001:db8:f::/48 from 2001:db8:e::/48 via 2001:db8::2")
    site.config.write_text('[[pairs]]\nhost = "e0"\nvpp = "e0"\n')
    site.start()
    answer = site.json("explain", destination)
    assert (answer["broken"], site.rtagent("explain", destination).status) == (broken, 1)
    assert text in answer["steps"][-1]["text"]


def test_explain_tells_of_a_neighbour_that_does_not_answer(site: Site) -> None:
    site.router.ip("route add 192.0.2.0/24 via 10.0.0.77")
    site.router.ip("neigh add 10.0.0.77 dev e0 nud failed")
    site.start()
    for destination in ("192.0.2.9", "10.0.0.77"):
        answer = site.json("explain", destination)
        assert (answer["broken"], "does not answer (failed)" in answer["steps"][-1]["text"]) == ("adjacency", True)


def test_wait_for_an_agent_that_never_comes_is_not_in_time(site: Site) -> None:
    done = site.rtagent("wait", "--synced", "--timeout", "0.1")
    assert (done.status, "no agent is running there" in done.err) == (1, True)


def test_a_wait_that_is_given_up_leaves_no_trace(site: Site) -> None:
    agent = site.start(dataplane="vpp", waits=False)
    wait_for(lambda: site.rtagent("status").status == 1, "an agent that waits for its VPP")
    done = site.rtagent("wait", "--synced", "--timeout", "1")
    assert (done.status, "data plane: " in done.err) == (1, True)
    assert site.rtagent("status").status == 1
    assert "Traceback" not in agent.text()


def test_commands_without_an_agent_are_trouble_with_a_remedy(site: Site) -> None:
    for command in ("status", "fib"):
        expected = f"rtagent: {site.control}: no agent is running there; start it, or name its socket with --control\n"
        assert site.rtagent(command) == Done(2, "", expected)


def test_a_second_agent_on_the_same_socket_is_refused(site: Site) -> None:
    site.start()
    done = site.rtagent("run", "--dataplane", "memory", "--netns", site.router.name)
    assert (done.status, "another agent serves this socket" in done.err) == (2, True)
    assert site.rtagent("status").status == 0


def test_a_namespace_that_is_not_there_is_named(site: Site) -> None:
    done = site.rtagent("run", "--netns", "rtlab-none", "--dataplane", "memory")
    expected = "rtagent: there is no network namespace rtlab-none; see ip netns list\n"
    assert done == Done(2, "", expected)


def test_the_agent_ends_cleanly_at_sigterm(site: Site) -> None:
    agent = site.start()
    assert agent.stop() == 0
    assert "agent.stopped" in agent.text()
    assert not os.path.exists(site.control)


def test_flush_while_the_agent_runs_is_refused(site: Site) -> None:
    site.start()
    done = site.rtagent("flush", "--yes", "--dataplane", "vpp")
    assert (done.status, "stop it first" in done.err) == (2, True)


def test_check_lists_every_problem(site: Site) -> None:
    site.config.write_text('[dataplane]\nkind = "vp"\n[lgo]\n')
    done = site.command("check", str(site.config))
    assert done == Done(
        1,
        f'{site.config}:2: dataplane.kind: "vp" is not valid (did you mean vpp?); write "vpp", "memory" or "none"\n'
        f"{site.config}:3: lgo: unknown table; did you mean log?\n",
        "",
    )


def test_check_of_a_good_file_says_valid(site: Site) -> None:
    assert site.command("check", str(site.config)) == Done(0, f"{site.config}: valid\n", "")


def test_check_of_no_file_is_trouble(site: Site) -> None:
    assert site.command("check", "/nowhere.toml") == Done(2, "", "rtagent: /nowhere.toml: No such file or directory\n")


def test_run_with_a_bad_configuration_tells_the_line(site: Site) -> None:
    site.config.write_text("[kernel]\nnetns = 3\n")
    done = site.rtagent("run", "--config", str(site.config))
    assert (done.status, done.err.startswith(f"rtagent: {site.config}:2: kernel.netns: 3 is not valid")) == (2, True)


def test_every_command_has_help_with_examples(site: Site) -> None:
    commands = ("run", "check", "status", "wait", "fib", "diff", "explain", "flush", "completion")
    assert "COMMAND" in site.command("--help").out
    for command in commands:
        done = site.command(command, "--help")
        assert (done.status, "examples:" in done.out) == (0, True), command


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_completion_is_a_script_of_that_shell(site: Site, shell: str) -> None:
    done = site.command("completion", shell)
    assert (done.status, "explain" in done.out) == (0, True)


def test_a_reader_that_has_seen_enough_ends_the_output_quietly(site: Site) -> None:
    site.start()
    command = " ".join([*RTAGENT, "fib", "--json", "--control", site.control, "| head -1"])
    done = subprocess.run(["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("[\n", "")


def test_log_lines_off_a_terminal_are_json(site: Site) -> None:
    agent = site.start()
    events = [json.loads(line)["event"] for line in agent.text().splitlines()]
    assert events[0] == "agent.started"
    assert "kernel.synced" in events


def test_metrics_are_served_on_loopback(site: Site) -> None:
    socket_path = site.lab.folder / "metrics.sock"
    site.config.write_text(f'[metrics]\nlisten = "unix:{socket_path}"\n')
    site.start()
    fetched = wait_for(lambda: _get(str(socket_path)), "metrics")
    assert 'rtagent_rows{family="inet",state="installed"} 2.0' in fetched
    assert "rtagent_writes_total 4.0" in fetched
    assert "rtagent_in_sync 1.0" in fetched


def test_the_service_manager_is_told_when_it_is_ready(site: Site) -> None:
    import socket

    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.settimeout(20)
        manager.bind(str(site.lab.folder / "notify"))
        site.start(env={"NOTIFY_SOCKET": str(site.lab.folder / "notify"), "WATCHDOG_USEC": "200000"})
        heard = {manager.recv(1000).split(b"\n")[0] for _ in range(6)}
    assert heard == {b"READY=1", b"WATCHDOG=1"}


def test_two_agents_beside_one_kernel_do_not_disturb_each_other(site: Site) -> None:
    site.start()
    other = str(site.lab.folder / "other.sock")
    site.lab.start(
        [*RTAGENT, "run", "--dataplane", "memory", "--netns", site.router.name, "--control", other], log="other.log"
    )
    assert site.command("wait", "--synced", "--control", other).status == 0
    assert site.rtagent("diff").status == 0


def _get(path: str) -> str:
    import socket

    with socket.socket(socket.AF_UNIX) as client:
        try:
            client.connect(path)
        except OSError:
            return ""
        client.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
        return client.makefile().read()


def test_the_module_runs_as_the_command_does() -> None:
    done = subprocess.run([sys.executable, "-m", "rtagent", "--version"], capture_output=True, text=True, check=False)
    assert done.stdout.startswith("rtagent ")
