"""Small sources of every kind, written by hand."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from core.schema import TABLES
from core.settings.source import SourceForms
from validation.raw.parts import RawPart, RawTables
from validation.raw.writer import RawWriter
from validation.reading.dialect import Dialect
from validation.sources.ingest import plain_forms
from validation.staging.parts import find_parts, open_staging
from validation.staging.reading import read_sql

REVIEW = {
    "reviewerID": "A1",
    "asin": "B1",
    "helpful": [0, 1],
    "reviewText": "Warm tone.Easy to tune.",
    "overall": 5.0,
    "summary": "Fine",
    "unixReviewTime": 1393545600,
    "reviewTime": "02 28, 2014",
}


def review(**changes: Any) -> dict[str, Any]:
    return {**REVIEW, **changes}


def json_lines(*rows: Any) -> bytes:
    """Rows as JSON lines; text stays as it is."""
    return "".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows).encode()


def csv_bytes(rows: list[dict[str, Any]]) -> bytes:
    """Rows as CSV, header first."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def write(path: Path, data: bytes) -> Path:
    """Write a file, packed when its name says so."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def read_rows(path: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(path).to_pylist()
    return rows


def read_raw(reader: Any, source: Any, folder: Path) -> dict[str, list[dict[str, Any]]]:
    """What a reader gives, per table."""
    folder.mkdir(parents=True, exist_ok=True)
    writer = RawWriter(folder)
    reader.read(source, writer)
    return read_parts(folder, writer.parts, plain_forms(source))


def read_parts(
    folder: Path, parts: Sequence[RawPart], forms: SourceForms | None = None
) -> dict[str, list[dict[str, Any]]]:
    """The rows of a raw folder, per table: the contract's columns as the data gate reads them, and their source.

    What the source holds as text is text, whatever it will be read as.
    """
    rows: dict[str, list[dict[str, Any]]] = {table: [] for table in TABLES}
    note = RawTables(folder=folder, fingerprint="", rows={}, provided=(), parts=tuple(parts))
    with open_staging(folder / "scratch") as connection:
        for table in TABLES:
            dialect = Dialect.of(forms or SourceForms(), table)
            for one in find_parts(connection, folder, note, table):
                shown = ", ".join(
                    f"{column.name}_text AS {column.name}"
                    if column.type != pa.string() and one.types.get(column.name, "VARCHAR") == "VARCHAR"
                    else column.name
                    for column in TABLES[table].columns
                )
                found = connection.sql(
                    f"SELECT {shown}, attributes, source, source_text, r.source_file, r.source_number, r.source_error "
                    f"FROM ({read_sql(table, [one], dialect)}) r "
                    f"JOIN {one.file_sql()} p ON r.row_number = {one.offset} + p.file_row_number ORDER BY r.row_number"
                )
                rows[table] += [dict(zip(found.columns, row, strict=True)) for row in found.fetchall()]
    return rows


def events(n: int, *, users: int = 5, items: int = 7) -> list[dict[str, Any]]:
    """Good interactions in the contract's form."""
    return [
        {
            "event_id": f"e{i}",
            "user_id": f"u{i % users}",
            "item_id": f"i{i % items}",
            "event": "rating" if i % 2 else "purchase",
            "value": str(1 + i % 5) if i % 2 else "",
            "timestamp": f"2025-01-{1 + i % 28:02d}T10:{i % 60:02d}:00",
        }
        for i in range(n)
    ]
