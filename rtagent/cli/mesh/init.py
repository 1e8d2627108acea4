"""rtagent mesh init: writes [mesh], from flags or from answers."""

from __future__ import annotations

import argparse
import os
import secrets
import socket
import sys
from pathlib import Path
from typing import Any

from rtagent.agent.mesh_bird import MeshTrouble
from rtagent.agent.settings import DEFAULT_FILE, Settings, parse
from rtagent.cli import options, output
from rtagent.core.mesh.text import KEYS_FILE, MAIN_FILE
from rtagent.vector.members import Role

NAME = "init"
HELP = "write [mesh] of the configuration, and say what to add to bird.conf"
DESCRIPTION = """Write the table [mesh] of rtagent's configuration from the flags below; what is missing and needed is
asked for at a terminal. Makes the secret from which passwords are derived, unless its file is there: it has to be the
same on every member. Nothing of BIRD's is touched: the line that bird.conf needs is printed."""
EXAMPLES = """examples:
  rtagent mesh init
  rtagent mesh init --role node --asn 64512 --address4 192.0.2.7 --pods 10.244.7.0/24 --members /etc/members.toml
  rtagent mesh init --role lb --asn 64512 --address4 192.0.2.1 --secret-file /etc/rtagent/bgp.secret --multihop

exit status: 0 written; 2 trouble: a wrong value, or there is a [mesh] already"""

_ASKED = {
    "role": f"role of this machine ({', '.join(Role)})",
    "asn": "AS number that all members share, such as 64512",
    "address4": "IPv4 address of this machine, where its BGP listens",
}


def add(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument("--config", metavar="FILE", type=Path, default=DEFAULT_FILE, help=f"default: {DEFAULT_FILE}")
    parser.add_argument("--id", metavar="NAME", help="name of this member, for ever (default: the host name)")
    parser.add_argument("--role", choices=[role.value for role in Role])
    parser.add_argument("--asn", metavar="N", type=int)
    parser.add_argument("--address4", metavar="ADDRESS")
    parser.add_argument("--address6", metavar="ADDRESS")
    parser.add_argument("--pods", metavar="PREFIX", action="append", default=[], help="of a node; may be repeated")
    parser.add_argument("--multihop", action="store_true", help="members may be in different subnets")
    parser.add_argument("--members", metavar="FILE", help="the file of the members")
    parser.add_argument("--secret-file", metavar="FILE", type=Path, help="sessions have passwords, derived from this")
    options.add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    given = _given(args)
    before = args.config.read_text(encoding="utf-8") if args.config.exists() else ""
    if before and parse(before, str(args.config)).mesh is not None:
        raise MeshTrouble(f"{args.config} has a [mesh] already; edit it, or remove it first")
    text = before + ("\n" if before and not before.endswith("\n\n") else "") + _text(args, given)
    settings = parse(text, str(args.config))
    made = _make_secret(args.secret_file) if args.secret_file else False
    _write(args.config, text)
    _tell(args, settings, made)
    return 0


def _given(args: argparse.Namespace) -> dict[str, Any]:
    given = {"id": args.id or socket.gethostname().lower()}
    for name, question in _ASKED.items():
        value = getattr(args, name)
        if value is None and name == "address4" and args.address6:
            continue
        if value is None:
            if not sys.stdin.isatty():
                raise MeshTrouble(f"--{name} is missing: {question}")
            value = input(f"{question}: ").strip()
            value = int(value) if name == "asn" and value.isascii() and value.isdecimal() else value
        given[name] = value
    given |= {name: value for name in ("address6", "pods") if (value := getattr(args, name))}
    if given["role"] == Role.NODE and not args.pods and sys.stdin.isatty():
        given["pods"] = input("pod prefixes of this node, with spaces between: ").split()
    return given


def _text(args: argparse.Namespace, given: dict[str, Any]) -> str:
    lines = ["[mesh]", *(f"{name} = {_toml(value)}" for name, value in given.items())]
    if args.members:
        lines += ["", "[mesh.file]", f"path = {_toml(args.members)}"]
    if args.secret_file or args.multihop:
        lines += ["", "[mesh.bgp]"]
        lines += [f"secret_file = {_toml(str(args.secret_file))}"] if args.secret_file else []
        lines += ["multihop = true"] if args.multihop else []
    return "\n".join(lines) + "\n"


def _toml(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_toml, value))}]"
    return str(value) if isinstance(value, int) else '"' + str(value).replace("\\", "\\\\").replace('"', '\\"') + '"'


def _make_secret(path: Path) -> bool:
    try:
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return False
    with open(file, "w", encoding="ascii") as stream:
        stream.write(secrets.token_hex(32) + "\n")
    return True


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.new")
    beside.write_text(text, encoding="utf-8")
    if path.exists():
        beside.chmod(path.stat().st_mode & 0o777)
    beside.replace(path)


def _tell(args: argparse.Namespace, settings: Settings, made: bool) -> None:
    mesh = settings.mesh
    assert mesh is not None
    include = f'include "{mesh.bird.directory}/{MAIN_FILE}";'
    if args.json:
        output.print_json({"config": str(args.config), "id": mesh.id, "secret_made": made, "include": include})
        return
    print(f"{args.config}: [mesh] written for {mesh.id}")
    if made:
        print(f"{args.secret_file}: made; copy it to every other member")
    print(f"add to {mesh.bird.config}, which also needs `protocol device {{ }}`:\n  {include}")
    print(
        f"then: rtagent mesh plan, rtagent mesh apply. {KEYS_FILE} beside it holds the passwords; nobody else needs it."
    )
