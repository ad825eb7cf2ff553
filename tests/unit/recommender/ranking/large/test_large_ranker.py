import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch

from core import schema
from core.storage import exclusively
from recommender.inputs.catalogue import Catalogue
from recommender.inputs.item_moments import POPULARITY, CountedItems
from recommender.inputs.item_vectors import ItemVectors
from recommender.inputs.seen import SeenItems
from recommender.inputs.user import UserState
from recommender.ranking.blend import Blend, ColdItems
from recommender.ranking.correction import Network
from recommender.ranking.large import building
from recommender.ranking.large import ranker as large_ranker
from recommender.ranking.large.building import index_ranker
from recommender.ranking.large.ranker import LargeRanker
from recommender.ranking.parts import ItemToItem, Popularity, RecentPopularity, TextLikeness
from recommender.ranking.ranker import Ranker
from recommender.retrieval.neighbours import NeighbourModel
from recommender.retrieval.sequence.model import SequenceEnsemble, SequenceModel, SequenceShape

N, WIDTH = 3000, 16
K = 20
FILES = {"vectors/a": "1", "sequence/b": "2"}


def item(number: int) -> str:
    return f"i{number}"


def vectors_of() -> ItemVectors:
    generator = np.random.default_rng(3)
    counts = generator.integers(0, 50, N)
    rows = [
        {
            schema.ITEM_ID: item(n), schema.TITLE: f"Item {n}", schema.ITEM_TEXT: f"Item {n}",
            schema.CATEGORY: f"C{n % 7}", schema.ITEM_N_EVENTS: int(counts[n]), schema.ITEM_N_RATINGS: 0,
            POPULARITY: [int(counts[n]) // 9, int(counts[n]) // 4],
        }
        for n in range(N)
    ]  # fmt: skip
    table = pa.Table.from_pylist(rows, schema=schema.TRAINING_TABLES["catalogue"])
    content = generator.normal(size=(N, WIDTH)).astype(np.float32)
    return ItemVectors.from_rows(
        Catalogue.from_table(table, seed=7), content / np.linalg.norm(content, axis=1)[:, None]
    )


def model_of(vectors: ItemVectors, n_models: int = 1) -> SequenceModel | SequenceEnsemble:
    shape = SequenceShape(
        n_items=N, text_width=WIDTH, width=8, n_blocks=1, n_heads=2, max_history=6, use_ids=True, use_text=True
    )
    torch.manual_seed(0)
    learned = torch.from_numpy(np.concatenate([[False], np.arange(N) % 11 != 0]))
    models = [SequenceModel(shape, vectors.text, learned) for _ in range(n_models)]
    for model in models:
        torch.nn.init.normal_(model.id_vectors)
        model.popularity_weight.fill_(0.3)
    return models[0] if n_models == 1 else SequenceEnsemble(models)


def blend_of(vectors: ItemVectors, n_models: int = 1, held_out: np.ndarray | None = None) -> Ranker:
    generator = np.random.default_rng(5)
    neighbours = NeighbourModel(
        generator.integers(0, N + 1, (N + 1, 10)).astype(np.int32),
        generator.normal(size=(N + 1, 10)).astype(np.float32),
        0.7, low_rating=0.5, event_weights={"view": 0.5},
    )  # fmt: skip
    parts = {
        "neighbours": ItemToItem("neighbours", neighbours),
        "text": TextLikeness(vectors),
        "popularity": Popularity(vectors),
        "popularity_recent_2": RecentPopularity(vectors, 1),
    }
    weights = {"sequence": 1.0, "neighbours": 0.5, "text": 0.4, "popularity": -0.1, "popularity_recent_2": 0.2}
    return Ranker(
        vectors, model_of(vectors, n_models), parts, Blend("weighted", weights, candidates=40), ColdItems(2.0, -0.5),
        held_out=held_out,
    )  # fmt: skip


@pytest.fixture(scope="module")
def vectors() -> ItemVectors:
    return vectors_of()


@pytest.fixture
def users(vectors) -> list[UserState]:
    then = CountedItems(vectors.catalogue.table)
    first = UserState(
        items=(item(3), item(11), item(500)), values=(1.0, None, 5.0), events=("view", "purchase", "rating"),
        seen=SeenItems.of_items(map(item, range(100))), items_then=then,
    )  # fmt: skip
    return [first, UserState.from_history([item(7)]), UserState()]


@pytest.fixture(scope="module", params=["sequence alone", "blend", "two models", "held out", "corrected"])
def exact(request, vectors) -> Ranker:
    if request.param == "sequence alone":
        return Ranker(vectors, model_of(vectors))
    held_out = np.arange(N) % 11 == 0 if request.param == "held out" else None
    ranker = blend_of(vectors, 2 if request.param == "two models" else 1, held_out)
    if request.param != "corrected":
        return ranker
    names, generator = ranker.describer.names, np.random.default_rng(6)
    tensors = {
        "mean": np.zeros(len(names)), "scale": np.ones(len(names)), "hidden": generator.normal(size=(len(names), 4)),
        "hidden_bias": np.zeros(4), "out": generator.normal(size=4) * 0.1,
    }  # fmt: skip
    return ranker.corrected(Network(names, {name: values.astype(np.float32) for name, values in tensors.items()}))


@pytest.fixture(scope="module")
def read_whole(exact, tmp_path_factory) -> LargeRanker:
    """Its indexes read everything, so that it finds what scoring everything finds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(building, "WANTED", dict.fromkeys(building.WANTED, 2.0))
        return index_ranker(exact, tmp_path_factory.mktemp("indexes"), FILES)


@pytest.fixture
def large(read_whole, monkeypatch) -> LargeRanker:
    """Filters go through the indexes."""
    monkeypatch.setattr(large_ranker, "FEW_ITEMS", 0)
    monkeypatch.setattr(large_ranker, "_AT_LEAST", N)
    return read_whole


def same(found, expected) -> None:
    for own, others in zip(found, expected, strict=True):
        scores = [np.array([score for _, score in one]) for one in (own, others)]
        np.testing.assert_allclose(scores[0], scores[1], rtol=2e-3, atol=2e-3)
        of_exact = dict(others)
        differing = [pair for pair in own if pair[0] not in of_exact]
        # Where two are as good as equal, either may stand.
        assert all(score - others[-1][1] < 5e-3 for _, score in differing)


def test_it_ranks_as_all_scores_do(large, exact, users):
    same(large.top_k(users, K), exact.top_k(users, K))


def test_what_may_not_come_back_does_not(large, exact, users):
    allowed = np.random.default_rng(1).random(N) < 0.3
    for filters in (
        {"allowed": allowed},
        {"allowed": allowed, "exclude": [[item(n) for n in range(50, 1000)], [], ["unheard of"]]},
        {"exclude_seen": False},
        {"exclude": [[item(n) for n in range(2000)]] * 3},
    ):
        if large.correction is not None and filters.keys() & {"allowed", "exclude"}:
            continue  # it corrects the best of what may come back, and not of all
        same(large.top_k(users, K, **filters), exact.top_k(users, K, **filters))
    one = np.zeros(N, dtype=bool)
    one[[5, 6]] = True
    assert [len(found) for found in large.top_k(users, K, allowed=one)] == [2, 2, 2]
    found = {name for name, _ in large.top_k(users, K, allowed=allowed)[0]}
    assert found <= {large.ids.item_id(int(place) + 1) for place in np.flatnonzero(allowed)} - set(
        map(item, range(100))
    )


def test_each_item_is_put_on_the_list_by_the_same_part(large, exact, users):
    names = [item(n) for n in range(0, N, 37)]
    for user in users:
        assert large.parts_of(user, names) == exact.parts_of(user, names)
        assert large.for_one(user).parts_of(user, names) == exact.parts_of(user, names)
        assert large.nearest_histories(user, names[:5], 2) == exact.nearest_histories(user, names[:5], 2)


def test_users_who_ask_together_are_answered_as_alone(large, users):
    together = [one.top_k([user], K)[0] for one, user in zip(large.for_each(users), users, strict=True)]
    assert together == large.top_k(users, K)


def test_an_index_is_made_once_and_mapped(exact, tmp_path, users, monkeypatch):
    first = index_ranker(exact, tmp_path, FILES)
    monkeypatch.setattr("recommender.ranking.large.building._make", lambda *_: pytest.fail("made again"))
    second = index_ranker(exact, tmp_path, {**FILES, "scorer/c": "another scorer ranks nothing"})
    assert first.top_k(users, K) == second.top_k(users, K)
    maps = [line for line in Path("/proc/self/maps").read_text().splitlines() if str(tmp_path) in line]
    assert any(".npy" in line for line in maps)
    assert any(".faiss" in line for line in maps)


def test_an_index_that_is_there_does_not_wait_for_those_that_are_being_made(exact, tmp_path):
    index_ranker(exact, tmp_path, FILES)
    with exclusively(tmp_path / "making.lock"):
        opening = threading.Thread(target=index_ranker, args=(exact, tmp_path, FILES), daemon=True)
        opening.start()
        opening.join(60.0)
        assert not opening.is_alive()


def test_indexes_of_earlier_bundles_go(vectors, tmp_path):
    alone = Ranker(vectors, model_of(vectors))
    for number in range(5):
        index_ranker(alone, tmp_path, {"vectors/a": str(number)})
    assert len([one for one in tmp_path.iterdir() if one.is_dir()]) == 3


def test_reading_few_lists_finds_nearly_all(vectors, tmp_path):
    found = index_ranker(blend_of(vectors), tmp_path, FILES)
    assert set(found.recall) == {"sequence", "text", "cold"}
    assert all(found.recall[name] >= wanted for name, wanted in building.WANTED.items())


def test_a_damaged_index_is_refused(vectors, tmp_path):
    from recommender.errors import BundleError

    ranker = blend_of(vectors)
    index_ranker(ranker, tmp_path, FILES)
    (made,) = tmp_path.glob("*/sequence.faiss")
    made.write_bytes(made.read_bytes()[:50])
    with pytest.raises(BundleError, match=r"Remove the folder"):
        index_ranker(ranker, tmp_path, FILES)


def test_moments_of_recent_counts_are_of_the_day_that_is_asked_about(vectors, tmp_path, users):
    class Then(CountedItems):
        days = 0

        @property
        def day(self) -> int:
            return self.days

    found = index_ranker(blend_of(vectors), tmp_path, FILES)
    then = Then(vectors.catalogue.table)
    user = replace(users[0], items_then=then)
    before = found.top_k([user], K)
    later = CountedItems(vectors.catalogue.table.set_column(
        vectors.catalogue.table.column_names.index(POPULARITY), POPULARITY,
        pa.array([[0, 1000 * (n == 42)] for n in range(N)], pa.list_(pa.int64())),
    ))  # fmt: skip
    then._table, then._aligned, then.days = later._table, None, 1
    assert found.ids.item_id(43) not in dict(before[0])
    assert found.ids.item_id(43) in dict(found.top_k([user], K, exclude_seen=False)[0])
