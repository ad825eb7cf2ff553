"""The pair scorer: its input, its network, and the way to disk and back."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from core import schema
from recommender.errors import BundleError
from recommender.inputs.ids import UnknownItem
from recommender.inputs.item_vectors import ItemVectors
from recommender.inputs.user import UserState
from recommender.scoring.factors import RatingFactors
from recommender.scoring.input import ItemRatings, RatingBaseline, scorer_input
from recommender.scoring.median import RatingMedian
from recommender.scoring.scorer import Calibration, PairScorer, ScorerNetwork
from tests.unit.recommender.tiny_shop import catalogue_of

BASELINE = RatingBaseline(global_mean=3.5, like_share=0.6, like_from=4.0, user_shrinkage=2.0, item_shrinkage=4.0)
ITEMS = tuple("abcdef")
MEDIAN = RatingMedian((1.0, 3.0, 5.0), (2.5, 4.0))


def made_vectors() -> ItemVectors:
    """Six items with random text vectors of width 5; "a" has no rating."""
    rows = [
        {
            schema.ITEM_ID: item,
            schema.ITEM_TEXT: item,
            schema.ITEM_N_EVENTS: 3,
            schema.ITEM_MEAN_RATING: None if item == "a" else 4.5,
            schema.ITEM_N_RATINGS: 0 if item == "a" else 4,
        }
        for item in ITEMS
    ]
    catalogue = catalogue_of(rows, seed=3)
    text = np.random.default_rng(0).normal(size=(len(ITEMS), 5))
    return ItemVectors.from_rows(catalogue, text / np.linalg.norm(text, axis=1, keepdims=True))


def made_scorer(vectors: ItemVectors) -> PairScorer:
    """Random weights in every layer, also in those that start at zero."""
    torch.manual_seed(0)
    network = ScorerNetwork(text_width=5, hidden=4, dropout=0.5)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return PairScorer(network, BASELINE, FACTORS, Calibration(1.5, -0.2), MEDIAN, vectors)


def made_factors(rank: int = 2) -> RatingFactors:
    """Random factors of the six items, around 3.5."""
    random = np.random.default_rng(1)
    biases, vectors = (random.normal(size=shape) for shape in (len(ITEMS) + 1, (len(ITEMS) + 1, rank)))
    spreads = random.random((len(ITEMS) + 1, rank))
    for padded in (biases, vectors, spreads):
        padded[0] = 0.0
    mean, noise = (torch.tensor(value, dtype=torch.float64) for value in (3.5, 0.8))
    return RatingFactors(mean, noise, *(torch.from_numpy(values) for values in (biases, vectors, spreads)))


FACTORS = made_factors()
NO_FACTORS = RatingFactors(
    FACTORS.global_mean,
    FACTORS.noise,
    *(torch.zeros_like(part) for part in (FACTORS.biases, FACTORS.vectors, FACTORS.spreads)),
)
VECTORS = made_vectors()
SCORER = made_scorer(VECTORS)
USER = UserState(items=("b", "c", "d"), values=(5.0, None, 2.0), mean_rating=3.5, n_ratings=2)


def input_of(user: UserState, item: str, mean: float = math.nan, n: float = 0) -> tuple[torch.Tensor, ...]:
    ratings, indices = ItemRatings(np.array([mean]), np.array([n])), [VECTORS.ids.index(item)]
    opinions = NO_FACTORS.opinions([user], indices, VECTORS.ids)
    pairs = scorer_input([user], indices, ratings, VECTORS, BASELINE, opinions)
    return pairs.history[0], pairs.weights[:, 0], pairs.numbers[0], pairs.baseline[0]


def test_biases_are_shrunk_towards_the_global_mean() -> None:
    *_, numbers, baseline = input_of(UserState(mean_rating=4.5, n_ratings=2), "b", mean=3.0, n=4)
    assert numbers[0] == pytest.approx(2 / (2 + 2) * 1.0)
    assert numbers[1] == pytest.approx(4 / (4 + 4) * -0.5)
    assert baseline == pytest.approx(3.5 + 0.5 - 0.25)


def test_another_text_of_an_item_stands_for_it_in_the_history_too() -> None:
    # "c" is bought, then rated: what is read of it, here and there, is the version without the user's own words.
    item, other = VECTORS.ids.index("c"), np.full((1, VECTORS.text.shape[1]), 0.25, dtype=np.float32)
    versions = VECTORS.with_versions([item], other)
    ratings, opinions = ItemRatings(np.full(2, 4.0), np.full(2, 3.0)), np.zeros((2, 2))
    found = scorer_input([USER, USER], [len(VECTORS.text), item], ratings, versions, BASELINE, opinions)
    text = VECTORS.text.clone()
    text[item] = torch.from_numpy(other[0])
    without = scorer_input([USER], [item], ratings.take([0]), replace(VECTORS, text=text), BASELINE, opinions[:1])
    torch.testing.assert_close(found.numbers[0], without.numbers[0])
    torch.testing.assert_close(versions.text[found.history[0]], text[without.history[0]])
    assert found.items.tolist() == [len(VECTORS.text), item]
    usual = scorer_input([USER], [item], ratings.take([0]), VECTORS, BASELINE, opinions[:1])
    torch.testing.assert_close(found.numbers[1], usual.numbers[0])
    assert found.history[1].tolist() == usual.history[0].tolist()


def test_a_pair_of_which_nothing_is_known_is_the_global_mean() -> None:
    history, weights, numbers, baseline = input_of(UserState(), "a")
    assert history.tolist() == [0]
    assert weights.abs().sum() == 0
    assert numbers.abs().sum() == 0
    assert baseline == pytest.approx(3.5)


def test_a_history_weighs_by_rating() -> None:
    user = UserState(items=("a", "b", "c", "d"), values=(5.0, 4.0, None, 1.0), mean_rating=10 / 3, n_ratings=3)
    history, weights, numbers, _ = input_of(user, "e")
    assert history.tolist() == [VECTORS.ids.index(item) for item in "abcd"]
    liked, disliked, everything = weights.tolist()
    assert liked == pytest.approx([2 / 3, 1 / 3, 0, 0])
    assert disliked == pytest.approx([0, 0, 0, 1])
    assert everything == pytest.approx([1 / 4] * 4)
    assert numbers[5] == pytest.approx(2 / 4), "share of liked entries"


def test_neighbours_speak_by_their_likeness() -> None:
    text = VECTORS.text.numpy()
    index = VECTORS.ids.index
    user = UserState(items=("b", "c"), values=(5.0, 2.0), mean_rating=3.5, n_ratings=2)
    *_, numbers, _ = input_of(user, "e")
    cosines = [float(text[index(item)] @ text[index("e")]) for item in "bc"]
    sharp = [math.exp(6 * cosine) for cosine in cosines]
    squares = [max(cosine, 0) ** 2 for cosine in cosines]
    assert numbers[6] == pytest.approx(sum(cosines) / 2, abs=1e-6)
    assert numbers[7] == pytest.approx((1.5 * squares[0] - 1.5 * squares[1]) / (sum(squares) + 0.05), abs=1e-6)
    assert numbers[8] == pytest.approx((1.5 * sharp[0] - 1.5 * sharp[1]) / (sum(sharp) + 3), abs=1e-6)


def test_unknown_items_of_a_history_are_left_out() -> None:
    strange = UserState(items=("?", *USER.items), values=(1.0, *USER.values), mean_rating=3.5, n_ratings=2)
    for mine, theirs in zip(input_of(strange, "e"), input_of(USER, "e"), strict=True):
        assert torch.equal(mine, theirs)


def test_an_unknown_item_is_refused() -> None:
    with pytest.raises(UnknownItem, match="item_id='zebra'"):
        SCORER.score(USER, ["a", "zebra"])


def test_scores_keep_the_order_asked_for() -> None:
    assert [score.item_id for score in SCORER.score(USER, ["f", "a", "c"])] == ["f", "a", "c"]
    assert SCORER.score(USER, []) == []


users = st.builds(
    lambda entries, n: UserState(
        items=tuple(entries),
        values=tuple(entries.values()),
        mean_rating=3.0 if n else None,
        n_ratings=n,
    ),
    st.dictionaries(st.sampled_from(ITEMS), st.none() | st.floats(1, 5)),
    st.integers(0, 9),
)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(users, st.sampled_from(ITEMS)), min_size=1, max_size=6))
def test_a_pair_scores_alone_as_in_any_batch(pairs: list[tuple[UserState, str]]) -> None:
    p_like, ratings = SCORER.predict([user for user, _ in pairs], [item for _, item in pairs])
    assert ((p_like >= 0) & (p_like <= 1)).all()
    assert ((ratings >= 1) & (ratings <= 5)).all()
    for (user, item), p, rating in zip(pairs, p_like, ratings, strict=True):
        (alone,) = SCORER.score(user, [item])
        assert alone.p_like == pytest.approx(p, abs=1e-5)
        assert alone.rating == pytest.approx(rating, abs=1e-4)


def test_the_untrained_network_predicts_the_baseline_and_its_numbers() -> None:
    network = ScorerNetwork(text_width=5, hidden=4, dropout=0.0)
    torch.nn.init.zeros_(network.of_numbers.weight)
    torch.nn.init.zeros_(network.of_numbers.bias)
    (score,) = PairScorer(network, BASELINE, FACTORS, Calibration(), MEDIAN, VECTORS).score(USER, ["b"])
    assert score.rating == pytest.approx(3.5 + 0 + 4 / 8 * 1.0)
    assert score.p_like == pytest.approx(0.5)


def test_saved_and_loaded_it_scores_the_same(tmp_path: Path) -> None:
    SCORER.save(tmp_path)
    assert PairScorer.load(tmp_path, VECTORS).score(USER, ITEMS) == SCORER.score(USER, ITEMS)


def test_a_damaged_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"file=.*scorer\.json"):
        PairScorer.load(tmp_path, VECTORS)
    SCORER.save(tmp_path)
    (tmp_path / "scorer.safetensors").write_bytes(b"no weights")
    with pytest.raises(BundleError, match=f"folder={tmp_path}"):
        PairScorer.load(tmp_path, VECTORS)


def test_vectors_of_another_width_are_refused(tmp_path: Path) -> None:
    SCORER.save(tmp_path)
    wide = ItemVectors(VECTORS.catalogue, torch.zeros(len(ITEMS) + 1, 7))
    with pytest.raises(BundleError, match="text_width=7, expected 5"):
        PairScorer.load(tmp_path, wide)


def test_the_configuration_holds_what_training_learned(tmp_path: Path) -> None:
    SCORER.save(tmp_path)
    config = json.loads((tmp_path / "scorer.json").read_text())
    assert config["calibration"] == {"slope": 1.5, "offset": -0.2}
    assert config["baseline"]["global_mean"] == 3.5
