"""SQLite as Arrow batches, as the drivers of other databases give them: types are those of all rows of a query.

A column of SQLite has no type, each of its values has one. ADBC's driver takes them from the first rows, and fails on a
column that is null there and fractional later.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

_BATCH_ROWS = 50_000


class SqliteConnection:
    """A connection that reads only, in the transaction that `BEGIN` opens."""

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None)
        self._connection.text_factory = bytes  # quickest, and what is no UTF-8 spoils its own row alone

    def cursor(self) -> SqliteCursor:
        return SqliteCursor(self._connection)

    def close(self) -> None:
        self._connection.close()


class SqliteCursor:
    """Runs a query, and gives its rows as Arrow batches."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection, self._cursor, self._query = connection, connection.cursor(), ""

    def execute(self, query: str) -> None:
        self._query = query
        self._cursor.execute(query)

    def fetch_record_batch(self) -> SqliteBatches:
        """The rows.

        Raises:
            sqlite3.Error: the query gives no columns, or a value cannot be read.
        """
        if self._cursor.description is None:
            raise sqlite3.ProgrammingError("the query gives no columns")
        names = [column[0] for column in self._cursor.description]
        types = [_type_of(found) for found in self._found(len(names))]
        return SqliteBatches(self._cursor, pa.schema(list(zip(names, types, strict=True))))

    def close(self) -> None:
        self._cursor.close()

    def _found(self, n_columns: int) -> list[set[str]]:
        """The types of each column's values over all rows, "null" left out."""
        columns = [f"c{number}" for number in range(n_columns)]
        seen = ", ".join(f"group_concat(DISTINCT typeof({column}))" for column in columns)
        # On lines of its own: a query may end in a comment.
        asked = f"WITH asked({', '.join(columns)}) AS (\n{self._query}\n) SELECT {seen} FROM asked"
        row = self._connection.execute(asked).fetchone()
        return [set((types or b"").decode().split(",")) - {"null", ""} for types in row]


class SqliteBatches:
    """Batches of a cursor's rows, to be taken one after the other."""

    def __init__(self, cursor: sqlite3.Cursor, schema: pa.Schema) -> None:
        self._cursor, self.schema = cursor, schema

    def __enter__(self) -> SqliteBatches:
        return self

    def __exit__(self, *_: object) -> None:
        self._cursor.close()

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        return self

    def __next__(self) -> pa.RecordBatch:
        rows = self._cursor.fetchmany(_BATCH_ROWS)
        if not rows:
            raise StopIteration
        columns = zip(*rows, strict=True)
        arrays = [_array(values, type_) for values, type_ in zip(columns, self.schema.types, strict=True)]
        return pa.RecordBatch.from_arrays(arrays, schema=self.schema)


def _type_of(found: set[str]) -> pa.DataType:
    """The type that holds all values: text holds every one, as a shop's own page would show it."""
    if found and found <= {"integer", "real"}:
        return pa.float64() if "real" in found else pa.int64()
    return pa.binary() if found == {"blob"} else pa.string()


def _array(values: tuple[Any, ...], type_: pa.DataType) -> pa.Array:
    if type_ == pa.float64():  # integers beyond 2^53 among fractions: as SQLite compares them, and Arrow refuses
        values = tuple(None if value is None else float(value) for value in values)
    if type_ != pa.string():
        return pa.array(values, type_)
    try:
        return pa.array(values, pa.binary()).cast(type_)
    except (pa.ArrowInvalid, pa.ArrowTypeError):  # no UTF-8, or numbers among the texts
        return pa.array([None if value is None else _as_text(value) for value in values], type_)


def _as_text(value: int | float | bytes) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
