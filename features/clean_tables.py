"""The clean tables, as the features find them."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from core.schema import TABLE_NAMES, TABLES, TableName
from features.errors import CleanTablesError


def check_clean_tables(clean: Path) -> None:
    """See that the folder holds the four tables with the contract's columns.

    Raises:
        CleanTablesError: a table or a column is missing, or a file is not Parquet.
    """
    for table in TABLE_NAMES:
        path = table_path(clean, table)
        if not path.is_file():
            raise CleanTablesError(
                "Cannot compute features",
                got=f"{table}={path}",
                expected="a Parquet file of the clean tables",
                do="Validate the source first, and pass the folder that validation wrote",
            )
        try:
            found = pq.read_schema(path).names
        except (pa.ArrowInvalid, OSError) as error:
            raise CleanTablesError(
                "Cannot compute features", got=f"{table}={path}", expected=f"Parquet, but {error}", do="Validate again"
            ) from error
        missing = [column.name for column in TABLES[table].columns if column.name not in found]
        if missing:
            raise CleanTablesError(
                "Cannot compute features",
                got=f"columns={found}",
                expected=f"also {missing}",
                where=str(path),
                do="Validate again: the clean tables are of another version",
            )


def table_path(clean: Path, table: TableName) -> Path:
    """Where a clean table lies; absolute, because Feast resolves other paths against the working directory."""
    return clean.absolute() / f"{table}.parquet"


def attribute_columns(clean: Path) -> list[str]:
    """The columns of `users` beyond the contract's: attributes, as strings."""
    own = {column.name for column in TABLES["users"].columns}
    return [name for name in pq.read_schema(table_path(clean, "users")).names if name not in own]
