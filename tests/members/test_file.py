"""Members in a file: what it says counts, and what it cannot mean changes nothing."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from ipaddress import IPv4Address, IPv6Address, ip_network
from pathlib import Path

import pytest

from rtagent.sources.members.file import MembersFile
from rtagent.vector.claims import Claim
from rtagent.vector.members import Role
from rtagent.wire.members.document import decode
from rtagent.wire.toml.schema import SettingsError
from tests.members.heard import Heard, running

TWO = '[[members]]\nid = "n1"\n[[members]]\nid = "n2"\n'


def follow(file: Path, body: Callable[[Heard], Awaitable[None]]) -> None:
    async def test() -> None:
        heard = Heard()
        async with running((MembersFile(str(file), look_every_s=0.01), heard)):
            await body(heard)

    asyncio.run(test())


def problems(text: str, name: str = "members.toml") -> list[tuple[int, str, str]]:
    with pytest.raises(SettingsError) as caught:
        decode(text, name)
    return [(problem.line, problem.key, problem.text) for problem in caught.value.problems]


MEMBER = {
    "id": "n1",
    "role": "node",
    "asn": 64512,
    "router_id": "192.0.2.1",
    "address4": "192.0.2.1",
    "address6": "2001:db8::1",
    "pods": ["10.0.0.0/24", "2001:db8:1::/64"],
    "labels": {"zone": "a"},
}


def test_every_field_is_read_from_toml_and_from_json() -> None:
    toml = "[[members]]\n" + "\n".join(
        f"{name} = {json.dumps(value)}" for name, value in MEMBER.items() if name != "labels"
    )
    expected = Claim(
        "n1",
        role=Role.NODE,
        asn=64512,
        router_id=IPv4Address("192.0.2.1"),
        address4=IPv4Address("192.0.2.1"),
        address6=IPv6Address("2001:db8::1"),
        pods=(ip_network("10.0.0.0/24"), ip_network("2001:db8:1::/64")),
        labels=(("zone", "a"),),
    )
    assert (expected,) == decode(f'{toml}\nlabels = {{ zone = "a" }}', "members.toml")
    assert (expected,) == decode(json.dumps({"members": [MEMBER]}), "members.json")


def test_a_mistake_names_line_and_key_and_what_would_be_right() -> None:
    assert problems('[[members]]\nid = "n1"\nrol = "lb"\n[[members]]\naddress4 = "10.0.0.256"\n') == [
        (3, "members[1].rol", "unknown key; did you mean role?"),
        (5, "members[2].address4", '"10.0.0.256" is not valid; write an IPv4 address, such as "192.0.2.1"'),
    ]


def test_in_json_too() -> None:
    text = '{\n "members": [\n  {"id": "n1", "pods": ["10.0.0.0/24", "10.1.0.0/24"]},\n  {\n   "asn": 0}\n ]\n}'
    assert [(5, "members[2].asn")] == [row[:2] for row in problems(text, "members.json")]
    assert [(2, "")] == [row[:2] for row in problems('{"members": [\n}', "members.json")]


@pytest.mark.parametrize("text", ["", "members = []", "[[members]]\nrole = 'lb'", TWO + TWO])
def test_nobody_a_member_without_a_name_and_one_that_comes_twice_are_mistakes(text: str) -> None:
    assert problems(text)


def test_the_file_is_followed_and_a_broken_one_loses_nobody(tmp_path: Path) -> None:
    file = tmp_path / "members.toml"
    file.write_text(TWO)

    async def body(heard: Heard) -> None:
        await heard.until(lambda: heard.ids() == ["n1", "n2"])
        file.write_text(TWO + '[[members]]\nid = "n3')
        await heard.until(lambda: heard.troubles)
        assert f"{file}:6: not TOML: Illegal character '\\n'" in heard.troubles[0] or ":6:" in heard.troubles[0]
        assert ["n1", "n2"] == heard.ids()
        file.write_text(TWO + '[[members]]\nid = "n3"')
        await heard.until(lambda: heard.ids() == ["n1", "n2", "n3"])

    follow(file, body)


def test_a_file_that_is_deleted_or_emptied_loses_nobody(tmp_path: Path) -> None:
    file = tmp_path / "members.toml"
    file.write_text(TWO)

    async def body(heard: Heard) -> None:
        await heard.until(lambda: heard.ids() == ["n1", "n2"])
        file.write_text("")
        await heard.until(lambda: len(heard.troubles) == 1)
        file.unlink()
        await heard.until(lambda: len(heard.troubles) == 2)
        assert f"{file}: cannot be read: No such file or directory" == heard.troubles[1]
        assert 1 == len(heard.reports)

    follow(file, body)


def test_a_file_that_comes_later_and_one_that_is_replaced_are_read(tmp_path: Path) -> None:
    file, other = tmp_path / "members.toml", tmp_path / "other"

    async def body(heard: Heard) -> None:
        await heard.until(lambda: heard.troubles)
        file.write_text(TWO)
        await heard.until(lambda: heard.ids() == ["n1", "n2"])
        other.write_text(TWO.replace("n2", "n4"))
        other.replace(file)
        await heard.until(lambda: heard.ids() == ["n1", "n4"])

    follow(file, body)


def test_links_that_are_swapped_as_kubernetes_does_are_followed(tmp_path: Path) -> None:
    for name, text in (("a", TWO), ("b", TWO.replace("n1", "n0"))):
        (tmp_path / name).mkdir()
        (tmp_path / name / "members.toml").write_text(text)
    (tmp_path / "data").symlink_to("a")

    async def body(heard: Heard) -> None:
        await heard.until(lambda: heard.ids() == ["n1", "n2"])
        (tmp_path / "new").symlink_to("b")
        (tmp_path / "new").rename(tmp_path / "data")
        await heard.until(lambda: heard.ids() == ["n0", "n2"])

    follow(tmp_path / "data" / "members.toml", body)
