"""A source's raw parts as the rows of one table: which rows they have, and where each stands."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from core.schema import TIME, TableName
from core.sql import literal
from validation.raw.parts import RawPart, RawTables, TableMapping

STAGING_ORDER: tuple[TableName, ...] = ("users", "items", "interactions", "feedback")
SQL_TYPES = {pa.string(): "VARCHAR", pa.float64(): "DOUBLE", pa.int64(): "BIGINT", TIME: "TIMESTAMPTZ"}
_OWN_FIELD = re.compile(r"\bsource\b")


@dataclass(frozen=True)
class StagedPart:
    """A part as rows of one table: their first number, and the types that its expressions give."""

    index: int
    part: RawPart
    path: Path
    mapping: TableMapping
    offset: int
    types: Mapping[str, str]

    def file_sql(self) -> str:
        """The rows of the file, with `file_row_number`."""
        return f"read_parquet({literal(str(self.path))}, file_row_number = true)"


def open_staging(folder: Path) -> duckdb.DuckDBPyConnection:
    """A DuckDB that keeps to two threads and 2 GB and spills into `folder`; the caller closes it."""
    connection = duckdb.connect()
    connection.execute(f"SET temp_directory = {literal(str(folder / 'spill'))}")
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute("SET threads = 2")
    connection.execute("SET memory_limit = '2GB'")
    # Nothing here outlives the run: packing the tables at the first change of them would take seconds for nothing.
    connection.execute("SET checkpoint_threshold = '1TB'")
    return connection


def lock_down(connection: duckdb.DuckDBPyConnection, folders: Sequence[Path]) -> None:
    """From now on the connection reads and writes files below these folders alone, and its settings stay.

    The settings' own SQL runs in it: it sees the staged tables, and neither other files nor the process's variables.
    """
    allowed = dict.fromkeys(str(path) for folder in folders for path in (folder, folder.absolute(), folder.resolve()))
    connection.execute(f"SET allowed_directories = [{', '.join(map(literal, allowed))}]")
    connection.execute("SET python_enable_replacements = false")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")


def find_parts(connection: duckdb.DuckDBPyConnection, raw: Path, note: RawTables, table: TableName) -> list[StagedPart]:
    """The parts that give rows of a table, in their order."""
    parts = []
    offset = 0
    for index, part in enumerate(note.parts):
        if table not in part.tables:
            continue
        mapping, path = part.tables[table], raw / part.file
        expressions = ", ".join(f"{sql} AS {name}" for name, sql in mapping.columns.items())
        described = connection.execute(
            f"DESCRIBE SELECT {expressions or '1'} FROM read_parquet({literal(str(path))})"
        ).fetchall()
        types = {str(name): str(type_).strip('"') for name, type_, *_ in described}
        parts.append(StagedPart(index, part, path, mapping, offset, types))
        offset += pq.read_metadata(path).num_rows
    return parts


def mapped_columns(parts: Sequence[StagedPart]) -> set[str]:
    """The contract's columns that the source itself gives, in any of its parts."""
    return {
        name
        for one in parts
        if one.part.origin == "source"
        for name, sql in one.mapping.columns.items()
        if _OWN_FIELD.search(sql)
    }
