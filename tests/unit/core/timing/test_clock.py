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


@pytest.mark.parametrize("days", [1, 365])
def test_what_it_was_set_forward_to_by_far_is_forgotten_when_it_is_set_right(
    days: int, caplog: pytest.LogCaptureFixture
) -> None:
    machine = Machine()
    machine.set_by = days * 24 * HOUR_S
    assert machine.seconds() == pytest.approx(days * 24 * HOUR_S)
    machine.set_by = 0.0
    for passed in (10.0, 20.0, HOUR_S):
        machine.passed = passed
        assert machine.seconds() == pytest.approx(passed)
    assert [record.getMessage() for record in caplog.records] == [
        f"The machine's clock was set back {days * 86400 - 5} s: times are by the clock again"
    ]


@pytest.mark.parametrize("set_by", [-48 * HOUR_S, 48 * HOUR_S])
def test_a_clock_that_stays_as_it_was_set_is_right_after_an_hour(set_by: float) -> None:
    """A service may have started with a wrong one."""
    machine = Machine()
    machine.set_by = set_by
    for minutes in range(60):
        machine.passed = 60.0 * minutes
        apart = machine.clock.latest() - machine.clock.earliest()
        assert apart.total_seconds() == pytest.approx(abs(set_by)), "either may be right"
    machine.passed = HOUR_S + 60
    right = datetime.fromtimestamp(START + machine.passed + set_by, UTC)
    assert machine.clock.latest() == machine.clock.earliest() == right
    machine.passed += 30 * HOUR_S
    assert (machine.clock.latest() - machine.clock.earliest()).total_seconds() == pytest.approx(0.0, abs=1e-3)


def test_a_clock_that_is_wrong_for_a_while_is_not_taken_for_right() -> None:
    machine = Machine()
    for minutes in range(600):
        machine.passed = 60.0 * minutes
        machine.set_by = HOUR_S if minutes % 60 < 50 else 0.0
        machine.clock.latest()
    machine.set_by = HOUR_S
    assert machine.clock.earliest().timestamp() == pytest.approx(START + machine.passed, abs=1.0)
