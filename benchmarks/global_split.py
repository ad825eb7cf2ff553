"""The served model beside every baseline under the global time split: `python -m benchmarks.global_split --data PATH`.

The data go the product's own way: its reader, its data gate, its feature store, and the point-in-time training set of
its pipeline, with one cut-off for everyone. Fitted once per seed and judged on the test window over the whole
catalogue, seen items masked. Every baseline is tuned on the validation window. A difference is the served model's
figure minus the baseline's, per user and averaged over the seeds; its 95 % interval is by bootstrap over users, its
p-value by random signs.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from pathlib import Path
from typing import get_args

import numpy as np

from benchmarks.leave_one_out import fit_bundle
from core.schema import Split
from core.settings.evaluation import BaselineName
from core.settings.loading import load_settings
from core.settings.tree import Recipe
from features.refresh import refresh_features
from features.training import TrainingSummary, build_training_set
from recommender.bundle.loading import load_bundle
from recommender.evaluation.baselines import fit_baselines
from recommender.evaluation.evaluation import POPULARITY, SERVED, evaluate_bundle, parts_of
from recommender.evaluation.report import write_report
from recommender.fitting.context import FitContext
from recommender.inputs.queries import read_queries
from recommender.metrics.ranking import metric_key
from recommender.metrics.ranking_evaluation import RankingEvaluation, evaluate_ranker
from recommender.metrics.significance import bootstrap_interval, sign_flip_p_values
from recommender.metrics.top_k import Scores
from recommender.retrieval.popularity import PopularityRanker
from validation.gate import validate
from validation.sources.ingest import ingest

K = 10
COLUMNS = ("recall", "ndcg")
SEED_OF_INTERVALS = 0
# A mean over fewer says nothing.
MIN_COLD_USERS = 10


def main(arguments: list[str] | None = None) -> None:
    """Prepare once, then fit and judge once per seed."""
    chosen = _parser().parse_args(arguments)
    overrides = [f"recipe.source.kind={chosen.source}", f"recipe.source.path={chosen.data.resolve()}"]
    recipe = load_settings(overrides=[*overrides, *(f"recipe.{one}" for one in chosen.set)]).recipe
    names = chosen.baselines.split(",") if chosen.baselines else list(get_args(BaselineName))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        summary = prepare(folder, recipe)
        runs = [
            evaluate_seed(folder, recipe, seed, names, chosen.split, chosen.threads) for seed in range(chosen.seeds)
        ]
        if chosen.report is not None:
            report(folder, names, chosen.split, chosen.report)
        warm = read_queries(folder / "training", chosen.split).is_warm
    print(f"\n{chosen.data.name}: training before {summary.validation_at}, test from {summary.test_at}; {summary.rows}")
    print(f"{chosen.split}: {len(warm)} users, {int(warm.sum())} with a history; {chosen.seeds} seeds")
    print_table(runs, np.ones(len(warm), dtype=bool))
    if (~warm).sum() >= MIN_COLD_USERS:
        print(f"\nthe {int((~warm).sum())} users without a history:")
        print_table(runs, ~warm)


def prepare(folder: Path, recipe: Recipe) -> TrainingSummary:
    """From the source to `folder/training`, as the pipeline does it."""
    ingest(recipe.source, folder / "raw")
    validate(folder / "raw", folder / "clean", recipe.validation, folder / "docs")
    refresh_features(folder / "clean", folder / "feast", recipe.features)
    return build_training_set(
        folder / "clean", folder / "feast", folder / "training", recipe.features, recipe.evaluation
    )


def evaluate_seed(
    folder: Path, recipe: Recipe, seed: int, names: list[BaselineName], split: Split, threads: int
) -> dict[str, RankingEvaluation]:
    """Fit the product and the baselines with one seed; every ranker's judgement, the served one last."""
    recipe = recipe.model_copy(update={"seed": seed})
    fitted = fit_bundle(folder / "training", folder / f"seed-{seed}", recipe, seed, threads)
    bundle = load_bundle(fitted.bundle)
    vectors = bundle.ranker.vectors
    rankers: dict[str, Scores] = {
        POPULARITY: PopularityRanker(vectors),
        **fit_baselines(
            FitContext(folder / "training", recipe.seed, k=K, progress=print), names, fitted.bundle / "vectors", recipe
        ),
        **parts_of(bundle),
        SERVED: bundle.ranker,
    }
    queries = read_queries(folder / "training", split)
    return {name: evaluate_ranker(ranker, queries, K) for name, ranker in rankers.items()}


def report(folder: Path, names: list[BaselineName], split: Split, page: Path) -> None:
    """The evaluation report that the pipeline writes, of the first seed's bundle."""
    bundle = load_bundle(folder / "seed-0" / "bundle")
    users = folder / "clean" / "users.parquet"
    metrics = evaluate_bundle(bundle, folder / "training", K, split, baselines=names, users=users, progress=print)
    title = f"Evaluation on the {split} window"
    write_report(page, metrics, title=title, subtitle=f"bundle {bundle.manifest.digest[:12]}, seed 0")
    print(f"report: {page}")


def print_table(runs: list[dict[str, RankingEvaluation]], asked: np.ndarray) -> None:
    """A row per ranker; differences are the served one's.

    Args:
        asked: The queries that count. Shape (n_queries,), bool.
    """
    print(f"{'model':<20}{'R@10':>17}{'N@10':>17}{'N@10: served - this':>32}{'p':>9}")
    served = _mean_of(runs, SERVED, "ndcg")[asked]
    for name in runs[0]:
        cells = [_cell([float(run[name].per_query[metric][asked].mean()) for run in runs]) for metric in COLUMNS]
        line = f"{name:<20}{cells[0]:>17}{cells[1]:>17}"
        if name != SERVED:
            line += _difference(served - _mean_of(runs, name, "ndcg")[asked])
        print(line)
    print(f"served is '{SERVED}'; measured {metric_key('ndcg', K)} and {metric_key('recall', K)}, mean ± sd over seeds")


def _mean_of(runs: list[dict[str, RankingEvaluation]], name: str, metric: str) -> np.ndarray:
    """Per query, the mean over the seeds. Shape (n_queries,)."""
    mean: np.ndarray = np.mean([run[name].per_query[metric] for run in runs], axis=0)
    return mean


def _difference(by_query: np.ndarray) -> str:
    low, high = bootstrap_interval(by_query, SEED_OF_INTERVALS)
    p_value = float(sign_flip_p_values(by_query[:, None], SEED_OF_INTERVALS)[0])
    told = f"{by_query.mean():+.4f} [{low:+.4f}, {high:+.4f}]"
    return f"{told:>32}{p_value:>9.4f}"


def _cell(values: list[float]) -> str:
    spread = statistics.stdev(values) if len(values) > 1 else 0.0
    return f"{statistics.mean(values):.4f} ± {spread:.4f}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", default="amazon-2014", help="kind of source, as in the README")
    parser.add_argument("--data", type=Path, required=True, help="the source's file or folder")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--baselines", default="", help=f"of {','.join(get_args(BaselineName))}; all by default")
    parser.add_argument("--split", choices=("validation", "test"), default="test", help="the window that is judged")
    parser.add_argument(
        "--report", type=Path, help="write the evaluation report of the first seed's bundle here (HTML)"
    )
    parser.add_argument("--set", action="append", default=[], metavar="a.b=value", help="of the recipe")
    return parser


if __name__ == "__main__":
    main()
