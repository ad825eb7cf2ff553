"""The contract: the names and types of the four tables and of the training set, one constant each.

Times are UTC. The *clock* of an event is its timestamp in microseconds plus its rank among the user's events of the
same instant, so it is strictly increasing per user and "before" always has one meaning.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import pyarrow as pa

USER_ID = "user_id"
ITEM_ID = "item_id"
EVENT_ID = "event_id"
EVENT = "event"
VALUE = "value"
TIMESTAMP = "timestamp"
POSITION = "position"
SIGNUP_AT = "signup_at"
TITLE = "title"
DESCRIPTION = "description"
CATEGORY = "category"
CATEGORY_SEPARATOR = " > "
BRAND = "brand"
PRICE = "price"
CREATED_AT = "created_at"
RATING = "rating"
TEXT = "text"
CLOCK = "clock"
SPLIT = "split"

TableName = Literal["users", "items", "interactions", "feedback"]
TABLE_NAMES: tuple[TableName, ...] = ("users", "items", "interactions", "feedback")
# The weakest sign of interest first: of several events on one item the last of these counts as what the user did.
EVENTS: tuple[str, ...] = ("impression", "view", "click", "cart", "purchase", "rating")
RATING_RANGE = (1.0, 5.0)
# Of a user, an item or an event, in the data gate and in the service: the length of a long URL.
MAX_ID_CHARS = 2048
TIME = pa.timestamp("us", tz="UTC")


def rating_slope(lowest: float, highest: float) -> float:
    """What a step of a shop's scale of ratings is worth on the contract's: 1 + (rating - lowest) x slope."""
    one, five = RATING_RANGE
    return (five - one) / (highest - lowest)


@dataclass(frozen=True)
class Column:
    """One column of the contract; `required` means that it is never null in a clean table."""

    name: str
    type: pa.DataType
    required: bool
    meaning: str


@dataclass(frozen=True)
class Table:
    """One table of the contract. `open` tables may carry further columns: attributes, as strings."""

    name: TableName
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    open: bool = False

    def arrow(self) -> pa.Schema:
        """The Arrow schema of the contract's own columns, in order."""
        return pa.schema([pa.field(c.name, c.type, nullable=not c.required) for c in self.columns])


TABLES: dict[TableName, Table] = {
    "users": Table(
        "users",
        (
            Column(USER_ID, pa.string(), True, "The shop's own id of the user."),
            Column(SIGNUP_AT, TIME, False, "When the user joined."),
        ),
        key=(USER_ID,),
        open=True,
    ),
    "items": Table(
        "items",
        (
            Column(ITEM_ID, pa.string(), True, "The shop's own id of the item."),
            Column(TITLE, pa.string(), False, "What the shop calls it."),
            Column(DESCRIPTION, pa.string(), False, "The catalogue text."),
            Column(CATEGORY, pa.string(), False, f"Category path, parts joined by '{CATEGORY_SEPARATOR}'."),
            Column(BRAND, pa.string(), False, "Maker or label."),
            Column(PRICE, pa.float64(), False, "In the shop's currency, not negative."),
            Column(CREATED_AT, TIME, False, "When the item entered the catalogue."),
        ),
        key=(ITEM_ID,),
        open=True,
    ),
    "interactions": Table(
        "interactions",
        (
            Column(EVENT_ID, pa.string(), True, "Unique per event."),
            Column(USER_ID, pa.string(), True, "Who."),
            Column(ITEM_ID, pa.string(), True, "What."),
            Column(EVENT, pa.string(), True, f"What happened: {', '.join(EVENTS[:-1])} or {EVENTS[-1]}."),
            Column(VALUE, pa.float64(), False, "The rating, 1 to 5, where the event is one; else null."),
            Column(TIMESTAMP, TIME, True, "When."),
            Column(POSITION, pa.int64(), False, "Orders events that share a timestamp."),
        ),
        key=(EVENT_ID,),
    ),
    "feedback": Table(
        "feedback",
        (
            Column(USER_ID, pa.string(), True, "Who wrote it."),
            Column(ITEM_ID, pa.string(), True, "About what."),
            Column(RATING, pa.float64(), False, "1 to 5."),
            Column(TEXT, pa.string(), True, "The review."),
            Column(TIMESTAMP, TIME, True, "When it was written."),
        ),
        key=(USER_ID, ITEM_ID, TIMESTAMP),
    ),
}

