"""Tables as plain text."""

from flows.reporting.tables import format_table


def test_cells_are_aligned_and_what_is_missing_is_blank():
    rows = [{"shop": "a", "served": True, "process": 7}, {"shop": "bcdef", "served": False, "process": None}]
    assert format_table(rows) == ["shop   served  process", "a      yes     7", "bcdef  no"]


def test_no_rows_are_no_lines():
    assert format_table([]) == []
