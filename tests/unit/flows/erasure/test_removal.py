"""Everything of a person goes and nothing else."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq
import pytest

from core.layout import Layout
from core.logs.events import EventLog, Interaction
from core.logs.predictions import read_predictions
from core.promotions import known_versions, read_standing
from core.settings.features import FeatureStoreSettings
from core.storage import UNFINISHED, together
from core.tombstones import read_tombstones
from features import refresh
from features.erasure import erase_online, is_unfinished
from features.online import OnlineFeatures
from features.refresh import refresh_features
from flows.erasure import removal
from flows.erasure.completion import finish_erasures
from flows.erasure.receipts import Receipt, read_receipts, versions_to_go
from flows.erasure.removal import preview, remove_person, take_back
from flows.errors import BundleRefused, NotForgotten
from flows.promotion import model_store
from flows.promotion.bundles import promote_by_hand
from flows.promotion.experiments import find_place
from flows.promotion.model_store import promote, prune_versions, roll_back
from flows.promotion.refits import labels_of
from recommender.bundle.manifest import Chain, WriterOrigin, read_manifest
from tests.integration.byte_search import find
from tests.unit.features.shops import Row, write_shop
from tests.unit.flows.erasure.known_person import (
    LOG,
    PERSON,
    SETTINGS,
    START,
    THEIRS,
    offline_rows,
)
from tests.unit.flows.promotion.written_bundle import write_bundle
from validation.raw.parts import NOTE_FILE

STORES = FeatureStoreSettings()


def removed(layout: Layout) -> Receipt:
    return remove_person(layout, STORES, PERSON)


def test_every_place_loses_the_person_and_the_others_keep_theirs(layout: Layout) -> None:
    work = layout.root.parent
    before = find(PERSON, work)
    places = {
        *(f"shop/{name}" for name in ("raw", "clean", "training", "feast", "readmitted", "reports", "monitoring")),
        *(
            "shop/events.sqlite",
            "shop/predictions/one",
            "shop/predictions/exported",
            "shop/predictions/kept",
            "shop/outcome.json",
        ),
        *("prefect/results", "prefect/prefect.db", "logs"),
    }
    assert {place for place in places if any(one.startswith(place) for one in before)} == places
    archive = offline_rows(layout)
    receipt = removed(layout)
    assert find(PERSON, work) == set()
    assert receipt.state == "retraining"
    assert receipt.search is not None
    assert receipt.search.left == ()
    assert receipt.removed == {
        "event log": 1, "prediction log": 2, "answers kept": 2, "exports": 4, "overrides": 1,
        "online store": 3, "readmitted rows": 1,
        "offline events": 3, "offline reviews": 1, "offline users": 1, "raw": 1, "clean": 1,
        "training": 1, "components": 1, "candidates": 2, "reports": 1,
        "monitoring": 1, "outcome.json": 1, "Prefect results": 1, "Prefect database": 1, "logs": 1,
    }  # fmt: skip
    assert receipt.seen_from == "2026-01-01T00:00:20+00:00"
    assert [event.user_id for _, event in EventLog(layout.events).read()] == ["u"]
    assert [record["user_id"] for record in read_predictions(layout.predictions)] == ["u"]
    assert duckdb.sql(f"SELECT DISTINCT user_id FROM '{layout.predictions}/exported/*.parquet'").fetchall() == [("u",)]
    assert layout.clean("c0").is_dir()
    assert (layout.reports / "k2" / "data-docs" / "index.html").is_file()
    assert sorted(path.name for path in (work / "prefect" / "results").iterdir()) == ["two"]
    assert json.loads((layout.root / "outcome.json").read_text())["reason"] == "good"
    (file,) = layout.readmitted.glob("*.parquet")
    assert duckdb.sql(f"SELECT count(*) FROM '{file}'").fetchall() == [(1,)]
    assert offline_rows(layout) == {
        table: [row for row in rows if PERSON not in row] for table, rows in archive.items()
    }
    online = OnlineFeatures(layout.feast, SETTINGS)
    assert online.read_user(PERSON) is None
    assert online.read_user("u") is not None


def test_what_was_counted_of_them_is_counted_anew_by_the_next_refresh(layout: Layout) -> None:
    removed(layout)
    write_shop(layout.clean("c2"), LOG)
    (layout.clean("c2") / "summary.json").write_text('{"log_sequence": 2}')
    assert refresh_features(layout.clean("c2"), layout.feast, SETTINGS, event_log=layout.events).rebuilt
    fresh = layout.root / "fresh"
    refresh_features(layout.clean("c2"), fresh, SETTINGS)
    for item in "abcd":
        ours, theirs = (OnlineFeatures(folder, SETTINGS).read_items([item]) for folder in (layout.feast, fresh))
        assert {name: ours[name].tolist() for name in ("item_n_ratings",)} == {
            name: theirs[name].tolist() for name in ("item_n_ratings",)
        }, item
    assert find(PERSON, layout.root) == set()


def test_a_late_push_and_a_late_append_bring_nothing_back(layout: Layout) -> None:
    (event,) = [one for _, one in EventLog(layout.events).read() if one.user_id == PERSON]
    removed(layout)
    holds = read_tombstones(layout.forgotten).holds
    OnlineFeatures(layout.feast, SETTINGS, holds).push([event], [7])
    assert find(PERSON, layout.root) == set()
    # Without the tombstone the same push writes their row.
    OnlineFeatures(layout.feast, SETTINGS).push([event], [8])
    assert find(PERSON, layout.root) != set()


def test_somebody_who_was_never_there_changes_nothing_but_the_record(layout: Layout) -> None:
    own = {
        "forgotten.json",
        "receipts",
        "data.lock",
        "forgotten.json.lock",
        "erasure.lock",
        "events.sqlite.lock",
        "feast",
    }
    before = {path for path in layout.root.rglob("*") if path.relative_to(layout.root).parts[0] not in own}
    receipt = remove_person(layout, STORES, "nobody-at-all")
    assert (receipt.removed, receipt.seen, receipt.bundles) == ({}, False, ())
    assert receipt.undetermined == ("model store " + version(layout, "early"), "candidate early")
    assert {path for path in layout.root.rglob("*") if path.relative_to(layout.root).parts[0] not in own} == before
    (done,) = finish_erasures(layout)
    assert done.state == "complete"


def version(layout: Layout, digest: str) -> str:
    return next(change.version for change in read_standing(layout.model_name).changes if change.digest == digest)


def test_what_was_fitted_again_of_their_data_goes_too(layout: Layout) -> None:
    data = read_manifest(layout.bundle("late")).data
    refit = write_bundle(layout.refit_bundle("again"), "again", shop="shop", judged="late", data=data)
    version = promote(refit, layout.model_name, labels_of(read_manifest(refit)))
    receipt = removed(layout)
    found = [(one.place, one.name, one.in_service) for one in receipt.bundles if one.digest == "again"]
    assert found == [("model store", version.version, True), ("refit", "again", False)]
    assert not refit.exists()
    # Fitted again without them it is another bundle; a twin of the same digest may stay.
    write_bundle(layout.refit_bundle("twin"), "again", shop="shop", judged="late")
    refresh_features(write_shop(layout.clean("c2"), LOG), layout.feast, SETTINGS)
    (done,) = finish_erasures(layout)
    states = {(one.place, one.digest): one.state for one in done.bundles}
    assert (states["model store", "again"], states["refit", "again"]) == ("unaffected", "removed")


@pytest.mark.parametrize("place", ["texts", "searches"])
def test_what_began_with_them_goes_also_where_it_went_on_between_two_calls(
    layout: Layout, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, fresh = layout.root / place / "begun", layout.root / place / "fresh"
    begun.mkdir(parents=True)
    (begun / "part-0").write_text("Learned with them.")
    with monkeypatch.context() as patch:
        patch.setattr(removal, "erase_offline", _unreachable)
        with pytest.raises(ConnectionError):
            removed(layout)
    fresh.mkdir()
    for folder in (begun, fresh):
        (folder / "part-1").write_text("Learned without them.")
    receipt = removed(layout)
    assert (begun.exists(), fresh.exists()) == (False, True)
    assert receipt.removed[place] == 1


def _unreachable(*_: Any) -> Any:
    raise ConnectionError("no route to the store")


def test_what_started_from_the_weights_of_a_bundle_that_learned_from_them_learned_from_them(layout: Layout) -> None:
    # Data of a time when the source had lost the person's rows; the weights had learned them before.
    shutil.copytree(layout.raw("r1"), layout.raw("r2"))
    for file in layout.raw("r2").rglob("*.parquet"):
        pq.write_table(pq.read_table(file).slice(0, 0), file)
    note = json.loads((layout.raw("r2") / NOTE_FILE).read_text())
    (layout.raw("r2") / NOTE_FILE).write_text(json.dumps({**note, "fingerprint": "without"}))
    data = read_manifest(layout.bundle("late")).data.model_copy(update={"fingerprint": "without"})
    for digest, parent in (("child", "late"), ("grandchild", "child"), ("stranger", None)):
        chain = Chain(parent=parent, judged_parent=parent, length=1) if parent else None
        write_bundle(layout.bundle(digest), digest, shop="shop", data=data, warm_start=chain)
    receipt = removed(layout)
    why = {one.name: one.why for one in receipt.bundles if one.place == "candidate"}
    assert "from the weights of bundle late" in why["child"]
    assert "from the weights of bundle child" in why["grandchild"]
    assert "stranger" not in why


def test_what_took_over_the_writer_of_a_bundle_that_learned_from_them_goes_too(layout: Layout) -> None:
    late = read_manifest(layout.bundle("late")).data
    shutil.copytree(layout.raw("r1"), layout.raw("r2"))
    for file in layout.raw("r2").rglob("*.parquet"):
        pq.write_table(pq.read_table(file).slice(0, 0), file)
    note = json.loads((layout.raw("r2") / NOTE_FILE).read_text())
    (layout.raw("r2") / NOTE_FILE).write_text(json.dumps({**note, "fingerprint": "without"}))
    data = late.model_copy(update={"fingerprint": "without", "last_event_at": "2025-12-01T00:00:00+00:00"})
    taken = WriterOrigin(bundle="late", judged=None, data=late)
    # One that took it from the first names the bundle that it was fitted for.
    origins = {
        "stand-in": taken, "next": taken, "own": None,
        "of-nowhere": taken.model_copy(update={"bundle": "long-gone"}),
        "of-before": WriterOrigin(bundle="long-gone", judged=None, data=data),
    }  # fmt: skip
    for digest, origin in origins.items():
        write_bundle(layout.baseline_bundle(digest), digest, shop="shop", kind="popularity", data=data,
                     writer_from=origin)  # fmt: skip
    served = promote(layout.baseline_bundle("next"), layout.model_name, {"digest": "next"})
    receipt = removed(layout)
    why = {one.name: one.why for one in receipt.bundles if one.place in ("baseline", "model store")}
    assert "from the weights of bundle late" in why["stand-in"]
    assert "from the weights of bundle late" in why["next"]
    assert "it learned from events until 2026-02-01" in why["of-nowhere"]
    assert {"own", "of-before"}.isdisjoint(why)
    assert served.version in versions_to_go(layout)


def test_training_sets_that_count_them_without_their_id_go_too(layout: Layout) -> None:
    counts, killed = layout.training("t2"), layout.training(f".gate.0a1b2c3d{UNFINISHED}")
    write_shop(counts, LOG)
    write_shop(killed / "1", THEIRS)  # the queries of a gate that was killed
    receipt = removed(layout)
    assert receipt.removed["training"] == 2
    assert list(layout.training("").iterdir()) == []


def test_a_preview_says_where_and_changes_nothing(layout: Layout) -> None:
    def files() -> dict[Path, bytes]:
        found = (path for path in layout.root.rglob("*") if path.is_file())
        return {path: path.read_bytes() for path in found if not path.name.startswith("online.db")}  # opening tidies it

    before = files()
    found = preview(layout, PERSON)
    assert {one.split("/")[0] for one in found.search.left} == {"shop", "logs", "prefect", "online store: 3 rows"}
    assert [one.digest for one in found.bundles] == ["late", "late"]
    assert files() == before
    assert not layout.forgotten.exists()


def test_the_bundles_that_learned_from_them_go_when_another_one_serves(layout: Layout, tmp_path: Path) -> None:
    late, early = version(layout, "late"), version(layout, "early")
    receipt = removed(layout)
    assert [(one.place, one.name, one.in_service) for one in receipt.bundles] == [
        ("model store", late, True), ("candidate", "late", False),
    ]  # fmt: skip
    assert versions_to_go(layout) == {late}
    (waiting,) = finish_erasures(layout)  # nothing else serves yet
    assert [one.state for one in waiting.bundles] == ["scheduled", "removed"]
    assert read_standing(layout.model_name).in_service.version == late
    kept = tmp_path / "kept"
    shutil.copytree(read_standing(layout.model_name).folder / late, kept)

    refresh_features(write_shop(layout.clean("c2"), LOG), layout.feast, SETTINGS)
    promote(write_bundle(layout.bundle("new"), "new", shop="shop"), layout.model_name, {"digest": "new"})
    (done,) = finish_erasures(layout)
    assert done.state == "complete"
    assert {one.state for one in done.bundles} == {"removed"}
    assert finish_erasures(layout) == []
    standing = read_standing(layout.model_name)
    assert not (standing.folder / late).exists()
    assert list(standing.good) == ["new", "early"]
    with pytest.raises(BundleRefused, match=f"version={late}.*nobody who was forgotten"):
        roll_back(layout.model_name, late)
    with pytest.raises(BundleRefused, match=r"digest=late.*nobody who was forgotten"):
        promote_by_hand(layout, kept, "I want it back")
    assert roll_back(layout.model_name).version == early


@pytest.mark.parametrize("during", [True, False])
def test_what_learned_from_them_goes_into_service_no_more_once_it_is_known(
    layout: Layout, monkeypatch: pytest.MonkeyPatch, during: bool
) -> None:
    """Whether the removal was killed before, or is under way: the receipt then has all that the store has."""
    late = layout.bundle("late")
    refused = []

    def put(*_: object) -> None:
        with pytest.raises(BundleRefused, match=r"digest=late.*nobody who was forgotten"):
            promote(late, layout.model_name, {"digest": "late"})
        with pytest.raises(BundleRefused, match=r"digest=late.*nobody who was forgotten"):
            find_place(layout, str(late))
        refused.append(1)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        if during:  # its copy is made before they are known
            staged = model_store._staged

            @contextmanager
            def slowly(*given: Any) -> Iterator[Path]:
                with staged(*given) as place:
                    with monkeypatch.context() as inner:
                        inner.setattr(removal, "_remove_stage", _interrupt)
                        with pytest.raises(KeyboardInterrupt):
                            removed(layout)
                    yield place

            patch.setattr(model_store, "_staged", slowly)
            with pytest.raises(BundleRefused, match=r"digest=late.*nobody who was forgotten"):
                promote(late, layout.model_name, {"digest": "late"})
        else:
            patch.setattr(removal, "_remove_stage", put)
            with pytest.raises(KeyboardInterrupt):
                removed(layout)
            assert refused == [1]
    receipt = removed(layout)
    refresh_features(write_shop(layout.clean("c2"), LOG), layout.feast, SETTINGS)
    promote(write_bundle(layout.bundle("new"), "new", shop="shop"), layout.model_name, {"digest": "new"})
    (done,) = finish_erasures(layout)
    assert (done.number, done.state) == (receipt.number, "complete")
    assert "late" not in {one.digest for one in known_versions(layout.model_name)}


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def test_a_bundle_whose_weights_were_pruned_is_found_and_its_manifest_goes_too(layout: Layout) -> None:
    late, early = version(layout, "late"), version(layout, "early")
    data = read_manifest(read_standing(layout.model_name).folder / early).data
    for digest in ("next", "last"):
        made = write_bundle(layout.refit_bundle(digest), digest, shop="shop", data=data)
        promote(made, layout.model_name, {"digest": digest})
    assert set(prune_versions(layout.model_name, 2)) == {early, late}
    receipt = removed(layout)
    assert ("model store", late, False) in [(one.place, one.name, one.in_service) for one in receipt.bundles]
    refresh_features(write_shop(layout.clean("c2"), LOG), layout.feast, SETTINGS)
    (done,) = finish_erasures(layout)
    assert done.state == "complete"
    assert not (read_standing(layout.model_name).folder / late).exists()


def test_a_bundle_that_comes_out_alike_without_them_stays(layout: Layout) -> None:
    removed(layout)
    refresh_features(write_shop(layout.clean("c2"), LOG), layout.feast, SETTINGS)
    write_bundle(layout.bundle("again"), "late", shop="shop")
    (done,) = finish_erasures(layout)
    assert done.state == "complete"
    assert [one.state for one in done.bundles if one.place == "model store"] == ["unaffected"]
    assert read_standing(layout.model_name).in_service.digest == "late"
    kept = read_standing(layout.model_name)
    assert not kept.forbids("late", read_manifest(kept.in_service.folder).created_at)  # it may be pinned, and come back


def test_where_the_data_of_a_bundle_are_gone_its_newest_event_decides(layout: Layout) -> None:
    shutil.rmtree(layout.raw("r1"))
    receipt = removed(layout)
    assert {one.digest for one in receipt.bundles} == {"late"}
    assert all("theirs begin earlier" in one.why for one in receipt.bundles)
    assert receipt.undetermined == ()


def test_a_person_who_is_back_can_be_forgotten_again(layout: Layout) -> None:
    first = removed(layout)
    assert take_back(layout, PERSON).state == "lifted"
    assert not read_tombstones(layout.forgotten).holds(PERSON)
    assert not EventLog(layout.events).erase(lambda user: user == PERSON)
    assert removed(layout).number == first.number + 1
    assert [receipt.state for receipt in read_receipts(layout)] == ["lifted", "retraining"]
    with pytest.raises(NotForgotten, match="somebody who is forgotten"):
        take_back(layout, "u")


def test_no_receipt_or_record_has_the_id(layout: Layout) -> None:
    removed(layout)
    for file in (layout.forgotten, *layout.receipts.iterdir()):
        assert PERSON not in file.read_text()


def test_removal_waits_for_steps_that_are_at_work(layout: Layout) -> None:
    with ThreadPoolExecutor() as pool:
        with together(layout.data_lock):
            removing = pool.submit(removed, layout)
            while OnlineFeatures(layout.feast, SETTINGS).read_user(PERSON) is not None:
                time.sleep(0.01)  # what serving reads goes at once
            # A step that began before ends with their rows.
            shutil.copytree(layout.clean("c1"), layout.clean("c3"))
            assert not removing.done()
        removing.result()
    assert find(PERSON, layout.root) == set()


@pytest.mark.parametrize("place", ["event log", "online store"])
@pytest.mark.parametrize("is_killed", [False, True])
def test_what_a_refresh_that_is_at_work_counted_of_them_is_counted_anew(
    layout: Layout, monkeypatch: pytest.MonkeyPatch, place: str, is_killed: bool
) -> None:
    """No clean table has them yet; the removal may be killed once serving has lost them."""
    event = Interaction("new", "newcomer", "a", "view", START + timedelta(days=1))
    log = EventLog(layout.events)
    log.append([event])
    OnlineFeatures(layout.feast, SETTINGS).push([event], [3])
    if place == "online store":
        log.erase(lambda user: user == "newcomer")
    log.close()
    online = OnlineFeatures(layout.feast, SETTINGS)
    publish = refresh.publish

    def remove() -> None:
        if is_killed:
            with monkeypatch.context() as patch:
                patch.setattr(removal, "erase_online", lambda *given: _interrupt(erase_online(*given)))
                with pytest.raises(KeyboardInterrupt):
                    remove_person(layout, STORES, "newcomer")
        remove_person(layout, STORES, "newcomer")

    with ThreadPoolExecutor() as pool:

        def publish_meanwhile(*given: Any) -> None:
            futures.append(pool.submit(remove))
            while online.read_user("newcomer") is not None:
                time.sleep(0.01)
            publish(*given)

        futures: list[Future[None]] = []
        with monkeypatch.context() as patch, together(layout.data_lock):
            patch.setattr(refresh, "publish", publish_meanwhile)
            write_shop(layout.clean("c2"), [*LOG, *THEIRS, Row("v", "b", 40, 3.0)])
            refresh_features(layout.clean("c2"), layout.feast, SETTINGS, event_log=layout.events)
        futures[0].result()
    assert is_unfinished(layout.feast)
    finish_erasures(layout)
    assert [(one.state, one.features) for one in read_receipts(layout)] == [("retraining", False)]
    write_shop(layout.clean("c3"), [*LOG, *THEIRS, Row("v", "b", 40, 3.0)])
    (layout.clean("c3") / "summary.json").write_text('{"log_sequence": 3}')
    assert refresh_features(layout.clean("c3"), layout.feast, SETTINGS, event_log=layout.events).rebuilt
    fresh = layout.root / "fresh"
    refresh_features(layout.clean("c3"), fresh, SETTINGS)
    ours, theirs = (OnlineFeatures(folder, SETTINGS).read_items(["a"]) for folder in (layout.feast, fresh))
    assert ours["item_n_events"].tolist() == theirs["item_n_events"].tolist()
