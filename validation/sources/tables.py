"""Reader of kind "tables": a folder of Parquet, CSV, TSV or JSON-lines files, or one file, with the contract's names or
mapped. One file may give several tables: the lines of orders or reviews hold users and items too.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from core import schema
from core.schema import TABLE_NAMES, TABLES, TableName
from core.settings.source import TablesSource
from validation.errors import SourceError, cannot_read, missing_time
from validation.formats.delimited import read_header, write_delimited
from validation.formats.files import require_file, require_folder
from validation.formats.json_lines import json_names, object_type, write_json_lines
from validation.formats.parquet import parquet_schema, source_type, write_parquet
from validation.raw.parts import TableMapping
from validation.raw.writer import PartWriter, RawWriter, field_names, field_sql
from validation.sources.mappings import (
    Fields,
    as_lines,
    in_file_order,
    map_columns,
    missing_columns,
    own_names,
    with_other_keys,
    with_words,
)

_DELIMITERS = {".csv": ",", ".txt": ",", ".tsv": "\t"}
_JSON = (".json", ".jsonl", ".ndjson")
# Tables of events first: theirs are the lines that a file has, and its unreadable rows.
_LINES_FIRST: tuple[TableName, ...] = ("interactions", "feedback", "users", "items")
_OTHER_DELIMITERS = (";", "\t", "|", ",")
_ENDINGS = (".parquet", *_DELIMITERS, *_JSON)


@dataclass(frozen=True)
class _File:
    """A source file of any format: the columns it has, the type of its part's `source`, and how it is written there.

    Attributes:
        others: The field that maps all further keys of JSON lines; "" where every column is a field.
    """

    names: list[str]
    kind: pa.StructType
    fields: Fields
    write: Callable[[PartWriter], None]
    others: str = ""


def locate(source: TablesSource) -> dict[TableName, Path]:
    """The file of each table that the folder holds.

    Raises:
        SourceError: there are no interactions, two files for a table, or a file that the settings name is missing.
    """
    if source.path.is_file() and not source.files:
        return _tables_of_file(source)
    folder = source.path.parent if source.path.is_file() else require_folder(source.path)
    found: dict[TableName, Path] = {}
    for table in TABLE_NAMES:
        if table in source.files:
            found[table] = require_file(folder / source.files[table])
            continue
        if source.path.is_file():
            continue
        files = [path for path in sorted(folder.iterdir()) if path.name.split(".")[0] == table and _ending(path)]
        if len(files) > 1:
            raise cannot_read(
                got=f"files={[path.name for path in files]}",
                expected=f"one file of {table}",
                where=str(folder),
                do=f"Name the right one in the settings under recipe.source.files.{table}",
            )
        if files:
            found[table] = require_file(files[0])
    if "interactions" not in found:
        raise cannot_read(
            got=f"files={sorted(path.name for path in folder.iterdir())}",
            expected=f"interactions, ending in one of {', '.join(_ENDINGS)}, gzip or not",
            where=str(folder),
            do="Name the file in the settings under recipe.source.files.interactions, or have them guessed: "
            f"sommelier profile {source.path}",
        )
    return found


def _tables_of_file(source: TablesSource) -> dict[TableName, Path]:
    """One file alone gives interactions, and the tables that the settings map or the columns' names show."""
    path = require_file(source.path)
    has = set(_open(source, path, ["interactions"]).names)
    found: dict[TableName, Path] = {"interactions": path}
    revealing: dict[TableName, set[str]] = {
        "users": {schema.SIGNUP_AT},
        "items": {schema.TITLE, schema.DESCRIPTION, schema.CATEGORY, schema.BRAND, schema.PRICE},
        "feedback": {schema.TEXT},
    }
    for table, names in revealing.items():
        if table in source.columns or names & has:
            found[table] = path
    return found


def read(source: TablesSource, writer: RawWriter) -> None:
    """Write the parts, one per file; a file may give several tables, and its unreadable rows count as the first's.

    Raises:
        SourceError: a file is missing, empty, truncated, of no known format, or lacks a column.
    """
    for tables, file in _opened(source):
        mappings = _mappings(source, tables, file)
        with writer.open_part("-".join(tables), file.kind, mappings) as part:
            file.write(part)


def check(source: TablesSource) -> None:
    """Look at names and headers alone.

    Raises:
        SourceError: as `read`, as far as that shows without the rows.
    """
    for tables, file in _opened(source):
        _mappings(source, tables, file)


def _opened(source: TablesSource) -> Iterator[tuple[list[TableName], _File]]:
    """Each file with the tables that it gives, the one of its lines first; its columns are checked."""
    located = locate(source)
    for path in dict.fromkeys(located.values()):
        tables = [table for table in _LINES_FIRST if located.get(table) == path]
        file = _open(source, path, tables)
        for table in tables:
            _check_columns(source, table, path, file.names)
        yield tables, file


