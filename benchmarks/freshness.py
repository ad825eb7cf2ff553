"""What the refit gains: the promoted bundle against the one that was judged, on the month after.

`python -m benchmarks.freshness --source tables --data FOLDER`. For each of the newest months, the shop is taken as it
was when the month began: a bundle is fitted under the split, and fitted again on everything up to that moment with its
choices held, as the pipeline does before a promotion. Both rank the whole catalogue for whoever chose something new in
that month, histories as of its beginning. A difference is the refit's figure less the judged one's, per user; its 95 %
interval is by bootstrap over users, its p-value by random signs, over all months and seeds together.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from benchmarks.harness import options
from benchmarks.harness.datasets import Dataset, open_dataset
from benchmarks.harness.models import Fits, evaluate
from benchmarks.harness.tables import RANKING_COLUMNS, print_table
from core import schema
from core.settings.tree import Recipe
from recommender.bundle.loading import load_bundle
from recommender.inputs.queries import Queries, read_queries, sample_queries
from recommender.metrics.significance import bootstrap_interval, sign_flip_p_values

METRICS = ("recall", "ndcg")
SEED_OF_INTERVALS = 0


@dataclass(frozen=True)
class Month:
    """A month that is predicted from what came before it.

    Attributes:
        opens: Where it begins.
        judged: The training set of before, with its windows.
        everything: The training set of before, without windows.
        queries: Of those who chose something new in the month.
    """

    opens: datetime
    judged: Path
    everything: Path
    queries: Queries


def main(arguments: list[str] | None = None) -> None:
    """Fit, fit again and evaluate once per month and seed."""
    parser = options.command(__doc__)
    options.add_source(parser)
    options.add_fits(parser)
    options.add_recipe(parser)
    parser.add_argument("--days", type=int, default=30, help="length of a month (default: 30)")
    parser.add_argument("--months", type=int, default=3, help="the newest so many months (default: 3)")
    parser.add_argument("--users", type=int, default=0, help="keep only so many users, drawn at random; 0 keeps all")
    parser.add_argument("--queries", type=int, default=5000, help="at most so many users are asked a month")
    chosen = options.parse(parser, arguments)
    recipe = options.recipe_of(chosen)
    rows, differences = [], []
    with open_dataset(recipe, chosen.cache) as data:
        length = timedelta(days=chosen.days)
        clean = _sampled(data, chosen.users)
        for opens in newest_months(clean, chosen.months, length):
            month = read_month(data, clean, opens, length, chosen.queries)
            for seed in options.seeds_of(chosen):
                folder = data.work / f"{month.opens:%Y-%m-%d}-{seed}"
                found = compare(Fits(recipe, seed, chosen.threads).with_settings(seed=seed), month, folder)
                rows += [[f"{month.opens:%Y-%m-%d}, seed {seed}, {name}", *_means(one)] for name, one in found.items()]
                differences.append(found["refit"] - found["judged"])
    print_table(["month from, seed, bundle", *RANKING_COLUMNS], rows)
    print_gain(np.concatenate(differences))


def newest_months(clean: Path, n_months: int, length: timedelta) -> list[datetime]:
    """Where the newest whole months begin, oldest first."""
    newest = pc.max(pq.read_table(clean / "interactions.parquet")[schema.TIMESTAMP]).as_py().replace(tzinfo=UTC)
    return [newest - length * number for number in range(n_months, 0, -1)]


def compare(fits: Fits, month: Month, folder: Path) -> dict[str, np.ndarray]:
    """Recall and NDCG of the judged bundle and of its refit, for each query. Shapes (n_queries, 2)."""
    judged = fits.fit_bundle(month.judged, folder / "judged")
    refit = fits.fit_bundle(month.everything, folder / "refit", strict=folder / "judged")
    found = {}
    for name, fitted in (("judged", judged), ("refit", refit)):
        evaluated = evaluate(load_bundle(fitted.bundle).ranker, month.queries)
        found[name] = np.stack([evaluated.per_query[metric] for metric in METRICS], axis=1)
        print(f"{month.opens:%Y-%m-%d}, {name}: epoch {fitted.best_epoch}, {fitted.seconds:.0f} s of fits")
    return found


def print_gain(differences: np.ndarray) -> None:
    """Refit less judged, over all months and seeds. Shape (n, 2)."""
    for place, metric in enumerate(RANKING_COLUMNS):
        by_query = differences[:, place]
        low, high = bootstrap_interval(by_query, SEED_OF_INTERVALS)
        p_value = float(sign_flip_p_values(by_query[:, None], SEED_OF_INTERVALS)[0])
        print(
            f"{metric}: refit less judged {by_query.mean():+.4f} [{low:+.4f}, {high:+.4f}], p = {p_value:.4f}, "
            f"{len(by_query)} queries"
        )


def read_month(data: Dataset, clean: Path, opens: datetime, length: timedelta, n_queries: int) -> Month:
    """The training sets of before a month, and at most so many of its queries."""
    from features.refresh import refresh_features
    from features.training import build_queries, build_training_set

    recipe: Recipe = data.recipe
    folder = data.work / f"shop-{opens:%Y-%m-%d}"
    before, after = _until(clean, folder / "before", opens), _until(clean, folder / "after", opens + length)
    for shop in (before, after):
        refresh_features(shop, shop.with_name(f"{shop.name}-feast"), recipe.features)
    feast = folder / "before-feast"
    for name, windows in (("judged", recipe.evaluation), ("everything", None)):
        build_training_set(before, feast, folder / name, recipe.features, windows)
    asked = build_queries(after, folder / "after-feast", folder / "queries", recipe.features, opens)
    queries = sample_queries(read_queries(asked, "test"), n_queries, SEED_OF_INTERVALS)
    print(f"month from {opens:%Y-%m-%d}: {len(queries)} users, {int(queries.is_warm.sum())} with a history")
    return Month(opens, folder / "judged", folder / "everything", queries)


def _sampled(data: Dataset, n_users: int) -> Path:
    """The clean tables, with the events and reviews of so many users."""
    clean = data.clean_tables()
    if not n_users:
        return clean
    users = pc.unique(pq.read_table(clean / "interactions.parquet")[schema.USER_ID]).sort()
    places = np.random.default_rng(SEED_OF_INTERVALS).permutation(len(users))[:n_users]
    kept = users.take(pa.array(np.sort(places)))
    return _filtered(clean, data.work / "sampled", lambda table: pc.is_in(table[schema.USER_ID], value_set=kept))


def _until(clean: Path, target: Path, moment: datetime) -> Path:
    """The clean tables as of a moment: what happened before it."""

    def is_before(table: pa.Table) -> pa.Array:
        times = table[schema.TIMESTAMP]
        limit = moment if times.type.tz else moment.replace(tzinfo=None)
        return pc.less(times, pa.scalar(limit, times.type))

    return _filtered(clean, target, is_before)


def _filtered(clean: Path, target: Path, is_kept: Callable[[pa.Table], pa.Array]) -> Path:
    target.mkdir(parents=True)
    for path in clean.glob("*.parquet"):
        table = pq.read_table(path)
        has_time = schema.TIMESTAMP in table.column_names
        pq.write_table(table.filter(is_kept(table)) if has_time else table, target / path.name)
    return target


def _means(by_query: np.ndarray) -> list[str]:
    return [f"{value:.4f}" for value in by_query.mean(axis=0)]


if __name__ == "__main__":
    main()
