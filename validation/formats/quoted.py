"""Delimited text with quotes, row by row: a quote out of place costs the line that it stands on, and no other."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from io import BytesIO, StringIO
from itertools import accumulate
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from _csv import Reader

Quoting = Literal[0, 3]  # csv.QUOTE_MINIMAL, csv.QUOTE_NONE

# A field that goes on for longer was opened by a quote that is never closed. Python's own default.
_MAX_FIELD_CHARS = 131_072
# So many lines, each of as many fields as a row has: a quote made one field of them. Fewer may be somebody's words.
_MIN_SWALLOWED_LINES = 4
_NOT_CLOSED = "not delimited text: a quote is not closed in its row"
_UNFINISHED = "unexpected end of data"


@dataclass(frozen=True)
class Form:
    """How rows are written.

    Attributes:
        n_fields: Of a good row.
    """

    delimiter: str
    quoting: Quoting
    n_fields: int

    def reader(self, lines: Iterable[str]) -> Reader:
        return csv.reader(lines, delimiter=self.delimiter, quoting=self.quoting, strict=True)

    def escaping_reader(self, lines: Iterable[str]) -> Reader:
        """Of rows that have a quote within a quoted field as MySQL and Spark write it: after a backslash."""
        return csv.reader(lines, delimiter=self.delimiter, quoting=self.quoting, strict=True, escapechar="\\")


class Lines:
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

    @property
    def end(self) -> int:
        """Number of the line after the last one."""
        return self.begin + len(self.texts)

    def prepend(self, rest: Lines) -> None:
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

    def each(self, begin: int, end: int | None = None) -> Iterator[str]:
        """The lines from one on, up to another; nothing is copied."""
        if begin == self.begin and end is None:
            return iter(self.texts)
        return map(self.texts.__getitem__, range(begin - self.begin, (end or self.end) - self.begin))

    def _decode(self, number: int, line: bytes, encoding: str) -> str:
        try:
            return line.decode(encoding)
        except UnicodeDecodeError:
            self.undecoded.add(number)
            return line.decode(encoding, errors="replace")


@dataclass
class Rows:
    """Rows of consecutive lines.

    Attributes:
        fields: Of each row; none for a row that could not be read.
        begins: The line where each row begins, and the one after the last row.
        errors: Why a row could not be read, by its index.
    """

    fields: list[list[str]] = field(default_factory=list)
    begins: list[int] = field(default_factory=list)
    errors: dict[int, str] = field(default_factory=dict)

    @property
    def end(self) -> int:
        """Number of the line after the last row."""
        return self.begins[-1]

    def add(self, cells: list[str], end: int, error: str = "") -> None:
        if error:
            self.errors[len(self.fields)] = error
        self.fields.append([] if error else cells)
        self.begins.append(end)


def parse_rows(lines: Lines, form: Form, at_end: bool = False) -> Rows:
    """The rows. Of a row that cannot be read over several lines, the first one is bad, and the next are read anew.

    Args:
        at_end: No more lines come after these. Else an unfinished last row is left for the next lines.
    """
    csv.field_size_limit(_MAX_FIELD_CHARS)  # somebody else in the process may have raised it
    rows = Rows(begins=[lines.begin])
    begin, reader = lines.begin, form.reader(lines.each(lines.begin))
    while True:
        fresh: list[list[str]] = []
        before, error = reader.line_num, ""
        try:
            fresh.extend(reader)  # what was read before an error stays in the list
        except csv.Error as raised:
            error = str(raised)
        _add(rows, fresh, reader.line_num - before - bool(error), lines, form)
        if not error or (_UNFINISHED in error and not at_end):
            return rows
        read_to, first = begin + reader.line_num, rows.end
        if (cells := _unescaped(lines, form, first, read_to)) is not None:
            if cells.n_lines == 0 and not at_end:
                return rows
            if len(cells.fields) == form.n_fields:
                rows.add(cells.fields, first + cells.n_lines)
                begin, reader = rows.end, form.reader(lines.each(rows.end))
                continue
        is_long = read_to - first > 1
        rows.add([], first + 1, _NOT_CLOSED if is_long or _UNFINISHED in error else f"not delimited text: {error}")
        if is_long:
            begin, reader = rows.end, form.reader(lines.each(rows.end))


@dataclass(frozen=True)
class _Unescaped:
    """A row whose quotes are escaped by backslashes; of no lines where they do not reach to its end."""

    fields: list[str]
    n_lines: int


def _unescaped(lines: Lines, form: Form, begin: int, end: int) -> _Unescaped | None:
    """The row at a line, read with escapes; None where there are none up to a line, or it is no such row."""
    if form.quoting == csv.QUOTE_NONE or not any('\\"' in text for text in lines.each(begin, end)):
        return None
    reader = form.escaping_reader(lines.each(begin))
    try:
        return _Unescaped(next(reader), reader.line_num)
    except csv.Error as error:
        return _Unescaped([], 0) if _UNFINISHED in str(error) else None


def _add(rows: Rows, fresh: list[list[str]], n_lines: int, lines: Lines, form: Form) -> None:
    """Add rows as they were read; those of several lines that hold whole rows are taken apart."""
    spans = _spans(fresh, n_lines)
    begins = list(accumulate(spans, initial=rows.end))
    lengths, n_marks, texts = {form.n_fields, 0}, form.n_fields - 1, lines.texts
    odd = [index for index, cells in enumerate(fresh) if len(cells) not in lengths]
    if n_lines != len(fresh):
        second = 1 - lines.begin  # of a row's lines, in the texts; looked at here because it is quick
        long = [index for index, span in enumerate(spans) if span >= _MIN_SWALLOWED_LINES]
        alike = [index for index in long if texts[begins[index] + second].count(form.delimiter) == n_marks]
        odd = sorted({*odd, *alike})
    start = 0
    for index in [*odd, len(fresh)]:
        rows.fields += fresh[start:index]
        rows.begins += begins[start + 1 : index + 1]
        if index < len(fresh):
            _add_odd(rows, fresh[index], begins[index + 1], lines, form)
        start = index + 1


def _add_odd(rows: Rows, cells: list[str], end: int, lines: Lines, form: Form) -> None:
    """Add a row of many lines or of another length than the header."""
    begin, is_good = rows.end, len(cells) == form.n_fields
    read = None if is_good else _unescaped(lines, form, begin, end)
    if read is not None and (len(read.fields), read.n_lines) == (form.n_fields, end - begin):
        rows.add(read.fields, end)
    elif end - begin > 1 and _holds_rows(lines, form, begin, end, is_good):
        rows.add([], begin + 1, _NOT_CLOSED)
        for number in range(begin + 1, end):
            _add_line(rows, lines, form, number)
    else:
        rows.add(cells, end)


def _holds_rows(lines: Lines, form: Form, begin: int, end: int, is_good: bool) -> bool:
    """Whether the lines of one row are rows of their own, in one of which a quote was opened.

    Of a row with as many fields as it should have, all lines have to look so, and its last line must not close it: it
    may be a field with line ends.
    """
    if is_good and lines.text(end - 1, end).rstrip("\r\n").endswith('"'):
        return False
    n_marks = form.n_fields - 1
    alike = (text.count(form.delimiter) == n_marks for text in lines.each(begin, end))
    if is_good or end - begin == 2:
        return n_marks > 0 and all(alike)
    return any(len(_row_of(text, form) or ()) == form.n_fields for text in lines.each(begin + 1, end - 1))


def _row_of(line: str, form: Form) -> list[str] | None:
    """A line as a row of its own, None where it is none."""
    try:
        return next(form.reader([line]), [])
    except csv.Error:
        return None


def _add_line(rows: Rows, lines: Lines, form: Form, number: int) -> None:
    cells = _row_of(lines.text(number, number + 1), form)
    if cells is None and (read := _unescaped(lines, form, number, number + 1)) and read.n_lines == 1:
        cells = read.fields
    rows.add(cells or [], number + 1, _NOT_CLOSED if cells is None else "")


def _spans(rows: list[list[str]], n_lines: int) -> list[int]:
    """How many lines each row spans: one each where there are as many lines as rows."""
    if n_lines == len(rows):
        return [1] * n_lines
    return [1 + sum(cell.count("\n") for cell in cells) for cells in rows]
