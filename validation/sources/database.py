"""Reader of kind "sql": a query per table, its rows streamed as Arrow, of PostgreSQL by its ADBC driver."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

import duckdb
import pyarrow as pa

from core import schema
from core.addresses import expand, hide_values
from core.schema import TABLE_NAMES, TABLES, TableName
from core.settings.source import SqlSource
from core.storage import digest_of
from validation.errors import SourceError, cannot_read, missing_time
from validation.formats.files import require_file
from validation.formats.parquet import source_type, stored_columns, write_batches
from validation.raw.parts import SOURCE
from validation.raw.writer import PartWriter, RawWriter, struct_of
from validation.sources.mappings import Fields, in_file_order, map_columns, missing_columns
from validation.sources.sqlite import SqliteConnection

_FAILED = "Cannot connect to the source's database"


@dataclass(frozen=True)
class _Answer:
    """What a query gives."""

    schema: pa.Schema
    batches: Iterator[pa.RecordBatch]


def plain_settings(source: SqlSource) -> dict[str, Any]:
    """The settings that decide the rows, for a fingerprint, without user and password."""
    parts = urlsplit(source.url)
    place = urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))
    return {**source.model_dump(mode="json"), "url": place}


def digest_rows(source: SqlSource) -> dict[TableName, str]:
    """A digest of the rows that each query gives, whatever their order, unless that stands for their time.

    All rows are read for it, none is kept.

    Raises:
        SourceError: the database cannot be reached, or a query fails.
    """
    digests = {}
    with _connect(source) as connection:
        for table, query in _queries(source):
            with _run(connection, table, query, source) as answer, duckdb.connect(config={"threads": 1}) as counter:
                kind = source_type(answer.schema)
                n_rows, total = 0, 0
                is_ordered = source.no_time == "file_order" and _lacks_time(table, answer.schema.names)
                for batch in answer.batches:
                    rows = pa.table({SOURCE: struct_of(stored_columns(batch), kind)})
                    counter.register("answer", rows)
                    one = f"hash({SOURCE}, {n_rows} + row_number() OVER ())" if is_ordered else f"hash({SOURCE})"
                    ((hashes,),) = counter.sql(
                        f"SELECT sum(CAST(one AS HUGEINT)) FROM (SELECT {one} AS one FROM answer)"
                    ).fetchall()
                    n_rows, total = n_rows + len(batch), total + int(hashes or 0)
                digests[table] = digest_of(str(kind), n_rows, str(total))
    return digests


def read(source: SqlSource, writer: RawWriter) -> None:
    """Write a part for each query.

    Raises:
        SourceError: the database cannot be reached, a query fails or gives no rows, or lacks a column.
    """
    with _connect(source) as connection:
        for table, query in _queries(source):
            with _run(connection, table, query, source) as answer:
                _check_columns(source, table, answer.schema.names)
                kind = source_type(answer.schema)
                fields = Fields.of(answer.schema.names, [field.type for field in kind])
                mapping = map_columns(table, fields, {}, source, default_event=source.default_event)
                if _lacks_time(table, answer.schema.names):
                    mapping = in_file_order(mapping)
                with writer.open_part(table, kind, {table: mapping}) as part:
                    write_batches(answer.batches, part, table)
                    _require_rows(part, table)


def _queries(source: SqlSource) -> list[tuple[TableName, str]]:
    """In the contract's order, so that users and items come before the tables that refer to them."""
    if "interactions" not in source.queries:
        raise cannot_read(
            got=f"queries={sorted(source.queries)}",
            expected="a query that gives interactions",
            do="Write it in the settings under recipe.source.queries.interactions",
        )
    # Drivers put a query into one of their own (COPY, LIMIT 0): it must not end in a semicolon, nor in a comment.
    return [
        (table, source.queries[table].rstrip("; \r\n\t") + "\n") for table in TABLE_NAMES if table in source.queries
    ]