def _mappings(source: TablesSource, tables: list[TableName], file: _File) -> dict[TableName, TableMapping]:
    mappings = {table: _mapping(source, table, file, unreadable=table == tables[0]) for table in tables}
    lines = mappings.get("interactions") or mappings.get("feedback")
    for table in ("users", "items"):
        if lines is not None and table in mappings:
            moment = lines.columns.get(schema.TIMESTAMP, "")
            names = source.columns.get(table, {})
            mappings[table] = as_lines(table, mappings[table], file.fields, names, moment, source)
    if "interactions" in mappings and "feedback" in mappings:
        mappings["feedback"] = with_words(mappings["feedback"], source)
    return mappings


def _mapping(source: TablesSource, table: TableName, file: _File, unreadable: bool) -> TableMapping:
    names, event = source.columns.get(table, {}), source.default_event
    mapping = map_columns(table, file.fields, names, source, default_event=event, unreadable=unreadable)
    if file.others and TABLES[table].open:
        mapping = with_other_keys(mapping, table, names, file.fields, source, file.others)
    lacks_time = table in ("interactions", "feedback") and own_names(table, names)[schema.TIMESTAMP] not in file.names
    return in_file_order(mapping) if lacks_time and source.no_time == "file_order" else mapping


def _open(source: TablesSource, path: Path, tables: list[TableName]) -> _File:
    ending = _format(path)
    if ending == ".parquet":
        return _open_parquet(path)
    if ending in _DELIMITERS:
        return _open_delimited(source, path, _delimiter(source, ending))
    return _open_json(source, path, tables)


def _open_parquet(path: Path) -> _File:
    columns = parquet_schema(path)
    kind = source_type(columns)
    fields = Fields.of(columns.names, [field.type for field in kind])
    return _File(columns.names, kind, fields, lambda part: write_parquet(path, part))


def _open_delimited(source: TablesSource, path: Path, delimiter: str) -> _File:
    names = read_header(path, delimiter, source.encoding)
    kind = pa.struct([pa.field(name, pa.string()) for name in field_names(names)])
    return _File(
        names, kind, Fields.of_texts(names), lambda part: write_delimited(path, delimiter, part, source.encoding)
    )


def _open_json(source: TablesSource, path: Path, tables: list[TableName]) -> _File:
    """Keys may differ from line to line: the mapped ones become columns, all the others one column of a map."""
    mapped = dict.fromkeys(
        name
        for table in tables
        for names in (own_names(table, source.columns.get(table, {})), source.columns.get(table, {}))
        for name in names.values()
    )
    has_others = any(TABLES[table].open for table in tables)
    kind = object_type(list(mapped), has_others=has_others)
    return _File(
        json_names(path, source.encoding),
        kind,
        Fields.of_texts(list(mapped)),
        lambda part: write_json_lines(path, part, list(mapped), encoding=source.encoding),
        others=field_sql(kind.field(kind.num_fields - 1).name) if has_others else "",
    )


def _delimiter(source: TablesSource, ending: str) -> str:
    return source.delimiter if ending != ".tsv" and source.delimiter else _DELIMITERS[ending]


def _check_columns(source: TablesSource, table: TableName, path: Path, has: list[str]) -> None:
    """Every mapped column is in the file, and so is every one that the contract requires."""
    mapping = source.columns.get(table, {})
    for name, own in mapping.items():
        if name not in TABLES[table].arrow().names and not TABLES[table].open:
            raise SourceError(
                "Cannot map columns",
                got=f"{table}.{name}",
                expected=f"a column of the contract: {', '.join(TABLES[table].arrow().names)}",
                where=str(path),
                do=f"Correct the settings under recipe.source.columns.{table}",
            )
        if own not in has:
            raise _lacks(f"{table}.{name}={own}", path, has, table, own, name)
    given = [name for name, own in own_names(table, mapping).items() if own in has]
    for name in missing_columns(table, given, source):
        if name == schema.TIMESTAMP:
            raise missing_time(table, str(path), has)
        raise _lacks(f"{table}.{name} is required and missing", path, has, table, own_names(table, mapping)[name])


def _lacks(got: str, path: Path, has: list[str], table: TableName, wanted: str, column: str = "") -> SourceError:
    do = (
        f"Map it in the settings under recipe.source.columns.{table}, as contract column = file column, or have it "
        f"guessed: sommelier profile {path}"
    )
    if len(has) == 1 and (parts := [mark for mark in _OTHER_DELIMITERS if mark in has[0]]):
        do = f"The header is one name: set recipe.source.delimiter={json.dumps(parts[0])}"
    alike = [name for name in has if name.lower() == wanted.lower()]
    if alike:
        named = f"{column or wanted} = {json.dumps(alike[0], ensure_ascii=False)}"
        do = f"The file's name differs in case: say so in the settings under recipe.source.columns.{table}, {named}"
    return SourceError(
        "Cannot map columns",
        got=got,
        expected=f"a column of the file, which has {', '.join(has)}",
        where=str(path),
        do=do,
    )


def _ending(path: Path) -> str:
    """The ending that shows the format, "" for an unknown one."""
    ending = Path(path.name.removesuffix(".gz")).suffix.lower()
    return ending if ending in _ENDINGS else ""


def _format(path: Path) -> str:
    ending = _ending(path)
    if not ending:
        raise cannot_read(
            got=f"file={path.name}",
            expected=f"a name that ends in one of {', '.join(_ENDINGS)}, gzip or not",
            where=str(path.parent),
            do="Rename or convert the file",
        )
    return ending
