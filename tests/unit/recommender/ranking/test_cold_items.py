"""Items without events: what the ranker makes of their text, and how much of it validation likes."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from core.settings.models import NeighbourSettings
from recommender.errors import BundleError
from recommender.inputs.item_vectors import ItemVectors
from recommender.inputs.queries import USERS_PER_PASS, Queries
from recommender.inputs.user import UserState
from recommender.metrics.ranking_evaluation import NdcgOfScores
from recommender.ranking import cold_items
from recommender.ranking.blend import Blend, ColdItems
from recommender.ranking.cold_items import choose_cold, hold_out
from recommender.ranking.correction import Correction, Network
from recommender.ranking.parts import Asked, ItemToItem, Popularity, Retriever, TextLikeness
from recommender.ranking.ranker import Ranker
from recommender.retrieval.neighbours import NeighbourModel
from recommender.retrieval.sequence.model import SequenceModel, SequenceShape
from tests.unit.recommender.tiny_shop import N_ITEMS, item, random_vectors, write_training_set

WARM = UserState.from_history([item(3), item(4)])


@pytest.fixture
def vectors(tmp_path: Path) -> ItemVectors:
    return random_vectors(write_training_set(tmp_path / "training"))


def model_of(vectors: ItemVectors, never: tuple[int, ...] = (), use_text: bool = True) -> SequenceModel:
    content = vectors.content(use_text, use_modality=False)
    shape = SequenceShape(N_ITEMS, content.shape[1], 8, 1, 2, 4, use_ids=True, use_text=use_text)
    torch.manual_seed(0)
    learned = torch.ones(N_ITEMS + 1, dtype=torch.bool)
    learned[[0, *never]] = False
    return SequenceModel(shape, content, learned)


def test_the_text_speaks_for_cold_items_alone(vectors: ItemVectors) -> None:
    cold = vectors.ids.index(item(9))
    sequences = [np.array(vectors.ids.known_indices([item(n), item(n + 1)])) for n in range(8)]
    model = NeighbourModel.fit(sequences, N_ITEMS, NeighbourSettings(regularisation=1.0))
    neighbours = {"neighbours": ItemToItem("neighbours", model)}
    mean = Blend("mean", {"sequence": 1.0, "neighbours": 1.0})
    ranker = Ranker(vectors, model_of(vectors, (cold,)), neighbours, mean, ColdItems(2.0, 0.5))
    parts = ranker.parts([WARM])
    profile = vectors.profile(vectors.ids.known_indices(WARM.items))
    expected = 2 * float(profile @ vectors.text[cold].numpy()) + 0.5
    assert parts["text"][0, cold - 1] == pytest.approx(expected, abs=1e-5)
    assert np.count_nonzero(parts["text"]) == 1
    assert parts["neighbours"][0, cold - 1] == 0
    scores = ranker.scores([WARM], exclude_seen=False)
    np.testing.assert_allclose(scores, sum(parts.values()), rtol=1e-5)
    lifted = Ranker(vectors, ranker.model, neighbours, mean, ColdItems(lift=99.0))
    assert lifted.top_k([WARM], 1)[0][0][0] == item(9)
    assert lifted.parts_of(WARM, [item(9), item(5)])[0] == "text"


def test_a_profile_is_the_mean_of_the_texts_newer_ones_weighing_more(vectors: ItemVectors) -> None:
    old, new = (vectors.text[n].numpy() for n in (1, 2))
    mean = 0.9 * old + new
    np.testing.assert_allclose(vectors.profile([1, 2]), mean / np.linalg.norm(mean), rtol=1e-5)


def test_without_cold_items_or_weights_nothing_changes(vectors: ItemVectors) -> None:
    plain = Ranker(vectors, model_of(vectors)).scores([WARM])
    assert (Ranker(vectors, model_of(vectors), cold=ColdItems(5.0, 1.0)).scores([WARM]) == plain).all()
    assert set(Ranker(vectors, model_of(vectors, (7,))).parts([WARM])) == {"sequence"}


def test_the_weights_are_those_that_validation_likes(vectors: ItemVectors) -> None:
    # Who had two items of a group wants a third one; the texts say so, and the sequence model, by ids, knows nothing.
    groups = np.arange(N_ITEMS) // 6
    directions = np.random.default_rng(0).normal(size=(N_ITEMS // 6, 8))[groups]
    telling = ItemVectors.from_rows(vectors.catalogue, directions / np.linalg.norm(directions, axis=1, keepdims=True))
    names = np.array(list(telling.ids))
    asked = [
        (UserState.from_history([str(names[a]), str(names[b])]), (str(names[c]),))
        for group in range(N_ITEMS // 6)
        for members in [np.flatnonzero(groups == group)]
        for a in members
        for b in members
        for c in members
        if len({a, b, c}) == 3
    ]
    queries = Queries(tuple(user for user, _ in asked), tuple(wanted for _, wanted in asked))
    weights, figures = choose_cold(Ranker(telling, model_of(telling, use_text=False)), queries, 5, seed=1)
    assert weights.text_weight > 0
    assert figures["cold_ndcg_with_text"] > figures["cold_ndcg_without_text"] + 0.1
    assert figures["whole_ndcg_with_text"] > figures["whole_ndcg_without_text"]


def test_texts_that_tell_nothing_do_no_harm_to_the_rest(vectors: ItemVectors) -> None:
    """Everybody wants what the sequence model says, and the texts point anywhere."""
    ranker = Ranker(vectors, model_of(vectors, use_text=False))
    users = [UserState.from_history([item(n), item(n + 1 + step)]) for n in range(N_ITEMS) for step in range(5)]
    wanted = [tuple(name for name, _ in best) for best in ranker.top_k(users, 6)]
    queries = Queries(tuple(users), tuple(wanted))
    weights, figures = choose_cold(ranker, queries, 5, seed=1)
    assert figures["whole_ndcg_with_text"] > figures["whole_ndcg_without_text"] - 0.05
    assert weights == ColdItems() or weights.lift < 0


def test_no_more_users_are_asked_at_once_than_a_pass_holds(
    vectors: ItemVectors, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked_at_once: list[int] = []

    class Counting(Ranker):
        def shares(self, asked: Asked) -> dict[str, np.ndarray]:
            asked_at_once.append(len(asked.users))
            return super().shares(asked)

    monkeypatch.setattr("recommender.ranking.cold_items.Ranker", Counting)
    n_users = USERS_PER_PASS + 50
    users = tuple(UserState.from_history([item(n), item(n + 1)]) for n in range(n_users))
    queries = Queries(users, tuple((item(n + 2), item(n + 9)) for n in range(n_users)))
    _, figures = choose_cold(Ranker(vectors, model_of(vectors)), queries, 5, seed=1)
    assert figures
    assert {USERS_PER_PASS, 50} <= set(asked_at_once)
    assert max(asked_at_once) == USERS_PER_PASS


def test_what_items_are_worth_to_users_is_kept_for_one_pass_of_them(
    vectors: ItemVectors, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else memory would grow with queries times catalogue: 16 GB at a million items."""
    kept: list[weakref.ref[np.ndarray]] = []
    ask = cold_items._Asked.of

    def asking(ranker: Ranker, queries: Queries, k: int) -> cold_items._Asked:
        assert len(queries) <= 16
        assert not any(scores() is not None for scores in kept)
        asked = ask(ranker, queries, k)
        kept.append(weakref.ref(asked.scores))
        return asked

    monkeypatch.setattr("recommender.inputs.queries.SCORES_PER_PASS", 16 * N_ITEMS)
    monkeypatch.setattr(cold_items._Asked, "of", asking)
    users = tuple(UserState.from_history([item(n), item(n + 1)]) for n in range(240))
    queries = Queries(users, tuple((item(n + 2), item(n + 9)) for n in range(240)))
    _, figures = choose_cold(Ranker(vectors, model_of(vectors)), queries, 5, seed=1)
    assert figures
    assert len(kept) > 5


