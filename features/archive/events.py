"""The offline store's tables: events, reviews, users and items as the features read them, in parts.

A refresh adds a part with what is new; a reader sees the parts that were published when it started. Of a user or an
item the newest part counts. Parquet files or tables of PostgreSQL: both hold the same columns.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from core import schema
from core.sql import identifier
from core.storage import atomic_file

# Identifies a row by its content: finding what is new, changed or gone is one anti-join of these.
ROW = "row_hash"

TABLES: dict[str, pa.Schema] = {
    "events": pa.schema(
        [
            (schema.USER_ID, pa.string()), (schema.ITEM_ID, pa.string()), (schema.EVENT, pa.string()),
            (schema.VALUE, pa.float64()), (schema.TIMESTAMP, schema.TIME), (schema.POSITION, pa.int64()),
            ("tie", pa.int64()), (ROW, pa.int64()),
        ]
    ),
    "reviews": pa.schema(
        [
            (schema.USER_ID, pa.string()), (schema.ITEM_ID, pa.string()), (schema.RATING, pa.float64()),
            (schema.TEXT, pa.string()), (schema.TIMESTAMP, schema.TIME), (ROW, pa.int64()),
        ]
    ),
    "users": pa.schema([(schema.USER_ID, pa.string()), (schema.ATTRIBUTES, pa.string()), (ROW, pa.int64())]),
    "items": pa.schema(
        [
            (schema.ITEM_ID, pa.string()), (schema.CATEGORY, pa.string()), (schema.BRAND, pa.string()),
            (schema.PRICE, pa.float64()), (schema.CREATED_AT, schema.TIME), (ROW, pa.int64()),
        ]
    ),
}  # fmt: skip
# In these tables a row of the newest part replaces older ones of the same id.
KEYS = {"users": schema.USER_ID, "items": schema.ITEM_ID}


class Archive(Protocol):
    """One generation of the tables; a rebuild makes a new one."""

    def read(self, table: str, n_parts: int, columns: Sequence[str] = (), **among: pa.Array) -> pa.Table:
        """Rows of the first `n_parts` parts, without superseded ones.

        Args:
            table: One of `TABLES`.
            n_parts: Parts to read.
            columns: Which columns; all by default.
            among: Column to values: only rows with one of these.
        """
        ...

    def count(self, table: str, n_parts: int) -> int:
        """How many rows `read` would give."""
        ...

    def write(self, table: str, part: int, rows: pa.Table) -> None:
        """Write a part of a table, over what an unfinished refresh may have left there."""
        ...

    def remove_others(self) -> None:
        """Remove the other generations."""
        ...


@dataclass(frozen=True)
class ParquetArchive:
    """A folder per generation, a file per table and part: `events-0.parquet`."""

    folder: Path

    def read(self, table: str, n_parts: int, columns: Sequence[str] = (), **among: pa.Array) -> pa.Table:
        """See `Archive.read`."""
        import duckdb

        files = [str(self._path(table, part)) for part in range(n_parts) if self._path(table, part).is_file()]
        wanted = list(columns) or TABLES[table].names
        if not files:
            return TABLES[table].empty_table().select(wanted)
        # The number of the part is in the file's name; DuckDB reads files in the order given, but in parallel.
        newest = (
            f"QUALIFY row_number() OVER (PARTITION BY {KEYS[table]} ORDER BY part DESC) = 1" if table in KEYS else ""
        )
        with duckdb.connect() as database:
            database.execute("SET threads = 2")
            database.execute("SET TimeZone = 'UTC'")
            for column, values in among.items():
                database.register(f"wanted_{column}", pa.table({column: values}))
            conditions = " AND ".join(f"{column} IN (SELECT {column} FROM wanted_{column})" for column in among)
            found = database.sql(
                f"""
                SELECT {", ".join(wanted)} FROM (
                    SELECT *, regexp_extract(filename, '-([0-9]+)\\.parquet$', 1)::INTEGER AS part
                    FROM read_parquet($files, filename = true)
                    {f"WHERE {conditions}" if conditions else ""}
                ) {newest}
                """,
                params={"files": files},
            ).to_arrow_table()
        return found.cast(pa.schema([TABLES[table].field(name) for name in wanted]))

    def count(self, table: str, n_parts: int) -> int:
        """See `Archive.count`."""
        if table in KEYS:
            return len(self.read(table, n_parts, [KEYS[table]]))
        paths = [self._path(table, part) for part in range(n_parts)]
        return sum(pq.read_metadata(path).num_rows for path in paths if path.is_file())

    def write(self, table: str, part: int, rows: pa.Table) -> None:
        """See `Archive.write`."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with atomic_file(self._path(table, part)) as temporary:
            pq.write_table(rows.cast(TABLES[table]), temporary, compression="zstd", row_group_size=100_000)

    def remove_others(self) -> None:
        """See `Archive.remove_others`."""
        for path in self.folder.parent.iterdir():
            if path != self.folder:
                shutil.rmtree(path, ignore_errors=True)

    def _path(self, table: str, part: int) -> Path:
        return self.folder / f"{table}-{part}.parquet"


