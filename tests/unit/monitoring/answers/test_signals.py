"""Signals of answers: what falls is found and named, a new bundle is no drift, and what is missing is said."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import numpy as np
import pytest

from core.alarms import Alarm
from monitoring.answers.daily import TOOK_MS, AnswerDay
from monitoring.answers.signals import NEEDED_DAYS, answer_series, answers_note
from monitoring.answers.staleness import STALE, Learned, with_staleness
from monitoring.calibration import measure
from monitoring.signals.activity import Span
from monitoring.verdict import judge

SPAN = Span(datetime(2026, 6, 1, 14, tzinfo=UTC), 160)
LAST = date(2026, 5, 31)


def answer_days(n: int = 140, *, users: int = 200, turn: int = 7, last: date = LAST, **moved: float) -> list[AnswerDay]:
    """Of `n` days up to a last one; in the newest `turn` figures are those of `moved`."""
    rng = np.random.default_rng(7)
    usual = {"score": 2.0, "novelty": 8.0, "popular": 0.3, "cold": 0.1, "propensity": -2.0}
    usual |= {"ctr": 0.05, "hit": 0.3, "ndcg": 0.2, "took": 5.0}
    days = []
    for back in reversed(range(n)):
        level = {**usual, **moved} if back < turn else usual
        figures = {}
        for name, mean in level.items():
            if name != "took":
                binary = name in ("hit", "cold")
                drawn = rng.random(users) < mean if binary else rng.normal(mean, 0.5 * abs(mean), users)
                figures[name] = (float(users), float(drawn.sum()), float((drawn**2.0).sum()))
        took = np.searchsorted(np.array(TOOK_MS), rng.lognormal(np.log(level["took"]), 0.4, users))
        counts = tuple(int(one) for one in np.bincount(took, minlength=len(TOOK_MS) + 1))
        n_hits, hits = figures["hit"][0] / 2, figures["hit"][1]
        segments = {"country=A": (n_hits, hits / 2, hits / 2), "country=B": (n_hits, hits / 2, hits / 2)}
        day = last - timedelta(days=back)
        pairs = (users**2 / 2.0, float(rng.poisson(users**2 / 200)))
        days.append(
            AnswerDay(
                day=day,
                model="m:1",
                promise=0.25,
                answers=users,
                figures=figures,
                hits=segments,
                pairs=pairs,
                took=counts,
            )
        )
    return days


def _alarms(days: list[AnswerDay]) -> tuple[Alarm, ...]:
    moved = [one for series in answer_series(days, SPAN) for one in measure(series, SPAN.n_days, 168)]
    assert all(one.days for one in moved)
    return judge(moved, SPAN, SPAN.n_days, 0.05).alarms


def test_quiet_answers_have_no_alarm_and_every_family_is_watched() -> None:
    series = answer_series(answer_days(), SPAN)
    told = {one.series.name for each in series for one in measure(each, SPAN.n_days, 168) if not one.note}
    assert told == {
        "predictions.scores.level", "predictions.items.novelty", "predictions.items.popular_share",
        "predictions.propensities.level", "predictions.users.cold_share", "predictions.items.concentration",
        "quality.shown.ctr", "quality.shown.hit_rate", "quality.shown.ndcg", "quality.shown.kept_promise",
        "service.latency.level", "service.latency.slow_share",
    }  # fmt: skip
    assert _alarms(answer_days()) == ()


@pytest.mark.parametrize(
    ("moved", "signal", "words"),
    [
        ({"hit": 0.15}, "quality.shown.hit_rate", "Quality of answers (hit_rate): 0.1"),
        ({"novelty": 6.0}, "predictions.items.novelty", "bits of information, 8.0"),
        ({"cold": 0.4}, "predictions.users.cold_share", "to users of whom nothing is known, 10.2% before"),
        ({"took": 20.0}, "service.latency.level", "4.9"),
    ],
)
def test_what_moved_is_named(moved: dict[str, float], signal: str, words: str) -> None:
    first = _alarms(answer_days(**moved))[0]
    assert first.signal == signal
    assert words in first.says
    assert not first.broken


@pytest.mark.parametrize("better", [{"hit": 0.6, "ndcg": 0.4, "ctr": 0.1}, {"took": 1.0}])
def test_what_is_better_is_no_alarm(better: dict[str, float]) -> None:
    assert _alarms(answer_days(**better)) == ()


def test_a_new_bundle_that_shows_other_items_is_no_drift_and_one_that_answers_worse_is() -> None:
    other = [
        one.model_copy(update={"model": "m:2"}) if one.day > LAST - timedelta(days=7) else one
        for one in answer_days(novelty=6.0, score=40.0, popular=0.6)
    ]
    assert _alarms(other) == ()
    worse = [
        one.model_copy(update={"model": "m:2"}) if one.day > LAST - timedelta(days=7) else one
        for one in answer_days(ndcg=0.1)
    ]
    assert {one.signal for one in _alarms(worse)} == {"quality.shown.ndcg", "quality.shown.kept_promise"}


def test_a_young_log_says_what_is_missing_and_calls_nothing() -> None:
    assert "no whole day of answers" in answers_note([], SPAN)
    few = answer_days(60, hit=0.0)
    assert f"known for 60 days; a quiet past takes {NEEDED_DAYS}" in answers_note(few, SPAN)
    assert _alarms(few) == ()
    assert answers_note(answer_days(NEEDED_DAYS), SPAN) == ""
    earlier = Span(datetime(2025, 6, 1, tzinfo=UTC), 160)
    assert "after 2025-05-31" in answers_note(answer_days(), earlier)
    assert answer_series(answer_days(), earlier) == []


def _stale(alarms: tuple[Alarm, ...], days: int) -> list[str]:
    learned = Learned(SPAN.starts(0), SPAN.end - timedelta(days=days))
    return [one.signal for one in with_staleness(alarms, learned, SPAN.end)]


def test_a_bundle_that_learned_long_ago_and_answers_worse_is_stale() -> None:
    alarms = _alarms(answer_days(hit=0.15))
    assert _stale(alarms, 60)[:2] == [STALE, "quality.shown.hit_rate"]
    first = with_staleness(alarms, Learned(SPAN.starts(0), SPAN.end - timedelta(days=60)), SPAN.end)[0]
    assert "learned until 2026-04-02, 60 days ago, and the shop is as busy as before" in first.says
    assert STALE not in _stale(alarms, 13), "a young bundle is not stale"
    assert [one.signal for one in with_staleness(alarms, Learned(SPAN.end), SPAN.end)] == [one.signal for one in alarms]


@pytest.mark.parametrize(
    "other",
    [
        {"signal": "data.interactions.volume", "family": "data", "value": 10.0, "reference": 40.0},
        {"signal": "data.items.brand.null_share", "family": "data", "broken": True},
    ],
)
def test_with_a_shop_that_is_asked_less_or_is_broken_no_bundle_is_called_stale(other: dict[str, object]) -> None:
    alarms = _alarms(answer_days(hit=0.15))
    fault = alarms[0].model_copy(update=other)
    assert STALE not in _stale((fault, *alarms), 60)


def test_a_loss_in_one_segment_is_not_a_stale_bundle() -> None:
    alarms = tuple(one.model_copy(update={"segment": "country=A"}) for one in _alarms(answer_days(hit=0.15)))
    assert STALE not in _stale(alarms, 60)
