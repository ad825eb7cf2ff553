"""Weights and gate are learned from candidates made by hand, in which it is known who is right."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from recommender.ranking.blend import standardised
from recommender.ranking.candidates import Candidates
from recommender.ranking.weights import fit_gate, fit_weights


def candidates_of(parts: dict[str, np.ndarray], targets: np.ndarray, lengths: np.ndarray) -> Candidates:
    """Each of the items a candidate of every query, one of them its target."""
    n, width = len(targets), next(iter(parts.values())).shape[1]
    scores = np.stack(list(parts.values()), axis=2).astype(np.float32)
    wanted = np.arange(width) == targets[:, None]
    places, features = np.tile(np.arange(width), (n, 1)), np.zeros((n * width, 0))
    return Candidates(tuple(parts), places, scores, wanted, np.ones(n, dtype=int), lengths, features)


def test_parts_weigh_by_how_much_they_tell_and_may_weigh_against_an_item() -> None:
    generator = np.random.default_rng(1)
    targets = generator.integers(0, 20, 300)
    right, useless, wrong = generator.normal(size=(3, 300, 20))
    right[np.arange(300), targets] += 2
    wrong[np.arange(300), targets] -= 1
    parts = {"sequence": right, "text": useless, "popularity": wrong}
    weights = fit_weights(candidates_of(parts, targets, np.ones(300, dtype=int))).weights
    assert weights["sequence"] == 1.0
    assert weights["popularity"] == pytest.approx(-0.5, abs=0.15)
    assert abs(weights["text"]) < 0.1


def test_without_a_target_among_the_candidates_the_sequence_model_stays_alone() -> None:
    nothing = candidates_of({"sequence": np.zeros((3, 4))}, np.full(3, -1), np.ones(3, dtype=int))
    assert fit_weights(nothing).is_sequence_alone


def test_the_gate_learns_for_whom_the_neighbours_are_right() -> None:
    """With short histories the neighbours know the target, with long ones the sequence model does."""
    generator = np.random.default_rng(1)
    lengths = np.repeat([1, 30], 100)
    targets = generator.integers(0, 20, len(lengths))
    sequence, neighbours = generator.normal(size=(2, len(lengths), 20)).astype(np.float32)
    for row, place in enumerate(targets):
        (neighbours if lengths[row] == 1 else sequence)[row, place] += 4
    parts = {"sequence": standardised(sequence), "neighbours": standardised(neighbours)}
    short, long = fit_gate(candidates_of(parts, targets, lengths)).weight_of("neighbours", np.array([1, 30]))
    assert short > 0.8
    assert long < 0.2


def test_what_is_no_candidate_teaches_nothing() -> None:
    """The neighbours shout for an item: they are wrong where it may come back, and right where it may not."""
    sequence, neighbours = np.zeros((40, 6), dtype=np.float32), np.zeros((40, 6), dtype=np.float32)
    neighbours[:, 0], neighbours[:, 1], sequence[:, 2] = 9.0, 1.0, 0.1
    whole = candidates_of({"sequence": sequence, "neighbours": neighbours}, np.ones(40), np.ones(40, dtype=int))
    places = whole.places.copy()
    places[:, 0] = -1
    without = replace(whole, places=places)
    weights = [fit_gate(one).weight_of("neighbours", np.array([1]))[0] for one in (without, whole)]
    assert weights[0] > 0.5
    assert weights[1] < 0.2
