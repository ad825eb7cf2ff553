"""The Feast repository: entities, sources, views and services, built on demand; and the meaning of each feature.

A view holds facts, which change with events only; features are derived from them at the moment of asking
(`features.counting.derivation`). "Known at a moment" are the events whose clock is at most the moment. Ignored kinds
of events (impressions) count in their own number and in rates, and nowhere else.
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa

from core import schema
from core.settings.features import FeatureStoreSettings
from features.archive.publication import OFFLINE_FOLDER, schema_name
from features.counting.derivation import ITEM_INPUTS, USER_INPUTS
from features.counting.views import ENTITY, FACTS, ITEM_PROFILE, KIND_COUNTS, USER_HISTORY, USER_PROFILE, USER_SEEN
from features.feast.importing import import_feast
from features.feast.store import read_configuration
from features.feast.store_types import POSTGRES_OFFLINE, SOURCE_SUFFIX

USER_EVENTS = "user_events"

# One service per model: exactly what it is trained on, point in time.
SEQUENCE_MODEL = "sequence_model"
PAIR_SCORER = "pair_scorer"
FEEDBACK_WRITER = "feedback_writer"
# What a ranking is evaluated with: the user as serving would know them.
RANKING_QUERIES = "ranking_queries"
# What a request reads of the user, once for all models.
ONLINE_USER = "online_user"
CATALOGUE = "catalogue"

_HISTORY = [schema.HISTORY_ITEMS, schema.HISTORY_VALUES, schema.HISTORY_EVENTS]
_PROFILE = [schema.ATTRIBUTES, schema.OWN_WORDS]
_SEEN = [schema.SEEN_KEYS, "seen_us"]
# Service to view to facts.
SERVICES: dict[str, dict[str, list[str]]] = {
    SEQUENCE_MODEL: {USER_HISTORY: _HISTORY, USER_PROFILE: [schema.ATTRIBUTES]},
    PAIR_SCORER: {USER_HISTORY: [*_HISTORY, *USER_INPUTS], ITEM_PROFILE: [*ITEM_INPUTS]},
    FEEDBACK_WRITER: {USER_HISTORY: _HISTORY, USER_PROFILE: _PROFILE},
    RANKING_QUERIES: {USER_HISTORY: [*_HISTORY, *USER_INPUTS], USER_PROFILE: [schema.ATTRIBUTES], USER_SEEN: _SEEN},
    ONLINE_USER: {USER_HISTORY: [*_HISTORY, *USER_INPUTS], USER_PROFILE: _PROFILE, USER_SEEN: _SEEN},
    CATALOGUE: {ITEM_PROFILE: [*ITEM_INPUTS]},
}

_SHARED = {
    **{name: f"Events of the kind {kind!r}." for kind, name in zip(schema.EVENTS, KIND_COUNTS, strict=True)},
    "n_events": "Events that count.",
    "n_ratings": "Events that count and carry a rating.",
    "rating_sum": "Sum of the ratings, in 1/100,000.",
    "rating_square_sum": "Sum of the squared ratings, in 1/100,000 squared.",
    "first_event_us": "Time of the first event that counts, microseconds since 1970; 0 without one.",
    "last_event_us": "Time of the newest event that counts, microseconds since 1970; 0 without one.",
    "log_sequence": "The highest number in the event log that this row includes; 0 without one.",
}
# Every fact, in words. Features derived from them are described in features.counting.derivation.
MEANINGS: dict[str, str] = {
    **_SHARED,
    **{f"item_{name}": meaning for name, meaning in _SHARED.items()},
    schema.HISTORY_ITEMS: "The max_history items with the user's most recent events, oldest first.",
    schema.HISTORY_VALUES: "The latest rating of each item of the history, NaN without one. Only the max_history most "
    "recently rated items have theirs.",
    schema.HISTORY_EVENTS: "The strongest kind of the user's events on each item of the history, by the order of "
    "schema.EVENTS. Where the history is full, of those events that are no older than its oldest item.",
    "n_active_days": "Number of UTC days with events that count.",
    "n_priced": "Events that count and are on items with a price.",
    "price_sum": "Sum of those prices, in 1/1000 of the currency.",
    "categories": "Categories of the items of the events that count, most frequent first, ties by name.",
    "category_counts": "Number of events per category.",
    "brands": "Brands of the items of the events that count, most frequent first, ties by name.",
    "brand_counts": "Number of events per brand.",
    "active_days": "For merging: the UTC days with events that count, days since 1970.",
    "history_us": "For merging: the timestamp of each history item's latest event.",
    "history_positions": "For merging: its position among the events of its timestamp.",
    "history_ties": "For merging: its place among the events of its position.",
    "rated_items": "For merging: the max_history most recently rated items, oldest first.",
    "rated_values": "For merging: their latest ratings.",
    "rated_us": "For merging: the times of those ratings.",
    "rated_positions": "For merging: their positions.",
    "rated_ties": "For merging: their places among the events of their position.",
    "history_kinds": "For merging: the kind of each history item's latest event.",
    "kind_items": "For merging: the history's items with an earlier event of a stronger kind, each once per such kind, "
    "oldest first.",
    "kind_events": "For merging: those kinds, the weakest of an item first; one before a stronger one is left out.",
    "kind_us": "For merging: the time of the newest event of that kind on that item.",
    "kind_positions": "For merging: its position among the events of its timestamp.",
    "kind_ties": "For merging: its place among the events of its position.",
    schema.ATTRIBUTES: "The user's attributes in the users table, as text.",
    schema.OWN_WORDS: "Words in at least two of the user's own reviews, without stop words, most frequent first.",
    "seen_n_events": "Events of the kinds that make an item seen (recipe.features.seen.events).",
    "seen_last_us": "Time of the newest of them, microseconds since 1970; 0 without one.",
    "seen_log_sequence": "The highest number in the event log that this row includes; 0 without one.",
    schema.SEEN_KEYS: "Every item that the user has seen, without a limit: 64-bit keys of their ids, ascending.",
    "seen_us": "Time of the user's newest such event on each.",
    "item_days": "UTC days with events that count, in the longest window before the newest event, days since 1970.",
    "item_day_counts": "Number of events per day.",
    "item_price": "The item's price, in 1/1000 of the currency; -1 without one.",
    "item_created_us": "When the item entered the catalogue, microseconds since 1970; 0 where that is unknown.",
    "item_category": "The item's category.",
    "item_brand": "The item's brand.",
}
_VIEW_MEANINGS = {
    USER_HISTORY: "The user's events: history, counts, ratings, categories and brands.",
    USER_PROFILE: "The user's attributes, and the words of their reviews.",
    USER_SEEN: "Every item that the user has seen, so that it is not recommended again.",
    ITEM_PROFILE: "Events on the item, and its attributes in the catalogue.",
}


def define_repository(feast_folder: Path, stores: FeatureStoreSettings) -> list[Any]:
    """Everything to apply to Feast.

    Args:
        feast_folder: The folder of the store.
        stores: Where the events lie.
    Returns:
        Entities, feature views and feature services.
    """
    import_feast()
    from feast import Entity, FeatureService, PushSource, ValueType

    users = Entity(
        name="user", join_keys=[schema.USER_ID], value_type=ValueType.STRING, description="A customer of the shop."
    )
    items = Entity(
        name="item", join_keys=[schema.ITEM_ID], value_type=ValueType.STRING, description="An item of the catalogue."
    )
    sources = {view: _source(feast_folder, stores, view) for view in FACTS}
    events = PushSource(
        name=USER_EVENTS,
        batch_source=sources[USER_HISTORY],
        description="Histories that the service updates as events arrive.",
    )
    entity = {schema.USER_ID: users, schema.ITEM_ID: items}
    views = {
        view: _view(view, entity[ENTITY[view]], events if view == USER_HISTORY else source)
        for view, source in sources.items()
    }
    services = [
        FeatureService(name=name, features=[views[view][features] for view, features in parts.items()])
        for name, parts in SERVICES.items()
    ]
    return [users, items, *views.values(), *services]


def repository_of(feast_folder: Path) -> dict[str, Any]:
    """What a refresh applies, by name: members of a module, as which alone the `feast` command finds it.

    Args:
        feast_folder: A store that was made before; its configuration says where the events lie.
    """
    in_postgres = read_configuration(feast_folder)["offline_store"]["type"] == POSTGRES_OFFLINE
    stores = FeatureStoreSettings(offline="postgres" if in_postgres else "duckdb")
    return {one.name: one for one in define_repository(feast_folder, stores)}


def _source(feast_folder: Path, stores: FeatureStoreSettings, view: str) -> Any:
    """Where the events are; which of its parts count is published apart (`features.archive.publication`)."""
    name, description = f"{view}{SOURCE_SUFFIX}", "Events, reviews, users and items, in parts."
    if stores.offline == "postgres":
        from feast.infra.offline_stores.contrib.postgres_offline_store.postgres_source import PostgreSQLSource

        return PostgreSQLSource(
            name=name,
            table=f"{schema_name(feast_folder)}.events",
            timestamp_field=schema.TIMESTAMP,
            description=description,
        )
    from feast import FileSource
    from feast.data_format import ParquetFormat

    return FileSource(
        name=name,
        path=OFFLINE_FOLDER,  # within the store's folder, wherever that is moved
        timestamp_field=schema.TIMESTAMP,
        file_format=ParquetFormat(),
        description=description,
    )


def _view(name: str, entity: Any, source: Any) -> Any:
    from feast import FeatureView, Field
    from feast.types import Array, Float64, Int64, String

    types = {
        pa.string(): String,
        pa.float64(): Float64,
        pa.int64(): Int64,
        pa.list_(pa.string()): Array(String),
        pa.list_(pa.float64()): Array(Float64),
        pa.list_(pa.int64()): Array(Int64),
    }
    return FeatureView(
        name=name,
        entities=[entity],
        ttl=timedelta(0),  # nothing expires: a user who comes back after a year still has their history
        schema=[
            Field(name=ENTITY[name], dtype=String),
            *(Field(name=fact, dtype=types[type_], description=MEANINGS[fact]) for fact, type_ in FACTS[name].items()),
        ],
        source=source,
        online=True,
        description=_VIEW_MEANINGS[name],
    )
