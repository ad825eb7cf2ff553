"""Raw parts as judged rows, in SQL: typed, mended, with what the rules look at. Nothing is scanned here.

A judged row goes through four layers, each a projection over the one before, so that DuckDB runs them as one pass:

1. *read* (per part): where the row came from, each contract column in its type, `<column>_unread` where a value does
   not read as its type, and, only computed where asked for, `<column>_text`, `source_row` and `source_position`.
2. *mended*: the steps of `cleaning`, each of which changes columns and says which rows it touched.
3. *derived*: what rules need beside the contract's columns (`rules.derived_columns`).
4. *judged*: the rules' marks, one bit each, in `broken_0`, `broken_1`, ...; the mendings' in `mended`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from core import schema
from core.schema import TABLES, Column, TableName
from core.sql import literal
from validation.raw.parts import EVENT_LOG, SOURCE_ERROR, SOURCE_FILE, RawPart, RawTables, TableMapping
from validation.reading.dialect import Dialect
from validation.reading.times import time_sql
from validation.reading.values import IDS, id_sql, mapped_sql, text_sql, typed_sql
from validation.rules.contract import Rule

WORDS = (schema.TITLE, schema.DESCRIPTION, schema.CATEGORY, schema.BRAND, schema.TEXT)
STAGING_ORDER: tuple[TableName, ...] = ("users", "items", "interactions", "feedback")
_MENDED_AT = "9999-12-31"
BITS = 60  # marks in one BIGINT
# Over a row of layer 1 and later: an event of the service's log, which speaks the contract's terms.
FROM_LOG = f"(origin = 'events' OR {SOURCE_FILE} = {literal(EVENT_LOG)})"
_OWN_FIELD = re.compile(r"\bsource\b")
_ROW_TEXT = "coalesce(source_text, CAST(to_json(source) AS VARCHAR))"
_ROW_HASH = "CASE WHEN source_text IS NULL THEN hash(source) ELSE hash(source_text) END"


@dataclass(frozen=True)
class Step:
    """One mending of a table's rows.

    Attributes:
        columns: Column to SQL over the row as it stands before this step: replaces the column, or adds it.
        counted: Name to SQL, true for the rows that count as mended in this way.
    """

    columns: Mapping[str, str]
    counted: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class StagedPart:
    """A part as one table's rows: which numbers they have, and the types that its expressions give."""

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


def read_sql(
    table: TableName,
    parts: Sequence[StagedPart],
    dialect: Dialect,
    relation: Callable[[StagedPart], str] = StagedPart.file_sql,
) -> str:
    """Layer 1 of all parts, in their order.

    Args:
        dialect: Of the source, and of what was let in again; the service's log speaks the contract's.
        relation: Part to SQL of the rows that are read, `file_row_number` among their columns.
    """
    return " UNION ALL ".join(_read_part(table, one, dialect, relation(one)) for one in parts)


@dataclass
class _Layers:
    """What the four projections of layer 1 select, beside what each passes on.

    Attributes:
        raw: The source's expressions.
        given: Texts trimmed, words for nothing empty, values that the settings map.
        typed: In the contract's types.
        told: What the next layer sees.
        speaks: SQL over a row: its values are the source's, and are mapped.
    """

    raw: list[str] = field(default_factory=list)
    given: list[str] = field(default_factory=list)
    typed: list[str] = field(default_factory=list)
    told: list[str] = field(default_factory=list)
    speaks: str = "true"

    def _mapped(self, name: str, type_: str, dialect: Dialect) -> str:
        """The value as text, as the settings map it. Of a column that they map, `<name>_own` is the text before."""
        own = text_sql(f"{name}_raw", type_, dialect.of_column(name))
        if name not in dialect.values:
            return own
        self.given.append(f"{own} AS {name}_own")
        self.typed.append(f"{name}_own")
        self.told.append(f"{name}_own")
        mapped = mapped_sql(name, own, dialect)
        return mapped if self.speaks == "true" else f"CASE WHEN {self.speaks} THEN {mapped} ELSE {own} END"

    def add_text(self, name: str, type_: str, dialect: Dialect, filled: str) -> None:
        """A column of texts; `filled` is the expression where the row leaves it to a rule, "" for none."""
        text = self._mapped(name, type_, dialect)
        self.given.append(f"{id_sql(f'({text})') if name in IDS else text} AS {name}_given")
        self.typed.append(f"{filled or f'{name}_given'} AS {name}")
        self.told.append(name)

    def add_typed(self, column: Column, type_: str, dialect: Dialect) -> None:
        """A column of numbers or times, with its text, and its text where it does not read as one."""
        name, value = column.name, f"{column.name}_raw"
        if type_ == "VARCHAR" or name in dialect.values:
            value, type_ = self._mapped(name, type_, dialect), "VARCHAR"
        elif type_ in ("FLOAT", "DOUBLE"):
            value = f"CASE WHEN NOT isnan({value}) THEN {value} END"
        self.given.append(f"{value} AS {name}_given")
        self.typed += [f"{name}_given", f"{typed_sql(column, f'{name}_given', type_, dialect)} AS {name}"]
        text = f"{name}_given" if type_ == "VARCHAR" else text_sql(f"{name}_given", type_, dialect)
        self.told += [name, f"CASE WHEN {name} IS NULL THEN {text} END AS {name}_unread", f"{text} AS {name}_text"]


