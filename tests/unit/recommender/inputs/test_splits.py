from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from recommender.errors import TrainingDataError
from recommender.inputs.splits import Cuts, global_time_cuts


def days(*numbers: int) -> np.ndarray:
    return np.datetime64("2026-01-01", "us") + np.array(numbers) * np.timedelta64(1, "D")


def at(day: int) -> datetime:
    return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=day)


def test_cuts_lie_at_the_quantiles():
    assert global_time_cuts(days(*range(10)), 0.2, 0.1) == Cuts(at(7), at(9))


def test_order_of_the_events_does_not_matter():
    shuffled = np.random.default_rng(0).permutation(days(*range(10)))
    assert global_time_cuts(shuffled, 0.2, 0.1) == Cuts(at(7), at(9))


def test_windows_are_never_empty_however_crowded_the_last_instant_is():
    assert global_time_cuts(days(0, 1, 2, 2, 2, 2, 2, 2, 2, 2), 0.1, 0.1) == Cuts(at(1), at(2))


def test_windows_are_never_empty_however_crowded_the_first_instant_is():
    assert global_time_cuts(days(0, 0, 0, 0, 0, 0, 0, 0, 1, 2), 0.4, 0.1) == Cuts(at(1), at(2))


def test_split_of_an_event_at_the_cut_is_the_later_one():
    cuts = Cuts(at(7), at(9))
    assert [cuts.split_of(at(day)) for day in (6, 7, 8, 9, 10)] == ["train", "validation", "validation", "test", "test"]


def test_too_few_instants_are_refused():
    with pytest.raises(TrainingDataError, match="distinct_timestamps=2"):
        global_time_cuts(days(0, 0, 1, 1), 0.1, 0.1)


@pytest.mark.parametrize("shares", [(0.5, 0.5), (0.0, 0.1), (0.1, 0.0), (0.1, -0.1)])
def test_shares_that_leave_no_window_are_refused(shares):
    with pytest.raises(TrainingDataError, match=f"validation_share={shares[0]}, test_share={shares[1]}"):
        global_time_cuts(days(*range(10)), *shares)
