"""What goes wrong with real files and disks: a clear error or quarantine, and what stood before stands."""

from __future__ import annotations

import gzip
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from core.settings.source import SimulatedSource, TablesSource
from core.settings.validation import ValidationSettings
from tests.unit.validation.source_files import csv_bytes, events, read_parts, read_rows, write
from validation.errors import RawFolderError, SourceError
from validation.gate import validate
from validation.sources.ingest import ingest, read_note
from validation.summary import ValidationSummary

REPOSITORY = Path(__file__).parents[2]
SETTINGS = ValidationSettings(min_interactions=1, max_quarantined_share=1.0)
KILL_WITHIN_S = 120


@pytest.fixture
def standing(tmp_path: Path) -> Iterator[Path]:
    """A good raw folder of two rows; whatever a test does to its source, it has to stand as it was."""
    write(tmp_path / "good" / "interactions.csv", csv_bytes(events(2)))
    target = tmp_path / "work" / "raw"
    note = ingest(TablesSource(path=tmp_path / "good"), target)
    yield target
    assert read_note(target) == note
    assert len(read_parts(target, note.parts)["interactions"]) == 2


def _fails(folder: Path, target: Path, message: str) -> None:
    with pytest.raises(SourceError, match=message):
        ingest(TablesSource(path=folder), target)
    assert [path.name for path in target.parent.iterdir()] == [target.name]


def _validate(folder: Path, tmp_path: Path, **settings: Any) -> ValidationSummary:
    ingest(TablesSource(path=folder, **settings), tmp_path / "raw")
    return validate(tmp_path / "raw", tmp_path / "clean", SETTINGS, tmp_path / "docs")


def _broken_rules(summary: ValidationSummary) -> dict[str, int]:
    return dict(summary.tables["interactions"].rules)


def test_a_truncated_gzip(tmp_path: Path, standing: Path) -> None:
    packed = gzip.compress(csv_bytes(events(4000)))
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "interactions.csv.gz").write_bytes(packed[: len(packed) // 2])
    _fails(tmp_path / "in", standing, r"gzip stream ends badly after line [1-9].*fetch it again")


def test_a_parquet_file_with_a_damaged_footer(tmp_path: Path, standing: Path) -> None:
    path = tmp_path / "in" / "interactions.parquet"
    path.parent.mkdir()
    pq.write_table(pa.Table.from_pylist(events(50)), path)
    data = path.read_bytes()
    path.write_bytes(data[:-40] + b"\xff" * 32 + data[-8:])
    _fails(tmp_path / "in", standing, r"footer: .*interactions\.parquet")


def test_a_damaged_row_group_after_good_ones(tmp_path: Path, standing: Path) -> None:
    path = tmp_path / "in" / "interactions.parquet"
    path.parent.mkdir()
    pq.write_table(pa.Table.from_pylist(events(300)), path, row_group_size=100)
    column = pq.ParquetFile(path).metadata.row_group(2).column(0)
    begin = column.dictionary_page_offset or column.data_page_offset
    data = bytearray(path.read_bytes())
    data[begin : begin + column.total_compressed_size] = b"\xff" * column.total_compressed_size
    path.write_bytes(bytes(data))
    _fails(tmp_path / "in", standing, r"row group=2: ")


def test_a_nul_byte_costs_one_row(tmp_path: Path) -> None:
    data = csv_bytes(events(20)).replace(b"e7,u2", b"e7,u\x002")
    write(tmp_path / "in" / "interactions.csv", data)
    summary = _validate(tmp_path / "in", tmp_path)
    assert _broken_rules(summary) == {"row_readable": 1}
    (row,) = read_rows(summary.folder / "quarantine" / "interactions.parquet")
    assert "u\x002" in row["source_row"] or "u\\u00002" in row["source_row"]


def test_ten_megabytes_in_one_field(tmp_path: Path) -> None:
    huge = "x" * 10_000_000
    rows = [{"user_id": f"u{n}", "item_id": "i1", "timestamp": "2025-01-01", "text": "good"} for n in range(3)]
    write(tmp_path / "in" / "feedback.csv", csv_bytes([rows[0], {**rows[1], "text": huge}, rows[2]]))
    write(tmp_path / "in" / "interactions.csv", csv_bytes(events(20)))
    summary = _validate(tmp_path / "in", tmp_path)
    assert summary.tables["feedback"].rows_clean == 2
    assert sum(summary.tables["feedback"].rules.values()) == 1


def test_mixed_encodings_cost_the_rows_that_are_in_the_other_one(tmp_path: Path) -> None:
    lines = csv_bytes(events(20)).splitlines(keepends=True)
    lines[5] = lines[5].replace(b"u4", "café".encode("cp1252"))
    lines[6] = lines[6].replace(b"u0", "café".encode())
    write(tmp_path / "in" / "interactions.csv", b"".join(lines))
    summary = _validate(tmp_path / "in", tmp_path)
    assert _broken_rules(summary) == {"row_readable": 1}
    assert "café" in {row["user_id"] for row in read_rows(summary.folder / "interactions.parquet")}


def _as_json(path: Path, rows: list[dict[str, Any]]) -> None:
    write(path / "interactions.jsonl", "".join(json.dumps(row) + "\n" for row in rows).encode())


def _as_parquet(path: Path, rows: list[dict[str, Any]]) -> None:
    path.mkdir(parents=True)
    ids = pa.uint64() if isinstance(rows[0]["user_id"], int) else pa.string()
    types = {"user_id": ids, "item_id": ids}
    columns = {name: pa.array([row[name] for row in rows], types.get(name)) for name in rows[0]}
    pq.write_table(pa.table(columns), path / "interactions.parquet")


def _as_csv(path: Path, rows: list[dict[str, Any]]) -> None:
    write(path / "interactions.csv", csv_bytes(rows))


FORMATS = pytest.mark.parametrize("give", [_as_csv, _as_json, _as_parquet])


@FORMATS
def test_ids_beyond_63_bits_stay_exact(tmp_path: Path, give: Callable[[Path, list[dict[str, Any]]], None]) -> None:
    rows = [{**row, "user_id": 2**63 + n, "item_id": 2**64 - 1} for n, row in enumerate(events(4))]
    give(tmp_path / "in", rows)
    summary = _validate(tmp_path / "in", tmp_path)
    clean = read_rows(summary.folder / "interactions.parquet")
    assert {row["user_id"] for row in clean} == {str(2**63 + n) for n in range(4)}
    assert {row["item_id"] for row in clean} == {str(2**64 - 1)}


@FORMATS
def test_ratings_that_are_no_numbers(tmp_path: Path, give: Callable[[Path, list[dict[str, Any]]], None]) -> None:
    odd = [float("nan"), float("inf"), float("-inf"), 4.0]
    give(tmp_path / "in", [{**row, "event": "rating", "value": odd[n % 4]} for n, row in enumerate(events(8))])
    summary = _validate(tmp_path / "in", tmp_path)
    assert [row["value"] for row in read_rows(summary.folder / "interactions.parquet")] == [4.0, 4.0]
    assert summary.tables["interactions"].rows_quarantined == 6


@FORMATS
def test_dates_in_1800_and_2999(tmp_path: Path, give: Callable[[Path, list[dict[str, Any]]], None]) -> None:
    rows = events(6)
    for row, year in zip(rows, (1800, 2999), strict=False):
        row["timestamp"] = f"{year}-01-01T00:00:00"
    if give is _as_parquet:
        rows = [{**row, "timestamp": datetime.fromisoformat(row["timestamp"]).replace(tzinfo=UTC)} for row in rows]
    give(tmp_path / "in", rows)
    summary = _validate(tmp_path / "in", tmp_path)
    assert _broken_rules(summary) == {"timestamp_in_range": 2}
    assert summary.tables["interactions"].rows_clean == 4


def _mount(folder: Path) -> bool:
    folder.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(folder)], capture_output=True, check=False
    )
    return made.returncode == 0


