"""A shop that knows a person from everywhere, made by hand: no flow has to run for it."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from core.layout import Layout
from core.logs.events import EventLog, Interaction
from core.logs.predictions import EXPORTED
from core.overrides import Overrides
from core.quarantine.rows import QuarantinedRow
from core.settings.features import FeatureSettings, FeatureStoreSettings
from core.settings.source import TablesSource
from features.archive.publication import open_published, require_published
from features.online import OnlineFeatures
from features.refresh import refresh_features
from flows.promotion.model_store import promote
from monitoring.online.export import export_predictions
from recommender.bundle.data_range import DataRange
from tests.unit.features.shops import Row, write_shop
from tests.unit.flows.promotion.written_bundle import write_bundle
from tests.unit.recommender.tiny_shop import DATA
from tests.unit.validation.source_files import csv_bytes, write
from validation.quarantine.readmission import readmit
from validation.sources.ingest import ingest

PERSON = "person-4711"
SETTINGS = FeatureSettings(max_history=3)
LOG = [Row("uvw"[n % 3], "abcd"[n * n % 4], n, 4.0) for n in range(9)]
THEIRS = [Row(PERSON, "abcd"[n], 2 * n + 20, 5.0) for n in range(3)]
START = datetime(2026, 1, 1, tzinfo=UTC)


def build_shop(work: Path, stores: FeatureStoreSettings | None = None) -> Layout:
    """Everything that a shop keeps, in a work folder; BENTOML_HOME is set to lie below it.

    Args:
        stores: Where features are kept; in files by default.
    """
    os.environ["BENTOML_HOME"] = str(work / "bentoml")
    layout = Layout(work, "shop")
    rows = [{"user_id": row.user, "item_id": row.item, "event": "rating", "value": row.value,
             "timestamp": row.timestamp.isoformat()} for row in (*LOG, *THEIRS)]  # fmt: skip
    source = write(work.parent / f"{work.name}-source" / "interactions.csv", csv_bytes(rows))
    values = {"event_id": "r", "user_id": PERSON, "item_id": "a", "event": "view", "timestamp": "2026-01-01"}
    others = {**values, "user_id": "u", "event_id": "s"}
    readmit(
        [QuarantinedRow("interactions", (), "a", n, one, {}) for n, one in enumerate((values, others))],
        layout.readmitted,
    )
    raw = ingest(TablesSource(path=source), layout.raw("r1"), layout.events, layout.readmitted)
    reviews = [("u", "a", 3, "fine"), (PERSON, "b", 22, "Nothing escapes me.")]
    users = {"u": {"job": "cook"}, PERSON: {"job": "spy"}, "v": {}, "w": {}}
    write_shop(layout.clean("c1"), [*LOG, *THEIRS], users=users, reviews=reviews)
    write_shop(layout.training("t1"), [*LOG, *THEIRS])
    write_shop(layout.clean("c0"), LOG)  # from before they came
    refresh_features(layout.clean("c1"), layout.feast, SETTINGS, stores or FeatureStoreSettings())
    events = [
        Interaction(f"x{n}", user, "a", "view", START + timedelta(days=1)) for n, user in enumerate(("u", PERSON))
    ]
    log = EventLog(layout.events, above=0)
    log.append(events)
    OnlineFeatures(layout.feast, SETTINGS).push(events, [1, 2])
    log.close()
    for user in ("u", PERSON):
        Overrides(layout.overrides).patch("users", user, {}, {"job": "retired"})
    component = layout.component("sequence", "k1")
    component.mkdir(parents=True)
    (component / "sequence.json").write_text("{}")
    _write_bundles(layout, raw.fingerprint)
    _write_records(layout)
    return layout


def _write_bundles(layout: Layout, fingerprint: str) -> None:
    """An old version from before the person came, one that learned from them, and its candidate."""
    told = DATA.model_dump()
    early = told | {"fingerprint": "gone", "last_event_at": "2025-12-01T00:00:00+00:00"}
    late = told | {"fingerprint": fingerprint, "last_event_at": "2026-02-01T00:00:00+00:00"}
    for digest, data in (("early", early), ("late", late)):
        folder = write_bundle(layout.bundle(digest), digest, shop="shop", data=DataRange(**data))
        promote(folder, layout.model_name, {"digest": digest})


def _write_records(layout: Layout) -> None:
    work = layout.root.parent
    for name in ("k1", "k2"):
        page = layout.reports / name / "data-docs" / "index.html"
        page.parent.mkdir(parents=True)
        page.write_text(f"<td>{PERSON if name == 'k1' else 'u'}</td>")
    (layout.root / "outcome.json").write_text(json.dumps({"example_user": PERSON, "reason": "good"}))
    snapshot = layout.monitoring / "snapshots" / "one.json"
    snapshot.parent.mkdir(parents=True)
    snapshot.write_text(json.dumps({"values": [PERSON, 1]}))
    for folder in (work / "logs", work / "prefect" / "results"):
        folder.mkdir(parents=True)
    shown = {"recommendation_id": "r", "at": "2026-01-01T00:00:00+00:00", "items": ["a", "b"], "scores": [2.0, 1.0]}
    layout.predictions.mkdir()
    (layout.predictions / ".lock").touch()  # the service makes it
    lines = [json.dumps({**shown, **who}) for who in ({"user_id": PERSON}, {"visitor_id": PERSON}, {"user_id": "u"})]
    (layout.predictions / "one.jsonl").write_text("\n".join(lines) + "\n")
    export_predictions(layout.predictions, EventLog(layout.events), layout.predictions / EXPORTED, ("click",), 60.0)
    kept = layout.predictions / "kept" / "try.20260101T000000000000" / "zero.parquet"
    kept.parent.mkdir(parents=True)
    (layout.predictions / ".pruning.lock").touch()
    people: dict[str, list[str | None]] = {"user_id": [PERSON, None, "u"], "visitor_id": [None, PERSON, None]}
    pq.write_table(pa.table({**people, "items": [["a"]] * 3}), kept)
    (work / "logs" / "service.log").write_text(f"flood of {PERSON}\nflood of u\n")
    (work / "prefect" / "results" / "one").write_text(json.dumps({"result": json.dumps({"user": PERSON})}))
    (work / "prefect" / "results" / "two").write_text(json.dumps({"result": json.dumps({"user": "u"})}))
    with closing(sqlite3.connect(work / "prefect" / "prefect.db")) as connection, connection:
        connection.execute("CREATE TABLE flow_run (id TEXT PRIMARY KEY, parameters TEXT)")
        told = [("1", json.dumps({"user": PERSON})), ("2", json.dumps({"user": "u"}))]
        connection.executemany("INSERT INTO flow_run VALUES (?, ?)", told)


@contextmanager
def same_home() -> Iterator[None]:
    """BENTOML_HOME is after the block what it was before."""
    before = os.environ["BENTOML_HOME"]
    try:
        yield
    finally:
        os.environ["BENTOML_HOME"] = before


def copy_shop(built: Path, work: Path) -> Layout:
    """A copy of its work folder; BENTOML_HOME is set to lie below it."""
    shutil.copytree(built, work)
    os.environ["BENTOML_HOME"] = str(work / "bentoml")
    return Layout(work, "shop")


def offline_rows(layout: Layout) -> dict[str, list[tuple]]:
    """What the archive holds, by table."""
    published = require_published(layout.feast)
    archive = open_published(layout.feast, published)
    archive.verify(published.n_parts)
    tables = {table: archive.read(table, published.n_parts) for table in ("events", "reviews", "users", "items")}
    rows = {table: [tuple(row.values()) for row in found.to_pylist()] for table, found in tables.items()}
    # Of users and items the newest rows are read, in no order.
    return {table: sorted(found) if table in ("users", "items") else found for table, found in rows.items()}
