"""Of each stage's results the newest few stay, and one that is used again counts as new."""

import os
import time
from types import SimpleNamespace

import pytest

from core.layout import Layout
from core.storage import UNFINISHED
from flows.errors import DiskFull
from flows.params import PipelineParams
from flows.pruning import ABANDONED_AFTER_S, KEPT_RESULTS, mark_used, prune, require_room
from flows.refresh_features import refresh_features


def test_the_oldest_results_go_and_a_used_one_stays(tmp_path):
    layout = Layout(tmp_path, "small")
    for age in range(KEPT_RESULTS + 2):
        for folder in (layout.clean(f"key{age}"), layout.component("writer", f"key{age}")):
            folder.mkdir(parents=True)
            os.utime(folder, (1_000_000 - age, 1_000_000 - age))
    oldest = layout.clean(f"key{KEPT_RESULTS + 1}")
    unfinished = layout.clean(".being-written")
    unfinished.mkdir()
    os.utime(unfinished, (0, 0))
    mark_used(oldest)
    removed = prune(layout)
    assert oldest.exists()
    assert unfinished.exists()
    assert set(removed) == {
        layout.clean(f"key{KEPT_RESULTS - 1}"),
        layout.clean(f"key{KEPT_RESULTS}"),
        layout.component("writer", f"key{KEPT_RESULTS}"),
        layout.component("writer", f"key{KEPT_RESULTS + 1}"),
    }
    assert not any(folder.exists() for folder in removed)


def test_a_shop_that_never_ran_has_nothing_to_prune(tmp_path):
    assert prune(Layout(tmp_path, "new")) == []


def test_what_a_killed_process_left_goes_after_a_day(tmp_path):
    layout = Layout(tmp_path, "small")
    left, fresh = layout.raw(f".old.1{UNFINISHED}"), layout.raw(f".new.2{UNFINISHED}")
    for folder in (left, fresh):
        folder.mkdir(parents=True)
    os.utime(left, (time.time() - ABANDONED_AFTER_S - 60,) * 2)
    assert prune(layout) == [left]
    assert fresh.exists()


def test_where_room_is_short_old_results_go_before_a_step_stops(tmp_path, monkeypatch):
    layout, free = Layout(tmp_path, "small"), {"bytes": 10}
    for age in range(KEPT_RESULTS + 1):
        layout.clean(f"key{age}").mkdir(parents=True)
        os.utime(layout.clean(f"key{age}"), (1_000_000 - age, 1_000_000 - age))
    oldest = layout.clean(f"key{KEPT_RESULTS}")

    def disk_usage(_):
        return SimpleNamespace(free=free["bytes"] + 100 * (not oldest.exists()))

    monkeypatch.setattr("flows.pruning.shutil.disk_usage", disk_usage)
    require_room(layout, 10)
    assert oldest.exists()
    require_room(layout, 110)
    assert not oldest.exists()
    with pytest.raises(DiskFull, match=r"lack of room: free=.*platform.min_free_bytes"):
        require_room(layout, 111)


def test_a_refresh_prunes_what_it_makes(tmp_path, monkeypatch):
    monkeypatch.setenv("SOMMELIER_WORK_DIR", str(tmp_path))
    layout = Layout(tmp_path, "small")
    for age in range(KEPT_RESULTS + 2):
        layout.raw(f"key{age}").mkdir(parents=True)
    prepared = SimpleNamespace(features=SimpleNamespace(rows={"events": 1}))
    monkeypatch.setattr("flows.refresh_features.prepare", lambda _: prepared)
    assert refresh_features.fn(PipelineParams(shop="small")) == {"events": 1}
    assert len(list(layout.raw("key").parent.iterdir())) == KEPT_RESULTS
