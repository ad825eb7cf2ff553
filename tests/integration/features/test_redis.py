"""The online store in Redis, by settings alone; skipped where no Redis answers."""

from __future__ import annotations

import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from core.logs.events import Interaction
from core.settings.features import FeatureSettings, FeatureStoreSettings
from features import refresh
from features.archive.publication import require_published, schema_name
from features.counting.sketches import new_user
from features.counting.views import USER_HISTORY
from features.errors import FeastFailure, FeatureError, StoreEmptied
from features.feast.rows import StoredRow
from features.feast.store import ONLINE_FILE, open_store
from features.online import OnlineFeatures
from features.refresh import online_store_of, refresh_features
from tests.integration.features.servers import redis_client, settings
from tests.integration.features.superseding import check_superseding
from tests.unit.features.shops import START, Row, write_shop

SETTINGS = FeatureSettings(max_history=3)
LATER = START + timedelta(days=2)
LOG = [Row("u", "a", 0, 5.0), Row("u", "b", 1), Row("v", "c", 3, 4.0), Row("w", "a", 4, event="click")]
ITEMS = [{"item_id": item, "brand": "Acme", "price": 2.5} for item in "abcd"]


@pytest.fixture(scope="module")
def client() -> Any:
    found = redis_client()
    if found is None:
        pytest.skip("no Redis answers")
    return found


@pytest.fixture
def clean(tmp_path: Path) -> Path:
    return write_shop(tmp_path / "clean", LOG, items=ITEMS)


@pytest.fixture
def feast(client: Any, clean: Path, tmp_path: Path) -> Iterator[Path]:
    """A refreshed store, whose keys go away again."""
    folder = tmp_path / "feast"
    summary = refresh_features(clean, folder, SETTINGS, settings(online="redis"))
    assert summary.rebuilt
    yield folder
    store = open_store(folder)
    online_store_of(store).teardown(store.config, store.list_feature_views(), [])
    assert not list(client.scan_iter(f"*{schema_name(folder)}*"))


def events(n: int) -> list[Interaction]:
    return [Interaction(f"p{k}", "u", "abcd"[k % 4], "view", START + timedelta(seconds=30 - k)) for k in range(n)]


def test_redis_serves_what_sqlite_does(feast: Path, clean: Path, tmp_path: Path) -> None:
    assert not (feast / ONLINE_FILE).exists()
    refresh_features(clean, tmp_path / "sqlite", SETTINGS)
    here, there = OnlineFeatures(feast, SETTINGS), OnlineFeatures(tmp_path / "sqlite", SETTINGS)
    for step in range(2):
        for user in ("u", "v", "w", "nobody"):
            ours, theirs = here.read(user, list("abcdz"), LATER), there.read(user, list("abcdz"), LATER)
            assert ours.user == theirs.user
            assert repr(ours) == repr(theirs)
        if step == 0:
            for online in (here, there):
                online.push(events(6), range(1, 7))
                online.push(events(6), range(1, 7))
    store = open_store(feast)
    own = store.get_online_features([f"{USER_HISTORY}:n_events"], {"user_id": ["u", "nobody"]}).to_dict()
    assert own["n_events"] == [8, None]


def test_a_refresh_adds_what_is_new_and_drops_what_is_gone(feast: Path, tmp_path: Path) -> None:
    online = OnlineFeatures(feast, SETTINGS)
    more = write_shop(tmp_path / "clean", [*LOG, Row("v", "d", 9)], items=ITEMS)
    summary = refresh_features(more, feast, SETTINGS, settings(online="redis"))
    assert (summary.new_events, summary.rebuilt) == (1, False)
    state = online.read_user("v")
    assert state is not None
    assert state.items == ("c", "d")
    assert list(online.read_items(["d"])["item_n_events"]) == [1]
    fewer = write_shop(tmp_path / "clean", LOG[:2], items=ITEMS)
    assert refresh_features(fewer, feast, SETTINGS, settings(online="redis")).rebuilt
    assert online.read_user("v") is None
    assert online.read_user("u") is not None


