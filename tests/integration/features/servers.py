"""The servers that some feature tests need: where they are, and whether they answer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from core.settings.features import FeatureStoreSettings
from features.archive.publication import schema_name

POSTGRES = "postgresql://127.0.0.1:5432/test"
REDIS = "127.0.0.1:6379"


def redis_client() -> Any:
    """A client, None where no server answers."""
    from redis import Redis
    from redis.exceptions import RedisError

    host, port = REDIS.split(":")
    client = Redis(host=host, port=int(port), socket_connect_timeout=2)
    try:
        client.ping()
    except RedisError:
        return None
    return client


def postgres_url() -> str | None:
    """An address that lets us in, None where there is none: as whoever runs the tests, or as postgres."""
    import psycopg

    for url in (POSTGRES, POSTGRES.replace("//", "//postgres@")):
        try:
            with psycopg.connect(url, connect_timeout=2):
                return url
        except psycopg.Error:
            continue
    return None


def drop_schema(url: str, feast: Path) -> None:
    """Remove what a test's store kept in PostgreSQL."""
    import psycopg

    with psycopg.connect(url) as connection:
        connection.execute(f'DROP SCHEMA IF EXISTS "{schema_name(feast)}" CASCADE')


def remove_from_servers(feast: Path) -> None:
    """Remove whatever a test's store, wherever it went to, kept in Redis and PostgreSQL."""
    if client := redis_client():
        for key in client.scan_iter(f"*{schema_name(feast)}*"):
            client.delete(key)
    if url := postgres_url():
        drop_schema(url, feast)


def schemas(url: str) -> set[str]:
    """All schemas of the database."""
    import psycopg

    with psycopg.connect(url) as connection:
        return {name for (name,) in connection.execute("SELECT nspname FROM pg_namespace")}


def tables(url: str, feast: Path) -> set[str]:
    """The tables in the store's schema."""
    import psycopg

    with psycopg.connect(url) as connection:
        rows = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = %s", (schema_name(feast),))
        return {name for (name,) in rows}


def settings(**chosen: Any) -> FeatureStoreSettings:
    """Store settings with the test's servers."""
    return FeatureStoreSettings(**{"redis": REDIS, **chosen})
