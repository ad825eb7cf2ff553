"""Parquet into a part, row group by row group, types kept; a damaged file or row group is said by name."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from validation.errors import cannot_read
from validation.formats.files import require_file
from validation.raw.writer import PartWriter, field_names, struct_of

_BATCH_ROWS = 131_072


def parquet_schema(path: Path) -> pa.Schema:
    """The columns and their types.

    Raises:
        SourceError: missing, empty, or the footer is damaged.
    """
    with _open(path) as file:
        return file.schema_arrow


def source_type(schema: pa.Schema) -> pa.StructType:
    """Type of `source` for rows of a schema. Extension types are kept as their storage types."""
    names = field_names(schema.names)
    return pa.struct([pa.field(name, _stored(kind)) for name, kind in zip(names, schema.types, strict=True)])


def write_batches(batches: Iterator[pa.RecordBatch], part: PartWriter, file: str) -> None:
    """Append Arrow batches to a part; rows are numbered from 1.

    Args:
        file: What the rows' source is called.
    """
    for batch in batches:
        numbers = pa.array(range(part.n_rows + 1, part.n_rows + 1 + len(batch)), pa.int64())
        part.write(struct_of(stored_columns(batch), part.source), file, numbers)


def stored_columns(batch: pa.RecordBatch) -> list[pa.Array]:
    """The columns of a batch, extension types as their storage types."""
    return [column.storage if isinstance(column, pa.ExtensionArray) else column for column in batch.columns]


def write_parquet(path: Path, part: PartWriter) -> None:
    """Append a Parquet file to a part.

    Raises:
        SourceError: missing, empty, without rows, or the footer or a row group is damaged.
    """
    with _open(path) as file:
        if file.metadata.num_rows == 0:
            raise cannot_read(got=f"rows=0 in {path}", expected="a file with rows", do="Fetch the file again")
        for group in range(file.num_row_groups):
            write_batches(_row_group(file, group, path), part, path.name)


def _row_group(file: pq.ParquetFile, group: int, path: Path) -> Iterator[pa.RecordBatch]:
    try:
        yield from file.iter_batches(batch_size=_BATCH_ROWS, row_groups=[group])
    except (pa.ArrowException, OSError) as error:
        raise cannot_read(
            got=f"row group={group}: {str(error).splitlines()[0]}",
            expected=f"{file.num_row_groups} whole row groups",
            where=str(path),
            do="The file is damaged; write or fetch it again",
        ) from error


def _stored(kind: pa.DataType) -> pa.DataType:
    return kind.storage_type if isinstance(kind, pa.BaseExtensionType) else kind


def _open(path: Path) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(require_file(path))
    except (pa.ArrowException, OSError) as error:
        raise cannot_read(
            got=f"footer: {str(error).splitlines()[0]}",
            expected="a whole Parquet file",
            where=str(path),
            do="The file is truncated or no Parquet; write or fetch it again",
        ) from error
