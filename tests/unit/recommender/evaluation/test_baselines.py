"""The fitted baselines against what they are by definition, and their place in an evaluation."""

import numpy as np
import pyarrow.parquet as pq
import pytest

from core.settings.tree import Recipe
from recommender.errors import TrainingDataError
from recommender.evaluation.baselines import Grid, fit_baselines, fit_bm25, plain_sasrec
from recommender.fitting.context import FitContext
from recommender.inputs.item_vectors import ItemVectors
from recommender.inputs.queries import Queries, read_queries
from recommender.inputs.sequences import read_user_items
from recommender.inputs.user import UserState
from recommender.metrics.ranking_evaluation import evaluate_ranker
from recommender.metrics.top_k import best_indices
from tests.unit.recommender.tiny_shop import QUICK, item, random_vectors, save_random_vectors, write, write_training_set

RECIPE = Recipe(sequence=QUICK, seed=5)


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """A training set whose catalogue counts a recent window, and vectors beside it."""
    root = tmp_path_factory.mktemp("shop")
    training = write_training_set(root / "training")
    catalogue = pq.read_table(training / "catalogue.parquet").to_pylist()
    for row in catalogue:
        row["item_popularity"] = [0, 7 if row["item_id"] == item(5) else 0]
    write(training, "catalogue", catalogue)
    return training, save_random_vectors(training, root / "vectors")


@pytest.fixture(scope="module")
def fitted(shop):
    names = ("popularity_recent", "item_knn", "als", "bm25", "sasrec")
    said: list[str] = []
    training, vectors = shop
    rankers = fit_baselines(FitContext(training, RECIPE.seed, 5, progress=said.append), names, vectors, RECIPE)
    assert list(rankers) == list(names)
    for name in ("item_knn", "als", "bm25", "sasrec"):
        assert any(line.startswith(f"baseline {name}: ") and "validation ndcg_at_5" in line for line in said)
    return rankers


def test_what_was_taken_of_late_comes_first_and_then_what_was_taken_ever(shop, fitted):
    items = ItemVectors.load(shop[1])
    first, second = best_indices(fitted["popularity_recent"].scores([UserState()]), 2)[0]
    assert items.ids.item_id(int(first)) == item(5)
    counts = items.catalogue.n_events.copy()
    counts[first - 1] = 0
    assert second - 1 == np.argmax(counts)


def test_recent_popularity_without_a_window_is_left_out(tmp_path):
    training = write_training_set(tmp_path / "training")
    save_random_vectors(training, tmp_path / "vectors")
    assert (
        fit_baselines(FitContext(training, RECIPE.seed, k=5), ("popularity_recent",), tmp_path / "vectors", RECIPE)
        == {}
    )


def test_item_knn_adds_the_cosines_of_who_had_what(shop, fitted):
    """In the tiny shop 20 neighbours are as good as all: the choice takes the first of equals."""
    items = ItemVectors.load(shop[1])
    had = np.zeros((40, len(items.ids)))
    for row, known in enumerate(read_user_items(shop[0], items.ids)):
        had[row, known - 1] = 1
    lengths = np.linalg.norm(had, axis=0)
    cosines = (had.T @ had) / np.maximum(np.outer(lengths, lengths), 1e-9)
    history = [item(3), item(4)]
    by_hand = cosines[[items.ids.index(name) - 1 for name in history]].sum(axis=0)
    scores = fitted["item_knn"].scores([UserState.from_history(history)])[0]
    ranked = np.argsort(-np.where(np.isneginf(scores), -1, by_hand))[:5]
    np.testing.assert_allclose(scores[ranked], by_hand[ranked], rtol=1e-5)


def test_collaborative_baselines_learn_the_tiny_shop(shop, fitted):
    queries = read_queries(shop[0], "test")
    ndcg = {name: evaluate_ranker(ranker, queries, 5).per_query["ndcg"].mean() for name, ranker in fitted.items()}
    assert min(ndcg["item_knn"], ndcg["als"]) > ndcg["popularity_recent"] + 0.2


def test_nobody_without_a_history_is_left_without_an_answer(shop, fitted):
    counts = ItemVectors.load(shop[1]).catalogue.n_events
    for name in ("item_knn", "als", "bm25"):
        np.testing.assert_array_equal(fitted[name].scores([UserState()])[0], counts)


def test_seen_items_never_come_back(fitted):
    user = UserState.from_history([item(3), item(4), "unknown"])
    for ranker in fitted.values():
        scores = ranker.scores([UserState(), user])[1]
        assert {ranker.ids.item_id(int(place) + 1) for place in np.flatnonzero(np.isneginf(scores))} == set(
            user.items[:2]
        )


def test_bm25_finds_by_words(tmp_path):
    rows = [
        {"item_id": name, "item_text": text, "item_n_events": 1, "item_n_ratings": 0}
        for name, text in (
            ("a", "green jasmine tea अच्छा"),
            ("b", "jasmine blossoms"),
            ("c", "steel kettle अचार a"),
            ("d", ""),
        )
    ]
    training = write_training_set(tmp_path / "training")
    write(training, "catalogue", rows)
    items = random_vectors(training)
    tuned = fit_bm25(items, Grid("bm25", Queries((), ()), 2, print))
    assert tuned is not None
    ranker = tuned.ranker
    scores = dict(zip(items.ids, ranker.scores([UserState.from_history(["a"])])[0], strict=True))
    assert scores["b"] > scores["c"] == scores["d"] == 0
    # Who had only what has no words is answered by popularity.
    wordless = dict(zip(items.ids, ranker.scores([UserState.from_history(["d"])])[0], strict=True))
    assert wordless["a"] == wordless["b"] == wordless["c"] == 1


def test_sasrec_reads_ids_alone(fitted):
    settings = plain_sasrec(RECIPE, 0.2)
    assert (settings.use_ids, settings.use_text, settings.use_modality) == (True, False, False)
    assert (settings.filter_share, settings.id_dropout, settings.dropout) == (0, 0, 0.2)
    assert (settings.width, settings.max_epochs) == (QUICK.width, QUICK.max_epochs)
    assert not fitted["sasrec"].model.shape.use_text
    assert fitted["sasrec"].model.shape.filter_share == 0
    assert float(fitted["sasrec"].model.popularity_weight) == 0


def test_a_damaged_training_set_is_named(shop, tmp_path):
    with pytest.raises(TrainingDataError, match="table=queries"):
        fit_baselines(FitContext(tmp_path, RECIPE.seed, k=5), ("item_knn",), shop[1], RECIPE)
