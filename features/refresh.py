"""Bringing the feature store up to date, by as much work as there is news.

A refresh finds the rows that the clean tables have and the archive has not, adds them to the archive as a part, and
recomputes the facts of the users and items that they concern, and of those that the service's event log touched up to
its mark: what was pushed and then refused by the data gate leaves the online store again. If rows are gone, the
settings changed, the event log is another one, or the archive is damaged, everything is rebuilt. Rows go online through
the online store's own bulk writing, because Feast's `materialize` makes a protobuf of every value first; Feast's
registry records the materialisation all the same.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict

from core import schema
from core.logs.events import EventLog
from core.schema import TABLE_NAMES
from core.settings.features import FeatureSettings, FeatureStoreSettings
from core.storage import digest_of, exclusively, file_digest
from features.archive.events import TABLES, Archive
from features.archive.news import News, find_news, newest_logged, touched_by
from features.archive.publication import (
    ERASED,
    Published,
    note_finished,
    note_unfinished,
    open_archive,
    open_published,
    publish,
    read_published,
    read_unfinished,
)
from features.archive.shop_facts import ShopFacts
from features.clean_tables import check_clean_tables, table_path
from features.counting.moments import EPOCH
from features.counting.views import ENTITY, FACTS, ITEM_PROFILE, USER_HISTORY, USER_PROFILE, USER_SEEN, VERSION, VIEWS
from features.errors import ArchiveDamaged, FeastFailure, FeatureError, FeaturesOutdated, StoreEmptied
from features.feast.rows import rows_of
from features.feast.store import create_store, missing_files, open_store, renew_configuration
from features.written_stores import leave_former, note_written

logger = logging.getLogger(__name__)

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
        rebuilt: Whether everything was rebuilt.
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

    May be killed at any point and run again; with nothing changed it does nothing. Rows that the service pushed
    meanwhile stay if they know more. Two refreshes of one store wait for each other.

    Args:
        clean: The folder of the clean tables.
        feast_folder: The folder of the feature store; made if it does not exist.
        settings: What is computed, of which events.
        stores: Where Feast keeps what it knows; files alone by default.
        event_log: The service's event log, if the clean tables know it: shows which pushed events these hold or
            refused, so that no event counts twice that is pushed after it came in through the clean tables.
    Raises:
        CleanTablesError: a table is missing or of another shape.
        FeatureError: a ${NAME} of the settings is not in the environment.
        FeastFailure: Feast or a server could not do its part.
    """
    stores = stores or FeatureStoreSettings()
    born = EventLog(event_log).born() if event_log is not None else 0
    refresh = _Refresh(clean, feast_folder, settings, stores, event_log, key_of(clean, settings, stores), born)
    with exclusively(feast_folder / LOCK_FILE):
        renew_configuration(feast_folder)
        try:
            summary = refresh.run()
            leave_former(feast_folder)
            return summary
        except FeatureError:
            raise
        except Exception as error:
            raise FeastFailure(
                "Cannot refresh the feature store",
                got=f"folder={feast_folder}",
                expected=f"Feast and its servers to take the features, but {type(error).__name__}: {error}",
                do="Run the refresh again; if it fails the same way, move the feast folder away and run it again",
            ) from error


def key_of(clean: Path, settings: FeatureSettings, stores: FeatureStoreSettings) -> str:
    """Names the content of these clean tables under these settings.

    Raises:
        CleanTablesError: a table is missing or of another shape.
    """
    check_clean_tables(clean)
    tables = {table: file_digest(table_path(clean, table)) for table in TABLE_NAMES}
    return digest_of(VERSION, tables, settings.model_dump(mode="json"), stores.model_dump(mode="json"))


def require_same_settings(published: Published, feast_folder: Path, settings: FeatureSettings) -> None:
    """See that what is published was computed as these settings say, of whichever tables.

    Raises:
        FeaturesOutdated: it was computed by other settings, or by another version.
    """
    made = {"version": published.version, **published.settings.model_dump(mode="json")}
    wanted = {"version": VERSION, **settings.model_dump(mode="json")}
    differing = [name for name in wanted if made[name] != wanted[name]]
    if differing:
        raise FeaturesOutdated(
            "Cannot use the feature store",
            got=", ".join(f"{name}={made[name]}" for name in differing),
            expected=", ".join(f"{name}={wanted[name]}" for name in differing),
            where=str(feast_folder),
            do="Refresh the features with the same settings first",
        )


