"""Rows that came out of quarantine: files `<table>-*.parquet` of values as JSON text, one part per file."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pyarrow as pa

from core.schema import TABLE_NAMES, TableName
from core.sql import json_pointer
from validation.raw.parts import SOURCE_FILE, SOURCE_NUMBER
from validation.raw.writer import ATTRIBUTES, RawWriter, row_mapping, row_type, struct_of

_BATCH_ROWS = 50_000


def locate(folder: Path | None) -> list[Path]:
    """The files, by name; none where the folder does not exist."""
    return sorted(folder.glob("*.parquet")) if folder is not None and folder.is_dir() else []


def read(folder: Path | None, writer: RawWriter) -> None:
    """Write a part for each file, of origin "readmitted"."""
    for path in locate(folder):
        table = _table(path)
        kind = row_type(table)
        names = [field.name for field in kind if field.name != ATTRIBUTES]
        cells = ", ".join(f'json_extract_string("values", {json_pointer(name)})' for name in names)
        query = f"SELECT {cells}, nullif({ATTRIBUTES}, ''), {SOURCE_FILE}, {SOURCE_NUMBER} FROM read_parquet(?)"
        with (
            duckdb.connect(config={"threads": 1}) as connection,
            writer.open_part(f"readmitted-{path.stem}", kind, {table: row_mapping(table)}, "readmitted") as part,
        ):
            rows = connection.sql(query, params=[str(path)]).to_arrow_reader(_BATCH_ROWS)
            for batch in rows:
                *columns, files, numbers = batch.columns
                part.write(struct_of(columns, kind), files, numbers.cast(pa.int64()))


def _table(path: Path) -> TableName:
    return next(table for table in TABLE_NAMES if path.stem.split("-")[0] == table)
