"""A person is forgotten: no byte of theirs is left, and the shop is as if they had never been there."""

from __future__ import annotations

import json
import re
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import duckdb
import pytest

from core.layout import Layout
from core.tombstones import read_tombstones
from features.feast.store import open_store
from features.refresh import online_store_of
from flows.erasure.receipts import read_receipts
from flows.erasure.removal import preview, remove_person
from flows.platform.parts import Platform, wait_until_answers
from tests.integration.byte_search import find
from tests.integration.features.servers import drop_schema, postgres_url, redis_client, settings
from tests.integration.features.test_erasure import everywhere
from tests.integration.remembering_shop import PERSON, Shop, finish
from tests.unit.flows.erasure import known_person

pytestmark = pytest.mark.long

OTHER = "nobody-ever-0815"
FORGET = """
import sys
from core.settings.tree import Recipe
from flows.forget import forget
from flows.params import ForgetParams
forget(ForgetParams(shop="small", recipe=Recipe.model_validate_json(sys.argv[1]), user=sys.argv[2]))
"""


@pytest.fixture(scope="module")
def shops(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Shop, Shop]]:
    """A shop that knows the person from everywhere, with a Prefect server of its own; and one that never had them."""
    shop = Shop(tmp_path_factory.mktemp("with") / "work", PERSON)
    where = shop.settings.platform
    platform = Platform(shop.environment, shop.work / "logs")
    binding = ["--host", where.host, "--port", str(where.prefect_port)]
    server = platform.start("prefect", ["-m", "prefect", "server", "start", *binding])
    wait_until_answers(server, f"{where.url_of('prefect')}/api/health", 120, threading.Event())
    undisturbed = Shop(tmp_path_factory.mktemp("without") / "work", server=f"{where.url_of('prefect')}/api")
    both = [shop.begin(), undisturbed.begin()]
    for process in both:
        finish(process)
    page = next(shop.layout.reports.glob("*/data-docs/*.html"))
    page.write_text(page.read_text() + f"<li>{PERSON}</li>", encoding="utf-8")
    with (shop.work / "logs" / "service.log").open("a", encoding="utf-8") as log:
        log.write(f"2025-06-01 INFO something about {PERSON!r} happened\n")
    yield shop, undisturbed
    platform.stop()


def rows(path: Path) -> list[tuple]:
    """A table's rows in their order, as text."""
    return duckdb.sql(f"SELECT columns(*)::VARCHAR FROM read_parquet('{path}')").fetchall()


def newest(stage: Path) -> Path:
    found = [path for path in stage.iterdir() if not path.name.startswith(".")]
    return max(found, key=lambda path: path.stat().st_mtime)


def digests(layout: Layout, stage: str) -> set[str]:
    return {json.loads(file.read_text())["digest"] for file in (layout.root / stage).glob("*/manifest.json")}


def online_rows(layout: Layout, view: str) -> list[tuple]:
    """Rows but for the number of the event log that they are up to: the log once held more events."""
    with closing(sqlite3.connect(layout.feast / "online.db")) as connection:
        found = connection.execute(f"SELECT entity, served, n_events FROM {view} ORDER BY entity").fetchall()
    if view == "user_seen":
        return [(entity, n) for entity, _, n in found]
    end = None if view == "user_profile" else -1
    return [(entity, json.loads(served)[:end], n) for entity, served, n in found]


def test_a_person_leaves_no_byte_and_the_shop_is_as_if_they_had_never_been(shops: tuple[Shop, Shop]) -> None:
    shop, undisturbed = shops
    before = find(PERSON, shop.work)
    stages = (
        "raw/",
        "clean/",
        "training/",
        "readmitted/",
        "feast/offline/",
        "feast/online.db",
        "events.sqlite",
        "overrides.sqlite",
        "reports/",
    )
    for place in stages:
        assert any(one.startswith(f"small/{place}") for one in before), f"{place} never had the person: {before}"
    assert any("quarantine/" in one for one in before)
    assert "logs/service.log" in before
    learned = {stage: digests(shop.layout, stage) for stage in ("candidates", "refits")}

    said = shop.command("forget", PERSON, "--no-retrain")
    assert find(PERSON, shop.work) == set(), said
    assert PERSON not in said
    assert "the next run of the pipeline trains without the person" in said
    (receipt,) = read_receipts(shop.layout)
    assert receipt.state == "retraining"
    assert receipt.search is not None
    assert receipt.search.left == ()
    assert receipt.search.files > 50
    assert {"event log", "online store", "offline events", "raw", "clean", "training"} <= receipt.removed.keys()
    assert {one.digest for one in receipt.bundles if one.in_service} == learned["refits"]

    # A run that is given an id, as from a form, keeps none of it, and finishes what is open.
    finish(shop.start("-c", FORGET, shop.settings.recipe.model_dump_json(), OTHER))
    assert find(OTHER, shop.work) == set()
    assert read_tombstones(shop.layout.forgotten).holds(OTHER)
    done = read_receipts(shop.layout)
    assert [receipt.state for receipt in done] == ["complete", "complete"]
    assert {one.state for one in done[0].bundles} == {"removed"}
    assert find(PERSON, shop.work) == set()

    ours, theirs = (newest(one.layout.root / "clean") for one in shops)
    for table in ("users", "items", "interactions", "feedback"):
        assert rows(ours / f"{table}.parquet") == rows(theirs / f"{table}.parquet"), table
    ours, theirs = (newest(one.layout.root / "training") for one in shops)
    for table in ("sequences", "queries", "pairs", "reviews", "catalogue"):
        assert rows(ours / f"{table}.parquet") == rows(theirs / f"{table}.parquet"), table
    for view in ("user_history", "user_profile", "user_seen", "item_profile"):
        assert online_rows(shop.layout, view) == online_rows(undisturbed.layout, view), view
    for stage, before_it in learned.items():
        assert digests(shop.layout, stage) == digests(undisturbed.layout, stage) != before_it, stage


def test_a_person_leaves_the_servers_that_features_are_kept_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = postgres_url()
    if url is None or redis_client() is None:
        pytest.skip("no PostgreSQL or no Redis answers")
    stores = settings(offline="postgres", registry="postgres", online="redis", postgres=url)
    monkeypatch.setenv("BENTOML_HOME", str(tmp_path))
    person, work = known_person.PERSON, tmp_path / "work"
    layout = known_person.build_shop(work, stores)
    try:
        left = preview(layout, person).search.left
        assert {"postgres events", "postgres reviews", "postgres users", "online store"} <= {
            re.sub(r"(_\d+)?: \d+ rows", "", one) for one in left
        }, left
        assert everywhere(layout.feast, person) >= 4
        receipt = remove_person(layout, stores, person)
        assert (receipt.state, receipt.search.left) == ("retraining", ())
        assert receipt.removed["online store"] == 3
        assert (everywhere(layout.feast, person), find(person, work)) == (0, set())
    finally:
        store = open_store(layout.feast)
        online_store_of(store).teardown(store.config, store.list_feature_views(), [])
        drop_schema(url, layout.feast)
