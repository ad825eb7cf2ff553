from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from core.settings.evaluation import EvaluationSettings
from recommender.errors import TrainingDataError
from recommender.inputs.splits import Cuts, event_weights, global_time_cuts


def days(*numbers: int) -> np.ndarray:
    return np.datetime64("2026-01-01", "us") + np.array(numbers) * np.timedelta64(1, "D")


def shares(validation: float, test: float) -> EvaluationSettings:
    return EvaluationSettings(validation_share=validation, test_share=test)


def at(day: float) -> datetime:
    return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=day)


def test_cuts_lie_at_the_quantiles():
    assert global_time_cuts(days(*range(10)), shares(0.2, 0.1)) == Cuts(at(7), at(9))


def test_order_of_the_events_does_not_matter():
    shuffled = np.random.default_rng(0).permutation(days(*range(10)))
    assert global_time_cuts(shuffled, shares(0.2, 0.1)) == Cuts(at(7), at(9))


def test_windows_are_never_empty_however_crowded_the_last_instant_is():
    assert global_time_cuts(days(0, 1, 2, 2, 2, 2, 2, 2, 2, 2), shares(0.1, 0.1)) == Cuts(at(1), at(2))


def test_windows_are_never_empty_however_crowded_the_first_instant_is():
    assert global_time_cuts(days(0, 0, 0, 0, 0, 0, 0, 0, 1, 2), shares(0.4, 0.1)) == Cuts(at(1), at(2))


def test_split_of_an_event_at_the_cut_is_the_later_one():
    cuts = Cuts(at(7), at(9))
    assert [cuts.split_of(at(day)) for day in (6, 7, 8, 9, 10)] == ["train", "validation", "validation", "test", "test"]


def test_too_few_instants_are_refused():
    with pytest.raises(TrainingDataError, match="distinct_timestamps=2"):
        global_time_cuts(days(0, 0, 1, 1), shares(0.1, 0.1))


def test_a_busy_user_does_not_fill_a_window():
    # Nine users of ten events each, one a day; a tenth asks for 900 items on the last day.
    times = np.concatenate([days(*range(10)) for _ in range(9)] + [np.repeat(days(9), 900)])
    users = np.repeat(np.arange(10), [10] * 9 + [900])
    assert global_time_cuts(times, shares(0.1, 0.1)) == Cuts(at(8), at(9))
    # Those 900 count as 100, ten times the median user's: 109 of 190 lie on the last day.
    assert global_time_cuts(times, shares(0.2, 0.2), users) == Cuts(at(8), at(9))
    assert event_weights(users)[-1] == pytest.approx(100 / 900)
    early = np.concatenate([days(*range(10)) for _ in range(9)] + [np.repeat(days(8), 900)])
    assert global_time_cuts(early, shares(0.1, 0.01)) == Cuts(at(8), at(9))
    assert global_time_cuts(early, shares(0.1, 0.04), users) == Cuts(at(8), at(9))


def test_a_user_of_ordinary_length_counts_in_full():
    assert (event_weights(np.repeat(np.arange(3), [1, 2, 20])) == 1).all()
    assert event_weights(np.repeat(np.arange(3), [1, 2, 21]))[-1] == pytest.approx(20 / 21)


@pytest.mark.parametrize(
    ("windows", "cuts"),
    [
        ({"validation_from": "2026-01-05", "test_from": "2026-01-08"}, (4, 7)),
        ({"validation_from": "2d", "test_from": "3 days"}, (4, 6)),
        ({"validation_from": "PT36H", "test_from": "2026-01-08T00:00:00+00:00"}, (5.5, 7)),
        ({"validation_from": "2d", "test_share": 0.2}, (6, 8)),
        ({"validation_from": "2026-01-02", "test_share": 0.4}, (1, 6)),
        ({"validation_share": 0.3, "test_from": "2026-01-08T12:00:00"}, (5, 7.5)),
        ({"validation_share": 0.3, "test_from": "4d"}, (2, 5)),
        # A share gives way to what is named.
        ({"validation_from": "2026-01-09", "test_share": 0.4}, (8, 9)),
        ({"validation_share": 0.4, "test_from": "2026-01-03"}, (1, 2)),
    ],
)
def test_windows_open_where_the_settings_say(windows, cuts):
    found = global_time_cuts(days(*range(10)), EvaluationSettings(**windows))
    assert found == Cuts(at(cuts[0]), at(cuts[1]))


@pytest.mark.parametrize(
    ("windows", "counts"),
    [
        ({"test_from": "2027-01-01"}, "1 in validation, 0 in test"),
        ({"test_from": "30d"}, "0 in validation, 10 in test"),
        ({"validation_from": "2025-01-01"}, "0 before"),
        ({"validation_from": "2026-01-09", "test_from": "2026-01-05"}, "8 before, 0 in validation"),
        ({"validation_from": "PT1H", "test_from": "2026-01-05T12:00:00"}, "5 before, 0 in validation, 5 in test"),
        ({"validation_from": "20d"}, "0 before"),
    ],
)
def test_windows_without_events_are_refused(windows, counts):
    with pytest.raises(TrainingDataError, match=f"{counts}.*2026-01-01 00:00 to 2026-01-10 00:00"):
        global_time_cuts(days(*range(10)), EvaluationSettings(**windows))
