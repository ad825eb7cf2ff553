"""Feast's Redis online store with one text per entity and view, replaced atomically by what supersedes it.

Feast's own reads the old times first and writes in a second step, so that of two writers the older may come last. Here
a script decides and writes within Redis. An entity is one hash, as in Feast's, with three fields per view. All keys of
a shop share a hash tag, so that Redis Cluster keeps them on one node, where a script may use several of them. Named by
its dotted path in the store's configuration; Feast's own reads and writes go through it as well.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal

from feast.infra.online_stores.redis import RedisOnlineStore, RedisOnlineStoreConfig

from features.counting.views import ENTITY, PACKED
from features.feast.row_store import RowStore
from features.feast.rows import Merge, StoredRow, in_pages
from features.feast.store_types import REDIS_ONLINE

_ROWS_PER_ROUND = 500
_TOLD_S = 60
# Among the counters of changes, since it is read with them.
_FILLING, _FILLING_BEGUN = "filling", "filling_begun"


class RowRedisOnlineStoreConfig(RedisOnlineStoreConfig):
    """The configuration of `RowRedisOnlineStore`."""

    type: Literal["features.feast.redis_store.RowRedisOnlineStore"] = REDIS_ONLINE  # type: ignore[assignment]


# KEYS: the entity's hash, the counters of changes, the order of changes of the view.
# ARGV: view, entity, served, sketch, newest_us, n_events, sequence, the version that has to stand there still, and the
# number up to which the event log has to be settled still where no version stands. For the versions "any" and "past"
# the row has to supersede the stored one, as features.feast.rows.supersedes says; "past" for one as of a past moment.
_WRITE = """
local view, entity, expected = ARGV[1], ARGV[2], ARGV[8]
local newest, n_events, sequence = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
local version = redis.call('HGET', KEYS[1], view .. ':version') or ''
if expected ~= 'any' and expected ~= 'past' then
    if version ~= expected then return 0 end
    if version == '' and (redis.call('HGET', KEYS[2], 'settled') or '0') ~= ARGV[9] then return 0 end
elseif version ~= '' then
    local old_newest, old_n, old_sequence = version:match('^(%-?%d+) (%d+) (%d+)')
    old_newest, old_n, old_sequence = tonumber(old_newest), tonumber(old_n), tonumber(old_sequence)
    if sequence < old_sequence or expected == 'past' then
        if newest < old_newest or (newest == old_newest and n_events < old_n) then return 1 end
        sequence = math.max(sequence, old_sequence)
    end
