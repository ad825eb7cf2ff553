"""From a source's own columns to SQL: expressions that read them as the contract's columns.

A column's type decides how it reads: an id that pandas made a float is 7 and not 7.0, a list of words is one text.
Numbers and times stay as the source typed them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from recommender import schema
from recommender.schema import TABLES, Column, TableName
from validation.raw import field_names, field_sql
from validation.raw_parts import SOURCE_NUMBER, TableMapping
from validation.readings import literal

# Columns that a source may lack though the contract requires them: each is filled by a rule of its own.
FILLED = (schema.EVENT_ID, schema.EVENT)

_PATH_BREAK = r"\s*(?:\||>)\s*"
_PATH_JOIN = " > "
_JSON_WORDS = (schema.TITLE, schema.DESCRIPTION, schema.BRAND, schema.TEXT)
_UUID = "(.{8})(.{4})(.{4})(.{4})(.{12})"
_BLANKS = "' ' || chr(9) || chr(10) || chr(13)"


@dataclass(frozen=True)
class Fields:
    """A source's columns: each name to the expression of its field of `source`, and to the type of that field."""

    expressions: dict[str, str]
    types: dict[str, pa.DataType]

    @classmethod
    def of(cls, names: Sequence[str], types: Sequence[pa.DataType]) -> Fields:
        """Columns in the file's order. Of two that bear the same name the last one counts."""
        fields = field_names(names)
        expressions = {name: field_sql(field) for name, field in zip(names, fields, strict=True)}
        return cls(expressions, dict(zip(names, types, strict=True)))

    @classmethod
    def of_texts(cls, names: Sequence[str]) -> Fields:
        """Columns that are all text."""
        return cls.of(names, [pa.string()] * len(names))


def map_columns(
    table: TableName,
    fields: Fields,
    names: Mapping[str, str],
    *,
    default_event: str = "purchase",
    unreadable: bool = False,
    date_formats: tuple[str, ...] = (),
) -> TableMapping:
    """How a part reads as a table, by the names of its columns.

    Args:
        names: Contract column to the source's column, where the names differ.
        default_event: The event of interactions that name none; those with a value are ratings.
    """
    own = {column.name: names.get(column.name, column.name) for column in TABLES[table].columns}
    columns = {
        column.name: column_sql(column, fields.expressions[own[column.name]], fields.types[own[column.name]])
        for column in TABLES[table].columns
        if own[column.name] in fields.expressions
    }
    if table == "interactions":
        types = {name: fields.types[own[name]] for name in columns}
        _fill_interactions(columns, types, default_event)
    others = [name for name in fields.expressions if name not in own.values() and name not in own]
    return TableMapping(
        columns=columns,
        attributes=attributes_sql(fields, others) if TABLES[table].open else "",
        unreadable=unreadable,
        date_formats=date_formats,
    )


def map_json_columns(
    table: TableName,
    names: Mapping[str, str],
    fields: Fields,
    *,
    others: str = "",
    default_event: str = "purchase",
    unreadable: bool = False,
    date_formats: tuple[str, ...] = (),
) -> TableMapping:
    """How a part of JSON lines reads as a table, by the keys: as `map_columns`, but a text may be a JSON list.

    Args:
        fields: All keys that are fields of the part; a line may lack any of them.
        others: The expression of the map of all other keys; "" for a table that is not open.
    """
    mapping = map_columns(
        table, fields, names, default_event=default_event, unreadable=unreadable, date_formats=date_formats
    )
    columns = dict(mapping.columns)
    own = {column.name: names.get(column.name, column.name) for column in TABLES[table].columns}
    for column in TABLES[table].columns:
        if column.name in _JSON_WORDS and column.name in columns:
            columns[column.name] = json_text_sql(fields.expressions[own[column.name]])
    if schema.CATEGORY in columns:
        columns[schema.CATEGORY] = json_category_sql(fields.expressions[own[schema.CATEGORY]])
    attributes = json_attributes_sql(others, (*own, *own.values())) if others else ""
    return mapping.model_copy(update={"columns": columns, "attributes": attributes})


def json_attributes_sql(others: str, left_out: Sequence[str]) -> str:
    """A map of keys to texts as the text of a JSON object, without some keys and without nulls; lists are joined."""
    keys = ", ".join(map(literal, dict.fromkeys(left_out)))
    entries = f"list_filter(map_entries({others}), lambda e: e.value IS NOT NULL AND e.key NOT IN ({keys}))"
    texts = f"list_transform({entries}, lambda e: struct_pack(key := e.key, value := {json_text_sql('e.value')}))"
    return f"nullif(CAST(to_json(map_from_entries({texts})) AS VARCHAR), '{{}}')"


def column_sql(column: Column, expression: str, kind: pa.DataType) -> str:
    """The expression that reads a field of a type as a column of the contract."""
    if column.name == schema.CATEGORY:
        return category_sql(expression, kind)
    if column.type == pa.string() or _is_text(kind) or _is_nested(kind):
        return text_sql(expression, kind)
    return expression


