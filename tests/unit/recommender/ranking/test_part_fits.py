"""Fitting the parts: which variant of one is kept, and how many users are asked at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from core.settings.models import ItemKnnSettings, NeighbourSettings
from recommender.fitting.context import FitContext
from recommender.inputs.item_vectors import ItemVectors
from recommender.inputs.queries import Queries
from recommender.inputs.user import UserState
from recommender.metrics.ranking_evaluation import QUERIES_PER_PASS
from recommender.ranking.part_fits import FITS, PartInputs, ToldBy, Variant, fit_parts
from recommender.ranking.parts import Asked
from tests.unit.recommender.tiny_shop import item, random_vectors, write_training_set

N_QUERIES = QUERIES_PER_PASS + 100
HISTORY, TARGET = item(1), item(5)


@dataclass
class Known:
    """Ranks the target first for the users of its numbers, and last for the others."""

    vectors: ItemVectors
    knows: range
    asked: list[int] = field(default_factory=list)
    start: int = 0

    def scores(self, asked: Asked) -> np.ndarray:
        self.asked.append(len(asked.users))
        scores = np.ones((len(asked.users), len(self.vectors.ids)), dtype=np.float32)
        numbers = self.start + np.arange(len(asked.users))
        self.start = (self.start + len(asked.users)) % N_QUERIES
        scores[:, self.vectors.ids.index(TARGET) - 1] = np.where(np.isin(numbers, self.knows), 2.0, 0.0)
        return scores

    def save(self, folder: Path) -> None:
        raise AssertionError(folder)


def variants(vectors: ItemVectors, known: dict[tuple[float, float], range]) -> dict[tuple[float, float], Known]:
    """By strength and weight of low ratings."""
    return {which: Known(vectors, knows) for which, knows in known.items()}


def chosen_of(
    monkeypatch: pytest.MonkeyPatch, training: Path, known: dict[tuple[float, float], range], n_queries: int = N_QUERIES
) -> tuple[ToldBy, dict[tuple[float, float], Known]]:
    vectors = random_vectors(training)
    parts = variants(vectors, known)

    def fit_all(_: PartInputs) -> Iterator[Variant]:
        for (strength, low), part in parts.items():
            yield "neighbours", {"regularisation": strength, "neighbours_low_rating": low}, part

    monkeypatch.setitem(FITS, "neighbours", fit_all)
    queries = Queries((UserState.from_history([HISTORY]),) * n_queries, ((TARGET,),) * n_queries)
    settings = NeighbourSettings(), ItemKnnSettings()
    return fit_parts(FitContext(training), vectors, ("neighbours",), queries, settings)[1], parts


@pytest.fixture
def training(tmp_path: Path) -> Path:
    return write_training_set(tmp_path / "training")


def test_no_more_users_are_asked_at_once_than_a_pass_holds(training: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Scores of all users and all items at once would not fit into memory where both are many."""
    choices, parts = chosen_of(monkeypatch, training, {(1.0, 1.0): range(300), (2.0, 1.0): range(301)})
    assert choices["regularisation"] == 2.0
    assert [part.asked for part in parts.values()] == [[QUERIES_PER_PASS, 100]] * 2


def test_low_ratings_count_in_full_unless_less_is_surely_better(
    training: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Of 102 users 50 are others than the 100 who are ranked for without.
    a_little = {(1.0, 1.0): range(100), (1.0, 0.5): range(50, 152)}
    surely = {(1.0, 1.0): range(100), (1.0, 0.5): range(140)}
    assert chosen_of(monkeypatch, training, a_little)[0]["neighbours_low_rating"] == 1.0
    assert chosen_of(monkeypatch, training, surely)[0]["neighbours_low_rating"] == 0.5


def test_the_strength_is_the_best_one_however_low_ratings_count(
    training: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only what low ratings count asks for more than a better mean, and in whichever order they are tried."""
    known = {(1.0, 1.0): range(100), (1.0, 0.5): range(140), (2.0, 1.0): range(110), (2.0, 0.5): range(50, 192)}
    best = {"regularisation": 2.0, "neighbours_low_rating": 0.5}
    assert chosen_of(monkeypatch, training, known)[0] == best
    assert chosen_of(monkeypatch, training, dict(reversed(known.items())))[0] == best


def test_without_anybody_to_ask_the_first_that_counts_low_ratings_in_full_is_taken(
    training: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = {(1.0, 0.5): range(0), (1.0, 1.0): range(0), (2.0, 1.0): range(0)}
    choices, _ = chosen_of(monkeypatch, training, known, n_queries=0)
    assert choices == {"regularisation": 1.0, "neighbours_low_rating": 1.0}


@pytest.mark.parametrize(("knows", "chosen"), [(range(50, 152), {}), (range(140), {"view": 0.5})])
def test_kinds_of_events_count_in_full_unless_less_is_surely_better(
    training: Path, monkeypatch: pytest.MonkeyPatch, knows: range, chosen: dict[str, float]
) -> None:
    vectors = random_vectors(training)

    def fit_all(_: PartInputs) -> Iterator[Variant]:
        for weights, known in (({}, range(100)), ({"view": 0.5}, knows)):
            yield "item_knn", {"item_knn_low_rating": 1.0, "item_knn_event_weights": weights}, Known(vectors, known)

    monkeypatch.setitem(FITS, "item_knn", fit_all)
    queries = Queries((UserState.from_history([HISTORY]),) * N_QUERIES, ((TARGET,),) * N_QUERIES)
    settings = NeighbourSettings(), ItemKnnSettings()
    choices = fit_parts(FitContext(training), vectors, ("item_knn",), queries, settings)[1]
    assert choices["item_knn_event_weights"] == chosen


@pytest.mark.parametrize(("kinds", "n_tried"), [(("view", "purchase"), 3), (("view", "view"), 1), ((), 1)])
def test_weights_of_kinds_are_tried_where_histories_have_several(
    training: Path, kinds: tuple[str, ...], n_tried: int
) -> None:
    vectors = random_vectors(training)
    settings = ItemKnnSettings(try_recencies=(), low_ratings=(1.0,))
    inputs = PartInputs([np.array([1, 2])], vectors, NeighbourSettings(), settings, frozenset(kinds))
    tried = [told_by["item_knn_event_weights"] for _, told_by, _ in FITS["item_knn"](inputs)]
    assert tried == list(settings.event_weights[:n_tried])
