"""Whatever comes in: no row is lost, no row is invented, and what is quarantined is still what it was."""

from __future__ import annotations

import collections
import json
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from core.schema import TableName
from core.settings.source import TablesSource
from core.settings.validation import (
    CleaningSettings,
    FloodSettings,
    MissingValues,
    Outliers,
    OwnRule,
    ShareRules,
    ValidationSettings,
)
from tests.unit.validation.scans import Scanned, scan_source
from tests.unit.validation.source_files import json_lines, read_rows, write

GOOD = {"event_id": "good", "user_id": "u0", "item_id": "i0", "event": "view", "timestamp": "2025-01-01T00:00:00Z"}
PRAISE = {"user_id": "u0", "item_id": "i0", "rating": 5, "text": "good", "timestamp": "2025-01-01"}

# Enough users to know what is usual, so that the flood of another one is found.
CROWD = [{**GOOD, "event_id": f"c{i}", "user_id": f"c{i}", "timestamp": "2025-01-02"} for i in range(20)]
FLOOD = [
    {**GOOD, "event_id": f"f{i}", "user_id": "busy", "item_id": "i1", "timestamp": f"2025-01-03T00:{i:02d}:00Z"}
    for i in range(60)
]

ids = st.sampled_from(["u0", "u1", "i0", "i1", " u1 ", "", None, "ü", 7])
interactions = st.fixed_dictionaries(
    {
        "event_id": st.sampled_from(["a", "b", "c", "", None]),
        "user_id": ids,
        "item_id": ids,
        "event": st.sampled_from(["view", "rating", "Purchase", "wish", "", None]),
        "value": st.sampled_from([None, "", 3, "4.5", "Like", 9, -1, True, "1e400"]),
        "timestamp": st.sampled_from(
            [
                "2025-01-01",
                "2025-01-01T00:00:00+02:00",
                1393545600,
                1393545600000,
                "2199-01-01",
                "soon",
                "",
                None,
                1e300,
            ]
        ),
        "position": st.sampled_from([None, 0, "1", "x", 1e30]),
    }
)
feedback = st.fixed_dictionaries(
    {
        "user_id": ids,
        "item_id": ids,
        "rating": st.sampled_from([None, 1, "5", "Like", 6]),
        "text": st.one_of(st.none(), st.text(max_size=30), st.sampled_from(["", "&nbsp;", "<br/>", "fine", "x" * 300])),
        "timestamp": st.sampled_from(["2025-01-01", "2025-02-30", None]),
    }
)
items = st.fixed_dictionaries(
    {"item_id": ids, "price": st.sampled_from([None, 1, "-1", "2,5", "$3"]), "colour": st.sampled_from([None, "red"])}
)


missing = st.sampled_from(
    [
        MissingValues(table="items", column="price", how="drop"),
        MissingValues(table="items", column="price", how="mean"),
        MissingValues(table="interactions", column="value", how="interpolate"),
        MissingValues(table="feedback", column="rating", how="value", value="3"),
        MissingValues(table="interactions", column="timestamp", how="mode"),
    ]
)
outliers = st.builds(
    Outliers,
    table=st.just("interactions"),
    column=st.just("value"),
    method=st.sampled_from(["iqr", "z_score"]),
    factor=st.sampled_from([0.1, 1.0]),
    action=st.sampled_from(["quarantine", "clip", "empty", "warn"]),
)
floods = st.builds(
    FloodSettings,
    action=st.sampled_from(["quarantine", "warn", "off"]),
    factor=st.sampled_from([1.0, 5.0]),
    min_repeats=st.sampled_from([2, 10]),
    min_events=st.sampled_from([2, 500]),
)
cleaning = st.builds(
    CleaningSettings,
    mend_text=st.booleans(),
    mask_pii=st.sampled_from([(), ("email", "phone", "card", "address")]),
    repeated_within_s=st.sampled_from([0.0, 86_400.0]),
    similar_texts=st.sampled_from([0.0, 0.5]),
    missing=st.lists(missing, max_size=2, unique=True).map(tuple),
    outliers=st.lists(outliers, max_size=1).map(tuple),
    rating_scale=st.sampled_from([(1.0, 5.0), (0.0, 10.0)]),
    decimal_comma=st.booleans(),
    floods=floods,
    max_events_per_day=st.sampled_from([0, 3]),
    burst_events=st.sampled_from([0, 3]),
    bots=st.sampled_from(["quarantine", "warn"]),
    min_user_events=st.sampled_from([0, 2]),
    min_item_events=st.sampled_from([0, 2]),
)
rules = st.builds(
    OwnRule,
    name=st.just("own"),
    table=st.sampled_from(["interactions", "items"]),
    severity=st.sampled_from(["row", "table", "warn"]),
    check=st.sampled_from(["unique", "not_null", "in_set"]),
    column=st.just("item_id"),
    values=st.just(("i0", "i1")),
    max_share=st.just(1.0),
)
lenient = st.builds(
    ValidationSettings,
    min_interactions=st.just(1),
    max_quarantined_share=st.just(1.0),
    shares=st.just(ShareRules(max_unknown_items=1, max_unknown_users=1)),
    rules=st.lists(rules, max_size=1).map(tuple),
    cleaning=cleaning,
)


