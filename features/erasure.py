"""Removing a user from the feature store: their online rows, and their events, reviews and attributes offline.

What items' rows counted of them is put right by the refresh that follows, which rebuilds everything.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from core import schema
from core.addresses import expand
from core.settings.features import FeatureStoreSettings
from core.sql import identifier
from core.storage import exclusively
from features.archive.events import KEYS, TABLES, Archive
from features.archive.publication import (
    ERASED,
    PUBLISHED_FILE,
    Published,
    note_unfinished,
    open_archive,
    open_published,
    publish,
    read_published,
    read_unfinished,
    schema_name,
)
from features.counting.views import USER_HISTORY, USER_PROFILE, USER_SEEN
from features.errors import ArchiveDamaged, FeatureError
from features.refresh import LOCK_FILE
from features.written_stores import ask_online, databases_of, erase_former, leave_former, reaching, written_stores

USER_VIEWS = (USER_HISTORY, USER_PROFILE, USER_SEEN)
_USER_TABLES = ("events", "reviews", "users")
_FAILED = "Cannot search the feature store"
_REWRITTEN = "rewritten"  # no key of any clean tables


def require_rebuild(feast_folder: Path) -> None:
    """Have the next refresh count everything anew, since what was counted of somebody is to be gone.

    Waits for one that is at work: it may have counted them, and would take the note away at its end.
    """
    if read_published(feast_folder) is None:
        return
    with exclusively(feast_folder / LOCK_FILE):
        note_unfinished(feast_folder, ERASED)


def erase_online(feast_folder: Path, user_id: str) -> int:
    """Remove a user's online rows, wherever any are kept or were; how many there were.

    Args:
        user_id: As the clean tables have it.
    Raises:
        FeastFailure: a server does not answer.
    """
    return ask_online(
        feast_folder, lambda store, config: int(store.erase(config, store.views_kept(config, USER_VIEWS), [user_id]))
    )


def erase_offline(feast_folder: Path, stores: FeatureStoreSettings, user_id: str) -> tuple[dict[str, int], list[Any]]:
    """Put a generation without a user in the place of the offline tables; the others' rows stay as they are.

    In databases that the shop does not use any more the user's rows go, and nobody else's.

    Args:
        stores: Where the tables are, if nothing is published that says so.
        user_id: As the clean tables have it.
    Returns:
        Rows removed by table, and the times of those that have one.
    Raises:
        FeatureError: a server does not answer, or a ${NAME} of its address is not in the environment.
    """
    if not feast_folder.is_dir():
        return {}, []
    with exclusively(feast_folder / LOCK_FILE):
        published = read_published(feast_folder)
        if published is None:
            for one in dict.fromkeys((*written_stores(feast_folder), stores)):
                _remove_all(feast_folder, one)
            return {}, []
        leave_former(feast_folder)
        erase_former(feast_folder, user_id)
        try:
            return _rewrite(feast_folder, published, user_id)
        except ArchiveDamaged:
            # Whatever is left of it, the next refresh builds it anew from the clean tables.
            (feast_folder / PUBLISHED_FILE).unlink()
            _remove_all(feast_folder, published.stores)
            return {}, []


def _rewrite(feast_folder: Path, published: Published, user_id: str) -> tuple[dict[str, int], list[Any]]:
    old = open_published(feast_folder, published)
    own = {table: old.read(table, published.n_parts, user_id=pa.array([user_id])) for table in _USER_TABLES}
    counts = {table: len(rows) for table, rows in own.items() if len(rows)}
    times: list[datetime] = [
        time for table in ("events", "reviews") for time in own[table].column(schema.TIMESTAMP).to_pylist()
    ]
    if counts:
        note_unfinished(feast_folder, ERASED)
    generation = 1 + max(published.generation, old.newest_generation())
    new = open_archive(feast_folder, published.stores, generation)
    for table in TABLES:
        new.write(table, 0, _of_others(old, table, published.n_parts, user_id))
    update = {"key": _REWRITTEN, "generation": generation, "n_parts": 1, "parts": new.manifest.all()}
    publish(feast_folder, published.model_copy(update=update))
    new.remove_others()
    return counts, times


def _of_others(archive: Archive, table: str, n_parts: int, user_id: str) -> pa.Table:
    rows = archive.read(table, n_parts)
    if table in _USER_TABLES:
        rows = rows.filter(pc.not_equal(rows.column(schema.USER_ID), user_id))
    # As a refresh writes a first part; of equal ones the order stays.
    return rows.sort_by([(KEYS[table], "ascending")]) if table in KEYS else rows


def _remove_all(feast_folder: Path, stores: FeatureStoreSettings) -> None:
    """Remove what refreshes left that never published anything."""
    with reaching(feast_folder, stores):
        if newest := open_archive(feast_folder, stores, 0).newest_generation():
            open_archive(feast_folder, stores, newest + 1).remove_others()


def find_online(feast_folder: Path, user_id: str) -> int:
    """How many online rows a user has, wherever any are kept or were."""

    def count(store: Any, config: Any) -> int:
        views = store.views_kept(config, USER_VIEWS)
        return sum(store.read_rows(config, view, [user_id])[0] is not None for view in views)

    return ask_online(feast_folder, count)


def find_in_server(feast_folder: Path, user_id: str, is_distinct: bool) -> dict[str, int]:
    """Rows of the shop's tables in PostgreSQL that hold a user's id, by table; empty where none of it is or was there.

    Args:
        is_distinct: Whether the id is like nothing else, so that it counts wherever it stands.
    Raises:
        FeatureError: a server does not answer, or a ${NAME} of its address is not in the environment.
    """
    import psycopg

    place, found = schema_name(feast_folder), dict[str, int]()
    for address, stores in databases_of(written_stores(feast_folder)).items():
        with reaching(feast_folder, stores), psycopg.connect(expand(address, _FAILED, FeatureError)) as connection:
            for table, count in _count_rows(connection, place, user_id, is_distinct):
                found[f"postgres {table}"] = found.get(f"postgres {table}", 0) + count
    return found


def _count_rows(connection: Any, place: str, user_id: str, is_distinct: bool) -> Iterator[tuple[str, int]]:
    """Each table of a schema, with the number of its rows that hold a user's id."""
    tables = connection.execute(
        "SELECT table_name, bool_or(column_name = 'user_id') FROM information_schema.columns "
        "WHERE table_schema = %s GROUP BY table_name",
        (place,),
    ).fetchall()
    for name, has_users in tables:
        condition = "strpos(t::text, %s) > 0" if is_distinct else "user_id = %s" if has_users else "%s::text IS NULL"
        statement = f"SELECT count(*) FROM {identifier(place)}.{identifier(name)} t WHERE {condition}"
        ((count,),) = connection.execute(statement, (user_id,)).fetchall()
        yield str(name), int(count)


def is_unfinished(feast_folder: Path) -> bool:
    """Whether the next refresh has still to rebuild for somebody's sake."""
    return read_unfinished(feast_folder) == ERASED
