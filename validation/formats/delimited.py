"""Delimited text (CSV, TSV) into a part, block by block. A row of another length than the header is a bad row."""

from __future__ import annotations

import codecs
import csv
import gc
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from io import BytesIO
from itertools import islice
from pathlib import Path
from typing import NoReturn

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv

from validation.formats.files import Block, block_encoding, read_blocks, stop_at
from validation.formats.quoted import Form, Lines, Quoting, Rows, parse_rows
from validation.raw.writer import PartWriter, struct_of

_MAX_HEADER_LINES = 20  # a name may hold line ends
_MAX_SAMPLED_LINES = 1000
SEPARATOR_LINE = r'"?sep=(?:.|\\t)"?\r?\n'  # Excel's, before the header
_SEPARATOR_LINE = re.compile(SEPARATOR_LINE.encode(), re.IGNORECASE)


@dataclass(frozen=True)
class _Header:
    """What comes before the rows.

    Attributes:
        n_lines: Of the file, up to the first row.
        text: The names as they stand there.
    """

    n_lines: int
    text: str
    names: list[str]
    quoting: Quoting


def read_header(path: Path, delimiter: str, encoding: str = "utf-8") -> list[str]:
    """The header's names, without the spaces around them; a line end within a name is a space.

    Raises:
        SourceError: missing, empty, damaged, or its first line is no text.
    """
    data = next(read_blocks(path, encoding)).data
    try:
        header = _header_of(data, delimiter, block_encoding(encoding))
    except UnicodeDecodeError as error:
        likely = "utf-16" if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "cp1252"
        do = f'Name the file\'s encoding in the settings, perhaps recipe.source.encoding="{likely}"'
        stop_at(path, 1, got=f"byte {error.start} is no {_name(encoding)}", expected="text", do=do)
    if "\x00" in header.text:
        stop_at(path, 1, got="null bytes in the header", expected="text", do="Check that the file is a text file")
    if "\r" in header.text.replace("\r\n", "\n").rstrip("\r"):
        do = "Write the file with the line ends of Windows or Unix, such as by: tr '\\r' '\\n'"
        stop_at(path, 1, got="line ends=carriage returns alone", expected="line feeds", do=do)
    return header.names


def _header_of(data: bytes, delimiter: str, encoding: str, errors: str = "strict") -> _Header:
    lines = list(islice(BytesIO(data), _MAX_HEADER_LINES + 1))
    n_before = 1 if _SEPARATOR_LINE.match(lines[0]) and len(lines) > 1 else 0
    quoting = quoting_of(delimiter, lines[n_before].decode(encoding, errors))
    texts = [lines[n_before].decode(encoding, errors)]
    if quoting == csv.QUOTE_MINIMAL and texts[0].count('"') % 2:
        texts += [line.decode(encoding, "replace") for line in lines[n_before + 1 :]]
    names, n_lines = read_names(texts, delimiter, quoting)
    return _Header(n_before + n_lines, "".join(texts[:n_lines]), names, quoting)


