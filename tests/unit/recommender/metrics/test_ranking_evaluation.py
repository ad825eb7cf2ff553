import math
import tracemalloc
from collections.abc import Sequence

import numpy as np
import pytest

from recommender.inputs.ids import IdMap
from recommender.inputs.queries import Queries
from recommender.inputs.user import UserState
from recommender.metrics.ranking_evaluation import NdcgOfScores, evaluate_ranker

IDS = IdMap(("a", "b", "c", "d"))
QUERIES = Queries(
    users=(UserState.from_history(["a"]), UserState.from_history(["b", "unknown"])),
    targets=(("b",), ("c", "unheard of")),
)
# Of two targets, of which the catalogue knows one: found in third, and in second place.
THIRD_OF_TWO = (1 / math.log2(4)) / (1 + 1 / math.log2(3))
SECOND_OF_TWO = (1 / math.log2(3)) / (1 + 1 / math.log2(3))


def test_seen_items_are_left_out_and_unknown_targets_are_missed():
    scores = np.array([[9.0, 1.0, 0.0, -1.0], [0.0, 9.0, 1.0, 2.0]], dtype=np.float32)
    assert NdcgOfScores(QUERIES, IDS, k=2)(scores).tolist() == pytest.approx([1.0, SECOND_OF_TWO])
    assert scores[0, 0] == scores[1, 1] == -np.inf


def test_one_row_is_the_ranking_of_all_and_stays_as_it_is():
    row = np.array([9.0, 8.0, 1.0, 2.0])
    assert NdcgOfScores(QUERIES, IDS, k=3)(row).tolist() == pytest.approx(
        [1.0, 1 / math.log2(4) / (1 + 1 / math.log2(3))]
    )
    assert row.tolist() == [9.0, 8.0, 1.0, 2.0]


class Drawn:
    """Scores at random, the same for a history whoever else is asked about, and how many users were asked at once."""

    def __init__(self, n_items: int) -> None:
        self.ids, self.asked = IdMap(tuple(f"i{n}" for n in range(n_items))), list[int]()

    def scores(self, users: Sequence[UserState]) -> np.ndarray:
        self.asked.append(len(users))
        rows = [np.random.default_rng(int(user.items[0][1:])).random(len(self.ids)) for user in users]
        scores = np.array(rows, dtype=np.float32)
        for row, user in zip(scores, users, strict=True):
            row[user.seen_places(self.ids)] = -np.inf
        return scores


def queries_of(n_queries: int, n_items: int) -> Queries:
    users = [UserState.from_history([f"i{n % n_items}"]) for n in range(n_queries)]
    return Queries(
        tuple(users), tuple((f"i{(7 * n + 1) % n_items}", f"i{(3 * n + 2) % n_items}") for n in range(n_queries))
    )


def test_a_large_catalogue_is_ranked_for_fewer_users_at_a_time_with_the_same_figures(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    queries = queries_of(50, 40)
    whole = evaluate_ranker(Drawn(40), queries, 5, with_auc=True)
    monkeypatch.setattr("recommender.inputs.queries.SCORES_PER_PASS", 12 * 40)
    ranker = Drawn(40)
    blocked = evaluate_ranker(ranker, queries, 5, with_auc=True)
    assert ranker.asked == [12, 12, 12, 12, 2]
    np.testing.assert_array_equal(blocked.lists, whole.lists)
    assert set(blocked.per_query) == set(whole.per_query) > {"gauc"}
    for name, values in whole.per_query.items():
        np.testing.assert_array_equal(blocked.per_query[name], values)


def test_one_row_for_all_is_repeated_for_a_pass_of_them_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    n_queries, n_items = 300, 5000
    ranker = Drawn(n_items)
    evaluate = NdcgOfScores(queries_of(n_queries, n_items), ranker.ids, 10)
    row = np.random.default_rng(0).random(n_items)
    whole = evaluate(np.tile(row.astype(np.float32), (n_queries, 1)))
    monkeypatch.setattr("recommender.inputs.queries.SCORES_PER_PASS", 16 * n_items)
    tracemalloc.start()
    try:
        blocked = evaluate(row)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    np.testing.assert_array_equal(blocked, whole)
    assert blocked.any()
    assert most < n_queries * n_items  # bytes: a quarter of all scores in single precision
