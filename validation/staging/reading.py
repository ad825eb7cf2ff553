"""Layer 1 of staging: each contract column in its type, and where the row came from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import pyarrow as pa

from core import schema
from core.schema import TABLES, Column, TableName
from core.sql import literal
from validation.raw.parts import EVENT_LOG, SOURCE_ERROR, SOURCE_FILE, TableMapping
from validation.reading.dialect import Dialect
from validation.reading.times import time_sql
from validation.reading.values import IDS, id_sql, mapped_sql, text_sql, typed_sql
from validation.staging.parts import StagedPart

_FILLED_CHARS = 20
# The id of an event that came without one, as a pattern.
FILLED_ID = f"[0-9a-f]{{{_FILLED_CHARS}}}"
_CORRECTED_AT = "9999-12-31"
# Over a row of layer 1 and later: an event of the service's log, which uses the contract's terms.
FROM_LOG = f"(origin = 'events' OR {SOURCE_FILE} = {literal(EVENT_LOG)})"
_ROW_TEXT = "coalesce(source_text, CAST(to_json(source) AS VARCHAR))"
_ROW_HASH = "CASE WHEN source_text IS NULL THEN hash(source) ELSE hash(source_text) END"


def read_sql(
    table: TableName,
    parts: Sequence[StagedPart],
    dialect: Dialect,
    relation: Callable[[StagedPart], str] = StagedPart.file_sql,
) -> str:
    """Layer 1 of all parts, in their order.

    Args:
        dialect: Of the source, and of what was let in again; what the service takes in uses the contract's own.
        relation: Part to SQL of the rows that are read, `file_row_number` among their columns.
    """
    return " UNION ALL ".join(_read_part(table, one, dialect, relation(one)) for one in parts)


@dataclass
class _Layers:
    """What the four projections of layer 1 select, beside what each passes on.

    Attributes:
        raw: The source's expressions.
        given: Texts trimmed, null words emptied, values mapped as the settings say.
        typed: In the contract's types.
        output: What the next layer sees.
        is_mapped: SQL over a row: its values are the source's own, so that the settings' mapping applies.
    """

    raw: list[str] = field(default_factory=list)
    given: list[str] = field(default_factory=list)
    typed: list[str] = field(default_factory=list)
    output: list[str] = field(default_factory=list)
    is_mapped: str = "true"

    def _mapped(self, name: str, type_: str, dialect: Dialect) -> str:
        """The value as text, mapped by the settings; `<name>_own` keeps the text before."""
        own = text_sql(f"{name}_raw", type_, dialect.of_column(name), is_id=name in IDS)
        if name not in dialect.values:
            return own
        self.given.append(f"{own} AS {name}_own")
        self.typed.append(f"{name}_own")
        self.output.append(f"{name}_own")
        mapped = mapped_sql(name, own, dialect)
        return mapped if self.is_mapped == "true" else f"CASE WHEN {self.is_mapped} THEN {mapped} ELSE {own} END"

    def add_text(self, name: str, type_: str, dialect: Dialect, filled: str) -> None:
        """A column of texts; `filled` is the expression where the row leaves it to a rule, "" for none."""
        text = self._mapped(name, type_, dialect)
        self.given.append(f"{id_sql(f'({text})') if name in IDS else text} AS {name}_given")
        self.typed.append(f"{filled or f'{name}_given'} AS {name}")
        self.output.append(name)

    def add_typed(self, column: Column, type_: str, dialect: Dialect) -> None:
        """A column of numbers or times, with its text, and apart the text of values that do not read as one."""
        name, value = column.name, f"{column.name}_raw"
        if type_ == "VARCHAR" or name in dialect.values:
            value, type_ = self._mapped(name, type_, dialect), "VARCHAR"
        elif type_ in ("FLOAT", "DOUBLE"):
            value = f"CASE WHEN NOT isnan({value}) THEN {value} END"
        self.given.append(f"{value} AS {name}_given")
        self.typed += [f"{name}_given", f"{typed_sql(column, f'{name}_given', type_, dialect)} AS {name}"]
        text = f"{name}_given" if type_ == "VARCHAR" else text_sql(f"{name}_given", type_, dialect)
        self.output += [name, f"CASE WHEN {name} IS NULL THEN {text} END AS {name}_unread", f"{text} AS {name}_text"]


def _read_part(table: TableName, one: StagedPart, dialect: Dialect, relation: str) -> str:
    mapping, layers = one.mapping, _Layers(is_mapped=f"NOT {FROM_LOG}" if one.part.origin == "readmitted" else "true")
    dialect = dialect.of_events() if one.part.origin in ("events", "overrides") else dialect
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
    for selected in (layers.given, layers.typed, layers.output):
        query = f"SELECT {passed}, {', '.join(selected)} FROM ({query})"
    return query


def _add_moment(layers: _Layers, one: StagedPart, dialect: Dialect) -> None:
    """The time of an order or review line. What a person corrected counts as newest, and so does, read behind it, what
    clients say; other rows have no lines.
    """
    moment = f"'{_CORRECTED_AT}'" if one.part.origin in ("readmitted", "overrides") else "NULL"
    if one.mapping.lines:
        layers.raw.append(f"CAST({one.mapping.moment or 'NULL'} AS VARCHAR) AS moment_raw")
        layers.given.append(f"{text_sql('moment_raw', 'VARCHAR', dialect)} AS moment_given")
        layers.typed.append(f"{time_sql('moment_given', 'VARCHAR', dialect)} AS moment")
        moment = "moment"
    layers.output.append(f"CAST({moment} AS TIMESTAMPTZ) AS moment")


def _filled_sql(name: str, mapping: TableMapping) -> str:
    """An event without an id gets one from its row; one without a name is a rating where a value is given."""
    if name == schema.EVENT_ID:
        filled = f"left(md5(source_row), {_FILLED_CHARS})"
        return f"CASE WHEN {SOURCE_ERROR} IS NULL THEN coalesce(event_id_given, {filled}) END"
    if name != schema.EVENT or not mapping.default_event:
        return ""
    given = f"CASE WHEN value_given IS NOT NULL THEN 'rating' ELSE {literal(mapping.default_event)} END"
    return f"CASE WHEN {SOURCE_ERROR} IS NULL THEN coalesce(event_given, {given}) END"