def write_delimited(path: Path, delimiter: str, part: PartWriter, encoding: str = "utf-8") -> None:
    """Append the rows after the header to a part, empty lines left out.

    Tab-separated text knows no quotes unless its header is quoted; all other text does: a quoted field may hold line
    ends, so a row may lie on several lines, and its number is that of the first. A quote that is not closed costs the
    line that it stands on.

    Raises:
        SourceError: missing, empty, truncated, or no text.
    """
    own, undecoded, n_names = block_encoding(encoding), f"not {_name(encoding)}", part.source.num_fields
    rest: Lines | None = None  # of a row that the next block goes on with
    ends_whole = True
    for block in read_blocks(path, encoding):
        ends_whole, n_header = block.data.endswith((b"\n", b"\r")), 0
        if block.begin == 1:
            header = _header_of(block.data, delimiter, own, errors="replace")
            n_header = header.n_lines
            form = _form_of(block, header, delimiter, own, n_names)
        if rest is None and (plain := _plain_columns(block, n_header, form, own, part.source)):
            numbers = np.arange(len(plain[0])) + block.begin + n_header
            part.write(struct_of(plain, part.source), path.name, pa.array(numbers, pa.int64()))
            continue
        lines = Lines(block.begin, block.data, own)
        lines.texts[:n_header] = ["\n"] * n_header  # the header, which `read_header` gave; empty lines are left out
        if rest is not None:
            lines.prepend(rest)
        with _collector_off():
            rows = parse_rows(lines, form)
            _mark_bad(rows, lines, form, n_names, undecoded)
            _write(rows, lines, part, path.name, form)
        _check_end(path, rows, lines, ends_whole or rows.end < lines.end)
        lines.drop(rows.end)
        rest = lines if lines.texts else None
    if rest is not None:
        rows = parse_rows(rest, form, at_end=True)
        _mark_bad(rows, rest, form, n_names, undecoded)
        if not any(cells and index not in rows.errors for index, cells in enumerate(rows.fields)):
            _stop_truncated(path, rest.begin, "".join(rest.texts))
        _check_end(path, rows, rest, ends_whole)
        _write(rows, rest, part, path.name, form)


def _form_of(block: Block, header: _Header, delimiter: str, encoding: str, n_names: int) -> Form:
    """How the rows are written; those that all end in a delimiter have an empty field more than the header."""
    lines = list(islice(BytesIO(block.data), header.n_lines, header.n_lines + _MAX_SAMPLED_LINES))
    form = Form(delimiter, header.quoting, n_names)
    if not lines or not lines[0].rstrip(b"\r\n").endswith(delimiter.encode(encoding)):
        return form
    texts = [line.decode(encoding, errors="replace") for line in lines]
    rows = [cells for cells in csv.reader(texts, delimiter=delimiter, quoting=header.quoting) if cells]
    return replace(form, n_fields=n_names + 1) if end_empty(rows, n_names) else form


def end_empty(rows: Sequence[Sequence[str]], n_names: int) -> bool:
    """Whether all rows end in a delimiter that the header does not have."""
    return bool(rows) and all(len(cells) == n_names + 1 and not cells[-1] for cells in rows)


def _plain_columns(
    block: Block, n_header: int, form: Form, encoding: str, kind: pa.StructType
) -> list[pa.Array] | None:
    """A block's columns as Arrow's parser gives them, where nothing is in it that may be read in two ways.

    Returns:
        None where a quote, an empty line, a lone carriage return, a null byte, a byte of another encoding or a row of
        another length is in the block: then Python's parser reads it, row by row.
    """
    data = block.data
    for _ in range(n_header):
        data = data.partition(b"\n")[2]
    odd = (b"\x00", b"\n\n", b"\n\r\n") if form.quoting == csv.QUOTE_NONE else (b'"', b"\x00", b"\n\n", b"\n\r\n")
    returns = data.count(b"\r")
    if (
        not data
        or data.startswith((b"\n", b"\r"))
        or any(mark in data for mark in odd)
        or (returns and returns != data.count(b"\r\n"))
        or codecs.lookup(encoding).name != "utf-8"
    ):
        return None
    names = [field.name for field in kind]
    if form.n_fields > len(names):
        names.append(f"after {''.join(names)}")  # the empty field at the end of every row
    try:
        table = pa_csv.read_csv(
            pa.BufferReader(data),
            pa_csv.ReadOptions(column_names=names, use_threads=False, block_size=len(data) + 1),
            pa_csv.ParseOptions(delimiter=form.delimiter, quote_char=False),
            pa_csv.ConvertOptions(column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False),
        )
    except pa.ArrowInvalid:
        return None
    n_lines = data.count(b"\n") + (not data.endswith(b"\n"))
    if len(table) != n_lines:
        return None
    if form.n_fields > kind.num_fields and pc.any(pc.not_equal(table.columns[-1], "")).as_py():
        return None
    return [column.combine_chunks() for column in table.columns[: kind.num_fields]]


