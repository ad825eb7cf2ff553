"""Bringing the feature store up to date, by as much work as there is news.

A refresh finds the rows that the clean tables have and the archive has not, adds them to the archive as a part, and
counts anew the facts of the users and items that they touch. Where rows are gone, or the settings changed, everything
is built anew. Rows go online through the online store's own bulk writing, because Feast's `materialize` makes a
protobuf of every value first; Feast's registry is told of it all the same.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict

from core import schema
from core.schema import TABLE_NAMES
from core.settings.features import FeatureSettings, FeatureStoreSettings
from core.storage import digest_of, file_digest
from features.archive.events import TABLES, Archive
from features.archive.news import News, find_news, newest_logged
from features.archive.publication import Published, open_archive, publish, read_published
from features.archive.shop_facts import ShopFacts
from features.clean_tables import check_clean_tables, table_path
from features.counting.moments import EPOCH
from features.counting.views import ENTITY, FACTS, ITEM_PROFILE, USER_HISTORY, USER_PROFILE, USER_SEEN, VERSION, VIEWS
from features.errors import FeastFailure, FeatureError, FeaturesOutdated
from features.feast.rows import rows_of
from features.feast.store import create_store, exclusively, missing_files, open_store, renew_configuration

LOCK_FILE = "refresh.lock"
# A reader opens every part: when there are so many, they become one.
MAX_PARTS = 16

_ALL_TIME = 1 << 62
_ROWS_AT_A_TIME = 5000


class FeatureSummary(BaseModel):
    """What a refresh made.

    Attributes:
        folder: Where the offline features lie, or what belongs to them.
        rows: Rows per table of the offline store: events, reviews, users, items.
        materialised_to: The time of the newest event online, ISO 8601 in UTC; None where there are no events at all.
        new_events: Events that the store did not have before.
        rebuilt: Whether everything was built anew.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    folder: Path
    rows: dict[str, int]
    materialised_to: str | None
    new_events: int = 0
    rebuilt: bool = False


def refresh_features(
    clean: Path,
    feast_folder: Path,
    settings: FeatureSettings,
    stores: FeatureStoreSettings | None = None,
    event_log: Path | None = None,
) -> FeatureSummary:
    """Compute the features of the clean tables and put them into the offline and the online store.

    May be killed at any point and run again; run again with nothing changed, it does nothing. Rows that the service
    pushed meanwhile stay where they know more. Two refreshes of one store wait for each other.

    Args:
        clean: The folder of the clean tables.
        feast_folder: The folder of the feature store; made if it does not exist.
        settings: What is computed, of which events.
        stores: Where Feast keeps what it knows; files alone by default.
        event_log: The service's event log, if the clean tables hold its events: tells which pushed rows these know all
            of, and keeps an event from counting twice that is pushed after it came in through the clean tables.
    Raises:
        CleanTablesError: a table is missing or of another shape.
        FeatureError: a ${NAME} of the settings is not in the environment.
        FeastFailure: Feast or a server could not do its part.
    """
    stores = stores or FeatureStoreSettings()
    key = key_of(clean, settings, stores)
    with exclusively(feast_folder / LOCK_FILE):
        renew_configuration(feast_folder)
        previous = read_published(feast_folder)
        is_same = (
            previous is not None
            and (previous.version, previous.settings, previous.stores) == (VERSION, settings, stores)
            and not missing_files(feast_folder)
        )
        try:
            if previous is not None and is_same:
                if previous.key == key:
                    return _summary(feast_folder, previous, News({}, False))
                archive = open_archive(feast_folder, stores, previous.generation)
                news = find_news(clean, archive, previous.n_parts)
                if not news.vanished:
                    sequence = newest_logged(clean, event_log, previous.log_sequence)
                    return _add(feast_folder, previous, archive, news, key, sequence)
            generation = 1 if previous is None else previous.generation + 1
            sequence = newest_logged(clean, event_log, 0)
            return _rebuild(feast_folder, clean, key, settings, stores, generation, sequence)
        except FeatureError:
            raise
        except Exception as error:
            raise FeastFailure(
                "Cannot refresh the feature store",
                got=f"folder={feast_folder}",
                expected=f"Feast and its servers to take the features, but {type(error).__name__}: {error}",
                do="Run the refresh again; if it fails in the same way, move the feast folder away, it is made anew",
            ) from error


def key_of(clean: Path, settings: FeatureSettings, stores: FeatureStoreSettings) -> str:
    """Names the content of these clean tables under these settings.

    Raises:
        CleanTablesError: a table is missing or of another shape.
    """
    check_clean_tables(clean)
    tables = {table: file_digest(table_path(clean, table)) for table in TABLE_NAMES}
    return digest_of(VERSION, tables, settings.model_dump(mode="json"), stores.model_dump(mode="json"))


def require_fresh(clean: Path, feast_folder: Path, settings: FeatureSettings) -> Published:
    """See that the store holds the features of these very tables and settings.

    Raises:
        CleanTablesError: a table is missing or of another shape.
        FeaturesOutdated: the store holds the features of other tables or settings.
    """
    published = read_published(feast_folder)
    wanted = key_of(clean, settings, FeatureStoreSettings() if published is None else published.stores)
    if published is None or published.key != wanted:
        raise FeaturesOutdated(
            "Cannot use the feature store",
            got=f"published={None if published is None else published.key}",
            expected=f"{wanted}, the key of these clean tables and settings",
            where=str(feast_folder),
            do="Refresh the features with the same clean folder and settings first",
        )
    return published