# The training set: what `features` writes and `recommender` learns from.
# An entry of a history is one item at the user's latest event on it, oldest first.
HISTORY_ITEMS = "history_items"
HISTORY_VALUES = "history_values"
HISTORY_EVENTS = "history_events"
# How many leading entries of a training sequence are read and never predicted; null is none.
N_CONTEXT = "n_context"
# When each item of a sequence that is no context was touched, microseconds since 1970, ascending.
TARGET_TIMES = "target_times"
# What does not come back to a user, at any length: keys of items, ascending (recommender.inputs.seen).
SEEN_KEYS = "seen_keys"
N_EVENTS = "n_events"
MEAN_RATING = "mean_rating"
N_RATINGS = "n_ratings"
OWN_WORDS = "own_words"
ATTRIBUTES = "attributes"
ITEM_TEXT = "item_text"
# The shop's own attributes of an item: the further columns of the items table, by name.
ITEM_ATTRIBUTES = "item_attributes"
ITEM_MEAN_RATING = "item_mean_rating"
ITEM_N_RATINGS = "item_n_ratings"
ITEM_N_EVENTS = "item_n_events"
TARGETS = "targets"
# How many leading targets of a validation query were touched before the window's later half; null where it has none.
N_EARLY_TARGETS = "n_early_targets"

Split = Literal["train", "validation", "test"]
# What queries are asked in: the window of a split, or the later half of the validation window.
Window = Split | Literal["validation_late"]
_HISTORY = [
    pa.field(HISTORY_ITEMS, pa.list_(pa.string())),
    pa.field(HISTORY_VALUES, pa.list_(pa.float64())),
    pa.field(HISTORY_EVENTS, pa.list_(pa.string())),  # null where kinds are not known
]

_COUNT, _SHARE, _NAMES, _SHARES = pa.int64(), pa.float64(), pa.list_(pa.string()), pa.list_(pa.float64())
# Features of a user and of an item at a moment, as the feature store derives them; None where nothing was counted.
USER_FEATURES: dict[str, pa.DataType] = {
    N_EVENTS: _COUNT,
    **dict.fromkeys(
        ("n_impressions", "n_views", "n_clicks", "n_carts", "n_purchases", "n_rating_events", N_RATINGS), _COUNT
    ),
    "n_active_days": _COUNT,
    MEAN_RATING: _SHARE,
    "rating_std": _SHARE,
    "recency_days": _SHARE,
    "tenure_days": _SHARE,
    "events_per_active_day": _SHARE,
    "click_rate": _SHARE,
    "conversion_rate": _SHARE,
    "mean_price": _SHARE,
    "top_categories": _NAMES,
    "category_shares": _SHARES,
    "top_brands": _NAMES,
    "brand_shares": _SHARES,
}
ITEM_FEATURES: dict[str, pa.DataType] = {
    ITEM_N_EVENTS: _COUNT,
    **dict.fromkeys(
        (
            "item_n_impressions", "item_n_views", "item_n_clicks", "item_n_carts", "item_n_purchases",
            "item_n_rating_events", ITEM_N_RATINGS,
        ),
        _COUNT,
    ),
    ITEM_MEAN_RATING: _SHARE,
    "item_rating_std": _SHARE,
    "item_age_days": _SHARE,
    "item_recency_days": _SHARE,
    "item_price": _SHARE,
    "item_click_rate": _SHARE,
    "item_conversion_rate": _SHARE,
    "item_popularity": pa.list_(pa.int64()),  # one count per window of the settings, shortest first
    "item_trend": _SHARE,
}  # fmt: skip