@contextmanager
def _collector_off() -> Iterator[None]:
    """Rows are many lists without cycles: collecting garbage among them would double the time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _mark_bad(rows: Rows, lines: Lines, form: Form, n_names: int, undecoded: str) -> None:
    """Note why rows cannot be used: bytes of another encoding, a NUL, another length than the header."""
    is_plain = form.n_fields == n_names and not lines.undecoded and not lines.has_nul
    if is_plain and set(map(len, rows.fields)) <= {n_names}:
        return
    expected = "the header has" if form.n_fields == n_names else "the first rows have"
    for index, cells in enumerate(rows.fields):
        if index in rows.errors or not cells:
            continue
        begin, end = rows.begins[index : index + 2]
        if lines.undecoded and any(number in lines.undecoded for number in range(begin, end)):
            rows.errors[index] = undecoded
        elif len(cells) != form.n_fields:
            rows.errors[index] = f"{len(cells)} fields, {expected} {form.n_fields}"
        elif form.n_fields > n_names and cells[-1]:
            rows.errors[index] = f"{len(cells)} fields, the header has {n_names}"
        elif lines.has_nul and any("\x00" in cell for cell in cells):
            rows.errors[index] = "a null byte in the text"


def _write(rows: Rows, lines: Lines, part: PartWriter, file: str, form: Form) -> None:
    """Append the rows to a part, empty lines left out."""
    kept: list[list[str]] | list[list[None] | list[str]] = rows.fields
    begins, errors = rows.begins[:-1], pa.nulls(len(rows.fields), pa.string())
    texts, valid = errors, None
    if rows.errors or not all(kept):
        indexes = [index for index, cells in enumerate(kept) if cells or index in rows.errors]
        nothing: list[None] = [None] * form.n_fields
        kept = [nothing if index in rows.errors else rows.fields[index] for index in indexes]
        begins = [begins[index] for index in indexes]
        errors = pa.array([rows.errors.get(index) for index in indexes], pa.string())
        texts = pa.array(
            [
                lines.text(*rows.begins[index : index + 2]).rstrip("\r\n") if index in rows.errors else None
                for index in indexes
            ],
            pa.string(),
        )
        valid = errors.is_null()
    if kept:
        columns = [pa.array(column, pa.string()) for column in islice(zip(*kept, strict=True), part.source.num_fields)]
        part.write(struct_of(columns, part.source, valid), file, pa.array(begins, pa.int64()), texts, errors)


def _check_end(path: Path, rows: Rows, lines: Lines, ends_whole: bool) -> None:
    """A file whose very last row is bad and has no line end was cut off there."""
    last = len(rows.fields) - 1
    if not ends_whole and last in rows.errors:
        _stop_truncated(path, rows.begins[last], lines.text(*rows.begins[last:]))


def _stop_truncated(path: Path, line: int, text: str) -> NoReturn:
    stop_at(
        path,
        line,
        got=f"last row={text[:60]!r}, cut off",
        expected="a file that ends with a whole row",
        do="The file is truncated, or a quote is never closed; correct it or fetch it again",
    )


def read_names(lines: Sequence[str], delimiter: str, quoting: Quoting) -> tuple[list[str], int]:
    """The names in the first line, or lines where one of them holds a line end; how many lines they take."""
    reader = csv.reader(lines, delimiter=delimiter, quoting=quoting, strict=True)
    try:
        names, n_lines = next(reader, []), reader.line_num
    except csv.Error:  # a quote that is part of a name, or a lone carriage return
        first = lines[0].replace("\r", " ")
        names, n_lines = next(csv.reader([first], delimiter=delimiter, quoting=quoting), []), 1
    return [re.sub(r"\s*\n\s*", " ", name.strip()) for name in names], n_lines


def quoting_of(delimiter: str, header: str) -> Quoting:
    """How quotes are read: as part of a field in tab-separated text, unless all its names are quoted (R)."""
    names = header.strip().split(delimiter)
    quoted = all(len(name) > 1 and name.startswith('"') and name.endswith('"') for name in names)
    return csv.QUOTE_NONE if delimiter == "\t" and not quoted else csv.QUOTE_MINIMAL


def _name(encoding: str) -> str:
    return encoding.upper()
