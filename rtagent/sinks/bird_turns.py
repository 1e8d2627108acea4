"""What BIRD is told of its configuration, one thing after the other, each when the one before is over.

BIRD takes its time where a protocol must stop first, and answers meanwhile; 3.3.2 aborts if it is told again before it
has done. So everything here asks first, and waits. Nobody else is held off by that: who tells BIRD in between is
recognised by the time at which BIRD read what is in force. BIRD keeps that by the monotonic clock and tells it as time
of the day, not twice exactly the same; but counted from its start, which it tells likewise, it is.
"""

from __future__ import annotations

import asyncio
import math
from datetime import datetime

from rtagent.core.bird_apply import BirdState, Phase, Step, next_step
from rtagent.core.failures import Disconnected
from rtagent.sinks.birdc import BirdClient, Unresponsive
from rtagent.wire.birdc import commands
from rtagent.wire.birdc.replies import Configuring, Status, parse_configuration_file, parse_configured

_POLL_S = 0.02
_ROUNDED_S = 0.003
"""Two times of a thousandth of a second, and the difference of them twice."""


class BirdTurns:
    """Talks with BIRD; each wait may raise TimeoutError after ``timeout_s``, and everything what BirdClient raises."""

    def __init__(self, client: BirdClient, timeout_s: float) -> None:
        self._client = client
        self._timeout_s = timeout_s
        self.config = ""
        """The operator's file, as BIRD names it when it reads it."""
        self._read: Status | None = None
        """What BIRD said of itself when it had read what we told it to."""

    async def idle(self) -> bool:
        """Return when BIRD is busy with nobody's configuration and none is unconfirmed, and whether it runs."""
        async with asyncio.timeout(self._timeout_s):
            while True:
                try:
                    state = await self.state()
                except Unresponsive:
                    raise
                except Disconnected:
                    return False
                if not state.in_progress and not state.undo_pending:
                    return True
                await asyncio.sleep(_POLL_S)

    async def configure(self) -> None:
        """Let BIRD read the files, to be undone after the time, and return when they are in force."""
        answer = await self._client.command(commands.configure(undo_after_s=math.ceil(self._timeout_s)))
        self.config = parse_configuration_file(answer)
        in_force = parse_configured(answer) is Configuring.DONE
        async with asyncio.timeout(self._timeout_s):
            while not in_force and (await self.state()).in_progress:
                await asyncio.sleep(_POLL_S)
        self._read = await self._client.status()
        await asyncio.sleep(2 * _ROUNDED_S)  # who tells BIRD from now on has a time that is another than ours

    @property
    def configured(self) -> bool:
        """Whether BIRD has read the files because of us."""
        return self._read is not None

    async def state(self) -> BirdState:
        """Return what BIRD says of its configuration, and whether what it read because of us is in force still."""
        status = await self._client.configure_status()
        if status.state is Configuring.SHUTTING_DOWN:
            raise Disconnected("BIRD is shutting down")
        ours = None
        if self._read is not None:
            ours = same_configuration(self._read, await self._client.status())
        return BirdState(status.state is not Configuring.DONE, status.undo_in_s is not None, ours)

    async def settle(self, phase: Phase, state: BirdState | None = None) -> None:
        """Tell BIRD what the phase asks for, and return when it has done it; ``state`` is what it has just said."""
        told = False
        async with asyncio.timeout(self._timeout_s):
            while True:
                step = next_step(phase, state or await self.state())
                state = None
                if step is Step.WAIT:
                    await asyncio.sleep(_POLL_S)
                elif told or step is Step.DONE:
                    return
                elif step is Step.CONFIRM:
                    if await self._client.confirm() is Configuring.CONFIRMED:
                        return
                else:
                    await (self._client.undo() if step is Step.UNDO else self._client.configure())
                    told = True


def same_configuration(one: Status, other: Status) -> bool:
    """Whether BIRD has neither started anew nor read its configuration anew between two looks at its status."""
    times = [_after_start_s(status) for status in (one, other)]
    if times[0] is None or times[1] is None:  # a timeformat of the operator's
        return (one.last_reboot, one.last_reconfiguration) == (other.last_reboot, other.last_reconfiguration)
    tolerance_s = _ROUNDED_S if "." in one.last_reconfiguration else 1.0
    return abs(times[0] - times[1]) <= tolerance_s


def _after_start_s(status: Status) -> float | None:
    try:
        read, started = map(datetime.fromisoformat, (status.last_reconfiguration, status.last_reboot))
    except ValueError:
        return None
    return (read - started).total_seconds()
