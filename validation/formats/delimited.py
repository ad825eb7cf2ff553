"""Delimited text (CSV, TSV) into a part, block by block. A row of another length than the header is a bad row."""

from __future__ import annotations

import codecs
import csv
import gc
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO, StringIO
from itertools import accumulate
from pathlib import Path
from typing import Literal, NoReturn

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv

from validation.formats.files import Block, block_encoding, read_blocks, stop_at
from validation.raw.writer import PartWriter, struct_of

Quoting = Literal[0, 3]  # csv.QUOTE_MINIMAL, csv.QUOTE_NONE


class _Lines:
    """Consecutive lines, decoded. A line that is not in the file's encoding comes with marks for the odd bytes."""

    def __init__(self, begin: int, data: bytes, encoding: str) -> None:
        self.begin = begin
        self.has_nul = b"\x00" in data
        self.undecoded: set[int] = set()  # numbers of lines
        try:
            self.texts = list(StringIO(data.decode(encoding), newline="\n"))
        except UnicodeDecodeError:
            lines = enumerate(BytesIO(data), start=begin)
            self.texts = [self._decode(number, line, encoding) for number, line in lines]

    def prepend(self, rest: _Lines) -> None:
        self.begin = rest.begin
        self.has_nul |= rest.has_nul
        self.undecoded |= {number for number in rest.undecoded if number >= rest.begin}
        self.texts = rest.texts + self.texts

    def drop(self, number: int) -> None:
        """Forget the lines before one."""
        self.texts = self.texts[number - self.begin :]
        self.begin = number

    def text(self, begin: int, end: int) -> str:
        return "".join(self.texts[begin - self.begin : end - self.begin])

    def _decode(self, number: int, line: bytes, encoding: str) -> str:
        try:
            return line.decode(encoding)
        except UnicodeDecodeError:
            self.undecoded.add(number)
            return line.decode(encoding, errors="replace")


@dataclass
class _Rows:
    """Rows of consecutive lines.

    Attributes:
        fields: Of each row; none for a row that could not be read.
        begins: The line where each row begins, and the one after the last row.
        errors: Why a row could not be read, by its index.
    """

    fields: list[list[str]] = field(default_factory=list)
    begins: list[int] = field(default_factory=list)
    errors: dict[int, str] = field(default_factory=dict)


def read_header(path: Path, delimiter: str, encoding: str = "utf-8") -> list[str]:
    """The header's names, without the spaces around them.

    Raises:
        SourceError: missing, empty, damaged, or its first line is no text.
    """
    line = next(read_blocks(path, encoding)).data.split(b"\n", 1)[0]
    try:
        text = line.decode(block_encoding(encoding))
    except UnicodeDecodeError as error:
        likely = "utf-16" if line.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "cp1252"
        do = f'Name the file\'s encoding in the settings, perhaps source.encoding="{likely}"'
        stop_at(path, 1, got=f"byte {error.start} is no {_name(encoding)}", expected="text", do=do)
    if "\x00" in text:
        stop_at(path, 1, got="null bytes in the header", expected="text", do="Check that the file is a text file")
    if "\r" in text.rstrip("\r"):
        do = "Write the file with the line ends of Windows or Unix, such as by: tr '\\r' '\\n'"
        stop_at(path, 1, got="line ends=carriage returns alone", expected="line feeds", do=do)
    names = next(csv.reader([text], delimiter=delimiter, quoting=quoting_of(delimiter, text)), [])
    return [name.strip() for name in names]


def write_delimited(path: Path, delimiter: str, part: PartWriter, encoding: str = "utf-8") -> None:
    """Append the rows after the header to a part, empty lines left out.

    Tab-separated text knows no quotes unless its header is quoted; all other text does: a quoted field may hold line
    ends, so a row may lie on several lines, and its number is that of the first.

    Raises:
        SourceError: missing, empty, truncated, or no text.
    """
    own = block_encoding(encoding)
    rest: _Lines | None = None  # of a row that the next block goes on with
    quoting: Quoting = csv.QUOTE_MINIMAL
    for block in read_blocks(path, encoding):
        if block.begin == 1:
            quoting = quoting_of(delimiter, block.data.split(b"\n", 1)[0].decode(own, errors="replace"))
        if rest is None and (plain := _plain_columns(block, delimiter, own, part.source, quoting)):
            numbers = np.arange(len(plain[0])) + max(block.begin, 2)
            part.write(struct_of(plain, part.source), path.name, pa.array(numbers, pa.int64()))
            continue
        lines = _Lines(block.begin, block.data, own)
        if block.begin == 1:
            lines.texts[0] = "\n"  # the header, which `read_header` gave; empty lines are left out
        if rest is not None:
            lines.prepend(rest)
        with _collector_off():
            rows = _parse(lines, delimiter, quoting)
            _mark_bad(rows, lines, part.source.num_fields, f"not {_name(encoding)}")
            _write(rows, lines, part, path.name)
        _check_end(path, rows, lines, block)
        lines.drop(rows.begins[-1])
        rest = lines if lines.texts else None
    if rest is not None:
        _stop_truncated(path, rest.begin, "".join(rest.texts))


