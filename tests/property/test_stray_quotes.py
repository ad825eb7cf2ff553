"""Whatever quotes a file holds, none of its lines is lost: each is in a good row, or a bad row of its own."""

from __future__ import annotations

import csv
import io
import tempfile
from pathlib import Path
from typing import Any, cast
from unittest.mock import patch

import pyarrow as pa
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from validation.errors import SourceError
from validation.formats import files
from validation.formats.delimited import write_delimited
from validation.raw.writer import PartWriter

HEADER = ["user_id", "item_id", "text", "timestamp"]
BLOCK_BYTES = st.sampled_from([40, 200, 8 << 20])
words = st.text(alphabet='ab "\n,\\', max_size=12)
rows = st.lists(st.tuples(st.just("u1"), st.just("i1"), words, st.just("2025-01-01")), min_size=1, max_size=12)
strays = st.lists(st.tuples(st.integers(0, 400), st.sampled_from(['"', '\\"', '""'])), max_size=5)
_RELAXED = settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])


class _Kept:
    """Takes the rows in place of a part's file."""

    def __init__(self) -> None:
        self.source = pa.struct([pa.field(name, pa.string()) for name in HEADER])
        self.rows: list[dict[str, Any]] = []

    def write(
        self, source: pa.Array, file: str, numbers: pa.Array, texts: pa.Array | None = None, errors: Any = None
    ) -> None:
        nothing = [None] * len(source)
        columns = (source, numbers, texts or nothing, errors or nothing)
        rows = zip(*(one if isinstance(one, list) else one.to_pylist() for one in columns), strict=True)
        self.rows += [dict(zip(("source", "number", "text", "error"), row, strict=True)) for row in rows]


def _read(body: str, block_bytes: int) -> list[dict[str, Any]]:
    kept = _Kept()
    with tempfile.TemporaryDirectory() as name, patch.object(files, "BLOCK_BYTES", block_bytes):
        path = Path(name) / "feedback.csv"
        path.write_text(",".join(HEADER) + "\n" + body, newline="")
        write_delimited(path, ",", cast(PartWriter, kept))
    return kept.rows


def _n_lines(row: dict[str, Any]) -> int:
    held = row["text"] if row["error"] else "".join(row["source"].values())
    return 1 + held.count("\n")


@_RELAXED
@example(given_rows=[("u1", "i1", "a\nb", "2025-01-01")] * 3, quotes=[(8, '"')], block_bytes=40)
@given(given_rows=rows, quotes=strays, block_bytes=BLOCK_BYTES)
def test_every_line_is_in_one_row(
    given_rows: list[tuple[str, ...]], quotes: list[tuple[int, str]], block_bytes: int
) -> None:
    written = io.StringIO()
    csv.writer(written, lineterminator="\n").writerows(given_rows)
    body = written.getvalue()
    for place, quote in quotes:
        body = body[: place % len(body)] + quote + body[place % len(body) :]
    try:
        found = _read(body, block_bytes)
    except SourceError:  # the very last row is not whole
        return
    end = 2
    blank = {number for number, line in enumerate(body.splitlines(), start=2) if not line}
    for row in found:
        assert set(range(end, row["number"])) <= blank
        end = row["number"] + _n_lines(row)
    assert set(range(end, 2 + body.count("\n"))) <= blank


@_RELAXED
@given(opened=st.sets(st.integers(0, 38), max_size=6), column=st.integers(0, 3), block_bytes=BLOCK_BYTES)
def test_a_quote_that_is_not_closed_costs_its_line_alone(opened: set[int], column: int, block_bytes: int) -> None:
    lines = [[f"u{number}", f"i{number}", f"text {number}", "2025-01-01"] for number in range(40)]
    for number in opened:
        lines[number][column] = '"27"" ' + lines[number][column]
    found = _read("".join(",".join(cells) + "\n" for cells in lines), block_bytes)
    assert [row["number"] for row in found] == list(range(2, 42))
    assert {row["number"] - 2 for row in found if row["error"]} == opened
    assert [row["source"]["item_id"] for row in found if not row["error"]] == [
        f"i{number}" for number in range(40) if number not in opened
    ]
