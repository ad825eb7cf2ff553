"""The classes of the stores, by the names that Feast's configuration has of them; they are imported, with Feast, where
a store is opened.
"""

from __future__ import annotations

from typing import Final

DUCKDB_OFFLINE: Final = "features.feast.offline_store.CountingDuckDBOfflineStore"
POSTGRES_OFFLINE: Final = "features.feast.offline_store.CountingPostgreSQLOfflineStore"
SQLITE_ONLINE: Final = "features.feast.online_store.RowSqliteOnlineStore"
REDIS_ONLINE: Final = "features.feast.redis_store.RowRedisOnlineStore"
FILE_REGISTRY: Final = "features.feast.registry_store.AtomicFileRegistryStore"
SOURCE_SUFFIX = "_events"  # of a source, after its view's name
STORE_TYPES = (DUCKDB_OFFLINE, POSTGRES_OFFLINE, SQLITE_ONLINE, REDIS_ONLINE, FILE_REGISTRY)
