"""Whether a file names a person, whatever kind of file it is: columns, rows, members and text are looked into."""

from __future__ import annotations

import gzip
import io
import json
import sqlite3
import zipfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from core.schema import USER_ID
from core.sql import identifier, literal
from flows.erasure.person import Person

_PARQUET, _SQLITE, _ZIP, _GZIP, _ZSTD = b"PAR1", b"SQLite format 3\0", b"PK\x03\x04", b"\x1f\x8b", b"(\xb5/\xfd"
_BUSY_TIMEOUT_S = 60.0
_NUMPY = b"\x93NUMPY"
PIECE_BYTES = 1 << 24
_KINDS = (
    (_PARQUET, "parquet"),
    (_SQLITE, "sqlite"),
    (_ZIP, "zip"),
    (_GZIP, "gzip"),
    (_ZSTD, "zstd"),
    (_NUMPY, "numpy"),
)


def kind_of(path: Path) -> str:
    """`parquet`, `sqlite`, `zip`, `gzip`, `zstd`, `numpy`, `json` or `other`."""
    with path.open("rb") as file:
        head = file.read(16)
    for start, kind in _KINDS:
        if head.startswith(start):
            return kind
    return "json" if path.suffix == ".json" else "other"


def names(path: Path, person: Person, piece_bytes: int = PIECE_BYTES) -> bool:
    """Whether a file names the person.

    Args:
        piece_bytes: How much is held at a time of a file whose bytes are searched.
    """
    match kind_of(path):
        case "parquet":
            return _in_parquet(path, person)
        case "sqlite":
            return any(found for _, found in count_rows(path, person)) or _in_bytes(path, person, piece_bytes)
        case "json":
            return _in_json(path.read_bytes(), person)
        case "zip":
            with zipfile.ZipFile(path) as file:
                return any(person.in_text(name) or _in_content(file.read(name), person) for name in file.namelist())
        case "numpy":
            return _in_content(path.read_bytes(), person)
        case "gzip":
            with gzip.open(path) as file:
                return person.in_bytes(file.read())
        case "zstd":
            with pa.input_stream(str(path), compression="zstd") as file:
                return person.in_bytes(file.read())
        case _:
            return _in_bytes(path, person, piece_bytes)


def pieces(file: BinaryIO, person: Person, piece_bytes: int = PIECE_BYTES) -> Iterator[tuple[int, bytes, bool, bool]]:
    """A file in pieces that overlap so far that every id stands in one with all that tells whether it is alone.

    Args:
        piece_bytes: How long they are; at least six times as long as the id may be.
    Yields:
        Where a piece begins, its bytes, and whether it is the first and the last one.
    """
    size, start = max(piece_bytes, 6 * person.most_bytes), 0
    is_last = False
    while not is_last:
        file.seek(start)
        piece = file.read(size)
        is_last = len(piece) < size
        yield start, piece, start == 0, is_last
        start += size - 4 * person.most_bytes


def count_rows(path: Path, person: Person) -> Iterator[tuple[str, int]]:
    """Each table of a SQLite file, with the number of its rows that name the person."""
    with open_sqlite(path, person) as connection:
        for table, columns in tables_of(connection):
            conditions = " OR ".join(mentions_sql(column, person) for column in columns) or "false"
            ((count,),) = connection.execute(f"SELECT count(*) FROM {identifier(table)} WHERE {conditions}")
            yield table, int(count)


def open_sqlite(path: Path, person: Person) -> closing[sqlite3.Connection]:
    """A SQLite file, with a function that says whether a value of a column names the person."""
    uri = f"{path.absolute().as_uri()}?mode=rw"
    connection = sqlite3.connect(uri, uri=True, timeout=_BUSY_TIMEOUT_S, isolation_level=None)
    connection.create_function("names", 2, lambda value, column: int(in_cell(value, str(column), person)))
    return closing(connection)


