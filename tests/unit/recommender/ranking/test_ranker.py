from dataclasses import replace

import numpy as np
import pytest
import torch

from core.settings.models import NeighbourSettings
from recommender.inputs.ids import UnknownItem
from recommender.inputs.item_moments import CountedItems
from recommender.inputs.item_vectors import ItemVectors
from recommender.inputs.seen import SeenItems
from recommender.inputs.user import UserState
from recommender.metrics.top_k import best_indices
from recommender.ranking.blend import Blend, standardised
from recommender.ranking.parts import Asked, ItemToItem, Popularity, RecentPopularity
from recommender.ranking.ranker import Ranker
from recommender.retrieval.neighbours import NeighbourModel
from recommender.retrieval.popularity import PopularityRanker
from recommender.retrieval.sequence.model import SequenceModel, SequenceShape
from recommender.retrieval.text.ranker import TextRanker
from tests.unit.recommender.tiny_shop import (
    N_ITEMS,
    catalogue_of,
    catalogue_row,
    item,
    random_vectors,
    write_training_set,
)

WARM = UserState.from_history([item(3), item(4), item(5)])
STRANGE = UserState.from_history(["unheard of"])


@pytest.fixture(scope="module")
def vectors(tmp_path_factory):
    return random_vectors(write_training_set(tmp_path_factory.mktemp("training")))


@pytest.fixture(scope="module")
def ranker(vectors) -> Ranker:
    shape = SequenceShape(
        n_items=N_ITEMS, text_width=8, width=8, n_blocks=1, n_heads=2, max_history=4, use_ids=True, use_text=True
    )
    torch.manual_seed(0)
    learned = torch.ones(N_ITEMS + 1, dtype=torch.bool)
    learned[0] = False
    return Ranker(vectors, SequenceModel(shape, vectors.text, learned))


def test_scores_are_the_dot_products_of_the_model(ranker, vectors):
    scores = ranker.scores([WARM], exclude_seen=False)[0]
    history = torch.tensor([vectors.ids.known_indices(WARM.items)])
    with torch.inference_mode():
        expected = ranker.model.expect(history)[0] @ ranker.model.item_vectors()[1:].T
    np.testing.assert_allclose(scores, expected.numpy(), rtol=1e-5)
    assert scores.dtype == np.float32


def test_what_was_seen_does_not_come_back_at_any_length(ranker):
    seen = SeenItems.of_items(item(n) for n in range(N_ITEMS - 2))
    user = UserState(items=WARM.items, values=WARM.values, seen=seen)  # a history of a few, many times as much seen
    (left,) = ranker.top_k([user], k=N_ITEMS)
    assert {name for name, _ in left} == {item(N_ITEMS - 2), item(N_ITEMS - 1)}
    assert len(ranker.top_k([user], k=N_ITEMS, exclude_seen=False)[0]) == N_ITEMS
    everything = replace(user, seen=SeenItems.of_items(ranker.ids))
    assert ranker.top_k([everything], k=5) == [[]]
    # Only some kinds of events may count as seen: the history comes back then.
    nothing = replace(user, seen=SeenItems())
    assert len(ranker.top_k([nothing], k=N_ITEMS)[0]) == N_ITEMS


def test_a_model_may_lean_on_popularity(ranker, vectors):
    plain = ranker.scores([WARM, UserState()], exclude_seen=False)
    ranker.model.popularity_weight.fill_(2.0)
    leaning = Ranker(vectors, ranker.model).scores([WARM, UserState()], exclude_seen=False)
    ranker.model.popularity_weight.fill_(0.0)
    np.testing.assert_allclose(leaning[0], plain[0] + 2 * np.log(1 + vectors.catalogue.n_events), rtol=1e-5)
    np.testing.assert_array_equal(leaning[1], plain[1])


@pytest.fixture
def bought_once(tmp_path) -> ItemVectors:
    """A catalogue whose most popular item only customers of one item took, so that no sequence has it."""
    rows = [catalogue_row(item(n), n) | {"item_popularity": [n, 2 * n]} for n in range(N_ITEMS - 1)]
    hot = catalogue_row(item(N_ITEMS - 1), 500) | {"item_popularity": [100, 300]}
    vectors = np.random.default_rng(5).normal(size=(N_ITEMS, 8))
    return ItemVectors.from_rows(catalogue_of([*rows, hot]), vectors)


