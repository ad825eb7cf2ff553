"""Refreshing the store: again, after a failure, and what a store that is not there says."""

from __future__ import annotations

import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from core.settings.features import FeatureSettings
from features.archive.publication import OFFLINE_FOLDER
from features.errors import FeastFailure, StoreNotReady
from features.feast.store import CONFIGURATION_FILE, ONLINE_FILE, REGISTRY_FILE, open_store
from features.online import OnlineFeatures
from features.refresh import refresh_features
from tests.integration.features.shop import SETTINGS, event
from tests.unit.features.shops import START


def test_a_refresh_is_idempotent_and_clears_up(clean: Path, tmp_path: Path) -> None:
    first = refresh_features(clean, tmp_path, SETTINGS)
    assert first.rows == {"events": 10, "reviews": 6, "users": 4, "items": 7}
    assert first.materialised_to == (START + timedelta(seconds=9)).isoformat()
    assert (first.new_events, first.rebuilt) == (10, True)
    written = {path: path.stat().st_mtime_ns for path in (tmp_path / OFFLINE_FOLDER).rglob("*.parquet")}
    (tmp_path / OFFLINE_FOLDER / ".left.behind.unfinished").mkdir()
    nothing = {"new_events": 0, "rebuilt": False}
    assert refresh_features(clean, tmp_path, SETTINGS) == first.model_copy(update=nothing)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / OFFLINE_FOLDER).rglob("*.parquet")} == written
    other = refresh_features(clean, tmp_path, FeatureSettings(max_history=2))
    assert other == first
    assert [path.name for path in (tmp_path / OFFLINE_FOLDER).iterdir()] == ["2"]
    state = OnlineFeatures(tmp_path, SETTINGS).read_user("u")
    assert state is not None
    assert state.items == ("e", "a")


def test_a_store_that_is_current_is_left_alone_and_a_broken_one_is_made_whole(
    clean: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = refresh_features(clean, tmp_path, SETTINGS)
    with monkeypatch.context() as patched:
        patched.setattr("features.refresh.create_store", lambda *_: pytest.fail("Feast was asked again"))
        assert not refresh_features(clean, tmp_path, SETTINGS).rebuilt
    (tmp_path / ONLINE_FILE).unlink()
    assert refresh_features(clean, tmp_path, SETTINGS) == first
    assert OnlineFeatures(tmp_path, SETTINGS).read_user("u") is not None


def test_a_store_of_an_earlier_release_is_read_and_refreshed_without_a_rebuild(clean: Path, feast: Path) -> None:
    path = feast / CONFIGURATION_FILE
    today = path.read_text(encoding="utf-8")
    earlier = today.replace("features.feast.", "features.")
    assert earlier != today
    path.write_text(earlier, encoding="utf-8")
    assert OnlineFeatures(feast, SETTINGS).read_user("u") is not None
    assert path.read_text(encoding="utf-8") == today
    path.write_text(earlier, encoding="utf-8")
    assert not refresh_features(clean, feast, SETTINGS).rebuilt
    assert path.read_text(encoding="utf-8") == today


def test_a_refresh_that_failed_midway_is_done_again(
    clean: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refresh_features(clean, tmp_path, SETTINGS)
    shorter = FeatureSettings(max_history=2)
    with monkeypatch.context() as patched:
        patched.setattr("features.refresh.publish", lambda *_: 1 / 0)
        with pytest.raises(FeastFailure, match="ZeroDivisionError: division by zero"):
            refresh_features(clean, tmp_path, shorter)
    assert refresh_features(clean, tmp_path, shorter).rebuilt
    state = OnlineFeatures(tmp_path, SETTINGS).read_user("u")
    assert state is not None
    assert len(state.items) == 2


def test_a_store_that_was_never_made_says_so_and_is_found_once_it_is(clean: Path, tmp_path: Path) -> None:
    online = OnlineFeatures(tmp_path / "feast", SETTINGS)
    with pytest.raises(StoreNotReady, match=r"missing=\['feature_store.yaml'\]"):
        online.read_user("u")
    with pytest.raises(StoreNotReady, match=r"missing="):
        online.push([event("a", 20)], [1])
    assert not (tmp_path / "feast").exists()
    refresh_features(clean, tmp_path / "feast", SETTINGS)
    assert online.read_user("u") is not None


def test_a_damaged_registry_is_named(feast: Path) -> None:
    (feast / REGISTRY_FILE).write_bytes(b"no registry at all")
    with pytest.raises(FeastFailure, match=rf"folder={feast}, expected a Feast store, but DecodeError"):
        open_store(feast)


def test_that_there_is_nothing_new_is_found_without_feast(clean: Path, refreshed: Path) -> None:
    """To import it takes most of the time of a refresh that has nothing to do."""
    script = """
import sys
from pathlib import Path
from features.refresh import refresh_features
from tests.integration.features.shop import SETTINGS
assert not refresh_features(Path(sys.argv[1]), Path(sys.argv[2]), SETTINGS).rebuilt
assert not {"feast", "torch"} & sys.modules.keys()
"""
    command = [sys.executable, "-c", script, str(clean), str(refreshed)]
    subprocess.run(command, check=True, cwd=Path(__file__).parents[3])
