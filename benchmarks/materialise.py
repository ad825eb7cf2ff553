"""Materialisation: `python -m benchmarks.materialise` prints rows/s into SQLite beside their limit.

Every user's newest row is counted from the events and written online. The file is new, and then the same rows are
written over.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

from benchmarks.feature_shop import write_clean_tables
from core.settings.features import FeatureSettings, FeatureStoreSettings
from features.archive.shop_facts import load_published
from features.counting.views import USER_HISTORY
from features.feast.definitions import define_repository
from features.feast.store import ONLINE_FILE, create_store
from features.refresh import refresh_features, write_online

LIMIT_ROWS_PER_S = 10_000
N_NEW = 1000


def main(arguments: list[str] | None = None) -> None:
    """Run once, in a folder that goes away."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--users", type=int, default=100_000)
    parser.add_argument("--events", type=int, default=1_000_000)
    chosen = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_clean_tables(
            folder / "clean", n_events=chosen.events, n_users=chosen.users, n_items=20_000, rated_share=0.3
        )
        refresh_features(folder / "clean", folder / "feast", FeatureSettings())
        for path in (folder / "feast").glob(f"{ONLINE_FILE}*"):
            path.unlink()
        _, facts = load_published(folder / "feast")
        users = facts.entities(USER_HISTORY)
        store = create_store(folder / "feast")
        store.apply(define_repository(folder / "feast", FeatureStoreSettings()))
        print(f"users {len(users):,}, events {chosen.events:,}")
        print(f"{'measure':<44}{'rows/s':>10}{'limit':>10}")
        for measure in ("counted and written into a new file", "counted and written over themselves"):
            begin = time.perf_counter()
            write_online(store, facts, USER_HISTORY, users)
            rate = len(users) / (time.perf_counter() - begin)
            print(f"{measure:<44}{rate:>10,.0f}{LIMIT_ROWS_PER_S:>10,}")
        _refresh_with_news(folder)


def _refresh_with_news(folder: Path) -> None:
    """What a refresh takes that has a thousand new events, beside one that builds everything anew."""
    import duckdb

    path = folder / "clean" / "interactions.parquet"
    with duckdb.connect() as database:
        database.execute(
            f"COPY (FROM '{path}' UNION ALL SELECT * REPLACE ('new' || event_id AS event_id) FROM '{path}' "
            f"USING SAMPLE {N_NEW} ROWS) TO '{folder / 'more.parquet'}' (FORMAT parquet)"
        )
    (folder / "more.parquet").replace(path)
    begin = time.perf_counter()
    summary = refresh_features(folder / "clean", folder / "feast", FeatureSettings())
    added_s = time.perf_counter() - begin
    begin = time.perf_counter()
    refresh_features(folder / "clean", folder / "feast", FeatureSettings(n_affinities=2))
    rebuilt_s = time.perf_counter() - begin
    print(f"refresh with {summary.new_events:,} new events: {added_s:.1f} s; a full rebuild: {rebuilt_s:.1f} s")


if __name__ == "__main__":
    main()
