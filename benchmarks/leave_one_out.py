"""Leave-one-out ranking of one data set: `python -m benchmarks.leave_one_out --data FOLDER` prints R@10 and N@10.

The data go through the product's own reader and data gate; the models are the product's own fits. Per user the last
event is the test and the one before it the validation; the whole catalogue is ranked, seen items are masked.
strict: training sees neither. refit: as many epochs as strict chose, on all but the test event.
`bsarec` is the recipe of BSARec: the sequence model's blocks and training on item ids alone, full softmax, no blend.
Published figures of other models stand in the last lines; those models were not run here.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks.harness import options
from benchmarks.harness.datasets import open_dataset
from benchmarks.harness.models import Fits, K, recall_and_ndcg
from benchmarks.harness.tables import RANKING_COLUMNS, print_table, ranking_rows
from benchmarks.harness.timing import peak_gib, timed
from recommender.bundle.loading import load_bundle
from recommender.evaluation.evaluation import evaluate_bundle
from recommender.inputs.queries import read_queries
from recommender.metrics.ranking import metric_key

# Of Shin et al. 2024 for Amazon Beauty, with our averaged weights: they reach in half the epochs what the last do.
BSAREC = {
    "width": 64, "n_blocks": 2, "n_heads": 1, "filter_share": 0.7, "filter_frequencies": 3, "dropout": 0.5,
    "use_ids": True, "use_text": False, "use_modality": False, "id_dropout": 0.0, "n_negatives": 0,
    "popularity_weights": (0.0,), "learning_rate": 1e-3, "batch_size": 256, "n_seeds": 1,
}  # fmt: skip
# Of Amazon Beauty 2014: item ids alone under strict; eSASRec under refit.
PUBLISHED = {
    "strict": [("WEARec", 0.1041, 0.0614), ("BSARec", 0.1008, 0.0611)],
    "refit": [("eSASRec", 0.0928, 0.0523)],
}
# Of the blend on Amazon Beauty 2014.
LIMITS = {"strict": (0.115, 0.067), "refit": (0.128, 0.076)}
MAX_FIT_MINUTES, MAX_MEMORY_GIB = 20, 4
ROWS = ("ours", "bsarec")


def main(arguments: list[str] | None = None) -> None:
    """Fit and evaluate once per seed."""
    parser = options.command(__doc__)
    options.add_source(parser)
    options.add_fits(parser)
    options.add_recipe(parser)
    parser.add_argument("--protocol", choices=("strict", "refit", "both"), default="both")
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS), help="what is fitted (default: both)")
    chosen = options.parse(parser, arguments)
    recipe = options.recipe_of(chosen)
    results: dict[str, list[dict[str, Any]]] = {}
    with open_dataset(recipe, chosen.cache) as data:
        for seed in options.seeds_of(chosen):
            fits, fitted = Fits(recipe, seed, chosen.threads), data.work / f"strict-{seed}"
            strict = fit_apart(fits, data.leave_one_out("strict"), fitted, rows=chosen.rows)
            results.setdefault("strict", []).append(strict)
            if chosen.protocol != "strict":
                folder = data.work / f"refit-{seed}"
                refit = fit_apart(fits, data.leave_one_out("refit"), folder, fitted, rows=chosen.rows)
                results.setdefault("refit", []).append(refit)
            for protocol, runs in results.items():
                found = ", ".join(f"{model} {of[0]:.4f} / {of[1]:.4f}" for model, of in _figures(runs[-1]).items())
                print(f"seed {seed}, {protocol}, R@{K} / N@{K}: {found}", flush=True)
    for protocol, runs in results.items():
        _print_results(protocol, runs, chosen.threads)


def fit_apart(
    fits: Fits, training: Path, folder: Path, strict: Path | None = None, *, rows: Sequence[str]
) -> dict[str, Any]:
    """Fit and evaluate in processes of their own, as a flow runs them; with `peak_gib`, the peak memory of ours."""
    with _process() as process:
        found = process.submit(fit_and_evaluate, fits, training, folder, strict, "ours" in rows).result()
        peak = process.submit(peak_gib).result()
    if "bsarec" in rows:
        with _process() as process:
            found["ranking"]["bsarec"] = process.submit(evaluate_bsarec, fits, training, folder, strict).result()
    return {**found, "peak_gib": peak}


def _process() -> ProcessPoolExecutor:
    return ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"))


def fit_and_evaluate(fits: Fits, training: Path, folder: Path, strict: Path | None, ours: bool) -> dict[str, Any]:
    """Fit every part and evaluate the bundle on the test events; embed the catalogue alone where it is not asked for.

    Returns:
        The evaluation's metrics, with `best_epoch` and `seconds` of all fits.
    """
    if not ours:
        n_users = len(read_queries(training, "test"))
        _, seconds = timed(lambda: fits.embed(training, folder / "vectors"))
        return {"ranking": {}, "n_queries": {"all": n_users}, "best_epoch": 0, "seconds": seconds}
    fitted = fits.fit_bundle(training, folder, strict)
    metrics = evaluate_bundle(load_bundle(fitted.bundle), training, K, baselines=())
    return {**metrics, "best_epoch": fitted.best_epoch, "seconds": fitted.seconds}


def evaluate_bsarec(fits: Fits, training: Path, folder: Path, strict: Path | None) -> dict[str, float]:
    """Fit BSARec's recipe beside the bundle's parts and evaluate it on the test events."""
    recipe = fits.with_settings(sequence=fits.recipe.sequence.model_copy(update=BSAREC))
    held = None if strict is None else strict / "bsarec"
    ranker, _ = recipe.sequence_ranker(training, folder / "vectors", folder / "bsarec", held)
    recall, ndcg = recall_and_ndcg(ranker, read_queries(training, "test"))
    return {metric_key("recall", K): recall, metric_key("ndcg", K): ndcg}


def _figures(run: dict[str, Any]) -> dict[str, tuple[float, float]]:
    keys = [metric_key(metric, K) for metric in ("recall", "ndcg")]
    return {model: (ranking[keys[0]], ranking[keys[1]]) for model, ranking in run["ranking"].items()}


def _print_results(protocol: str, runs: list[dict[str, Any]], threads: int) -> None:
    print(f"\n{protocol} leave-one-out, {runs[0]['n_queries']['all']} users, {len(runs)} seeds")
    found = [_figures(run) for run in runs]
    figures = {model: [one[model] for one in found] for model in found[0]}
    published = [(f"{model} (published)", *given) for model, *given in PUBLISHED[protocol]]
    beside = (*published, ("limit on Beauty", *LIMITS[protocol]))
    rows = [[str(label), *(f"{figure:.4f}" for figure in given)] for label, *given in beside]
    print_table(["model", *RANKING_COLUMNS], [*ranking_rows(figures), *rows])
    minutes = max(run["seconds"] for run in runs) / 60
    print(f"fits: {minutes:.1f} minutes for the slowest seed (limit {MAX_FIT_MINUTES}), {threads} threads")
    print(f"epochs chosen: {[run['best_epoch'] for run in runs]}")
    peak = max(run["peak_gib"] for run in runs)
    print(f"peak memory: {peak:.1f} GiB for the largest of the fits, evaluation included (limit {MAX_MEMORY_GIB})")


if __name__ == "__main__":
    main()
