"""Cold start: `python -m benchmarks.cold_items --data FOLDER` prints recall and NDCG on items and users never seen.

The data go through the product's own reader and data gate, and are split by strict leave-one-out. A share of the items
loses all of its events: in training, in the validation events and in every history; the catalogue keeps their texts. A
share of the users is left out of training and validation. Then the test events on held-out items are ranked, once
among the held-out items and once in the whole catalogue; and those of held-out users, with their history and without.
What new items cost the others is the difference that ranking them makes to up to 5,000 of the other test events.
Limits: on held-out items the served model's R@10 is ten times that of popularity and of chance, and no lower than that
of the frozen text encoder.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from benchmarks.harness import options
from benchmarks.harness.datasets import history, open_dataset, write_training_tables
from benchmarks.harness.models import Fits, evaluate, recall_and_ndcg
from benchmarks.harness.tables import RANKING_COLUMNS, print_table, ranking_rows
from core import schema
from recommender.bundle.loading import load_bundle
from recommender.evaluation.evaluation import SERVED, parts_of
from recommender.inputs.ids import IdMap
from recommender.inputs.queries import Queries, sample_queries
from recommender.inputs.user import UserState
from recommender.metrics.significance import bootstrap_interval
from recommender.metrics.top_k import Scores, mask_seen
from recommender.ranking.ranker import Ranker
from recommender.retrieval.popularity import PopularityRanker

FROZEN = "text_encoder"
METRICS = ("recall", "ndcg")
MAX_OTHERS = 5000
SEED_OF_INTERVALS = 0
AMONG_COLD, AMONG_ALL = "held-out items, among themselves", "held-out items, in the whole catalogue"


@dataclass(frozen=True)
class HeldOut:
    """What training never saw, and the queries about it.

    Attributes:
        items: Ids of the held-out items.
        queries: Test events, by the title of their table.
        others: Test events on items and of users that training saw.
    """

    items: frozenset[str]
    queries: dict[str, Queries]
    others: Queries


@dataclass(frozen=True)
class Figures:
    """Recall and NDCG of every model on one question of `n` queries."""

    n: int
    by_model: dict[str, tuple[float, float]]


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
    """Hold out, fit and evaluate once per seed."""
    parser = options.command(__doc__)
    options.add_source(parser)
    options.add_fits(parser)
    options.add_recipe(parser)
    parser.add_argument("--share", type=float, default=0.05, help="of the items, and of the users, that is held out")
    chosen = options.parse(parser, arguments)
    recipe = options.recipe_of(chosen)
    runs, costs = [], []
    with open_dataset(recipe, chosen.cache) as data:
        strict = data.leave_one_out("strict")
        for seed in options.seeds_of(chosen):
            cold = data.work / f"cold-{seed}"
            held_out = hold_out(strict, cold, chosen.share, seed)
            fitted = Fits(recipe, seed, chosen.threads).fit_bundle(cold, data.work / f"fits-{seed}")
            runs.append(evaluate_cold(fitted.bundle, held_out, seed))
            costs.append(cost_for_others(fitted.bundle, sample_queries(held_out.others, MAX_OTHERS, seed)))
    print_results(runs, chosen.share)
    print_cost(dict(zip(options.seeds_of(chosen), costs, strict=True)))


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
    write_training_tables(target, {"catalogue": catalogue, "sequences": learned, "queries": validation})
    on_cold = _queries([row for row in test if row[schema.TARGETS][0] in items and row[schema.HISTORY_ITEMS]])
    strangers = _queries([row for row in test if row[schema.USER_ID] in users and row[schema.TARGETS][0] not in items])
    known = [row for row in test if row[schema.USER_ID] not in users and row[schema.TARGETS][0] not in items]
    nobody = Queries(tuple(UserState() for _ in strangers.users), strangers.targets)
    return HeldOut(
        items,
        {
            AMONG_COLD: on_cold,
            AMONG_ALL: on_cold,
            "held-out users, history given": strangers,
            "held-out users, without a history": nobody,
        },
        _queries([row for row in known if row[schema.HISTORY_ITEMS]]),
    )


def evaluate_cold(bundle: Path, held_out: HeldOut, seed: int) -> dict[str, Figures]:
    """Recall and NDCG of every ranker on every question."""
    loaded = load_bundle(bundle)
    vectors = loaded.ranker.vectors
    rankers: dict[str, Scores] = {
        "random": RandomRanker(vectors.ids, seed),
        "popularity": PopularityRanker(vectors),
        **parts_of(loaded),
        SERVED: loaded.ranker,
    }
    return {
        question: Figures(
            n=len(queries),
            by_model={
                name: recall_and_ndcg(Among(ranker, held_out.items) if question == AMONG_COLD else ranker, queries)
                for name, ranker in rankers.items()
            },
        )
        for question, queries in held_out.queries.items()
    }


def cost_for_others(bundle: Path, queries: Queries) -> np.ndarray:
    """Recall and NDCG of each query as served, less those of the same bundle that ranks no new items. Shape (n, 2)."""
    served = load_bundle(bundle).ranker
    assert isinstance(served, Ranker)
    given = (served.vectors, served.model, served.retrievers, served.blend)
    without = Ranker(*given, cold_users=served.cold_users, held_out=served.held_out).corrected(served.correction)
    measured = [evaluate(ranker, queries).per_query for ranker in (served, without)]
    return np.stack([measured[0][metric] - measured[1][metric] for metric in METRICS], axis=1)


def print_cost(by_seed: Mapping[int, np.ndarray]) -> None:
    """What ranking new items costs the others, of each seed by itself: their test events are nearly the same ones.

    Args:
        by_seed: Differences by query, recall and NDCG. Shape (n, 2).
    """
    print("\nother items, in the whole catalogue: with new items ranked, less without")
    for seed, differences in by_seed.items():
        for place, metric in enumerate(RANKING_COLUMNS):
            by_query = differences[:, place]
            low, high = bootstrap_interval(by_query, SEED_OF_INTERVALS)
            said = f"limit: {metric} {by_query.mean():+.4f} [{low:+.4f}, {high:+.4f}], of which the upper end >= 0"
            print(f"{said} (seed {seed}, {len(by_query)} test events)")


def print_results(runs: list[dict[str, Figures]], share: float) -> None:
    """Means and standard deviations over the seeds, and the limits."""
    for question in runs[0]:
        asked = [run[question] for run in runs]
        n = statistics.mean(one.n for one in asked)
        print(f"\n{question}: {share:.0%} held out, {n:.0f} test events, {len(runs)} seeds")
        models = [model for model in asked[0].by_model if all(model in one.by_model for one in asked)]
        figures = {model: [one.by_model[model] for one in asked] for model in models}
        print_table(["model", *RANKING_COLUMNS], ranking_rows(figures))
        if question in (AMONG_COLD, AMONG_ALL):
            recall = {model: statistics.mean(recall for recall, _ in of_model) for model, of_model in figures.items()}
            chance = max(recall["random"], recall["popularity"])
            print(f"limit: {SERVED} {recall[SERVED]:.4f} >= 10 x popularity or chance = {10 * chance:.4f}")
            print(f"limit: {SERVED} {recall[SERVED]:.4f} >= {FROZEN} = {recall[FROZEN]:.4f}")


def _sample(names: list[str], share: float, generator: np.random.Generator) -> frozenset[str]:
    ordered = sorted(set(names))
    chosen = generator.choice(len(ordered), max(round(len(ordered) * share), 1), replace=False)
    return frozenset(ordered[place] for place in chosen)


def _without(row: dict, items: frozenset[str]) -> dict:
    kept = [item for item in row[schema.HISTORY_ITEMS] if item not in items]
    return {**row, **history(kept)}


def _queries(rows: list[dict]) -> Queries:
    return Queries(
        tuple(UserState.from_history(row[schema.HISTORY_ITEMS]) for row in rows),
        tuple(tuple(row[schema.TARGETS]) for row in rows),
    )


if __name__ == "__main__":
    main()
