"""Feast's configuration out of the settings."""

from __future__ import annotations

import runpy
from importlib import import_module
from pathlib import Path

import pytest
import yaml

from core.settings.features import FeatureStoreSettings
from features.archive.publication import schema_name
from features.errors import FeastFailure
from features.feast.definitions import define_repository
from features.feast.store import CONFIGURATION_FILE, REPOSITORY_FILE, configuration, renew_configuration
from features.feast.store_types import STORE_TYPES

SERVERS = FeatureStoreSettings(
    online="redis",
    offline="postgres",
    registry="postgres",
    redis="redis.shop:6379,password=${REDIS_PASSWORD}",
    postgres="postgresql://sommelier:${PG_PASSWORD}@db.shop:5433/features",
)


def test_files_need_no_server_and_no_absolute_path(tmp_path: Path) -> None:
    written = configuration(tmp_path, FeatureStoreSettings())
    assert written["registry"]["path"] == "registry.db"
    assert written["online_store"] == {"type": "features.feast.online_store.RowSqliteOnlineStore", "path": "online.db"}
    assert str(tmp_path) not in repr(written)


def test_servers_come_from_the_settings_and_passwords_do_not_get_written(tmp_path: Path) -> None:
    written, own = configuration(tmp_path, SERVERS), schema_name(tmp_path)
    assert written["project"] == own != schema_name(tmp_path / "other")
    assert written["online_store"]["connection_string"] == "redis.shop:6379,password=${REDIS_PASSWORD}"
    assert written["registry"] == {
        "registry_type": "sql",
        "path": f"postgresql+psycopg://sommelier:${{PG_PASSWORD}}@db.shop:5433/features?options=-csearch_path%3D{own}",
    }
    assert written["offline_store"] == {
        "type": "features.feast.offline_store.CountingPostgreSQLOfflineStore",
        "host": "db.shop", "port": 5433, "database": "features", "db_schema": own, "user": "sommelier",
        "password": "${PG_PASSWORD}",
    }  # fmt: skip


@pytest.mark.parametrize("stores", [FeatureStoreSettings(), SERVERS])
def test_a_store_of_an_earlier_release_gets_todays_classes_and_keeps_the_rest(
    stores: FeatureStoreSettings, tmp_path: Path
) -> None:
    path = tmp_path / CONFIGURATION_FILE
    today = yaml.safe_dump(configuration(tmp_path, stores), sort_keys=False)
    path.write_text(today.replace("features.feast.", "features."), encoding="utf-8")
    renew_configuration(tmp_path)
    assert path.read_text(encoding="utf-8") == today


def test_a_store_of_an_earlier_release_gets_the_definitions_that_feast_reads(tmp_path: Path) -> None:
    """Without them `feast apply` finds an empty repository, and drops every view with its rows."""
    (tmp_path / CONFIGURATION_FILE).write_text(yaml.safe_dump(configuration(tmp_path, SERVERS)), encoding="utf-8")
    renew_configuration(tmp_path)
    found = runpy.run_path(str(tmp_path / REPOSITORY_FILE))
    applied = {one.name: one for one in define_repository(tmp_path, SERVERS)}
    assert {name: found[name] for name in applied} == applied
    assert "PASSWORD" not in (tmp_path / REPOSITORY_FILE).read_text(encoding="utf-8")


def test_who_may_not_write_can_still_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(target: Path) -> None:
        raise PermissionError(13, "Permission denied", str(target))

    (tmp_path / CONFIGURATION_FILE).write_text(yaml.safe_dump(configuration(tmp_path, SERVERS)), encoding="utf-8")
    monkeypatch.setattr("features.feast.store.atomic_file", refuse)
    renew_configuration(tmp_path)
    assert not (tmp_path / REPOSITORY_FILE).exists()


def test_a_configuration_that_is_current_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    renew_configuration(tmp_path)
    assert not list(tmp_path.iterdir())
    (tmp_path / CONFIGURATION_FILE).write_text(yaml.safe_dump(configuration(tmp_path, SERVERS)), encoding="utf-8")
    renew_configuration(tmp_path)
    monkeypatch.setattr("features.feast.store.atomic_file", lambda *_: pytest.fail("written again"))
    renew_configuration(tmp_path)


def test_a_configuration_that_may_not_be_written_says_who_can_do_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(target: Path) -> None:
        raise PermissionError(13, "Permission denied", str(target))

    (tmp_path / CONFIGURATION_FILE).write_text("type: features.online_store.RowSqliteOnlineStore", encoding="utf-8")
    monkeypatch.setattr("features.feast.store.atomic_file", refuse)
    with pytest.raises(FeastFailure, match=r"of an earlier release, expected .* Run the refresh-features deployment"):
        renew_configuration(tmp_path)


def test_the_names_of_the_stores_are_those_of_their_classes() -> None:
    for name in STORE_TYPES:
        module, _, found = name.rpartition(".")
        assert isinstance(getattr(import_module(module), found), type)
