"""From facts to features at a moment: the one function for users, and the one for items.

Training calls them with a million moments at once, serving with one user, or with all candidates, and the moment of
the request: the arithmetic is the same, bit for bit. "None" is NaN in arrays.

A window of d days at a moment is the UTC day of the moment up to the moment, and the d - 1 whole days before it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from features.counting.columns import Facts, Lists
from features.counting.streams import DAY_US, PRICE_UNITS, RATING_UNITS, Array, running_sum
from features.counting.views import KIND_COUNTS

# Facts that are features as they stand.
PLAIN_USER = ("n_events", *KIND_COUNTS, "n_ratings", "n_active_days")
PLAIN_ITEM = tuple(f"item_{name}" for name in ("n_events", *KIND_COUNTS, "n_ratings"))
# Facts that the derivation reads.
USER_INPUTS = (
    *PLAIN_USER, "rating_sum", "rating_square_sum", "first_event_us", "last_event_us", "n_priced", "price_sum",
    "categories", "category_counts", "brands", "brand_counts",
)  # fmt: skip
ITEM_INPUTS = (
    *PLAIN_ITEM, "item_rating_sum", "item_rating_square_sum", "item_first_event_us", "item_last_event_us", "item_days",
    "item_day_counts", "item_price", "item_created_us",
)  # fmt: skip


def derive_user(facts: Mapping[str, Array | Lists], at_us: Array, n_affinities: int) -> Facts:
    """The features of users at a moment.

    Args:
        facts: Of B users, at least `USER_INPUTS`.
        at_us: The moments, microseconds since 1970. Shape (B,), int64.
        n_affinities: Categories and brands to name.
    Returns:
        Counts as they are (int64), and of shape (B,), float64, NaN without a value:
        mean_rating, rating_std (of the ratings given, not an estimate of more), recency_days since the last event,
        tenure_days since the first, events_per_active_day, click_rate (clicks per impression), conversion_rate
        (purchases per click), mean_price of the items acted on; and lists: top_categories with category_shares of the
        events on items that have one, top_brands with brand_shares.
    """
    n_events = _array(facts, "n_events")
    none_yet = n_events == 0
    found: Facts = {name: facts[name] for name in PLAIN_USER}
    found["mean_rating"], found["rating_std"] = _rating_statistics(facts, "")
    found["recency_days"] = np.where(none_yet, np.nan, (at_us - _array(facts, "last_event_us")) / DAY_US)
    found["tenure_days"] = np.where(none_yet, np.nan, (at_us - _array(facts, "first_event_us")) / DAY_US)
    found["events_per_active_day"] = _ratio(n_events, _array(facts, "n_active_days"))
    found["click_rate"] = _ratio(_array(facts, "n_clicks"), _array(facts, "n_impressions"))
    found["conversion_rate"] = _ratio(_array(facts, "n_purchases"), _array(facts, "n_clicks"))
    found["mean_price"] = _ratio(_array(facts, "price_sum"), _array(facts, "n_priced") * PRICE_UNITS)
    for names, counts, top, shares in (
        ("categories", "category_counts", "top_categories", "category_shares"),
        ("brands", "brand_counts", "top_brands", "brand_shares"),
    ):
        found[top], found[shares] = _shares(_lists(facts, names), _lists(facts, counts), n_affinities)
    return found


def derive_item(
    facts: Mapping[str, Array | Lists], at_us: Array, windows_days: Sequence[int], popularity: Array | None = None
) -> Facts:
    """The features of items at a moment.

    Args:
        facts: Of B items, at least `ITEM_INPUTS`.
        at_us: The moments, microseconds since 1970. Shape (B,), int64.
        windows_days: Windows of popularity, whole days.
        popularity: What `count_windows` gives for the moments' day, if the caller keeps it. Shape (B, n_windows).
    Returns:
        Counts as they are (int64); of shape (B,), float64, NaN without a value: item_mean_rating,
        item_rating_std, item_age_days since it entered the catalogue (where that is unknown, since its first event),
        item_recency_days, item_price, item_click_rate, item_conversion_rate, item_trend (events per day in the
        second longest window over those in the longest: above 1 it is rising; NaN with one window, or without
        events); and item_popularity: events in each window, shortest first, lists of int64.
    """
    n_events = _array(facts, "item_n_events")
    found: Facts = {name: facts[name] for name in PLAIN_ITEM}
    found["item_mean_rating"], found["item_rating_std"] = _rating_statistics(facts, "item_")
    first, created = _array(facts, "item_first_event_us"), _array(facts, "item_created_us")
    since = np.where(created != 0, created, first)  # an old book is from before 1970
    found["item_age_days"] = np.where(since != 0, (at_us - since) / DAY_US, np.nan)
    last = _array(facts, "item_last_event_us")
    found["item_recency_days"] = np.where(n_events > 0, (at_us - last) / DAY_US, np.nan)
    price = _array(facts, "item_price")
    found["item_price"] = np.where(price >= 0, price / PRICE_UNITS, np.nan)
    clicks = _array(facts, "item_n_clicks")
    found["item_click_rate"] = _ratio(clicks, _array(facts, "item_n_impressions"))
    found["item_conversion_rate"] = _ratio(_array(facts, "item_n_purchases"), clicks)
    windows = sorted(windows_days)
    counts = popularity
    if counts is None:
        counts = count_windows(_lists(facts, "item_days"), _lists(facts, "item_day_counts"), at_us // DAY_US, windows)
    found["item_popularity"] = Lists(np.full(len(at_us), len(windows)), counts.reshape(-1))
    found["item_trend"] = trend(counts, windows)
    return found


def count_windows(days: Lists, counts: Lists, today: Array, windows: Sequence[int]) -> Array:
    """Events in each window that ends on `today`, a day since 1970 (shape (B,)). Shape (B, n_windows), int64."""
    # Days ascend within a list, so row and day in one integer ascend throughout, and a window is a difference of sums.
    origin = int(min(days.values.min(initial=0), today.min(initial=0))) - max(windows, default=0)
    span = int(max(days.values.max(initial=0), today.max(initial=0))) - origin + 2
    keys = days.rows * span + (days.values - origin)
    sums, row = running_sum(counts.values), np.arange(len(today)) * span
    until = sums[np.searchsorted(keys, row + today - origin, side="right")]
    since = [sums[np.searchsorted(keys, row + today - window - origin, side="right")] for window in windows]
    return np.stack([until - before for before in since], axis=1) if windows else np.zeros((len(today), 0), np.int64)


def trend(counts: Array, windows: Sequence[int]) -> Array:
    """See `derive_item`; `counts` is of shape (B, n_windows), windows ascending. Shape (B,)."""
    if len(windows) < 2:
        return np.full(len(counts), np.nan)
    return _ratio(counts[:, -2] * windows[-1], counts[:, -1] * windows[-2])


def _rating_statistics(facts: Mapping[str, Array | Lists], prefix: str) -> tuple[Array, Array]:
    n, total = _array(facts, f"{prefix}n_ratings"), _array(facts, f"{prefix}rating_sum")
    mean = _ratio(total, n * RATING_UNITS)
    square = _ratio(_array(facts, f"{prefix}rating_square_sum"), n * RATING_UNITS**2)
    return mean, np.sqrt(np.maximum(square - mean**2, 0.0))


def _shares(names: Lists, counts: Lists, n: int) -> tuple[Lists, Lists]:
    top = counts.first(n)
    return names.first(n), Lists(top.lengths, top.values / np.repeat(counts.sums(), top.lengths))


def _ratio(part: Array, whole: Array) -> Array:
    """NaN where `whole` is 0."""
    return np.divide(part, whole, out=np.full(len(part), np.nan), where=whole != 0)


def _array(facts: Mapping[str, Array | Lists], name: str) -> Array:
    value = facts[name]
    assert isinstance(value, np.ndarray), name
    return value


def _lists(facts: Mapping[str, Array | Lists], name: str) -> Lists:
    value = facts[name]
    assert isinstance(value, Lists), name
    return value
