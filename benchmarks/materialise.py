"""Materialisation: `python -m benchmarks.materialise` prints rows/s into SQLite beside their limit.

Every user's newest row is counted from the events and written to the online store: into a new file, and then over the
same rows.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from benchmarks.harness import options
from benchmarks.harness.feature_shop import write_clean_tables
from benchmarks.harness.tables import print_table
from benchmarks.harness.timing import timed
from core.settings.features import FeatureSettings, FeatureStoreSettings
from core.sql import literal
from features.archive.shop_facts import load_published
from features.counting.views import USER_HISTORY
from features.feast.definitions import define_repository
from features.feast.store import ONLINE_FILE, create_store
from features.refresh import refresh_features, write_online

LIMIT_ROWS_PER_S = 10_000
N_NEW = 1000


def main(arguments: list[str] | None = None) -> None:
    """Run once, in a temporary folder."""
    parser = options.command(__doc__)
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
        rows = []
        for measure in ("counted and written into a new file", "counted and written over the same rows"):
            _, seconds = timed(lambda: write_online(store, facts, USER_HISTORY, users))
            rows.append([measure, f"{len(users) / seconds:,.0f}", f"{LIMIT_ROWS_PER_S:,}"])
        print_table(["measure", "rows/s", "limit"], rows)
        _refresh_with_more(folder)


def _refresh_with_more(folder: Path) -> None:
    """Time a refresh with a thousand new events beside one that rebuilds everything."""
    import duckdb

    path = folder / "clean" / "interactions.parquet"
    with duckdb.connect() as database:
        database.execute(
            f"COPY (FROM {literal(str(path))} UNION ALL "
            f"SELECT * REPLACE ('new' || event_id AS event_id) FROM {literal(str(path))} "
            f"USING SAMPLE {N_NEW} ROWS) TO {literal(str(folder / 'more.parquet'))} (FORMAT parquet)"
        )
    (folder / "more.parquet").replace(path)
    clean, feast = folder / "clean", folder / "feast"
    summary, added_s = timed(lambda: refresh_features(clean, feast, FeatureSettings()))
    _, rebuilt_s = timed(lambda: refresh_features(clean, feast, FeatureSettings(n_affinities=2)))
    print(f"refresh with {summary.new_events:,} new events: {added_s:.1f} s; a full rebuild: {rebuilt_s:.1f} s")


if __name__ == "__main__":
    main()
