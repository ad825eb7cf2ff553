"""What the refit gains: the promoted bundle against the one that was judged, on the month after.

`python -m benchmarks.freshness --source tables --data FOLDER`. For each of the newest months, the shop is taken as it
was when the month began: a bundle is fitted under the split, and fitted again on everything up to that moment with its
choices held, as the pipeline does before a promotion. Both rank the whole catalogue for whoever chose something new in
that month, histories as of its beginning. A difference is the refit's figure less the judged one's, per query, over all
months and seeds together; its 95 % interval is by bootstrap over users and its p-value by random signs of users, each
with the queries of all months and seeds.
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import numpy as np

from benchmarks.freshness.months import Month, command, newest_months, read_month, sampled
from benchmarks.harness import options
from benchmarks.harness.by_user import ByUser
from benchmarks.harness.datasets import open_dataset
from benchmarks.harness.models import Fits, evaluate
from benchmarks.harness.tables import RANKING_COLUMNS, print_table
from recommender.bundle.loading import load_bundle

METRICS = ("recall", "ndcg")


def main(arguments: list[str] | None = None) -> None:
    """Fit, fit again and evaluate once per month and seed."""
    parser = command(__doc__, 3)
    chosen = options.parse(parser, arguments)
    recipe = options.recipe_of(chosen)
    rows: list[list[str]] = []
    users: list[str] = []
    differences = []
    with open_dataset(recipe, chosen.cache) as data:
        length = timedelta(days=chosen.days)
        clean = sampled(data, chosen.users)
        for opens in newest_months(clean, chosen.months, length):
            month = read_month(data, clean, opens, length, chosen.queries)
            for seed in options.seeds_of(chosen):
                folder = data.work / f"{month.opens:%Y-%m-%d}-{seed}"
                found = compare(Fits(recipe, seed, chosen.threads).with_settings(seed=seed), month, folder)
                rows += [[f"{month.opens:%Y-%m-%d}, seed {seed}, {name}", *_means(one)] for name, one in found.items()]
                users += month.queries.user_ids
                differences.append(found["refit"] - found["judged"])
    print_table(["month from, seed, bundle", *RANKING_COLUMNS], rows)
    print_gain(ByUser.of(users, np.concatenate(differences)))


def compare(fits: Fits, month: Month, folder: Path) -> dict[str, np.ndarray]:
    """Recall and NDCG of the judged bundle and of its refit, for each query. Shapes (n_queries, 2)."""
    judged = fits.fit_bundle(month.judged.folder, folder / "judged")
    refit = fits.fit_bundle(month.everything.folder, folder / "refit", strict=folder / "judged")
    found = {}
    for name, fitted in (("judged", judged), ("refit", refit)):
        evaluated = evaluate(load_bundle(fitted.bundle).ranker, month.queries)
        found[name] = np.stack([evaluated.per_query[metric] for metric in METRICS], axis=1)
        print(f"{month.opens:%Y-%m-%d}, {name}: epoch {fitted.best_epoch}, {fitted.seconds:.0f} s of fits")
    return found


def print_gain(differences: ByUser) -> None:
    """Refit less judged, over all months and seeds; columns as `METRICS`."""
    n_users, n_queries = len(differences.sums), int(differences.counts[:, 0].sum())
    for place, metric in enumerate(RANKING_COLUMNS):
        low, high = differences.interval(place)
        print(
            f"{metric}: refit less judged {differences.means[place]:+.4f} [{low:+.4f}, {high:+.4f}], "
            f"p = {differences.p_value(place):.4f}, {n_queries} queries of {n_users} users"
        )


def _means(by_query: np.ndarray) -> list[str]:
    return [f"{value:.4f}" for value in by_query.mean(axis=0)]


if __name__ == "__main__":
    main()