def test_a_redis_that_came_back_empty_is_no_shop_without_users(feast: Path, clean: Path, client: Any) -> None:
    """Readers and pushes say so, and the next refresh, of the same tables, fills it again."""
    long_there, pushing = OnlineFeatures(feast, SETTINGS), OnlineFeatures(feast, SETTINGS)
    before = long_there.read("u", list("abcd"), LATER)
    assert not refresh_features(clean, feast, SETTINGS, settings(online="redis")).rebuilt, "nothing is new"
    pushing.push(events(6), range(1, 7))
    client.delete(*client.scan_iter(f"*{schema_name(feast)}*"))
    for reader in (long_there, OnlineFeatures(feast, SETTINGS)):
        with pytest.raises(StoreEmptied, match="it was emptied since the last refresh"):
            reader.read_user("u")
    with pytest.raises(StoreEmptied):
        pushing.push(events(6), range(1, 7))
    assert not list(client.scan_iter(f"*{schema_name(feast)}*")), "and writes nothing"
    assert refresh_features(clean, feast, SETTINGS, settings(online="redis")).rebuilt
    for reader in (long_there, OnlineFeatures(feast, SETTINGS)):
        assert repr(reader.read("u", list("abcd"), LATER)) == repr(before)


def test_a_refresh_that_rebuilds_a_whole_store_keeps_the_number_of_its_filling(feast: Path, tmp_path: Path) -> None:
    first = require_published(feast).filling
    assert first > 0
    fewer = write_shop(tmp_path / "clean", LOG[:2], items=ITEMS)
    assert refresh_features(fewer, feast, SETTINGS, settings(online="redis")).rebuilt
    assert require_published(feast).filling == first


