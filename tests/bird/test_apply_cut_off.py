"""A file that parses and cuts the session off is undone before anybody has to notice, and the session stands again."""

from __future__ import annotations

import asyncio

import pytest

from rtagent.core.bird_apply import Outcome
from rtagent.sinks.bird import BirdSink
from rtagent.sinks.birdc import BirdClient
from tests.bird.pair import Pair
from tests.lab.birds import INSTALLED, RELEASES, BirdRelease
from tests.lab.lab import Lab

SOME = [INSTALLED, next(release for release in RELEASES if release.suite == "trixie-backports")]


@pytest.mark.parametrize("release", SOME, ids=lambda release: release.name)
def test_a_file_that_cuts_everybody_off_is_undone(release: BirdRelease) -> None:
    if not release.present:
        pytest.skip(release.absence)
    with Lab() as lab:
        pair = Pair(lab, release)
        ours = lab.folder / "peer.conf"
        text = pair.left.config.read_text()
        start = text.index("protocol bgp right")
        end = text.index("protocol bgp nobody")
        good = text[start:end]
        ours.write_text(good)
        pair.left.config.write_text(f'{text[:start]}include "peer.conf";\n{text[end:]}')
        pair.start()

        async def stands(bird: BirdClient) -> list[str]:
            """Wait, a second at most, for the session."""
            for _ in range(50):
                right = await bird.protocol("right")
                if right.bgp is not None and right.bgp.state == "Established":
                    return []
                await asyncio.sleep(0.02)
            return ["no session"]

        async def applied() -> tuple[Outcome, tuple[str, ...], str]:
            sink = BirdSink(pair.left.socket, pair.left.config, lab.folder / "apply")
            cut_off = good.replace("neighbor 192.0.2.2 as 65000", "neighbor 192.0.2.2 as 65009")
            result = await sink.apply({ours: cut_off}, verify=stands, timeout_s=20)
            async with BirdClient(pair.left.socket) as bird:
                while await stands(bird):
                    pass
                return result.outcome, result.reasons, (await bird.protocol("right")).state

        assert (Outcome.UNDONE, ("no session",), "up") == asyncio.run(applied())
        assert good == ours.read_text()