def _plain_columns(
    block: Block, delimiter: str, encoding: str, kind: pa.StructType, quoting: Quoting
) -> list[pa.Array] | None:
    """A block's columns as Arrow's parser gives them, where nothing is in it that may be read in two ways.

    Returns:
        None where a quote, an empty line, a lone carriage return, a null byte, a byte of another encoding or a row of
        another length is in the block: then Python's parser reads it, row by row.
    """
    data = block.data if block.begin > 1 else block.data.partition(b"\n")[2]
    odd = (b"\x00", b"\n\n", b"\n\r\n") if quoting == csv.QUOTE_NONE else (b'"', b"\x00", b"\n\n", b"\n\r\n")
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
    try:
        table = pa_csv.read_csv(
            pa.BufferReader(data),
            pa_csv.ReadOptions(column_names=names, use_threads=False, block_size=len(data) + 1),
            pa_csv.ParseOptions(delimiter=delimiter, quote_char=False),
            pa_csv.ConvertOptions(column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False),
        )
    except pa.ArrowInvalid:
        return None
    n_lines = data.count(b"\n") + (not data.endswith(b"\n"))
    return [column.combine_chunks() for column in table.columns] if len(table) == n_lines else None


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


def _parse(lines: _Lines, delimiter: str, quoting: Quoting) -> _Rows:
    """The rows; an unfinished last one is left for the next lines."""
    rows = _Rows(begins=[lines.begin])
    reader = csv.reader(lines.texts, delimiter=delimiter, quoting=quoting, strict=True)
    while True:
        fresh: list[list[str]] = []
        before, error = reader.line_num, ""
        try:
            fresh.extend(reader)  # what was read before an error stays in the list
        except csv.Error as raised:
            error = str(raised)
        rows.fields += fresh
        rows.begins += list(accumulate(_spans(fresh, reader.line_num - before - bool(error)), initial=rows.begins[-1]))[
            1:
        ]
        if not error or "unexpected end of data" in error:
            return rows
        rows.errors[len(rows.fields)] = f"not delimited text: {error}"
        rows.fields.append([])
        rows.begins.append(lines.begin + reader.line_num)


def _spans(rows: list[list[str]], n_lines: int) -> list[int]:
    """How many lines each row spans: one each where there are as many lines as rows."""
    if n_lines == len(rows):
        return [1] * n_lines
    return [1 + sum(cell.count("\n") for cell in cells) for cells in rows]


def _mark_bad(rows: _Rows, lines: _Lines, n_fields: int, undecoded: str) -> None:
    """Note why rows cannot be used: bytes of another encoding, a NUL, another length than the header."""
    if set(map(len, rows.fields)) <= {n_fields} and not lines.undecoded and not lines.has_nul:
        return
    for index, cells in enumerate(rows.fields):
        if index in rows.errors or not cells:
            continue
        begin, end = rows.begins[index : index + 2]
        if lines.undecoded and any(number in lines.undecoded for number in range(begin, end)):
            rows.errors[index] = undecoded
        elif len(cells) != n_fields:
            rows.errors[index] = f"{len(cells)} fields, the header has {n_fields}"
        elif lines.has_nul and any("\x00" in cell for cell in cells):
            rows.errors[index] = "a null byte in the text"


def _write(rows: _Rows, lines: _Lines, part: PartWriter, file: str) -> None:
    """Append the rows to a part, empty lines left out."""
    n_fields = part.source.num_fields
    kept: list[list[str]] | list[list[None] | list[str]] = rows.fields
    begins, errors = rows.begins[:-1], pa.nulls(len(rows.fields), pa.string())
    texts, valid = errors, None
    if rows.errors or not all(kept):
        indexes = [index for index, cells in enumerate(kept) if cells or index in rows.errors]
        nothing: list[None] = [None] * n_fields
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
        columns = [pa.array(column, pa.string()) for column in zip(*kept, strict=True)]
        part.write(struct_of(columns, part.source, valid), file, pa.array(begins, pa.int64()), texts, errors)


def _check_end(path: Path, rows: _Rows, lines: _Lines, block: Block) -> None:
    """A file whose very last row is bad and has no line end was cut off there."""
    last = len(rows.fields) - 1
    if not block.data.endswith((b"\n", b"\r")) and last in rows.errors:
        _stop_truncated(path, rows.begins[last], lines.text(*rows.begins[last:]))


def _stop_truncated(path: Path, line: int, text: str) -> NoReturn:
    stop_at(
        path,
        line,
        got=f"last row={text[:60]!r}, cut off",
        expected="a file that ends with a whole row",
        do="The file is truncated, or a quote is never closed; correct it or fetch it again",
    )


def quoting_of(delimiter: str, header: str) -> Quoting:
    """How quotes are read: as part of a field in tab-separated text, unless all its names are quoted (R)."""
    names = header.strip().split(delimiter)
    quoted = all(len(name) > 1 and name.startswith('"') and name.endswith('"') for name in names)
    return csv.QUOTE_NONE if delimiter == "\t" and not quoted else csv.QUOTE_MINIMAL


def _name(encoding: str) -> str:
    return encoding.upper()
