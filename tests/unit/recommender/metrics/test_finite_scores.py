"""A score that is no number compares with nothing: whoever compares, chooses or measures refuses it."""

import math

import numpy as np
import pytest

from recommender.errors import NotFinite
from recommender.inputs.ids import IdMap
from recommender.inputs.queries import Queries
from recommender.inputs.user import UserState
from recommender.metrics.ranking import ranking_auc
from recommender.metrics.ranking_evaluation import NdcgOfScores, evaluate_ranker
from recommender.metrics.ratings import expected_calibration_error, mae, rmse
from recommender.metrics.significance import bootstrap_interval, sign_flip_p_values
from recommender.metrics.top_k import best_indices, best_items, hits_of

IDS = IdMap(("a", "b", "c"))
QUERIES = Queries(users=(UserState.from_history(["a"]), UserState()), targets=(("b",), ("c",)))
WRONG = [math.nan, math.inf]


class Fixed:
    """Ranks by the scores it is given."""

    ids = IDS

    def __init__(self, scores: np.ndarray) -> None:
        self._scores = scores

    def scores(self, users: object) -> np.ndarray:
        return self._scores.copy()


@pytest.mark.parametrize("value", WRONG)
@pytest.mark.parametrize("place", [(0, 0), (1, 2), ...])
def test_a_ranker_of_such_scores_is_refused_by_its_name(value, place):
    scores = np.array([[-np.inf, 0.5, 0.1], [0.3, 0.2, 0.9]], dtype=np.float32)
    assert evaluate_ranker(Fixed(scores), QUERIES, 2, True, "gru").per_query["ndcg"].tolist() == [1.0, 1.0]
    scores[place] = value
    for with_auc in (True, False):
        with pytest.raises(NotFinite, match=f"scores of gru: scores={value} in"):
            evaluate_ranker(Fixed(scores), QUERIES, 2, with_auc, "gru")
    with pytest.raises(NotFinite, match=f"scores of gru: scores={value} in"):
        NdcgOfScores(QUERIES, IDS, 2, "gru")(scores.copy())


@pytest.mark.parametrize("value", WRONG)
def test_no_list_and_no_hit_comes_of_them(value):
    scores = np.array([[1.0, value, 0.0]], dtype=np.float32)
    for refused in (
        lambda: best_indices(scores, 2),
        lambda: best_items(scores, [UserState()], IDS, 2),
        lambda: hits_of(scores, [[2]], 2),
        lambda: hits_of(scores, [[1]], 2),
        lambda: ranking_auc(scores[0], [1], 1),
        lambda: ranking_auc(scores[0], [0], 1),
    ):
        with pytest.raises(NotFinite):
            refused()


@pytest.mark.parametrize("value", [*WRONG, -math.inf])
def test_no_error_and_no_interval_comes_of_them(value):
    predicted, actual = np.array([4.0, value]), np.array([3.0, 2.0])
    for measure in (rmse, mae):
        with pytest.raises(NotFinite):
            measure(predicted, actual)
    with pytest.raises(NotFinite):
        expected_calibration_error(predicted, actual > 2)
    with pytest.raises(NotFinite):
        bootstrap_interval(predicted, seed=1)
    with pytest.raises(NotFinite):
        sign_flip_p_values(predicted[:, None], seed=1)
