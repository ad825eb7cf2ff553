"""Training and serving build the same model input for one user, each from its own store."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import torch

from core.logs.events import Interaction
from core.schema import ITEM_FEATURES, USER_FEATURES
from core.settings.evaluation import EvaluationSettings
from core.settings.features import FeatureSettings, SeenSettings
from core.settings.source import SimulatedSource
from core.settings.validation import ValidationSettings
from features.counting.derivation import derive_item, derive_user
from features.feast.definitions import CATALOGUE, ONLINE_USER
from features.feast.offline_store import with_columns
from features.feast.store import open_store
from features.online import OnlineFeatures
from features.point_in_time.states import StatesThen
from features.refresh import refresh_features
from features.training import build_training_set
from recommender.inputs.catalogue import Catalogue, read_training_table
from recommender.inputs.queries import read_queries
from recommender.inputs.sequences import sequence_input
from recommender.inputs.user import UserState
from recommender.ranking.blend import Blend
from recommender.ranking.correction import Network
from recommender.ranking.parts import Popularity, RecentPopularity, TextLikeness
from recommender.ranking.ranker import Ranker
from recommender.retrieval.sequence.model import SequenceModel, SequenceShape
from tests.unit.features.shops import START, Row, write_shop
from tests.unit.recommender.tiny_shop import random_vectors
from validation.gate import validate
from validation.sources.ingest import ingest

MAX_HISTORY = 50
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def test_the_sequence_models_input_is_the_same_offline_and_online(tmp_path):
    """Every target is predicted from what serving would have read then: a store that is told event after event."""
    clean, feast, training = tmp_path / "clean", tmp_path / "feast", tmp_path / "training"
    settings = FeatureSettings(max_history=MAX_HISTORY)
    ingest(SimulatedSource(n_users=120, n_items=60, n_days=120), tmp_path / "raw")
    validate(tmp_path / "raw", clean, ValidationSettings(), tmp_path / "docs")
    refresh_features(clean, feast, settings)
    summary = build_training_set(clean, feast, training, settings, EvaluationSettings())
    ids = Catalogue.read(training, seed=7).ids
    online = OnlineFeatures(feast, settings)

    # The store knows the others' events; those of some users come one by one, in their order, up to the cut-off.
    cut_at = datetime.fromisoformat(summary.validation_at)
    interactions = pq.read_table(clean / "interactions.parquet")
    some = pa.array(pc.value_counts(interactions["user_id"]).field("values").to_pylist()[:8])
    theirs = pc.is_in(interactions["user_id"], value_set=some)
    pq.write_table(interactions.filter(pc.invert(theirs)), clean / "interactions.parquet")
    refresh_features(clean, tmp_path / "then", settings)
    online = OnlineFeatures(tmp_path / "then", settings)
    prefixes = {
        (row["user_id"], row["history_items"][place]): row["history_items"][:place]
        for row in read_training_table(training, "sequences").to_pylist()
        for place in range(row["n_context"], len(row["history_items"]))
    }
    touched: set[tuple[str, str]] = set()
    n_moved = 0
    arriving = interactions.filter(theirs).sort_by([("timestamp", "ascending"), ("position", "ascending")])
    for sequence, event in enumerate(arriving.to_pylist(), start=1):
        pair, when = (event["user_id"], event["item_id"]), event["timestamp"]
        if when >= cut_at:
            break
        if pair not in touched:
            served = online.read_user(event["user_id"], when) or UserState()
            assert list(served.items) == prefixes[pair]
            read_then = sequence_input([UserState.from_history(prefixes[pair])], ids, MAX_HISTORY)
            assert torch.equal(read_then, sequence_input([served], ids, MAX_HISTORY))
            n_moved += prefixes[pair] != [
                item for user, item in prefixes if (user, item) in touched and user == pair[0]
            ]
        touched.add(pair)
        online.push([Interaction(event["event_id"], *pair, event["event"], when, event["value"])], [sequence])
    # Of these users all targets were compared, many of them behind items that had been touched again.
    assert touched == {pair for pair in prefixes if pair[0] in some.to_pylist()}
    assert n_moved >= 10


@pytest.mark.parametrize(
    "seen",
    [SeenSettings(), SeenSettings(events=("purchase", "rating")), SeenSettings(within_days=20)],
    ids=["ever", "by kind", "by age"],
)
def test_evaluation_masks_what_serving_would_have_masked(tmp_path, seen):
    """Serving as of the moment at which the test window opens: a store that knows the events before it alone."""
    settings = FeatureSettings(max_history=2, seen=seen)
    ingest(SimulatedSource(n_users=60, n_items=80, n_days=90), tmp_path / "raw")
    validate(tmp_path / "raw", tmp_path / "clean", ValidationSettings(), tmp_path / "docs")
    refresh_features(tmp_path / "clean", tmp_path / "feast", settings)
    training = tmp_path / "training"
    summary = build_training_set(tmp_path / "clean", tmp_path / "feast", training, settings, EvaluationSettings())
    opens = datetime.fromisoformat(summary.test_at)
    interactions = pq.read_table(tmp_path / "clean" / "interactions.parquet")
    before = interactions.filter(pc.less(interactions.column("timestamp"), pa.scalar(opens)))
    pq.write_table(before, tmp_path / "clean" / "interactions.parquet")
    refresh_features(tmp_path / "clean", tmp_path / "then", settings)
    online, ids = OnlineFeatures(tmp_path / "then", settings), Catalogue.read(training, seed=7).ids
    queries = read_queries(training, "test")
    n_longer = 0
    for user_id, state, targets in zip(queries.user_ids, queries.users, queries.targets, strict=True):
        served = online.read_user(user_id, opens - timedelta(microseconds=1)) or UserState()
        masked = sorted(served.seen_places(ids).tolist())
        assert sorted(state.seen_places(ids).tolist()) == masked
        assert not set(masked) & {ids.index(target) - 1 for target in targets if target in ids}
        n_longer += len(masked) > settings.max_history
    assert n_longer >= 10


WHEN = START + timedelta(days=40, hours=7)
ITEMS = [
    {"item_id": "a", "category": "Tools", "brand": "Acme", "price": 9.5},
    {"item_id": "b", "category": "Tools", "brand": "Zeta", "created_at": START - timedelta(days=3)},
    {"item_id": "c", "category": "Bells", "brand": "Acme", "price": 0.1},
    {"item_id": "d"},
    {"item_id": "z"},
]
BEFORE = [
    Row("u", "a", 0, 5.0, "rating"), Row("u", "b", 86_400, event="click"), Row("v", "c", 90_000, 2.0, "rating"),
    Row("u", "b", 86_400, event="impression"), Row("v", "a", 3_000_000, event="purchase"),
]  # fmt: skip
# In the order of arrival, not of time: late ones, tied ones, a rating of an item rated before and later, ignored ones.
ARRIVING = [
    Row("u", "c", 3_100_000, 3.3, "rating"), Row("u", "a", 50, 1.0, "rating"), Row("u", "a", 3_200_000, event="view"),
    Row("u", "d", 3_100_000, event="click"), Row("u", "c", 3_100_000, event="purchase"), Row("w", "d", 86_400),
    Row("u", "b", 40, 4.0, "rating"), Row("u", "z", 3_300_000, event="impression"),
    Row("v", "c", 90_000, event="click"),
    Row("w", "z", 2_000_000, 2.0, "rating"), Row("u", "b", 3_300_001), Row("v", "c", 1, 5.0, "rating"),
]  # fmt: skip


@pytest.mark.parametrize(
    "seen",
    [SeenSettings(), SeenSettings(events=("purchase", "impression"))],
    ids=["all that count", "of some kinds"],
)
def test_every_feature_is_the_same_offline_and_online_after_each_arrival(tmp_path, seen):
    settings = FeatureSettings(max_history=3, n_affinities=2, seen=seen)
    arriving = [replace(row, position=n + 1, event_id=f"arrival{n}") for n, row in enumerate(ARRIVING)]
    users = {user: {"country": "FR"} for user in "uvw"}
    reviews = [("u", "a", 0, "twang and hum"), ("u", "b", 60, "twang again")]
    write_shop(tmp_path / "clean", BEFORE, users=users, items=ITEMS, reviews=reviews)
    refresh_features(tmp_path / "clean", tmp_path / "pushed", settings)
    online = OnlineFeatures(tmp_path / "pushed", settings)
    for n, row in enumerate(arriving, start=1):
        online.push([Interaction(row.event_id, row.user, row.item, row.event, row.timestamp, row.value)], [n])
        write_shop(tmp_path / "clean", BEFORE + arriving[:n], users=users, items=ITEMS, reviews=reviews)
        refresh_features(tmp_path / "clean", tmp_path / "counted", settings)
        compare(open_store(tmp_path / "counted"), online, settings)


def test_the_ranker_reads_and_ranks_the_same_offline_and_online(tmp_path):
    """The queries of a window, and the requests of the same users at the moment when it opens."""
    clean, training, settings = tmp_path / "clean", tmp_path / "training", FeatureSettings(max_history=MAX_HISTORY)
    ingest(SimulatedSource(n_users=120, n_items=60, n_days=120), tmp_path / "raw")
    validate(tmp_path / "raw", clean, ValidationSettings(), tmp_path / "docs")
    refresh_features(clean, tmp_path / "feast", settings)
    summary = build_training_set(clean, tmp_path / "feast", training, settings, EvaluationSettings())
    opens = datetime.fromisoformat(summary.test_at)
    states_then = StatesThen(clean, settings)
    interactions = pq.read_table(clean / "interactions.parquet")
    then = pc.less(interactions["timestamp"], pa.scalar(opens, interactions.schema.field("timestamp").type))
    pq.write_table(interactions.filter(then), clean / "interactions.parquet")
    refresh_features(clean, tmp_path / "then", settings)
    online = OnlineFeatures(tmp_path / "then", settings)

    ranker = corrected_ranker(random_vectors(training))
    queries = read_queries(training, "test")
    warm = [place for place, user in enumerate(queries.users) if ranker.knows(user)][:12]
    assert len(warm) == 12
    moved = 0
    for place in warm:
        offline, served = (
            queries.users[place],
            online.read_user(queries.user_ids[place], opens - timedelta(microseconds=1)),
        )
        assert served.features == offline.features
        (watched,) = states_then([queries.user_ids[place]], [(opens - EPOCH) // timedelta(microseconds=1)])
        assert watched == replace(served, own_words="")
        assert watched.features == served.features
        assert ranker.top_k([watched], 10) == ranker.top_k([served], 10)
        everything = np.arange(len(ranker.ids))
        scores = np.zeros((len(everything), len(ranker.part_names)))
        seen = [ranker.describer.describe(user, 3, everything, scores) for user in (offline, served)]
        np.testing.assert_array_equal(*seen)
        assert np.isfinite(seen[0]).mean() > 0.7
        assert ranker.top_k([served], 10) == ranker.top_k([offline], 10)
        moved += ranker.top_k([served], 10) != ranker.top_k([replace(served, items_then=None)], 10)
    assert moved > 6  # the moment counts


def corrected_ranker(vectors):
    """A ranker of random weights that reads every part without a fit, and every feature."""
    shape = SequenceShape(len(vectors.ids), 8, 8, 1, 2, MAX_HISTORY, use_ids=True, use_text=True)
    learned = torch.ones(len(vectors.ids) + 1, dtype=torch.bool)
    learned[0] = False
    torch.manual_seed(0)
    windows = {f"popularity_recent_{n + 1}": RecentPopularity(vectors, n) for n in range(3)}
    parts = {"text": TextLikeness(vectors), "popularity": Popularity(vectors), **windows}
    blend = Blend("network", dict.fromkeys(("sequence", *parts), 1.0), candidates=10)
    ranker = Ranker(vectors, SequenceModel(shape, vectors.text, learned), parts, blend)
    names, generator = ranker.describer.names, np.random.default_rng(1)
    tensors = {
        "mean": np.zeros(len(names)), "scale": np.ones(len(names)), "hidden": generator.normal(size=(len(names), 4)),
        "hidden_bias": np.zeros(4), "out": generator.normal(size=4),
    }  # fmt: skip
    return ranker.corrected(Network(names, {name: one.astype(np.float32) for name, one in tensors.items()}))


def compare(store, online, settings):
    """All features of everyone and everything at WHEN: counted offline through Feast, served online."""
    users, items = list("uvw"), list("abcdz")
    frame = pd.DataFrame({"user_id": users, "event_timestamp": [WHEN] * len(users)})
    ((labels, facts),) = store.get_historical_features(frame, store.get_feature_service(ONLINE_USER)).pages()
    at = np.full(len(users), (WHEN - EPOCH) // timedelta(microseconds=1))
    derived = derive_user(facts, at, settings.n_affinities)
    assert set(derived) == set(USER_FEATURES)
    offline = with_columns(labels, {**facts, **{f"derived {name}": column for name, column in derived.items()}})
    for row in offline.to_pylist():
        served = online.read_user(row["user_id"], WHEN)
        assert replace(served, mean_rating=None) == replace(UserState.from_row(row), mean_rating=None)
        counted = {name: plain(row[f"derived {name}"]) for name in derived}
        assert {name: plain(value) for name, value in served.features.items()} == counted
        assert served.mean_rating == counted["mean_rating"]
    frame = pd.DataFrame({"item_id": items, "event_timestamp": [WHEN] * len(items)})
    ((labels, facts),) = store.get_historical_features(frame, store.get_feature_service(CATALOGUE)).pages()
    derived = derive_item(facts, np.full(len(items), at[0]), settings.windows_days)
    assert set(derived) == set(ITEM_FEATURES)
    offline = with_columns(labels, derived)
    served = with_columns(labels, online.read_items(items, WHEN))
    assert repr(served.to_pylist()) == repr(offline.to_pylist())


def plain(value):
    """NaN is None, a tuple is a list."""
    return list(value) if isinstance(value, tuple | list) else None if value != value else value