@contextmanager
def _connect(source: SqlSource) -> Iterator[Any]:
    """A connection whose queries all see one state of the database; closed at the end."""
    with _driver_errors(source, _FAILED, "Check recipe.source.url and the database"):
        connection = _open(expand(source.url, _FAILED, SourceError))
    with closing(connection):
        _begin_snapshot(connection, source)
        yield connection


def _begin_snapshot(connection: Any, source: SqlSource) -> None:
    """Have all queries see the database as it is now: an event and its user come from one state."""
    is_postgres = urlsplit(source.url).scheme in ("postgresql", "postgres")
    begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY" if is_postgres else "BEGIN"
    with (
        _driver_errors(source, _FAILED, "Check recipe.source.url and the database"),
        closing(connection.cursor()) as cursor,
    ):
        cursor.execute(begin)


def _open(url: str) -> Any:
    scheme = urlsplit(url).scheme
    if scheme in ("postgresql", "postgres"):
        import adbc_driver_postgresql.dbapi

        return adbc_driver_postgresql.dbapi.connect(url, autocommit=True)
    if scheme == "sqlite":
        return SqliteConnection(require_file(Path(unquote(urlsplit(url).path.removeprefix("/")))))
    raise SourceError(
        _FAILED,
        got=f"scheme={scheme or 'none'}",
        expected="postgresql://user@host/database or sqlite:///file",
        do="Correct the settings under recipe.source.url",
    )


@contextmanager
def _run(connection: Any, table: TableName, query: str, source: SqlSource) -> Iterator[_Answer]:
    """The rows of a query, as they come; the database's own message if it refuses."""
    failed = f"Cannot read {table} from the source's database"
    do = f"Correct the settings under recipe.source.queries.{table}"
    with closing(connection.cursor()) as cursor:
        with _driver_errors(source, failed, do):
            cursor.execute(query)
            rows = cursor.fetch_record_batch()

        def batches() -> Iterator[pa.RecordBatch]:
            while True:
                with _driver_errors(source, failed, do):
                    batch = next(rows, None)
                if batch is None:
                    return
                yield batch

        with rows:
            yield _Answer(rows.schema, batches())


@contextmanager
def _driver_errors(source: SqlSource, failed: str, do: str) -> Iterator[None]:
    """The driver's errors as ours, without the secrets of the URL."""
    from adbc_driver_manager import Error

    try:
        yield
    except (Error, sqlite3.Error, pa.ArrowException, OSError) as error:
        message = hide_values(" ".join(str(error).split()), source.url)
        raise SourceError(failed, got=message[:500], expected="an answer of the database", do=do) from None


def _require_rows(part: PartWriter, table: TableName) -> None:
    if part.n_rows == 0:
        raise cannot_read(
            got=f"rows=0 of recipe.source.queries.{table}",
            expected="a query that gives rows",
            do="Correct the query, or leave it out of the settings",
        )


def check(source: SqlSource) -> None:
    """Connect, and ask each query for its columns alone.

    Raises:
        SourceError: as `read`, as far as that shows without the rows.
    """
    with _connect(source) as connection:
        for table, query in _queries(source):
            # On lines of its own: a query may end in a comment.
            names = f"SELECT * FROM (\n{query}\n) AS asked LIMIT 0"
            with _run(connection, table, names, source) as answer:
                _check_columns(source, table, answer.schema.names)


def _lacks_time(table: TableName, has: list[str]) -> bool:
    return schema.TIMESTAMP in TABLES[table].arrow().names and schema.TIMESTAMP not in has


def _check_columns(source: SqlSource, table: TableName, has: list[str]) -> None:
    query = f"recipe.source.queries.{table}"
    for name in missing_columns(table, has, source):
        if name == schema.TIMESTAMP:
            raise missing_time(table, query, has, f"Select it AS timestamp in {query}")
        raise SourceError(
            "Cannot map columns",
            got=f"{table}.{name} is required and missing",
            expected=f"a column of the query, which gives {', '.join(has)}",
            where=query,
            do=f"Select it AS {name}",
        )
