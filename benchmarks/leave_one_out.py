"""Leave-one-out ranking of one data set: `python -m benchmarks.leave_one_out --data FOLDER` prints R@10 and N@10.

FOLDER is read by the product's own reader of kind `tables` and judged by its own rules; the models are the product's
own fits. Per user the last event is the test and the one before it the validation; the whole catalogue is ranked, seen
items are masked. strict: training sees neither. refit: as many epochs as strict chose, on all but the test event.
Figures of other papers stand in the last lines; they were not run here.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import statistics
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.settings.loading import load_settings
from core.settings.models import NeighbourSettings
from core.settings.source import TablesSource
from core.settings.tree import Recipe
from recommender.bundle.assembly import assemble_bundle
from recommender.bundle.loading import load_bundle
from recommender.bundle.manifest import Component, DataRange
from recommender.evaluation.evaluation import evaluate_bundle
from recommender.fitting.component import SUMMARY
from recommender.fitting.context import FitContext
from recommender.inputs.item_vectors import ItemVectors
from recommender.inputs.protocols import LeaveOneOut, write_leave_one_out
from recommender.ranking.blend import Blend, ColdItems
from recommender.ranking.blend_training import fit_blend
from recommender.retrieval.sequence.fit import fit_sequence
from recommender.retrieval.sequence.model import load_sequence_model
from recommender.retrieval.text.embedding import embed_catalogue
from validation.gate import validate
from validation.sources.ingest import ingest

K = 10
PUBLISHED = {"strict": ("DuoRec", 0.0845, 0.0443), "refit": ("eSASRec", 0.0928, 0.0523)}
# Of the blend on Amazon Beauty 2014.
LIMITS = {"strict": (0.095, 0.056), "refit": (0.110, 0.065)}
MAX_FIT_MINUTES, MAX_MEMORY_GIB = 15, 4


def main(arguments: list[str] | None = None) -> None:
    """Read, then fit and judge once per seed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--protocol", choices=("strict", "refit", "both"), default="both")
    parser.add_argument("--set", action="append", default=[], metavar="a.b=value", help="of the recipe")
    chosen = parser.parse_args(arguments)
    recipe = _recipe(chosen.set)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        ingest(TablesSource(path=chosen.data), folder / "raw")
        validate(folder / "raw", folder / "clean", recipe.validation, folder / "docs")
        results: dict[str, list[dict[str, Any]]] = {}
        for seed in range(chosen.seeds):
            strict = fit_apart(folder, "strict", recipe, seed, chosen.threads)
            results.setdefault("strict", []).append(strict)
            if chosen.protocol != "strict":
                again = recipe.sequence.model_copy(update={"max_epochs": strict["best_epoch"], "patience": 1000})
                refit = recipe.model_copy(update={"sequence": again})
                refitted = fit_apart(folder, "refit", refit, seed, chosen.threads)
                results.setdefault("refit", []).append(refitted)
        for protocol, runs in results.items():
            _print_table(protocol, runs, chosen.threads)


@dataclass(frozen=True)
class Fitted:
    """A bundle that was fitted for a benchmark, and what that took."""

    bundle: Path
    parts: dict[Component, Path]
    best_epoch: int
    seconds: float


