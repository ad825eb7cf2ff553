"""Keys and values of any legal characters pass the gate and the refresh: none stops a flow, and no value is lost."""

from __future__ import annotations

import tempfile
from itertools import cycle
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from core.schema import TABLES
from core.settings.features import FeatureSettings
from core.settings.source import TablesSource
from core.settings.validation import ValidationSettings
from features.archive.publication import open_archive, require_published
from features.online import OnlineFeatures
from features.refresh import refresh_features
from tests.unit.validation.source_files import events, json_lines, write
from validation.gate import validate
from validation.sources.ingest import ingest

ODD = [
    'a"b', "a'b", '""', "'; --", "a/b", "~1", "a~b", "a\\b", "*", "$", "$.a", "a.b", "[0]", "0", "{}", "Age", "age",
    "AGE", "attributes", "told", "values", "value", "source", "row_number", "key", "ÄGE", "äge", "a\tb", "a\nb", "?",
    "$1", "%s", "{x}", " a", "a ", "select", "😀", "\u0130", "a,b", "row_hash", "colour", "Title", "User_ID",
    "\0", "other columns", "column_1", "Age_2",
]  # fmt: skip
ODD_IDS = ["'; --", '"', "*?"]
names = st.one_of(st.sampled_from(ODD), st.text(st.characters(exclude_categories=["Cs"]), max_size=6))
# A blank name is the index of a data frame, which is left out on purpose.
rows = st.lists(st.lists(names.filter(str.strip), min_size=4, max_size=12, unique=True), min_size=1, max_size=2)
# An example runs the gate and the refresh, which takes seconds: shrinking one would take minutes.
quick = settings(
    max_examples=2, deadline=None, phases=[Phase.explicit, Phase.generate], suppress_health_check=list(HealthCheck)
)


def _marked(ids: str, own: str, names_of: list[list[str]]) -> tuple[list[dict[str, Any]], dict[str, set[str]]]:
    """Rows with these keys; of each row its id and the values, which no other row has."""
    made, marks = [], {}
    for number, keys in enumerate(names_of):
        row = {own: f"{ids}{number}{ODD_IDS[number % len(ODD_IDS)]}"}
        # A source's own column of the contract is no attribute; any other key is.
        more = {key: f"<{key}-{ids}{number}-{place}>" for place, key in enumerate(keys) if key not in _OWN[own]}
        made.append(row | more)
        marks[row[own]] = {f"-{ids}{number}-{place}>" for place, key in enumerate(keys) if key not in _OWN[own]}
    return made, marks


_OWN = {TABLES[table].key[0]: set(TABLES[table].arrow().names) for table in ("users", "items")}


def _lost(clean: Path, own: str, marks: dict[str, set[str]]) -> set[str]:
    """The values that the clean row of their id does not hold, whatever the column."""
    found = {row[own]: " ".join(str(value) for value in row.values()) for row in pq.read_table(clean).to_pylist()}
    return {mark for id_, own_marks in marks.items() for mark in own_marks if mark not in found[id_]}


@quick
@example(users=[ODD[::2], ODD[1::2], ["age"]], items=[ODD, ["AGE"]])
@given(users=rows, items=rows)
def test_no_key_stops_the_gate_or_the_refresh_and_no_value_is_lost(
    users: list[list[str]], items: list[list[str]]
) -> None:
    user_rows, user_marks = _marked("u", "user_id", users)
    item_rows, item_marks = _marked("i", "item_id", items)
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        write(home / "in" / "users.jsonl", json_lines(*user_rows))
        write(home / "in" / "items.jsonl", json_lines(*item_rows))
        log = [
            {**event, "user_id": user["user_id"], "item_id": item["item_id"]}
            for event, user, item in zip(events(6), cycle(user_rows), cycle(item_rows), strict=False)
        ]
        write(home / "in" / "interactions.jsonl", json_lines(*log))
        ingest(TablesSource(path=home / "in"), home / "raw")
        validate(home / "raw", home / "clean", ValidationSettings(min_interactions=1), home / "docs")
        assert not _lost(home / "clean" / "users.parquet", "user_id", user_marks)
        assert not _lost(home / "clean" / "items.parquet", "item_id", item_marks)
        refresh_features(home / "clean", home / "feast", FeatureSettings())
        published = require_published(home / "feast")
        archive = open_archive(home / "feast", published.stores, published.generation, published.parts)
        state = OnlineFeatures(home / "feast", FeatureSettings()).read_user(user_rows[0]["user_id"])
        assert state is not None
        assert state.items[-1] in {row["item_id"] for row in item_rows}
        told = {row["user_id"]: row["attributes"] for row in archive.read("users", published.n_parts).to_pylist()}
        assert all(mark in told[user] for user, marks in user_marks.items() for mark in marks)
