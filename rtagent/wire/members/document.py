"""The members' file: TOML or JSON, a list of ``members``, each with the fields of ``[mesh]``.

A field may be missing where another source tells it. A list of nobody is refused: nobody means that, and a file that
an editor has just emptied looks the same.
"""

from __future__ import annotations

import json
from typing import Any

from rtagent.vector.claims import Claim, Claims
from rtagent.vector.members import Role
from rtagent.wire.members import fields
from rtagent.wire.toml.json_lines import JsonLines
from rtagent.wire.toml.lines import Lines
from rtagent.wire.toml.schema import Key, Problem, Reader, SettingsError, Table, document, one_of, whole


def decode(text: str, file: str) -> Claims:
    """Return the claims in ``text``, the content of ``file``; JSON if its name ends so. Raises SettingsError."""
    reader: Reader
    if file.endswith(".json"):
        given = _json(text, file)
        reader = Reader(file, JsonLines(text))
    else:
        given = document(text, file)
        reader = Reader(file, Lines(text))
    found = reader.read((), _FILE, given)
    if reader.problems:
        raise SettingsError(sorted(reader.problems, key=lambda problem: problem.line))
    claims: Claims = found["members"]
    seen: dict[str, int] = {}
    for index, claim in enumerate(claims):
        if claim.id in seen:
            reader.problem(("members", index, "id"), f"{claim.id} is members[{seen[claim.id] + 1}] already; remove one")
        seen.setdefault(claim.id, index)
    if reader.problems:
        raise SettingsError(reader.problems)
    return claims


def _json(text: str, file: str) -> dict[str, Any]:
    try:
        given = json.loads(text)
    except json.JSONDecodeError as error:
        raise SettingsError([Problem(file, error.lineno, "", f"not JSON: {error.msg}")]) from None
    except RecursionError:
        raise SettingsError([Problem(file, 1, "", "not JSON that anybody means: nested too deeply")]) from None
    if not isinstance(given, dict):
        raise SettingsError([Problem(file, 1, "", 'not an object; write {"members": [...]}')])
    return given


def _make_claim(**values: Any) -> Claim:
    if "id" not in values:
        raise KeyError("id", 'is missing; write the member\'s name, such as id = "n1"')
    return Claim(**values)


def _make_file(**values: Any) -> dict[str, Any]:
    if not values.get("members"):
        raise KeyError("members", "there are none; write [[members]] once for each (a mesh of nobody is not taken)")
    return values


def _key(name: str, check: Any, wanted: str) -> tuple[str, Key]:
    return name, Key(name, check, wanted)


MEMBER = Table(
    keys=dict(
        [
            _key("id", fields.member_id, 'a host name or the like, such as "n1"'),
            _key("role", lambda value: Role(one_of(*Role)(value)), " or ".join(f'"{role}"' for role in Role)),
            _key("asn", whole(1, 4_294_967_294), "a whole number from 1 to 4294967294"),
            _key("router_id", fields.router_id, 'an IPv4 address, such as "192.0.2.1"'),
            _key("address4", fields.address4, 'an IPv4 address, such as "192.0.2.1"'),
            _key("address6", fields.address6, 'an IPv6 address, such as "2001:db8::1"'),
            _key("pods", fields.prefixes, 'a list of prefixes, such as ["10.244.1.0/24"]'),
            _key("labels", fields.labels, 'a table of strings, such as { zone = "a" }'),
        ]
    ),
    make=_make_claim,
    listed=True,
)
_FILE = Table(keys={}, tables={"members": MEMBER}, make=_make_file)
