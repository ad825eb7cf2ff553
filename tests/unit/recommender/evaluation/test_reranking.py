"""What re-ranking costs and brings, over the queries of a window."""

import numpy as np
import pytest

from core.settings.reranking import RerankSettings
from recommender.errors import RerankError
from recommender.evaluation.names import rerank_name
from recommender.evaluation.reranking import evaluate_reranking
from recommender.inputs.queries import Queries
from recommender.inputs.user import UserState
from tests.unit.recommender.reranking.test_reranker import Ranks, vectors

QUERIES = Queries((UserState.from_history(["i00", "i11"]),) * 4, (("i01",), ("i01",), ("i08",), ("i03",)))


class Masked(Ranks):
    """The same, with what was seen left out, as an evaluation asks."""

    def scores(self, users):
        scores = super().scores(users)
        for row, user in enumerate(users):
            scores[row, user.seen_places(self.ids)] = -np.inf
        return scores


def test_each_variant_is_measured_beside_the_rankers_own_list():
    items = vectors()
    found = evaluate_reranking(Masked(items), items, QUERIES, 4, RerankSettings(), seed=1)
    rows = {rerank_name(row): row for row in found["rows"]}
    assert found["n_queries"] == 4
    assert list(rows) == [
        "the ranker's own",
        *(f"mmr {strength} by text" for strength in (0.1, 0.3, 0.5)),
        *(f"calibration {strength}" for strength in (0.1, 0.3, 0.5)),
        "floor of 20% for items",
        "floor of 20% for providers",
    ]
    own, floored = rows["the ranker's own"], rows["floor of 20% for items"]
    # i01 to i04 are listed; i01 is wanted twice, i03 once in the third place. The floor puts i08 in the fourth.
    assert own["ndcg"] == pytest.approx((1 + 1 + 0 + 0.5) / 4)
    assert floored["ndcg"] == pytest.approx((1 + 1 + 1 / np.log2(5) + 0.5) / 4)
    assert floored["cost"]["mean"] == pytest.approx(1 / np.log2(5) / 4)
    assert floored["cost"]["low"] <= floored["cost"]["mean"] <= floored["cost"]["high"]
    assert (own["rare_items"], floored["rare_items"], own["rare_providers"]) == (0.0, 0.25, 0.0)
    assert (own["coverage"], floored["coverage"]) == (4 / 12, 4 / 12)
    assert rows["calibration 0.5"]["divergence"] < own["divergence"]
    assert rows["mmr 0.5 by text"]["diversity"] > own["diversity"]
    assert "cost" not in own


def test_the_recipes_own_is_measured_alone_and_what_the_catalogue_lacks_is_left_out_or_said():
    items = vectors(category=[None] * 12)
    found = evaluate_reranking(Masked(items), items, QUERIES, 4, RerankSettings(item_floor=0.5), seed=1)
    assert [rerank_name(row) for row in found["rows"]] == ["the ranker's own", "floor of 50% for items"]
    found = evaluate_reranking(Masked(items), items, QUERIES, 4, RerankSettings(), seed=1)
    assert not any(row["kind"] == "calibration" for row in found["rows"])
    with pytest.raises(RerankError, match="items with a category=0"):
        evaluate_reranking(Masked(items), items, QUERIES, 4, RerankSettings(kind="calibration"), seed=1)


def test_of_a_large_catalogue_fewer_users_are_asked_at_once_with_the_same_figures(monkeypatch):
    items = vectors()
    asked, whole = [], evaluate_reranking(Masked(items), items, QUERIES, 4, RerankSettings(), seed=1)

    class Counting(Masked):
        def scores(self, users):
            asked.append(len(users))
            return super().scores(users)

    monkeypatch.setattr("recommender.inputs.queries.SCORES_PER_PASS", 3 * 12)
    assert evaluate_reranking(Counting(items), items, QUERIES, 4, RerankSettings(), seed=1) == whole
    assert asked == [3, 1]