@dataclass(frozen=True)
class PostgresArchive:
    """A schema per shop, in it a table per generation and table, with a column for the part: `events_3`."""

    url: str
    schema: str
    generation: int

    def read(self, table: str, n_parts: int, columns: Sequence[str] = (), **among: pa.Array) -> pa.Table:
        """See `Archive.read`."""
        wanted = list(columns) or TABLES[table].names
        distinct = f"DISTINCT ON ({KEYS[table]})" if table in KEYS else ""
        order = f"ORDER BY {KEYS[table]}, part DESC" if table in KEYS else ""
        with self._connected() as cursor:
            if not self._exists(cursor, table):
                return TABLES[table].empty_table().select(wanted)
            conditions = [f"part < {n_parts}"]
            for column, values in among.items():
                cursor.adbc_ingest(f"wanted_{column}", pa.table({column: values}), mode="create", temporary=True)
                conditions.append(f"{column} IN (SELECT {column} FROM wanted_{column})")
            cursor.execute(
                f"SELECT {distinct} {', '.join(wanted)} FROM {self._name(table)} "
                f"WHERE {' AND '.join(conditions)} {order}"
            )
            found = cursor.fetch_arrow_table()
        return found.cast(pa.schema([TABLES[table].field(name) for name in wanted]))

    def count(self, table: str, n_parts: int) -> int:
        """See `Archive.count`."""
        counted = f"DISTINCT {KEYS[table]}" if table in KEYS else "*"
        with self._connected() as cursor:
            if not self._exists(cursor, table):
                return 0
            cursor.execute(f"SELECT count({counted}) FROM {self._name(table)} WHERE part < {n_parts}")
            return int(cursor.fetchall()[0][0])

    def write(self, table: str, part: int, rows: pa.Table) -> None:
        """See `Archive.write`."""
        rows = rows.cast(TABLES[table])
        numbered = rows.append_column("part", pa.array([part] * len(rows), pa.int32()))
        with self._connected() as cursor:
            cursor.execute(f"CREATE SCHEMA IF NOT EXISTS {identifier(self.schema)}")
            if self._exists(cursor, table):
                cursor.execute(f"DELETE FROM {self._name(table)} WHERE part >= {part}")
            cursor.adbc_ingest(f"{table}_{self.generation}", numbered, mode="create_append", db_schema_name=self.schema)

    def remove_others(self) -> None:
        """See `Archive.remove_others`."""
        with self._connected() as cursor:
            cursor.execute("SELECT tablename FROM pg_tables WHERE schemaname = $1", (self.schema,))
            for (name,) in cursor.fetchall():
                table, _, generation = name.rpartition("_")
                if table in TABLES and generation.isdecimal() and int(generation) != self.generation:
                    cursor.execute(f"DROP TABLE IF EXISTS {identifier(self.schema)}.{identifier(name)}")

    def _name(self, table: str) -> str:
        return f"{identifier(self.schema)}.{identifier(f'{table}_{self.generation}')}"

    def _exists(self, cursor: Any, table: str) -> bool:
        cursor.execute("SELECT to_regclass($1)::text", (self._name(table),))
        return cursor.fetchall()[0][0] is not None

    @contextmanager
    def _connected(self) -> Iterator[Any]:
        from adbc_driver_postgresql import dbapi

        with dbapi.connect(self.url) as connection, connection.cursor() as cursor:
            yield cursor
            connection.commit()