def text_sql(expression: str, kind: pa.DataType) -> str:
    """The expression of a field as text: whole numbers without ".0", lists joined by ", "."""
    if pa.types.is_dictionary(kind):
        return text_sql(expression, kind.value_type)
    if _is_text(kind):
        return expression
    if pa.types.is_floating(kind):
        whole = f"isfinite({expression}) AND abs({expression}) < 1e15 AND {expression} = trunc({expression})"
        text = f"CASE WHEN {whole} THEN CAST(CAST({expression} AS BIGINT) AS VARCHAR) "
        return f"{text}WHEN NOT isnan({expression}) THEN CAST({expression} AS VARCHAR) END"
    if pa.types.is_fixed_size_binary(kind) and kind.byte_width == 16:  # a UUID
        return f"regexp_replace(lower(hex({expression})), '{_UUID}', '\\1-\\2-\\3-\\4-\\5')"
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind):
        return f"TRY(decode({expression}))"
    if _is_list(kind):
        return f"array_to_string({_words_sql(expression, kind)}, ', ')"
    if pa.types.is_struct(kind) or pa.types.is_map(kind):
        return f"CAST(to_json({expression}) AS VARCHAR)"
    return f"CAST({expression} AS VARCHAR)"


def category_sql(expression: str, kind: pa.DataType) -> str:
    """A category as the contract writes it, parts joined by ' > '.

    Args:
        kind: Text such as "a|b" or "a > b", a list ["a", "b"], or a list of such lists, of which the first is taken.
    """
    if _is_list(kind):
        if _is_list(kind.value_type):
            return category_sql(f"{expression}[1]", kind.value_type)
        return f"nullif(array_to_string({_words_sql(expression, kind)}, '{_PATH_JOIN}'), '')"
    return _path_sql(f"regexp_split_to_array({text_sql(expression, kind)}, '{_PATH_BREAK}')")


def token_path_sql(expression: str) -> str:
    """A category of words apart by spaces, as the parts of a path."""
    return _path_sql(f"string_split({expression}, ' ')")


def json_category_sql(expression: str) -> str:
    """A category in a field that holds text, or a JSON list (of lists, of which the first is taken) as text."""
    first = f"""CASE WHEN json_type({expression}, '$[0]') = 'ARRAY' THEN json_extract({expression}, '$[0]')
        ELSE CAST({expression} AS JSON) END"""
    parts = f"""from_json({first}, '["VARCHAR"]')"""
    plain = category_sql(expression, pa.string())
    return f"CASE WHEN {_is_json_list_sql(expression)} THEN nullif({_path_sql(parts)}, '') ELSE {plain} END"


def json_text_sql(expression: str, join: str = ", ") -> str:
    """Words in a field that holds text, or a JSON list of texts as text."""
    parts = f"""list_filter(from_json({expression}, '["VARCHAR"]'), lambda part: part <> '')"""
    return f"CASE WHEN {_is_json_list_sql(expression)} THEN array_to_string({parts}, '{join}') ELSE {expression} END"


def attributes_sql(fields: Fields, names: Sequence[str]) -> str:
    """The named columns as the text of a JSON object of texts, those that are null left out; "" for no names."""
    if not names:
        return ""
    pairs = ", ".join(f"{literal(name)}, {text_sql(fields.expressions[name], fields.types[name])}" for name in names)
    return f"nullif(CAST(json_merge_patch('{{}}', json_object({pairs})) AS VARCHAR), '{{}}')"


def headed_text_sql(head: str, body: str) -> str:
    """A review with its headline before it: "headline. body", without a full stop at the ends."""
    parts = ", ".join(f"nullif(rtrim(trim({part}, {_BLANKS}), '.'), '')" for part in (head, body))
    return f"concat_ws('. ', {parts})"


def _fill_interactions(columns: dict[str, str], types: Mapping[str, pa.DataType], default_event: str) -> None:
    """Where the source names no position its row number is one; where it names no event, a value makes it a rating.

    Args:
        types: Type of the source's column, by the contract's name.
    """
    is_rating = _is_given_sql(columns[schema.VALUE], types[schema.VALUE]) if schema.VALUE in columns else "false"
    event = f"CASE WHEN {is_rating} THEN 'rating' ELSE '{default_event}' END"
    if schema.EVENT in columns:
        event = f"coalesce(nullif({columns[schema.EVENT]}, ''), {event})"
    columns[schema.EVENT] = event
    position = columns.get(schema.POSITION)
    if position is None:
        columns[schema.POSITION] = SOURCE_NUMBER
    elif _is_text(types[schema.POSITION]):
        columns[schema.POSITION] = f"coalesce(nullif({position}, ''), CAST({SOURCE_NUMBER} AS VARCHAR))"
    else:
        columns[schema.POSITION] = f"coalesce({position}, {SOURCE_NUMBER})"


def _is_given_sql(expression: str, kind: pa.DataType) -> str:
    if pa.types.is_floating(kind):
        return f"({expression} IS NOT NULL AND NOT isnan({expression}))"
    return f"({expression} IS NOT NULL AND {expression} <> '')" if _is_text(kind) else f"{expression} IS NOT NULL"


def _is_json_list_sql(expression: str) -> str:
    return f"(starts_with({expression}, '[') AND json_valid({expression}))"


def _path_sql(parts: str) -> str:
    return f"array_to_string(list_filter({parts}, lambda part: part <> ''), '{_PATH_JOIN}')"


def _words_sql(expression: str, kind: pa.DataType) -> str:
    inner = text_sql("part", kind.value_type)
    return f"list_filter(list_transform({expression}, lambda part: {inner}), lambda word: word <> '')"


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _is_list(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def _is_nested(kind: pa.DataType) -> bool:
    return _is_list(kind) or bool(pa.types.is_struct(kind) or pa.types.is_map(kind) or pa.types.is_dictionary(kind))