@dataclass(frozen=True)
class _Refresh:
    """What a refresh reads, and the store that it brings up to date; see `refresh_features`."""

    clean: Path
    feast_folder: Path
    settings: FeatureSettings
    stores: FeatureStoreSettings
    event_log: Path | None
    key: str
    log_born: int

    def run(self) -> FeatureSummary:
        """Do nothing, add what is new, or rebuild everything."""
        previous = read_published(self.feast_folder)
        if previous is not None and self._continues(previous):
            try:
                found = self._continue(previous)
            except (ArchiveDamaged, StoreEmptied) as error:
                logger.warning("The features are rebuilt: %s", error)
            else:
                if found is not None:
                    return found
        return self._rebuild(previous)

    def _continue(self, previous: Published) -> FeatureSummary | None:
        """Do nothing, or add what is new; None where rows are gone, or the event log with what only it held."""
        if previous.log_born and self.log_born not in (0, previous.log_born):
            return None
        sequence = newest_logged(self.clean, self.event_log, previous.log_sequence)
        if previous.key == self.key and previous.log_sequence == sequence:
            return _summary(self.feast_folder, previous, News({}, False))
        archive = open_published(self.feast_folder, previous)
        news = find_news(self.clean, archive, previous.n_parts)
        return None if news.vanished else self._add(previous, archive, news, sequence)

    def _log_born(self, previous: Published | None) -> int:
        """Of the log there is, or of the last one there was."""
        return self.log_born or (0 if previous is None else previous.log_born)

    def _continues(self, previous: Published) -> bool:
        """Whether what is published was made as this refresh would make it, and is whole."""
        made = (previous.version, previous.settings, previous.stores)
        # What a killed refresh of other tables or settings brought online is not known here.
        strange = read_unfinished(self.feast_folder) not in (None, previous.key, self.key)
        is_ours = made == (VERSION, self.settings, self.stores) and not strange and not missing_files(self.feast_folder)
        return is_ours and self._is_filled(previous)

    def _is_filled(self, previous: Published) -> bool:
        """Whether the online store still has what is published; where it notes no filling it is taken for whole."""
        if not previous.filling:
            return True
        store = open_store(self.feast_folder)
        if online_store_of(store).read_filling(store.config) == previous.filling:
            return True
        logger.warning("The features are rebuilt: the online store was emptied since they were published")
        return False

    def _rebuild(self, previous: Published | None) -> FeatureSummary:
        """Rebuild everything: the archive, Feast's definitions, all rows online. Rows of what is gone are removed."""
        from features.feast.definitions import define_repository

        sequence = newest_logged(self.clean, self.event_log, 0)
        note_written(self.feast_folder, self.stores)
        if read_unfinished(self.feast_folder) != ERASED:  # that stays noted until everything is counted anew
            note_unfinished(self.feast_folder, self.key)
        store = create_store(self.feast_folder, self.stores)
        store.apply(define_repository(self.feast_folder, self.stores))
        generation = _next_generation(self.feast_folder, self.stores, 0 if previous is None else previous.generation)
        archive, news = open_archive(self.feast_folder, self.stores, generation), find_news(self.clean, None)
        for table, rows in news.rows.items():
            archive.write(table, 0, rows)
        facts = ShopFacts.read(archive, 1, self.settings, sequence)
        begun = _begin_filling(store)
        entities = {view: facts.entities(view) for view in VIEWS}
        for view, known in entities.items():
            write_online(store, facts, view, known)
        online = online_store_of(store)
        online.settle(store.config, sequence)
        for view, known in entities.items():
            online.forget_others(store.config, view, known.to_pylist(), sequence)
        online.settle(store.config, sequence)
        filling = _note_filling(store, begun, 0 if previous is None else previous.filling)
        published = Published(
            version=VERSION,
            key=self.key,
            settings=self.settings,
            stores=self.stores,
            generation=generation,
            n_parts=1,
            parts=archive.manifest.all(),
            log_sequence=sequence,
            log_born=self._log_born(previous),
            filling=filling,
            materialised_to=_newest(news, None),
        )
        _note_materialisation(store, published)
        publish(self.feast_folder, published)
        note_finished(self.feast_folder)
        archive.remove_others()
        return _summary(self.feast_folder, published, news, rebuilt=True)

    def _add(self, published: Published, archive: Archive, news: News, sequence: int) -> FeatureSummary:
        """What is new alone: a part of the archive, and the online rows of the users and items that it concerns, or
        that the event log touched up to `sequence`.

        Raises:
            StoreEmptied: what was online before is not any more.
        """
        part = published.n_parts
        n_parts = part + (1 if any(len(rows) for rows in news.rows.values()) else 0)
        for table, rows in news.rows.items():
            if len(rows):
                archive.write(table, part, rows)
        note_unfinished(self.feast_folder, self.key)
        store = open_store(self.feast_folder)
        # What is added to has to be there still at the end; where it notes no filling it gets one.
        begun = 0 if published.filling else _begin_filling(store)
        touched = touched_by(self.event_log, published.log_sequence, sequence)
        unknown = {}
        for view, entities, facts in self._affected(archive, news, touched, (part, n_parts), sequence):
            is_known = pc.is_in(entities, value_set=facts.entities(view))
            write_online(store, facts, view, entities.filter(is_known))
            unknown[view] = entities.filter(pc.invert(is_known)).to_pylist()
        online = online_store_of(store)
        online.settle(store.config, sequence)
        if any(unknown.values()):
            for view, gone in unknown.items():
                online.forget(store.config, view, gone, sequence)
            online.settle(store.config, sequence)
        found = published.model_copy(
            update={
                "key": self.key,
                "n_parts": n_parts,
                "parts": archive.manifest.all(),
                "log_sequence": sequence,
                "log_born": self._log_born(published),
                "filling": _note_filling(store, begun, published.filling),
                "materialised_to": _newest(news, published.materialised_to),
            }
        )
        _note_materialisation(store, found)
        publish(self.feast_folder, found)
        note_finished(self.feast_folder)
        return _summary(self.feast_folder, _compact(self.feast_folder, found), news)

    def _affected(
        self, archive: Archive, news: News, touched: tuple[pa.Array, pa.Array], parts: tuple[int, int], sequence: int
    ) -> Iterator[tuple[str, pa.Array, ShopFacts]]:
        """View by view, the entities that the news concern or the event log touched, with their facts.

        Args:
            touched: Users and items of the event log.
            parts: How many parts there were, and how many there are.
            sequence: Up to where the event log is known.
        """
        part, n_parts = parts
        events, changed = news.rows["events"], news.rows["items"].column(schema.ITEM_ID)
        users, items = events.column(schema.USER_ID), _unique(events.column(schema.ITEM_ID), changed, touched[1])
        users = _unique(users, touched[0])
        # What changed of an item (its price, its category) is part of what is known of those who acted on it.
        old = archive.read("events", part, [schema.USER_ID], item_id=_unique(changed))
        concerned = {
            USER_HISTORY: _unique(users, old.column(schema.USER_ID)), USER_SEEN: users, ITEM_PROFILE: items,
        }  # fmt: skip
        for view, entities in concerned.items():
            own = archive.read("events", n_parts, **{ENTITY[view]: entities})
            no_reviews = TABLES["reviews"].empty_table()
            yield view, entities, ShopFacts.of(own, archive, n_parts, self.settings, sequence, no_reviews)
        writers = _unique(news.rows["users"].column(schema.USER_ID), news.rows["reviews"].column(schema.USER_ID))
        reviews = archive.read("reviews", n_parts, user_id=writers)
        no_events = TABLES["events"].empty_table()
        yield USER_PROFILE, writers, ShopFacts.of(no_events, archive, n_parts, self.settings, sequence, reviews)


