"""The candidates of queries: the union of the parts' best items, asked about some users at a time."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest

from recommender.inputs.ids import IdMap
from recommender.inputs.queries import Queries
from recommender.inputs.user import UserState
from recommender.ranking.blend import Blend
from recommender.ranking.candidates import USERS_PER_PASS, Candidates
from recommender.ranking.choice import Way
from recommender.ranking.correction import Correction
from recommender.ranking.correction_training import _spread, _standardised, fit_network, fit_trees
from tests.unit.recommender.tiny_shop import N_ITEMS, item

IDS = IdMap(tuple(item(n) for n in range(N_ITEMS)))
PARTS = ("first", "second")
N_QUERIES = USERS_PER_PASS + 22


def queries() -> Queries:
    numbers = range(N_QUERIES)
    return Queries(tuple(UserState.from_history([item(n)]) for n in numbers), tuple((item(n + 1),) for n in numbers))


class Standard:
    """Scores at random, the same for a user whoever else is asked about, and how many users were asked at once."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    def __call__(self, users: Sequence[UserState]) -> dict[str, np.ndarray]:
        self.asked.append(len(users))
        found = [np.random.default_rng(IDS.index(user.items[0])).normal(size=(2, N_ITEMS)) for user in users]
        return dict(zip(PARTS, np.array(found, dtype=np.float32).transpose(1, 0, 2), strict=True))


def candidates(standard: Standard) -> Candidates:
    return Candidates.of(standard, queries(), IDS, PARTS, n=4)


def test_of_a_large_catalogue_fewer_users_are_asked_at_once_with_the_same_candidates(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    at_once, by_passes = Standard(), Standard()
    whole = candidates(at_once)
    assert at_once.asked == [USERS_PER_PASS, 22]
    monkeypatch.setattr("recommender.inputs.queries.SCORES_PER_PASS", 60 * N_ITEMS)
    blocked = candidates(by_passes)
    assert by_passes.asked == [60, 60, 30]
    for name in ("places", "scores", "wanted", "n_targets", "lengths"):
        np.testing.assert_array_equal(getattr(blocked, name), getattr(whole, name))


def test_they_are_the_best_of_every_part_without_what_was_seen() -> None:
    one = candidates(Standard()).take(np.array([3]))
    by_part = Standard()([queries().users[3]])
    seen = IDS.index(item(3)) - 1
    best = [[place for place in np.argsort(-by_part[name][0]) if place != seen][:4] for name in PARTS]
    assert one.places[0][one.there[0]].tolist() == sorted({*best[0], *best[1]})
    assert seen not in one.places[0]


def some_candidates(counts: Sequence[int]) -> Candidates:
    """So many of each query, the first of them wanted; features that tell query and candidate, one unknown at times."""
    n, width = len(counts), max(counts)
    there = np.arange(width) < np.array(counts)[:, None]
    places = np.where(there, np.arange(width), -1)
    scores = np.where(there, np.random.default_rng(0).normal(size=(n, width)), 0).astype(np.float32)[:, :, None]
    wanted = there & (np.arange(width) == 0)
    features = np.stack(np.broadcast_arrays(np.arange(n)[:, None], np.arange(width)), axis=2)[there].astype(np.float32)
    features[::3, 1] = np.nan
    ones = np.ones(n, dtype=np.int64)
    return Candidates(("sequence",), places, scores, wanted, ones, ones, features)


def test_the_features_of_some_queries_are_theirs() -> None:
    whole = some_candidates([3, 0, 5, 2])
    some = whole.take(np.array([3, 0]))
    assert some.features[:, 0].tolist() == [3, 3, 0, 0, 0]
    assert len(some.features) == some.there.sum()
    assert not len(whole.take(np.array([1])).features)
    assert not len(whole.take(np.zeros(0, dtype=np.int64)).features)


@pytest.mark.parametrize("fit", [fit_network, fit_trees])
def test_what_is_computed_of_features_is_computed_of_some_candidates_at_a_time_with_the_same_outcome(
    fit: Callable[..., Correction], monkeypatch: pytest.MonkeyPatch
) -> None:
    data, blend = some_candidates([7, 3, 9] * 200), Blend("network", {"sequence": 1.0})
    whole = Way(blend, fit(data, blend, ("one", "two"), seed=0)).scores(data)
    monkeypatch.setattr("recommender.ranking.candidates.FEATURES_PER_PASS", 100)
    assert max(len(features) for features in data.feature_passes()) == 100
    np.testing.assert_array_equal(np.concatenate(list(data.feature_passes())), data.features)
    in_passes = Way(blend, fit(data, blend, ("one", "two"), seed=0)).scores(data)
    np.testing.assert_allclose(in_passes, whole, atol=1e-5)


def test_standardising_features_takes_little_more_memory_than_they_do(monkeypatch: pytest.MonkeyPatch) -> None:
    data = some_candidates([40] * 500)
    many = replace(data, features=np.random.default_rng(0).normal(size=(40 * 500, 60)).astype(np.float32))
    monkeypatch.setattr("recommender.ranking.candidates.FEATURES_PER_PASS", 500)
    tracemalloc.start()
    try:
        _standardised(many, *_spread(many))
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 2.5 * many.features.nbytes  # in double precision one copy is twice as much