def corrected_by(ranker: Ranker) -> Ranker:
    """With a correction of random weights that reads all features."""
    names, generator = ranker.describer.names, np.random.default_rng(1)
    tensors = {
        "mean": np.zeros(len(names)), "scale": np.ones(len(names)), "hidden": generator.normal(size=(len(names), 4)),
        "hidden_bias": np.zeros(4), "out": generator.normal(size=4),
    }  # fmt: skip
    return ranker.corrected(Network(names, {name: one.astype(np.float32) for name, one in tensors.items()}))


@pytest.mark.parametrize("correct", [corrected_by, lambda ranker: ranker])
def test_the_weights_are_chosen_for_the_ranker_that_is_served(
    vectors: ItemVectors, correct: Callable[[Ranker], Ranker], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a choice is judged by is the NDCG of the ranker with these weights, its correction in place."""
    blend = Blend("weighted", {"sequence": 1.0, "text": 0.5, "popularity": 0.3}, candidates=3)
    parts: dict[str, Retriever] = {"text": TextLikeness(vectors), "popularity": Popularity(vectors)}
    ranker = correct(Ranker(vectors, model_of(vectors, (7,)), parts, blend))
    held: list[Ranker] = []

    class Kept(Ranker):
        def corrected(self, correction: Correction | None) -> Ranker:
            held.append(super().corrected(correction))
            return held[-1]

    monkeypatch.setattr("recommender.ranking.cold_items.Ranker", Kept)
    users = tuple(UserState.from_history([item(n), item(n + 1)]) for n in range(120))
    queries = Queries(users, tuple((item(n + 2), item(n + 9)) for n in range(120)))
    chosen, figures = choose_cold(ranker, queries, 5, seed=1)
    (without,) = held
    for weights, name in ((ColdItems(), "without"), (chosen, "with")):
        served = Ranker(vectors, without.model, parts, blend, weights, held_out=without.held_out)
        served.describer = without.describer
        hits = NdcgOfScores(queries, vectors.ids, 5, "served")
        expected = hits(served.corrected(ranker.correction).scores(users)).mean()
        assert figures[f"whole_ndcg_{name}_text"] == pytest.approx(expected, abs=1e-6)


def test_no_part_and_no_feature_knows_the_events_of_what_is_held_out(vectors: ItemVectors) -> None:
    parts: dict[str, Retriever] = {"popularity": Popularity(vectors)}
    ranker = corrected_by(Ranker(vectors, model_of(vectors), parts, Blend("part", {"popularity": 1.0})))
    without = hold_out(ranker, np.array([5, 9]))
    scores = without.scores([WARM], exclude_seen=False)
    assert ranker.unlearned.sum() == 0
    assert np.flatnonzero(without.unlearned).tolist() == [4, 8]
    popularity = without.standard_scores([WARM], ["popularity"])["popularity"][0]
    assert (popularity[[4, 8]] == popularity.min()).all()
    names, places = ranker.describer.names, np.array([3, 4])
    known, unknown = (
        dict(zip(names, one.describer.describe(WARM, 2, places, np.zeros((2, 2), np.float32)).T, strict=True))
        for one in (ranker, without)
    )
    assert known["item_n_events"][1] > 0
    assert unknown["item_n_events"].tolist() == [known["item_n_events"][0], 0.0]
    assert unknown["is_cold"].tolist() == [0.0, 1.0]
    assert np.isfinite(scores).all()


def test_too_few_who_want_such_an_item_leave_all_as_it_is(vectors: ItemVectors) -> None:
    queries = Queries((WARM,), ((item(5),),))
    assert choose_cold(Ranker(vectors, model_of(vectors)), queries, 5, seed=1) == (ColdItems(), {})


def test_saved_and_loaded_they_are_the_same(tmp_path: Path) -> None:
    ColdItems(2.0, 0.5).save(tmp_path)
    assert ColdItems.load(tmp_path) == ColdItems(2.0, 0.5)
    (tmp_path / "cold.json").write_text('{"weight": 1}')
    with pytest.raises(BundleError, match="Cannot load cold items' weights"):
        ColdItems.load(tmp_path)
