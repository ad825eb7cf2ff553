"""What people read of the factuality of reasons."""

from recommender.evaluation.reasons.tables import KINDS, reasons_tables
from recommender.explaining import facts


def test_every_kind_of_fact_has_a_name() -> None:
    assert set(KINDS) == set(facts.KINDS)


def test_all_facts_stand_first_and_then_each_kind() -> None:
    by_kind = {"rating": {"n_facts": 3, "factuality": 1.0}, "price": {"n_facts": 1, "factuality": 0.0}}
    found = {"n_reasons": 2, "n_facts": 4, "factuality": 0.75, "of_others": 0.25, "by_kind": by_kind}
    (table,) = reasons_tables({"reasons": found, "split": "test"})
    cells = [[row["name"], *(cell["text"] for cell in row["cells"])] for row in table["rows"]]
    assert cells == [
        ["all", "4", "0.750", "0.250"],
        ["mean rating", "3", "1.000", "–"],
        ["price against the usual one", "1", "0.000", "–"],
    ]
    assert all(len(row) == len(table["columns"]) for row in cells)


def test_without_reasons_there_is_no_table() -> None:
    for metrics in ({}, {"reasons": None}, {"reasons": {"n_reasons": 0}}):
        assert reasons_tables(metrics) == []
