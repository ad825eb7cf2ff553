"""A baseline that serves ranks as the evaluated one does, before and after it is saved, and answers like any ranker."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from core.settings.evaluation import BASELINE_KINDS
from core.settings.models import SequenceSettings
from core.settings.tree import Recipe
from recommender.errors import BundleError, TrainingDataError
from recommender.evaluation.baselines import fit_baseline, fit_baselines
from recommender.fitting.context import FitContext
from recommender.inputs.ids import UnknownItem
from recommender.inputs.item_vectors import ItemVectors
from recommender.inputs.queries import read_queries
from recommender.inputs.user import UserState
from recommender.ranking.baseline_ranker import BaselineRanker
from recommender.retrieval.popularity import PopularityRanker
from recommender.retrieval.text.ranker import TextRanker
from tests.unit.recommender.tiny_shop import (
    catalogue_row,
    item,
    random_vectors,
    save_random_vectors,
    write,
    write_training_set,
)

RECIPE = Recipe(sequence=SequenceSettings(max_epochs=1), seed=5)
K = 5
WINDOWS = ("validation", "test")
WARM, STRANGE = UserState.from_history([item(3), item(4)]), UserState.from_history(["gone"])


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """A training set with two recent windows, and its vectors."""
    root = tmp_path_factory.mktemp("shop")
    training = write_training_set(root / "training")
    counts = read_counts(training)
    rows = [
        {**catalogue_row(name, count), "item_popularity": [9 if name == item(5) else 0, 40 if name == item(7) else 1]}
        for name, count in counts.items()
    ]
    write(training, "catalogue", rows)
    return training, save_random_vectors(training, root / "vectors")


def read_counts(training):
    vectors = random_vectors(training)
    return dict(zip(vectors.ids, (int(n) for n in vectors.catalogue.n_events), strict=True))


@pytest.fixture(scope="module")
def served(shop, tmp_path_factory):
    """Every kind as a bundle holds it: fitted, saved, loaded."""
    training, vectors = shop
    loaded = {}
    for kind in BASELINE_KINDS:
        folder = tmp_path_factory.mktemp("parts") / kind
        fit_baseline(FitContext(training, RECIPE.seed, k=K), kind, vectors, folder, RECIPE)
        loaded[kind] = BaselineRanker.load(folder, ItemVectors.load(vectors))
    return loaded


@pytest.fixture(scope="module")
def evaluated(shop):
    training, folder = shop
    vectors = ItemVectors.load(folder)
    fitted = fit_baselines(FitContext(training, RECIPE.seed, k=K), ("popularity_recent", "item_knn"), folder, RECIPE)
    texts = TextRanker(vectors.before_fine_tuning())
    return {"popularity": PopularityRanker(vectors), **fitted, "text_encoder": texts}


@pytest.mark.parametrize("kind", BASELINE_KINDS)
def test_what_serves_scores_as_what_was_evaluated(shop, served, evaluated, kind):
    users = [*read_queries(shop[0], "test").users, UserState(), WARM, STRANGE]
    np.testing.assert_array_equal(served[kind].scores(users), evaluated[kind].scores(users))


@pytest.mark.parametrize("kind", BASELINE_KINDS)
def test_top_k_is_the_best_of_the_scores_without_what_is_left_out(served, kind):
    ranker = served[kind]
    (best,) = ranker.top_k([WARM], 30, exclude=[[item(9), "unknown"]])
    scores = dict(zip(ranker.ids, ranker.scores([WARM])[0], strict=True))
    assert {name for name, _ in best} == set(ranker.ids) - {item(3), item(4), item(9)}
    assert [score for _, score in best] == sorted((scores[name] for name, _ in best), reverse=True)
    assert ranker.top_k([WARM], 4, exclude=[[item(9)]])[0] == best[:4]
    seen = {name for name, _ in ranker.top_k([WARM], 30, exclude_seen=False)[0]}
    assert seen == set(ranker.ids)
    allowed = np.zeros(len(ranker.ids), dtype=bool)
    allowed[ranker.ids.index(item(2)) - 1] = True
    assert [name for name, _ in ranker.top_k([WARM], 5, allowed=allowed)[0]] == [item(2)]


def test_a_known_history_is_no_cold_start_whoever_ranks(served):
    for ranker in served.values():
        assert [ranker.knows(user) for user in (WARM, STRANGE, UserState())] == [True, False, False]
    answered = {kind: [r.answered_by(user) for user in (WARM, STRANGE)] for kind, r in served.items()}
    assert answered == {
        "popularity": ["popularity", "popularity"],
        "popularity_recent": ["popularity", "popularity"],
        "item_knn": ["neighbours", "popularity"],
        "text_encoder": ["text", "popularity"],
    }
    for kind, ranker in served.items():
        assert ranker.parts_of(WARM, [item(1), item(2)]) == [answered[kind][0]] * 2
        with pytest.raises(UnknownItem):
            ranker.parts_of(WARM, ["gone"])


def test_a_history_is_the_reason_only_where_it_was_read(served):
    assert served["popularity"].nearest_history(WARM, item(5), 3) == []
    assert served["popularity_recent"].nearest_history(WARM, item(5), 3) == []
    texts = served["text_encoder"].nearest_history(WARM, item(5), 3)
    assert {name for name, _ in texts} == {item(3), item(4)}
    assert texts[0][1] >= texts[1][1]
    assert served["text_encoder"].nearest_history(WARM, item(3), 3)[0][0] == item(4)
    neighbours = served["item_knn"].nearest_history(WARM, item(5), 3)
    score = served["item_knn"].scores([WARM])[0][served["item_knn"].ids.index(item(5)) - 1]
    assert sum(weight for _, weight in neighbours) == pytest.approx(score)
    assert served["item_knn"].nearest_history(UserState(), item(5), 3) == []
    for ranker in served.values():
        with pytest.raises(UnknownItem):
            ranker.nearest_history(WARM, "gone", 3)


def test_equal_data_give_equal_files(shop, tmp_path):
    training, vectors = shop
    for kind in BASELINE_KINDS:
        for name in ("one", "two"):
            fit_baseline(FitContext(training, RECIPE.seed, K), kind, vectors, tmp_path / name / kind, RECIPE)
        files = sorted(path.name for path in (tmp_path / "one" / kind).glob("baseline.*"))
        assert files == ["baseline.json", "baseline.safetensors"][: 1 if kind in ("popularity", "text_encoder") else 2]
        for file in files:
            assert (tmp_path / "one" / kind / file).read_bytes() == (tmp_path / "two" / kind / file).read_bytes()


def test_the_recent_window_is_the_one_that_validation_likes_best(tmp_path):
    """Everybody goes on to the item that the shorter window counts; the longer one counts another."""
    training = write_training_set(tmp_path / "training")
    wanted, other = item(0), item(1)
    rows = [
        {**catalogue_row(name, 1), "item_popularity": [5 * (name == wanted), 50 * (name == other), 0]}
        for name in random_vectors(training).ids
    ]
    write(training, "catalogue", rows)
    history = {"history_items": [item(9)], "history_values": [None]}
    asked = [{"user_id": f"u{n}", "split": "validation", **history, "targets": [wanted]} for n in range(5)]
    write(training, "queries", asked)
    save_random_vectors(training, tmp_path / "vectors")
    said: list[str] = []
    names = ("popularity_recent",)
    ranker = fit_baselines(
        FitContext(training, RECIPE.seed, k=1, progress=said.append), names, tmp_path / "vectors", RECIPE
    )["popularity_recent"]
    assert isinstance(ranker, BaselineRanker)
    assert ranker.top_k([UserState()], 1)[0][0][0] == wanted
    assert said == ["baseline popularity_recent: window=1, validation ndcg_at_1 1.0000"]
    write(training, "queries", [])  # nothing to choose by: the longest that counts anything
    ranker = fit_baselines(
        FitContext(training, RECIPE.seed, k=1, progress=said.append), names, tmp_path / "vectors", RECIPE
    )["popularity_recent"]
    assert isinstance(ranker, BaselineRanker)
    assert ranker.top_k([UserState()], 1)[0][0][0] == other


def test_recent_popularity_that_was_not_counted_cannot_be_fitted(tmp_path):
    training = write_training_set(tmp_path / "training")
    save_random_vectors(training, tmp_path / "vectors")
    with pytest.raises(TrainingDataError, match="kind=popularity_recent without counts"):
        fit_baseline(
            FitContext(training, RECIPE.seed, k=K),
            "popularity_recent",
            tmp_path / "vectors",
            tmp_path / "b",
            RECIPE,
        )
    assert not (tmp_path / "b").exists()


def test_a_damaged_component_is_named(shop, tmp_path):
    vectors = ItemVectors.load(shop[1])
    (tmp_path / "baseline.json").write_text('{"kind": "magic"}')
    with pytest.raises(BundleError, match="kind=magic, expected one of popularity"):
        BaselineRanker.load(tmp_path, vectors)
    (tmp_path / "baseline.json").write_text('{"kind": "item_knn"}')
    with pytest.raises(BundleError, match="readable weights of item_knn"):
        BaselineRanker.load(tmp_path, vectors)
    recent = np.ones(3)
    BaselineRanker.save(_unchecked(vectors, recent), tmp_path)
    with pytest.raises(BundleError, match="3 items in place of 24"):
        BaselineRanker.load(tmp_path, vectors)


def _unchecked(vectors, recent):
    ranker = BaselineRanker(vectors, "popularity_recent", recent=np.ones(len(vectors.ids)))
    ranker._recent = recent
    return ranker


@pytest.mark.parametrize(("kind", "first"), [("popularity", item(2)), ("popularity_recent", item(3))])
def test_popularity_serves_by_the_counts_so_far_and_is_evaluated_by_those_before(shop, served, tmp_path, kind, first):
    training, vectors = shop
    now = datetime(2025, 6, 30, tzinfo=UTC)
    told = [(item(2), "view", 300)] * 500 + [(item(3), "view", 0)] * 90 + [(item(4), "impression", 0)] * 900
    events = [{"item_id": name, "event": event, "timestamp": now - timedelta(days=days)} for name, event, days in told]
    pq.write_table(pa.Table.from_pylist(events), tmp_path / "interactions.parquet")
    folder = tmp_path / kind
    fit_baseline(
        FitContext(training, RECIPE.seed, k=K),
        kind,
        vectors,
        folder,
        RECIPE,
        interactions=tmp_path / "interactions.parquet",
    )
    ranker = BaselineRanker.load(folder, ItemVectors.load(vectors))
    assert ranker.top_k([UserState()], 1)[0][0][0] == first
    assert ranker.top_k([UserState.from_history([first])], 1)[0][0][0] != first
    np.testing.assert_array_equal(ranker.scores([UserState(), WARM]), served[kind].scores([UserState(), WARM]))


def test_recent_popularity_is_evaluated_by_what_was_recent_when_it_was_asked(tmp_path):
    training = write_training_set(tmp_path / "training")
    before, later = item(7), item(8)
    ids = random_vectors(training).ids
    write(
        training,
        "catalogue",
        [{**catalogue_row(name, 1), "item_popularity": [0, 9 * (name == before)]} for name in ids],
    )
    then = [{"item_id": name, "item_popularity": [5 * (name == later), 5]} for name in ids]
    write(training, "items_then", [{**row, "split": split} for row in then for split in ("validation", "test")])
    history = {"history_items": [item(9)], "history_values": [None]}
    asked = [{"user_id": f"u{n}", "split": split, **history, "targets": [later]} for n in range(5) for split in WINDOWS]
    write(training, "queries", asked)
    save_random_vectors(training, tmp_path / "vectors")
    fit = FitContext(training, RECIPE.seed, k=1)
    fit_baseline(fit, "popularity_recent", tmp_path / "vectors", tmp_path / "baseline", RECIPE)
    ranker = BaselineRanker.load(tmp_path / "baseline", ItemVectors.load(tmp_path / "vectors"))
    # The shortest window was empty at the cut-off; as validation opened it was not, and it is the one that hits.
    assert ranker.window_days == sorted(RECIPE.features.windows_days)[0]
    for split in WINDOWS:
        users = read_queries(training, split).users
        assert [ids.item_id(int(row.argmax()) + 1) for row in ranker.scores(users)] == [later] * 5


def test_what_compares_items_says_how_alike_they_are(served):
    for kind in ("text_encoder", "item_knn"):
        ranker, found = served[kind], served[kind].similarities(item(5))
        for name, value in ranker.nearest_history(WARM, item(5), 9):
            assert found[ranker.ids.index(name) - 1] == pytest.approx(value, abs=1e-6)
    for kind in ("popularity", "popularity_recent"):
        assert served[kind].similarities(item(5)) is None
        assert served[kind].user_vectors([WARM]) is None
    unconnected = served["item_knn"].similarities(item(5))
    assert unconnected.min() == -np.inf
    assert served["text_encoder"].user_vectors([WARM, WARM]).shape[0] == 2
