"""The feature store of a shop: one folder with Feast's configuration, and by default everything else too."""

from __future__ import annotations

import getpass
import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from core.addresses import expand
from core.settings.features import FeatureStoreSettings
from core.sql import identifier
from core.storage import atomic_file
from features.archive.publication import schema_name
from features.errors import FeastFailure, FeatureError, StoreNotReady
from features.feast.importing import import_feast
from features.feast.store_types import (
    DUCKDB_OFFLINE,
    FILE_REGISTRY,
    POSTGRES_OFFLINE,
    REDIS_ONLINE,
    SQLITE_ONLINE,
    STORE_TYPES,
)

PROJECT = "sommelier"
REGISTRY_FILE = "registry.db"
ONLINE_FILE = "online.db"
CONFIGURATION_FILE = "feature_store.yaml"
REPOSITORY_FILE = "definitions.py"
_REPOSITORY = '''\
"""The features as a refresh applies them, for the `feast` command. A refresh writes this file, and undoes changes."""

from pathlib import Path

from features.feast.definitions import repository_of

globals().update(repository_of(Path(__file__).parent))
'''
_FAILED = "Cannot open the feature store"


def configuration(feast_folder: Path, stores: FeatureStoreSettings) -> dict[str, Any]:
    """Feast's configuration; paths are relative to the folder, ${NAME} is filled in when the store is opened."""
    shared = stores.online == "redis" or stores.registry == "postgres"
    registry: dict[str, Any] = {"path": REGISTRY_FILE, "registry_store_type": FILE_REGISTRY}
    if stores.registry == "postgres":
        registry = {"registry_type": "sql", "path": _registry_url(stores.postgres, schema_name(feast_folder))}
    online: dict[str, Any] = {"type": SQLITE_ONLINE, "path": ONLINE_FILE}
    if stores.online == "redis":
        online = {"type": REDIS_ONLINE, "connection_string": stores.redis}
        if sum("=" not in part for part in stores.redis.split(",")) > 1:  # several nodes are those of a cluster
            online["redis_type"] = "redis_cluster"
    offline: dict[str, Any] = {"type": DUCKDB_OFFLINE}
    if stores.offline == "postgres":
        offline = {"type": POSTGRES_OFFLINE, **_postgres_parts(stores.postgres, schema_name(feast_folder))}
    return {
        # On servers that shops share, a name of the shop's own.
        "project": schema_name(feast_folder) if shared else PROJECT,
        "provider": "local",
        "registry": registry,
        "offline_store": offline,
        "online_store": online,
        # Only the newest row of an entity goes online, not one after the other.
        "materialization": {"pull_latest_features": True},
        "entity_key_serialization_version": 3,
    }


def renew_configuration(feast_folder: Path) -> None:
    """Where an earlier release made the store, name its store classes by the modules in which they are now.

    Feast finds the classes by the dotted paths in the configuration. A class is known by its name, wherever it was.
    The definitions for the `feast` command are written too where they are missing or other than today's.

    Raises:
        FeastFailure: the file cannot be written.
    """
    path = feast_folder / CONFIGURATION_FILE
    if not path.is_file():
        return
    written = path.read_text(encoding="utf-8")
    renewed = written
    for today in STORE_TYPES:
        renewed = re.sub(rf"\bfeatures(\.\w+)*\.{today.rpartition('.')[2]}\b", today, renewed)
    if renewed == written:
        _write_definitions(feast_folder)
        return
    try:
        with atomic_file(path) as temporary:
            temporary.write_text(renewed, encoding="utf-8")
    except OSError as error:
        raise FeastFailure(
            "Cannot open the feature store",
            got=f"{CONFIGURATION_FILE} of an earlier release",
            expected=f"leave to name today's classes in it, but {error}",
            where=str(path),
            do="Run the refresh-features deployment as a user who may write to the folder",
        ) from error
    _write_definitions(feast_folder)


def _write_definitions(feast_folder: Path) -> None:
    """Without them `feast apply` takes the repository for empty, and drops the views with their rows."""
    path = feast_folder / REPOSITORY_FILE
    if path.is_file() and path.read_bytes() == _REPOSITORY.encode():
        return
    try:
        with atomic_file(path) as temporary:
            temporary.write_text(_REPOSITORY, encoding="utf-8")
    except PermissionError:
        # A service that may only read: whoever applies may write, and so may the refresh.
        return


def create_store(feast_folder: Path, stores: FeatureStoreSettings | None = None) -> Any:
    """Open the store in `feast_folder`, and make it if there is none.

    Args:
        feast_folder: Where feature_store.yaml goes, and what is kept in files.
        stores: Where Feast keeps what it knows; files alone by default.
    Returns:
        Feast's `FeatureStore`.
    Raises:
        FeatureError: a ${NAME} of the settings is not in the environment.
        FeastFailure: the folder's configuration or registry cannot be read, or a server does not answer.
    """
    import yaml

    stores = stores or FeatureStoreSettings()
    feast_folder.mkdir(parents=True, exist_ok=True)
    with atomic_file(feast_folder / CONFIGURATION_FILE) as temporary:
        temporary.write_text(yaml.safe_dump(configuration(feast_folder, stores), sort_keys=False), encoding="utf-8")
    _write_definitions(feast_folder)
    if stores.registry == "postgres":
        _make_schema(expand(stores.postgres, _FAILED, FeatureError), schema_name(feast_folder))
    return _open(feast_folder)


