"""Leave-one-out ranking of one data set: `python -m benchmarks.leave_one_out --data FOLDER` prints R@10 and N@10.

FOLDER is read by the product's own reader of kind `tables` and judged by its own rules; the models are the product's
own fits. Per user the last event is the test and the one before it the validation; the whole catalogue is ranked, seen
items are masked. strict: training sees neither. refit: as many epochs as strict chose, on all but the test event.
Figures of other papers stand in the last lines; they were not run here.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from recommender import schema
from recommender.blend import Blend
from recommender.blend_training import fit_blend
from recommender.bundle import DataRange, assemble_bundle, load_bundle
from recommender.evaluation import judge_bundle
from recommender.fine_tune import embed_catalogue, fit_sequence
from recommender.item_vectors import ItemVectors
from recommender.sequence_model import load_sequence_model
from recommender.settings import Recipe, load_settings
from recommender.source_settings import TablesSource
from recommender.texts import item_text
from validation.checkpoint import validate
from validation.ingest import ingest

K = 10
MAX_ITEM_CHARS = 400
THREADS = 2
PUBLISHED = {"strict": ("DuoRec", 0.0845, 0.0443), "refit": ("eSASRec", 0.0928, 0.0523)}


def main(arguments: list[str] | None = None) -> None:
    """Read, then fit and judge once per seed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3)
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
            strict = fit_and_judge(folder, "strict", recipe, seed)
            results.setdefault("strict", []).append(strict)
            if chosen.protocol != "strict":
                again = recipe.sequence.model_copy(update={"max_epochs": strict["best_epoch"], "patience": 1000})
                refit = recipe.model_copy(update={"sequence": again})
                results.setdefault("refit", []).append(fit_and_judge(folder, "refit", refit, seed))
        for protocol, runs in results.items():
            _print_table(protocol, runs)


def fit_and_judge(folder: Path, protocol: str, recipe: Recipe, seed: int) -> dict[str, Any]:
    """Fit every part with one seed and judge the bundle on the test events.

    Returns:
        What `judge_bundle` returns, with `best_epoch` and `seconds` of all fits.
    """
    training = folder / protocol
    if not training.is_dir():
        write_training_set(folder / "clean", training, protocol)
    parts = {name: folder / f"{protocol}-{seed}" / name for name in ("vectors", "sequence", "blend")}
    started = time.perf_counter()
    embed_catalogue(training, parts["vectors"], recipe.encoder, seed, print, THREADS)
    summary = fit_sequence(training, parts["vectors"], parts["sequence"], recipe.sequence, 50, K, seed, THREADS, print)
    given = (training, parts["vectors"], parts["sequence"], parts["blend"], recipe.neighbours, recipe.blend)
    fit_blend(*given, K, seed, THREADS, print)
    if protocol == "refit":
        _choose_as_before(parts, folder / f"strict-{seed}")
    seconds = time.perf_counter() - started
    data = DataRange(fingerprint="", first_event_at="", last_event_at="", validation_at="", test_at="", rows={})
    target = folder / f"{protocol}-{seed}" / "bundle"
    assemble_bundle(target, shop="benchmark", recipe=recipe, data=data, components=parts, code_version="")
    judged = judge_bundle(load_bundle(target), training, K)
    return {**judged, "best_epoch": summary.best_epoch, "seconds": seconds}


def _choose_as_before(parts: dict[str, Path], strict: Path) -> None:
    """Take over what was chosen under strict: the validation events are no judges any more once they were learned."""
    text = ItemVectors.load(parts["vectors"]).text
    before = load_sequence_model(strict / "sequence", ItemVectors.load(strict / "vectors").text)
    model = load_sequence_model(parts["sequence"], text)
    model.popularity_weight.fill_(before.popularity_weight)
    model.save(parts["sequence"])
    Blend.load(strict / "blend").save(parts["blend"])


def write_training_set(clean: Path, target: Path, protocol: str) -> None:
    """The training set of a leave-one-out protocol from clean tables.

    Under refit the validation event is in the training sequences too.
    """
    rows = pq.read_table(clean / "interactions.parquet").sort_by(
        [(schema.USER_ID, "ascending"), (schema.TIMESTAMP, "ascending"), (schema.POSITION, "ascending")]
    )
    histories: dict[str, list[str]] = {}
    for user, item in zip(rows[schema.USER_ID].to_pylist(), rows[schema.ITEM_ID].to_pylist(), strict=True):
        histories.setdefault(user, []).append(item)
    learned = {user: items[: -2 if protocol == "strict" else -1] for user, items in histories.items()}
    sequences = [_history(user, items) for user, items in learned.items()]
    queries = [
        {**_history(user, items[:-left_out]), schema.SPLIT: split, schema.TARGETS: [items[-left_out]]}
        for user, items in histories.items()
        for split, left_out in (("validation", 2), ("test", 1))
    ]
    counts: dict[str, int] = {}
    for items in learned.values():
        for item in items:
            counts[item] = counts.get(item, 0) + 1
    catalogue = [_catalogue_row(row, counts) for row in pq.read_table(clean / "items.parquet").to_pylist()]
    target.mkdir()
    for name, table in (("sequences", sequences), ("queries", queries), ("catalogue", catalogue)):
        pq.write_table(pa.Table.from_pylist(table, schema=schema.TRAINING_TABLES[name]), target / f"{name}.parquet")


def _catalogue_row(row: dict[str, Any], counts: dict[str, int]) -> dict[str, Any]:
    words = [row[name] for name in (schema.TITLE, schema.BRAND, schema.CATEGORY, schema.DESCRIPTION)]
    known = {name: row[name] for name in (schema.ITEM_ID, schema.TITLE, schema.CATEGORY, schema.BRAND, schema.PRICE)}
    return {
        **known,
        schema.ITEM_TEXT: item_text(*words, [], MAX_ITEM_CHARS),
        schema.ITEM_N_EVENTS: counts.get(row[schema.ITEM_ID], 0),
        schema.ITEM_N_RATINGS: 0,
    }


def _history(user: str, items: list[str]) -> dict[str, Any]:
    return {schema.USER_ID: user, schema.HISTORY_ITEMS: items, schema.HISTORY_VALUES: [None] * len(items)}


def _recipe(overrides: list[str]) -> Recipe:
    return load_settings(overrides=[f"recipe.{one}" for one in overrides]).recipe


def _print_table(protocol: str, runs: list[dict[str, Any]]) -> None:
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
    print(
        f"fits: {statistics.mean(run['seconds'] for run in runs):.0f} s a seed, epochs "
        f"{[run['best_epoch'] for run in runs]}"
    )


if __name__ == "__main__":
    main()