def test_a_full_disk(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    if os.name != "posix" or os.geteuid() != 0 or not _mount(disk):
        pytest.skip("a small tmpfs can only be mounted by root, where the system lets it")
    try:
        write(tmp_path / "good" / "interactions.csv", csv_bytes(events(2)))
        note = ingest(TablesSource(path=tmp_path / "good"), disk / "raw")
        write(tmp_path / "in" / "interactions.csv", b"user_id,item_id,timestamp\n" + _noise(60_000))
        with pytest.raises(RawFolderError, match=r"ENOSPC.*Free space"):
            ingest(TablesSource(path=tmp_path / "in"), disk / "raw")
        assert [path.name for path in disk.iterdir()] == ["raw"]
        assert read_note(disk / "raw") == note
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_a_file_size_limit_is_a_full_disk_too(tmp_path: Path, standing: Path) -> None:
    resource = pytest.importorskip("resource")
    write(tmp_path / "in" / "interactions.csv", b"user_id,item_id,timestamp\n" + _noise(60_000))
    program = _program("ingest(TablesSource(path=sys.argv[1]), Path(sys.argv[2]))")
    ended = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "in"), str(standing)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
        timeout=KILL_WITHIN_S,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000)),
    )
    assert ended.returncode == 1
    assert "RawFolderError: Cannot write the raw folder: EFBIG" in ended.stderr
    assert [path.name for path in standing.parent.iterdir()] == [standing.name]


def test_a_process_killed_while_it_writes(tmp_path: Path, standing: Path) -> None:
    program = _program("ingest(SimulatedSource(n_users=200_000), Path(sys.argv[1]))")
    process = subprocess.Popen([sys.executable, "-c", program, str(standing)], cwd=REPOSITORY)
    try:
        end = time.monotonic() + KILL_WITHIN_S
        while not list(standing.parent.glob(".raw.*.unfinished/*.parquet")):
            assert process.poll() is None, "the process ended before it wrote anything"
            assert time.monotonic() < end, "the process wrote nothing in time"
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
        assert process.wait(timeout=KILL_WITHIN_S) == -signal.SIGKILL
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
    left = [path for path in standing.parent.iterdir() if path != standing]
    assert len(left) == 1
    assert left[0].name.startswith(".raw.")
    assert not (left[0] / "raw.json").exists()
    other = ingest(SimulatedSource(n_users=20, n_items=20, n_days=30), standing.parent / "other")
    assert read_note(standing.parent / "other") == other


def _noise(n_rows: int) -> bytes:
    """Rows that no compression makes small."""
    return b"".join(b"%s,%s,1\n" % (os.urandom(8).hex().encode(), os.urandom(8).hex().encode()) for _ in range(n_rows))


def _program(call: str) -> str:
    return (
        "import sys\nfrom pathlib import Path\n"
        "from core.settings.source import SimulatedSource, TablesSource\n"
        f"from validation.sources.ingest import ingest\n{call}\n"
    )
