"""Members over a real broker: they find each other, and nothing that happens to the broker loses anybody."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from aiomqtt import Client, MqttError

from rtagent.sources.members.mqtt import Broker as Address
from rtagent.sources.members.mqtt import MqttMembers
from rtagent.vector.claims import Claim
from rtagent.wire.members.announcement import Announcement, encode
from tests.claims import claim
from tests.lab.broker import Broker
from tests.members.heard import Heard, running

SECRET = b"the mesh's secret"


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    started = Broker(tmp_path)
    try:
        yield started
    finally:
        started.kill()


def own(id_: str, machine: str = "", **fields: Any) -> Claim:
    return claim(id_, **({"claimant": machine or f"machine-of-{id_}", "router_id": f"192.0.2.{id_[1:]}"} | fields))


def member(
    broker: Broker,
    id_: str,
    machine: str = "",
    *,
    ttl_s: int = 600,
    wall: Callable[[], float] = lambda: 1e9,
    **fields: Any,
) -> MqttMembers:
    return MqttMembers(Address(broker.url, "mesh"), SECRET, own(id_, machine, **fields), ttl_s, wall=wall)


def client(broker: Broker) -> Client:
    return Client(str(broker.socket), transport="unix")


def alive(heard: Heard) -> dict[str, bool | None]:
    return {one.id: one.alive for one in heard.claims or ()}


async def found(heard: Heard, *ids: str) -> None:
    await heard.until(lambda: heard.ids() == sorted(ids))


def test_members_find_each_other_and_who_came_first_has_what_it_has_longer(broker: Broker) -> None:
    async def test() -> None:
        first, second = Heard(), Heard()
        async with running((member(broker, "n1"), first)):
            await found(first, "n1")
            # Its clock is a year behind; what it wants, it wants later than who was there.
            async with running((member(broker, "n2", wall=lambda: 9e8), second)):
                await found(first, "n1", "n2")
                await found(second, "n1", "n2")
                assert first.claim("n1").since < first.claim("n2").since
                assert sorted(first.claims or ()) == sorted(second.claims or ())

    asyncio.run(test())


def test_a_member_that_dies_is_told_dead_by_its_will_and_its_definition_stays(broker: Broker) -> None:
    async def test() -> None:
        heard = Heard()
        dying = member(broker, "n2")
        async with running((member(broker, "n1"), heard)):
            async with running((dying, Heard())):
                await heard.until(lambda: alive(heard).get("n2") is True)
            before = heard.claim("n2")
            # The agent has closed its connection properly, as for a restart: nobody takes it for dead.
            assert True is alive(heard)["n2"]
            async with dying._client() as connection:
                connection._client.socket().shutdown(socket.SHUT_RDWR)  # the machine is gone in the midst of it
                await heard.until(lambda: alive(heard)["n2"] is False)
            assert before._replace(alive=False) == heard.claim("n2")

    asyncio.run(test())


def test_a_member_that_is_called_dead_and_is_not_says_so(broker: Broker) -> None:
    async def test() -> None:
        heard = Heard()
        slandered = member(broker, "n2")
        async with running((member(broker, "n1"), heard), (slandered, Heard())):
            await heard.until(lambda: alive(heard).get("n2") is True)
            async with client(broker) as somebody:
                await somebody.publish("mesh/alive/n2/machine-of-n2", slandered._liveness(alive=False), 1, True)
            await heard.until(lambda: any(one.alive is False for report in heard.reports for one in report))
            await heard.until(lambda: alive(heard)["n2"] is True)

    asyncio.run(test())


def test_a_restarted_broker_is_found_again_and_nobody_was_away(broker: Broker) -> None:
    async def test() -> None:
        heard = Heard()
        async with running((member(broker, "n1"), heard), (member(broker, "n2"), Heard())):
            await found(heard, "n1", "n2")
            reports = len(heard.reports)
            broker.stop()
            await heard.until(lambda: heard.troubles)
            broker.start()
            await heard.until(lambda: len(heard.reports) > reports)
            assert all({"n1", "n2"} == {one.id for one in report} for report in heard.reports[reports:])

    asyncio.run(test())


def test_a_member_ends_when_it_is_told_to_while_the_broker_is_lost(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail_at_the_end(_: Client) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            raise MqttError("the broker has gone")

    async def test() -> None:
        heard, ending = Heard(), member(broker, "n1")
        monkeypatch.setattr(ending, "_repeat", fail_at_the_end)
        task = asyncio.create_task(ending.run(heard))
        await found(heard, "n1")
        task.cancel()
        await asyncio.wait({task}, timeout=20)
        assert task.cancelled()

    asyncio.run(test())


def test_a_broker_that_has_forgotten_everything_hears_it_again(broker: Broker) -> None:
    async def test() -> None:
        heard, late = Heard(), Heard()
        async with running((member(broker, "n1"), heard), (member(broker, "n2"), Heard())):
            await found(heard, "n1", "n2")
            since = heard.claim("n2").since
            broker.kill()
            broker.forget()
            await heard.until(lambda: heard.troubles)
            broker.start()
            async with running((member(broker, "n3"), late)):
                await found(late, "n1", "n2", "n3")
                assert since == late.claim("n2").since, "who was there all the time has it as long as before"

    asyncio.run(test())


def test_garbage_stale_and_forged_messages_are_refused_and_reported(broker: Broker) -> None:
    async def test() -> None:
        heard = Heard()
        async with running((member(broker, "n1"), heard), (member(broker, "n2"), Heard())):
            await found(heard, "n1", "n2")
            before = heard.claim("n2")
            stale = encode(Announcement(own("n2", pods="10.9.0.0/24", since=1.0), 0, 0, 60), SECRET)
            forged = encode(Announcement(own("n2", pods="10.9.0.0/24", since=1.0), 1 << 60, 1, 60), b"guessed")
            async with client(broker) as somebody:
                for topic, payload in (
                    ("mesh/member/n2/machine-of-n2", stale),
                    ("mesh/member/n2/machine-of-n2", forged),
                    ("mesh/member/n7/m", b"\xff\x00garbage"),
                    ("mesh/alive/n2/machine-of-n2", b"{}"),
                ):
                    await somebody.publish(topic, payload, 1, True)
            await heard.until(lambda: len(heard.refusals) >= 4)
            reasons = " ".join(why for _, why in heard.refusals)
            assert all(word in reasons for word in ("stale", "signature is wrong", "not JSON", "not signed"))
            await heard.until(lambda: alive(heard) == {"n1": True, "n2": True})
            assert before == heard.claim("n2")
            late = Heard()
            async with running((member(broker, "n3"), late)):
                # n2 has put its own words back over the forged ones.
                await found(late, "n1", "n2", "n3")

    asyncio.run(test())


def test_an_announcement_that_somebody_removes_is_made_again(broker: Broker) -> None:
    async def test() -> None:
        heard = Heard()
        async with running((member(broker, "n1"), heard), (member(broker, "n2"), Heard())):
            await found(heard, "n1", "n2")
            async with client(broker) as somebody:
                await somebody.publish("mesh/member/n2/machine-of-n2", b"", 1, True)
            await heard.until(lambda: any(len(report) == 1 for report in heard.reports[1:]))
            await found(heard, "n1", "n2")

    asyncio.run(test())


def test_a_clock_that_went_back_does_not_make_a_restarted_member_stale(broker: Broker) -> None:
    async def test() -> None:
        heard = Heard()
        async with running((member(broker, "n1"), heard)):
            async with running((member(broker, "n2"), Heard())):
                await found(heard, "n1", "n2")
            restarted = member(broker, "n2", pods="10.2.0.0/24", wall=lambda: 1e6)
            async with running((restarted, Heard())):
                await heard.until(lambda: heard.claim("n2").pods)
                assert [] == [why for topic, why in heard.refusals if "/member/" in topic]

    asyncio.run(test())


def test_clocks_that_jump_take_nobody_away(broker: Broker) -> None:
    async def test() -> None:
        heard, now = Heard(), [1e9]
        jumping = member(broker, "n2", wall=lambda: now[0])
        async with running((member(broker, "n1"), heard), (jumping, Heard())):
            await heard.until(lambda: alive(heard).get("n2") is True)
            since = dict(heard.claim("n2").since)
            for jump, pods in ((2e9, "10.2.0.0/24"), (1e3, "10.2.1.0/24")):
                now[0] = jump
                said = own("n2", pods=pods)
                jumping.say(said)
                await heard.until(lambda said=said: heard.claim("n2").pods == said.pods)
                assert since.items() <= dict(heard.claim("n2").since).items(), "it has its name as long as before"
            assert ({"n1": True, "n2": True}, []) == (alive(heard), heard.refusals)

    asyncio.run(test())


def test_a_member_that_says_good_bye_has_left(broker: Broker) -> None:
    async def test() -> None:
        heard = Heard()
        leaving = member(broker, "n2")
        async with running((member(broker, "n1"), heard), (leaving, Heard())):
            await found(heard, "n1", "n2")
            leaving.say(own("n2", left=True))
            await heard.until(lambda: heard.claim("n2").left)

    asyncio.run(test())


def test_two_machines_of_one_name_are_both_heard(broker: Broker) -> None:
    async def test() -> None:
        heard = Heard()
        async with running((member(broker, "n1"), heard), (member(broker, "n1", "another"), Heard())):
            await heard.until(lambda: len(heard.claims or ()) == 2)
            assert {"machine-of-n1", "another"} == {one.claimant for one in heard.claims or ()}

    asyncio.run(test())


def test_without_a_broker_a_source_says_so_and_tries_again(broker: Broker) -> None:
    async def test() -> None:
        heard = Heard()
        broker.stop()
        async with running((member(broker, "n1"), heard)):
            await heard.until(lambda: heard.troubles)
            assert heard.claims is None
            assert broker.url in heard.troubles[0]
            broker.start()
            await found(heard, "n1")

    asyncio.run(test())
