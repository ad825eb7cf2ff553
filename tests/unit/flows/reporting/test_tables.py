"""Tables as plain text."""

from flows.reporting.tables import format_table, one_line


def test_cells_are_aligned_and_what_is_missing_is_blank():
    rows = [{"shop": "a", "served": True, "process": 7}, {"shop": "bcdef", "served": False, "process": None}]
    assert format_table(rows) == ["shop   served  process", "a      yes     7", "bcdef  no"]


def test_no_rows_are_no_lines():
    assert format_table([]) == []


def test_what_a_shop_calls_its_items_neither_breaks_a_row_nor_reaches_the_terminal_as_a_command():
    rows = [{"label": "Two\nlines\r\tof\u2028it", "price": 1}, {"label": "Red \x1b[31m\x07 tea\x9b2J", "price": 2}]
    assert format_table(rows) == [
        "label                       price",
        "Two lines  of it            1",
        r"Red \x1b[31m\x07 tea\x9b2J  2",
    ]


def test_other_scripts_and_signs_stay_as_they_are():
    text = "Thé 红茶 نعناع 👩‍🍳\u00a0¼"
    assert one_line(text) == text
