"""The offline store's tables: events, reviews, users and items as the features read them, in parts.

A refresh adds a part with what is new; a reader sees the parts that were published when it started, which the manifest
names with their counts: what an unfinished refresh left is in none, and a part that is gone is an error. Of a user or
an item the newest part counts. Parquet files or tables of PostgreSQL: both hold the same columns.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict

from core import schema
from core.sql import identifier
from core.storage import atomic_file, file_digest, remove_folder
from features.errors import ArchiveDamaged

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


class Part(BaseModel):
    """One part of a table, as it was written.

    Attributes:
        table: One of `TABLES`.
        part: Its number, from 0.
        rows: How many.
        size: Of its file in bytes; 0 in a database.
        digest: SHA-256 of its file; "" in a database.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    table: str
    part: int
    rows: int
    size: int = 0
    digest: str = ""


class Manifest:
    """The parts that count, of all tables.

    Args:
        parts: Those that were published.
    """

    def __init__(self, parts: Iterable[Part] = ()) -> None:
        self._parts = {(part.table, part.part): part for part in parts}

    def of(self, table: str, n_parts: int) -> list[Part]:
        """A table's parts among the first `n_parts`, in order. A table without news has none of that number."""
        return [self._parts[table, number] for number in range(n_parts) if (table, number) in self._parts]

    def all(self) -> tuple[Part, ...]:
        """Every part."""
        return tuple(self._parts.values())

    def add(self, part: Part) -> None:
        """Count a part from now on."""
        self._parts[part.table, part.part] = part


class Archive(Protocol):
    """One generation of the tables; a rebuild makes a new one.

    Attributes:
        manifest: The parts that readers are given; `write` adds to it, and who publishes writes it down.
    """

    @property
    def manifest(self) -> Manifest: ...

    def read(self, table: str, n_parts: int, columns: Sequence[str] = (), **among: pa.Array) -> pa.Table:
        """Rows of the first `n_parts` parts of the manifest, without superseded ones.

        Args:
            table: One of `TABLES`.
            n_parts: Parts to read.
            columns: Which columns; all by default.
            among: Column to values: only rows with one of these.
        Raises:
            ArchiveDamaged: a part is missing, or of another size than was published.
        """
        ...

    def count(self, table: str, n_parts: int) -> int:
        """How many rows `read` would give."""
        ...

    def write(self, table: str, part: int, rows: pa.Table) -> None:
        """Write a part of a table, over what an unfinished refresh may have left there."""
        ...

    def verify(self, n_parts: int) -> None:
        """Hold what is stored of the first `n_parts` parts against the manifest, all of it.

        Raises:
            ArchiveDamaged: a part is missing or is not what was published.
        """
        ...

    def newest_generation(self) -> int:
        """The highest number of a generation that anything is left of, finished or not; 0 for none."""
        ...

    def remove_others(self) -> None:
        """Remove the other generations."""
        ...


@dataclass(frozen=True)
class ParquetArchive:
    """A folder per generation, a file per table and part: `events-0.parquet`."""

    folder: Path
    manifest: Manifest = field(default_factory=Manifest, compare=False)

    def read(self, table: str, n_parts: int, columns: Sequence[str] = (), **among: pa.Array) -> pa.Table:
        """See `Archive.read`."""
        import duckdb

        files = [str(self._checked(part)) for part in self.manifest.of(table, n_parts)]
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
        return sum(pq.read_metadata(self._checked(part)).num_rows for part in self.manifest.of(table, n_parts))

    def write(self, table: str, part: int, rows: pa.Table) -> None:
        """See `Archive.write`."""
        path = self._path(table, part)
        with atomic_file(path) as temporary:
            pq.write_table(rows.cast(TABLES[table]), temporary, compression="zstd", row_group_size=100_000)
        written = Part(table=table, part=part, rows=len(rows), size=path.stat().st_size, digest=file_digest(path))
        self.manifest.add(written)

    def verify(self, n_parts: int) -> None:
        """See `Archive.verify`."""
        for table in TABLES:
            for part in self.manifest.of(table, n_parts):
                path = self._checked(part)
                if file_digest(path) != part.digest:
                    raise _damaged(f"{path.name}=another content", f"digest={part.digest}", path)

    def newest_generation(self) -> int:
        """See `Archive.newest_generation`."""
        found = self.folder.parent.iterdir() if self.folder.parent.is_dir() else ()
        return max((int(path.name) for path in found if path.name.isdecimal()), default=0)

    def remove_others(self) -> None:
        """See `Archive.remove_others`."""
        for path in self.folder.parent.iterdir():
            if path != self.folder:
                remove_folder(path)

    def _path(self, table: str, part: int) -> Path:
        return self.folder / f"{table}-{part}.parquet"

    def _checked(self, part: Part) -> Path:
        """The part's file, which has to be there, whole."""
        path = self._path(part.table, part.part)
        size = path.stat().st_size if path.is_file() else None
        if size != part.size:
            got = f"{path.name}=missing" if size is None else f"{path.name}={size} bytes"
            raise _damaged(got, f"{part.rows} rows in {part.size} bytes", path)
        return path


