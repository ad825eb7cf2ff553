"""Feast's configuration out of the settings."""

from __future__ import annotations

from pathlib import Path

from core.settings.features import FeatureStoreSettings
from features.archive.publication import schema_name
from features.feast.store import configuration

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
