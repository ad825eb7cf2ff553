"""The rules on a clean table: DuckDB counts of each what Great Expectations itself finds."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from core.schema import TABLES, TableName
from core.settings.validation import OwnRule, ValidationSettings
from validation.expectations.clean_rules import build_clean_rules, build_clean_suite, count_clean
from validation.expectations.suites import RULE
from validation.rules.contract import build_rules
from validation.rules.own import build_own_rules

NOW, AT = datetime(2026, 1, 1, tzinfo=UTC), datetime(2025, 3, 1, tzinfo=UTC)
SETTINGS = ValidationSettings(
    min_interactions=4,
    max_text_chars=100,
    rules=(
        OwnRule(name="title_given", table="items", check="not_null", column="title"),
        OwnRule(name="price_small", table="items", check="between", column="price", maximum=100),
        OwnRule(name="title_short", table="items", check="length", column="title", maximum=5),
        OwnRule(name="id_form", table="items", check="matches", column="item_id", pattern="i[0-9]+"),
        OwnRule(name="letters", table="items", check="matches", column="title", pattern=r"\p{L}+"),
        OwnRule(name="few_brands", table="items", check="in_set", column="brand", values=("Ace", "Bolt")),
        OwnRule(name="even", table="items", check="sql", expression="price % 2 = 0"),
        OwnRule(name="dear", table="items", check="between", column="price", minimum=9, severity="warn"),
        OwnRule(name="whole_stars", table="feedback", check="in_set", column="rating", values=("1", "3", "5")),
    ),
)
EVENT = {"event_id": "e", "user_id": "u", "item_id": "i", "event": "view", "timestamp": AT, "value": None}
GOOD: dict[TableName, list[dict[str, Any]]] = {
    "users": [{"user_id": "u", "signup_at": None}],
    "items": [{"item_id": "i1", "title": "A", "price": 5.0, "brand": "Ace"}, {"item_id": "i2", "title": "B"}],
    "interactions": [
        {**EVENT, "event_id": f"e{n}", "event": "rating" if n % 2 else "view", "value": 4.0 if n % 2 else None}
        for n in range(6)
    ],
    "feedback": [{"user_id": "u", "item_id": "i", "rating": 3.0, "text": "fine", "timestamp": AT}],
}
BROKEN: dict[TableName, list[dict[str, Any]]] = {
    "users": [],
    "items": [
        {"item_id": "i1"}, {"item_id": "j3", "title": "Too long", "price": -1.0, "brand": "Other"},
        {"item_id": "i4", "title": "C", "price": 101.0},
    ],
    "interactions": [
        {**EVENT, "event_id": "e0", "event": "wish"},
        {**EVENT, "event_id": "x", "event": "rating"},
        {**EVENT, "event_id": "y", "value": 9.0},
        {**EVENT, "event_id": "z", "timestamp": datetime(2199, 1, 1, tzinfo=UTC)},
        {**EVENT, "event_id": "v", "timestamp": datetime(1960, 1, 1, tzinfo=UTC)},
    ],
    "feedback": [
        {"rating": 2.0, "text": "t" * 101, "timestamp": AT},
        {"rating": 0.5, "text": "fine", "timestamp": datetime(2199, 1, 1, tzinfo=UTC)},
    ],
}  # fmt: skip
for of in BROKEN.values():
    of += [{}, {"event_id": "e" * 3000, "user_id": "u" * 3000, "item_id": "i" * 3000}]


def _counted(
    folder: Path, table: TableName, rows: list[dict[str, Any]], rows_derived: int = 0
) -> tuple[Any, pd.DataFrame, dict[str, Any]]:
    """The suite of a clean table of these rows, the table as pandas reads it, and DuckDB's result by rule."""
    path = folder / f"{table}.parquet"
    schema = pa.schema([field.with_nullable(True) for field in TABLES[table].arrow()])
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), path)
    gate = build_rules(table, SETTINGS, ["users"], [], NOW)
    gate += build_own_rules(table, SETTINGS.rules, gate)
    rules = build_clean_rules(table, gate, SETTINGS, NOW, rows_derived)
    with duckdb.connect() as connection:
        results = count_clean(connection, path, rules)
    suite = build_clean_suite(table, rules, [rule.name for rule in gate])
    return suite, pd.read_parquet(path), {one.expectation_config.meta[RULE]: one for one in results}


@pytest.mark.parametrize("table", list(TABLES))
def test_duckdb_counts_what_great_expectations_finds(table: TableName, tmp_path: Path) -> None:
    import great_expectations as gx

    context = gx.get_context(mode="ephemeral")
    batch = context.data_sources.add_pandas("p").add_dataframe_asset("a").add_batch_definition_whole_dataframe("b")
    broken = set()
    for rows in (GOOD[table], [*GOOD[table], *BROKEN[table]], []):
        suite, frame, ours = _counted(tmp_path, table, rows)
        context.suites.add_or_update(suite)
        definition = gx.ValidationDefinition(name="v", data=batch, suite=suite)
        found = context.validation_definitions.add_or_update(definition).run(batch_parameters={"dataframe": frame})
        for one in found.results:
            assert not one.exception_info.get("raised_exception", True), one
            name = one.expectation_config.meta[RULE]
            # What takes a comparison of rows the gate has seen to, and it is not counted again.
            if name != "key_unique":
                assert ours[name].success == one.success, name
                assert ours[name].result.get("unexpected_count") == one.result.get("unexpected_count"), name
                assert ours[name].result.get("element_count") == one.result.get("element_count"), name
            broken |= set() if one.success else {name}
    assert broken >= set(ours) - {"columns", "key_unique"}


def test_examples_are_not_kept(tmp_path: Path) -> None:
    _, _, ours = _counted(tmp_path, "users", [*GOOD["users"], *BROKEN["users"]])
    assert "uuu" not in str(ours)


def test_the_notes_say_what_the_suite_leaves_out(tmp_path: Path) -> None:
    suite, _, ours = _counted(tmp_path, "items", GOOD["items"])
    assert {"price_small", "title_short", "id_form", "few_brands", "title_given"} <= set(ours)
    assert "row_readable" in suite.notes[0]
    for name in ("even", "dear", "letters"):  # SQL; rows may break it; a pattern that Python cannot read
        assert name in suite.notes[0]
        assert name not in ours
    _, _, with_bare_rows = _counted(tmp_path, "items", GOOD["items"], rows_derived=1)
    assert set(ours) - set(with_bare_rows) == {"title_given"}
