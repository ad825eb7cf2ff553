"""Writing a raw folder: parts as Arrow columns, or row by row for sources that are made of single events."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from types import TracebackType
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from core.schema import TABLE_NAMES, TABLES, TableName
from core.settings.source import SourceForms
from core.sql import identifier
from core.tombstones import Tombstones
from validation.raw.forgotten import ForgottenRows
from validation.raw.parts import (
    SOURCE,
    SOURCE_ERROR,
    SOURCE_FILE,
    SOURCE_NUMBER,
    SOURCE_TEXT,
    Origin,
    RawPart,
    TableMapping,
)

ATTRIBUTES = "attributes"  # of a row-wise part: a row's columns beside the contract's, JSON text

_BATCH_ROWS = 50_000


class PartWriter:
    """Writes one part, batch by batch.

    Attributes:
        path: The Parquet file.
        source: Type of the column `source`.
        n_rows: Rows given so far, left out or not; sources without line numbers count by it.

    Args:
        left_out: Says which rows are not written.
    """

    def __init__(self, path: Path, source: pa.StructType, left_out: ForgottenRows) -> None:
        self.path, self.source, self.n_rows = path, source, 0
        self.left_out = left_out
        self._schema = pa.schema(
            [
                pa.field(SOURCE, source),
                pa.field(SOURCE_TEXT, pa.string()),
                pa.field(SOURCE_FILE, pa.string()),
                pa.field(SOURCE_NUMBER, pa.int64()),
                pa.field(SOURCE_ERROR, pa.string()),
            ]
        )
        # Soon pruned: quick to write counts more than small, and ids hardly repeat. Without statistics, because from
        # those of a text column of one value and nulls DuckDB 2.0 concludes that all is null.
        self._file = pq.ParquetWriter(
            path, self._schema, compression="lz4", use_dictionary=[SOURCE_FILE], write_statistics=False
        )

    def write(
        self,
        source: pa.Array,
        file: str | pa.Array,
        numbers: pa.Array,
        texts: pa.Array | None = None,
        errors: pa.Array | None = None,
    ) -> None:
        """Append rows.

        Args:
            source: The rows' columns, of the part's type; null where a row could not be read. Shape (n,).
            file: The source's name, one for all rows or one each.
            numbers: Line or row in the source, int64. Shape (n,).
            texts: The rows' own text, where `source` does not hold all of it. Shape (n,).
            errors: Why a row could not be read, else null. Shape (n,).
        """
        n = len(source)
        if n:
            nothing = pa.nulls(n, pa.string())
            files = pa.repeat(pa.scalar(file, pa.string()), n) if isinstance(file, str) else file
            columns = [
                source,
                nothing if texts is None else texts,
                files,
                numbers,
                nothing if errors is None else errors,
            ]
            self._file.write_table(self.left_out.keep(pa.Table.from_arrays(columns, schema=self._schema)))
            self.n_rows += n

    def close(self) -> None:
        self._file.close()


@dataclass
class RawWriter:
    """Collects the parts of a raw folder.

    Attributes:
        folder: Where the parts go; must exist.
        parts: Those that are written whole.
        provided: The tables that the source has of its own; ids of the others are derived later.
        tombstones: Whose rows are left out of every part.
        forms: How the source writes its values.
        forgotten: Rows that were left out, by table.
    """

    folder: Path
    tombstones: Tombstones = field(default_factory=Tombstones)
    forms: SourceForms = field(default_factory=SourceForms)
    forgotten: dict[TableName, int] = field(default_factory=dict)
    parts: list[RawPart] = field(default_factory=list)
    provided: set[TableName] = field(default_factory=set)

    @contextmanager
    def open_part(
        self,
        name: str,
        source: pa.StructType,
        tables: Mapping[TableName, TableMapping],
        origin: Origin = "source",
    ) -> Iterator[PartWriter]:
        """Give the writer of a new part, and note the part when the block ends well.

        Args:
            name: The part's file is called `<name>.parquet`; one that is taken gets a number.
            source: Type of the column `source`.
            tables: How the part's rows read as rows of which tables.
        """
        taken = {part.file for part in self.parts}
        names = (f"{name}{'' if n == 1 else f'-{n}'}.parquet" for n in range(1, len(taken) + 2))
        file = next(candidate for candidate in names if candidate not in taken)
        part = self.new_part(file, source, tables)
        try:
            yield part
        finally:
            part.close()
        self.add_part(part, tables, origin)

    def new_part(self, file: str, source: pa.StructType, tables: Mapping[TableName, TableMapping]) -> PartWriter:
        """The writer of a part that counts once it is added."""
        return PartWriter(self.folder / file, source, ForgottenRows(self.tombstones, tables, self.forms))

    def add_part(self, part: PartWriter, tables: Mapping[TableName, TableMapping], origin: Origin) -> None:
        """Note a part that is written whole."""
        self.parts.append(RawPart(file=part.path.name, origin=origin, tables=dict(tables)))
        for table, count in part.left_out.counts.items():
            if count:
                self.forgotten[table] = self.forgotten.get(table, 0) + count
        self.provided.update(tables if origin == "source" else [])

    def count_rows(self) -> dict[TableName, int]:
        """Rows per table, over all parts."""
        rows: dict[TableName, int] = dict.fromkeys(TABLE_NAMES, 0)
        with duckdb.connect(config={"threads": 2}) as connection:
            for part in self.parts:
                for table, mapping in part.tables.items():
                    gives = f"{SOURCE_ERROR} IS NULL AND ({mapping.condition or 'true'})"
                    unread = f" OR {SOURCE_ERROR} IS NOT NULL" if mapping.unreadable else ""
                    ((n,),) = connection.execute(
                        f"SELECT count(*) FROM read_parquet(?) WHERE ({gives}){unread}", [str(self.folder / part.file)]
                    ).fetchall()
                    rows[table] += int(n)
        return rows


class RowParts:
    """Row-wise parts, one per table that gets rows: the contract's columns as text, and `attributes`."""

    def __init__(self, writer: RawWriter, name: str, origin: Origin = "source") -> None:
        self._writer, self._name, self._origin = writer, name, origin
        self._batches: dict[TableName, list[tuple[str | int | None, ...]]] = {}
        self._parts: dict[TableName, PartWriter] = {}
        self.n_rows = 0

    def __enter__(self) -> RowParts:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                for table in self._batches:
                    self._flush(table)
        finally:
            for part in self._parts.values():
                part.close()
        if kind is None:
            for table in TABLE_NAMES:
                if table in self._parts:
                    self._writer.add_part(self._parts[table], {table: row_mapping(table)}, self._origin)

    def add(
        self,
        table: TableName,
        values: Mapping[str, Any],
        *,
        source_file: str,
        source_number: int,
        attributes: Mapping[str, Any] | None = None,
    ) -> None:
        """Add a row.

        Args:
            values: Contract column to value, of whatever type; columns left out are null.
            source_file, source_number: Where it stood.
            attributes: The row's further columns.
        """
        cells = [as_text(values.get(column.name)) for column in TABLES[table].columns]
        further = {name: text for name, value in (attributes or {}).items() if (text := as_text(value)) is not None}
        batch = self._batches.setdefault(table, [])
        batch.append((*cells, json.dumps(further, ensure_ascii=False) if further else None, source_file, source_number))
        self.n_rows += 1
        if len(batch) >= _BATCH_ROWS:
            self._flush(table)

    def add_columns(
        self, table: TableName, values: Mapping[str, pa.Array], *, source_file: str, source_numbers: pa.Array
    ) -> None:
        """Add rows, as columns of text that `as_text` would give.

        Args:
            values: Contract column to its texts; columns left out are null. Shape (n,) each.
            source_file: Where all of them stood.
            source_numbers: Where in it, int64. Shape (n,).
        """
        self._batches.setdefault(table, [])
        self._flush(table)
        nothing = pa.nulls(len(source_numbers), pa.string())
        cells = [values.get(name, nothing) for name in (*_column_names(table), ATTRIBUTES)]
        self._part(table).write(struct_of(cells, row_type(table)), source_file, source_numbers)
        self.n_rows += len(source_numbers)

    def _flush(self, table: TableName) -> None:
        batch = self._batches[table]
        if not batch:
            return
        *cells, files, numbers = zip(*batch, strict=True)
        source = struct_of([pa.array(column, pa.string()) for column in cells], row_type(table))
        self._part(table).write(source, pa.array(files, pa.string()), pa.array(numbers, pa.int64()))
        batch.clear()

    def _part(self, table: TableName) -> PartWriter:
        if table not in self._parts:
            file = f"{self._name}-{table}.parquet"
            self._parts[table] = self._writer.new_part(file, row_type(table), {table: row_mapping(table)})
        return self._parts[table]


