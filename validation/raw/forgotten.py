"""Rows of people who are forgotten: told from the others before they are written anywhere.

A source may go on exporting them for weeks. The raw folder keeps what the source gave, byte for byte, so they are left
out there already, by the id as every table reads it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from html import unescape
from urllib.parse import unquote, unquote_plus

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from core.schema import USER_ID, TableName
from core.settings.source import SourceForms
from core.tombstones import Tombstones
from validation.raw.parts import SOURCE_ERROR, SOURCE_TEXT, TableMapping
from validation.reading.dialect import Dialect
from validation.reading.values import id_sql, mapped_sql, text_sql

_ROWS = "rows_of_part"
_QUOTED = tuple(map(re.compile, (r'"((?:[^"\\]|\\.)*)"', r'"((?:[^"]|"")*)"', r"'([^']*)'")))
_SEPARATORS = (",", ";", "\t", "|", None)  # None: any white space
_BETWEEN = re.compile(r"[\s,;|:=\"'{}\[\]()]+")
_EDGES = " \t\r\n\"'{}[]"


class ForgottenRows:
    """Tells which rows of one part are of somebody forgotten.

    Args:
        tombstones: Who is.
        tables: How the part's rows read as rows of which tables.
        forms: How the source writes its values.
    """

    def __init__(
        self, tombstones: Tombstones, tables: Mapping[TableName, TableMapping], forms: SourceForms | None = None
    ) -> None:
        self._tombstones, self._tables = tombstones, tables
        self._forms = forms or SourceForms()
        self._marks: dict[TableName, str] = {}
        self.counts: dict[TableName, int] = dict.fromkeys(tables, 0)

    def keep(self, rows: pa.Table) -> pa.Table:
        """The rows of the others, in their order; those left out are counted by table."""
        if not self._tombstones.forgotten or not len(rows):
            return rows
        with duckdb.connect(config={"threads": 1}) as connection:
            connection.execute("SET TimeZone = 'UTC'")
            connection.register(_ROWS, rows)
            for table, mapping in self._tables.items():
                if table not in self._marks:
                    self._marks[table] = self._mark(connection, table, mapping)
            marks = ", ".join(f"{sql} AS {table}" for table, sql in self._marks.items())
            found = connection.sql(
                f"SELECT {marks}, {SOURCE_ERROR} IS NOT NULL AS unread FROM {_ROWS}"
            ).to_arrow_table()
        of_table = {table: found.column(table).to_numpy() for table in self._tables}
        unread = self._unread(rows, np.flatnonzero(found.column("unread").to_numpy()))
        gone = unread.copy()
        for table, mark in of_table.items():
            gone |= mark
            self.counts[table] += int(np.sum(mark | unread if self._tables[table].unreadable else mark))
        return rows.filter(pa.array(~gone)) if gone.any() else rows

    def _unread(self, rows: pa.Table, places: np.ndarray) -> np.ndarray:
        """Of the rows at these places, which could not be read, those that name somebody forgotten."""
        found, texts = np.zeros(len(rows), dtype=bool), rows.column(SOURCE_TEXT)
        for place in places.tolist():
            found[place] = names_forgotten(str(texts[place].as_py() or ""), self._tombstones)
        return found

    def _mark(self, connection: duckdb.DuckDBPyConnection, table: TableName, mapping: TableMapping) -> str:
        """SQL over a row of the part: as a row of this table, it is of somebody forgotten."""
        expression = mapping.columns.get(USER_ID)
        if expression is None:
            return "false"
        described = connection.execute(f"DESCRIBE SELECT {expression} AS one FROM {_ROWS}").fetchall()
        dialect = Dialect.of(self._forms, table)
        own = text_sql("one", str(described[0][1]).strip('"'), dialect.of_column(USER_ID), is_id=True)
        # As it stands there, and as the settings map it: both are the person.
        ids = [id_sql(f"({text})") for text in dict.fromkeys((own, mapped_sql(USER_ID, own, dialect)))]
        found = " OR ".join(self._tombstones.sql(one) for one in ids)
        condition = f"({mapping.condition or 'true'})"
        return f"coalesce(list_transform([{expression}], lambda one: {found})[1] AND {condition}, false)"


def names_forgotten(text: str, tombstones: Tombstones) -> bool:
    """Whether a row that could not be read as columns holds the id of somebody forgotten, as one of its values."""
    values = dict.fromkeys(value for value in _values(text) if value)
    return any(tombstones.holds(one) for value in values for one in dict.fromkeys(_readings(value)) if one)


def _values(text: str) -> Iterator[str]:
    """All that may be a value of a line, whatever parts them: none of it has to be one."""
    for quoted in _QUOTED:
        yield from quoted.findall(text)
    for separator in _SEPARATORS:
        for value in text.split(separator):
            yield value.strip(_EDGES)
    yield from _BETWEEN.split(text)


def _readings(value: str) -> Iterator[str]:
    """What a value may be written for: as it is, and as JSON, CSV, HTML and a link escape it."""
    yield value
    if '""' in value:
        yield value.replace('""', '"')
    if "&" in value:
        yield unescape(value)
    if "%" in value or "+" in value:
        yield unquote(value)
        yield unquote_plus(value)
    if "\\" in value:
        with suppress(ValueError):  # no string of JSON, or one with half a character, which no id has
            read = str(json.loads(f'"{value}"'))
            read.encode()
            yield read


def holds_forgotten(path: str, tables: Mapping[TableName, TableMapping], forms: SourceForms, of: Tombstones) -> bool:
    """Whether a raw part that was written earlier holds rows of somebody who is forgotten by now."""
    rows = ForgottenRows(of, tables, forms)
    with pq.ParquetFile(path) as file:
        return any(len(rows.keep(pa.Table.from_batches([batch]))) < len(batch) for batch in file.iter_batches())
