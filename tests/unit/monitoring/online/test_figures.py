"""Figures of experiments, worked by hand."""

from __future__ import annotations

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
from core.promotions import Change, Standing
from core.settings.monitoring import ExperimentSettings
from monitoring.online.figures import compute_figures, quantile, ratio
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
    assert "Too few users yet: 1 of new and 2 of champion are known to the end, expected 100 of each" in test.note


def test_a_promotion_begins_the_count_anew(tmp_path: Path) -> None:
    later = Change(at=(NOON + timedelta(minutes=5)).isoformat(), action="promoted", version="v1", digest="d1")
    log = write(tmp_path / "predictions", answer(1, "new", "u1"), answer(2, "new", "u1", seconds=360))
    found = compute_figures(
        experiment(), standing(tmp_path, later), log, EventLog(tmp_path / "none"), SETTINGS, NOON + timedelta(hours=1)
    )
    assert found.since == (NOON + timedelta(minutes=5)).isoformat()
    assert [one.answers for one in found.variants] == [0, 1]


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
    assert test.difference is not None
    assert test.p_value is not None
    # One of two lists against one of ten.
    assert test.difference.low <= 0.4 <= test.difference.high
    assert test.difference.value == pytest.approx(0.4, abs=0.03)
    assert test.p_value < 0.05
    assert test.note == "The hit rates differ."


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


def test_quantiles_hold_the_truth_as_often_as_they_say() -> None:
    rng = np.random.default_rng(4)
    inside = 0
    for _ in range(400):
        found = quantile(np.sort(rng.exponential(size=500)), 0.5)
        assert found is not None
        assert found.low <= found.value <= found.high
        inside += found.low <= np.log(2) <= found.high
    assert 0.92 <= inside / 400 <= 0.98