def test_the_events_of_items_of_one_item_customers_count(ranker, bought_once):
    hot = bought_once.ids.index(item(N_ITEMS - 1))
    learned = torch.ones(N_ITEMS + 1, dtype=torch.bool)
    learned[[0, hot]] = False
    model = SequenceModel(ranker.model.shape, bought_once.text, learned)
    model.popularity_weight.fill_(2.0)
    parts = {
        "popularity": Popularity(bought_once),
        "popularity_recent_1": RecentPopularity(bought_once, 0),
    }
    now = replace(WARM, items_then=CountedItems(bought_once.catalogue.table))
    for name in parts:
        alone = Ranker(bought_once, model, parts, Blend("part", {name: 1.0}))
        assert [best[0][0] for best in alone.top_k([WARM, now], k=1)] == [item(N_ITEMS - 1)] * 2
        without = Ranker(bought_once, model, parts, alone.blend, held_out=~learned[1:].numpy())
        scores = without.scores([WARM, now], exclude_seen=False)
        np.testing.assert_array_equal(scores[:, hot - 1], scores.min(axis=1))
    # What validation chose the popularity weight by is what is served.
    np.testing.assert_allclose(
        Ranker(bought_once, model).prior, 2 * np.log1p(bought_once.catalogue.n_events), rtol=1e-6
    )


def test_cold_users_and_those_of_unknown_items_get_popularity(ranker, vectors):
    scores = ranker.scores([UserState(), WARM, STRANGE])
    np.testing.assert_array_equal(scores[0], vectors.catalogue.n_events)
    np.testing.assert_array_equal(scores[2], vectors.catalogue.n_events)
    assert [ranker.answered_by(user) for user in (UserState(), WARM, STRANGE)] == [
        "popularity",
        "sequence",
        "popularity",
    ]


@pytest.fixture(scope="module")
def blended(vectors, ranker) -> Ranker:
    generator = np.random.default_rng(4)
    histories = [generator.choice(np.arange(1, N_ITEMS + 1), 4, replace=False) for _ in range(30)]
    neighbours = ItemToItem("neighbours", NeighbourModel.fit(histories, N_ITEMS, NeighbourSettings()))
    blend = Blend("weighted", {"sequence": 1.0, "neighbours": 0.5})
    return Ranker(vectors, ranker.model, {"neighbours": neighbours}, blend)


def test_a_blend_adds_the_standardised_scores(ranker, blended, vectors):
    alone = ranker.scores([WARM], exclude_seen=False)
    neighbours = blended.retrievers["neighbours"].scores(Asked.of([WARM], vectors.ids))
    expected = standardised(alone) + 0.5 * standardised(neighbours)
    np.testing.assert_allclose(blended.scores([WARM], exclude_seen=False), expected, rtol=1e-4, atol=1e-5)
    cold = [UserState(), STRANGE]
    np.testing.assert_array_equal(blended.scores(cold), ranker.scores(cold))


def test_the_part_that_speaks_for_an_item_is_told(ranker, blended, vectors):
    everything = [item(n) for n in range(N_ITEMS)]
    places = [vectors.ids.index(name) - 1 for name in everything]
    alone = standardised(ranker.scores([WARM], exclude_seen=False))[0, places]
    whole = blended.scores([WARM], exclude_seen=False)[0, places]
    told = blended.parts_of(WARM, everything)
    assert told == [
        "neighbours" if rest > first else "sequence" for first, rest in zip(alone, whole - alone, strict=True)
    ]
    assert set(told) == {"neighbours", "sequence"}
    assert ranker.parts_of(WARM, everything) == ["sequence"] * N_ITEMS
    assert blended.parts_of(STRANGE, everything[:2]) == ["popularity"] * 2


def test_top_k_is_the_sorted_scores(ranker):
    scores = ranker.scores([WARM])[0]
    (best,) = ranker.top_k([WARM], k=5)
    order = np.argsort(-scores)[:5]
    assert [name for name, _ in best] == [ranker.ids.item_id(int(place) + 1) for place in order]
    np.testing.assert_allclose([score for _, score in best], scores[order])


def test_seen_and_excluded_items_do_not_come_back(ranker):
    everything = ranker.top_k([WARM, UserState()], k=N_ITEMS, exclude=[[item(7), "unheard of"], [item(0)]])
    assert {name for name, _ in everything[0]} == {item(n) for n in range(N_ITEMS)} - {*WARM.items, item(7)}
    assert {name for name, _ in everything[1]} == {item(n) for n in range(1, N_ITEMS)}


def test_seen_items_may_come_back_where_wanted(ranker):
    (everything,) = ranker.top_k([WARM], k=N_ITEMS, exclude_seen=False)
    assert len(everything) == N_ITEMS


