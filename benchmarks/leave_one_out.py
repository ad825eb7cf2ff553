"""Leave-one-out ranking of one data set: `python -m benchmarks.leave_one_out --data FOLDER` prints R@10 and N@10.

The data go through the product's own reader and data gate; the models are the product's own fits. Per user the last
event is the test and the one before it the validation; the whole catalogue is ranked, seen items are masked.
strict: training sees neither. refit: as many epochs as strict chose, on all but the test event.
Published figures of other models stand in the last lines; those models were not run here.
"""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks.harness import options
from benchmarks.harness.datasets import open_dataset
from benchmarks.harness.models import Fits, K
from benchmarks.harness.tables import RANKING_COLUMNS, print_table, ranking_rows
from benchmarks.harness.timing import peak_gib
from recommender.bundle.loading import load_bundle
from recommender.evaluation.evaluation import evaluate_bundle
from recommender.metrics.ranking import metric_key

PUBLISHED = {"strict": ("DuoRec", 0.0845, 0.0443), "refit": ("eSASRec", 0.0928, 0.0523)}
# Of the blend on Amazon Beauty 2014.
LIMITS = {"strict": (0.095, 0.056), "refit": (0.110, 0.065)}
MAX_FIT_MINUTES, MAX_MEMORY_GIB = 15, 4


def main(arguments: list[str] | None = None) -> None:
    """Fit and evaluate once per seed."""
    parser = options.command(__doc__)
    options.add_source(parser)
    options.add_fits(parser)
    options.add_recipe(parser)
    parser.add_argument("--protocol", choices=("strict", "refit", "both"), default="both")
    chosen = options.parse(parser, arguments)
    recipe = options.recipe_of(chosen)
    results: dict[str, list[dict[str, Any]]] = {}
    with open_dataset(recipe, chosen.cache) as data:
        for seed in range(chosen.seeds):
            fits, fitted = Fits(recipe, seed, chosen.threads), data.work / f"strict-{seed}"
            strict = fit_apart(fits, data.leave_one_out("strict"), fitted)
            results.setdefault("strict", []).append(strict)
            if chosen.protocol != "strict":
                refit = fit_apart(fits, data.leave_one_out("refit"), data.work / f"refit-{seed}", fitted)
                results.setdefault("refit", []).append(refit)
    for protocol, runs in results.items():
        _print_results(protocol, runs, chosen.threads)


def fit_apart(fits: Fits, training: Path, folder: Path, strict: Path | None = None) -> dict[str, Any]:
    """`fit_and_evaluate` in a process of its own, as a flow runs it; with `peak_gib`, that process's peak memory."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        found = pool.submit(fit_and_evaluate, fits, training, folder, strict).result()
        peak = pool.submit(peak_gib).result()
    return {**found, "peak_gib": peak}


def fit_and_evaluate(fits: Fits, training: Path, folder: Path, strict: Path | None) -> dict[str, Any]:
    """Fit every part and evaluate the bundle on the test events.

    Returns:
        The evaluation's metrics, with `best_epoch` and `seconds` of all fits.
    """
    fitted = fits.fit_bundle(training, folder, strict)
    metrics = evaluate_bundle(load_bundle(fitted.bundle), training, K, baselines=())
    return {**metrics, "best_epoch": fitted.best_epoch, "seconds": fitted.seconds}


def _print_results(protocol: str, runs: list[dict[str, Any]], threads: int) -> None:
    print(f"\n{protocol} leave-one-out, {runs[0]['n_queries']['all']} users, {len(runs)} seeds")
    keys = [metric_key(metric, K) for metric in ("recall", "ndcg")]
    figures = {
        model: [(run["ranking"][model][keys[0]], run["ranking"][model][keys[1]]) for run in runs]
        for model in runs[0]["ranking"]
    }
    model, *published = PUBLISHED[protocol]
    beside = ([f"{model} (published)", *published], ["limit on Beauty", *LIMITS[protocol]])
    rows = [[str(label), *(f"{figure:.4f}" for figure in given)] for label, *given in beside]
    print_table(["model", *RANKING_COLUMNS], [*ranking_rows(figures), *rows])
    minutes = max(run["seconds"] for run in runs) / 60
    print(f"fits: {minutes:.1f} minutes for the slowest seed (limit {MAX_FIT_MINUTES}), {threads} threads")
    print(f"epochs chosen: {[run['best_epoch'] for run in runs]}")
    peak = max(run["peak_gib"] for run in runs)
    print(f"peak memory: {peak:.1f} GiB for the largest of the fits, evaluation included (limit {MAX_MEMORY_GIB})")


if __name__ == "__main__":
    main()
