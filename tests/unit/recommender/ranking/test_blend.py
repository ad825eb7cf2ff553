"""How the neighbourhood model is blended in: kinds, choice on validation, the gate."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from core.storage import write_json
from recommender.errors import BundleError
from recommender.ranking.blend import CONFIG_FILE, Blend, ColdItems, choose_blend, fit_gate, standardised


def test_each_kind_weighs_as_it_says() -> None:
    lengths = np.array([0, 1, 10])
    assert Blend("none").weights(lengths).tolist() == [0, 0, 0]
    assert Blend("mean").weights(lengths).tolist() == [1, 1, 1]
    assert Blend("weighted", weight=0.25).weights(lengths).tolist() == [0.25] * 3
    gate = Blend("gate", slope=1.0, offset=-1.0).weights(lengths)
    assert gate == pytest.approx(1 / (1 + np.exp(1 - np.log1p(lengths))))


def test_a_part_is_the_neighbours_scores_times_the_weight_of_each_history() -> None:
    neighbours = np.array([[1.0, -2.0], [3.0, 0.5]], dtype=np.float32)
    assert Blend("weighted", weight=0.5).part(neighbours, np.array([1, 9])).tolist() == [[0.5, -1.0], [1.5, 0.25]]
    gate = Blend("gate", slope=1.0, offset=-1.0)
    first, second = gate.weights(np.array([1, 9]))
    np.testing.assert_array_equal(
        gate.part(neighbours, np.array([1, 9])), [first * neighbours[0], second * neighbours[1]]
    )


def test_a_cold_item_is_lifted_beside_what_its_text_says() -> None:
    cosines = np.array([[0.5, -0.25]], dtype=np.float32)
    assert ColdItems(text_weight=2.0, lift=-1.0).part(cosines).tolist() == [[0.0, -1.5]]


def test_standardised_rows_have_mean_0_and_deviation_1_and_equal_scores_say_nothing() -> None:
    rows = standardised(np.array([[1.0, 2.0, 6.0], [4.0, 4.0, 4.0]]))
    assert rows[0].mean() == pytest.approx(0, abs=1e-6)
    assert rows[0].std() == pytest.approx(1)
    assert rows[1].tolist() == [0, 0, 0]


def test_the_best_on_validation_is_chosen_and_the_simpler_of_equals() -> None:
    gate = Blend("gate", slope=1.0)
    by_kind = {"none": 0.1, "mean": 0.3, "weighted": 0.2, "gate": 0.4}
    assert choose_blend("auto", lambda blend: by_kind[blend.kind], gate) == (gate, 0.4)
    assert choose_blend("auto", lambda blend: 0.5, gate) == (Blend("none"), 0.5)
    assert choose_blend("mean", lambda blend: by_kind[blend.kind], gate) == (Blend("mean"), 0.3)
    best, value = choose_blend("weighted", lambda blend: -abs(blend.weight - 0.16))
    assert (best.kind, best.weight, round(value, 2)) == ("weighted", 0.15, -0.01)
    assert choose_blend("gate", lambda blend: 0.1) == (Blend("none"), 0.1)  # there was nothing to fit a gate on


def test_the_gate_learns_for_whom_the_neighbours_are_right() -> None:
    """With short histories the neighbours know the target, with long ones the sequence model does."""
    generator = np.random.default_rng(1)
    lengths = np.repeat([1, 30], 100)
    targets = [[int(place)] for place in generator.integers(0, 20, len(lengths))]
    sequence, neighbours = generator.normal(size=(2, len(lengths), 20)).astype(np.float32)
    for row, (place,) in enumerate(targets):
        (neighbours if lengths[row] == 1 else sequence)[row, place] += 4
    gate = fit_gate(standardised(sequence), standardised(neighbours), lengths, targets, [[] for _ in targets])
    short, long = gate.weights(np.array([1, 30]))
    assert short > 0.8
    assert long < 0.2


def test_what_is_seen_does_not_teach_the_gate() -> None:
    """The neighbours shout for an item: they are wrong where it may come back, and right where it may not."""
    sequence, neighbours = np.zeros((40, 6), dtype=np.float32), np.zeros((40, 6), dtype=np.float32)
    neighbours[:, 0], neighbours[:, 1], sequence[:, 2] = 9.0, 1.0, 0.1
    weights = [
        fit_gate(sequence, neighbours, np.ones(40), [[1]] * 40, [seen] * 40).weights(np.array([1]))[0]
        for seen in ([0], [])
    ]
    assert weights[0] > 0.5
    assert weights[1] < 0.2


def test_it_loads_back_equal(tmp_path: Path) -> None:
    blend = Blend("gate", slope=0.5, offset=-1.0)
    blend.save(tmp_path)
    assert Blend.load(tmp_path) == blend
    write_json(tmp_path / CONFIG_FILE, {"kind": "gate", "steepness": 3})
    with pytest.raises(BundleError, match="steepness"):
        Blend.load(tmp_path)