def _read_part(table: TableName, one: StagedPart, dialect: Dialect, relation: str) -> str:
    mapping, layers = one.mapping, _Layers(speaks=f"NOT {FROM_LOG}" if one.part.origin == "readmitted" else "true")
    dialect = dialect.of_events() if one.part.origin == "events" else dialect
    for column in TABLES[table].columns:
        name, type_ = column.name, one.types.get(column.name, "NULL")
        expression = mapping.columns.get(name, "NULL")
        if type_ == "NULL":
            expression, type_ = "CAST(NULL AS VARCHAR)", "VARCHAR"
        layers.raw.append(f"{expression} AS {name}_raw")
        if column.type == pa.string():
            layers.add_text(name, type_, dialect, _filled_sql(name, mapping))
        else:
            layers.add_typed(column, type_, dialect)
    if TABLES[table].open:
        _add_moment(layers, one, dialect)
    attributes = f"CAST({mapping.attributes} AS VARCHAR)" if mapping.attributes else "CAST(NULL AS VARCHAR)"
    origin = f"""
        {one.offset} + file_row_number AS row_number, {one.index} AS part,
        {literal(one.part.origin)} AS origin, {SOURCE_ERROR},
        CASE WHEN {SOURCE_ERROR} IS NULL THEN true END AS readable, {_ROW_HASH} AS row_hash,
        {_ROW_TEXT} AS source_row, source_file, source_number, {attributes} AS attributes"""
    passed = (
        "row_number, part, origin, source_error, readable, row_hash, source_row, source_file, source_number, attributes"
    )
    rows = mapping.condition or "true"
    if not mapping.unreadable:
        rows = f"{SOURCE_ERROR} IS NULL AND ({rows})"
    elif mapping.condition:
        rows = f"{SOURCE_ERROR} IS NOT NULL OR ({rows})"
    query = f"SELECT {origin}, {', '.join(layers.raw)} FROM {relation} WHERE {rows}"
    for selected in (layers.given, layers.typed, layers.told):
        query = f"SELECT {passed}, {', '.join(selected)} FROM ({query})"
    return query


def _add_moment(layers: _Layers, one: StagedPart, dialect: Dialect) -> None:
    """When a line told of the user or the item. What a person mended has the last word; other tables have no lines."""
    moment = f"'{_MENDED_AT}'" if one.part.origin == "readmitted" else "NULL"
    if one.mapping.lines:
        layers.raw.append(f"CAST({one.mapping.moment or 'NULL'} AS VARCHAR) AS moment_raw")
        layers.given.append(f"{text_sql('moment_raw', 'VARCHAR', dialect)} AS moment_given")
        layers.typed.append(f"{time_sql('moment_given', 'VARCHAR', dialect)} AS moment")
        moment = "moment"
    layers.told.append(f"CAST({moment} AS TIMESTAMPTZ) AS moment")


def _filled_sql(name: str, mapping: TableMapping) -> str:
    """An event without an id is known by its row; one without a name is a rating where a value is given."""
    if name == schema.EVENT_ID:
        return f"CASE WHEN {SOURCE_ERROR} IS NULL THEN coalesce(event_id_given, left(md5(source_row), 20)) END"
    if name != schema.EVENT or not mapping.default_event:
        return ""
    given = f"CASE WHEN value_given IS NOT NULL THEN 'rating' ELSE {literal(mapping.default_event)} END"
    return f"CASE WHEN {SOURCE_ERROR} IS NULL THEN coalesce(event_given, {given}) END"


def mended_sql(table: TableName, read: str, steps: Sequence[Step]) -> tuple[str, list[str]]:
    """Layer 2 over layer 1.

    Returns:
        The SQL, whose column `mended` has bit i set where the ith kind of mending touched the row; and the kinds.
    """
    known = {column.name for column in TABLES[table].columns}
    query = f"SELECT *, 0::BIGINT AS mended FROM ({read})"
    kinds = list(dict.fromkeys(name for step in steps for name in step.counted))
    for step in steps:
        marks = "".join(
            f" | CASE WHEN {sql} THEN {1 << kinds.index(name)}::BIGINT ELSE 0::BIGINT END"
            for name, sql in step.counted.items()
        )
        replaced = [f"{sql} AS {name}" for name, sql in step.columns.items() if name in known]
        added = "".join(f", {sql} AS {name}" for name, sql in step.columns.items() if name not in known)
        known |= set(step.columns)
        query = f"SELECT * REPLACE ({', '.join([*replaced, f'mended{marks} AS mended'])}){added} FROM ({query})"
    return query, kinds


def derived_sql(mended: str, columns: Mapping[str, str]) -> str:
    """Layer 3 over layer 2."""
    return f"SELECT *{''.join(f', {sql} AS {name}' for name, sql in columns.items())} FROM ({mended})"


def marks_sql(rules: Sequence[Rule]) -> list[str]:
    """The marks of layer 4: bit i of `broken_<i // BITS>` is set where the ith rule is broken."""
    words = []
    for start in range(0, len(rules), BITS):
        bits = " | ".join(
            f"CASE WHEN {rule.mask} THEN {1 << bit}::BIGINT ELSE 0::BIGINT END"
            for bit, rule in enumerate(rules[start : start + BITS])
            if rule.mask
        )
        words.append(f"{bits or '0::BIGINT'} AS broken_{start // BITS}")
    return words


def any_mark(rules: Sequence[Rule], chosen: Callable[[Rule], bool]) -> str:
    """SQL over a staged row: it breaks one of the rules that `chosen` picks."""
    tests = []
    for start in range(0, len(rules), BITS):
        bits = sum(1 << bit for bit, rule in enumerate(rules[start : start + BITS]) if chosen(rule))
        tests.append(f"broken_{start // BITS} & {bits} <> 0")
    return f"({' OR '.join(tests)})"
