"""The served model beside every baseline under the global time split: `python -m benchmarks.global_split --data PATH`.

The data go the product's own way: its reader, its data gate, its feature store, and the point-in-time training set of
its pipeline, with one cut-off for everyone. Every model is fitted once per seed and evaluated on the test window over
the whole catalogue, seen items masked. Every baseline is tuned on the validation window. A difference is the served
model's figure minus the baseline's, per user and averaged over the seeds; its 95 % interval is by bootstrap over users,
its p-value by random signs.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks.harness import options
from benchmarks.harness.datasets import Dataset, open_dataset
from benchmarks.harness.models import Fits, K, evaluate
from benchmarks.harness.tables import RANKING_COLUMNS, mean_and_deviation, print_table
from core.schema import Split
from core.settings.evaluation import BaselineName
from recommender.bundle.loading import load_bundle
from recommender.evaluation.baselines import fit_baselines
from recommender.evaluation.evaluation import POPULARITY, SERVED, evaluate_bundle, parts_of
from recommender.evaluation.report import write_report
from recommender.inputs.queries import read_queries
from recommender.metrics.ranking import metric_key
from recommender.metrics.ranking_evaluation import RankingEvaluation
from recommender.metrics.significance import bootstrap_interval, sign_flip_p_values
from recommender.metrics.top_k import Scores
from recommender.retrieval.popularity import PopularityRanker

METRICS = ("recall", "ndcg")
SEED_OF_INTERVALS = 0
# A mean over fewer users says nothing.
MIN_COLD_USERS = 10


def main(arguments: list[str] | None = None) -> None:
    """Prepare once, then fit and evaluate once per seed."""
    parser = options.command(__doc__)
    options.add_source(parser, kind="amazon-2014")
    options.add_fits(parser)
    options.add_recipe(parser)
    options.add_baselines(parser)
    parser.add_argument("--split", choices=("validation", "test"), default="test", help="the evaluated window")
    parser.add_argument("--report", type=Path, help="write the first seed's evaluation report to this HTML file")
    chosen = options.parse(parser, arguments)
    recipe = options.recipe_of(chosen)
    with open_dataset(recipe, chosen.cache) as data:
        training, summary = data.time_split()
        runs = []
        for seed in options.seeds_of(chosen):
            fits = Fits(recipe, seed, chosen.threads)
            runs.append(evaluate_seed(fits, training, _fitted(data, seed), chosen.baselines, chosen.split))
            found = {name: f"{run.per_query['ndcg'].mean():.4f}" for name, run in runs[-1].items()}
            print(f"seed {seed}, N@{K} of each model: {found}", flush=True)
        warm = read_queries(training, chosen.split).is_warm
        named = chosen.data or chosen.settings
        name = named.name if named is not None else chosen.source
        print(f"\n{name}: training before {summary.validation_at}, test from {summary.test_at}; {summary.rows}")
        print(f"{chosen.split}: {len(warm)} users, {int(warm.sum())} with a history; {chosen.seeds} seeds")
        print_results(runs, np.ones(len(warm), dtype=bool))
        if (~warm).sum() >= MIN_COLD_USERS:
            print(f"\nthe {int((~warm).sum())} users without a history:")
            print_results(runs, ~warm)
        if chosen.report is not None:
            report(data, chosen.first_seed, chosen.baselines, chosen.split, chosen.report)


def evaluate_seed(
    fits: Fits, training: Path, folder: Path, names: list[BaselineName], split: Split
) -> dict[str, RankingEvaluation]:
    """Fit the product and the baselines with one seed; every ranker's figures, the served one last."""
    fits = fits.with_settings(seed=fits.seed)
    bundle = load_bundle(fits.fit_bundle(training, folder).bundle)
    vectors = bundle.ranker.vectors
    rankers: dict[str, Scores] = {
        POPULARITY: PopularityRanker(vectors),
        **fit_baselines(fits.context(training), names, folder / "bundle" / "vectors", fits.recipe),
        **parts_of(bundle),
        SERVED: bundle.ranker,
    }
    queries = read_queries(training, split)
    return {name: evaluate(ranker, queries) for name, ranker in rankers.items()}


def _fitted(data: Dataset, seed: int) -> Path:
    return data.work / f"seed-{seed}"


def report(data: Dataset, seed: int, names: list[BaselineName], split: Split, page: Path) -> None:
    """The evaluation report that the pipeline writes, of this seed's bundle."""
    bundle = load_bundle(_fitted(data, seed) / "bundle")
    training, _ = data.time_split()
    clean = data.clean_tables()
    metrics = evaluate_bundle(bundle, training, K, split, baselines=names, clean=clean, progress=print)
    title = f"Evaluation on the {split} window"
    write_report(page, metrics, title=title, subtitle=f"bundle {bundle.manifest.digest[:12]}, seed {seed}")
    print(f"report: {page}")


def print_results(runs: list[dict[str, RankingEvaluation]], counted: np.ndarray) -> None:
    """A row per ranker; differences are the served one's.

    Args:
        runs: The figures of every ranker, per seed.
        counted: The queries that count. Shape (n_queries,), bool.
    """
    served = _mean_of(runs, SERVED, "ndcg")[counted]
    rows = []
    for name in runs[0]:
        cells = [
            mean_and_deviation([float(run[name].per_query[metric][counted].mean()) for run in runs])
            for metric in METRICS
        ]
        less = served - _mean_of(runs, name, "ndcg")[counted]
        rows.append([name, *cells, *(_difference(less) if name != SERVED else ("", ""))])
    print_table(["model", *RANKING_COLUMNS, "N@10: served - this", "p"], rows)
    print(f"served is '{SERVED}'; measured {metric_key('ndcg', K)} and {metric_key('recall', K)}, mean ± sd over seeds")


def _mean_of(runs: list[dict[str, RankingEvaluation]], name: str, metric: str) -> np.ndarray:
    """Per query, the mean over the seeds. Shape (n_queries,)."""
    mean: np.ndarray = np.mean([run[name].per_query[metric] for run in runs], axis=0)
    return mean


def _difference(by_query: np.ndarray) -> tuple[str, str]:
    """The mean with its interval, and the p-value."""
    low, high = bootstrap_interval(by_query, SEED_OF_INTERVALS)
    p_value = float(sign_flip_p_values(by_query[:, None], SEED_OF_INTERVALS)[0])
    return f"{by_query.mean():+.4f} [{low:+.4f}, {high:+.4f}]", f"{p_value:.4f}"


if __name__ == "__main__":
    main()