def _fields(features: dict[str, pa.DataType], *required: str) -> list[pa.Field]:
    """The counts that models read of a table are never null."""
    return [pa.field(name, type_, nullable=name not in required) for name, type_ in features.items()]


TRAINING_TABLES: dict[str, pa.Schema] = {
    # The catalogue as it stood at the cut-off: item_text is what the encoder reads; counts are of training events.
    "catalogue": pa.schema(
        [
            pa.field(ITEM_ID, pa.string(), nullable=False),
            pa.field(TITLE, pa.string()),
            pa.field(CATEGORY, pa.string()),
            pa.field(BRAND, pa.string()),
            pa.field(PRICE, pa.float64()),
            pa.field(ITEM_TEXT, pa.string(), nullable=False),
            pa.field(ITEM_ATTRIBUTES, pa.map_(pa.string(), pa.string())),
            *_fields(ITEM_FEATURES, ITEM_N_EVENTS, ITEM_N_RATINGS),
        ]
    ),
    # Training sequences of at most max_history entries: n_context entries of a history as it stood just before the
    # next one, then items that the user touched for the first time, in that order. Every first touch before the
    # cut-off is such an item of one sequence.
    "sequences": pa.schema(
        [
            pa.field(USER_ID, pa.string(), nullable=False),
            *_HISTORY,
            pa.field(N_CONTEXT, pa.int64()),
            pa.field(TARGET_TIMES, pa.list_(pa.int64())),
            pa.field(ATTRIBUTES, pa.string()),
        ]
    ),
    # Every item as it stood when each window of queries opens.
    "items_then": pa.schema(
        [
            pa.field(SPLIT, pa.string(), nullable=False),
            pa.field(ITEM_ID, pa.string(), nullable=False),
            *_fields(ITEM_FEATURES),
        ]
    ),
    # One row per window and user who took something in it that they had not seen: the history, what was seen and the
    # user's features when it opens, and what they took, in the order of the first touch. Without seen_keys the history
    # is all that was seen.
    "queries": pa.schema(
        [
            pa.field(USER_ID, pa.string(), nullable=False),
            pa.field(SPLIT, pa.string(), nullable=False),
            *_HISTORY,
            pa.field(SEEN_KEYS, pa.list_(pa.int64())),
            pa.field(ATTRIBUTES, pa.string()),
            *_fields(USER_FEATURES),
            pa.field(TARGETS, pa.list_(pa.string()), nullable=False),
            pa.field(N_EARLY_TARGETS, pa.int64()),
        ]
    ),
    # One row per rating, with every feature as it stood just before the rating. item_text stands where the item's text
    # in the catalogue quotes this user, and is the text without their words; else it is null.
    "pairs": pa.schema(
        [
            pa.field(USER_ID, pa.string(), nullable=False),
            pa.field(ITEM_ID, pa.string(), nullable=False),
            pa.field(RATING, pa.float64(), nullable=False),
            pa.field(SPLIT, pa.string(), nullable=False),
            pa.field(ITEM_TEXT, pa.string()),
            *_HISTORY,
            *_fields(USER_FEATURES, N_RATINGS),
            *_fields(ITEM_FEATURES, ITEM_N_RATINGS),
        ]
    ),
    # One row per review, with the writer's profile as it stood just before the review; item_text as for ratings.
    "reviews": pa.schema(
        [
            pa.field(USER_ID, pa.string(), nullable=False),
            pa.field(ITEM_ID, pa.string(), nullable=False),
            pa.field(RATING, pa.float64()),
            pa.field(TEXT, pa.string(), nullable=False),
            pa.field(SPLIT, pa.string(), nullable=False),
            pa.field(ITEM_TEXT, pa.string()),
            *_HISTORY,
            pa.field(OWN_WORDS, pa.string()),
            pa.field(ATTRIBUTES, pa.string()),
        ]
    ),
}