@dataclass(frozen=True)
class PostgresArchive:
    """A schema per shop, in it a table per generation and table, with a column for the part: `events_3`."""

    url: str
    schema: str
    generation: int
    manifest: Manifest = field(default_factory=Manifest, compare=False)

    def read(self, table: str, n_parts: int, columns: Sequence[str] = (), **among: pa.Array) -> pa.Table:
        """See `Archive.read`."""
        wanted = list(columns) or TABLES[table].names
        distinct = f"DISTINCT ON ({KEYS[table]})" if table in KEYS else ""
        order = f"ORDER BY {KEYS[table]}, part DESC" if table in KEYS else ""
        parts = self.manifest.of(table, n_parts)
        if not parts:
            return TABLES[table].empty_table().select(wanted)
        with self._connected() as cursor:
            self._require(cursor, table)
            conditions = [_among(parts)]
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
        parts = self.manifest.of(table, n_parts)
        if not parts:
            return 0
        with self._connected() as cursor:
            self._require(cursor, table)
            cursor.execute(f"SELECT count({counted}) FROM {self._name(table)} WHERE {_among(parts)}")
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
        self.manifest.add(Part(table=table, part=part, rows=len(rows)))

    def verify(self, n_parts: int) -> None:
        """See `Archive.verify`."""
        with self._connected() as cursor:
            for table in TABLES:
                parts = self.manifest.of(table, n_parts)
                if not parts:
                    continue
                self._require(cursor, table)
                cursor.execute(f"SELECT part, count(*) FROM {self._name(table)} WHERE {_among(parts)} GROUP BY part")
                found = dict(cursor.fetchall())
                for part in parts:
                    if found.get(part.part, 0) != part.rows:
                        got = f"rows={found.get(part.part, 0)} of part {part.part}"
                        raise _damaged(got, f"{part.rows} rows", self._name(table))

    def newest_generation(self) -> int:
        """See `Archive.newest_generation`."""
        with self._connected() as cursor:
            return max((generation for _, _, generation in self._tables(cursor)), default=0)

    def remove_others(self) -> None:
        """See `Archive.remove_others`."""
        with self._connected() as cursor:
            for name, _, generation in self._tables(cursor):
                if generation != self.generation:
                    cursor.execute(f"DROP TABLE IF EXISTS {identifier(self.schema)}.{identifier(name)}")

    def _tables(self, cursor: Any) -> list[tuple[str, str, int]]:
        """Name, table and generation of what the shop's schema holds."""
        cursor.execute("SELECT tablename FROM pg_tables WHERE schemaname = $1", (self.schema,))
        named = [(str(name), *str(name).rpartition("_")[::2]) for (name,) in cursor.fetchall()]
        return [(name, table, int(number)) for name, table, number in named if table in TABLES and number.isdecimal()]

    def _name(self, table: str) -> str:
        return f"{identifier(self.schema)}.{identifier(f'{table}_{self.generation}')}"

    def _require(self, cursor: Any, table: str) -> None:
        if not self._exists(cursor, table):
            raise _damaged(f"{table}_{self.generation}=missing", "a table", self._name(table))

    def _exists(self, cursor: Any, table: str) -> bool:
        cursor.execute("SELECT to_regclass($1)::text", (self._name(table),))
        return cursor.fetchall()[0][0] is not None

    @contextmanager
    def _connected(self) -> Iterator[Any]:
        from adbc_driver_postgresql import dbapi

        with dbapi.connect(self.url) as connection, connection.cursor() as cursor:
            yield cursor
            connection.commit()


def _among(parts: Sequence[Part]) -> str:
    return f"part IN ({', '.join(str(part.part) for part in parts)})"


def _damaged(got: str, expected: str, where: object) -> ArchiveDamaged:
    return ArchiveDamaged(
        "Cannot read the offline features",
        got=got,
        expected=f"{expected}, as published",
        where=str(where),
        do="Refresh the features: they are built anew from the clean tables",
    )
