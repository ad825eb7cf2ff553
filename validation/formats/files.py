"""Source files in blocks of whole lines, gzip or not; what is wrong with one is said with its name and line."""

from __future__ import annotations

import codecs
import gzip
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import NoReturn

from validation.errors import cannot_read

BLOCK_BYTES = 8 << 20
MAX_LINE_BYTES = 256 << 20
_GZIP_MAGIC = b"\x1f\x8b"
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class Block:
    """Consecutive lines of a file.

    Attributes:
        begin: Number of the first line, from 1.
        data: The lines with their ends; only the file's very last line may lack one.
    """

    begin: int
    data: bytes


def require_file(path: Path) -> Path:
    """The path, if it is a file that holds something.

    Raises:
        SourceError: it is missing, no file, or empty.
    """
    if path.is_dir():
        raise cannot_read(
            got=f"folder={path}",
            expected="a file",
            do="Put the files in it together into one, and name that",
        )
    if not path.is_file():
        raise cannot_read(got=f"path={path}", expected="a file that exists", do="Check the source's path")
    if path.stat().st_size == 0:
        raise cannot_read(got=f"size=0 bytes of {path}", expected="a file with rows", do="Fetch the file again")
    return path


def require_folder(path: Path) -> Path:
    """The path, if it is a folder.

    Raises:
        SourceError: it is missing or no folder.
    """
    if not path.is_dir():
        raise cannot_read(got=f"path={path}", expected="a folder that exists", do="Check the source's path")
    return path


def is_gzip(path: Path) -> bool:
    """Whether the file begins as gzip does, whatever its name says."""
    with path.open("rb") as file:
        return file.read(2) == _GZIP_MAGIC


def read_blocks(path: Path, encoding: str = "utf-8") -> Iterator[Block]:
    """Blocks of whole lines; a byte order mark is left out. One line of any length makes a block of its own.

    Args:
        encoding: Of the file. Blocks come in it where a line end is one byte of it, else (UTF-16, UTF-32) in UTF-8.
    Raises:
        SourceError: the file is missing or empty, its gzip stream is truncated or damaged, the encoding is unknown, or
            a line is longer than MAX_LINE_BYTES.
    """
    require_file(path)
    pieces = _pieces(path) if block_encoding(encoding) == encoding else _transcoded(path, encoding)
    begin, kept, size, has_line = 1, list[bytes](), 0, False
    while True:
        piece = _next_piece(pieces, path, begin, kept)
        kept.append(piece)
        size += len(piece)
        has_line = has_line or b"\n" in piece
        if size > MAX_LINE_BYTES and not has_line:
            stop_at(path, begin, got=f"a line of over {size} bytes", expected="lines", do="Check the file's format")
        if piece and (size < BLOCK_BYTES or not has_line):
            continue
        data = b"".join(kept)
        end = data.rfind(b"\n") + 1 if piece else len(data)
        if end:
            block = data[:end]
            yield Block(begin, block.removeprefix(_BYTE_ORDER_MARK) if begin == 1 else block)
            begin += block.count(b"\n")
        elif begin == 1:
            raise cannot_read(got=f"lines=0 in {path}", expected="a file with rows", do="Fetch the file again")
        if not piece:
            return
        kept, size, has_line = [data[end:]], len(data) - end, False


def block_encoding(encoding: str) -> str:
    """The encoding of a file's blocks: its own where a line end is one byte in it, else UTF-8.

    Raises:
        SourceError: Python knows no such encoding.
    """
    try:
        return encoding if "\n".encode(encoding) == b"\n" else "utf-8"
    except LookupError as error:
        raise cannot_read(
            got=f"encoding={encoding}",
            expected="an encoding by Python's name, such as utf-8, cp1252 or utf-16",
            do="Correct the settings under recipe.source.encoding",
        ) from error


def stop_at(path: Path, line: int, *, got: str, expected: str, do: str) -> NoReturn:
    """Raise the error of a file that cannot be read as a whole, naming the line."""
    raise cannot_read(got=got, expected=expected, where=f"{path}:{line}", do=do)


def _next_piece(pieces: Iterator[bytes], path: Path, begin: int, kept: list[bytes]) -> bytes:
    """The next bytes, none at the end; what is kept since line `begin` shows where damage lies."""
    try:
        return next(pieces, b"")
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        line = begin - 1 + sum(part.count(b"\n") for part in kept)
        stop_at(
            path,
            line,
            got=f"gzip stream ends badly after line {line}: {error}",
            expected="a whole gzip file",
            do="The file is truncated or damaged; fetch it again",
        )


def _pieces(path: Path) -> Iterator[bytes]:
    """The bytes in order. A gzip stream is read in small steps, so that everything before damage is read."""
    with path.open("rb") as file:
        if is_gzip(path):
            with gzip.GzipFile(fileobj=file) as unpacked:
                while piece := unpacked.read1(BLOCK_BYTES):
                    yield piece
        else:
            while piece := file.read(BLOCK_BYTES):
                yield piece


def _transcoded(path: Path, encoding: str) -> Iterator[bytes]:
    decoder = codecs.getincrementaldecoder(encoding)()
    line = 1
    for piece in chain(_pieces(path), [b""]):
        try:
            text = decoder.decode(piece, final=not piece)
        except UnicodeDecodeError as error:
            stop_at(path, line, got=str(error), expected=f"text in {encoding}", do="Name the encoding in the settings")
        line += text.count("\n")
        if text:
            yield text.encode("utf-8")