def tables_of(connection: sqlite3.Connection) -> list[tuple[str, list[str]]]:
    """Tables that keep rows of their own, with their columns."""
    found = connection.execute(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' AND sql NOT LIKE '%VIRTUAL%'"
    ).fetchall()
    return [
        (str(name), [str(row[1]) for row in connection.execute(f"PRAGMA table_info({identifier(name)})")])
        for (name,) in found
    ]


def mentions_sql(column: str, person: Person) -> str:
    """SQL over a row: this column names the person. What does not hold the letters of the id is passed over quickly."""
    name = identifier(column)
    quick = " OR ".join(f"instr({name}, x'{one.encode().hex()}') > 0" for one in person.hints)
    quick_text = " OR ".join(f"instr({name}, CAST(x'{one.encode().hex()}' AS TEXT)) > 0" for one in person.hints)
    label = literal(column)
    return f"(CASE typeof({name}) WHEN 'blob' THEN {quick} ELSE {quick_text} END AND names({name}, {label}))"


def in_cell(value: Any, column: str, person: Person) -> bool:
    """Whether a value of a table names the person: as JSON where it is some, else as text."""
    if isinstance(value, bytes):
        return person.in_bytes(value)
    if not isinstance(value, str):
        return False
    parsed = parse_json(value)
    return person.in_json(value if parsed is None else parsed, column)


def parse_json(text: str) -> Any:
    """An object or a list that text is; None for other text."""
    if not text.lstrip().startswith(("{", "[")):
        return None
    try:
        return json.loads(text)
    except ValueError:
        return None


def _in_content(content: bytes, person: Person) -> bool:
    """Bytes as they are; texts of an array stand side by side, with nothing between them."""
    if not content.startswith(_NUMPY):
        return person.in_bytes(content)
    try:
        array = np.load(io.BytesIO(content), allow_pickle=False)
    except ValueError:
        return person.in_bytes(content)
    if array.dtype.kind not in "SU":
        return False
    values = [one.decode(errors="replace") if isinstance(one, bytes) else one for one in np.unique(array).tolist()]
    return any(in_cell(value, "", person) for value in values)


def _in_json(content: bytes, person: Person) -> bool:
    try:
        return person.in_json(json.loads(content))
    except ValueError:
        return person.in_bytes(content)


def _in_bytes(path: Path, person: Person, piece_bytes: int) -> bool:
    with path.open("rb") as file:
        return any(
            person.in_bytes(piece, is_first=is_first, is_last=is_last)
            for _, piece, is_first, is_last in pieces(file, person, piece_bytes)
        )


def _in_parquet(path: Path, person: Person) -> bool:
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(batch_size=20_000):
            for name, column in zip(batch.schema.names, batch.columns, strict=True):
                if any(_in_strings(leaf, field, person) for field, leaf in _leaves(name, column)):
                    return True
    return False


def _leaves(name: str, column: pa.Array) -> Iterator[tuple[str, pa.Array]]:
    """The arrays of text within a column, each with its field's name."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        yield from _leaves(name, column.dictionary)
    elif pa.types.is_struct(kind):
        for field in kind:
            yield from _leaves(field.name, pc.struct_field(column, field.name))
    elif pa.types.is_map(kind):
        yield from _leaves(name, column.keys)
        yield from _leaves(name, column.items)
    elif pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        yield from _leaves(name, column.flatten())
    elif pa.types.is_string(kind) or pa.types.is_large_string(kind):
        yield name, column
    elif pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        yield name, pa.array([None if one is None else one.decode(errors="replace") for one in column.to_pylist()])


def _in_strings(values: pa.Array, field: str, person: Person) -> bool:
    if field == USER_ID and pc.any(pc.equal(values, person.id)).as_py():
        return True
    for one in person.hints:
        held = values.filter(pc.fill_null(pc.match_substring(values, one), False))
        if any(in_cell(text, field, person) for text in pc.unique(held).to_pylist()):
            return True
    return False
