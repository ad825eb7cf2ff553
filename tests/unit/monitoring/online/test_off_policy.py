"""What a shadow would have brought: from both logs, and where they cannot say."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from core.experiments import BundlePlace, Experiment, ExperimentError, Kind, Variant
from core.logs.events import EventLog
from core.logs.predictions import Prediction
from core.settings.monitoring import ExperimentSettings
from monitoring.online.off_policy import LoggedList, OffPolicyFigures, estimate_lists, estimate_shadow, model_clicks
from tests.unit.monitoring.online.test_shown import NOON, answer, event, write

SETTINGS = ExperimentSettings(click_window_s=600.0)


def experiment(kind: Kind = "shadow") -> Experiment:
    variant = Variant(name="new", bundle=BundlePlace(version="v2", digest="v2"), share=1.0)
    started = NOON - timedelta(days=1)
    return Experiment(name="beside", kind=kind, variants=(variant,), started_at=started.isoformat(), generation=1)


def pair(name: str, user: str, items: tuple[str, ...], chances: tuple[float, ...] | None) -> list[Prediction]:
    """A list as it was shown, and that of the shadow: always b, a."""
    scores = (1.0,) * len(items)
    shown = answer(name, items=items, scores=scores, parts=(), propensities=chances, user_id=user)
    beside = {"role": "shadow", "experiment": "beside", "variant": "new"}
    return [shown, answer(name, items=("b", "a"), scores=(1.0, 1.0), parts=(), user_id=user, **beside)]


def rows(n: int = 400, explores: bool = True) -> list[LoggedList]:
    """Half of the lists are those of the other bundle, by a fair coin; each third of them is clicked."""
    shown = [("b", "a"), ("a", "b")]
    return [
        LoggedList(f"u{i}", shown[i % 2], (0.5 if explores else 1.0, 1.0), ("b",) * (i % 6 == 0), ("b", "a"))
        for i in range(n)
    ]


def beside(one: LoggedList) -> tuple[str, ...]:
    return tuple(one.beside or ())


def test_both_logs_are_joined_and_the_truth_is_between_the_ends(tmp_path: Path) -> None:
    chance = np.random.default_rng(1)
    answers, clicks, number = [], [], 0
    for i in range(600):
        is_b = chance.random() < 0.25
        items, chances = (("b", "a"), (0.25, 1.0)) if is_b else (("a", "b"), (0.75, 1.0))
        answers += pair(f"r{i}", f"u{i % 300}", items, chances)
        if chance.random() < (0.6 if is_b else 0.2):
            number += 1
            clicks.append(event(number, items[0], 1, user=f"u{i % 300}", of=f"r{i}"))
    answers += pair("not explored", "u1", ("a", "b"), None)
    write(tmp_path / "predictions", *answers)
    log = EventLog(tmp_path / "events.sqlite")
    log.append(clicks)
    (found,) = estimate_shadow(experiment(), tmp_path / "predictions", log, SETTINGS, places=1)
    assert (found.variant, found.lists, found.users, found.not_explored) == ("new", 600, 300, 1)
    assert found.logged is not None
    assert found.logged.value == pytest.approx(len(clicks) / 600)
    assert found.logged.high < 0.6
    for one in (found.ips, found.snips, found.doubly_robust):
        assert one is not None
        assert one.low < 0.6 < one.high
        assert one.low > found.logged.value
    assert found.support[0] == pytest.approx(1.0, abs=0.2)
    # Of equal weights it is their number.
    assert found.effective[0] == pytest.approx(sum(1 for one in answers if one.propensities == (0.25, 1.0)))
    assert OffPolicyFigures.model_validate_json(found.model_dump_json()) == found


def test_clicks_on_what_was_pinned_are_brought_by_no_bundle(tmp_path: Path) -> None:
    chance = np.random.default_rng(1)
    answers: list[Prediction] = []
    clicks = []
    for i in range(400):
        items, chances = (("b", "a"), (0.25, 1.0)) if chance.random() < 0.25 else (("a", "b"), (0.75, 1.0))
        shown, shadow = pair(f"r{i}", f"u{i}", items, chances)
        answers += [replace(shown, rules=("", "pin:0")), shadow]
        clicks += [event(2 * i, items[1], 1, user=f"u{i}", of=f"r{i}")]
        clicks += [event(2 * i + 1, items[0], 1, user=f"u{i}", of=f"r{i}")] * (i % 4 == 0)
    write(tmp_path / "predictions", *answers)
    log = EventLog(tmp_path / "events.sqlite")
    log.append(clicks)
    (found,) = estimate_shadow(experiment(), tmp_path / "predictions", log, SETTINGS, places=2)
    assert found.logged is not None
    assert found.logged.value == pytest.approx(0.25)


def test_lists_of_a_seed_that_was_named_are_left_out(tmp_path: Path) -> None:
    """Here each such list is the shadow's, though its chance is said to be a quarter: they would weigh four each."""
    chance = np.random.default_rng(1)
    answers = []
    for i in range(400):
        is_b = chance.random() < 0.25
        items, chances = (("b", "a"), (0.25, 1.0)) if is_b else (("a", "b"), (0.75, 1.0))
        answers += pair(f"r{i}", f"u{i}", items, chances)
        shown, beside = pair(f"s{i}", f"u{i}", ("b", "a"), (0.25, 1.0))
        answers += [replace(shown, seed=7, seed_given=True), beside]
    write(tmp_path / "predictions", *answers)
    log = EventLog(tmp_path / "events.sqlite")
    (found,) = estimate_shadow(experiment(), tmp_path / "predictions", log, SETTINGS, places=1)
    assert (found.lists, found.not_explored) == (400, 400)
    assert found.support[0] == pytest.approx(1.0, abs=0.2)


