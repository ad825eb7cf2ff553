"""What lies in a folder: each file that can be read, its first rows as a table of texts in DuckDB."""

from __future__ import annotations

import csv
import re
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from core.settings.source import NULL_WORDS
from core.sql import identifier, json_pointer, literal
from validation.errors import SourceError, cannot_read
from validation.formats.delimited import SEPARATOR_LINE, end_empty, quoting_of, read_names
from validation.formats.files import require_file
from validation.profile.extracts.headers import is_header, likely_names
from validation.profile.extracts.text_files import read_text, sample_rows, sniff_delimiter
from validation.reading.values import unwrapped_sql

FOLDER_BYTES = 128 << 20
_FILE_BYTES = 48 << 20
_LEAST_BYTES = 2 << 20
_HEADER_CHARS = 200_000
_MAX_ROWS = 500_000  # of a Parquet file or a database's table
_SQLITE_MAGIC = b"SQLite format 3\x00"
_JSON = (".json", ".jsonl", ".ndjson")
_DELIMITED = (".csv", ".tsv")
_ATOMIC = (".inter", ".user", ".item")
_OTHER_TEXT = (".txt", ".dat", ".log", ".data", *_ATOMIC, "")
_NO_DATA = ("readme", "license", "licence", "changelog")


@dataclass(frozen=True)
class Extract:
    """The first rows of a file, or of a database's table, as a table of texts; null words are null.

    Attributes:
        name: The file's name, or the table's.
        relation: Its name in DuckDB.
        kind: "delimited", "json", "parquet" or "sqlite".
        n_total: Rows of the whole, where all were read or it is known; an estimate where `is_whole` is false.
        encoding, delimiter: Of delimited text and of JSON lines.
        evidence: Evidence for the encoding and the delimiter.
        problem: Why the readers cannot take it as it is; "" where they can.
        is_ascii: Whether every encoding but UTF-16 reads it alike.
        has_header: Whether the first line names the columns; nothing can be guessed where it does not.
    """

    name: str
    relation: str
    columns: tuple[str, ...]
    kind: str
    n_rows: int
    n_total: int
    is_whole: bool
    encoding: str = "utf-8"
    delimiter: str = ""
    evidence: tuple[str, ...] = ()
    problem: str = ""
    has_header: bool = True
    is_ascii: bool = False


@dataclass
class Workspace:
    """A DuckDB connection with the extracts, and the files that could not be read, each with why."""

    connection: Any
    extracts: list[Extract] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)

    def add(self, rows_sql: str, columns: Sequence[str], name: str, kind: str, **more: Any) -> Extract:
        """Keep rows as a table of texts, blanks and null words as null.

        Args:
            rows_sql: A query that gives the columns c0, c1 ... as texts.
        """
        relation = f"extract_{len(self.extracts)}"
        nothing = ", ".join(map(literal, ("", *NULL_WORDS)))
        # A column without a name cannot be mapped: it is the row number that a data frame wrote.
        named = [(n, column) for n, column in enumerate(columns) if column]
        texts = ", ".join(
            f"CASE WHEN trim(c{n}) NOT IN ({nothing}) THEN trim(c{n}) END AS {identifier(column)}"
            for n, column in named
        )
        self.connection.execute(f"CREATE TABLE {relation} AS SELECT {texts} FROM ({rows_sql})")
        ((n_rows,),) = self.connection.sql(f"SELECT count(*) FROM {relation}").fetchall()
        share, is_whole = more.pop("share", 1.0), more.pop("is_whole", True)
        n_total = more.pop("n_total", None) or (n_rows if is_whole else round(n_rows / max(share, 1e-9)))
        extract = Extract(name, relation, tuple(column for _, column in named), kind, n_rows, n_total, is_whole, **more)
        self.extracts.append(extract)
        return extract


def is_sqlite(path: Path) -> bool:
    """Whether a file is a SQLite database, whatever its name says."""
    with path.open("rb") as file:
        return file.read(len(_SQLITE_MAGIC)) == _SQLITE_MAGIC


