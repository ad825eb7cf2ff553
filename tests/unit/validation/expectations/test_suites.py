"""Great Expectations checks what DuckDB counted: its own evaluation of the same rows counts the same."""

from __future__ import annotations

import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pytest

from core.schema import TableName
from core.settings.source import TablesSource
from core.settings.validation import CleaningSettings, MissingValues, Outliers, OwnRule, ShareRules, ValidationSettings
from tests.unit.validation.source_files import events, json_lines, write
from validation.cleaning.steps import build_masks, register_cleaning
from validation.errors import TableRejected
from validation.expectations.suites import RULE, build_expectation, build_suite, open_context, run_suite
from validation.gate import validate
from validation.raw.parts import RawTables
from validation.rules.rule import Rule
from validation.scan.picking import pick_broken
from validation.scan.scan import Scan
from validation.scan.scanning import scan_table
from validation.sources.ingest import ingest
from validation.staging.parts import StagedPart, open_staging
from validation.summary import TableSummary, ValidationSummary

SETTINGS = ValidationSettings(
    min_interactions=1,
    max_quarantined_share=1,
    min_text_chars=4,
    max_text_chars=100,
    shares=ShareRules(max_unknown_items=0.1),
    rules=(
        OwnRule(name="brand_given", table="items", check="not_null", column="brand", severity="warn"),
        OwnRule(name="price_given", table="items", check="not_null", column="price", severity="warn", max_share=0.5),
        OwnRule(name="price_even", table="items", check="sql", expression="price % 2 = 0"),
        OwnRule(name="price_small", table="items", check="between", column="price", maximum=100),
        OwnRule(name="title_short", table="items", check="length", column="title", maximum=5),
        OwnRule(name="title_once", table="items", check="unique", column="title", severity="warn"),
        OwnRule(name="id_form", table="items", check="matches", column="item_id", pattern="i[0-9]+"),
        OwnRule(name="few_brands", table="items", check="in_set", column="brand", values=("Ace", "Bolt")),
        OwnRule(name="whole_stars", table="feedback", check="in_set", column="rating", values=("1", "3", "5")),
    ),
    cleaning=CleaningSettings(
        mask_pii=(),
        missing=(MissingValues(table="items", column="brand", how="drop"),),
        outliers=(Outliers(table="items", column="price", action="warn", factor=1.5),),
        repeated_within_s=5,
        similar_texts=0.8,
        max_events_per_day=7,
        burst_events=3,
        burst_s=2,
        bots="warn",
        min_user_events=2,
        min_item_events=2,
    ),
)
WHO = {"user_id": "u1", "item_id": "i1"}


def _event(**changes: Any) -> dict[str, Any]:
    row = {"event_id": "x", "user_id": "u1", "item_id": "i1", "event": "view", "timestamp": "2025-01-02T03:04:05Z"}
    return {**row, **changes}


