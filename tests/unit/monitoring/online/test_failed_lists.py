"""The test of an experiment holds its word where a variant fails: users count for what they were drawn for."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from core.experiments import CHAMPION, BundlePlace, Experiment, Variant
from core.logs.events import EventLog, Interaction
from core.logs.predictions import Prediction
from core.promotions import model_folder
from monitoring.online import figures as online
from monitoring.online.figures import ExperimentFigures, compute_figures
from monitoring.online.kept import kept_files
from monitoring.online.sequential import LEVEL, compare
from tests.unit.monitoring.online.test_figures import (
    MODEL,
    NOON,
    SETTINGS,
    answer,
    click,
    experiment,
    standing,
)
from tests.unit.monitoring.online.test_kept import BEGAN, Shop, shown

RUNS, EACH = 30, 500  # experiments, and users of each
FAILED: dict[str, Any] = {"role": "failed", "items": (), "scores": (), "failure": "NotFinite"}


def failed(number: int, variant: str, user: str, seconds: float = 0.0, **more: Any) -> Prediction:
    return answer(number, variant, user, seconds, **{**FAILED, **more})


def instead(number: int, variant: str, user: str, seconds: float = 0.0, **more: Any) -> Prediction:
    """What the bundle in service shows in the place of a list that a variant failed to make."""
    return answer(number, CHAMPION, user, seconds, **{"experiment": "", "instead_of": f"try/{variant}", **more})


def of_two() -> Experiment:
    """A split that leaves nobody to the bundle in service; its control, the first variant, may fail too."""
    places = {name: BundlePlace(version=version, digest=version) for name, version in (("old", "v1"), ("new", "v2"))}
    return experiment(variants=[Variant(name=name, bundle=place, share=0.5) for name, place in places.items()])


def figures(folder: Path, one: Experiment, answers: list[Prediction], clicks: list[Interaction]) -> ExperimentFigures:
    log, events = folder / "predictions", EventLog(folder / "events.sqlite")
    log.mkdir(parents=True)
    lines = [json.dumps({field: getattr(one, field) for field in Prediction.__slots__}) + "\n" for one in answers]
    (log / "0.jsonl").write_text("".join(lines))
    events.append(clicks)
    return compute_figures(one, standing(folder), log, events, SETTINGS, NOON + timedelta(hours=2))


def unnamed(number: int, user: str, item: str, seconds: float) -> Interaction:
    return Interaction(f"unnamed-{number}", user, item, "click", NOON + timedelta(seconds=seconds), None, None)


def test_a_list_that_fails_has_the_clicks_of_the_one_in_its_place_or_none(tmp_path: Path) -> None:
    answers = [
        # Two of five lists: one in another's place, by an event that names none, and an own one. Who got none asks on.
        failed(1, "old", "u1"),
        instead(2, "old", "u1", 1, items=("i5",), scores=(1.0,)),
        failed(3, "old", "u1", 2),
        answer(4, "old", "u1", 3),
        answer(5, "old", "u1", 4),
        answer(6, "old", "u1", 5),
        instead(7, "old", "u1", 700),  # behind their time of observation
        # None of one, and all of one: neither ever got a list of the variant.
        failed(8, "old", "u2"),
        failed(9, "old", "u3"),
        instead(10, "old", "u3", 1),
        # In the place of a list of another experiment, and somebody without an id.
        instead(11, "old", "u4", instead_of="try2/old"),
        failed(12, "old", "", user_id=None, unit="request"),
        answer(13, "new", "u5"),
    ]
    clicks = [unnamed(1, "u1", "i5", 3), click(5, seconds=6), click(7, seconds=701), click(10, seconds=2), click(11)]
    found = figures(tmp_path, of_two(), answers, clicks)
    (test,) = found.tests
    assert (test.control, test.users) == ("old", 4)
    assert test.control_hit_rate == pytest.approx((2 / 5 + 0 + 1) / 3)
    # What was shown by another bundle is none of the variant's figures.
    old, _ = found.variants
    assert (old.answers, old.users, old.clicks, old.failed) == (3, 1, 1, 5)
    assert old.models == (f"{MODEL}:v2",)


def test_an_event_that_names_no_list_counts_for_the_last_one_also_in_a_place_of_another(tmp_path: Path) -> None:
    answers = [
        answer(1, "old", "u1"),
        failed(2, "old", "u1", 10),
        instead(3, "old", "u1", 11),
        failed(4, "old", "u1", 20),
        instead(5, "old", "u1", 21),
        answer(6, "", "u1", 22, experiment="", endpoint="/v1/search"),
    ]
    one = figures(tmp_path / "one", of_two(), answers, [unnamed(1, "u1", "i0", 12)])
    assert (one.variants[0].clicks, one.tests[0].control_hit_rate) == (0, pytest.approx(1 / 3))
    none = figures(tmp_path / "none", of_two(), answers, [unnamed(1, "u1", "i0", 23)])
    assert (none.variants[0].clicks, none.tests[0].control_hit_rate) == (0, 0.0)


def simulated(users: int, stands_in: bool = True) -> tuple[list[Prediction], list[Interaction]]:
    """Users of whom every other one is active and clicks often. The variant fails for all that are not."""
    rng = np.random.default_rng(7)
    answers: list[Prediction] = []
    clicks: list[Interaction] = []
    for user in range(users):
        variant, active = "new" if rng.random() < 0.5 else CHAMPION, rng.random() < 0.5
        for _ in range(3 if active else 1):
            number, at = len(answers), user / 10
            fails = variant == "new" and not active
            if fails:
                answers.append(failed(number, variant, f"u{user:05}", at))
                number += 1
            if fails and not stands_in:
                continue
            answers.append((instead if fails else answer)(number, variant, f"u{user:05}", at))
            if rng.random() < (0.6 if active else 0.2):
                clicks.append(click(number, seconds=at + 1))
    return answers, clicks


def differences(values: np.ndarray, treated: np.ndarray, of: np.ndarray) -> int:
    """In how many of the experiments the test finds a difference, by some of their users."""
    found = 0
    for begin in range(0, RUNS * EACH, EACH):
        mine = slice(begin, begin + EACH)
        seen = compare(values[mine][of[mine]], treated[mine][of[mine]], 0.5)
        assert seen is not None
        found += seen.p_value <= LEVEL
    return found


def test_a_variant_that_fails_for_those_who_click_rarely_looks_no_better_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bundles are equally good, and one fails for half of the users, who get as good a list in its place: of twenty
    experiments one at most finds a difference. By those alone whom it did not fail most would.
    """
    given: list[tuple[np.ndarray, np.ndarray, float]] = []
    monkeypatch.setattr(online, "compare", lambda *of: given.append(of))
    answers, clicks = simulated(RUNS * EACH)
    figures(tmp_path, experiment(), answers, clicks)
    [(values, treated, share)] = given
    assert (len(values), share) == (RUNS * EACH, 0.5)
    assert differences(values, treated, np.ones(RUNS * EACH, dtype=bool)) / RUNS <= LEVEL
    left = np.ones(RUNS * EACH, dtype=bool)
    left[[int(str(one.user_id)[1:]) for one in answers if one.role == "failed"]] = False
    assert differences(values, treated, left) / RUNS > 0.75


