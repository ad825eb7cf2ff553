"""From a source's own columns to SQL: expressions that read them as the contract's columns.

A column's type decides how it reads: an id that pandas made a float is 7 and not 7.0, a list of words is one text.
Numbers and times stay as the source typed them.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from core import schema
from core.schema import TABLES, Column, TableName
from core.settings.source import SourceForms
from core.sql import literal
from validation.raw.parts import SOURCE_NUMBER, TableMapping
from validation.raw.writer import field_names, field_sql
from validation.reading.dialect import Dialect
from validation.reading.lists import PATH_JOIN, list_path_sql, list_text_sql
from validation.reading.values import text_sql as value_text_sql

# Columns that a source may lack though the contract requires them: reading fills them in.
_FILLED = (schema.EVENT_ID, schema.EVENT)

_FIRST_ROW_S = 946_684_800  # 2000-01-01
_PATH_BREAK = r"\s*(?:\||>|\x{203a}|\x{00bb}|\x{2192}|::)\s*|\s+/\s+"
_WORDS = (schema.TITLE, schema.DESCRIPTION, schema.BRAND, schema.TEXT)
_INDEX = re.compile(r"(?:Unnamed: \d+(?:_level_\d+)?|__index_level_\d+__|level_\d+|)")
_UUID = "(.{8})(.{4})(.{4})(.{4})(.{12})"
_BLANKS = "' ' || chr(9) || chr(10) || chr(13)"


@dataclass(frozen=True)
class Fields:
    """A source's columns: name to the expression of its field of `source`, and to the field's type."""

    expressions: dict[str, str]
    types: dict[str, pa.DataType]

    @classmethod
    def of(cls, names: Sequence[str], types: Sequence[pa.DataType]) -> Fields:
        """Columns in the file's order. Of two with the same name the last one counts."""
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
    forms: SourceForms,
    *,
    default_event: str = "",
    unreadable: bool = False,
) -> TableMapping:
    """How a part reads as a table, by the names of its columns.

    Args:
        names: Contract column to the source's column, where the names differ. Other names, of a table that is open,
            are attributes; the columns that stand for nothing else are attributes too.
        forms: How the source writes its values.
        default_event: The event of interactions that name none; those with a value are ratings.
    """
    own = own_names(table, names)
    columns = {
        column.name: column_sql(column, fields.expressions[own[column.name]], fields.types[own[column.name]])
        for column in TABLES[table].columns
        if own[column.name] in fields.expressions
    }
    if table == "interactions":
        _fill_position(columns, {name: fields.types[own[name]] for name in columns})
    named = {name: source for name, source in names.items() if name not in own}
    others = [name for name in fields.expressions if name not in own.values() and name not in (*own, *named.values())]
    attributes = named | {name: name for name in others if not is_index(name) and name not in named}
    return TableMapping(
        columns=columns,
        attributes=attributes_sql(fields, attributes, forms) if TABLES[table].open else "",
        unreadable=unreadable,
        default_event=default_event if table == "interactions" else "",
    )


def with_other_keys(
    mapping: TableMapping, table: TableName, names: Mapping[str, str], fields: Fields, forms: SourceForms, others: str
) -> TableMapping:
    """The mapping of JSON lines: all keys that are no column are attributes too.

    Args:
        names: As for `map_columns`.
        fields: All keys that are fields of the part; a line may lack any of them.
        others: The expression of the map of all other keys.
    """
    own = own_names(table, names)
    named = {name: source for name, source in names.items() if name not in own}
    attributes = json_attributes_sql(others, (*own, *own.values(), *named), fields, named, forms)
    return mapping.model_copy(update={"attributes": attributes})


def as_lines(
    table: TableName, mapping: TableMapping, fields: Fields, names: Mapping[str, str], moment: str, forms: SourceForms
) -> TableMapping:
    """The mapping of users or items whose columns stand in the lines of another table: orders, reviews.

    Lines repeat them, and the newest value counts; of the lines' further columns, only those that the settings name
    are theirs. A line without their id gives no row.

    Args:
        moment: The expression of the line's time; "" for the order of the lines.
    """
    (key,) = TABLES[table].key
    named = {name: source for name, source in names.items() if name not in own_names(table, names)}
    return mapping.model_copy(
        update={
            "attributes": attributes_sql(fields, named, forms),
            "lines": True,
            "moment": moment,
            "condition": given_sql(mapping.columns[key], forms),
        }
    )


def with_words(mapping: TableMapping, forms: SourceForms) -> TableMapping:
    """The mapping of reviews that stand in the lines of interactions: a line without text is a rating alone."""
    return mapping.model_copy(update={"condition": given_sql(mapping.columns[schema.TEXT], forms)})


def in_file_order(mapping: TableMapping) -> TableMapping:
    """The mapping of events without a time: one row per second, from the year 2000 on."""
    order = f"make_timestamptz(({_FIRST_ROW_S} + {SOURCE_NUMBER}) * 1000000)"
    return mapping.model_copy(update={"columns": {**mapping.columns, schema.TIMESTAMP: order}})


def given_sql(expression: str, forms: SourceForms) -> str:
    """A condition: the value is neither blank nor a null word."""
    return f"({_nonblank_sql(f'CAST({expression} AS VARCHAR)', forms)}) IS NOT NULL"


def _nonblank_sql(expression: str, forms: SourceForms) -> str:
    """A text, null where it is blank or a null word."""
    text = value_text_sql("one", "VARCHAR", Dialect(null_words=forms.null_words))
    return f"list_transform([{expression}], lambda one: {text})[1]"


