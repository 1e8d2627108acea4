"""Members over a real broker with TLS, passwords and certificates: who may, joins, and who may not is told why."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rtagent.sources.members.mqtt import Broker as Address
from rtagent.sources.members.mqtt import MqttMembers
from tests.claims import claim
from tests.lab.broker import Broker, Tls
from tests.members.heard import Heard, running

SECRET = b"the mesh's secret"


@contextmanager
def served(folder: Path, tls: Tls) -> Iterator[Address]:
    """Run a broker; yields how its members may reach it."""
    password = folder / "password"
    password.write_text(f"{tls.password}\n")
    broker = Broker(folder, tls=tls)
    try:
        yield Address(broker.url, "mesh", tls.user, str(password), str(tls.ca))
    finally:
        broker.kill()


def member(address: Address, id_: str) -> MqttMembers:
    own = claim(id_, claimant=f"machine-of-{id_}", router_id=f"192.0.2.{id_[1:]}")
    return MqttMembers(address, SECRET, own, 600)


def with_(address: Address, **fields: str) -> Address:
    return Address(**{name: getattr(address, name) for name in Address.__slots__} | fields)


def trouble(address: Address) -> str:
    """Return what keeps a member from the broker."""

    async def test() -> str:
        heard = Heard()
        async with running((member(address, "n1"), heard)):
            await heard.until(lambda: heard.troubles)
        assert heard.claims is None
        return heard.troubles[0]

    return asyncio.run(test())


def found_each_other(one: Address, other: Address) -> None:
    async def test() -> None:
        heard = Heard()
        async with running((member(one, "n1"), heard), (member(other, "n2"), Heard())):
            await heard.until(lambda: heard.ids() == ["n1", "n2"])

    asyncio.run(test())


def test_members_find_each_other_over_tls_with_a_password(tmp_path: Path) -> None:
    with served(tmp_path, Tls(tmp_path)) as address:
        found_each_other(address, address)


def test_a_password_that_is_wrong_is_told_and_one_that_is_mended_is_used(tmp_path: Path) -> None:
    async def test(address: Address) -> None:
        wrong = tmp_path / "wrong"
        wrong.write_text("guessed\n")
        heard = Heard()
        async with running((member(with_(address, password_file=str(wrong)), "n1"), heard)):
            await heard.until(lambda: heard.troubles)
            assert "ot authori" in heard.troubles[0], heard.troubles[0]
            wrong.write_text(f"{Tls.password}\n")
            await heard.until(lambda: heard.ids() == ["n1"])

    with served(tmp_path, Tls(tmp_path)) as address:
        asyncio.run(test(address))


def test_a_broker_of_an_authority_that_is_not_ours_is_not_believed(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    other = Tls(tmp_path / "other")
    with served(tmp_path, Tls(tmp_path)) as address:
        assert "certificate verify failed" in trouble(with_(address, ca_file=str(other.ca)))


def test_a_broker_with_a_certificate_for_another_name_is_not_believed(tmp_path: Path) -> None:
    with served(tmp_path, Tls(tmp_path, name="DNS:somebody.example")) as address:
        assert "certificate is not valid for '127.0.0.1'" in trouble(address)


def test_a_broker_that_asks_for_certificates_gets_them(tmp_path: Path) -> None:
    tls = Tls(tmp_path, client_certificates=True)
    with served(tmp_path, tls) as address:
        assert trouble(address)
        certificate, key = map(str, tls.issue("client"))
        mine = with_(address, certificate_file=certificate, key_file=key)
        found_each_other(mine, mine)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with served(tmp_path, Tls(tmp_path)) as address:
        for name in ("ca_file", "certificate_file", "password_file"):
            missing = str(tmp_path / f"no-{name}")
            assert missing in trouble(with_(address, **{name: missing}))
