"""Models beside the simulator's own oracle, over several simulated shops: `python -m benchmarks.simulated_shops`.

Each shop goes the product's own way: its data gate, its feature store, the point-in-time training set of its pipeline
with one cut-off for everyone. The oracle knows the users as the simulation does (`simulation.shop.oracle`): no model
can do better but by luck, and a model's share of its NDCG compares between shops. Every model ranks the whole catalogue
for the same users of the test window, seen items masked; baselines are tuned on the validation window. A difference is
the served blend's figure minus the model's, per user, pooled over all shops; its 95 % interval is by bootstrap.

A shop is written users:items, or users:items:days where an item stays for about so many days only; its windows are then
as long as half of that. With `--peer-env`, RecTools' SASRec takes part, in a virtual environment of its own.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np

from benchmarks.harness import options
from benchmarks.harness.datasets import open_dataset
from benchmarks.harness.models import Fits, K, evaluate
from benchmarks.harness.tables import print_table
from benchmarks.peers.environment import make_environment, run_peer
from benchmarks.sequence_speed import PEER
from core import schema
from core.settings.source import SimulatedSource
from core.settings.tree import Recipe
from recommender.bundle.loading import load_bundle
from recommender.evaluation.baselines import fit_baselines
from recommender.evaluation.evaluation import POPULARITY, SERVED, parts_of
from recommender.inputs.catalogue import read_training_table
from recommender.inputs.ids import IdMap
from recommender.inputs.queries import Queries, read_queries
from recommender.inputs.user import UserState
from recommender.metrics.significance import bootstrap_interval
from recommender.metrics.top_k import Scores, mask_seen
from recommender.retrieval.popularity import PopularityRanker
from simulation.shop.log import CLOSES_AT
from simulation.shop.oracle import Oracle

ORACLE, PEER_NAME = "oracle", "RecTools SASRec"
PEER_SCRIPT = "sequence_lists.py"
PEER_EPOCHS = (5, 15, 30)
QUICK_SHOPS = "800:300,1000:300,800:400:40"
SEED_OF_INTERVALS = 0


@dataclass(frozen=True)
class Shop:
    """A simulated shop and the NDCG of every model for each user of its test window."""

    name: str
    ndcg: dict[str, np.ndarray]


class Table:
    """Scores that were worked out before, as a ranker.

    Args:
        ids: The catalogue's.
        queries: Those that were worked out.
        rows: Their scores. Shape (n_queries, n_items).
    """

    def __init__(self, ids: IdMap, queries: Queries, rows: np.ndarray) -> None:
        self.ids, self._rows = ids, rows
        self._place = {id(user): place for place, user in enumerate(queries.users)}

    def scores(self, users: Sequence[UserState]) -> np.ndarray:
        """The rows of these very users; seen items are -inf. Shape (B, n_items), float32."""
        return mask_seen(self._rows[[self._place[id(user)] for user in users]].copy(), users, self.ids)


def main(arguments: list[str] | None = None) -> None:
    """One shop after the other, then what they say together."""
    parser = options.command(__doc__)
    parser.add_argument("--shops", default=QUICK_SHOPS, help=f"users:items[:days], comma-separated ({QUICK_SHOPS})")
    options.add_fits(parser, n_seeds=1, threads=1)
    options.add_baselines(parser, "sasrec")
    parser.add_argument("--cache", type=Path, help="keep clean tables and training sets here, and use them again")
    options.add_recipe(parser)
    options.add_peer(parser)
    chosen = options.parse(parser, arguments)
    seeds = options.seeds_of(chosen)
    shops = [run_shop(spec, seed, chosen) for spec in chosen.shops.split(",") for seed in seeds]
    for shop in shops:
        print(f"\n{shop.name}: {len(shop.ndcg[SERVED])} users in the test window")
        print_results([shop])
    print(f"\nall {len(shops)} shops, {sum(len(shop.ndcg[SERVED]) for shop in shops)} users")
    print_results(shops)


def recipe_of(spec: str, seed: int, chosen: argparse.Namespace) -> Recipe:
    """The recipe of a shop that is written users:items[:days]."""
    n_users, n_items, *days = spec.split(":")
    given = [f"source.n_users={n_users}", f"source.n_items={n_items}", f"source.seed={11 + seed}", f"seed={seed}"]
    if days:
        half = timedelta(days=float(days[0]) / 2)
        given += [f"source.item_lifetime_days={days[0]}"]
        given += [f"evaluation.{window}_from=P{half.days}D" for window in ("validation", "test")]
    return options.recipe_of(argparse.Namespace(source=options.SIMULATED, data=None, set=chosen.set), *given)


def run_shop(spec: str, seed: int, chosen: argparse.Namespace) -> Shop:
    """Simulate, fit everything, and evaluate it on the test window."""
    recipe = recipe_of(spec, seed, chosen)
    assert isinstance(recipe.source, SimulatedSource)
    with open_dataset(recipe, chosen.cache) as data:
        training, summary = data.time_split()
        fits = Fits(recipe, seed, chosen.threads)
        bundle = load_bundle(fits.fit_bundle(training, data.work / "fit").bundle)
        vectors = bundle.ranker.vectors
        queries = read_queries(training, "test")
        oracle = ask_oracle(recipe.source, vectors.ids, queries, datetime.fromisoformat(summary.test_at))
        rankers: dict[str, Scores] = {
            ORACLE: Table(vectors.ids, queries, oracle),
            POPULARITY: PopularityRanker(vectors),
            **fit_baselines(fits.context(training), chosen.baselines, data.work / "fit" / "bundle" / "vectors", recipe),
        }
        if chosen.peer_env is not None:
            folder = data.work / "peer"
            python = make_environment(chosen.peer_env, PEER)
            lists = ask_peer(python, folder, training, vectors.ids, fits)
            rankers[PEER_NAME] = Table(vectors.ids, queries, lists)
        rankers |= {**parts_of(bundle), SERVED: bundle.ranker}
        ndcg = {name: evaluate(ranker, queries).per_query["ndcg"] for name, ranker in rankers.items()}
    return Shop(f"{spec}, seed {seed}", ndcg)


def ask_oracle(source: SimulatedSource, ids: IdMap, queries: Queries, at: datetime) -> np.ndarray:
    """What the simulation expects of the queries' users from the moment to its end. Shape (n_queries, n_items)."""
    oracle = Oracle(source, at)
    found = oracle.expected(queries.user_ids, CLOSES_AT)
    rows = np.zeros((len(queries), len(ids)), dtype=np.float32)
    known = [place for place, item in enumerate(oracle.item_ids) if item in ids]
    rows[:, [ids.index(oracle.item_ids[place]) - 1 for place in known]] = found[:, known]
    return rows


