"""What the clean tables say that the archive does not: one anti-join per table, by a hash of all that a row says."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from core import schema
from core.events import canonical_id
from core.logs.events import EventLog
from core.schema import TableName
from core.sql import identifier, literal
from features.archive.events import KEYS, ROW, TABLES, Archive
from features.clean_tables import attribute_columns, table_path

SUMMARY_FILE = "summary.json"  # what validation notes beside the clean tables


@dataclass(frozen=True)
class News:
    """Rows of the clean tables in the archive's form.

    Attributes:
        rows: Table to rows that the archive does not hold: new ones, and users and items that changed.
        vanished: Whether the archive holds rows that the clean tables do not: it has to be rebuilt.
    """

    rows: dict[str, pa.Table]
    vanished: bool


def find_news(clean: Path, archive: Archive | None, n_parts: int = 0) -> News:
    """Compare the clean tables with the first `n_parts` parts of the archive; all rows are news without one."""
    import duckdb

    rows, vanished = {}, False
    with duckdb.connect() as database:
        database.execute("SET threads = 2")
        database.execute("SET TimeZone = 'UTC'")
        for table, statement in _statements(clean).items():
            database.execute(f"CREATE TEMP VIEW clean AS {statement}")
            key = KEYS.get(table, ROW)
            held = TABLES[table].empty_table().select([*{key, ROW}])
            if archive is not None:
                held = archive.read(table, n_parts, [*{key, ROW}])
            database.register("held", held)
            found = database.sql(
                f"SELECT {_columns(table)} FROM clean WHERE {ROW} NOT IN (SELECT {ROW} FROM held) {_ORDER[table]}"
            ).to_arrow_table()
            rows[table] = found.cast(TABLES[table])
            ((n_gone,),) = database.execute(
                f"SELECT count(*) FROM held WHERE {key} NOT IN (SELECT {key} FROM clean)"
            ).fetchall()
            vanished = vanished or n_gone > 0
            database.execute("DROP VIEW clean")
            database.unregister("held")
    return News(rows, vanished)


def read_as_archived(clean: Path, table: str) -> pa.Table:
    """All rows of a clean table in the archive's form, in the archive's order."""
    import duckdb

    with duckdb.connect() as database:
        database.execute("SET threads = 2")
        database.execute("SET TimeZone = 'UTC'")
        found = database.sql(f"SELECT {_columns(table)} FROM ({_statements(clean)[table]}) {_ORDER[table]}")
        return found.to_arrow_table().cast(TABLES[table])


def newest_logged(clean: Path, event_log: Path | None, after: int) -> int:
    """Up to where the clean tables know the service's event log; `after` if no further.

    What the log holds up to it had been validated when the clean tables were made, whether it is clean or not.
    Validation writes it down; of tables without that, it is the newest number whose event they hold.
    """
    if event_log is None:
        return after
    noted = _noted_mark(clean)
    if noted is not None:
        return max(noted, after)
    logged = [(sequence, event.event_id) for sequence, event in EventLog(event_log).read(after)]
    if not logged:
        return after
    import duckdb

    numbers = pa.table({"sequence": [number for number, _ in logged], schema.EVENT_ID: [event for _, event in logged]})
    with duckdb.connect() as database:
        database.register("logged", numbers)
        ((newest,),) = database.execute(
            f"SELECT max(sequence) FROM logged WHERE {schema.EVENT_ID} IN "
            f"(SELECT {schema.EVENT_ID} FROM read_parquet($interactions))",
            {"interactions": str(table_path(clean, "interactions"))},
        ).fetchall()
    return int(newest or after)


def touched_by(event_log: Path | None, after: int, to: int) -> tuple[pa.Array, pa.Array]:
    """The users and the items of the events that the log holds from `after`, without it, to `to`.

    An event that the tables do not hold was pushed all the same: these are the entities whose online rows may be wrong.
    """
    users: dict[str, None] = {}
    items: dict[str, None] = {}
    for sequence, event in EventLog(event_log).read(after) if event_log is not None and to > after else ():
        if sequence > to:
            break
        # Earlier releases pushed ids as they were sent.
        users |= dict.fromkeys((event.user_id, canonical_id(event.user_id)))
        items |= dict.fromkeys((event.item_id, canonical_id(event.item_id)))
    return pa.array(list(users), pa.string()), pa.array(list(items), pa.string())


def _noted_mark(clean: Path) -> int | None:
    path = clean / SUMMARY_FILE
    if not path.is_file():
        return None
    noted = json.loads(path.read_text(encoding="utf-8")).get("log_sequence")
    return None if noted is None else int(noted)


# As features.counting.sketches.tie_of.
_TIES = "('0x' || md5(event_id)[1:14])::BIGINT"
_ORDER = {
    # Row groups of one user each, or nearly, so that reading some users skips most of the file.
    "events": f"ORDER BY {schema.USER_ID}, {schema.TIMESTAMP}",
    "reviews": f"ORDER BY {schema.USER_ID}, {schema.TIMESTAMP}",
    "users": f"ORDER BY {schema.USER_ID}",
    "items": f"ORDER BY {schema.ITEM_ID}",
}


def _columns(table: str) -> str:
    return ", ".join(f"({_TIES}) AS tie" if name == "tie" else name for name in TABLES[table].names)


def _statements(clean: Path) -> dict[str, str]:
    """Archive table to the SQL that gives it out of a clean table."""
    attributes = [
        f"CASE WHEN {identifier(name)} <> '' THEN {literal(f'{name} ')} || {identifier(name)} END"
        for name in attribute_columns(clean)
    ]
    own = {
        "events": ("interactions", "event_id, user_id, item_id, event, value, timestamp, position"),
        "reviews": ("feedback", "user_id, item_id, rating, text, timestamp"),
        "users": ("users", f"user_id, concat_ws(', ', {', '.join(attributes) or 'NULL'}) AS attributes"),
        "items": ("items", "item_id, category, brand, price, created_at"),
    }
    return {table: _hashed(clean, source, columns) for table, (source, columns) in own.items()}


def _hashed(clean: Path, source: Any, columns: str) -> str:
    name: TableName = source
    path = literal(str(table_path(clean, name)))
    return f"""
        SELECT *, (hash(entry) >> 1)::BIGINT AS {ROW}
        FROM (SELECT {columns} FROM read_parquet({path})) AS entry
    """