@pytest.mark.parametrize(
    ("chance", "says"),
    [
        (0.5, ""),
        (0.1, "The mean weight is 5.00, expected 1: lists were not drawn by the chances that are logged."),
        (1.0, "The mean weight is 0.50, expected 1: the rest of the bundle's lists could not be shown, or weighs more"),
    ],
)
def test_a_mean_weight_that_is_surely_not_1_is_said(chance: float, says: str) -> None:
    shown = [("b", "a"), ("a", "b")]
    rows = [LoggedList(f"u{i}", shown[i % 2], (chance if i % 2 == 0 else 0.5, 1.0), (), ("b", "a")) for i in range(400)]
    note = estimate_lists(rows, beside, places=1).note
    assert note.startswith(says)
    assert bool(note) == bool(says)


def test_estimates_are_those_worked_by_hand() -> None:
    found = estimate_lists(rows(), beside, places=2)
    # 200 lists weigh 2; 67 of them were clicked.
    assert found.ips is not None
    assert found.snips is not None
    assert found.ips.value == pytest.approx(2 * 67 / 400)
    assert found.snips.value == pytest.approx(67 / 200)
    assert (found.effective, found.support, found.note) == ((200.0, 200.0), (1.0, 1.0), "")
    clipped = estimate_lists(rows(), beside, places=2, clip=1.0)
    assert clipped.ips is not None
    assert (clipped.ips.value, clipped.support) == (pytest.approx(67 / 400), (0.5, 0.5))


def test_a_log_that_cannot_say_has_a_sentence_and_no_number() -> None:
    without = estimate_lists(rows(explores=False), beside, places=1)
    assert without.note.startswith("No estimate: none of 400 lists explored")
    few = estimate_lists(rows(50), beside, places=1)
    assert few.note == "No estimate yet: lists that explored are of 50 users, expected 100 at least."
    unlike = estimate_lists(rows(), lambda _: ("z",), places=1)
    assert unlike.note.startswith("No estimate: none of 400 lists that explored has the bundle's first 1 items")
    for one in (without, few, unlike, estimate_lists([], beside, places=1)):
        assert (one.ips, one.snips, one.doubly_robust, one.effective) == (None, None, None, ())


def test_few_lists_are_said_to_be_few() -> None:
    only = [one if i < 10 else LoggedList(one.who, ("a", "b"), (0.5, 1.0)) for i, one in enumerate(rows())]
    found = estimate_lists(only, lambda _: ("b", "a"), places=1)
    assert found.ips is not None
    assert found.note.startswith("Worth 5 lists of its own, expected 100")


def test_lists_whose_chances_are_not_all_known_are_left_out() -> None:
    assert LoggedList("u", ("a", "b"), (0.5, None)).chances(1) == [0.5]
    assert LoggedList("u", ("a", "b"), (0.5, None)).chances(2) is None
    assert LoggedList("u", ("a",), (0.5,)).chances(3) == [0.5, 1.0, 1.0]  # beyond the end
    assert LoggedList("u", ("a",), None).chances(1) is None
    assert LoggedList("u", (), None).chances(1) is None


def test_clicks_are_modelled_from_the_other_half_of_the_users() -> None:
    # User 0 is modelled by users 1 and 3: half of their lists were clicked, and both showed a.
    rewards = np.array([[1.0], [1.0], [1.0], [0.0]])
    shown = np.array([["a"], ["a"], ["b"], ["a"]])
    wanted = np.array([["b"], ["b"], ["b"], ["b"]])
    modelled, expected = model_clicks(rewards, shown, wanted, np.arange(4))
    assert modelled[0, 0] == pytest.approx(1 / 2 * (1 + 10) / (1 + 10))
    assert expected[0, 0] == pytest.approx(1 / 2)
    assert modelled[1, 0] == pytest.approx(1.0)


def test_what_was_shown_has_figures_of_its_own(tmp_path: Path) -> None:
    with pytest.raises(ExperimentError, match="experiments show beside"):
        estimate_shadow(experiment("split"), tmp_path, EventLog(tmp_path / "events.sqlite"), SETTINGS, places=1)