def _rebuild(
    feast_folder: Path,
    clean: Path,
    key: str,
    settings: FeatureSettings,
    stores: FeatureStoreSettings,
    generation: int,
    sequence: int,
) -> FeatureSummary:
    """Everything anew: the archive, Feast's definitions, all rows online; what is gone goes."""
    from features.feast.definitions import define_repository

    store = create_store(feast_folder, stores)
    store.apply(define_repository(feast_folder, stores))
    archive, news = open_archive(feast_folder, stores, generation), find_news(clean, None)
    for table, rows in news.rows.items():
        archive.write(table, 0, rows)
    facts = ShopFacts.read(archive, 1, settings, sequence)
    for view in VIEWS:
        entities = facts.entities(view)
        write_online(store, facts, view, entities)
        online_store_of(store).forget_others(store.config, view, entities.to_pylist(), sequence)
    published = Published(
        version=VERSION,
        key=key,
        settings=settings,
        stores=stores,
        generation=generation,
        n_parts=1,
        log_sequence=sequence,
        materialised_to=_newest(news, None),
    )
    _note(store, published)
    publish(feast_folder, published)
    archive.remove_others()
    return _summary(feast_folder, published, news, rebuilt=True)


def _add(
    feast_folder: Path, published: Published, archive: Archive, news: News, key: str, sequence: int
) -> FeatureSummary:
    """The news alone: a part of the archive, and the rows online of whom it touches."""
    part = published.n_parts
    n_parts = part + (1 if any(len(rows) for rows in news.rows.values()) else 0)
    for table, rows in news.rows.items():
        if len(rows):
            archive.write(table, part, rows)
    store = open_store(feast_folder)
    events, changed = news.rows["events"], news.rows["items"].column(schema.ITEM_ID)
    users, items = events.column(schema.USER_ID), _unique(events.column(schema.ITEM_ID), changed)
    # What changed of an item (its price, its category) is part of what is known of those who acted on it.
    old = archive.read("events", part, [schema.USER_ID], item_id=_unique(changed))
    touched = {
        USER_HISTORY: _unique(users, old.column(schema.USER_ID)), USER_SEEN: _unique(users), ITEM_PROFILE: items,
    }  # fmt: skip
    for view in touched:
        own = archive.read("events", n_parts, **{ENTITY[view]: touched[view]})
        reviews = TABLES["reviews"].empty_table()
        facts = ShopFacts.of(own, archive, n_parts, published.settings, sequence, reviews)
        write_online(store, facts, view, touched[view])
    writers = _unique(news.rows["users"].column(schema.USER_ID), news.rows["reviews"].column(schema.USER_ID))
    reviews = archive.read("reviews", n_parts, user_id=writers)
    no_events = TABLES["events"].empty_table()
    facts = ShopFacts.of(no_events, archive, n_parts, published.settings, sequence, reviews)
    write_online(store, facts, USER_PROFILE, writers)
    newest = _newest(news, published.materialised_to)
    found = published.model_copy(
        update={"key": key, "n_parts": n_parts, "log_sequence": sequence, "materialised_to": newest}
    )
    _note(store, found)
    publish(feast_folder, found)
    return _summary(feast_folder, _compact(feast_folder, found), news)


def _compact(feast_folder: Path, published: Published) -> Published:
    """Many parts become the first one of a new generation."""
    if published.n_parts < MAX_PARTS:
        return published
    old = open_archive(feast_folder, published.stores, published.generation)
    new = open_archive(feast_folder, published.stores, published.generation + 1)
    for table in TABLES:
        rows = old.read(table, published.n_parts)
        new.write(table, 0, rows.sort_by([(TABLES[table].names[0], "ascending")]))
    compacted = published.model_copy(update={"generation": published.generation + 1, "n_parts": 1})
    publish(feast_folder, compacted)
    new.remove_others()
    return compacted


def online_store_of(store: Any) -> Any:
    """The online store behind Feast's."""
    return store._get_provider().online_store


def write_online(store: Any, facts: ShopFacts, view: str, entities: pa.Array) -> None:
    """Bring the newest row of each entity online, where it supersedes the stored one.

    Args:
        store: Feast's.
        facts: Of these entities at least.
        view: One of the four.
        entities: Users or items.
    """
    for start in range(0, len(entities), _ROWS_AT_A_TIME):
        page = entities.slice(start, _ROWS_AT_A_TIME)
        columns = facts.as_of(view, page, np.full(len(page), _ALL_TIME), list(FACTS[view]))
        online_store_of(store).write_rows(store.config, view, rows_of(view, page.to_pylist(), columns))


def _note(store: Any, published: Published) -> None:
    """Tell Feast's registry up to when the views are materialised."""
    if published.materialised_to is None:
        return
    end = datetime.fromisoformat(published.materialised_to)
    for view in VIEWS:
        found = store.get_feature_view(view)
        start = found.most_recent_end_time or EPOCH
        if end > start:
            store.registry.apply_materialization(found, store.project, start, end)


def _newest(news: News, before: str | None) -> str | None:
    """The time of the newest event, ISO 8601."""
    newest = pc.max(news.rows["events"].column(schema.TIMESTAMP)).as_py()
    if newest is None:
        return before
    text = newest.astimezone(UTC).isoformat()
    return text if before is None else max(before, text, key=datetime.fromisoformat)


def _unique(*columns: pa.ChunkedArray) -> pa.Array:
    return pa.chunked_array([chunk for column in columns for chunk in column.chunks], pa.string()).unique()


def _summary(feast_folder: Path, published: Published, news: News, rebuilt: bool = False) -> FeatureSummary:
    archive = open_archive(feast_folder, published.stores, published.generation)
    return FeatureSummary(
        folder=feast_folder.absolute(),
        rows={table: archive.count(table, published.n_parts) for table in TABLES},
        materialised_to=published.materialised_to,
        new_events=len(news.rows.get("events", ())),
        rebuilt=rebuilt,
    )