def _compact(feast_folder: Path, published: Published) -> Published:
    """Many parts become the first one of a new generation."""
    if published.n_parts < MAX_PARTS:
        return published
    old = open_published(feast_folder, published)
    old.verify(published.n_parts)
    generation = _next_generation(feast_folder, published.stores, published.generation)
    new = open_archive(feast_folder, published.stores, generation)
    for table in TABLES:
        rows = old.read(table, published.n_parts)
        new.write(table, 0, rows.sort_by([(TABLES[table].names[0], "ascending")]))
    parts = new.manifest.all()
    compacted = published.model_copy(update={"generation": generation, "n_parts": 1, "parts": parts})
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


def _begin_filling(store: Any) -> int:
    """Note in the online store, before the first row, that it is filled; the number that its filling may get."""
    return int(online_store_of(store).begin_filling(store.config, time.time_ns()))


def _note_filling(store: Any, begun: int, before: int) -> int:
    """Note in the online store that all rows are in, for readers to find; 0 where it notes none.

    A store that was never emptied keeps its number, so that readers keep what they read.

    Args:
        begun: What `_begin_filling` gave; 0 where rows were added to what was there.
        before: The number that is published; 0 for none.
    Raises:
        StoreEmptied: the store was emptied since, so that rows are missing.
    """
    filling: int | None = online_store_of(store).note_filling(store.config, begun, before)
    if filling is None:
        raise StoreEmptied(
            "Cannot refresh the online store",
            got="filled=0: it was emptied while the refresh wrote into it",
            expected=f"the number of its filling, {before or begun}",
            do="Run the refresh-features deployment again, which fills it",
        )
    return filling


def _note_materialisation(store: Any, published: Published) -> None:
    """Record in Feast's registry up to when the views are materialised."""
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


def _unique(*columns: pa.ChunkedArray | pa.Array) -> pa.Array:
    chunks = [[column] if isinstance(column, pa.Array) else column.chunks for column in columns]
    return pa.chunked_array([chunk for some in chunks for chunk in some], pa.string()).unique()


def _next_generation(feast_folder: Path, stores: FeatureStoreSettings, published: int) -> int:
    """A number that nothing is left of, not even of a refresh that was killed."""
    return 1 + max(published, open_archive(feast_folder, stores, 0).newest_generation())


def _summary(feast_folder: Path, published: Published, news: News, rebuilt: bool = False) -> FeatureSummary:
    archive = open_published(feast_folder, published)
    return FeatureSummary(
        folder=feast_folder.absolute(),
        rows={table: archive.count(table, published.n_parts) for table in TABLES},
        materialised_to=published.materialised_to,
        new_events=len(news.rows.get("events", ())),
        rebuilt=rebuilt,
    )