# An example takes half a second: shrinking a failing one would take many minutes.
@settings(
    max_examples=20,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow],
)
# A row twice; and an event on an item whose own row is taken out.
@example(
    events=[{**GOOD, "event_id": "twice", "item_id": "i1"}] * 2,
    reviews=[],
    flood=[],
    goods=[{"item_id": "i1", "price": None, "colour": None}],
    door=ValidationSettings(
        cleaning=CleaningSettings(missing=(MissingValues(table="items", column="price", how="drop"),))
    ),
)
@given(
    events=st.lists(interactions, max_size=25),
    reviews=st.lists(feedback, max_size=10),
    flood=st.sampled_from([[], [*CROWD, *FLOOD]]),
    goods=st.one_of(st.none(), st.lists(items, min_size=1, max_size=6)),
    door=lenient,
)
def test_rows_are_conserved(
    events: list[dict[str, Any]],
    reviews: list[dict[str, Any]],
    flood: list[dict[str, Any]],
    goods: list[dict[str, Any]] | None,
    door: ValidationSettings,
) -> None:
    given_rows: dict[TableName, list[Any]] = {"interactions": [*events, *flood, GOOD], "feedback": [*reviews, PRAISE]}
    if goods is not None:
        given_rows["items"] = [*goods, {"item_id": "i0", "price": 1, "colour": "blue"}]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for table, rows in given_rows.items():
            write(folder / "in" / f"{table}.jsonl", json_lines(*rows))
        found = scan_source(folder, TablesSource(path=folder / "in"), door, quarantine=True)
        for table, rows in given_rows.items():
            _check_table(found, table, rows)
        _check_references(found)


def _check_table(found: Scanned, table: TableName, rows: list[dict[str, Any]]) -> None:
    counts = found.tables[table]
    assert counts.rows_in == len(rows)
    assert counts.rows_in == counts.rows_clean + counts.rows_quarantined + counts.duplicates
    assert len(found.clean_rows[table]) == counts.rows_clean + counts.rows_derived

    texts = collections.Counter(json.dumps(row) for row in rows)
    assert counts.duplicates == len(rows) - len(texts)
    quarantined = read_rows(found.quarantine / f"{table}.parquet")
    assert len(quarantined) == counts.rows_quarantined
    for row in quarantined:
        assert json.dumps(json.loads(row["source_row"])) in texts
        assert row["rules"]
        assert row["source_position"].startswith(f"{table}.jsonl:")


def _check_references(found: Scanned) -> None:
    """Every id that an event refers to has a row, once."""
    references: tuple[tuple[TableName, str], ...] = (("users", "user_id"), ("items", "item_id"))
    for table, key in references:
        known = found.clean(table, key)
        assert len(known) == len(set(known))
        assert {*found.clean("interactions", key), *found.clean("feedback", key)} <= set(known)
