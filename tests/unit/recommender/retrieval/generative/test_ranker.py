"""Recommending by generation: filters inside the beam, visitors without a history, scores for the evaluation."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from recommender.inputs.seen import SeenItems
from recommender.inputs.user import UserState
from recommender.retrieval.generative.ranker import GenerativeRanker
from tests.unit.recommender.retrieval.generative.tiny_model import random_model, tiny_vectors
from tests.unit.recommender.tiny_shop import N_ITEMS, item

WARM = UserState.from_history([item(1), "unheard of", item(2)])
NOBODY = UserState()


@pytest.fixture
def ranker(tmp_path: Path) -> GenerativeRanker:
    vectors = tiny_vectors(tmp_path)
    return GenerativeRanker(vectors, random_model(vectors))


def test_lists_are_best_first_and_without_what_was_seen(ranker: GenerativeRanker) -> None:
    for user, best in zip((WARM, NOBODY), ranker.top_k([WARM, NOBODY], N_ITEMS), strict=True):
        scores = [score for _, score in best]
        assert scores == sorted(scores, reverse=True)
        assert {name for name, _ in best} == set(ranker.ids) - set(user.items)
    (with_seen,) = ranker.top_k([WARM], N_ITEMS, exclude_seen=False)
    assert len(with_seen) == N_ITEMS


def test_what_was_seen_does_not_come_back_at_any_length(ranker: GenerativeRanker) -> None:
    user = replace(WARM, seen=SeenItems.of_items(item(n) for n in range(N_ITEMS - 3)))
    (left,) = ranker.top_k([user], N_ITEMS)
    assert {name for name, _ in left} == {item(n) for n in range(N_ITEMS - 3, N_ITEMS)}
    assert np.isfinite(ranker.scores([user])).sum() == 3
    everything = replace(WARM, seen=SeenItems.of_items(ranker.ids))
    assert ranker.top_k([everything], 5) == [[]]


def test_users_are_answered_differently(ranker: GenerativeRanker) -> None:
    one, two = ranker.top_k([WARM, NOBODY], 5)
    assert one != two
    (alone,) = ranker.top_k([WARM], 5)
    assert [name for name, _ in alone] == [name for name, _ in one]
    # A batch of another size may be added up in another order.
    assert [score for _, score in alone] == pytest.approx([score for _, score in one], rel=1e-5)


def test_a_filter_that_leaves_few_items_leaves_those(ranker: GenerativeRanker) -> None:
    """Filtered after the search, a beam of eight would hardly have met them."""
    allowed = np.zeros(N_ITEMS, dtype=bool)
    wanted = [name for name, _ in ranker.top_k([WARM], N_ITEMS)[0]][-3:]
    allowed[[ranker.ids.index(name) - 1 for name in [*wanted, item(1)]]] = True
    (best,) = ranker.top_k([WARM], 3, allowed=allowed)
    assert [name for name, _ in best] == wanted
    (fewer,) = ranker.top_k([WARM], 3, exclude=[[wanted[0], "unheard of"]], allowed=allowed)
    assert [name for name, _ in fewer] == wanted[1:]
    assert ranker.top_k([WARM], 3, allowed=np.zeros(N_ITEMS, dtype=bool)) == [[]]


def test_evaluation_sees_the_beam(ranker: GenerativeRanker) -> None:
    scores = ranker.scores([WARM, NOBODY])
    assert scores.shape == (2, N_ITEMS)
    assert (np.isfinite(scores).sum(axis=1) == 8).all()
    (best,) = ranker.top_k([WARM], 8)
    assert {ranker.ids.item_id(place + 1): scores[0, place] for place in np.flatnonzero(np.isfinite(scores[0]))} == {
        name: pytest.approx(score) for name, score in best
    }
    assert np.isfinite(ranker.at_least(12).scores([WARM])).sum() == 12
    assert ranker.at_least(3).width == 8
