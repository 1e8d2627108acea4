"""``rtagent mesh …`` with real BIRDs: what it says, what it does, and its exit status."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from rtagent.agent.settings import parse
from rtagent.vector.members import Member, Members
from tests.lab import birds
from tests.lab.lab import Lab, wait_for
from tests.lab.mesh import Mesh
from tests.meshes import mesh

RTAGENT = str(Path(sys.executable).with_name("rtagent"))


def members_file(members: Members) -> str:
    return "\n".join(
        f'[[members]]\nid = "{one.id}"\nrole = "{one.role}"\nrouter_id = "{one.router_id}"\n'
        f'address4 = "{one.address4}"\naddress6 = "{one.address6}"\npods = {json.dumps(list(map(str, one.pods)))}\n'
        for one in members
    )


class Site:
    """A mesh, and the configuration of rtagent for each of its members."""

    def __init__(self, lab: Lab, members: Members) -> None:
        self.lab = lab
        self.mesh = Mesh(lab, members)
        self.members = lab.folder / "members.toml"
        self.secret = lab.folder / "secret"
        self.secret.write_text("x" * 32)
        self.sockets = lab.folder / "sockets"
        self.sockets.mkdir()
        for name, one in self.mesh.members.items():
            (self.sockets / name).symlink_to(one.bird.socket)
        self.tell(members)

    def tell(self, members: Members, extra: str = "") -> None:
        """Write the members' file and everybody's configuration."""
        self.members.write_text(members_file(members))
        for one in members:
            self.config(one, extra)

    def config(self, member: Member, extra: str = "") -> None:
        folder = self.lab.folder / member.id
        (folder / "rtagent.toml").write_text(
            f'[mesh]\nid = "{member.id}"\nasn = 64512\n[mesh.file]\npath = "{self.members}"\n'
            f'[mesh.bird]\nsocket = "{self.lab.folder}/bird-{member.id}.sock"\nconfig = "{folder}/bird.conf"\n'
            f'directory = "{folder}"\nundo_s = 10\n[mesh.bgp]\nmultihop = true\nbfd = false\n{extra}'
        )

    def command(self, name: str, *arguments: str) -> list[str]:
        """Return the command line of ``rtagent mesh`` as this member."""
        return [RTAGENT, "mesh", *arguments, "--config", str(self.lab.folder / name / "rtagent.toml")]

    def run(self, name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run ``rtagent mesh`` as this member."""
        return subprocess.run(self.command(name, *arguments), capture_output=True, text=True, check=False)

    def start(self) -> None:
        """Let the commands configure everybody, before BIRD runs, and start it."""
        for one in self.mesh.members.values():
            one.write(())  # the operator's own file; of ours the commands know better
            for file in one.files:
                (one.folder / file).unlink()
        for name in self.mesh.members:
            done = self.run(name, "apply")
            assert (0, "") == (done.returncode, done.stderr), done.stdout
        for one in self.mesh.members.values():
            one.bird.start()
        self.mesh.wait()
        self.mesh.wait_for_routes()


@pytest.fixture
def site() -> Iterator[Site]:
    if not birds.INSTALLED.present:
        pytest.skip(birds.INSTALLED.absence)
    with Lab() as lab:
        yield Site(lab, mesh(2))


def test_a_mesh_from_nothing_to_its_end(site: Site) -> None:
    site.start()
    lb = site.mesh["lb-1"]
    before = lb.sessions()

    for command in ("plan", "apply"):
        done = site.run("lb-1", command)
        assert (0, "") == (done.returncode, done.stderr)
    assert "unchanged" in done.stdout
    status = json.loads(site.run("lb-1", "status", "--json").stdout)
    assert ("lb-1", "joined", "mesh", 3, None) == tuple(
        status[key] for key in ("id", "intent", "topology", "members", "step")
    )
    assert {"mesh.node-2", "mesh.node-3"} == {row["session"] for row in status["sessions"]}

    done = site.run("lb-1", "matrix", "--sockets", str(site.sockets))
    assert (0, "3 pairs: 3 up, 0 not, 0 unknown\n") == (done.returncode, done.stdout)
    done = site.run("lb-1", "verify", "--sockets", str(site.sockets))
    assert (0, "4 pod prefixes: 0 missing or foreign, 0 refused\n") == (done.returncode, done.stdout)

    assert 0 == site.run("node-2", "drain").returncode
    wait_for(lambda: "10.128.2.0/24" not in lb.kernel(), "the end of the drained routes")
    done = site.run("lb-1", "verify")
    assert 1 == done.returncode
    assert "node-2 does not announce it" in done.stdout
    assert set() == lb.restarted(before)
    assert 0 == site.run("node-2", "drain", "--undo").returncode
    wait_for(lambda: "10.128.2.0/24" in lb.kernel(), "the routes again")
    assert set() == lb.restarted(before)

    assert 0 == site.run("node-2", "leave").returncode
    assert {} == site.mesh["node-2"].sessions()
    done = site.run("lb-1", "matrix", "--sockets", str(site.sockets), "--json")
    verdicts = {(row["one"], row["other"]): row["verdict"] for row in json.loads(done.stdout)}
    assert (1, "one-sided", "up") == (done.returncode, verdicts["lb-1", "node-2"], verdicts["lb-1", "node-3"])


