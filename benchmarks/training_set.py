"""Point-in-time training set: `python -m benchmarks.training_set` prints seconds and peak memory beside their limits.

A million ratings are labelled with every feature of their user and item as of just before, histories and all.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from benchmarks.harness import options
from benchmarks.harness.feature_shop import write_clean_tables
from benchmarks.harness.tables import print_table
from benchmarks.harness.timing import peak_gib, timed
from core.settings.evaluation import EvaluationSettings
from core.settings.features import FeatureSettings
from features.refresh import refresh_features
from features.training import build_training_set

LIMIT_S, LIMIT_GIB = 60.0, 4.0


def main(arguments: list[str] | None = None) -> None:
    """Run once, in a temporary folder."""
    parser = options.command(__doc__)
    parser.add_argument("--labels", type=int, default=1_000_000, help="rated events: one label each")
    parser.add_argument("--users", type=int, default=100_000)
    parser.add_argument("--items", type=int, default=20_000)
    chosen = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as name:
        folder, settings = Path(name), FeatureSettings()
        write_clean_tables(
            folder / "clean", n_events=chosen.labels, n_users=chosen.users, n_items=chosen.items, rated_share=1.0
        )
        clean, feast = folder / "clean", folder / "feast"
        _, refresh_s = timed(lambda: refresh_features(clean, feast, settings))
        evaluation = EvaluationSettings()
        summary, build_s = timed(lambda: build_training_set(clean, feast, folder / "training", settings, evaluation))
    print(f"users {chosen.users:,}, items {chosen.items:,}, events {chosen.labels:,}; rows {summary.rows}")
    rows = [
        ["refresh of the feature store, s", f"{refresh_s:.1f}", "-"],
        ["point-in-time training set, s", f"{build_s:.1f}", f"{LIMIT_S:.0f}"],
        ["peak memory of the process, GiB", f"{peak_gib():.2f}", f"{LIMIT_GIB:.0f}"],
    ]
    print_table(["measure", "value", "limit"], rows)


if __name__ == "__main__":
    main()
