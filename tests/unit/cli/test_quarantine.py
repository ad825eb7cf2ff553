"""`sommelier quarantine`: look at the rows that broke a rule, correct them, let them in again."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from cli.main import main
from core.layout import Layout
from core.logs.audit import read_acts
from core.quarantine.requests import begin_request, read_requests, request_readmission
from tests.unit.cli.quarantined_shop import validate_source, write_source


@pytest.fixture
def shop(tmp_path: Path) -> Layout:
    """A shop whose newest validation put two rows into quarantine."""
    source = write_source(tmp_path / "source")
    layout = Layout(tmp_path / "work", "corner")
    summary = validate_source(layout, source)
    assert summary.tables["interactions"].rows_quarantined == 2
    return layout


def run(layout: Layout, *words: str) -> int:
    where = ["--set", f"work_dir={layout.work_dir}", "--set", f"shop={layout.shop}"]
    return main(["quarantine", *words, *where])


def test_list_counts_by_table_and_rule(shop: Layout, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(shop, "list") == 0
    shown = capsys.readouterr().out.splitlines()
    assert shown[0].split() == ["table", "rule", "rows"]
    assert {tuple(line.split()) for line in shown[1:]} == {
        ("interactions", "timestamp_parses", "1"),
        ("interactions", "value_parses", "1"),
    }


def test_list_says_beside_the_answer_what_waits(shop: Layout, capsys: pytest.CaptureFixture[str]) -> None:
    asked = request_readmission(shop.to_readmit, "interactions", "value_parses", "They are good.", "key:k1")
    assert run(shop, "list", "--json") == 0
    shown = capsys.readouterr()
    assert len(json.loads(shown.out)) == 2
    assert shown.err.splitlines() == [f"{asked.describe()}: They are good."]


def test_an_export_corrected_and_readmitted_comes_in_clean_until_it_is_revoked(
    shop: Layout, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    corrected = tmp_path / "rows.jsonl"
    assert run(shop, "export", str(corrected), "--rule", "value_parses") == 0
    (line,) = corrected.read_text(encoding="utf-8").splitlines()
    row = json.loads(line)
    assert row["values"]["value"] == "seven"
    row["values"]["value"] = "5"
    corrected.write_text(json.dumps(row) + "\n", encoding="utf-8")
    assert run(shop, "readmit", str(corrected)) == 0
    counts = validate_source(shop, tmp_path / "source").tables["interactions"]
    assert (counts.rows_in, counts.rows_clean, counts.rows_quarantined) == (43, 41, 2)
    assert run(shop, "revoke", str(corrected), "--table", "items") == 0
    assert run(shop, "revoke", str(corrected)) == 0
    assert "1 rows taken back" in capsys.readouterr().out
    counts = validate_source(shop, tmp_path / "source").tables["interactions"]
    assert (counts.rows_in, counts.rows_clean, counts.rows_quarantined) == (42, 40, 2)


@pytest.mark.parametrize(
    ("words", "let_in"),
    [
        ([], 2),
        (["--table", "interactions"], 2),
        (["--table", "items"], 0),
        (["--rule", "value_parses"], 1),
        (["--rule", "value_parses", "--rule", "timestamp_parses"], 2),
        (["--table", "items", "--rule", "value_parses"], 0),
        (["--rule", "no_such_rule"], 0),
    ],
)
def test_of_a_file_too_only_the_rows_that_are_chosen_are_let_in(
    shop: Layout, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], let_in: int
) -> None:
    assert run(shop, "export", str(tmp_path / "rows.jsonl")) == 0
    assert run(shop, "readmit", str(tmp_path / "rows.jsonl"), *words) == 0
    assert f"{let_in} rows let in" in capsys.readouterr().out


def test_what_waits_is_withdrawn_by_its_id(shop: Layout, capsys: pytest.CaptureFixture[str]) -> None:
    asked = [request_readmission(shop.to_readmit, None, rule, "why", "key:k1") for rule in ("a", "b", "c")]
    begin_request(shop.to_readmit, asked[2].id)
    assert run(shop, "withdraw", asked[0].id, "made-up") == 1
    told = capsys.readouterr()
    assert "sommelier: Cannot withdraw: id=made-up" in told.err
    assert told.out == ""
    assert run(shop, "withdraw", asked[0].id, asked[2].id) == 1
    assert "sommelier quarantine revoke" in capsys.readouterr().err
    assert len(read_requests(shop.to_readmit)) == 3
    assert run(shop, "withdraw", asked[1].id, asked[0].id) == 0
    assert [line.split(",")[0] for line in capsys.readouterr().out.splitlines()] == [
        "withdrawn: rows of all tables by b",
        "withdrawn: rows of all tables by a",
    ]
    assert [one.id for one in read_requests(shop.to_readmit)] == [asked[2].id]
    assert [(act.what, act.outcome) for act in read_acts(shop.audit)] == [
        ("quarantine withdraw", "failed: NotWaiting"),
        ("quarantine withdraw", "failed: ReadmissionBegun"),
        ("quarantine withdraw", "done"),
    ]


def test_a_file_that_is_no_export_is_refused_with_its_line(
    shop: Layout, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "rows.jsonl").write_text('{"table": "shelves"}\n', encoding="utf-8")
    assert run(shop, "readmit", str(tmp_path / "rows.jsonl")) == 1
    told = capsys.readouterr().err
    assert "table='shelves'" in told
    assert "rows.jsonl:1" in told


def test_a_shop_without_a_validation_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(Layout(tmp_path, "nowhere"), "list") == 1
    assert "shop=nowhere" in capsys.readouterr().err


def test_what_waits_is_shown_also_where_the_validation_is_gone(
    shop: Layout, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = request_readmission(shop.to_readmit, "interactions", "value_parses", "They are good.", "key:k1")
    shutil.rmtree(shop.root / "clean")
    assert run(shop, "list") == 1
    told = capsys.readouterr()
    assert told.out == ""
    waiting, failure = told.err.splitlines()
    assert waiting == f"{asked.describe()}: They are good."
    assert "shop=corner, expected a shop whose data were validated, and not removed since" in failure
    assert "Run the pipeline: sommelier run pipeline" in failure
    assert run(shop, "withdraw", asked.id) == 0
    assert run(shop, "list") == 1
    assert asked.id not in capsys.readouterr().err


@pytest.mark.parametrize("words", [("export", "rows.jsonl"), ("readmit",)])
def test_rows_of_a_shop_without_a_validation_are_refused_with_what_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...]
) -> None:
    assert run(Layout(tmp_path, "nowhere"), *words) == 1
    told = capsys.readouterr()
    assert told.out == ""
    assert "Run the pipeline: sommelier run pipeline" in told.err
    assert not (tmp_path / "nowhere").exists()


def test_nothing_is_taken_back_where_nothing_was_let_in(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(Layout(tmp_path, "nowhere"), "revoke") == 0
    assert capsys.readouterr().out.startswith("0 rows taken back")
    assert not (tmp_path / "nowhere").exists()