end
local change = redis.call('HINCRBY', KEYS[2], view, 1)
local written = string.format('%.0f %.0f %.0f %.0f', newest, n_events, sequence, change)
redis.call('HSET', KEYS[1], view, ARGV[3], view .. ':sketch', ARGV[4], view .. ':version', written)
redis.call('ZADD', KEYS[3], change, entity)
return 1
"""
# KEYS: as above. ARGV: view, entity, and the number in the event log up to which a row may be removed. The entity stays
# in the order of changes, for readers with a copy of the view.
_FORGET = """
local version = redis.call('HGET', KEYS[1], ARGV[1] .. ':version')
if not version or tonumber(version:match('^%-?%d+ %d+ (%d+)')) > tonumber(ARGV[3]) then return 0 end
redis.call('HDEL', KEYS[1], ARGV[1], ARGV[1] .. ':sketch', ARGV[1] .. ':version')
redis.call('ZADD', KEYS[3], redis.call('HINCRBY', KEYS[2], ARGV[1], 1), ARGV[2])
return 1
"""
# KEYS: the counters of changes. ARGV: up to where the event log is settled.
_SETTLE = """
local settled = tonumber(redis.call('HGET', KEYS[1], 'settled') or '0')
if tonumber(ARGV[1]) > settled then redis.call('HSET', KEYS[1], 'settled', ARGV[1]) end
return 1
"""
# KEYS: as above. ARGV: the number of what was begun, and that of the filling before. All numbers are texts here: a
# double does not hold their digits.
_NOTE_FILLING = """
local filling = redis.call('HGET', KEYS[1], 'filling') or '0'
local begun = redis.call('HGET', KEYS[1], 'filling_begun')
redis.call('HDEL', KEYS[1], 'filling_begun')
if ARGV[2] ~= '0' and filling == ARGV[2] then return filling end
if begun ~= ARGV[1] then return false end
redis.call('HSET', KEYS[1], 'filling', begun)
return begun
"""


class RowRedisOnlineStore(RowStore, RedisOnlineStore):
    """As `features.feast.online_store.RowSqliteOnlineStore`, in Redis. All keys start with the project's name."""

    def __init__(self) -> None:
        super().__init__()
        self._opening = threading.Lock()

    def read_rows(self, config: Any, view: str, entities: Sequence[str]) -> list[StoredRow | None]:
        """The whole rows of entities, None where there is none."""
        return [row for row, _ in self._read(config, view, entities)]

    def read_served(
        self, config: Any, views: Sequence[str], entity: str, counted: str
    ) -> tuple[list[bytes | None], int, int]:
        """What requests read of one entity, view by view, the newest change of the view `counted`, and
        `read_filling`; in one go.
        """
        pipeline = self._client_of(config).pipeline(transaction=False)
        pipeline.hmget(_key(config, views[0], entity), list(views))
        pipeline.hmget(_counters(config), [counted, _FILLING])
        served, (change, filling) = pipeline.execute()
        return served, int(change or 0), int(filling or 0)

    def read_filling(self, config: Any) -> int:
        """See `RowStore`."""
        return int(self._client_of(config).hget(_counters(config), _FILLING) or 0)

    def begin_filling(self, config: Any, filling: int) -> int:
        """See `RowStore`."""
        self._client_of(config).hset(_counters(config), _FILLING_BEGUN, filling)
        return filling

    def note_filling(self, config: Any, begun: int, before: int) -> int | None:
        """See `RowStore`; in one step, so that nothing is noted in a store that is emptied in between."""
        found = self._client_of(config).eval(_NOTE_FILLING, 1, _counters(config), begun, before)
        return None if found is None else int(found)

    def read_changes(self, config: Any, view: str, after: int) -> Iterator[tuple[str, bytes | None, int]]:
        """(entity, served, number of the change) of rows that changed since the change `after`, oldest first; read as
        they are asked for.

        A row that was removed has None in the place of `served`.
        """
        client = self._client_of(config)
        changed = client.zrangebyscore(_changed(config, view), f"({after}", "+inf", withscores=True)
        for page in in_pages(changed, _ROWS_PER_ROUND):
            pipeline = client.pipeline(transaction=False)
            for entity, _ in page:
                pipeline.hget(_key(config, view, entity.decode()), view)
            for (entity, change), served in zip(page, pipeline.execute(), strict=True):
                yield entity.decode(), served, int(change)

    def write_rows(self, config: Any, view: str, rows: Iterable[StoredRow], as_of_past: bool = False) -> None:
        """See `RowStore.write_rows`."""
        for page in in_pages(rows, _ROWS_PER_ROUND):
            self._write(config, view, [(row, "past" if as_of_past else "any") for row in page], 0)

    def settle(self, config: Any, sequence: int) -> None:
        """Note up to where the event log is settled; when it is on the disk is up to the server (`appendfsync`).

        An entity without a row has none of the log's events up to there: a late push does not bring them back.
        """
        if sequence:
            self._client_of(config).eval(_SETTLE, 1, _counters(config), sequence)

    def update_rows(self, config: Any, view: str, entities: Sequence[str], merge: Merge) -> None:
        """Read rows, let `merge` make new ones, and write those; rows that changed meanwhile are merged again."""
        pending = list(entities)
        while pending:
            settled = int(self._client_of(config).hget(_counters(config), "settled") or 0)
            old = self._read(config, view, pending)
            new = [
                (merged, version)
                for entity, (row, version) in zip(pending, old, strict=True)
                if (merged := merge(entity, row, settled)) is not None
            ]
            done = self._write(config, view, new, settled)
            pending = [row.entity for (row, _), written in zip(new, done, strict=True) if not written]

    def forget_others(self, config: Any, view: str, kept: Sequence[str], sequence: int) -> None:
        """Remove rows of entities that are gone, but for those with pushes later than `sequence`."""
        stored = {entity.decode() for entity in self._client_of(config).zrange(_changed(config, view), 0, -1)}
        self.forget(config, view, sorted(stored - set(kept)), sequence)

    def forget(self, config: Any, view: str, entities: Sequence[str], sequence: int) -> None:
        """Remove the rows of these entities, but for those with pushes later than `sequence`."""
        client = self._client_of(config)
        for page in in_pages(entities, _ROWS_PER_ROUND):
            pipeline = client.pipeline(transaction=False)
            for entity in page:
                _queue(client, pipeline, _FORGET, _keys(config, view, entity), [view, entity, sequence])
            pipeline.execute()

    def erase(self, config: Any, views: Sequence[str], entities: Sequence[str]) -> int:
        """Remove all that is kept of entities, their names too; how many rows went. No reader with a copy is told.

        A push that read before this may still write after it: whoever needs to be sure asks once more.
        """
        client = self._client_of(config)
        erased = 0
        for entity in entities:
            for view in views:
                erased += int(client.hexists(_key(config, view, entity), view))
                client.zrem(_changed(config, view), entity)
            client.delete(*dict.fromkeys(_key(config, view, entity) for view in views))
        return erased

    def shares_keys(self, config: Any, other: Any, other_config: Any) -> bool:
        """Whether another address leads to the same keys: what is written there is found here."""
        key, told = f"{{{config.project}}}:told", secrets.token_hex()
        other._client_of(other_config).set(key, told, ex=_TOLD_S)
        return bool(self._client_of(config).get(key) == told.encode())

    # Feast's own reads all views of a request in one pipeline, out of fields that are not there.
    def _read_features_per_fv(self, *args: Any, **kwargs: Any) -> None:
        from feast.infra.online_stores.online_store import OnlineStore

        OnlineStore._read_features_per_fv(self, *args, **kwargs)

    def update(
        self,
        config: Any,
        tables_to_delete: Sequence[Any],
        tables_to_keep: Sequence[Any],
        entities_to_delete: Sequence[Any],
        entities_to_keep: Sequence[Any],
        partial: bool,
    ) -> None:
        """Nothing has to be made; views that are gone lose their rows, and so do keys without a hash tag."""
        for view in tables_to_keep:
            self._remove_untagged(config, view.name)
        self.drop(config, tables_to_delete)

    def remove_rows(self, config: Any, views: Sequence[Any]) -> None:
        """See `RowStore.remove_rows`."""
        for view in views:
            self.forget_others(config, view.name, [], 1 << 62)

    def remove_all(self, config: Any, views: Sequence[Any]) -> None:
        """Remove every key of the project."""
        client = self._client_of(config)
        for view in views:
            self.forget_others(config, view.name, [], 1 << 62)
            client.delete(_changed(config, view.name))
        client.delete(_counters(config))

    def _read(self, config: Any, view: str, entities: Sequence[str]) -> list[tuple[StoredRow | None, str]]:
        """Rows with their versions, "" where there is none."""
        pipeline = self._client_of(config).pipeline(transaction=False)
        for entity in entities:
            pipeline.hmget(_key(config, view, entity), [view, f"{view}:sketch", f"{view}:version"])
        found: list[tuple[StoredRow | None, str]] = []
        for entity, (served, sketch, version) in zip(entities, pipeline.execute(), strict=True):
            if version is None:
                found.append((None, ""))
            else:
                newest, n_events, sequence, _ = map(int, version.split())
                text = served if view in PACKED else served.decode()
                row = StoredRow(entity, text, sketch.decode(), newest, n_events, sequence)
                found.append((row, version.decode()))
        return found

    def _write(self, config: Any, view: str, rows: Sequence[tuple[StoredRow, str]], settled: int) -> list[bool]:
        """Which rows were written, or were rightly not; False where another one stands there than expected."""
        client = self._client_of(config)
        pipeline = client.pipeline(transaction=False)
        for row, version in rows:
            values = [
                view, row.entity, row.served, row.sketch, row.newest_us, row.n_events, row.sequence, version, settled,
            ]  # fmt: skip
            _queue(client, pipeline, _WRITE, _keys(config, view, row.entity), values)
        return [bool(written) for written in pipeline.execute()]

    def _remove_untagged(self, config: Any, view: str) -> None:
        """Remove what an earlier release kept under keys that Redis Cluster spreads over its nodes."""
        client, changed = self._client_of(config), f"{config.project}:changed:{view}"
        for page in in_pages(client.zrange(changed, 0, -1), _ROWS_PER_ROUND):
            pipeline = client.pipeline(transaction=False)
            for entity in page:
                pipeline.delete(f"{config.project}:{ENTITY[view]}:{entity.decode()}")
            pipeline.execute()
        client.delete(changed)
        client.delete(f"{config.project}:changes")

    def _client_of(self, config: Any) -> Any:
        # Of two clients that two threads made at once the first would be closed, in use, as the second takes its place.
        with self._opening:
            return self._get_client(config.online_store)

    def _get_client(self, online_store_config: Any) -> Any:
        """Feast's, which asks a server that is away three times more, and waits for ever for one that hangs."""
        from redis import Redis
        from redis.backoff import NoBackoff
        from redis.retry import Retry

        is_new = not self._client
        client = super()._get_client(online_store_config)
        if is_new and self.timeout_s is not None and isinstance(client, Redis):
            client.set_retry(Retry(NoBackoff(), 0))
        return client

    def _parse_connection_string(self, connection_string: str) -> Any:  # type: ignore[override]
        """Feast's, with limits of time where the address has none of its own."""
        nodes, parameters = RedisOnlineStore._parse_connection_string(connection_string)
        if self.timeout_s is not None:
            limits = {"socket_timeout": self.timeout_s, "socket_connect_timeout": self.timeout_s}
            parameters = {**limits, **parameters}
        return nodes, parameters


def _queue(client: Any, pipeline: Any, script: str, keys: Sequence[str], values: Sequence[Any]) -> None:
    """Add a script's run to a pipeline; one of Redis Cluster takes no digests of scripts."""
    from redis.cluster import RedisCluster

    if isinstance(client, RedisCluster):
        pipeline.execute_command("EVAL", script, len(keys), *keys, *values)
    else:
        client.register_script(script)(keys=keys, args=values, client=pipeline)


def _keys(config: Any, view: str, entity: str) -> list[str]:
    """What the scripts declare: the entity's hash, the counters of changes, the order of changes of the view."""
    return [_key(config, view, entity), _counters(config), _changed(config, view)]


def _key(config: Any, view: str, entity: str) -> str:
    return f"{{{config.project}}}:{ENTITY[view]}:{entity}"


def _counters(config: Any) -> str:
    return f"{{{config.project}}}:changes"


def _changed(config: Any, view: str) -> str:
    return f"{{{config.project}}}:changed:{view}"