def fit_apart(folder: Path, protocol: LeaveOneOut, recipe: Recipe, seed: int, threads: int) -> dict[str, Any]:
    """`fit_and_judge` in a process of its own, as a flow runs it; with `peak_gib`, that process's peak memory."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        judged = pool.submit(fit_and_judge, folder, protocol, recipe, seed, threads).result()
        peak_gib = pool.submit(_peak_gib).result()
    return {**judged, "peak_gib": peak_gib}


def _peak_gib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def fit_and_judge(folder: Path, protocol: LeaveOneOut, recipe: Recipe, seed: int, threads: int) -> dict[str, Any]:
    """Fit every part with one seed and judge the bundle on the test events.

    Returns:
        What `evaluate_bundle` returns, with `best_epoch` and `seconds` of all fits.
    """
    training = folder / protocol
    if not training.is_dir():
        write_leave_one_out(folder / "clean", training, protocol)
    strict = folder / f"strict-{seed}" if protocol == "refit" else None
    fitted = fit_bundle(training, folder / f"{protocol}-{seed}", recipe, seed, threads, strict)
    judged = evaluate_bundle(load_bundle(fitted.bundle), training, K, baselines=())
    return {**judged, "best_epoch": fitted.best_epoch, "seconds": fitted.seconds}


def fit_bundle(
    training: Path, folder: Path, recipe: Recipe, seed: int, threads: int, strict: Path | None = None
) -> Fitted:
    """Fit every part that ranks with one seed, and put them into a bundle.

    Args:
        folder: Where parts and bundle go.
        strict: The folder of the fits under strict, whose choices are taken over.
    """
    parts: dict[Component, Path] = {
        "vectors": folder / "vectors",
        "sequence": folder / "sequence",
        "blend": folder / "blend",
    }
    started = time.perf_counter()
    fit = FitContext(training, seed, K, threads, print)
    embed_catalogue(fit, parts["vectors"], recipe.encoder)
    history = recipe.features.max_history
    summary = fit_sequence(fit, parts["vectors"], parts["sequence"], recipe.sequence, history)
    neighbours = recipe.neighbours if strict is None else _neighbours_as_before(recipe.neighbours, strict)
    fit_blend(fit, parts["vectors"], parts["sequence"], parts["blend"], neighbours, recipe.blend)
    if strict is not None:
        _choose_as_before(parts, strict)
    seconds = time.perf_counter() - started
    data = DataRange(fingerprint="", first_event_at="", last_event_at="", validation_at="", test_at="", rows={})
    target = folder / "bundle"
    assemble_bundle(target, shop="benchmark", recipe=recipe, data=data, components=parts, code_version="")
    return Fitted(target, parts, summary.best_epoch, seconds)


def _neighbours_as_before(settings: NeighbourSettings, strict: Path) -> NeighbourSettings:
    """The regularisation that was chosen under strict, and no other."""
    chosen = json.loads((strict / "blend" / SUMMARY).read_text(encoding="utf-8"))["metrics"]["regularisation"]
    return settings.model_copy(update={"regularisation": chosen, "try_regularisations": ()})


def _choose_as_before(parts: dict[Component, Path], strict: Path) -> None:
    """Take over what was chosen under strict: the validation events are no judges any more once they were learned."""
    before = load_sequence_model(strict / "sequence", ItemVectors.load(strict / "vectors"))
    model = load_sequence_model(parts["sequence"], ItemVectors.load(parts["vectors"]))
    model.popularity_weight.fill_(before.popularity_weight)
    model.save(parts["sequence"])
    Blend.load(strict / "blend").save(parts["blend"])
    ColdItems.load(strict / "blend").save(parts["blend"])


def _recipe(overrides: list[str]) -> Recipe:
    return load_settings(overrides=[f"recipe.{one}" for one in overrides]).recipe


def _print_table(protocol: str, runs: list[dict[str, Any]], threads: int) -> None:
    print(f"\n{protocol} leave-one-out, {runs[0]['n_queries']['all']} users, {len(runs)} seeds")
    print(f"{'model':<16}{'R@10':>18}{'N@10':>18}")
    for model in runs[0]["ranking"]:
        cells = []
        for metric in (f"recall_at_{K}", f"ndcg_at_{K}"):
            values = [run["ranking"][model][metric] for run in runs]
            spread = statistics.stdev(values) if len(values) > 1 else 0.0
            cells.append(f"{statistics.mean(values):.4f} ± {spread:.4f}")
        print(f"{model:<16}{cells[0]:>18}{cells[1]:>18}")
    name, recall, ndcg = PUBLISHED[protocol]
    print(f"{name + ' (published)':<20}{recall:>14.4f}{ndcg:>18.4f}")
    recall, ndcg = LIMITS[protocol]
    print(f"{'limit on Beauty':<20}{recall:>14.4f}{ndcg:>18.4f}")
    minutes = max(run["seconds"] for run in runs) / 60
    print(f"fits: {minutes:.1f} minutes for the slowest seed (limit {MAX_FIT_MINUTES}), {threads} threads")
    print(f"epochs chosen: {[run['best_epoch'] for run in runs]}")
    peak = max(run["peak_gib"] for run in runs)
    print(f"peak memory: {peak:.1f} GiB for the largest of the fits, judging included (limit {MAX_MEMORY_GIB})")


if __name__ == "__main__":
    main()