def open_store(feast_folder: Path) -> Any:
    """Open a store that was made before, wherever its settings say that its parts lie.

    Returns:
        Feast's `FeatureStore`.
    Raises:
        StoreNotReady: nothing was ever applied in `feast_folder`.
        FeatureError: a ${NAME} of the settings is not in the environment.
        FeastFailure: the folder's configuration or registry cannot be read, or a server does not answer.
    """
    if missing := missing_files(feast_folder):
        raise _not_ready(missing, feast_folder)
    renew_configuration(feast_folder)
    return _open(feast_folder)


def open_online(feast_folder: Path, stores: FeatureStoreSettings) -> tuple[Any, Any]:
    """The online store at one place, whatever the folder's configuration says by now; and a configuration for it.

    Raises:
        StoreNotReady: it is a file, and not there.
        FeatureError: a ${NAME} of the settings is not in the environment.
        FeastFailure: the address is none.
    """
    if stores.online == "sqlite" and not (feast_folder / ONLINE_FILE).is_file():
        raise _not_ready([ONLINE_FILE], feast_folder)
    # Without the other parts, which need not be there for it.
    written = configuration(feast_folder, FeatureStoreSettings(online=stores.online, redis=stores.redis))
    if stores.online == "redis":
        written["online_store"]["connection_string"] = expand(stores.redis, _FAILED, FeatureError)
        # A copy of the folder elsewhere reads under the name that its refreshes gave.
        told = read_configuration(feast_folder)["project"] if (feast_folder / CONFIGURATION_FILE).is_file() else PROJECT
        written["project"] = written["project"] if told == PROJECT else told
    import_feast()
    from feast.infra.online_stores.helpers import get_online_store_from_config
    from feast.repo_config import RepoConfig

    try:
        config = RepoConfig(**written, repo_path=feast_folder.absolute())
        return get_online_store_from_config(config.online_store), config
    except Exception as error:
        raise FeastFailure(
            _FAILED,
            got=f"online={stores.online}, redis={stores.redis}",
            expected=f"an online store of Feast, but {type(error).__name__}",
            where=str(feast_folder),
            do="Check feature_store in the settings, and refresh the features",
        ) from error


def read_configuration(feast_folder: Path) -> dict[str, Any]:
    """The configuration of a store that was made before, as it is written: ${NAME} is not filled in."""
    import yaml

    written: dict[str, Any] = yaml.safe_load((feast_folder / CONFIGURATION_FILE).read_text(encoding="utf-8"))
    return written


def missing_files(feast_folder: Path) -> list[str]:
    """Files of the store that should be there and are not; which those are, its configuration says."""
    if not (feast_folder / CONFIGURATION_FILE).is_file():
        return [CONFIGURATION_FILE]
    written = read_configuration(feast_folder)
    files = [written["registry"].get("path"), written["online_store"].get("path")]
    return [name for name in files if name in (REGISTRY_FILE, ONLINE_FILE) and not (feast_folder / name).is_file()]


def _not_ready(missing: list[str], feast_folder: Path) -> StoreNotReady:
    return StoreNotReady(
        _FAILED,
        got=f"missing={missing}",
        expected="a store that features were applied to",
        where=str(feast_folder),
        do="Refresh the features first: run the refresh-features or the pipeline deployment",
    )


def _open(feast_folder: Path) -> Any:
    import_feast()
    from feast import FeatureStore

    # Feast expands variables too, but leaves a missing one as it is, for some server to refuse.
    expand((feast_folder / CONFIGURATION_FILE).read_text(encoding="utf-8"), _FAILED, FeatureError)
    try:
        store = FeatureStore(repo_path=str(feast_folder.absolute()))
        # A flow that materialises marks the views as busy; the values online stay good all the while.
        store.registry.serve_features_while_materializing = True
    except Exception as error:
        raise FeastFailure(
            "Cannot open the feature store",
            got=f"folder={feast_folder}",
            expected=f"a Feast store, but {type(error).__name__}: {error}",
            do="Refresh the features; if that fails too, move the folder away and refresh again: it is rebuilt",
        ) from error
    return store


def _registry_url(url: str, schema: str) -> str:
    """For SQLAlchemy and psycopg, with the shop's schema as the place of Feast's tables."""
    separator = "&" if "?" in url else "?"
    return f"postgresql+psycopg://{url.partition('://')[2]}{separator}options=-csearch_path%3D{schema}"


def _postgres_parts(url: str, schema: str) -> dict[str, Any]:
    """The address as Feast's PostgreSQL store wants it: in parts."""
    parts = urlsplit(url)
    return {
        "host": parts.hostname or "127.0.0.1",
        "port": parts.port or 5432,
        "database": parts.path.lstrip("/") or "postgres",
        "db_schema": schema,
        "user": parts.username or getpass.getuser(),
        "password": parts.password or "",
    }


def _make_schema(url: str, schema: str) -> None:
    import psycopg

    try:
        with psycopg.connect(url) as connection:
            connection.execute(f"CREATE SCHEMA IF NOT EXISTS {identifier(schema)}")
    except psycopg.Error as error:
        raise FeastFailure(
            "Cannot make the registry",
            got=f"schema={schema}",
            expected=f"PostgreSQL to make it, but {error}",
            do="Check feature_store.postgres in the settings, and that the server answers",
        ) from error