def _dirty(folder: Path) -> RawTables:
    """Dirt of every kind at once."""
    burst = [_event(event_id=f"b{i}", user_id="bot", timestamp=f"2025-02-01T00:00:00.{i}Z") for i in range(9)]
    bad = [
        _event(event_id=None, user_id=None, item_id="gone"),
        _event(event_id="e0", event="wish", value="9", timestamp="2199-01-01"),
        _event(event_id="q", event="rating", value="Like", position="x"),
        _event(event_id="r", event="view", value="3", timestamp="yesterday"),
        _event(event_id="s", event="rating", position=900),
        _event(event_id="s", event="", timestamp=""),
        _event(event_id="t", event="rating", value=0.5, timestamp="2024-12-31", position=901),
        {"item_id": "i3"},
        {"item_id": "i3"},
    ]
    rows = [*events(40), *bad, "{oops", *events(41)[40:], *burst]
    write(folder / "in" / "interactions.jsonl", json_lines(*rows))
    prices = [1, "2", "-4", "free", "", "1e9", 8, 4]
    brands = ["Ace", "Bolt", "Cone", "", "Ace", None, "Ace", "Bolt"]
    items = [
        {"item_id": f"i{i}" if i < 7 else "no", "title": "x" * (i % 7), "price": price, "brand": brand}
        for i, (price, brand) in enumerate(zip(prices, brands, strict=True))
    ]
    write(folder / "in" / "items.jsonl", json_lines(*items))
    reviews = [
        {**WHO, "text": "A very fine cup of tea.", "rating": 5, "timestamp": "2025-01-01"},
        {**WHO, "user_id": "u2", "text": "A very fine cup of tea!", "rating": 2, "timestamp": "2025-01-02"},
        {**WHO, "text": "&nbsp; ", "rating": "Like", "timestamp": "2025-01-02"},
        {**WHO, "text": "1234 5678 !!", "rating": 7, "timestamp": "2025-01-03"},
        {**WHO, "text": "x" * 101, "timestamp": "2025-01-04"},
        {**WHO, "text": "ok", "timestamp": "2025-01-04"},
    ]
    write(folder / "in" / "feedback.jsonl", json_lines(*reviews))
    users = [{"user_id": f"u{i}"} for i in range(5)] + [{"user_id": "bot", "signup_at": "never"}]
    write(folder / "in" / "users.jsonl", json_lines(*users))
    return ingest(TablesSource(path=folder / "in"), folder / "raw")


def _frame(connection: duckdb.DuckDBPyConnection, scan: Scan) -> Any:
    """The staged rows as a data frame, with a column for each rule that was found by comparing rows."""
    met = "".join(
        f", row_number NOT IN (SELECT row_number FROM found_{scan.table}_{rule.name}) AS {rule.name}"
        for rule in scan.rules
        if not rule.mask
    )
    return connection.execute(f"SELECT *{met} FROM ({scan.derived(StagedPart.file_sql)}) ORDER BY row_number").df()


def _plain_counts(context: Any, frame: Any, rules: list[Rule], name: str) -> dict[str, int]:
    """What Great Expectations counts by itself, on pandas."""
    import great_expectations as gx

    suite = gx.ExpectationSuite(name=f"plain {name}")
    for rule in rules:
        suite.add_expectation(build_expectation(rule, getattr(gx.expectations, rule.expectation)))
    asset = context.data_sources.add_pandas(f"plain {name}").add_dataframe_asset("rows")
    batch = asset.add_batch_definition_whole_dataframe("rows").get_batch(batch_parameters={"dataframe": frame})
    return {
        one.expectation_config.meta[RULE]: one.result["unexpected_count"]
        for one in batch.validate(suite, result_format="BASIC").results
    }


def test_great_expectations_on_pandas_counts_the_same_for_every_rule(tmp_path: Path) -> None:
    raw = _dirty(tmp_path)
    broken = set()
    with tempfile.TemporaryDirectory() as scratch, open_staging(Path(scratch)) as connection:
        context = open_context(Path(scratch))
        register_cleaning(connection, SETTINGS.cleaning)
        tables: tuple[TableName, ...] = ("users", "items", "interactions", "feedback")
        for table in tables:
            scan = scan_table(connection, raw.folder, raw, table, SETTINGS, datetime.now(UTC))
            pick_broken(connection, scan, build_masks(SETTINGS.cleaning)["reviews"])
            plain = _plain_counts(context, _frame(connection, scan), scan.rules, table)
            assert plain == {rule.name: scan.broken.get(rule.name, 0) for rule in scan.rules}
            result = run_suite(context, build_suite(table, scan.rules, []), scan, [], "test")
            scanned = {one.expectation_config.meta[RULE]: one for one in result.results}
            assert {name: one.result["unexpected_count"] for name, one in scanned.items()} == plain
            for rule in scan.rules:
                one = scanned[rule.name]
                share = plain[rule.name] / max(1, scan.checked[rule.name])
                assert one.success == (share <= rule.max_share), rule.name
                assert len(one.result["partial_unexpected_list"]) == min(20, plain[rule.name]), rule.name
            broken |= {f"{table}.{name}" for name, count in plain.items() if count}
    assert len(broken) > 35, sorted(broken)