def test_more_than_the_catalogue_is_the_catalogue(ranker):
    (everything,) = ranker.top_k([UserState()], k=1000)
    assert len(everything) == N_ITEMS


def test_reasons_are_the_most_alike_of_the_history(ranker, vectors):
    reasons = ranker.nearest_history(WARM, item(9), n=2)
    rows = torch.nn.functional.normalize(ranker.model.item_vectors(), dim=-1).detach()
    cosines = {name: float(rows[vectors.ids.index(name)] @ rows[vectors.ids.index(item(9))]) for name in WARM.items}
    expected = sorted(cosines.items(), key=lambda pair: -pair[1])[:2]
    assert [name for name, _ in reasons] == [name for name, _ in expected]
    np.testing.assert_allclose([cosine for _, cosine in reasons], [cosine for _, cosine in expected], rtol=1e-5)
    assert ranker.nearest_history(UserState(), item(9), n=2) == []
    with pytest.raises(UnknownItem, match="item_id='z'"):
        ranker.nearest_history(WARM, "z", n=2)


def test_best_indices_settles_ties_by_index_and_pads():
    scores = np.array([[1.0, 3.0, 3.0, 2.0, 3.0], [-np.inf, -np.inf, 0.0, -np.inf, -np.inf]], dtype=np.float32)
    assert best_indices(scores, 2).tolist() == [[2, 3], [3, 0]]
    assert best_indices(scores, 7).tolist() == [[2, 3, 5, 4, 1, 0, 0], [3, 0, 0, 0, 0, 0, 0]]
    assert best_indices(np.empty((0, 5)), 2).shape == (0, 2)


def test_popularity_gives_everybody_the_counts(vectors):
    scores = PopularityRanker(vectors).scores([WARM, UserState()])
    np.testing.assert_array_equal(scores[1], vectors.catalogue.n_events)
    seen = [vectors.ids.index(name) - 1 for name in WARM.items]
    assert np.isneginf(scores[0, seen]).all()
    assert np.isfinite(np.delete(scores[0], seen)).all()


def test_text_ranker_weighs_the_newest_most(vectors):
    text = vectors.text.numpy()
    rows = [text[vectors.ids.index(name)] for name in WARM.items]
    profile = 0.81 * rows[0] + 0.9 * rows[1] + rows[2]
    cosines = text[1:] @ (profile / np.linalg.norm(profile))
    scores = TextRanker(vectors).scores([WARM, STRANGE])
    unseen = np.isfinite(scores[0])
    assert unseen.sum() == N_ITEMS - 3
    np.testing.assert_allclose(scores[0, unseen], cosines[unseen], rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(scores[1], vectors.catalogue.n_events)


def test_texts_are_retrieved_by_the_fine_tuned_encoder_and_cold_items_ranked_by_it_as_it_came(vectors):
    stretched = vectors.text * torch.arange(1, 1 + vectors.text.shape[1])
    tuned = replace(vectors, tuned=torch.nn.functional.normalize(stretched, dim=-1))
    users = [UserState.from_history([vectors.ids.item_id(3)])]
    assert not np.array_equal(TextRanker(tuned).scores(users), TextRanker(vectors).scores(users))
    learned = torch.ones(len(vectors.ids) + 1, dtype=torch.bool)
    learned[[0, 5, 6]] = False
    shape = SequenceShape(len(vectors.ids), vectors.text.shape[1], 8, 1, 1, 6, True, True)
    rankers = [Ranker(items, SequenceModel(shape, items.text, learned)) for items in (vectors, tuned)]
    before, after = (ranker.cold_cosines(Asked.of(users, vectors.ids)) for ranker in rankers)
    assert before.shape == (1, 2)
    np.testing.assert_array_equal(before, after)


def test_similarities_are_those_of_reasons(ranker: Ranker) -> None:
    similar = ranker.similarities(item(9))
    assert similar is not None
    assert similar.shape == (len(ranker.ids),)
    for name, cosine in ranker.nearest_history(WARM, item(9), n=9):
        assert similar[ranker.ids.index(name) - 1] == pytest.approx(cosine, abs=1e-6)
    with pytest.raises(UnknownItem):
        ranker.similarities("z")


def test_vectors_of_users_are_what_the_model_expects_of_them(ranker: Ranker) -> None:
    other = UserState.from_history([item(20), item(21)])
    vectors = ranker.user_vectors([WARM, other, WARM])
    assert vectors is not None
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-5)
    assert vectors[0] == pytest.approx(vectors[2], abs=1e-6)
    assert float(vectors[0] @ vectors[1]) < 1 - 1e-4
