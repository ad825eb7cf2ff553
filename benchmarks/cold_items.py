"""Cold start: `python -m benchmarks.cold_items --data FOLDER` prints recall and NDCG on items and users never seen.

FOLDER is read by the product's own reader of kind `tables` and split by strict leave-one-out. A share of the items
loses every event of its own, in training, in the validation events and in all histories; the catalogue keeps their
texts. A share of the users is left out of training and validation. Then the test events on held-out items are ranked,
once among the held-out items and once among the whole catalogue; and those of held-out users, with their history given
and without any.
Bars: on held-out items the served model's R@10 is ten times that of popularity and of chance, and no lower than that
of the frozen text encoder.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.leave_one_out import fit_bundle
from core import schema
from core.settings.loading import load_settings
from core.settings.source import TablesSource
from recommender.bundle.loading import load_bundle
from recommender.evaluation.evaluation import SERVED, parts_of
from recommender.inputs.ids import IdMap
from recommender.inputs.protocols import write_leave_one_out
from recommender.inputs.queries import Queries
from recommender.inputs.user import UserState
from recommender.metrics.ranking_evaluation import evaluate_ranker
from recommender.metrics.top_k import Scores, mask_seen
from recommender.retrieval.popularity import PopularityRanker
from validation.gate import validate
from validation.sources.ingest import ingest

K = 10
FROZEN = "text_encoder"
AMONG_COLD, AMONG_ALL = "held-out items, among themselves", "held-out items, in the whole catalogue"


@dataclass(frozen=True)
class HeldOut:
    """What training never saw, and the questions about it.

    Attributes:
        items: Ids of the held-out items.
        queries: What is asked, by the name that it has in the table.
    """

    items: frozenset[str]
    queries: dict[str, Queries]


class RandomRanker:
    """Every user gets the items in a random order."""

    def __init__(self, ids: IdMap, seed: int) -> None:
        self.ids = ids
        self._generator = np.random.default_rng(seed)

    def scores(self, users: Sequence[UserState]) -> np.ndarray:
        """Shape (B, n_items), float32."""
        return mask_seen(self._generator.random((len(users), len(self.ids)), dtype=np.float32), users, self.ids)


class Among:
    """A ranker whose lists hold some items only."""

    def __init__(self, ranker: Scores, items: frozenset[str]) -> None:
        self.ids, self._ranker = ranker.ids, ranker
        self._others = np.array([item not in items for item in ranker.ids], dtype=bool)

    def scores(self, users: Sequence[UserState]) -> np.ndarray:
        """The ranker's scores, -inf for all other items. Shape (B, n_items), float32."""
        scores = self._ranker.scores(users)
        scores[:, self._others] = -np.inf
        return scores


def main(arguments: list[str] | None = None) -> None:
    """Read, then hold out, fit and judge once per seed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--share", type=float, default=0.05, help="of the items, and of the users, that is held out")
    parser.add_argument("--set", action="append", default=[], metavar="a.b=value", help="of the recipe")
    chosen = parser.parse_args(arguments)
    recipe = load_settings(overrides=[f"recipe.{one}" for one in chosen.set]).recipe
    runs = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        ingest(TablesSource(path=chosen.data), folder / "raw")
        validate(folder / "raw", folder / "clean", recipe.validation, folder / "docs")
        write_leave_one_out(folder / "clean", folder / "strict", "strict")
        for seed in range(chosen.seeds):
            held_out = hold_out(folder / "strict", folder / f"cold-{seed}", chosen.share, seed)
            fitted = fit_bundle(folder / f"cold-{seed}", folder / f"fits-{seed}", recipe, seed, chosen.threads)
            runs.append(evaluate_cold(fitted.bundle, held_out, seed))
    print_table(runs, chosen.share)


def hold_out(strict: Path, target: Path, share: float, seed: int) -> HeldOut:
    """Write a strict training set without some items' events and without some users."""
    catalogue, sequences, queries = (
        pq.read_table(strict / f"{name}.parquet").to_pylist() for name in ("catalogue", "sequences", "queries")
    )
    generator = np.random.default_rng(seed)
    items = _sample([row[schema.ITEM_ID] for row in catalogue if row[schema.ITEM_TEXT]], share, generator)
    users = _sample([row[schema.USER_ID] for row in sequences], share, generator)
    learned = [_without(row, items) for row in sequences if row[schema.USER_ID] not in users]
    counts: dict[str, int] = {}
    for row in learned:
        for item in row[schema.HISTORY_ITEMS]:
            counts[item] = counts.get(item, 0) + 1
    for row in catalogue:
        row[schema.ITEM_N_EVENTS] = counts.get(row[schema.ITEM_ID], 0)
    asked = [_without(row, items) for row in queries]
    validation = [
        row
        for row in asked
        if row[schema.SPLIT] == "validation"
        and row[schema.USER_ID] not in users
        and row[schema.TARGETS][0] not in items
    ]
    test = [row for row in asked if row[schema.SPLIT] == "test"]
    target.mkdir(parents=True)
    for name, rows in (("catalogue", catalogue), ("sequences", learned), ("queries", validation)):
        table = pa.Table.from_pylist(rows, schema=schema.TRAINING_TABLES[name])
        pq.write_table(table, target / f"{name}.parquet")
    on_cold = _queries([row for row in test if row[schema.TARGETS][0] in items and row[schema.HISTORY_ITEMS]])
    strangers = _queries([row for row in test if row[schema.USER_ID] in users and row[schema.TARGETS][0] not in items])
    nobody = Queries(tuple(UserState() for _ in strangers.users), strangers.targets)
    return HeldOut(
        items,
        {
            AMONG_COLD: on_cold,
            AMONG_ALL: on_cold,
            "held-out users, history given": strangers,
            "held-out users, without a history": nobody,
        },
    )


