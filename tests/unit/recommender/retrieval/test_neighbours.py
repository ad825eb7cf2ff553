"""The neighbourhood model against its closed form, written out with a plain inverse."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from core.settings.models import ItemKnnSettings, NeighbourSettings
from recommender.errors import BundleError
from recommender.retrieval.neighbours import NeighbourModel

N_ITEMS = 12
ALL = NeighbourSettings(n_neighbours=N_ITEMS, regularisation=3.0, recency=0.5)


@pytest.fixture
def sequences() -> list[np.ndarray]:
    generator = np.random.default_rng(1)
    # Item 12 never occurs.
    return [generator.choice(np.arange(1, N_ITEMS), generator.integers(2, 6), replace=False) for _ in range(60)]


def closed_form(sequences: list[np.ndarray], regularisation: float, n_items: int = N_ITEMS) -> np.ndarray:
    """Shape (n_items + 1, n_items + 1); row and column 0 are padding, those of items that never occur are zero."""
    x = np.zeros((len(sequences), n_items + 1))
    for row, sequence in zip(x, sequences, strict=True):
        row[sequence] = 1
    precision = np.linalg.inv(x.T @ x + regularisation * np.eye(n_items + 1))
    weights = -precision / np.diag(precision)
    np.fill_diagonal(weights, 0)
    return weights


def test_with_all_neighbours_it_is_the_closed_form(sequences: list[np.ndarray]) -> None:
    weights = closed_form(sequences, ALL.regularisation)
    model = NeighbourModel.fit(sequences, N_ITEMS, ALL)
    expected = 0.25 * weights[4] + 0.5 * weights[2] + weights[7]
    assert model.scores([[4, 2, 7], []]) == pytest.approx(np.stack([expected[1:], np.zeros(N_ITEMS)]), abs=1e-5)


def test_a_history_of_very_many_items_takes_no_more_memory_than_the_matrix(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[int] = []
    flatten = torch.Tensor.flatten

    def flattened(pairs: torch.Tensor) -> torch.Tensor:
        taken.append(pairs.numel())
        return flatten(pairs)

    monkeypatch.setattr(torch.Tensor, "flatten", flattened)
    monkeypatch.setattr("recommender.retrieval.neighbours._PAIRS", 1000)
    histories = [np.arange(1, 201), np.array([3, 9, 200]), np.zeros(0, dtype=np.int64), np.array([7])]
    settings = NeighbourSettings(regularisation=1.0, n_neighbours=200, recency=1.0)
    model = NeighbourModel.fit(histories, 200, settings)
    assert max(taken) == 1000
    expected = closed_form(histories, 1.0, 200)
    assert model.scores([[3], [200]]) == pytest.approx(expected[[3, 200], 1:], abs=1e-5)


def test_only_the_strongest_neighbours_are_kept(sequences: list[np.ndarray]) -> None:
    weights = closed_form(sequences, ALL.regularisation)
    model = NeighbourModel.fit(sequences, N_ITEMS, ALL.model_copy(update={"n_neighbours": 3}))
    row = model.scores([[5]])[0]
    strongest = np.argsort(-np.abs(weights[5]))[:3]
    assert sorted(np.flatnonzero(row) + 1) == sorted(strongest)
    assert row[strongest - 1] == pytest.approx(weights[5][strongest], abs=1e-5)


def test_items_that_never_occur_or_are_too_many_are_not_learned(sequences: list[np.ndarray]) -> None:
    model = NeighbourModel.fit(sequences, N_ITEMS, ALL.model_copy(update={"max_items": 4}))
    counts = np.bincount(np.concatenate(sequences), minlength=N_ITEMS + 1)
    known = {item for item in range(1, N_ITEMS + 1) if model.scores([[item]]).any()}
    assert len(known) == 4
    assert min(counts[list(known)]) >= max(counts[item] for item in range(1, N_ITEMS + 1) if item not in known)
    assert not NeighbourModel.fit(sequences, N_ITEMS, ALL).scores([[12]]).any()


def test_it_loads_back_equal(sequences: list[np.ndarray], tmp_path: Path) -> None:
    model = NeighbourModel.fit(sequences, N_ITEMS, ALL)
    model.save(tmp_path)
    histories = [[1, 2], [3], [11, 4, 9]]
    assert (NeighbourModel.load(tmp_path).scores(histories) == model.scores(histories)).all()
    (tmp_path / "neighbours.safetensors").unlink()
    with pytest.raises(BundleError, match=r"neighbours\.safetensors"):
        NeighbourModel.load(tmp_path)


def test_what_a_user_rated_low_counts_less_and_that_is_kept(sequences: list[np.ndarray], tmp_path: Path) -> None:
    model = NeighbourModel.fit(sequences, N_ITEMS, ALL)
    one, two = model.scores([[1], [2]])
    damped = model.with_low_rating(0.25)
    ratings = [[2.0, None], [2.5, 5.0], [None, 1.0]]
    scores = damped.scores([[1, 2]] * 3, ratings)
    for row, (older, newer) in enumerate([(0.25, 1.0), (1.0, 1.0), (1.0, 0.25)]):
        assert scores[row] == pytest.approx(0.5 * older * one + newer * two, abs=1e-6)
    assert damped.scores([[1, 2]])[0] == pytest.approx(scores[1])  # nothing is known of ratings
    damped.save(tmp_path)
    np.testing.assert_array_equal(NeighbourModel.load(tmp_path).scores([[1, 2]] * 3, ratings), scores)


def test_entries_count_by_their_kind_of_event_and_that_is_kept(sequences: list[np.ndarray], tmp_path: Path) -> None:
    model = NeighbourModel.fit(sequences, N_ITEMS, ALL)
    one, two = model.scores([[1], [2]])
    weighed = model.with_event_weights({"view": 0.25, "click": 0.75})
    events = [["view", "purchase"], ["click", "view"], ["cart", "rating"], []]
    scores = weighed.scores([[1, 2]] * 4, None, events)
    for row, (older, newer) in enumerate([(0.25, 1.0), (0.75, 0.25), (1.0, 1.0), (1.0, 1.0)]):
        assert scores[row] == pytest.approx(0.5 * older * one + newer * two, abs=1e-6)
    both = weighed.with_low_rating(0.5).scores([[1, 2]], [[None, 1.0]], [["view", "rating"]])
    assert both[0] == pytest.approx(0.5 * 0.25 * one + 0.5 * two, abs=1e-6)
    weighed.save(tmp_path)
    np.testing.assert_array_equal(NeighbourModel.load(tmp_path).scores([[1, 2]] * 4, None, events), scores)


def test_cosines_are_those_of_the_items_columns(sequences: list[np.ndarray]) -> None:
    x = np.zeros((len(sequences), N_ITEMS + 1))
    for row, sequence in zip(x, sequences, strict=True):
        row[sequence] = 1
    lengths = np.maximum(np.linalg.norm(x, axis=0), 1e-9)
    cosines = (x / lengths).T @ (x / lengths)
    np.fill_diagonal(cosines, 0)
    settings = ItemKnnSettings(n_neighbours=N_ITEMS, recency=0.5)
    model = NeighbourModel.fit_cosines(sequences, N_ITEMS, settings)
    expected = 0.25 * cosines[4] + 0.5 * cosines[2] + cosines[7]
    assert model.scores([[4, 2, 7]])[0] == pytest.approx(expected[1:], abs=1e-5)
    assert not model.scores([[12]]).any()  # it never occurs
    three = NeighbourModel.fit_cosines(sequences, N_ITEMS, settings.model_copy(update={"n_neighbours": 3}))
    assert sorted(three.scores([[5]])[0])[-3:] == pytest.approx(sorted(cosines[5])[-3:], abs=1e-5)
    assert np.count_nonzero(three.scores([[5]])) == 3
    even = three.with_recency(1.0).scores([[5, 7]])[0]
    assert even == pytest.approx(three.scores([[5]])[0] + three.scores([[7]])[0], abs=1e-6)
