"""Reader of kind "tables": a folder of Parquet, CSV, TSV or JSON-lines files, with the contract's names or mapped."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from recommender.schema import TABLE_NAMES, TABLES, TableName
from recommender.source_settings import TablesSource
from validation.delimited import read_header, write_delimited
from validation.errors import SourceError
from validation.files import require_file, require_folder
from validation.json_lines import json_names, object_type, write_json_lines
from validation.mappings import FILLED, Fields, map_columns, map_json_columns
from validation.parquet_rows import parquet_schema, source_type, write_parquet
from validation.raw import PartWriter, RawWriter, field_names, field_sql
from validation.raw_parts import TableMapping

_DELIMITERS = {".csv": ",", ".tsv": "\t"}
_JSON = (".json", ".jsonl", ".ndjson")
_ENDINGS = (".parquet", *_DELIMITERS, *_JSON)


@dataclass(frozen=True)
class _File:
    """A source file of any format: the columns it has, the type of its part's `source`, and how it is written there."""

    names: list[str]
    kind: pa.StructType
    map: Callable[[TableName, bool], TableMapping]
    write: Callable[[PartWriter], None]


def locate(source: TablesSource) -> dict[TableName, Path]:
    """The file of each table that the folder holds.

    Raises:
        SourceError: there are no interactions, two files for a table, or a file that the settings name is missing.
    """
    folder = require_folder(source.path)
    found: dict[TableName, Path] = {}
    for table in TABLE_NAMES:
        if table in source.files:
            found[table] = require_file(folder / source.files[table])
            continue
        files = [path for path in sorted(folder.iterdir()) if path.name.split(".")[0] == table and _ending(path)]
        if len(files) > 1:
            raise SourceError(
                "Cannot read source",
                got=f"files={[path.name for path in files]}",
                expected=f"one file of {table}",
                where=str(folder),
                do=f"Name the right one in the settings under files.{table}",
            )
        if files:
            found[table] = require_file(files[0])
    if "interactions" not in found:
        raise SourceError(
            "Cannot read source",
            got=f"files={sorted(path.name for path in folder.iterdir())}",
            expected=f"interactions, ending in one of {', '.join(_ENDINGS)}, gzip or not",
            where=str(folder),
            do="Name the file in the settings under files.interactions",
        )
    return found


def read(source: TablesSource, writer: RawWriter) -> None:
    """Write the parts, one per file; a file may give several tables, and its unreadable rows count as the first's.

    Raises:
        SourceError: a file is missing, empty, truncated, of no known format, or lacks a column.
    """
    located = locate(source)
    for path in dict.fromkeys(located.values()):
        tables = [table for table in TABLE_NAMES if located.get(table) == path]
        file = _open(source, path, tables)
        for table in tables:
            _check_columns(table, path, file.names, source.columns.get(table, {}))
        mappings = {table: file.map(table, table == tables[0]) for table in tables}
        with writer.open_part("-".join(tables), file.kind, mappings) as part:
            file.write(part)


def _open(source: TablesSource, path: Path, tables: list[TableName]) -> _File:
    ending = _format(path)
    if ending == ".parquet":
        return _open_parquet(source, path)
    if ending in _DELIMITERS:
        return _open_delimited(source, path, _delimiter(source, ending))
    return _open_json(source, path, tables)


def _open_parquet(source: TablesSource, path: Path) -> _File:
    columns = parquet_schema(path)
    kind = source_type(columns)
    fields = Fields.of(columns.names, [field.type for field in kind])
    return _File(columns.names, kind, _by_names(source, fields), lambda part: write_parquet(path, part))


def _open_delimited(source: TablesSource, path: Path, delimiter: str) -> _File:
    names = read_header(path, delimiter, source.encoding)
    kind = pa.struct([pa.field(name, pa.string()) for name in field_names(names)])
    return _File(
        names,
        kind,
        _by_names(source, Fields.of_texts(names)),
        lambda part: write_delimited(path, delimiter, part, source.encoding),
    )


def _open_json(source: TablesSource, path: Path, tables: list[TableName]) -> _File:
    """Keys may differ from line to line: the mapped ones become columns, all the others one column of a map."""
    mapped = dict.fromkeys(
        source.columns.get(table, {}).get(column.name, column.name)
        for table in tables
        for column in TABLES[table].columns
    )
    kind = object_type(list(mapped), has_others=any(TABLES[table].open for table in tables))
    fields = Fields.of_texts(list(mapped))
    others = field_sql(kind.field(kind.num_fields - 1).name)

    def mapping(table: TableName, unreadable: bool) -> TableMapping:
        return map_json_columns(
            table,
            source.columns.get(table, {}),
            fields,
            others=others if TABLES[table].open else "",
            default_event=source.default_event,
            unreadable=unreadable,
            date_formats=source.date_formats,
        )

    return _File(
        json_names(path, source.encoding),
        kind,
        mapping,
        lambda part: write_json_lines(path, part, list(mapped), encoding=source.encoding),
    )


def _by_names(source: TablesSource, fields: Fields) -> Callable[[TableName, bool], TableMapping]:
    def mapping(table: TableName, unreadable: bool) -> TableMapping:
        return map_columns(
            table,
            fields,
            source.columns.get(table, {}),
            default_event=source.default_event,
            unreadable=unreadable,
            date_formats=source.date_formats,
        )

    return mapping


def _delimiter(source: TablesSource, ending: str) -> str:
    return source.delimiter if ending == ".csv" and source.delimiter else _DELIMITERS[ending]


def _check_columns(table: TableName, path: Path, has: list[str], mapping: dict[str, str]) -> None:
    """Every mapped column is in the file, and so is every one that the contract requires."""
    for name, own in mapping.items():
        if name not in TABLES[table].arrow().names:
            raise SourceError(
                "Cannot map columns",
                got=f"{table}.{name}",
                expected=f"a column of the contract: {', '.join(TABLES[table].arrow().names)}",
                where=str(path),
                do=f"Mend the settings under columns.{table}",
            )
        if own not in has:
            raise _lacks(f"{table}.{name}={own}", path, has, table)
    for column in TABLES[table].columns:
        if column.required and column.name not in FILLED and mapping.get(column.name, column.name) not in has:
            raise _lacks(f"{table}.{column.name} is required and missing", path, has, table)


def _lacks(got: str, path: Path, has: list[str], table: TableName) -> SourceError:
    return SourceError(
        "Cannot map columns",
        got=got,
        expected=f"a column of the file, which has {', '.join(has)}",
        where=str(path),
        do=f"Map it in the settings under columns.{table}, as contract column = file column",
    )


def _ending(path: Path) -> str:
    """The ending that tells the format, "" where it tells none."""
    ending = Path(path.name.removesuffix(".gz")).suffix.lower()
    return ending if ending in _ENDINGS else ""


def _format(path: Path) -> str:
    ending = _ending(path)
    if not ending:
        raise SourceError(
            "Cannot read source",
            got=f"file={path.name}",
            expected=f"a name that ends in one of {', '.join(_ENDINGS)}, gzip or not",
            where=str(path.parent),
            do="Rename or convert the file",
        )
    return ending
