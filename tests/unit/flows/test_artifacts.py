"""The texts that a run leaves in the Prefect UI."""

from __future__ import annotations

from pathlib import Path

from flows.artifacts import describe_readmission, describe_validation
from validation.readmission import ReadmissionSummary
from validation.summary import TableSummary, ValidationSummary


def summary(clean: int, quarantined: int, **more: object) -> ValidationSummary:
    table = TableSummary(
        rows_in=clean + quarantined, rows_clean=clean, rows_quarantined=quarantined, duplicates=0, **more
    )
    return ValidationSummary(
        folder=Path("clean"), docs=Path("docs"), gx_success=False, tables={"feedback": table}, warnings=("It is old.",)
    )


def test_a_validation_tells_counts_rules_mending_and_warnings() -> None:
    text = describe_validation(
        summary(90, 10, rules={"text_required": 10}, warnings={"few_letters": 2}, cleaned={"html_entities": 7}),
        "http://docs",
    )
    assert "| feedback | 100 | 90 | 10 | 0 | text_required (10) |" in text
    assert "- feedback: html_entities (7)" in text
    assert "- It is old." in text
    assert "- feedback: few_letters (2)" in text
    assert text.endswith("[Data Docs](http://docs)")


def test_what_has_nothing_to_tell_has_no_heading() -> None:
    quiet = summary(90, 0).model_copy(update={"warnings": ()})
    assert "##" not in describe_validation(quiet, "http://docs")


def test_a_readmission_tells_before_and_after() -> None:
    let_in = ReadmissionSummary(folder=Path("readmitted"), rows={"feedback": 4}, files=("feedback-a.parquet",))
    text = describe_readmission(let_in, summary(90, 10), summary(94, 10))
    assert "4 rows were let in: feedback 4" in text
    assert "| feedback | 90 | 94 | 10 | 10 |" in text