def ask_peer(python: Path, folder: Path, training: Path, ids: IdMap, fits: Fits) -> np.ndarray:
    """The peer's lists for the test window as scores; popularity for users without a history. Shape (n, n_items)."""
    folder.mkdir(parents=True)
    table = read_training_table(training, "sequences", [schema.USER_ID, schema.HISTORY_ITEMS, schema.N_CONTEXT])
    histories: dict[str, list[int]] = {}
    for row in table.to_pylist():  # every first touch once, in order
        fresh = ids.known_indices(row[schema.HISTORY_ITEMS][row[schema.N_CONTEXT] or 0 :])
        histories.setdefault(row[schema.USER_ID], []).extend(fresh)
    arrays = {**_flat(list(histories.values()), "")}
    for window in ("validation", "test"):
        queries = read_queries(training, window)
        arrays |= _flat([ids.known_indices(user.items) for user in queries.users], f"{window}_")
        targets = [(place, item) for place, wanted in enumerate(queries.targets) for item in ids.known_indices(wanted)]
        arrays[f"{window}_n_users"] = np.array(len(queries))
        arrays[f"{window}_target_user"] = np.array([place for place, _ in targets])
        arrays[f"{window}_target"] = np.array([item for _, item in targets])
    settings = {
        "epochs": PEER_EPOCHS, "k": K, "seed": fits.seed, "threads": fits.threads, "n_blocks": 2, "n_heads": 4,
        "width": 64, "max_history": fits.recipe.features.max_history,
    }  # fmt: skip
    np.savez(folder / "in.npz", allow_pickle=False, **arrays)
    (folder / "options.json").write_text(json.dumps(settings), encoding="utf-8")
    run_peer(python, PEER_SCRIPT, folder / "in.npz", folder / "out.npz", folder / "options.json")
    lists = np.load(folder / "out.npz")["lists"]
    popular = np.bincount(arrays["item"], minlength=len(ids) + 1)[1:]
    scores = np.tile(popular / (popular.sum() + 1), (len(lists), 1)).astype(np.float32)
    row, place = np.nonzero(lists > 0)
    scores[row, lists[row, place] - 1] = 1 + K - place
    return scores


def _flat(histories: Sequence[Sequence[int]], prefix: str) -> dict[str, np.ndarray]:
    """Histories as pairs of user and item, each user's oldest first."""
    users = np.repeat(np.arange(len(histories)), [len(history) for history in histories])
    return {f"{prefix}user": users, f"{prefix}item": np.array([item for history in histories for item in history])}


def print_results(shops: Sequence[Shop]) -> None:
    """A row per model: NDCG over all users of these shops, its share of the oracle's, what the served blend adds."""
    pooled = {name: np.concatenate([shop.ndcg[name] for shop in shops]) for name in _shared(shops)}
    rows = []
    for name, ndcg in pooled.items():
        less = pooled[SERVED] - ndcg
        low, high = bootstrap_interval(less, SEED_OF_INTERVALS)
        share = ndcg.mean() / pooled[ORACLE].mean()
        added = "" if name == SERVED else f"{less.mean():+.4f} [{low:+.4f}, {high:+.4f}]"
        rows.append([name, f"{ndcg.mean():.4f}", f"{share:.1%}", added])
    print_table(["model", "N@10", "of the oracle", f"{SERVED} - this"], rows)


def _shared(shops: Sequence[Shop]) -> Mapping[str, None]:
    """The models that every shop has, in order."""
    return dict.fromkeys(name for name in shops[0].ndcg if all(name in shop.ndcg for shop in shops))


if __name__ == "__main__":
    main()