def own_names(table: TableName, names: Mapping[str, str]) -> dict[str, str]:
    """Each of the contract's columns to the source's column that would give it."""
    return {column.name: names.get(column.name, column.name) for column in TABLES[table].columns}


def missing_columns(table: TableName, given: Collection[str], forms: SourceForms) -> list[str]:
    """The columns of the contract that a source must have and lacks; none is the time that file order replaces.

    Args:
        given: The contract's columns that the source has.
    """
    replaced = (schema.TIMESTAMP,) if forms.no_time == "file_order" else ()
    needed = [column.name for column in TABLES[table].columns if column.required]
    return [name for name in needed if name not in (*_FILLED, *replaced, *given)]


def is_index(name: str) -> bool:
    """Whether a column is the row numbers of a data frame that was written with them."""
    return _INDEX.fullmatch(name.strip()) is not None


def json_attributes_sql(
    others: str, left_out: Sequence[str], fields: Fields, named: Mapping[str, str], forms: SourceForms
) -> str:
    """A map of keys to texts as the text of a JSON object, without some keys and what is empty; lists are joined.

    Args:
        named: Attribute to the field that gives it, beside the map.
    """
    keys = ", ".join(map(literal, dict.fromkeys(left_out)))
    index = f"regexp_full_match(e.key, {literal(_INDEX.pattern)})"
    entries = f"list_filter(map_entries({others}), lambda e: e.key NOT IN ({keys}) AND NOT {index})"
    more = ", ".join(f"struct_pack(key := {literal(a)}, value := {fields.expressions[f]})" for a, f in named.items())
    if more:
        entries = f"list_concat({entries}, [{more}])"
    text = _nonblank_sql(list_text_sql("e.value"), forms)
    texts = f"list_transform({entries}, lambda e: struct_pack(key := e.key, value := {text}))"
    given = f"list_filter({texts}, lambda e: e.value IS NOT NULL)"
    return f"nullif(CAST(to_json(map_from_entries({given})) AS VARCHAR), '{{}}')"


def column_sql(column: Column, expression: str, kind: pa.DataType) -> str:
    """The expression that reads a field of a type as a column of the contract."""
    if column.name == schema.CATEGORY:
        return category_sql(expression, kind)
    if column.name in _WORDS and _is_text(kind):
        return list_text_sql(expression)
    if column.type == pa.string() or _is_text(kind) or _is_nested(kind):
        return text_sql(expression, kind)
    return expression


def text_sql(expression: str, kind: pa.DataType) -> str:
    """The expression of a field as text: whole numbers without ".0", lists joined by ", "."""
    if pa.types.is_dictionary(kind):
        return text_sql(expression, kind.value_type)
    if _is_text(kind):
        return expression
    if pa.types.is_null(kind):
        return "CAST(NULL AS VARCHAR)"
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
        kind: Text such as "a|b", "a > b", "a / b" or "['a', 'b']", a list ["a", "b"], or a list of such lists, of
            which the first is taken.
    """
    if _is_list(kind):
        if _is_list(kind.value_type):
            return category_sql(f"{expression}[1]", kind.value_type)
        return f"nullif(array_to_string({_words_sql(expression, kind)}, '{PATH_JOIN}'), '')"
    text = text_sql(expression, kind)
    return list_path_sql(text, _path_sql(f"regexp_split_to_array({text}, '{_PATH_BREAK}')"))


def token_path_sql(expression: str) -> str:
    """A category of words separated by spaces, as a path."""
    return _path_sql(f"string_split({expression}, ' ')")


def attributes_sql(fields: Fields, names: Mapping[str, str], forms: SourceForms) -> str:
    """Columns as the text of a JSON object of texts, those that are empty left out; "" for none.

    Args:
        names: Attribute to the source's column.
    """
    if not names:
        return ""
    pairs = ", ".join(
        f"{literal(name)}, {_nonblank_sql(list_text_sql(text_sql(fields.expressions[own], fields.types[own])), forms)}"
        for name, own in names.items()
    )
    return f"nullif(CAST(json_merge_patch('{{}}', json_object({pairs})) AS VARCHAR), '{{}}')"


def headed_text_sql(head: str, body: str) -> str:
    """A review with its headline before it: "headline. body", without a full stop at the ends."""
    parts = ", ".join(f"nullif(rtrim(trim({part}, {_BLANKS}), '.'), '')" for part in (head, body))
    return f"concat_ws('. ', {parts})"


def _fill_position(columns: dict[str, str], types: Mapping[str, pa.DataType]) -> None:
    """Where the source names no position its row number is one.

    Args:
        types: Type of the source's column, by the contract's name.
    """
    position = columns.get(schema.POSITION)
    if position is None:
        columns[schema.POSITION] = SOURCE_NUMBER
    elif _is_text(types[schema.POSITION]):
        columns[schema.POSITION] = f"coalesce(nullif({position}, ''), CAST({SOURCE_NUMBER} AS VARCHAR))"
    else:
        columns[schema.POSITION] = f"coalesce({position}, {SOURCE_NUMBER})"


def _path_sql(parts: str) -> str:
    return f"array_to_string(list_filter({parts}, lambda part: part <> ''), '{PATH_JOIN}')"


def _words_sql(expression: str, kind: pa.DataType) -> str:
    inner = text_sql("part", kind.value_type)
    return f"list_filter(list_transform({expression}, lambda part: {inner}), lambda word: word <> '')"


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _is_list(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def _is_nested(kind: pa.DataType) -> bool:
    return _is_list(kind) or bool(pa.types.is_struct(kind) or pa.types.is_map(kind) or pa.types.is_dictionary(kind))