def row_type(table: TableName) -> pa.StructType:
    """Type of `source` of a row-wise part: the contract's columns and `attributes`, all text."""
    return pa.struct([pa.field(name, pa.string()) for name in (*_column_names(table), ATTRIBUTES)])


def row_mapping(table: TableName) -> TableMapping:
    """How a row-wise part reads as its table."""
    columns = {name: field_sql(name) for name in _column_names(table)}
    return TableMapping(columns=columns, attributes=field_sql(ATTRIBUTES) if TABLES[table].open else "")


def struct_of(columns: Sequence[pa.Array], kind: pa.StructType, valid: pa.Array | None = None) -> pa.Array:
    """A `source` column from its fields.

    Args:
        columns: One array per field of `kind`. Shape (n,) each.
        valid: True where the row could be read; all of them if left out. Shape (n,).
    """
    mask = None if valid is None else pa.compute.invert(valid)
    return pa.StructArray.from_arrays(columns, fields=list(kind), mask=mask)


def field_names(names: Sequence[str]) -> list[str]:
    """A source's column names as fields of `source`: never blank, and distinct without regard to case, as in SQL."""
    taken: set[str] = set()
    fields = []
    for number, name in enumerate(names, start=1):
        field = plain = name.strip() or f"column_{number}"
        copy = 1
        while field.lower() in taken:
            copy += 1
            field = f"{plain}_{copy}"
        taken.add(field.lower())
        fields.append(field)
    return fields


def field_sql(name: str) -> str:
    """The expression of a field of `source`."""
    return f"{SOURCE}.{identifier(name)}"


def as_text(value: Any) -> str | None:
    """A source's value as text: dates as ISO 8601, lists joined by ", ", null and not-a-number as None."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return None if value != value else str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
    if isinstance(value, datetime):
        return (value if value.tzinfo else value.replace(tzinfo=UTC)).isoformat()
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, (list, tuple)):
        return ", ".join(text for text in map(as_text, value) if text)
    if isinstance(value, Mapping):
        return json.dumps(value, ensure_ascii=False, default=str)
    return str(value)


def _column_names(table: TableName) -> list[str]:
    return [column.name for column in TABLES[table].columns]