def data_files(path: Path) -> list[Path]:
    """The file itself, or the folder's files that may hold data.

    Raises:
        SourceError: there is no such path, the file is empty, or the folder holds no file.
    """
    if path.is_file():
        return [require_file(path)]
    if not path.is_dir():
        raise cannot_read(got=f"path={path}", expected="a folder or a file that exists", do="Check the path")
    files = [entry for entry in sorted(path.iterdir()) if entry.is_file() and _may_hold_data(entry)]
    if not files:
        held = sorted(entry.name for entry in path.iterdir())[:10]
        raise cannot_read(
            got=f"files={held}",
            expected="Parquet, CSV, TSV, JSON lines or SQLite, gzip or not",
            where=str(path),
            do="Name the folder that holds the data, or convert them",
        )
    return files


def ending(path: Path) -> str:
    """The ending that shows the format, without that of the compression."""
    return Path(path.name.lower().removesuffix(".gz")).suffix


def load(workspace: Workspace, paths: Sequence[Path]) -> None:
    """Load each file's first rows; one that cannot be read is noted with why."""
    n_bytes = max(_LEAST_BYTES, min(_FILE_BYTES, FOLDER_BYTES // max(1, len(paths))))
    for path in paths:
        try:
            _load_file(workspace, path, n_bytes)
        except (SourceError, duckdb.Error, UnicodeError) as error:
            if len(paths) == 1:
                raise
            workspace.left_out[path.name] = str(error).splitlines()[0][:200]


def _load_file(workspace: Workspace, path: Path, n_bytes: int) -> None:
    if path.stat().st_size == 0:
        workspace.left_out[path.name] = "empty"
    elif ending(path) == ".parquet":
        _load_parquet(workspace, path)
    elif ending(path) in _JSON:
        _load_json(workspace, path, n_bytes)
    else:
        _load_delimited(workspace, path, n_bytes)


def _load_parquet(workspace: Workspace, path: Path) -> None:
    names = _columns(workspace, f"read_parquet({literal(str(path))})")
    texts = ", ".join(f"{text_of(name, kind)} AS c{n}" for n, (name, kind) in enumerate(names))
    ((n_total,),) = workspace.connection.sql(f"SELECT count(*) FROM read_parquet({literal(str(path))})").fetchall()
    workspace.add(
        f"SELECT {texts} FROM read_parquet({literal(str(path))}) LIMIT {_MAX_ROWS}",
        [name for name, _ in names],
        path.name,
        "parquet",
        n_total=n_total,
        is_whole=n_total <= _MAX_ROWS,
    )


def text_of(name: str, kind: str) -> str:
    """A column of any type as text, nested ones as JSON."""
    nested = kind.startswith(("STRUCT", "MAP")) or kind.endswith("]")
    if nested:
        return f"CAST(to_json({identifier(name)}) AS VARCHAR)"
    return f"CAST({identifier(name)} AS VARCHAR)"


def _load_json(workspace: Workspace, path: Path, n_bytes: int) -> None:
    """JSON lines: every key of the lines read is a column. A line that is no JSON is left out."""
    text = read_text(path, n_bytes)
    with _as_file(text.lines, ".json") as written:
        source = f"read_json_objects({literal(str(written))}, format = 'newline_delimited', ignore_errors = true)"
        keys = [
            key
            for (key,) in workspace.connection.sql(
                f"SELECT key FROM (SELECT unnest(json_keys(json)) AS key, row_number() OVER () AS n FROM {source} "
                "WHERE json_type(json) = 'OBJECT') GROUP BY key ORDER BY min(n), key"
            ).fetchall()
        ]
        if not keys:
            is_list = text.lines.lstrip().startswith("[")
            got = "one JSON list" if is_list else "no JSON objects"
            raise SourceError(
                "Cannot profile file", got=got, expected="JSON lines: one object per line", where=str(path),
                do="Convert it, for example: jq -c '.[]' file.json > file.jsonl",
            )  # fmt: skip
        values = (unwrapped_sql(f"json_extract_string(json, {json_pointer(key)})") for key in keys)
        texts = ", ".join(f"{value} AS c{n}" for n, value in enumerate(values))
        workspace.add(
            f"SELECT {texts} FROM {source} WHERE json_type(json) = 'OBJECT'",
            keys,
            path.name,
            "json",
            is_whole=text.is_whole,
            share=text.share,
            encoding=text.encoding,
            is_ascii=text.encoding == "utf-8" and text.lines.isascii(),
            evidence=(text.evidence,) if text.evidence else (),
        )


def _load_delimited(workspace: Workspace, path: Path, n_bytes: int) -> None:
    text = read_text(path, n_bytes)
    lines = re.sub(f"^{SEPARATOR_LINE}", "", text.lines, flags=re.IGNORECASE)
    delimiter, split = sniff_delimiter(lines, ending(path))
    rows = sample_rows(lines, delimiter)
    if not rows or (len(rows[0]) < 2 and ending(path) not in _DELIMITED):
        workspace.left_out[path.name] = "no columns found"
        return
    quoting = quoting_of(delimiter, lines.split("\n", 1)[0])
    names, n_header = read_names(lines[:_HEADER_CHARS].splitlines(keepends=True), delimiter, quoting)
    header = _distinct(names)
    if end_empty(rows[1:], len(header)):
        lines = re.sub(f"{re.escape(delimiter)}(\r?\n)", r"\1", lines)
    problem = _header_problem(rows, delimiter, path)
    has_header = not problem
    problem = problem or _ending_problem(path)
    if ending(path) in _ATOMIC:
        header, problem, has_header = _distinct([name.partition(":")[0] for name in rows[0]]), "", True
    evidence = tuple(filter(None, (text.evidence, split)))
    with _as_file(lines, ".csv") as written:
        quote = literal('"' if quoting == csv.QUOTE_MINIMAL else "")
        kinds = "{" + ", ".join(f"'c{n}': 'VARCHAR'" for n in range(len(header))) + "}"
        source = (
            f"read_csv({literal(str(written))}, delim = {literal(delimiter)}, quote = {quote}, escape = {quote}, "
            f"header = false, skip = {n_header}, columns = {kinds}, auto_detect = false, ignore_errors = true, "
            "strict_mode = false, null_padding = true, parallel = false, max_line_size = 67108864)"
        )
        workspace.add(
            f"SELECT * FROM {source}",
            header,
            path.name,
            "delimited",
            is_whole=text.is_whole,
            share=text.share,
            encoding=text.encoding,
            is_ascii=text.encoding == "utf-8" and text.lines.isascii(),
            delimiter=delimiter,
            evidence=evidence,
            problem=problem,
            has_header=has_header,
        )


def load_arrow(workspace: Workspace, rows: pa.Table, name: str, **more: Any) -> Extract:
    """Keep an Arrow table of texts as an extract."""
    named = rows.rename_columns([f"c{n}" for n in range(rows.num_columns)])
    workspace.connection.register("arrow_rows", named)
    try:
        return workspace.add("SELECT * FROM arrow_rows", rows.column_names, name, "sqlite", **more)
    finally:
        workspace.connection.unregister("arrow_rows")


def _columns(workspace: Workspace, source: str) -> list[tuple[str, str]]:
    return [(name, kind) for name, kind, *_ in workspace.connection.sql(f"DESCRIBE SELECT * FROM {source}").fetchall()]


def _distinct(names: Sequence[str]) -> list[str]:
    """Header names; repeated ones get a number, so that DuckDB can keep them apart."""
    seen: dict[str, int] = {}
    distinct = []
    for name in names:
        n = seen[name.lower()] = seen.get(name.lower(), 0) + 1
        distinct.append(name if n == 1 or not name else f"{name} ({n})")
    return distinct


def _header_problem(rows: list[list[str]], delimiter: str, path: Path) -> str:
    """A first line of values is no header."""
    if is_header(rows):
        return ""
    names = delimiter.join(likely_names(rows)).replace("\t", "\\t")
    packed = path.suffix.lower() == ".gz"
    how = (
        f"put a line of names before it, such as {names}"
        if packed
        else f"put names before it: sed -i '1i {names}' {path.name}"
    )
    return f"the first line ({', '.join(rows[0])[:60]}) is no header; {how}"


def _ending_problem(path: Path) -> str:
    if ending(path) in _DELIMITED:
        return ""
    own = ending(path) or "no ending"
    return f"a reader is chosen by the file's ending, and {own} is not known: rename it to end in .csv"


def _may_hold_data(path: Path) -> bool:
    if path.name.startswith((".", "_")) or path.name.lower().startswith(_NO_DATA):
        return False
    return ending(path) in (".parquet", *_JSON, *_DELIMITED, *_OTHER_TEXT) or is_sqlite(path)


@contextmanager
def _as_file(text: str, suffix: str) -> Iterator[Path]:
    """Text as a file that goes again at the end."""
    with tempfile.TemporaryDirectory(prefix="sommelier-profile-") as folder:
        path = Path(folder) / f"rows{suffix}"
        path.write_text(text, encoding="utf-8", newline="")
        yield path
