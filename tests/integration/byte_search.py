"""Every place below a folder in which some text stands, however it is packed or escaped.

Knows nothing of how the project removes anything, so that it can judge that.
"""

from __future__ import annotations

import base64
import gzip
import json
import sqlite3
import zipfile
from collections.abc import Iterator
from contextlib import closing
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import pyarrow as pa
import pyarrow.parquet as pq


def spellings(text: str) -> set[bytes]:
    """The bytes by which a text may be kept."""
    escaped = {text, json.dumps(text)[1:-1], json.dumps(json.dumps(text))[3:-3], escape(text), ascii(text)[1:-1]}
    escaped |= {quote(text), quote(text, safe=""), quote_plus(text)}
    found = {one.encode() for one in escaped} | {text.encode("utf-16-le"), text.encode("latin-1", "replace")}
    for shift in range(3):  # within longer text in base64, without the characters that its neighbours decide
        inside = base64.b64encode(b"\0" * shift + text.encode())
        found.add(inside[4 if shift else 0 : len(inside) - 4])
    return found


def find(text: str, *roots: Path) -> set[str]:
    """The files that hold the text, as paths below their root."""
    wanted = spellings(text)
    found = set()
    for root in roots:
        for path in root.rglob("*"):
            if path.is_file() and any(one in content for content in contents(path) for one in wanted):
                found.add(path.relative_to(root).as_posix())
    return found


def contents(path: Path) -> Iterator[bytes]:
    """The bytes of a file, and what is packed in it."""
    plain = path.read_bytes()
    yield plain
    if plain.startswith(b"PAR1"):
        yield repr(pq.read_table(path).to_pylist()).encode()
        yield "\n".join(_texts(pq.read_table(path).to_pylist())).encode()
    elif plain.startswith(b"PK\x03\x04"):
        with zipfile.ZipFile(path) as packed:
            yield from (packed.read(name) for name in packed.namelist())
    elif plain.startswith(b"\x1f\x8b"):
        yield gzip.decompress(plain)
    elif plain.startswith(b"(\xb5/\xfd"):
        with pa.input_stream(str(path), compression="zstd") as packed:
            yield packed.read()
    elif plain.startswith(b"SQLite format 3\0"):
        with closing(sqlite3.connect(path)) as connection:
            for (table,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
                for row in connection.execute(f'SELECT * FROM "{table}"'):
                    yield from (one if isinstance(one, bytes) else str(one).encode() for one in row)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from (str(key), *_texts(inner))
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _texts(inner)
    else:
        yield str(value)