def test_a_restart_that_nobody_allowed_is_refused_and_changes_nothing(site: Site) -> None:
    site.start()
    lb = site.mesh["lb-1"]
    before, files = lb.sessions(), lb.files
    site.tell(mesh(2), "hold_time_s = 30\n")
    plan = site.run("lb-1", "plan")
    assert 1 == plan.returncode
    assert "refused: 2 sessions would restart for no reason of their own" in plan.stdout
    done = site.run("lb-1", "apply")
    assert (1, set(), files) == (done.returncode, lb.restarted(before), lb.files)
    assert "--allow-restarts" in done.stdout


def test_a_new_secret_is_applied_by_all_members_and_no_route_is_lost(site: Site) -> None:
    site.tell(mesh(2), f'secret_file = "{site.secret}"\n')
    site.start()
    before = {name: one.sessions() for name, one in site.mesh.members.items()}
    witnesses = [one.namespace.start("ip", "monitor", "route") for one in site.mesh.members.values()]
    site.secret.write_text("y" * 32)
    assert 1 == site.run("lb-1", "apply").returncode
    commands = [site.command(name, "apply", "--allow-restarts", "--timeout", "90") for name in before]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for command in commands]
    said = [process.communicate(timeout=120)[0] for process in running]
    assert [0, 0, 0] == [process.returncode for process in running], said
    assert {name: set(rows) for name, rows in before.items()} == {
        name: site.mesh[name].restarted(rows) for name, rows in before.items()
    }
    assert {name: set(rows) for name, rows in before.items()} == {
        name: set(site.mesh[name].sessions()) for name in before
    }
    assert not [row for witness in witnesses for row in witness.text().splitlines() if "Deleted" in row]


def test_keys_are_never_shown_and_readable_for_few(site: Site) -> None:
    site.tell(mesh(2), f'secret_file = "{site.secret}"\n')
    site.start()
    keys = site.mesh["lb-1"].files["mesh-keys.conf"]
    secrets = [line.split('"')[1] for line in keys.splitlines() if line.startswith("define")]
    assert 2 == len(secrets)
    assert 0 == (site.mesh["lb-1"].folder / "mesh-keys.conf").stat().st_mode & 0o007
    said = [site.run("lb-1", *command) for command in (("status",), ("plan", "--diff"), ("apply",))]
    text = "".join(done.stdout + done.stderr for done in said)
    assert not [secret for secret in secrets if secret in text]


def test_wrong_passwords_and_what_is_refused_are_told_with_their_names(site: Site) -> None:
    site.tell(mesh(2), f'secret_file = "{site.secret}"\n')
    site.start()
    node = site.mesh["node-3"]
    main = node.folder / "mesh.conf"
    leak = "protocol static leak { ipv4; route 0.0.0.0/0 blackhole; route 10.128.2.128/25 blackhole; }\n"
    text = main.read_text().replace("export where mesh_announces([ 10.128.3.0/24 ]);", 'export where proto ~ "*";')
    main.write_text(text + leak)
    keys = node.folder / "mesh-keys.conf"
    keys.write_text(keys.read_text().replace("'mesh.key.node-2' = \"", "'mesh.key.node-2' = \"wrong"))
    node.bird.configure()

    lb = site.mesh["lb-1"]
    filtered = lambda: lb.bird.ctl("show route filtered")  # noqa: E731
    wait_for(lambda: "10.128.2.128/25" in filtered() and "0.0.0.0/0" in filtered(), "what is refused")
    done = site.run("lb-1", "verify", "--json")
    assert 0 == done.returncode
    assert {
        ("0.0.0.0/0", "node-3", "a default route"),
        ("10.128.2.128/25", "node-3", "it is a part of 10.128.2.0/24, which belongs to node-2"),
    } <= {(row["prefix"], row["peer"], row["why"]) for row in json.loads(done.stdout)["findings"]}
    wait_for(lambda: site.mesh["node-2"].sessions()["mesh.node-3"][0] != "Established", "the session's end")
    done = site.run("lb-1", "matrix", "--sockets", str(site.sockets))
    assert 1 == done.returncode
    assert "authentication suspected" in done.stdout


