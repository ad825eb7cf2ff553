import math

import numpy as np
import pytest

from recommender.inputs.ids import IdMap
from recommender.inputs.queries import Queries
from recommender.inputs.user import UserState
from recommender.metrics.ranking_evaluation import NdcgOfScores

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