def evaluate_cold(bundle: Path, held_out: HeldOut, seed: int) -> dict[str, dict[str, dict[str, float]]]:
    """Recall and NDCG: question to ranker to metric."""
    loaded = load_bundle(bundle)
    vectors = loaded.ranker.vectors
    rankers: dict[str, Scores] = {
        "random": RandomRanker(vectors.ids, seed),
        "popularity": PopularityRanker(vectors),
        **parts_of(loaded),
        SERVED: loaded.ranker,
    }
    table: dict[str, dict[str, dict[str, float]]] = {}
    for question, queries in held_out.queries.items():
        table[question] = {"": {"n": float(len(queries))}}
        for name, ranker in rankers.items():
            asked = Among(ranker, held_out.items) if question == AMONG_COLD else ranker
            summary = evaluate_ranker(asked, queries, K).summary()
            table[question][name] = {key: summary[f"{key}_at_{K}"] for key in ("recall", "ndcg")}
    return table


def print_table(runs: list[dict[str, dict[str, dict[str, float]]]], share: float) -> None:
    """Means and standard deviations over the seeds, and the bars."""
    for question in runs[0]:
        n = statistics.mean(run[question][""]["n"] for run in runs)
        print(f"\n{question}: {share:.0%} held out, {n:.0f} test events, {len(runs)} seeds")
        print(f"{'model':<26}{'R@10':>18}{'N@10':>18}")
        for model in runs[0][question]:
            if model and all(model in run[question] for run in runs):
                cells = [_cell([run[question][model][metric] for run in runs]) for metric in ("recall", "ndcg")]
                print(f"{model:<26}{cells[0]:>18}{cells[1]:>18}")
        if question in (AMONG_COLD, AMONG_ALL):
            recall = {
                model: statistics.mean(run[question][model]["recall"] for run in runs)
                for model in ("random", "popularity", FROZEN, SERVED)
            }
            chance = max(recall["random"], recall["popularity"])
            print(f"bar: {SERVED} {recall[SERVED]:.4f} >= 10 x popularity or chance = {10 * chance:.4f}")
            print(f"bar: {SERVED} {recall[SERVED]:.4f} >= {FROZEN} = {recall[FROZEN]:.4f}")


def _cell(values: list[float]) -> str:
    spread = statistics.stdev(values) if len(values) > 1 else 0.0
    return f"{statistics.mean(values):.4f} ± {spread:.4f}"


def _sample(names: list[str], share: float, generator: np.random.Generator) -> frozenset[str]:
    ordered = sorted(set(names))
    chosen = generator.choice(len(ordered), max(round(len(ordered) * share), 1), replace=False)
    return frozenset(ordered[place] for place in chosen)


def _without(row: dict, items: frozenset[str]) -> dict:
    kept = [item for item in row[schema.HISTORY_ITEMS] if item not in items]
    return {**row, schema.HISTORY_ITEMS: kept, schema.HISTORY_VALUES: [None] * len(kept)}


def _queries(rows: list[dict]) -> Queries:
    return Queries(
        tuple(UserState.from_history(row[schema.HISTORY_ITEMS]) for row in rows),
        tuple(tuple(row[schema.TARGETS]) for row in rows),
    )


if __name__ == "__main__":
    main()
