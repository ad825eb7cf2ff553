"""What time alone changes, against figures worked by hand."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from features import item_matrix
from features.counting.columns import Lists
from features.counting.derivation import ITEM_INPUTS, derive_item
from features.counting.sketches import Row, new_item, new_user
from features.counting.streams import DAY_US, PRICE_UNITS, RATING_UNITS
from features.counting.views import ITEM_PROFILE
from features.feast.rows import StoredRow
from features.item_matrix import ItemMatrix
from features.online import features_of
from recommender.inputs.ids import IdMap

NOON = 100 * DAY_US + DAY_US // 2


def item_row(**facts: Any) -> Row:
    return {**new_item(), **{f"item_{name}": value for name, value in facts.items()}, "item_log_sequence": 0}


ROWS = {
    "a": item_row(
        n_events=7, n_impressions=8, n_clicks=4, n_purchases=1, n_ratings=2, rating_sum=6 * RATING_UNITS,
        rating_square_sum=20 * RATING_UNITS**2, first_event_us=90 * DAY_US, last_event_us=100 * DAY_US, price=2500,
        days=[94, 95, 99, 100], day_counts=[1, 2, 3, 1],
    ),
    "b": item_row(created_us=99 * DAY_US + DAY_US // 2),
}  # fmt: skip


def test_windows_are_the_day_of_the_moment_and_the_whole_days_before() -> None:
    found = derived(list(ROWS), NOON)
    assert found["item_popularity"].to_arrow().to_pylist() == [[1, 6, 7], [0, 0, 0]]
    assert found["item_trend"].tolist()[0] == (6 / 6) / (7 / 7)
    assert np.isnan(found["item_trend"][1])
    # Midnight passes, and nothing has to happen for the windows to move on.
    assert derived(["a"], 101 * DAY_US)["item_popularity"].to_arrow().to_pylist() == [[0, 4, 6]]
    assert derived(["a"], 100 * DAY_US + DAY_US - 1)["item_popularity"].to_arrow().to_pylist() == [[1, 6, 7]]


def test_an_item_from_before_1970_is_as_old_as_it_is() -> None:
    facts = {"a": item_row(created_us=-200 * DAY_US, first_event_us=90 * DAY_US), "b": item_row()}
    ROWS.update(old=facts["a"], unknown=facts["b"])
    try:
        found = derived(["old", "unknown"], NOON)["item_age_days"].tolist()
    finally:
        del ROWS["old"], ROWS["unknown"]
    assert found[0] == 300.5
    assert np.isnan(found[1])


def test_statistics_rates_price_and_age() -> None:
    found = derived(list(ROWS), NOON)
    assert (found["item_mean_rating"][0], found["item_rating_std"][0]) == (3.0, 1.0)
    assert (found["item_click_rate"][0], found["item_conversion_rate"][0]) == (0.5, 0.25)
    assert found["item_price"][0] == 2500 / PRICE_UNITS
    # Without a date in the catalogue, the age is that of the first event.
    assert found["item_age_days"].tolist() == [10.5, 1.0]
    assert found["item_recency_days"][0] == 0.5
    nothing = ["item_mean_rating", "item_rating_std", "item_click_rate", "item_conversion_rate", "item_price"]
    assert all(np.isnan(found[name][1]) for name in [*nothing, "item_recency_days"])


def test_the_matrix_serves_what_the_derivation_says_and_follows_changes() -> None:
    matrix = ItemMatrix((1, 6, 7))
    matrix.take([(item, StoredRow.of(ITEM_PROFILE, item, row).served, n) for n, (item, row) in enumerate(ROWS.items())])
    for at in (NOON, 101 * DAY_US, NOON):  # on, and back to a day that is past
        assert repr(matrix.read(["b", "a"], at)) == repr(derived(["b", "a"], at))
    ids = IdMap(("b", "unheard of", "a"))
    assert repr(matrix.read_places(ids, np.array([0, 2]), NOON)) == repr(derived(["b", "a"], NOON))
    assert matrix.read_places(ids, np.array([1]), NOON)["item_n_events"].tolist() == [0]  # type: ignore[union-attr]
    later = item_row(n_events=8, days=[94, 95, 99, 100], day_counts=[1, 2, 3, 9])
    matrix.take([("a", StoredRow.of(ITEM_PROFILE, "a", later).served, 9)])
    assert (matrix.seen, len(matrix)) == (9, 2)
    found = matrix.read(["a", "unheard of"], NOON)
    assert found["item_n_events"].tolist() == [8, 0]  # type: ignore[union-attr]
    assert found["item_popularity"].to_arrow().to_pylist() == [[9, 14, 15], [0, 0, 0]]  # type: ignore[union-attr]
    assert np.isnan(found["item_price"][1])  # type: ignore[index]


def test_the_matrix_takes_changes_page_by_page_and_has_seen_them_once_all_are_in(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(item_matrix, "_PAGE", 2)
    served = {item: StoredRow.of(ITEM_PROFILE, item, row).served for item, row in ROWS.items()}
    matrix = ItemMatrix((1, 6, 7))

    def changes() -> Iterator[item_matrix.Change]:
        yield "a", served["b"], 1
        yield "c", served["a"], 1
        yield "b", served["b"], 1
        assert len(matrix) == 2
        raise ConnectionError

    with pytest.raises(ConnectionError):
        matrix.take(changes())
    assert matrix.seen == 0, "what is missing is read again"
    again = [("a", served["b"], 1), ("c", served["a"], 1), ("b", served["b"], 1), ("a", served["a"], 2), ("c", None, 3)]
    matrix.take(again)
    assert (matrix.seen, len(matrix)) == (3, 3)
    assert repr(matrix.read(["b", "a"], NOON)) == repr(derived(["b", "a"], NOON))
    gone = matrix.read(["c"], NOON)
    assert (gone["item_n_events"].tolist(), gone["item_popularity"].to_arrow().to_pylist()) == ([0], [[0, 0, 0]])  # type: ignore[union-attr]


def test_a_users_features_as_plain_values() -> None:
    facts = {
        "n_events": 6, "n_active_days": 4, "first_event_us": 90 * DAY_US, "last_event_us": NOON - DAY_US // 4,
        "n_clicks": 2, "n_purchases": 1, "n_priced": 4, "price_sum": 10 * PRICE_UNITS,
        "categories": ["Tools", "Bells", "Nails"], "category_counts": [3, 1, 1],
    }  # fmt: skip
    found = features_of({**new_user(), **facts}, NOON, 2)
    assert (found["recency_days"], found["tenure_days"], found["events_per_active_day"]) == (0.25, 10.5, 1.5)
    assert (found["click_rate"], found["conversion_rate"], found["mean_price"]) == (None, 0.5, 2.5)
    assert (found["top_categories"], found["category_shares"]) == (("Tools", "Bells"), (0.6, 0.2))
    assert (found["top_brands"], found["mean_rating"], found["n_views"]) == ((), None, 0)
    nobody = features_of(new_user(), NOON, 2)
    assert {name: value for name, value in nobody.items() if value not in (None, 0, ())} == {}


def derived(items: list[str], at: int) -> dict[str, Any]:
    """Of several items at one moment, from columns."""
    rows = [ROWS[item] for item in items]
    facts: dict[str, Any] = {
        name: np.array([row[name] for row in rows]) for name in ITEM_INPUTS if not isinstance(rows[0][name], list)
    }
    for name in ("item_days", "item_day_counts"):
        values = [value for row in rows for value in row[name]]
        facts[name] = Lists(np.array([len(row[name]) for row in rows]), np.array(values, dtype=np.int64))
    return derive_item(facts, np.full(len(items), at), (1, 6, 7))
