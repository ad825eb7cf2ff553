"""One request's feature read: `python -m benchmarks.feature_read` prints p50 and p99 beside the bare store's.

A request reads a random user's row from the online store, and the features of 100 random candidate items from memory,
after asking the store whether an item changed. The bare store's client reads the same bytes: the texts of the user's
three rows and of the 100 items' rows, in one round trip, without parsing. And an event is pushed and read back at once.
"""

from __future__ import annotations

import argparse
import random
import sqlite3
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.harness import options
from benchmarks.harness.feature_shop import write_clean_tables
from benchmarks.harness.tables import print_table
from benchmarks.harness.timing import timed
from core.logs.events import Interaction
from core.settings.features import FeatureSettings, FeatureStoreSettings
from features.archive.publication import schema_name
from features.counting.views import ITEM_PROFILE, USER_HISTORY, USER_PROFILE, USER_SEEN
from features.feast.store import ONLINE_FILE, open_store
from features.online import OnlineFeatures
from features.refresh import refresh_features

LIMIT_READ_MS, LIMIT_RATIO, LIMIT_PUSH_MS = 1.0, 2.0, 5.0
N_CANDIDATES, N_WARM = 100, 50


def main(arguments: list[str] | None = None) -> None:
    """Run each store once, in a temporary folder."""
    parser = options.command(__doc__)
    parser.add_argument("--stores", nargs="+", choices=["sqlite", "redis"], default=["sqlite", "redis"])
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--pushes", type=int, default=300)
    parser.add_argument("--users", type=int, default=20_000)
    parser.add_argument("--items", type=int, default=20_000)
    chosen = parser.parse_args(arguments)
    for online in chosen.stores:
        with tempfile.TemporaryDirectory() as name:
            rows = _run(Path(name), online, chosen)
        print_table(["store and measure", "p50 ms", "p99 ms", "limit"], rows)


def _run(folder: Path, online: str, chosen: argparse.Namespace) -> list[list[str]]:
    settings, stores = FeatureSettings(), FeatureStoreSettings(online=online)  # type: ignore[arg-type]
    write_clean_tables(folder / "clean", n_events=300_000, n_users=chosen.users, n_items=chosen.items, rated_share=0.3)
    refresh_features(folder / "clean", folder / "feast", settings, stores)
    rng, features = random.Random(5), OnlineFeatures(folder / "feast", settings)
    users = [f"u{rng.randrange(chosen.users)}" for _ in range(chosen.requests + N_WARM)]
    items = [[f"i{rng.randrange(chosen.items)}" for _ in range(N_CANDIDATES)] for _ in users]
    ours = _times(lambda n: features.read(users[n], items[n]), len(users))
    bare_read = _bare_sqlite(folder) if online == "sqlite" else _bare_redis(folder, stores)
    bare = _times(lambda n: bare_read(users[n], items[n]), len(users))
    alone = _times(lambda n: bare_read(users[n], []), len(users))
    pushed = _times(lambda n: _push_and_read(features, n, rng.randrange(chosen.items)), chosen.pushes + N_WARM)
    if online == "redis":
        store = open_store(folder / "feast")
        store._get_provider().online_store.teardown(store.config, store.list_feature_views(), [])
    ratio = f"{_at(ours, 0.5) / _at(bare, 0.5):.2f}"
    return [
        _row(f"{online}: a request, user and {N_CANDIDATES} items", ours, f"p50 <= {LIMIT_READ_MS:g} ms"),
        _row(f"{online}: the bare store, the same bytes", bare),
        [f"{online}: ratio of the two, p50", ratio, "", f"<= {LIMIT_RATIO:g}"],
        _row(f"{online}: the bare store, the user's row alone", alone),
        _row(f"{online}: push of an event until it is read", pushed, f"<= {LIMIT_PUSH_MS:g} ms"),
    ]


def _push_and_read(features: OnlineFeatures, n: int, item: int) -> None:
    user_id, item_id = f"new{n % 20}", f"i{item}"
    at = datetime.now(UTC)
    features.push([Interaction(f"push{n}", user_id, item_id, "click", at)], [n + 1])
    state = features.read(user_id, [item_id], at).user
    assert state is not None
    assert state.items[-1] == item_id


def _bare_sqlite(folder: Path) -> Callable[[str, list[str]], Any]:
    connection = sqlite3.connect(folder / "feast" / ONLINE_FILE)

    def read(user: str, items: list[str]) -> Any:
        own = connection.execute(
            f"SELECT (SELECT served FROM {USER_HISTORY} WHERE entity = ?1), "
            f"(SELECT served FROM {USER_PROFILE} WHERE entity = ?1), "
            f"(SELECT served FROM {USER_SEEN} WHERE entity = ?1)",
            (user,),
        ).fetchone()
        marks = ",".join("?" * len(items))
        return own, connection.execute(f"SELECT served FROM {ITEM_PROFILE} WHERE entity IN ({marks})", items).fetchall()

    return read


def _bare_redis(folder: Path, stores: FeatureStoreSettings) -> Callable[[str, list[str]], Any]:
    from redis import Redis

    host, port = stores.redis.split(",")[0].split(":")
    client, project = Redis(host=host, port=int(port)), schema_name(folder / "feast")

    def read(user: str, items: list[str]) -> Any:
        pipeline = client.pipeline(transaction=False)
        pipeline.hmget(f"{project}:user_id:{user}", [USER_HISTORY, USER_PROFILE, USER_SEEN])
        for item in items:
            pipeline.hget(f"{project}:item_id:{item}", ITEM_PROFILE)
        return pipeline.execute()

    return read


def _times(step: Callable[[int], Any], n: int) -> list[float]:
    """Milliseconds of each step, ascending, without the warm-up."""
    found = [timed(lambda: step(number))[1] * 1000 for number in range(n)]  # noqa: B023
    return sorted(found[N_WARM:])


def _at(times: list[float], share: float) -> float:
    return times[int(share * (len(times) - 1))]


def _row(measure: str, times: list[float], limit: str = "") -> list[str]:
    return [measure, f"{_at(times, 0.5):.3f}", f"{_at(times, 0.99):.3f}", limit]


if __name__ == "__main__":
    main()
