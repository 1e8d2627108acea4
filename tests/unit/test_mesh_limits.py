"""When a member that has exceeded its limit is asked again."""

from __future__ import annotations

from rtagent.core.mesh.limits import Breach, Retries

OVER = Breach("mesh.n1", ("ipv4",), 64, "block", down=False, room=False)


def asked(retries: Retries, breach: Breach | None, until_s: int) -> list[int]:
    """Return the seconds at which it is asked, of one look a second."""
    found = [] if breach is None else [breach]
    return [second for second in range(until_s) if retries.take(found, float(second))[1]]


def test_as_long_as_it_does_not_help_it_is_asked_less_and_less_often() -> None:
    assert [10, 30, 70, 150, 310, 630, 950] == asked(Retries(10), OVER, 1200)


def test_where_there_is_room_again_the_wait_is_short() -> None:
    retries = Retries(10)
    asked(retries, OVER, 400)
    assert [OVER._replace(room=True)] == retries.take([OVER._replace(room=True)], 401.0)[1]


def test_a_breach_that_comes_back_at_once_is_the_same_one() -> None:
    retries = Retries(10)
    asked(retries, OVER, 200)
    assert ([], []) == retries.take([], 200.0)
    assert ([OVER], []) == retries.take([OVER], 201.0)
    assert 109 == retries.wait_s(OVER, 201.0)


def test_a_breach_long_after_another_is_a_new_one() -> None:
    retries = Retries(10)
    asked(retries, OVER, 100)
    for second in (100.0, 200.0):
        assert ([], []) == retries.take([], second)
    assert ([OVER], []) == retries.take([OVER], 300.0)
    assert 10 == retries.wait_s(OVER, 300.0)


def test_a_warning_is_taken_back_when_its_cause_is_gone_and_not_before() -> None:
    warned = OVER._replace(action="warn")
    retries = Retries(10)
    assert ([], None) == (asked(retries, warned, 500), retries.wait_s(warned, 500.0))
    assert [warned._replace(room=True)] == retries.take([warned._replace(room=True)], 500.0)[1]


def test_who_was_asked_when_there_was_room_is_well_until_there_is_none_again() -> None:
    retries, quiet = Retries(10), OVER._replace(room=True)
    asked(retries, OVER, 400)
    assert ([quiet], [quiet]) == retries.take([quiet], 400.0)
    assert ([], []) == retries.take([quiet], 10_000.0)
    assert ([OVER], []) == retries.take([OVER], 10_001.0)
    assert 10 == retries.wait_s(OVER, 10_001.0)


def test_nobody_is_asked_if_that_is_not_wanted() -> None:
    retries = Retries(0)
    assert ([], None) == (asked(retries, OVER, 500), retries.wait_s(OVER, 500.0))
