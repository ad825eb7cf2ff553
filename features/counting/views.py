"""The four feature views: which facts they hold, of which type, and which of them only merging needs.

`features.feast.definitions` describes each fact; `features.counting.user_facts` and its neighbours compute them;
`features.counting.derivation` derives from them what a model reads.
"""

from __future__ import annotations

import pyarrow as pa

from core import schema

# Of a label, where it is asked as of another moment for items than for users.
ITEM_TIMESTAMP = "item_timestamp"
EVENT_TIMESTAMP = "event_timestamp"
USER_HISTORY = "user_history"
USER_PROFILE = "user_profile"
USER_SEEN = "user_seen"
ITEM_PROFILE = "item_profile"

# One count per kind of event, in the order of schema.EVENTS.
KIND_COUNTS = tuple(f"n_{'rating_event' if kind == 'rating' else kind}s" for kind in schema.EVENTS)

# The version of what the views hold: a change of meaning must change it, so that nothing old is taken for new.
VERSION = 6

# The newest number in the event log that a row has taken in; 0 where none came through the log.
SEQUENCE = {
    USER_HISTORY: "log_sequence", USER_SEEN: "seen_log_sequence", ITEM_PROFILE: "item_log_sequence",
}  # fmt: skip
# When the row's newest event happened.
NEWEST = {USER_HISTORY: "last_event_us", USER_SEEN: "seen_last_us", ITEM_PROFILE: "item_last_event_us"}
# How many events the row was made of: the sum of these.
COUNTS = {
    USER_HISTORY: KIND_COUNTS, USER_SEEN: ("seen_n_events",),
    ITEM_PROFILE: tuple(f"item_{name}" for name in KIND_COUNTS),
}  # fmt: skip

_INTEGER, _FLOAT, _TEXT = pa.int64(), pa.float64(), pa.string()
_INTEGERS, _FLOATS, _TEXTS = pa.list_(_INTEGER), pa.list_(_FLOAT), pa.list_(_TEXT)
_COUNTED = ("n_ratings", "rating_sum", "rating_square_sum", "first_event_us", "last_event_us")

# View to fact to type. The order is that of stored rows: a change of it is a new VERSION.
FACTS: dict[str, dict[str, pa.DataType]] = {
    USER_HISTORY: {
        schema.HISTORY_ITEMS: _TEXTS,
        schema.HISTORY_VALUES: _FLOATS,
        schema.HISTORY_EVENTS: _TEXTS,
        "n_events": _INTEGER,
        **dict.fromkeys((*KIND_COUNTS, *_COUNTED), _INTEGER),
        "n_active_days": _INTEGER,
        "n_priced": _INTEGER,
        "price_sum": _INTEGER,
        "categories": _TEXTS,
        "category_counts": _INTEGERS,
        "brands": _TEXTS,
        "brand_counts": _INTEGERS,
        "log_sequence": _INTEGER,
        "active_days": _INTEGERS,
        "history_us": _INTEGERS,
        "history_positions": _INTEGERS,
        "history_ties": _INTEGERS,
        "rated_items": _TEXTS,
        "rated_values": _FLOATS,
        "rated_us": _INTEGERS,
        "rated_positions": _INTEGERS,
        "rated_ties": _INTEGERS,
        "history_kinds": _TEXTS,
        "kind_items": _TEXTS,
        "kind_events": _TEXTS,
        "kind_us": _INTEGERS,
        "kind_positions": _INTEGERS,
        "kind_ties": _INTEGERS,
    },
    USER_PROFILE: {schema.ATTRIBUTES: _TEXT, schema.OWN_WORDS: _TEXT},
    USER_SEEN: {
        "seen_n_events": _INTEGER,
        "seen_last_us": _INTEGER,
        "seen_log_sequence": _INTEGER,
        schema.SEEN_KEYS: _INTEGERS,
        "seen_us": _INTEGERS,
    },
    ITEM_PROFILE: {
        "item_n_events": _INTEGER,
        **{f"item_{name}": _INTEGER for name in (*KIND_COUNTS, *_COUNTED)},
        "item_days": _INTEGERS,
        "item_day_counts": _INTEGERS,
        "item_price": _INTEGER,
        "item_created_us": _INTEGER,
        "item_category": _TEXT,
        "item_brand": _TEXT,
        "item_log_sequence": _INTEGER,
    },
}
VIEWS = tuple(FACTS)

# What only merging an arrival needs, kept apart in the online store so that no request reads it.
SKETCHES: dict[str, tuple[str, ...]] = {
    USER_HISTORY: (
        "active_days", "history_us", "history_positions", "history_ties", "rated_items", "rated_values", "rated_us",
        "rated_positions", "rated_ties", "history_kinds", "kind_items", "kind_events", "kind_us", "kind_positions",
        "kind_ties",
    ),
    USER_PROFILE: (),
    USER_SEEN: (),
    ITEM_PROFILE: (),
}  # fmt: skip
# Views of whole numbers, then lists of whole numbers of one length: stored as one block of bytes
# (features.counting.packing), because some rows have thousands of entries.
PACKED: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    USER_SEEN: (("seen_n_events", "seen_last_us", "seen_log_sequence"), (schema.SEEN_KEYS, "seen_us")),
}
SERVED: dict[str, tuple[str, ...]] = {
    view: tuple(name for name in facts if name not in SKETCHES[view]) for view, facts in FACTS.items()
}
ENTITY = {
    USER_HISTORY: schema.USER_ID, USER_PROFILE: schema.USER_ID, USER_SEEN: schema.USER_ID, ITEM_PROFILE: schema.ITEM_ID,
}  # fmt: skip
