"""A clock that is set back or forward an hour while time goes on."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise

import pytest

from core.timing.clock import SteadyClock

START = datetime(2026, 3, 1, 12, tzinfo=UTC).timestamp()
HOUR_S = 3600.0


class Machine:
    """Its clock, and the time that passes."""

    def __init__(self) -> None:
        self.set_by, self.passed = 0.0, 0.0
        self.clock = SteadyClock(lambda: START + self.passed + self.set_by, lambda: 5.0 + self.passed)

    def seconds(self) -> float:
        """What the steady clock shows, seconds since the start."""
        return self.clock.now().timestamp() - START


def test_a_clock_that_is_not_set_is_the_machines() -> None:
    machine = Machine()
    for passed in (0.0, 10.0, 10.0, 86_400.0):
        machine.passed = passed
        assert machine.seconds() == pytest.approx(passed)
        assert machine.clock.latest() == machine.clock.earliest() == machine.clock.now()


def test_after_it_was_set_back_what_comes_later_has_the_later_time() -> None:
    machine = Machine()
    machine.passed = 60.0
    assert machine.seconds() == pytest.approx(60.0)
    machine.set_by = -HOUR_S
    shown = []
    for _ in range(1000):
        machine.passed += 10.0
        shown.append(machine.seconds())
    assert all(late > early for early, late in pairwise(shown))
    assert shown[0] == pytest.approx(65.0)
    assert shown[-1] == pytest.approx(machine.passed - HOUR_S), "the clock has caught up after two hours"


def test_what_it_is_set_forward_to_is_shown_and_kept_when_it_is_set_right() -> None:
    machine = Machine()
    machine.set_by = HOUR_S
    machine.passed = 10.0
    assert machine.seconds() == pytest.approx(HOUR_S + 10)
    machine.set_by = 0.0
    machine.passed = 20.0
    assert machine.seconds() == pytest.approx(HOUR_S + 15)
    machine.passed = 3 * HOUR_S
    assert machine.seconds() == pytest.approx(3 * HOUR_S)


@pytest.mark.parametrize("set_by", [-HOUR_S, HOUR_S])
def test_others_whose_clocks_are_right_lie_within(set_by: float) -> None:
    machine = Machine()
    machine.passed, machine.set_by = 600.0, set_by
    right = datetime.fromtimestamp(START + 600.0, UTC)
    assert machine.clock.earliest() <= right <= machine.clock.latest()
    assert abs((machine.clock.latest() - machine.clock.earliest()).total_seconds()) == HOUR_S
