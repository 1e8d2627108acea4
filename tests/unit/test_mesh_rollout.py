"""The way from one configuration to another: each step follows from what is on disk and what stands."""

from __future__ import annotations

from dataclasses import replace

from rtagent.core.mesh.options import Options
from rtagent.core.mesh.rollout import Carries, Files, Sessions, Target, bridged, step
from rtagent.core.mesh.sessions import Topology
from rtagent.core.mesh.text import bridge
from rtagent.vector.members import Members
from tests.meshes import OLD, TEMPLATES, configured, mesh, named

OPTIONS = Options(authentication="md5")
UP = Carries(True, (1, 1), (1, 1))


def target(members: Members, secret: bytes = b"new", topology: Topology = Topology.MESH) -> Target:
    """Return where lb-1 has to go."""
    me = named(members, "lb-1")
    final, whole = (configured(members, "lb-1", OPTIONS, topology=shape, secret=secret)
                    for shape in (topology, Topology.MESH))  # fmt: skip
    return Target(final, whole, lambda made, names: bridge(made, names, me, OPTIONS, TEMPLATES, OLD, secret))


def walk(disk: Files, end: Target, sessions: Sessions) -> tuple[list[str], Files]:
    """Take steps until none can be taken; return why each was taken, and what is on disk then."""
    reasons = []
    while (next_ := step(disk, end, sessions)) is not None and next_.files is not None:
        reasons.append(next_.why)
        disk = next_.files
    return reasons, disk


OLD_FILES = configured(mesh(2), "lb-1", OPTIONS, secret=b"old").files
FIRST = {"mesh.node-2": UP, "mesh.node-3": UP}
SECOND = {"mesh:next.node-2": UP, "mesh:next.node-3": UP}


def test_there_is_no_step_at_the_end_of_the_way() -> None:
    assert step(OLD_FILES, target(mesh(2), b"old"), {}) is None


def test_a_first_configuration_is_one_step() -> None:
    end = target(mesh(2))
    assert ([""], end.final.files) == walk({"mesh.conf": "", "mesh-keys.conf": ""}, end, {})


def test_a_new_secret_waits_with_both_sessions_until_the_second_ones_carry_the_routes() -> None:
    reasons, disk = walk(OLD_FILES, target(mesh(2)), FIRST)
    assert ["second sessions beside those that have to restart"] == reasons
    assert bridged(disk)
    waiting = step(disk, target(mesh(2)), FIRST | {"mesh:next.node-2": UP, "mesh:next.node-3": Carries(True)})
    assert waiting is not None
    assert (None, ("mesh:next.node-3",)) == (waiting.files, waiting.waits_for)


def test_a_new_secret_arrives_once_everything_stands() -> None:
    reasons, disk = walk(OLD_FILES, target(mesh(2)), FIRST | SECOND)
    assert ["second sessions beside those that have to restart", "the first ones restart", ""] == reasons
    assert target(mesh(2)).final.files == disk


def test_the_second_sessions_stay_until_the_first_stand_again() -> None:
    _, beside = walk(OLD_FILES, target(mesh(2)), FIRST)
    restart = step(beside, target(mesh(2)), FIRST | SECOND)
    assert restart is not None
    assert restart.files is not None
    waiting = step(restart.files, target(mesh(2)), SECOND | {"mesh.node-2": UP})
    assert waiting is not None
    assert (None, ("mesh.node-3",)) == (waiting.files, waiting.waits_for)


def test_only_steps_that_take_something_away_need_to_settle() -> None:
    _, beside = walk(OLD_FILES, target(mesh(2)), FIRST)
    settling = [step(disk, target(mesh(2)), FIRST | SECOND) for disk in (OLD_FILES, beside)]
    assert [False, True] == [bool(next_ and next_.settle_s) for next_ in settling]


def test_what_restarts_is_told_on_the_whole_way_until_it_has() -> None:
    first = step(OLD_FILES, target(mesh(2)), FIRST)
    assert first is not None
    assert ("mesh.node-2", "mesh.node-3") == first.restarts
    assert not [change for change in first.plan.changes if change.unrelated]


def test_a_member_that_goes_while_second_sessions_are_there_is_not_waited_for() -> None:
    _, beside = walk(OLD_FILES, target(mesh(2)), FIRST)
    rest = {name: carries for name, carries in (FIRST | SECOND).items() if name.endswith("node-2")}
    fewer = tuple(one for one in mesh(2) if one.id != "node-3")
    assert target(fewer).final.files == walk(beside, target(fewer), rest)[1]


def test_to_reflectors_only_when_each_of_them_carries_everything() -> None:
    members = mesh(2, reflectors=2)
    whole = configured(members, "lb-1", OPTIONS, secret=b"new").files
    end = target(members, topology=Topology.REFLECTORS)
    stand = {"mesh.node-4": UP, "mesh.node-5": UP, "mesh.reflector-2": Carries(True, (2, 2))}
    waiting = step(whole, end, stand | {"mesh.reflector-3": Carries(True, (2, 1))})
    assert waiting is not None
    assert (None, ("mesh.reflector-3",)) == (waiting.files, waiting.waits_for)
    _, disk = walk(whole, end, stand | {"mesh.reflector-3": Carries(True, (2, 2))})
    assert end.final.files == disk
    assert whole == walk(disk, target(members), {})[1], "back: nothing has to be waited for"


def test_a_drained_member_is_one_step() -> None:
    drained = replace(OPTIONS, drained=True)
    final = configured(mesh(2), "node-2", drained, secret=b"old")
    before = configured(mesh(2), "node-2", OPTIONS, secret=b"old").files
    next_ = step(before, Target(final, final, lambda made, names: {}), FIRST)
    assert next_ is not None
    assert (final.files, ()) == (next_.files, next_.restarts)
