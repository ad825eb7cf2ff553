"""Figures of an evaluation, as pages show them: what is served is marked, and what was not measured is left empty."""

from __future__ import annotations

from serving.web.measures import Row, headline, ranker_table

METRICS = {
    "k": 5,
    "served": "sequence",
    "ranking": {
        "sequence": {"recall_at_5": 0.4, "ndcg_at_5": 0.3, "gauc": 0.7},
        "popularity": {"ndcg_at_5": 0.1},
    },
    "intervals": {"sequence": {"ndcg_at_5": [0.2, 0.4]}},
}


def test_the_first_measures_are_those_of_what_is_served() -> None:
    assert headline(METRICS) == [("ndcg_at_5", 0.3, (0.2, 0.4)), ("recall_at_5", 0.4, None)]
    assert headline({"ndcg_at_10": 0.5}) == []


def test_every_ranker_has_a_row_in_the_order_of_all_tables() -> None:
    heads, rows = ranker_table(METRICS)
    assert heads[:2] == ["NDCG@5", "recall@5"]
    assert rows == [
        Row("popularity", False, (0.1, None, None, None, None), None),
        Row("sequence model, after fine-tuning, as served", True, (0.3, 0.4, None, None, None), (0.2, 0.4)),
    ]
    assert ranker_table({})[1] == []