def test_a_variant_that_fails_without_anybody_in_its_place_is_found_to_lose(tmp_path: Path) -> None:
    (test,) = figures(tmp_path, experiment(), *simulated(EACH, stands_in=False)).tests
    assert test.users == EACH
    assert test.difference is not None
    # Half of the users lose the fifth that they would have clicked on.
    assert test.difference.low < -0.1 < test.difference.high < 0.1


def test_lists_in_the_place_of_others_outlast_the_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENTOML_HOME", str(tmp_path / "bentoml"))
    model_folder(MODEL).mkdir(parents=True)
    shop = Shop(tmp_path, experiment(started_at=BEGAN.isoformat()), n_days=2)
    at = BEGAN + timedelta(hours=5)
    fields = {"experiment": "", "instead_of": "try/champion"}
    shop.write(
        "00-instead",
        at,
        *(shown(9000 + n, 100 + 10 * n, at, role="failed", items=(), scores=(), experiment="try") for n in range(4)),
        *(shown(9100 + n, 100 + 10 * n, at, **fields) for n in range(4)),
    )
    before = shop.figures()
    shop.events.append([Interaction("in-place", "person-0", "i1", "click", at + timedelta(minutes=1), None, "r9100")])
    whole = shop.figures()
    assert whole.variants == before.variants
    assert whole.tests[0].control_hit_rate != before.tests[0].control_hit_rate
    shop.prune(0)
    assert shop.figures() == whole


def test_what_was_kept_before_the_log_said_in_whose_place_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENTOML_HOME", str(tmp_path / "bentoml"))
    model_folder(MODEL).mkdir(parents=True)
    shop = Shop(tmp_path, experiment(started_at=BEGAN.isoformat()), n_days=2)
    whole = shop.figures()
    shop.prune(0)
    for n_old in (1, 2):
        file = kept_files(shop.log, shop.experiment)[n_old - 1]
        at = file.stat().st_mtime
        pq.write_table(pq.read_table(file).drop_columns(["instead_of"]), file)
        assert file.stat().st_mtime >= at
        assert shop.figures() == whole
