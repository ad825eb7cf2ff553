"""Taking arrivals in, in order and out of order, against rows worked by hand."""

from __future__ import annotations

import math

from features.counting.sketches import (
    Arrival,
    Attributes,
    Row,
    new_item,
    new_user,
    take_into_item,
    take_into_user,
    tie_of,
)
from features.counting.streams import DAY_US

SECOND = 1_000_000
PLAIN = Attributes()


def user_of(*events: tuple[str, int, float | None], max_history: int = 3) -> Row:
    row = new_user()
    for n, (item, second, value) in enumerate(events):
        take_into_user(row, Arrival(item, "view", True, value, second * SECOND, n, 0), PLAIN, max_history)
    return row


def user_of_kinds(*events: tuple[str, int, str], max_history: int = 3) -> Row:
    row = new_user()
    for n, (item, second, kind) in enumerate(events):
        take_into_user(row, Arrival(item, kind, True, None, second * SECOND, n, 0), PLAIN, max_history)
    return row


def kinds_of(row: Row) -> list[tuple[str, str]]:
    return list(zip(row["history_items"], row["history_events"], strict=True))


def history_of(row: Row) -> list[tuple[str, float | None]]:
    values = [None if math.isnan(value) else value for value in row["history_values"]]
    return list(zip(row["history_items"], values, strict=True))


def test_an_event_on_an_old_item_moves_it_to_the_end_and_keeps_its_rating() -> None:
    row = user_of(("a", 1, 4.0), ("b", 2, None), ("a", 3, None))
    assert history_of(row) == [("b", None), ("a", 4.0)]
    assert (row["n_events"], row["n_ratings"], row["n_views"]) == (3, 1, 3)


def test_a_late_rating_counts_but_does_not_replace_a_newer_one() -> None:
    row = user_of(("a", 5, 4.0), ("a", 2, 1.0), ("b", 1, None))
    assert history_of(row) == [("b", None), ("a", 4.0)]
    assert (row["n_ratings"], row["first_event_us"], row["last_event_us"]) == (2, SECOND, 5 * SECOND)


def test_a_late_rating_replaces_an_older_one_that_a_view_had_kept() -> None:
    row = user_of(("a", 1, 2.0), ("a", 9, None), ("a", 5, 5.0))
    assert history_of(row) == [("a", 5.0)]


def test_the_oldest_entry_falls_out_and_a_late_event_does_not_bring_it_back() -> None:
    row = user_of(("a", 1, None), ("b", 2, None), ("c", 3, None), ("d", 4, None), ("a", 1, None))
    assert history_of(row) == [("b", None), ("c", None), ("d", None)]
    assert row["n_events"] == 5


def test_a_rating_is_remembered_while_its_item_is_among_the_newest_rated() -> None:
    rated = [(item, n, 5.0) for n, item in enumerate("abc")]
    assert history_of(user_of(*rated, ("d", 8, None), ("a", 9, None)))[-1] == ("a", 5.0)
    assert history_of(user_of(*rated, ("d", 8, 1.0), ("a", 9, None)))[-1] == ("a", None)


def test_the_strongest_kind_counts_however_late_it_comes() -> None:
    events = [("a", 2, "purchase"), ("b", 3, "click"), ("a", 4, "view"), ("b", 1, "view"), ("c", 5, "rating")]
    row = user_of_kinds(*events, max_history=4)
    assert kinds_of(row) == [("b", "click"), ("a", "purchase"), ("c", "rating")]
    # Only the purchase is needed beside the latest events: the view of b is before a stronger one.
    assert row["history_kinds"] == ["click", "view", "rating"]
    assert (row["kind_items"], row["kind_events"], row["kind_us"]) == (["a"], ["purchase"], [2 * SECOND])


def test_a_full_history_knows_no_kind_older_than_its_oldest_entry() -> None:
    bought = [("a", 1, "purchase"), ("b", 2, "view"), ("c", 3, "view")]
    assert kinds_of(user_of_kinds(*bought, ("a", 4, "view"))) == [("b", "view"), ("c", "view"), ("a", "view")]
    assert kinds_of(user_of_kinds(*bought[:2], ("a", 4, "view"))) == [("b", "view"), ("a", "purchase")]


def test_ties_go_by_position() -> None:
    row = new_user()
    for position, item in ((3, "b"), (2, "a"), (1, "a")):
        take_into_user(row, Arrival(item, "view", True, None, SECOND, position, 0), PLAIN, 3)
    assert row["history_items"] == ["a", "b"]


def test_an_ignored_event_counts_for_rates_alone() -> None:
    row = new_user()
    take_into_user(row, Arrival("a", "impression", False, None, SECOND, 1, 0), Attributes("Tools", "Acme", 5), 3)
    assert {name: value for name, value in row.items() if value} == {"n_impressions": 1}


def test_attributes_of_items_become_affinities_and_a_price_level() -> None:
    row = new_user()
    kinds = [Attributes("Tools", "Acme", 500), Attributes("Bells", None, None), Attributes("Bells", "Zeta", 250)]
    for n, attributes in enumerate(kinds):
        take_into_user(row, Arrival("a", "click", True, None, n * DAY_US, n, 0), attributes, 3)
    assert (row["categories"], row["category_counts"]) == (["Bells", "Tools"], [2, 1])
    assert (row["brands"], row["brand_counts"]) == (["Acme", "Zeta"], [1, 1])
    assert (row["n_priced"], row["price_sum"], row["active_days"], row["n_active_days"]) == (2, 750, [0, 1, 2], 3)


def test_an_item_forgets_days_before_its_longest_window() -> None:
    row = new_item()
    for day in (10, 12, 14, 11, 14):
        take_into_item(row, Arrival("a", "click", True, 3.0, day * DAY_US, 0, 0), window_days=3)
    assert (row["item_days"], row["item_day_counts"]) == ([12, 14], [1, 2])
    assert (row["item_n_events"], row["item_n_clicks"], row["item_n_ratings"]) == (5, 5, 5)


def test_ties_are_56_bits_of_the_id() -> None:
    assert tie_of("abc") == 0x900150983CD24F