def test_a_broken_override_is_refused_with_its_place_and_nothing_changes(site: Site) -> None:
    site.start()
    lb = site.mesh["lb-1"]
    before, files = lb.sessions(), lb.files
    (lb.folder / "own").mkdir()
    (lb.folder / "own" / "own-last.conf").write_text("protokol nonsense;\n")
    done = site.run("lb-1", "apply")
    assert (1, set(), files) == (done.returncode, lb.restarted(before), lb.files)
    assert "mesh.conf:" in done.stdout


def test_init_writes_what_the_other_commands_read(tmp_path: Path) -> None:
    config, secret = tmp_path / "rtagent.toml", tmp_path / "secret"
    command = [RTAGENT, "mesh", "init", "--config", str(config), "--id", "n1", "--role", "node", "--asn", "64512",
               "--address4", "192.0.2.7", "--pods", "10.244.7.0/24", "--secret-file", str(secret)]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    assert (0, "") == (done.returncode, done.stderr)
    assert 'include "/etc/bird/rtagent/mesh.conf";' in done.stdout
    assert (0o600, 65) == (secret.stat().st_mode & 0o777, secret.stat().st_size)
    assert 0 == subprocess.run([RTAGENT, "check", str(config)], capture_output=True, check=False).returncode
    again = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    assert (2, True) == (again.returncode, "has a [mesh] already" in again.stderr)


def test_init_asks_at_a_terminal_for_what_is_missing(tmp_path: Path) -> None:
    config = tmp_path / "rtagent.toml"
    command = [RTAGENT, "mesh", "init", "--config", str(config), "--id", "n1"]
    ours, theirs = pty.openpty()
    asking = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, close_fds=True)
    os.close(theirs)
    said = ""
    for question, answer in (
        ("role of this machine (lb, node, router, reflector): ", "node"),
        ("AS number that all members share, such as 64512: ", "64512"),
        ("IPv4 address of this machine, where its BGP listens: ", "192.0.2.7"),
        ("pod prefixes of this node, with spaces between: ", "10.244.7.0/24 fd01:7::/64"),
    ):
        while question not in said:
            said += os.read(ours, 4096).decode()
        os.write(ours, f"{answer}\n".encode())
    with suppress(OSError):  # a terminal that everybody has left
        while read := os.read(ours, 4096):
            said += read.decode()
    os.close(ours)
    assert 0 == asking.wait(30), said
    assert 'include "/etc/bird/rtagent/mesh.conf";' in said
    mesh_ = parse(config.read_text(), str(config)).mesh
    assert mesh_ is not None
    assert ("n1", "node", 64512, "192.0.2.7", ["10.244.7.0/24", "fd01:7::/64"]) == (
        mesh_.id, mesh_.role, mesh_.asn, str(mesh_.address4), [str(prefix) for prefix in mesh_.pods]
    )  # fmt: skip


def test_an_answer_that_is_wrong_is_told_and_nothing_is_written(tmp_path: Path) -> None:
    config = tmp_path / "rtagent.toml"
    ours, theirs = pty.openpty()
    command = [RTAGENT, "mesh", "init", "--config", str(config), "--role", "lb", "--asn", "64512"]
    asking = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, close_fds=True)
    os.close(theirs)
    os.write(ours, b"192.0.2.700\n")
    said = ""
    with suppress(OSError):
        while read := os.read(ours, 4096):
            said += read.decode()
    os.close(ours)
    assert (2, False) == (asking.wait(30), config.exists())
    assert "mesh.address4" in said


def test_init_without_a_terminal_names_the_flag_that_is_missing(tmp_path: Path) -> None:
    command = [RTAGENT, "mesh", "init", "--config", str(tmp_path / "x.toml"), "--role", "lb"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    assert (2, True) == (done.returncode, "--asn is missing" in done.stderr), done.stderr


def test_commands_without_a_mesh_say_what_to_do(tmp_path: Path) -> None:
    config = tmp_path / "rtagent.toml"
    config.write_text("")
    command = [RTAGENT, "mesh", "status", "--config", str(config)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (2, True) == (done.returncode, "rtagent mesh init writes one" in done.stderr)
