import json
from collections.abc import Sequence

import numpy as np
import pytest

from recommender.errors import TrainingDataError
from recommender.evaluation.evaluation import evaluate_ranker, evaluate_rankers
from recommender.evaluation.report import render
from recommender.inputs.ids import IdMap
from recommender.inputs.queries import Queries, read_queries
from recommender.inputs.user import UserState
from recommender.metrics.top_k import mask_seen
from tests.unit.recommender.tiny_shop import history, item, random_vectors, write, write_training_set


class Fixed:
    """Ranks a, b, c, d in this order for everyone."""

    def __init__(self, ids: Sequence[str] = ("a", "b", "c", "d")) -> None:
        self.ids = IdMap(tuple(ids))

    def scores(self, users: Sequence[UserState]) -> np.ndarray:
        return np.tile(np.arange(len(self.ids), 0, -1, dtype=np.float32), (len(users), 1))


QUERIES = Queries(
    users=(UserState(), UserState.from_history(["d"]), UserState.from_history(["d"])),
    targets=(("a",), ("b", "unknown"), ("d",)),
)


def test_evaluation_by_hand():
    evaluation = evaluate_ranker(Fixed(), QUERIES, k=2)
    np.testing.assert_allclose(evaluation.per_query["recall"], [1, 1 / 2, 0])
    np.testing.assert_allclose(evaluation.per_query["mrr"], [1, 1 / 2, 0])
    assert evaluation.summary()["recall_at_2"] == pytest.approx(0.5)
    assert evaluation.summary(np.array([False, True, True]))["recall_at_2"] == pytest.approx(0.25)
    assert evaluation.summary()["coverage_at_2"] == 0.5


def test_a_target_that_the_ranker_does_not_know_is_a_miss():
    known = evaluate_ranker(Fixed(("a", "x")), QUERIES, k=2).per_query["hit_rate"]
    np.testing.assert_array_equal(known, [1, 0, 0])


def test_evaluation_is_by_group_and_json():
    result = evaluate_rankers({"worse": Fixed(("d", "c", "b", "a")), "model": Fixed()}, QUERIES, k=2, seed=0)
    assert result["n_queries"] == {"all": 3, "warm": 2, "cold": 1}
    assert result["ranking"]["model"]["recall_at_2"] == pytest.approx(0.5)
    assert result["groups"]["cold"]["model"]["recall_at_2"] == 1
    assert result["groups"]["warm"]["worse"]["recall_at_2"] == pytest.approx(0.5)
    difference = result["differences"]["worse"]["recall_at_2"]
    assert difference["mean"] == pytest.approx((1 + 0.5 - 1) / 3)
    assert difference["low"] <= difference["mean"] <= difference["high"]
    assert json.loads(json.dumps(result)) == result


class Beam(Fixed):
    """Finds the first items alone."""

    def __init__(self, n_found: int) -> None:
        super().__init__()
        self._n_found = n_found

    def scores(self, users: Sequence[UserState]) -> np.ndarray:
        found = mask_seen(super().scores(users), users, self.ids)
        found[:, self._n_found :] = -np.inf
        return found


def test_the_whole_ranking_is_measured_exactly_or_not_at_all():
    queries = QUERIES.take(np.array([0, 1]))  # d is seen by the second, and so no part of a ranking
    whole = evaluate_ranker(Beam(4), queries, k=2, with_auc=True).per_query["gauc"]
    np.testing.assert_allclose(whole, [1, 0.5 / 2])
    assert "gauc" not in evaluate_ranker(Beam(3), queries, k=2, with_auc=True).per_query
    assert "gauc" in evaluate_ranker(Beam(3), queries.take(np.array([1])), k=2, with_auc=True).per_query
    assert "gauc" not in evaluate_ranker(Beam(4), queries, k=2).per_query


def test_a_ranker_without_a_whole_ranking_stands_in_every_table_without_that_figure():
    result = evaluate_rankers({"popularity": Fixed(), "generative": Beam(2), "blend": Fixed()}, QUERIES, k=2, seed=0)
    assert "gauc" in result["ranking"]["blend"]
    for table in ("ranking", "intervals", "differences"):
        assert "gauc" in result[table]["popularity"]
        assert "gauc" not in result[table]["generative"]
        assert "ndcg_at_2" in result[table]["generative"]
    assert "gauc" not in result["groups"]["warm"]["generative"]
    page = render(result | {"curves": {}, "scorer": None}, "t", "s")
    assert page.count('<span class="">–</span>') == 1


def test_a_group_without_queries_is_left_out():
    result = evaluate_rankers({"model": Fixed()}, QUERIES.take(np.array([1, 2])), k=2, seed=0)
    assert set(result["groups"]) == {"warm"}


def test_nothing_to_evaluate_is_refused():
    with pytest.raises(TrainingDataError, match="queries=0"):
        evaluate_ranker(Fixed(), Queries((), ()), k=2)


def test_many_queries_are_taken_in_parts():
    queries = Queries((UserState(),) * 600, (("a",),) * 300 + (("d",),) * 300)
    hits = evaluate_ranker(Fixed(), queries, k=1).per_query["hit_rate"]
    np.testing.assert_array_equal(hits, [1] * 300 + [0] * 300)


def test_queries_are_those_of_the_window_with_targets(tmp_path):
    rows = [
        {"user_id": "a", "split": "test", **history([item(1)]), "targets": [item(2), item(2)]},
        {"user_id": "b", "split": "test", **history([]), "targets": []},
        {"user_id": "c", "split": "validation", **history([]), "targets": [item(3)]},
    ]
    write(tmp_path, "queries", rows)
    queries = read_queries(tmp_path, "test")
    assert queries.targets == ((item(2),),)
    assert queries.users == (UserState.from_history([item(1)]),)
    assert queries.is_warm.tolist() == [True]
    assert not read_queries(tmp_path, "validation").is_warm.any()


def test_the_tiny_shop_is_evaluated_whole(tmp_path):
    training = write_training_set(tmp_path)
    queries = read_queries(training, "test")
    assert len(queries) == 41
    assert random_vectors(training).ids.unknown(target for targets in queries.targets for target in targets) == []
