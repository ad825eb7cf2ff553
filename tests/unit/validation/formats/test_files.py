"""Blocks of whole lines."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from validation.errors import SourceError
from validation.formats import files
from validation.formats.files import read_blocks

LINES = [b"line %d, " % number + b"x" * (number % 37) + b"\n" for number in range(500)]


@pytest.mark.parametrize("block_bytes", [1, 64, 4096, 1 << 20])
@pytest.mark.parametrize("ends_whole", [True, False])
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_blocks_hold_whole_lines_with_their_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block_bytes: int, ends_whole: bool, pack: type
) -> None:
    monkeypatch.setattr(files, "BLOCK_BYTES", block_bytes)
    data = b"".join(LINES) + (b"" if ends_whole else b"the end")
    (tmp_path / "f").write_bytes(pack(b"\xef\xbb\xbf" + data))
    blocks = list(read_blocks(tmp_path / "f"))
    assert b"".join(block.data for block in blocks) == data
    assert all(block.data.endswith(b"\n") for block in blocks[:-1])
    seen = 0
    for block in blocks:
        assert block.begin == seen + 1
        seen += block.data.count(b"\n")


def test_an_encoding_of_two_bytes_comes_as_utf_8(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "BLOCK_BYTES", 7)  # a character of two bytes lies on both sides of a cut
    (tmp_path / "f").write_bytes("é1\né2\né3".encode("utf-16"))
    assert b"".join(block.data for block in read_blocks(tmp_path / "f", "utf-16")) == "é1\né2\né3".encode()


def test_text_that_is_not_in_an_encoding_of_two_bytes(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes("one\n".encode("utf-16") + b"\x00\xd8\n")
    with pytest.raises(SourceError, match=r"expected text in utf-16"):
        list(read_blocks(tmp_path / "f", "utf-16"))


def test_a_line_without_end_is_no_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "BLOCK_BYTES", 100)
    monkeypatch.setattr(files, "MAX_LINE_BYTES", 1000)
    (tmp_path / "f").write_bytes(b"short\n" + b"x" * 5000)
    with pytest.raises(SourceError, match=r"a line of over \d+ bytes.*f:2"):
        list(read_blocks(tmp_path / "f"))
