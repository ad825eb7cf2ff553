"""The candidates of queries: the union of the parts' best items, asked about some users at a time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from recommender.inputs.ids import IdMap
from recommender.inputs.queries import Queries
from recommender.inputs.user import UserState
from recommender.ranking.candidates import USERS_PER_PASS, Candidates
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
