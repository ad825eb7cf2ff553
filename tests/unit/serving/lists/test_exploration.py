"""Exploration: propensities are the shares in which items are shown, and a seed is a list."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest

from serving.api.options import Exploration
from serving.lists.exploration import beliefs, chances_of_best, explore

SCORES = [3.0, 2.5, 1.0, 0.2, -1.0]
EVENTS = np.array([100, 3, 20, 0, 50])


def made(k: int = 3, **asked: Any) -> Any:
    return explore(Exploration.model_validate(asked), SCORES, EVENTS, k)


@pytest.mark.parametrize("asked", [{"kind": "epsilon", "epsilon": 0.4}, {"kind": "thompson", "scale": 0.8}])
def test_the_propensity_of_a_place_is_how_often_the_item_is_shown_there(asked: dict[str, Any]) -> None:
    lists = [made(seed=seed, k=2, **asked) for seed in range(4000)]
    first = Counter(one.places[0] for one in lists)
    said = {one.places[0]: one.propensities[0] for one in lists}
    for place, count in first.items():
        assert count / len(lists) == pytest.approx(said[place], abs=0.025)
    # Given the first item, so is the second's.
    top = [one for one in lists if one.places[0] == 0]
    second = Counter(one.places[1] for one in top)
    said = {one.places[1]: one.propensities[1] for one in top}
    for place, count in second.items():
        assert count / len(top) == pytest.approx(said[place], abs=0.035)


def test_the_propensities_of_greedy_choices_are_worked_by_hand() -> None:
    for seed in range(30):
        one = made(kind="epsilon", epsilon=0.2, seed=seed, k=5)
        left = [0, 1, 2, 3, 4]
        for place, propensity in zip(one.places, one.propensities, strict=True):
            share = 0.2 / len(left)
            assert propensity == pytest.approx(share + 0.8 if place == left[0] else share)
            left.remove(place)


def test_without_chance_the_list_is_the_rankings() -> None:
    one = made(kind="epsilon", epsilon=0.0, seed=1)
    assert (one.places, one.propensities) == ([0, 1, 2], [1.0, 1.0, 1.0])


@pytest.mark.parametrize("kind", ["epsilon", "thompson"])
def test_a_seed_is_a_list_and_the_answer_has_it(kind: str) -> None:
    drawn = made(kind=kind)
    again = made(kind=kind, seed=drawn.applied.seed)
    assert again == drawn
    assert drawn.applied.n_candidates == 5
    assert drawn.applied.propensity == ("exact" if kind == "epsilon" else "integrated")
    assert len({tuple(made(kind=kind, seed=seed, k=5).places) for seed in range(60)}) > 1


def test_the_integral_is_that_of_two_normal_draws_and_sums_to_one() -> None:
    means, deviations = np.array([0.3, 0.0, -0.5, 0.1]), np.array([0.2, 1.0, 0.4, 1.7])
    total = sum(chances_of_best(means, deviations, place) for place in range(4))
    assert total == pytest.approx(1, abs=1e-6)
    # P(a > b) of two is known: the normal distribution function of the gap by the joint deviation.
    from scipy.special import ndtr

    expected = ndtr(0.3 / np.hypot(0.2, 1.0))
    assert chances_of_best(means[:2], deviations[:2], 0) == pytest.approx(expected, abs=1e-6)


def test_items_with_few_events_are_less_sure_within_bounds() -> None:
    means, deviations = beliefs(np.array(SCORES), EVENTS, 0.5)
    assert means.mean() == pytest.approx(0)
    assert means.std() == pytest.approx(1)
    assert deviations[2] == pytest.approx(0.5), "the median"
    assert deviations[3] == pytest.approx(1.5), "no events: at most three times"
    assert deviations[0] == pytest.approx(0.5 * np.sqrt(21 / 101))
    assert beliefs(np.array([2.0, 2.0]), np.array([1, 1]), 0.5)[0].tolist() == [0, 0]


def test_fewer_candidates_than_places_are_a_short_list() -> None:
    assert len(made(kind="thompson", k=9, seed=1).places) == 5
    assert explore(Exploration(kind="epsilon"), [], np.zeros(0), 3).places == []


@pytest.mark.parametrize(
    "asked", [{"kind": "epsilon", "scale": 1.0}, {"kind": "thompson", "epsilon": 0.1}, {"kind": "boltzmann"}]
)
def test_a_value_that_its_kind_does_not_read_is_refused(asked: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"expected kind|should be 'epsilon' or 'thompson'"):
        Exploration.model_validate(asked)
