"""Figures of experiments, worked by hand."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from core.experiments import CHAMPION, BundlePlace, Experiment, Variant
from core.logs.events import EventLog, Interaction
from core.logs.predictions import Prediction
from core.logs.pruning import prune_segments
from core.promotions import Change, Standing
from core.settings.monitoring import ExperimentSettings
from monitoring.online.figures import ExperimentFigures, compute_figures
from monitoring.online.intervals import OpenInterval, quantile, ratio
from monitoring.online.shown import PredictionLogError
from tests.unit.monitoring.online.test_shown import write

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
SETTINGS = ExperimentSettings(clicks=("click",), click_window_s=60, observe_s=600)
MODEL = "sommelier-tiny"


def experiment(kind: str = "split", share: float = 0.5, **more: Any) -> Experiment:
    place = BundlePlace(version="v2", digest="d2")
    variants = (Variant(name="new", bundle=place, share=share),)
    fields = {"name": "try", "kind": kind, "variants": variants, "started_at": NOON.isoformat(), "generation": 1}
    return Experiment.model_validate({**fields, **more})


def standing(folder: Path, *later: Change) -> Standing:
    first = Change(at="2026-02-01T00:00:00+00:00", action="promoted", version="v1", digest="d1")
    for version in ("v1", "v2"):
        place = folder / MODEL / version / "vectors"
        place.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table({"item_id": [f"i{n}" for n in range(8)]}), place / "catalogue.parquet")
    return Standing(folder=folder / MODEL, changes=(first, *later))


def answer(number: int, variant: str, user: str, seconds: float = 0.0, **more: Any) -> Prediction:
    fields: dict[str, Any] = {
        "recommendation_id": f"r{number}",
        "at": (NOON + timedelta(seconds=seconds)).isoformat(),
        "endpoint": "/v1/recommend",
        "model": f"{MODEL}:{'v1' if variant == CHAMPION else 'v2'}",
        "items": ("i0", "i1"),
        "scores": (2.0, 1.0),
        "user_id": user,
        "unit": "user",
        "experiment": "try",
        "variant": variant,
        "took_ms": 2.0,
    }
    return Prediction(**{**fields, **more})


def click(number: int, item: str = "i0", seconds: float = 1.0) -> Interaction:
    return Interaction(
        f"e{number}-{item}", "somebody", item, "click", NOON + timedelta(seconds=seconds), None, f"r{number}"
    )


def moment(seconds: float) -> str:
    return (NOON + timedelta(seconds=seconds)).isoformat()


def lose(log: Path, seconds: float) -> None:
    """Have the log drop a segment that was written up to a moment."""
    old = log / "0.jsonl"
    old.write_bytes(b"")
    os.utime(old, (NOON.timestamp() + seconds,) * 2)
    room = sum(segment.stat().st_size for segment in log.glob("*.jsonl"))
    assert prune_segments(
        log, room, (datetime.now(UTC) - NOON).total_seconds() / 86_400 - seconds / 86_400 - 0.0001
    ) == [old]


def figures(
    one: Experiment, serves: Standing, log: Path, folder: Path, now: datetime = NOON + timedelta(hours=1)
) -> ExperimentFigures:
    return compute_figures(one, serves, log, EventLog(folder / "none"), SETTINGS, now)


def test_figures_by_variant(tmp_path: Path) -> None:
    log = write(
        tmp_path / "predictions",
        answer(1, CHAMPION, "u1", took_ms=1.0),
        answer(2, CHAMPION, "u1", took_ms=3.0),
        answer(3, CHAMPION, "u2", took_ms=2.0, items=("i2",), scores=(1.0,)),
        answer(4, "new", "u3", items=("i0", "i1", "i2", "i3"), scores=(4.0, 3.0, 2.0, 1.0)),
        answer(5, "", "u4", experiment=""),
        answer(6, "new", "u5", experiment="another"),
        answer(7, "new", "u3", seconds=-60),  # before it began
    )
    events = EventLog(tmp_path / "events.sqlite")
    events.append([click(1), click(4, "i1"), click(4, "i2"), click(5), click(7)])
    found = compute_figures(experiment(), standing(tmp_path), log, events, SETTINGS, NOON + timedelta(hours=1))
    champion, new = found.variants
    assert (champion.variant, champion.share, champion.models) == (CHAMPION, 0.5, (f"{MODEL}:v1",))
    assert (champion.answers, champion.users, champion.impressions, champion.clicks) == (3, 2, 5, 1)
    assert champion.ctr is not None
    assert champion.hit_rate is not None
    assert champion.latency_p50_ms is not None
    assert champion.ctr.value == pytest.approx(1 / 5)
    assert champion.hit_rate.value == pytest.approx(1 / 3)
    assert champion.latency_p50_ms.value == 2.0
    assert champion.coverage == pytest.approx(3 / 8)
    assert (new.answers, new.users, new.impressions, new.clicks) == (1, 1, 4, 2)
    assert new.coverage == pytest.approx(4 / 8)
    (test,) = found.tests
    assert (test.variant, test.control, test.users, test.difference) == ("new", CHAMPION, 3, None)
    assert test.control_hit_rate == pytest.approx(1 / 4)
    assert "Too few users yet: 1 of new and 2 of champion are known to the end, expected 100 of each" in test.note


def test_lists_that_could_not_be_made_are_counted_beside_the_others(tmp_path: Path) -> None:
    failed: dict[str, Any] = {"role": "failed", "items": (), "scores": (), "failure": "NotFinite"}
    log = write(
        tmp_path / "predictions",
        answer(1, CHAMPION, "u1"),
        answer(2, CHAMPION, "u2"),
        answer(3, "new", "u3"),
        answer(4, "new", "u3", **failed),
        answer(5, "new", "u4", **failed),
        answer(6, "new", "u4", seconds=-60, **failed),  # before it began
        answer(7, "new", "u4", **{**failed, "experiment": "another"}),
    )
    champion, new = figures(experiment(), standing(tmp_path), log, tmp_path).variants
    assert (champion.answers, champion.failed) == (2, 0)
    assert champion.failure_rate is not None
    assert champion.failure_rate.value == 0
    assert (new.answers, new.users, new.failed) == (1, 1, 2)
    assert new.failure_rate is not None
    assert new.failure_rate.value == pytest.approx(2 / 3)


@pytest.mark.parametrize("kind", ["split", "shadow"])
def test_a_variant_that_only_fails_has_that_for_a_figure(tmp_path: Path, kind: str) -> None:
    failed: dict[str, Any] = {"role": "failed", "items": (), "scores": (), "failure": "NotFinite"}
    log = write(tmp_path / "predictions", *(answer(n, "new", f"u{n}", **failed) for n in range(9)))
    new = figures(experiment(kind), standing(tmp_path), log, tmp_path).variants[-1]
    assert (new.variant, new.answers, new.failed) == ("new", 0, 9)
    assert new.failure_rate is not None
    assert new.failure_rate.value == 1
    assert 0.5 < new.failure_rate.low < 1 == new.failure_rate.high


def test_a_promotion_begins_the_count_anew(tmp_path: Path) -> None:
    later = Change(at=(NOON + timedelta(minutes=5)).isoformat(), action="promoted", version="v1", digest="d1")
    log = write(tmp_path / "predictions", answer(1, "new", "u1"), answer(2, "new", "u1", seconds=360))
    found = compute_figures(
        experiment(), standing(tmp_path, later), log, EventLog(tmp_path / "none"), SETTINGS, NOON + timedelta(hours=1)
    )
    assert found.since == (NOON + timedelta(minutes=5)).isoformat()
    assert [one.answers for one in found.variants] == [0, 1]


@pytest.mark.parametrize("seconds", [59, 61, 86_400])
@pytest.mark.parametrize("stops", [60, None])
def test_the_promotion_of_what_was_tried_leaves_its_figures(tmp_path: Path, seconds: int, stops: int | None) -> None:
    """It is stopped and promoted, promoted and stopped, or promoted alone: nothing is left to compare it with then."""
    later = Change(at=moment(seconds), action="promoted", version="v2", digest="d2")
    log = write(tmp_path / "predictions", answer(1, CHAMPION, "u1"), answer(2, "new", "u2", seconds=58))
    over = experiment() if stops is None else experiment(stopped_at=moment(stops))
    found = figures(over, standing(tmp_path, later), log, tmp_path, NOON + timedelta(days=2))
    assert (found.since, found.until) == (moment(0), moment(min(seconds, stops or seconds)))
    assert [one.answers for one in found.variants] == [1, 1]


def test_what_went_into_service_before_begins_the_count_and_what_came_after_it_does_not(tmp_path: Path) -> None:
    other = Change(at=moment(30), action="promoted", version="v1", digest="d3")
    tried = Change(at=moment(60), action="promoted", version="v2", digest="d2")
    log = write(tmp_path / "predictions", *(answer(n, "new", "u1", seconds=n * 20) for n in range(5)))
    over = experiment(stopped_at=moment(61))
    after = other.model_copy(update={"at": moment(90)})
    found = figures(over, standing(tmp_path, other, tried, after), log, tmp_path)
    assert (found.since, found.until) == (moment(30), moment(60))
    assert found.variants[1].answers == 2
    # While it runs, another one in service is something to compare with again.
    found = figures(
        experiment(), standing(tmp_path, other, tried, other.model_copy(update={"at": moment(70)})), log, tmp_path
    )
    assert (found.since, found.variants[1].answers) == (moment(70), 1)


@pytest.mark.parametrize("stops", [120, None])
def test_a_rollback_ends_the_count_and_leaves_what_was_counted(tmp_path: Path, stops: int | None) -> None:
    back = Change(at=moment(60), action="rolled back", version="v1", digest="d1")
    again = Change(at=moment(90), action="promoted", version="v1", digest="d3")
    log = write(tmp_path / "predictions", answer(1, "new", "u1"))
    over = experiment() if stops is None else experiment(stopped_at=moment(stops))
    found = figures(over, standing(tmp_path, back, again), log, tmp_path)
    assert (found.since, found.until, found.variants[1].answers) == (moment(0), moment(60), 1)


def test_items_that_are_shown_after_the_end_are_not_reached_by_it(tmp_path: Path) -> None:
    log = write(
        tmp_path / "predictions", answer(1, "new", "u1"), answer(2, "new", "u1", seconds=90, items=("i3", "i4"))
    )
    found = figures(experiment(stopped_at=moment(60)), standing(tmp_path), log, tmp_path)
    assert found.variants[1].coverage == pytest.approx(2 / 8)


def test_a_stopped_experiment_counts_up_to_its_end(tmp_path: Path) -> None:
    log = write(tmp_path / "predictions", answer(1, "new", "u1"), answer(2, "new", "u1", seconds=360))
    over = experiment(stopped_at=(NOON + timedelta(minutes=1)).isoformat())
    found = compute_figures(over, standing(tmp_path), log, EventLog(tmp_path / "none"), SETTINGS)
    assert [one.answers for one in found.variants] == [0, 1]


def test_the_test_takes_users_known_to_the_end_and_their_first_lists(tmp_path: Path) -> None:
    """Of 400 users: those of the variant click in their first minute; later lists and newer users do not count."""
    answers, clicks, number = [], [], 0
    for user in range(400):
        variant = "new" if user % 2 else CHAMPION
        for seconds in (user, user + 30, user + 1200):
            number += 1
            answers.append(answer(number, variant, f"u{user}", seconds))
            if seconds == user and (user % 2 or not user % 5):
                clicks.append(click(number, seconds=seconds + 1))
    answers.append(answer(10_000, "new", "newcomer", 3500))
    log = write(tmp_path / "predictions", *answers)
    events = EventLog(tmp_path / "events.sqlite")
    events.append(clicks)
    (test,) = compute_figures(experiment(), standing(tmp_path), log, events, SETTINGS, NOON + timedelta(hours=1)).tests
    assert test.users == 400
    assert test.control_hit_rate == pytest.approx(1 / 10)  # of two lists each, one of every fifth user has a click
    assert test.difference is not None
    assert test.p_value is not None
    # One of two lists against one of ten.
    assert test.difference.low <= 0.4 <= test.difference.high
    assert test.difference.value == pytest.approx(0.4, abs=0.03)
    assert test.p_value < 0.05
    assert test.note == "The hit rates differ."


def test_without_the_beginning_of_its_log_there_is_no_test_and_figures_are_of_what_is_left(tmp_path: Path) -> None:
    """Each look would begin with other users, and the smallest p of all of them is no p any more."""
    log = write(
        tmp_path / "predictions",
        *(answer(n, "new" if n % 2 else CHAMPION, f"u{n}", seconds=n) for n in range(400)),
    )
    lose(log, seconds=-1)
    whole = figures(experiment(), standing(tmp_path), log, tmp_path)
    assert (whole.lost, whole.since, whole.tests[0].users) == (False, moment(0), 400)
    lose(log, seconds=99)
    found = figures(experiment(), standing(tmp_path), log, tmp_path)
    assert (found.lost, found.since) == (True, moment(99))
    assert [one.answers for one in found.variants] == [150, 150]
    (test,) = found.tests
    assert (test.users, test.difference, test.p_value, test.control_hit_rate) == (0, None, None, None)
    assert test.note.startswith(f"No test: answers up to {moment(99)} are gone from the prediction log")
    # What was stopped before loses its test too when its answers go.
    over = figures(experiment(stopped_at=moment(60)), standing(tmp_path), log, tmp_path)
    assert (over.lost, over.since, over.until, over.variants[1].answers) == (True, moment(60), moment(60), 0)


def test_a_log_that_does_not_say_how_far_back_it_goes_is_an_error(tmp_path: Path) -> None:
    log = write(tmp_path / "predictions", answer(1, "new", "u1"))
    (log / "lost.json").write_text("{}")
    with pytest.raises(PredictionLogError, match="has no moment"):
        figures(experiment(), standing(tmp_path), log, tmp_path)


def test_answers_of_nobody_with_an_id_are_no_users_of_the_test(tmp_path: Path) -> None:
    log = write(
        tmp_path / "predictions",
        *(answer(n, "new", None, user_id=None, unit="request") for n in range(3)),  # type: ignore[arg-type]
    )
    found = compute_figures(
        experiment(), standing(tmp_path), log, EventLog(tmp_path / "none"), SETTINGS, NOON + timedelta(hours=1)
    )
    assert found.variants[1].users == 3
    assert found.tests[0].users == 0


def test_figures_of_a_shadow(tmp_path: Path) -> None:
    log = write(
        tmp_path / "predictions",
        *(
            answer(n, "new", "u1", role="shadow", overlap=n / 4, rank_correlation=None if n == 1 else 0.5, took_ms=n)
            for n in (1, 2, 3)
        ),
    )
    found = compute_figures(experiment("shadow", 1.0), standing(tmp_path), log, EventLog(tmp_path / "none"), SETTINGS)
    (shadow,) = found.variants
    assert (shadow.answers, shadow.clicks) == (3, 0)
    assert shadow.overlap is not None
    assert shadow.rank_correlation is not None
    assert shadow.overlap.value == pytest.approx(0.5)
    assert shadow.rank_correlation.value == pytest.approx(0.5)
    assert shadow.coverage == pytest.approx(2 / 8)
    assert found.tests == ()


def test_times_are_compared_of_answers_that_were_made_alone(tmp_path: Path) -> None:
    log = write(
        tmp_path / "predictions",
        *(answer(n, CHAMPION, f"u{n}", took_ms=40.0, together=16) for n in range(16)),
        *(answer(20 + n, CHAMPION, f"u{n}", took_ms=4.0) for n in range(7)),
        *(answer(40 + n, "new", f"v{n}", took_ms=5.0) for n in range(7)),
    )
    champion, new = figures(experiment(), standing(tmp_path), log, tmp_path).variants
    assert (champion.answers, champion.alone, new.answers, new.alone) == (23, 7, 7, 7)
    medians = [one.value for one in (champion.latency_p50_ms, champion.alone_p50_ms, new.alone_p50_ms) if one]
    assert medians == [40.0, 4.0, 5.0]


def test_without_any_answer_there_are_no_figures(tmp_path: Path) -> None:
    found = compute_figures(experiment(), standing(tmp_path), tmp_path / "none", EventLog(tmp_path / "none"), SETTINGS)
    assert [(one.answers, one.ctr, one.coverage) for one in found.variants] == [(0, None, None)] * 2


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    """Users differ in how many lists they get and how often they click: answers would make intervals too narrow."""
    rng = np.random.default_rng(4)
    inside = 0
    for _ in range(400):
        lists = rng.integers(1, 20, size=300)
        rate = rng.beta(1, 4, size=300)
        unit = np.repeat(np.arange(300), lists)
        found = ratio(rng.binomial(1, rate[unit]).astype(float), np.ones(len(unit)), unit)
        assert found is not None
        inside += found.low <= 0.2 <= found.high
    assert 0.92 <= inside / 400 <= 0.98


@pytest.mark.parametrize(("n_clicked", "low", "high"), [(0, 0.0, 0.39), (6, 0.61, 1.0), (5, 0.3, 1.0)])
def test_of_few_users_an_interval_has_width_and_ends_at_a_share(n_clicked: int, low: float, high: float) -> None:
    clicked = np.array([1.0] * n_clicked + [0.0] * (6 - n_clicked))
    found = ratio(clicked, np.ones(6), np.arange(6))
    assert found is not None
    assert found.value == pytest.approx(n_clicked / 6)
    assert (found.low, found.high) == (pytest.approx(low, abs=0.06), pytest.approx(high, abs=0.03))
    assert 0 <= found.low < found.high <= 1


@pytest.mark.parametrize(("n_users", "share"), [(6, 0.1), (6, 0.5), (20, 0.05), (100, 0.02)])
def test_intervals_of_few_users_hold_the_truth_about_as_often_as_they_say(n_users: int, share: float) -> None:
    rng, inside = np.random.default_rng(5), 0
    for _ in range(400):
        lists = rng.integers(1, 6, size=n_users)
        unit = np.repeat(np.arange(n_users), lists)
        rate = rng.beta(4 * share, 4 * (1 - share), size=n_users)
        found = ratio(rng.binomial(1, rate[unit]).astype(float), np.ones(len(unit)), unit)
        assert found is not None
        inside += found.low <= share <= found.high
    assert inside / 400 >= 0.92


def test_a_quantile_of_few_values_has_no_end_that_they_do_not_tell() -> None:
    found = quantile(np.array([100.0, 200.0, 300.0, 400.0, 900.0]), 0.99)
    assert found is not None
    assert (found.value, found.low, found.high) == (900.0, 400.0, None)
    assert quantile(np.arange(5.0), 0.5) == OpenInterval(value=2.0, low=None, high=None)
    median = quantile(np.arange(6.0), 0.5)
    assert median is not None
    assert (median.low, median.high) == (0.0, 5.0)  # 1 - 2 / 2**6 = 97 %
    assert quantile(np.arange(367.0), 0.99).high is None  # type: ignore[union-attr]
    assert quantile(np.arange(368.0), 0.99).high == 367.0  # type: ignore[union-attr]


def test_lists_whose_time_for_clicks_still_runs_count_in_no_rate(tmp_path: Path) -> None:
    log = write(
        tmp_path / "predictions",
        answer(1, "new", "u1", took_ms=1.0),
        answer(2, "new", "u2", took_ms=2.0),
        answer(3, "new", "u3", seconds=3560, took_ms=30.0),  # 40 seconds before the look
        answer(4, CHAMPION, "u4", seconds=3599),
    )
    events = EventLog(tmp_path / "events.sqlite")
    events.append([click(1)])
    places = experiment(), standing(tmp_path), log, events, SETTINGS
    assert SETTINGS.click_window_s == 60
    champion, new = compute_figures(*places, NOON + timedelta(hours=1)).variants
    assert (new.answers, new.users, new.impressions) == (3, 3, 6)
    assert new.latency_p99_ms is not None
    assert new.latency_p99_ms.value == 30.0
    assert new.hit_rate is not None
    assert new.ctr is not None
    assert (new.hit_rate.value, new.ctr.value) == (1 / 2, 1 / 4)
    assert (champion.answers, champion.hit_rate, champion.ctr) == (1, None, None)
    # Clicks on the lists of an experiment that was stopped come for as long.
    stopped = (experiment(stopped_at=(NOON + timedelta(seconds=3580)).isoformat()), *places[1:])
    _, new = compute_figures(*stopped, NOON + timedelta(hours=2)).variants
    assert new.hit_rate is not None
    assert new.hit_rate.value == pytest.approx(1 / 3)


def test_quantiles_hold_the_truth_as_often_as_they_say() -> None:
    rng = np.random.default_rng(4)
    inside = 0
    for _ in range(400):
        found = quantile(np.sort(rng.exponential(size=500)), 0.5)
        assert found is not None
        assert found.low is not None
        assert found.high is not None
        assert found.low <= found.value <= found.high
        inside += found.low <= np.log(2) <= found.high
    assert 0.92 <= inside / 400 <= 0.98
