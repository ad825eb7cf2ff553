"""Point-in-time training set: `python -m benchmarks.training_set` prints seconds and peak memory beside their limits.

A million ratings are labelled with every feature of their user and item as of just before, histories and all.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from pathlib import Path

from benchmarks.feature_shop import write_clean_tables
from core.settings.evaluation import EvaluationSettings
from core.settings.features import FeatureSettings
from features.refresh import refresh_features
from features.training import build_training_set

LIMIT_S, LIMIT_GIB = 60.0, 4.0


def main(arguments: list[str] | None = None) -> None:
    """Run once, in a folder that goes away."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--labels", type=int, default=1_000_000, help="rated events: one label each")
    parser.add_argument("--users", type=int, default=100_000)
    parser.add_argument("--items", type=int, default=20_000)
    chosen = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as name:
        folder, settings = Path(name), FeatureSettings()
        write_clean_tables(
            folder / "clean", n_events=chosen.labels, n_users=chosen.users, n_items=chosen.items, rated_share=1.0
        )
        begin = time.perf_counter()
        refresh_features(folder / "clean", folder / "feast", settings)
        refresh_s = time.perf_counter() - begin
        begin = time.perf_counter()
        summary = build_training_set(
            folder / "clean", folder / "feast", folder / "training", settings, EvaluationSettings()
        )
        build_s = time.perf_counter() - begin
    peak_gib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"users {chosen.users:,}, items {chosen.items:,}, events {chosen.labels:,}; rows {summary.rows}")
    print(f"{'measure':<44}{'value':>10}{'limit':>10}")
    print(f"{'refresh of the feature store, s':<44}{refresh_s:>10.1f}{'-':>10}")
    print(f"{'point-in-time training set, s':<44}{build_s:>10.1f}{LIMIT_S:>10.0f}")
    print(f"{'peak memory of the process, GiB':<44}{peak_gib:>10.2f}{LIMIT_GIB:>10.0f}")


if __name__ == "__main__":
    main()
