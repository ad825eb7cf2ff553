"""Rows of quarantine are found by rule whatever lies between them, and read a page at a time."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from core.quarantine.rows import QuarantinedRow, QuarantineError, count_matching, count_rows, read_note, read_page
from core.schema import TABLE_NAMES

N_ROWS = 5000
SCHEMA = pa.schema(
    {
        "rules": pa.list_(pa.string()),
        "source_file": pa.string(),
        "source_number": pa.int64(),
        "source_row": pa.string(),
        "values": pa.string(),
        "attributes": pa.string(),
    }
)


def rules_of(number: int) -> list[str]:
    return ["each", *(["rare"] if number % 1999 == 7 else []), *(["odd"] if number % 2 else [])]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("quarantine")
    for table in TABLE_NAMES:
        rows = [
            {
                "rules": rules_of(number),
                "source_file": "a.csv",
                "source_number": number,
                "source_row": f"row {number}",
                "values": json.dumps({"item_id": f"i{number}"}),
                "attributes": "",
            }
            for number in range(N_ROWS if table == "interactions" else 3 if table == "feedback" else 0)
        ]
        pq.write_table(pa.Table.from_pylist(rows, schema=SCHEMA), target / f"{table}.parquet", row_group_size=2048)
    return target


def shown(_: QuarantinedRow) -> bool:
    return False


def test_rows_are_counted_by_table_and_rule(folder: Path) -> None:
    assert count_rows(folder) == [
        ("interactions", "each", N_ROWS),
        ("interactions", "odd", N_ROWS // 2),
        ("interactions", "rare", 3),
        ("feedback", "each", 3),
        ("feedback", "odd", 1),
    ]
    assert count_matching(folder, None, "each") == N_ROWS + 3
    assert count_matching(folder, "interactions", "rare") == 3
    assert count_matching(folder, "items", None) == 0


def test_rare_rows_are_found_and_pages_go_on_over_the_tables(folder: Path) -> None:
    page = read_page(folder, None, "rare", None, 2, shown)
    assert [row.source_number for row in page.rows] == [7, 2006]
    page = read_page(folder, None, "rare", page.next, 2, shown)
    assert ([row.source_number for row in page.rows], page.next) == ([4005], None)
    last = read_page(folder, None, None, f"interactions:{N_ROWS - 2}", 3, shown)
    assert [(row.table, row.source_number) for row in last.rows] == [
        ("interactions", N_ROWS - 1),
        ("feedback", 0),
        ("feedback", 1),
    ]
    assert [row.source_number for row in read_page(folder, None, None, last.next, 3, shown).rows] == [2]


def test_a_page_is_full_though_rows_are_kept_back(folder: Path) -> None:
    page = read_page(folder, "interactions", None, None, 3, lambda row: row.source_number < 4000)
    assert [row.source_number for row in page.rows] == [4000, 4001, 4002]
    assert page.rows[0].values == {"item_id": "i4000"}
    assert read_page(folder, None, None, None, 3, lambda row: True).rows == ()


def test_a_file_that_is_damaged_is_named(tmp_path: Path) -> None:
    (tmp_path / "users.parquet").write_text("PAR1")
    with pytest.raises(QuarantineError, match="table=users"):
        count_rows(tmp_path)
    assert read_note(tmp_path).rules == {}
