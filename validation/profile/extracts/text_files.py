"""The first bytes of a text file: whole lines of it, their encoding, and their delimiter."""

from __future__ import annotations

import codecs
import csv
import gzip
import re
import zlib
from dataclasses import dataclass
from pathlib import Path

from validation.errors import SourceError
from validation.formats.delimited import quoting_of
from validation.formats.files import is_gzip

DELIMITERS = (",", ";", "\t", "|")
_SNIFFED_CHARS = 200_000
_SNIFFED_ROWS = 200
_OTHER_ALPHABETS = (
    "cp1251",
    "koi8_r",
    "gb18030",
    "big5",
    "shift_jis",
    "euc_jp",
    "euc_kr",
    "cp1253",
    "cp1255",
    "cp1256",
)
_WORD_OF_ODD_BYTES = re.compile(rb"[\x80-\xff]{4,}")


@dataclass(frozen=True)
class Text:
    """Lines from the beginning of a file.

    Attributes:
        lines: Whole lines, decoded.
        encoding: By Python's name, as the settings have it.
        evidence: Evidence for the encoding; "" for plain UTF-8.
        is_whole: Whether these are all the lines.
        share: Share of the file's bytes that was read.
    """

    lines: str
    encoding: str
    evidence: str
    is_whole: bool
    share: float


def read_text(path: Path, n_bytes: int) -> Text:
    """The lines within the first bytes of a file, gzip or not.

    Raises:
        SourceError: the file is no text, or its gzip stream is damaged.
    """
    data, is_whole, share = _first_bytes(path, n_bytes)
    encoding, evidence = guess_encoding(data)
    if not is_whole:
        data = data[: _last_line_end(data, encoding)]
    text = data.decode("utf-8-sig" if encoding == "utf-8" else encoding, errors="replace")
    if "\x00" in text[:10_000]:
        raise SourceError(
            "Cannot profile file",
            got="null bytes",
            expected="text, Parquet or SQLite",
            where=str(path),
            do="Convert it",
        )
    return Text(text, encoding, evidence, is_whole, share)


def guess_encoding(data: bytes) -> tuple[str, str]:
    """The encoding of some bytes, and the evidence for it."""
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16", "the file begins with UTF-16's byte order mark"
    head = data[:4000]
    if head[1::2].count(0) > 0.4 * len(head[1::2]) > 0:
        return "utf-16-le", "every other byte is null"
    if head[::2].count(0) > 0.4 * len(head[::2]) > 0:
        return "utf-16-be", "every other byte is null"
    broken = _n_broken(data)
    n_odd = len(re.findall(rb"[\xc2-\xf4][\x80-\xbf]+", data))
    if broken == 0:
        return "utf-8", ""
    if n_odd > 5 * broken:
        return "utf-8", f"{broken} places are no UTF-8, {n_odd} are: those lines will be bad rows"
    return _one_byte_encoding(data)


def sniff_delimiter(text: str, ending: str) -> tuple[str, str]:
    """The delimiter, which splits the most rows into the same number of columns; and the evidence for it.

    Args:
        ending: Of the file's name; where two marks fit equally well, .tsv decides.
    """
    best, found = (0.0, 0), ""
    preferred = ["\t", *DELIMITERS] if ending == ".tsv" else list(DELIMITERS)
    for delimiter in dict.fromkeys(preferred):
        lengths = [len(row) for row in sample_rows(text, delimiter) if row]
        if not lengths or lengths[0] < 2:
            continue
        alike = sum(length == lengths[0] for length in lengths) / len(lengths)
        if alike >= 0.5 and (score := (round(alike, 2), lengths[0])) > best:
            best, found = score, delimiter
    if not found:
        return ",", "one column"
    n_rows = len(sample_rows(text, found))
    return found, f"{best[0]:.0%} of the first {n_rows} rows have {best[1]} columns"


def sample_rows(text: str, delimiter: str) -> list[list[str]]:
    """The first rows, the header among them; one that is cut off is left out."""
    lines = text[:_SNIFFED_CHARS].splitlines(keepends=True)
    quoting = quoting_of(delimiter, lines[0]) if lines else csv.QUOTE_MINIMAL
    csv.field_size_limit(1 << 30)
    rows = [row for row, _ in zip(csv.reader(lines, delimiter=delimiter, quoting=quoting), range(_SNIFFED_ROWS + 1))]  # noqa: B905
    return rows[:-1] if len(rows) > 1 and len(text) > _SNIFFED_CHARS else rows


def _first_bytes(path: Path, n_bytes: int) -> tuple[bytes, bool, float]:
    size = path.stat().st_size
    with path.open("rb") as file:
        if not is_gzip(path):
            data = file.read(n_bytes + 1)
            return data[:n_bytes], len(data) <= n_bytes, min(1.0, n_bytes / max(size, 1))
        try:
            with gzip.GzipFile(fileobj=file) as unpacked:
                data = unpacked.read(n_bytes + 1)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise SourceError(
                "Cannot profile file",
                got=f"gzip stream ends badly: {error}",
                expected="a whole gzip file",
                where=str(path),
                do="The file is truncated or damaged; fetch it again",
            ) from error
        return data[:n_bytes], len(data) <= n_bytes, min(1.0, file.tell() / max(size, 1))


def _last_line_end(data: bytes, encoding: str) -> int:
    end = data.rfind("\n".encode(encoding if encoding != "utf-16" else "utf-16-le"))
    if end < 0:
        return len(data)
    width = 2 if encoding.startswith("utf-16") else 1
    return end - end % width + width


def _n_broken(data: bytes) -> int:
    """How many places are no UTF-8; a character that is cut off at the very end is none."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        decoder.decode(data)
        return 0
    except UnicodeDecodeError:
        return data.decode("utf-8", errors="replace").count("�")


def _one_byte_encoding(data: bytes) -> tuple[str, str]:
    """Single odd letters within words are Western; whole words of odd bytes are of another alphabet."""
    lines = [line for line in data[: 1 << 20].split(b"\n") if any(byte > 127 for byte in line)][:500]
    odd = b"\n".join(lines)
    n_odd = sum(byte > 127 for byte in odd)
    in_words = sum(len(word) for word in _WORD_OF_ODD_BYTES.findall(odd))
    if in_words > 0.5 * n_odd:
        from charset_normalizer import from_bytes

        best = from_bytes(odd, cp_isolation=list(_OTHER_ALPHABETS)).best()
        if best is not None:
            return best.encoding, f"no UTF-8; reads {_some_words(odd, best.encoding)}"
    try:
        odd.decode("cp1252")
        return "cp1252", f"no UTF-8; reads {_some_words(odd, 'cp1252')}"
    except UnicodeDecodeError:
        return "latin-1", f"no UTF-8; reads {_some_words(odd, 'latin-1')}"


def _some_words(data: bytes, encoding: str) -> str:
    words = re.findall(r"[^\W\d_]+", data.decode(encoding, errors="replace"))
    odd = list(dict.fromkeys(word for word in words if not word.isascii()))
    return ", ".join(odd[:3])
