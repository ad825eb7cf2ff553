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

from recommender import schema
from recommender.schema import TABLES, TableName
from validation.raw_parts import SOURCE_ERROR, RawPart, RawTables, TableMapping
from validation.readings import Dialect, literal, text_sql, typed_sql
from validation.rules import Rule

WORDS = (schema.TITLE, schema.DESCRIPTION, schema.CATEGORY, schema.BRAND, schema.TEXT)
STAGING_ORDER: tuple[TableName, ...] = ("users", "items", "interactions", "feedback")
BITS = 60  # marks in one BIGINT
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
    decimal_comma: bool,
    relation: Callable[[StagedPart], str] = StagedPart.file_sql,
) -> str:
    """Layer 1 of all parts, in their order.

    Args:
        relation: Part to SQL of the rows that are read, `file_row_number` among their columns.
    """
    return " UNION ALL ".join(_read_part(table, one, decimal_comma, relation(one)) for one in parts)


def _read_part(table: TableName, one: StagedPart, decimal_comma: bool, relation: str) -> str:
    mapping = one.mapping
    given, typed, unread = [], [], []
    dialect = Dialect(mapping.date_formats, decimal_comma)
    for column in TABLES[table].columns:
        name, type_ = column.name, one.types.get(column.name, "NULL")
        expression = mapping.columns.get(name, "NULL")
        if type_ == "NULL":
            expression, type_ = "CAST(NULL AS VARCHAR)", "VARCHAR"
        if column.type == pa.string():
            text = f"CAST({expression} AS VARCHAR)" if name in WORDS else text_sql(expression, type_)
            if name == schema.EVENT_ID:  # a source without event ids: the row itself is its id
                text = f"CASE WHEN {SOURCE_ERROR} IS NULL THEN coalesce({text}, left(md5({_ROW_TEXT}), 20)) END"
            given.append(f"{text} AS {name}")
            typed.append(name)
            unread.append(name)
            continue
        is_text = type_ == "VARCHAR"
        given.append(f"{text_sql(expression, type_) if is_text else expression} AS {name}_given")
        typed += [f"{name}_given", f"{typed_sql(column, f'{name}_given', type_, dialect)} AS {name}"]
        as_text = f"{name}_given" if is_text else text_sql(f"{name}_given", type_)
        unread += [name, f"CASE WHEN {name} IS NULL THEN {as_text} END AS {name}_unread", f"{as_text} AS {name}_text"]
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
    return f"""
    SELECT {passed}, {", ".join(unread)} FROM (
        SELECT {passed}, {", ".join(typed)} FROM (
            SELECT {origin}, {", ".join(given)} FROM {relation} WHERE {rows}))"""


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
