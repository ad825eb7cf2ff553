"""A segment that cannot be read when it goes is lost to experiments that it may have answers of, and to no others."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from datetime import datetime, timedelta

import pytest

from core.ids import moment_of_id
from core.logs.pruning import read_lost, segments_of
from core.promotions import Change, Standing, model_folder
from core.storage import write_json
from monitoring.online import kept
from monitoring.online.figures import compute_figures
from monitoring.online.kept import kept_files, name_of
from tests.unit.monitoring.online.test_figures import MODEL
from tests.unit.monitoring.online.test_kept import BEGAN, NOW, SETTINGS, Shop, begin_second, change_record, make

__all__ = ["make"]
ENDED = BEGAN + timedelta(days=2, hours=2, minutes=30)


def name_segments(shop: Shop) -> None:
    """Name the segments as the service does: by when they were begun, an hour after the answers of theirs that wait."""
    for day, segment in enumerate(segments_of(shop.log)):
        begun = BEGAN + timedelta(days=day, hours=2)
        name = f"{round(begun.timestamp() * 1000):012x}"
        renamed = segment.rename(shop.log / f"{name[:8]}-{name[8:]}-7000-8000-{day:012}.jsonl")
        told = moment_of_id(renamed.stem)
        assert told is not None
        assert abs(told - begun) < timedelta(milliseconds=2)


def put_into_service(shop: Shop, *later: Change) -> None:
    """What is in service, and was, as the keeper reads it."""
    changes = (*shop.serves.changes, *later)
    write_json(model_folder(MODEL) / "in_service.json", {"changes": [one.model_dump() for one in changes]})
    shop.serves = Standing(folder=shop.serves.folder, changes=changes)


def read_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "_FIRST", "SELECT error('no room')")


@pytest.mark.parametrize("left", [4, 2])
def test_what_an_experiment_kept_outlasts_unread_segments_from_after_its_end(
    make: Callable[..., Shop], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, left: int
) -> None:
    shop = make()
    name_segments(shop)
    second = begin_second(0.0, until=ENDED)
    theirs = compute_figures(second, shop.serves, shop.log, shop.events, SETTINGS, NOW)
    assert len(shop.prune(5, days=60.0)) == 3
    read_nothing(monkeypatch)
    newest = segments_of(shop.log)[4 - left].stat().st_mtime
    assert len(shop.prune(left, days=60.0)) == 5 - left
    assert len(kept_files(shop.log, second)) == 3
    assert compute_figures(second, shop.serves, shop.log, shop.events, SETTINGS, NOW) == theirs
    assert f": those of {name_of(shop.experiment)}\n" in caplog.text
    assert read_lost(shop.log).kept[name_of(shop.experiment)].timestamp() == pytest.approx(newest)
    assert shop.figures().lost


def test_an_unread_segment_from_before_the_end_is_lost_up_to_the_end_alone(
    make: Callable[..., Shop], monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = make()  # whose segments have names that say nothing
    second = begin_second(0.0, until=ENDED)
    assert len(shop.prune(5, days=60.0)) == 3
    read_nothing(monkeypatch)
    shop.prune(3, days=60.0)
    window = timedelta(seconds=SETTINGS.click_window_s)
    assert read_lost(shop.log).kept[name_of(second)] == ENDED + window
    found = compute_figures(second, shop.serves, shop.log, shop.events, SETTINGS, NOW)
    assert (found.lost, found.since) == (True, ENDED.isoformat(timespec="seconds"))


@pytest.mark.parametrize("action", ["rolled back", "promoted", ""])
def test_what_a_rollback_or_a_promotion_of_its_bundle_ended_has_nothing_to_lose_of_later(
    make: Callable[..., Shop], monkeypatch: pytest.MonkeyPatch, action: str
) -> None:
    shop = make()
    name_segments(shop)
    if action:
        digest = "d2" if action == "promoted" else "d1"
        fields = {"at": ENDED.isoformat(), "action": action, "version": "v2", "digest": digest}
        put_into_service(shop, Change.model_validate(fields))
    before = shop.figures()
    assert len(shop.prune(5)) == 3
    read_nothing(monkeypatch)
    assert len(shop.prune(2)) == 3
    assert len(kept_files(shop.log, shop.experiment)) == (3 if action else 0)
    after = shop.figures()
    assert after.lost == (not action)
    assert not action or after.variants == before.variants


def test_what_counts_anew_after_the_bundle_was_promoted_is_kept(make: Callable[..., Shop]) -> None:
    shop = make()
    name_segments(shop)
    own = Change(at=ENDED.isoformat(), action="promoted", version="v2", digest="d2")
    put_into_service(shop, own)
    shop.prune(4)
    next_one = own.model_copy(update={"at": (BEGAN + timedelta(days=5)).isoformat(), "version": "v3", "digest": "d3"})
    put_into_service(shop, next_one)
    anew = shop.figures()
    assert datetime.fromisoformat(anew.since) == datetime.fromisoformat(next_one.at).replace(microsecond=0)
    assert sum(one.answers for one in anew.variants) > 20
    shop.prune(0)
    after = shop.figures()
    assert after == anew


@pytest.mark.parametrize("action", ["stopped", "rolled back"])
def test_drops_of_before_the_end_count_though_the_log_could_be_written_again_after_it(
    make: Callable[..., Shop], action: str
) -> None:
    shop = make()
    if action == "stopped":
        change_record(stopped_at=ENDED.isoformat())
        shop.experiment = shop.experiment.model_copy(update={"stopped_at": ENDED.isoformat()})
    else:
        back = {"at": ENDED.isoformat(), "action": "rolled back", "version": "v1", "digest": "d1"}
        put_into_service(shop, Change.model_validate(back))
    for segment, since in zip(
        segments_of(shop.log)[4:], (ENDED - timedelta(hours=1), ENDED + timedelta(1)), strict=False
    ):
        found = segment.stat()
        with segment.open("a") as file:
            at = BEGAN + timedelta(days=6)
            file.write(json.dumps({"dropped": 500, "dropped_since": since.isoformat(), "at": at.isoformat()}) + "\n")
        os.utime(segment, ns=(found.st_atime_ns, found.st_mtime_ns))
    whole = shop.figures()
    assert whole.dropped == 502
    shop.prune(0, days=60.0)
    assert shop.figures() == whole