def test_a_run_whose_name_looks_like_a_year_is_of_now(tmp_path: Path) -> None:
    raw = _dirty(tmp_path)
    with tempfile.TemporaryDirectory() as scratch, open_staging(Path(scratch)) as connection:
        register_cleaning(connection, SETTINGS.cleaning)
        scan = scan_table(connection, raw.folder, raw, "users", SETTINGS, datetime.now(UTC))
        for name in ("353666267980567", "2019122011300000"):
            context, started = open_context(Path(scratch) / name), datetime.now(UTC)
            result = run_suite(context, build_suite("users", scan.rules, []), scan, [], name)
            assert result.meta["run_id"].run_time >= started


def _settings(**shares: Any) -> ValidationSettings:
    return ValidationSettings(min_interactions=1, max_quarantined_share=1, shares=ShareRules(**shares))


def _validate(tmp_path: Path, settings: ValidationSettings, n: int, previous: int | None = None) -> ValidationSummary:
    """Validate n events of 2025 on items of which the last is unknown."""
    write(tmp_path / "in" / "interactions.jsonl", json_lines(*events(n)))
    write(tmp_path / "in" / "items.jsonl", json_lines(*[{"item_id": f"i{i}", "title": f"tin {i}"} for i in range(6)]))
    ingest(TablesSource(path=tmp_path / "in"), tmp_path / "raw")
    before = None
    if previous is not None:
        counts = TableSummary(rows_in=previous, rows_clean=previous, rows_quarantined=0, duplicates=0)
        before = ValidationSummary(
            folder=tmp_path, docs=tmp_path, gx_success=True, tables={"interactions": counts, "users": counts}
        )
    return validate(tmp_path / "raw", tmp_path / "clean", settings, tmp_path / "docs", before)


@pytest.mark.parametrize(
    ("shares", "previous", "said"),
    [
        ({"max_age_days": 30}, None, "interactions: fresh: newest="),
        (
            {"max_volume_drop": 0.2},
            40,
            "interactions: volume: rows_in=28. About as many rows as in the run before (40)",
        ),
        ({"max_volume_growth": 2}, 10, "interactions: volume: rows_in=28"),
        ({"max_unknown_items": 0.1}, None, "interactions: few_unknown_items: 4 of 28 rows. At most 10.0%"),
    ],
)
def test_a_rule_on_the_table_as_a_whole_warns_or_stops(
    tmp_path: Path, shares: dict[str, Any], previous: int | None, said: str
) -> None:
    summary = _validate(tmp_path, _settings(**{"max_unknown_items": 0.5, **shares}), 28, previous)
    (warning,) = summary.warnings
    assert warning.startswith(said)
    assert said.split(": ")[1] in summary.docs.read_text()
    with pytest.raises(TableRejected, match=said.split(": ")[1]):
        _validate(tmp_path, _settings(**{"max_unknown_items": 0.5, **shares, "severity": "table"}), 28, previous)
    assert ValidationSummary.model_validate_json((tmp_path / "clean" / "summary.json").read_text()) == summary


def test_the_summary_says_when_the_newest_event_was_and_when_the_first_ahead_will_be(tmp_path: Path) -> None:
    ahead = [
        {**events(1)[0], "event_id": f"later{year}", "timestamp": f"{year}-05-01T00:00:00Z"} for year in (2198, 2197)
    ]
    write(tmp_path / "in" / "interactions.jsonl", json_lines(*events(28), *ahead))
    ingest(TablesSource(path=tmp_path / "in"), tmp_path / "raw")
    summary = validate(tmp_path / "raw", tmp_path / "clean", _settings(), tmp_path / "docs")
    assert summary.newest == datetime(2025, 1, 28, 10, 27, tzinfo=UTC).timestamp()
    assert summary.due == datetime(2197, 5, 1, tzinfo=UTC).timestamp()


def test_a_table_like_the_one_before_is_fine(tmp_path: Path) -> None:
    summary = _validate(tmp_path, _settings(max_age_days=5000, max_unknown_items=0.2), 28, 30)
    assert summary.warnings == ()
    assert summary.tables["interactions"].rules == {"item_id_known": 4}