def test_a_refresh_that_is_cut_short_leaves_an_emptied_store_empty_to_readers(
    feast: Path, clean: Path, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    client.delete(*client.scan_iter(f"*{schema_name(feast)}*"))
    monkeypatch.setattr(refresh, "_note_filling", lambda *_: 1 / 0)
    with pytest.raises(FeastFailure):
        refresh_features(clean, feast, SETTINGS, settings(online="redis"))
    with pytest.raises(StoreEmptied):
        OnlineFeatures(feast, SETTINGS).read_user("u")
    monkeypatch.undo()
    assert refresh_features(clean, feast, SETTINGS, settings(online="redis")).rebuilt
    assert OnlineFeatures(feast, SETTINGS).read_user("u") is not None


def test_a_redis_that_is_emptied_while_news_are_added_is_filled_again(
    feast: Path, client: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = require_published(feast).filling
    with monkeypatch.context() as patched:
        emptied = empty_before_a_view(patched, client, feast)
        more = write_shop(tmp_path / "clean", [*LOG, Row("v", "d", 9)], items=ITEMS)
        assert refresh_features(more, feast, SETTINGS, settings(online="redis")).rebuilt
        assert emptied == [True]
    assert require_published(feast).filling > first
    assert OnlineFeatures(feast, SETTINGS).read_user("u") is not None, "of whom there is no news"


def test_one_that_is_emptied_between_the_look_at_it_and_the_news_is_filled_again(
    feast: Path, client: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def look_then_empty(self: Any, previous: Any) -> bool:
        found = is_filled(self, previous)
        client.delete(*client.scan_iter(f"*{schema_name(feast)}*"))
        return found

    is_filled = refresh._Refresh._is_filled
    monkeypatch.setattr(refresh._Refresh, "_is_filled", look_then_empty)
    more = write_shop(tmp_path / "clean", [*LOG, Row("v", "d", 9)], items=ITEMS)
    assert refresh_features(more, feast, SETTINGS, settings(online="redis")).rebuilt
    assert OnlineFeatures(feast, SETTINGS).read_user("u") is not None


@pytest.mark.parametrize("was_filled", [True, False])
def test_a_redis_that_is_emptied_while_it_is_rebuilt_is_not_taken_for_whole(
    feast: Path, client: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, was_filled: bool
) -> None:
    if not was_filled:
        client.delete(*client.scan_iter(f"*{schema_name(feast)}*"))
    fewer = write_shop(tmp_path / "clean", LOG[:3], items=ITEMS)
    with monkeypatch.context() as patched:
        emptied = empty_before_a_view(patched, client, feast, n_views=2)
        with pytest.raises(StoreEmptied, match="it was emptied while the refresh wrote into it"):
            refresh_features(fewer, feast, SETTINGS, settings(online="redis"))
        assert emptied == [True]
    with pytest.raises(StoreEmptied):
        OnlineFeatures(feast, SETTINGS).read_user("u")
    assert refresh_features(fewer, feast, SETTINGS, settings(online="redis")).rebuilt
    assert OnlineFeatures(feast, SETTINGS).read_user("u") is not None


def empty_before_a_view(patched: pytest.MonkeyPatch, client: Any, feast: Path, n_views: int = 1) -> list[bool]:
    """Have a refresh lose the store once, as it comes to write the n-th view; whether it did."""
    emptied, written = list[bool](), list[str]()
    write_online = refresh.write_online

    def empty_then_write(store: Any, facts: Any, view: str, entities: Any) -> None:
        written.append(view)
        if len(written) == n_views and not emptied:
            client.delete(*client.scan_iter(f"*{schema_name(feast)}*"))
            emptied.append(True)
        write_online(store, facts, view, entities)

    patched.setattr(refresh, "write_online", empty_then_write)
    return emptied


def test_a_stored_row_is_replaced_only_by_one_that_holds_as_much(feast: Path) -> None:
    check_superseding(feast)


def test_merges_at_once_are_done_again_until_none_is_lost(feast: Path) -> None:
    store = open_store(feast)
    online = online_store_of(store)

    def count(_: int) -> None:
        def merge(entity: str, old: StoredRow | None, _: int) -> StoredRow:
            row = {**new_user(), "log_sequence": 0} if old is None else old.facts(USER_HISTORY)
            return StoredRow.of(USER_HISTORY, entity, {**row, "n_views": row["n_views"] + 1})

        online.update_rows(store.config, USER_HISTORY, ["z"], merge)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(count, range(40)))
    (row,) = online.read_rows(store.config, USER_HISTORY, ["z"])
    assert row.facts(USER_HISTORY)["n_views"] == 40


def test_threads_that_come_at_once_share_one_client(feast: Path) -> None:
    store = open_store(feast)
    online = online_store_of(store)
    start = threading.Barrier(8)

    def client(_: int) -> int:
        start.wait()
        return id(online._client_of(store.config))

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(client, range(8)))) == 1


def test_a_server_that_is_away_is_named(clean: Path, tmp_path: Path) -> None:
    away = FeatureStoreSettings(online="redis", redis="127.0.0.1:1")
    with pytest.raises(FeastFailure, match="ConnectionError"):
        refresh_features(clean, tmp_path / "feast", SETTINGS, away)


