"""Fitting the parts: which variant of one is kept, and how many users are asked at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest

from core.settings.features import EventKind
from core.settings.models import ItemKnnSettings, NeighbourSettings
from recommender.errors import TrainingDataError
from recommender.fitting.context import FitContext
from recommender.inputs.item_vectors import ItemVectors
from recommender.inputs.queries import USERS_PER_PASS, Queries
from recommender.inputs.user import UserState
from recommender.ranking.part_fits import FITS, PartInputs, ToldBy, Variant, fit_parts
from recommender.ranking.parts import Asked, Popularity, events_by_kind, load_parts, save_parts
from tests.unit.recommender.tiny_shop import N_ITEMS, catalogue_row, item, random_vectors, write, write_training_set

N_QUERIES = USERS_PER_PASS + 100
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
    assert [part.asked for part in parts.values()] == [[USERS_PER_PASS, 100]] * 2


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


KINDS = {"item_n_views": 6, "item_n_purchases": 3, "item_n_rating_events": 1, "item_n_impressions": 50}
BY_KIND = {"view": 6.0, "purchase": 3.0, "rating": 1.0}


def counted(training: Path, **changed: int) -> ItemVectors:
    """Every item with so many events of each kind, and twice as many of the item that is wanted."""
    rows = [
        {**catalogue_row(name, 10 * twice), **{kind: n * twice for kind, n in (KINDS | changed).items()}}
        for name, twice in ((item(n), 1 + (item(n) == TARGET)) for n in range(N_ITEMS))
    ]
    write(training, "catalogue", rows)
    return random_vectors(training)


def test_events_by_kind_are_those_that_count(training: Path) -> None:
    of_kinds = events_by_kind(counted(training).catalogue)
    place = counted(training).ids.index(item(1)) - 1
    assert {kind: counts[place] for kind, counts in of_kinds.items()} == BY_KIND
    # Impressions among what counts; and counts of which it cannot be said what they are of.
    with_all = events_by_kind(counted(training, item_n_impressions=2, item_n_purchases=1).catalogue)
    assert {kind: counts[place] for kind, counts in with_all.items()} == {
        "impression": 2.0, "view": 6.0, "purchase": 1.0, "rating": 1.0,
    }  # fmt: skip
    assert events_by_kind(counted(training, item_n_views=5).catalogue) == {}
    assert events_by_kind(random_vectors(write_training_set(training)).catalogue) == {}


def test_kinds_are_weighed_whichever_kinds_are_ignored(training: Path, tmp_path: Path) -> None:
    """Of 50 impressions, 7 views, 9 purchases and a rating the catalogue counts 10: views are ignored too."""
    vectors = counted(training, item_n_views=7, item_n_purchases=9)
    asked = Asked.of([UserState.from_history([HISTORY])], vectors.ids)
    places = [vectors.ids.index(name) - 1 for name in (item(1), TARGET)]
    part = Popularity(vectors, {"view": 0.5, "rating": 0.0})
    np.testing.assert_allclose(part.scores(asked)[0, places], np.log1p([9, 18]), rtol=1e-6)
    save_parts(tmp_path, {"popularity": part})
    np.testing.assert_array_equal(load_parts(tmp_path, vectors)["popularity"].scores(asked), part.scores(asked))
    # One that was written when such weights did nothing answers as it did, and others as their weights say.
    (tmp_path / "popularity.json").write_text('{"event_weights": {"rating": 0.0}}')
    older = [load_parts(tmp_path, one)["popularity"].scores(asked)[0, places] for one in (vectors, counted(training))]
    np.testing.assert_allclose(older, [np.log1p([10, 20]), np.log1p([9, 18])], rtol=1e-6)


@pytest.mark.parametrize("views", [5, 6])
def test_weights_are_refused_where_it_cannot_be_told_what_counts(training: Path, views: int) -> None:
    """No kinds make up what the catalogue counts; or views and carts do, each as well as the other."""
    carts = {5: 0, 6: 6}[views]
    vectors = counted(training, item_n_views=views, item_n_carts=carts)
    given = [np.array([1, 2])], vectors, NeighbourSettings(), ItemKnnSettings()
    inputs = PartInputs(*given, popularity=({"view": 0.5},))
    with pytest.raises(TrainingDataError, match=r"popularity_event_weights=\[\{'view': 0.5\}\]"):
        next(iter(FITS["popularity"](inputs)))
    assert len(list(FITS["popularity"](replace(inputs, popularity=({},))))) == 1


def test_popularity_counts_events_by_their_kind_and_keeps_how(training: Path, tmp_path: Path) -> None:
    vectors = counted(training)
    asked = Asked.of([UserState.from_history([HISTORY])], vectors.ids)
    places = [vectors.ids.index(name) - 1 for name in (item(1), TARGET)]
    part = Popularity(vectors, {"view": 0.5, "rating": 0.0, "cart": 0.1})
    np.testing.assert_allclose(part.scores(asked)[0, places], np.log1p([6, 12]), rtol=1e-6)
    np.testing.assert_allclose(Popularity(vectors).scores(asked)[0, places], np.log1p([10, 20]), rtol=1e-6)
    for one in (part, Popularity(vectors)):
        folder = tmp_path / f"{len(one.event_weights)}"
        folder.mkdir()
        save_parts(folder, {"popularity": one})
        loaded = load_parts(folder, vectors)["popularity"]
        assert isinstance(loaded, Popularity)
        assert loaded.event_weights == one.event_weights
        np.testing.assert_array_equal(loaded.scores(asked), one.scores(asked))


def test_weights_of_popularity_are_tried_where_several_kinds_happened(training: Path) -> None:
    def tried(vectors: ItemVectors, *weights: dict[EventKind, float]) -> list[ToldBy]:
        given = [np.array([1, 2])], vectors, NeighbourSettings(), ItemKnnSettings()
        return [told_by for _, told_by, _ in FITS["popularity"](PartInputs(*given, popularity=weights))]

    half: dict[EventKind, float] = {"view": 0.5}
    named = [{"popularity_event_weights": {}}, {"popularity_event_weights": half}]
    assert tried(counted(training), {}, half) == named
    assert tried(counted(training), {}) == [{}]
    assert tried(random_vectors(write_training_set(training)), {}, half) == named[:1]


def test_popularity_counts_in_full_unless_less_is_surely_better_and_the_choice_is_said(training: Path) -> None:
    """What is wanted is bought, and others are looked at: by purchases alone it comes first."""
    rows = [
        {
            **catalogue_row(name, 10),
            "item_n_views": 0 if name == TARGET else 8,
            "item_n_purchases": 10 if name == TARGET else 2,
        }
        for name in map(item, range(N_ITEMS))
    ]
    rows = [row | {"item_n_events": 9, "item_n_purchases": 9} if row["item_id"] == TARGET else row for row in rows]
    write(training, "catalogue", rows)
    vectors, half = random_vectors(training), {"view": 0.5}
    queries = Queries((UserState.from_history([HISTORY]),) * 40, ((TARGET,),) * 40)
    settings = NeighbourSettings(), ItemKnnSettings()
    for weights in (({}, half), (half, {})):
        parts, choices = fit_parts(FitContext(training), vectors, ("popularity",), queries, settings, weights)
        assert choices == {"popularity_event_weights": half}
        assert parts["popularity"] == Popularity(vectors, half)
    nobody = Queries((), ())
    assert fit_parts(FitContext(training), vectors, ("popularity",), nobody, settings, ({}, half))[1] == {
        "popularity_event_weights": {}
    }