def test_a_password_comes_from_the_environment_alone(
    client: Any, clean: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stores = FeatureStoreSettings(online="redis", redis="127.0.0.1:${SHOP_REDIS_PORT}")
    with pytest.raises(FeatureError, match=r"\${SHOP_REDIS_PORT} is not set, expected a variable of the environment"):
        refresh_features(clean, tmp_path / "feast", SETTINGS, stores)
    monkeypatch.setenv("SHOP_REDIS_PORT", "6379")
    refresh_features(clean, tmp_path / "feast", SETTINGS, stores)
    assert "${SHOP_REDIS_PORT}" in (tmp_path / "feast" / "feature_store.yaml").read_text(encoding="utf-8")
    assert OnlineFeatures(tmp_path / "feast", SETTINGS).read_user("u") is not None
    store = open_store(tmp_path / "feast")
    online_store_of(store).teardown(store.config, store.list_feature_views(), [])


def test_a_push_that_comes_between_is_not_lost_with_the_row(feast: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Deciding that an entity is gone and removing its row is one step within Redis."""
    store = open_store(feast)
    online = online_store_of(store)

    def write(entity: str, sequence: int) -> None:
        row = StoredRow.of(USER_HISTORY, entity, {**new_user(), "log_sequence": sequence})
        online.write_rows(store.config, USER_HISTORY, [row])

    def stored(entity: str) -> bool:
        return online.read_rows(store.config, USER_HISTORY, [entity]) != [None]

    read, pushed = online._read, []

    def read_then_push(config: Any, view: str, entities: Any) -> Any:
        found = read(config, view, entities)
        pushed.append(write("z", 9))
        return found

    write("z", 3)
    with monkeypatch.context() as patched:
        patched.setattr(online, "_read", read_then_push)
        online.forget_others(store.config, USER_HISTORY, ["u", "v", "w"], 5)
    assert stored("z") == bool(pushed)
    write("y", 9)
    online.forget(store.config, USER_HISTORY, ["y"], 5)
    assert stored("y")
    online.forget(store.config, USER_HISTORY, ["y"], 9)
    assert not stored("y")


def test_an_entity_without_a_row_takes_no_event_that_is_settled(feast: Path) -> None:
    """What the data gate refused, and a refresh took out, a late push does not bring back."""
    online = OnlineFeatures(feast, SETTINGS)
    store = open_store(feast)
    online_store_of(store).settle(store.config, 1)
    late = [Interaction("p1", "new", "a", "view", START), Interaction("p2", "newer", "a", "view", START)]
    online.push(late, [1, 2])
    assert online.read_user("new") is None
    assert online.read_user("newer") is not None


def test_all_keys_of_a_script_share_the_shops_hash_tag(feast: Path, client: Any) -> None:
    """Redis Cluster runs a script only where all its keys lie on one node."""
    from redis.crc import key_slot

    keys = list(client.scan_iter(f"*{open_store(feast).config.project}*"))
    assert len(keys) > 4
    assert len({key_slot(key) for key in keys}) == 1


def test_the_store_works_on_redis_cluster(clean: Path, tmp_path: Path) -> None:
    """One node with all slots refuses what a cluster of many does: keys of two slots in one script."""
    server = shutil.which("redis-server")
    if server is None:
        pytest.skip("no redis-server on the path")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    if port > 55_000:  # the cluster's own port is 10000 higher
        port -= 10_000
    options = ["--port", str(port), "--cluster-enabled", "yes", "--save", "", "--bind", "127.0.0.1"]
    node = subprocess.Popen([server, *options], cwd=tmp_path, stdout=subprocess.DEVNULL)
    try:
        _serve_all_slots(port)
        address = f"127.0.0.1:{port},127.0.0.1:{port}"
        feast = tmp_path / "feast"
        stores = FeatureStoreSettings(online="redis", redis=address)
        assert refresh_features(clean, feast, SETTINGS, stores).rebuilt
        online = OnlineFeatures(feast, SETTINGS)
        online.push(events(3), [1, 2, 3])
        state = online.read_user("u")
        assert state is not None
        assert state.features["n_events"] == 5
        assert list(online.read_items(["c"])["item_n_events"]) == [2]
        assert refresh_features(write_shop(tmp_path / "clean", LOG[:2], items=ITEMS), feast, SETTINGS, stores).rebuilt
        assert online.read_user("v") is None
    finally:
        node.terminate()
        node.wait()


def _serve_all_slots(port: int) -> None:
    from redis import Redis
    from redis.exceptions import RedisError

    node = Redis(port=port)
    for _ in range(200):
        try:
            if node.execute_command("CLUSTER INFO").get("cluster_state") == "ok":
                return
            node.execute_command("CLUSTER ADDSLOTSRANGE", 0, 16383)
        except RedisError:  # not up yet, or the slots are served already and the state follows
            pass
        time.sleep(0.05)
    raise AssertionError("the cluster did not start")
