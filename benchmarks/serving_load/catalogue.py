"""Answers from a large catalogue: `python -m benchmarks.serving_load.catalogue --items 1000000`.

`Engine` in this process, one request after the other: a list for a user, filtered lists, what is popular, what is new,
similar items. The shop's items lie in clusters and its weights are drawn (see `large_shop`). With `--exact-items` below
the number of items an index finds them, and each list is held against the exact one of the same bundle: recall@100.
"""

from __future__ import annotations

import argparse
import gc
import resource
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch

from benchmarks.harness import options
from benchmarks.harness.tables import print_table
from benchmarks.serving_load.large_shop import N_CATEGORIES, build_shop
from core.settings.platform import ServingSettings
from features.online import OnlineFeatures
from recommender.bundle.indexing import indexed
from recommender.bundle.loading import load_bundle
from recommender.inputs.user import UserState
from recommender.metrics.top_k import ListFilters
from recommender.ranking.baseline_ranker import BaselineRanker
from recommender.ranking.large.ranker import LargeRanker
from recommender.ranking.ranker import Ranker
from serving.api.lists import LatestRequest, PopularRequest, SimilarRequest
from serving.api.recommend import RecommendRequest
from serving.beginning import settle_memory
from serving.engine import Engine

N_WANTED = 1000
K, N_COMPARED = 100, 50


def main(arguments: list[str] | None = None) -> None:
    """Build or open the shop, and time requests."""
    parser = options.command(__doc__)
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument("--users", type=int, default=100_000)
    parser.add_argument("--requests", type=int, default=100, help="of each kind")
    parser.add_argument("--keep", type=Path, help="keep the shop here, and use it again (default: temporary)")
    parser.add_argument(
        "--exact-items", type=int, default=ServingSettings().exact_items, help="serving.exact_items (default: its own)"
    )
    parser.add_argument("--sequence-alone", action="store_true", help="no other part ranks")
    chosen = parser.parse_args(arguments)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() if chosen.keep is None else nullcontext(str(chosen.keep)) as name:
        _measure(Path(name), chosen)


def _measure(folder: Path, chosen: argparse.Namespace) -> None:
    shop = build_shop(folder, chosen.items, chosen.users, not chosen.sequence_alone)
    loaded = load_bundle(shop.bundle)
    if len(loaded.catalogue) > chosen.exact_items:
        started = time.perf_counter()
        indexed(loaded, shop.layout.indexes, chosen.exact_items)
        print(f"indexed in {time.perf_counter() - started:.1f} s, where it was not indexed before")
    del loaded
    gc.collect()
    started = time.perf_counter()
    exact = load_bundle(shop.bundle)
    bundle = indexed(exact, shop.layout.indexes, chosen.exact_items)
    online = OnlineFeatures(shop.layout.feast, bundle.manifest.recipe.features)
    engine = Engine(model="large:1", bundle=bundle, features=online, max_k=100)
    engine.warm()
    settle_memory()
    rows = [["load and warm, s", f"{time.perf_counter() - started:.1f}", ""]]
    users = [f"u{number}" for number in np.random.default_rng(3).integers(0, chosen.users, chosen.requests)]
    for what, ask in _requests(engine, users).items():
        p50, p99 = _times_ms(ask, chosen.requests)
        rows.append([f"{what}, p50 and p99, ms", f"{p50:.1f}", f"{p99:.1f}"])
    if isinstance(bundle.ranker, LargeRanker):
        states = [state for user in users[:N_COMPARED] if (state := online.read_user(user)) is not None]
        rows += [[f"recall@{K} {what}", f"{share:.4f}", f"{least:.2f}"]
                 for what, (share, least) in _recall(exact.ranker, bundle.ranker, states).items()]  # fmt: skip
        rows += [[f"recall of the index: {name}", f"{share:.4f}", ""] for name, share in bundle.ranker.recall.items()]
    used = psutil.Process().memory_full_info()
    rows.append(["memory of the process (USS), MiB", f"{used.uss / 2**20:.0f}", ""])
    rows.append(["peak (RSS), MiB", f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10:.0f}", ""])
    print_table(["", "", ""], rows)


def _requests(engine: Engine, users: Sequence[str]) -> dict[str, Callable[[int], Any]]:
    generator = np.random.default_rng(5)
    ids = engine.bundle.catalogue.ids
    items = [ids.item_id(int(index)) for index in generator.integers(1, len(ids) + 1, len(users))]
    kinds = generator.choice(N_CATEGORIES, N_WANTED, replace=False)
    wanted = [f"Group {n % 100} > Kind {n}" for n in kinds]
    one = wanted[:1]
    return {
        "recommend, 100": lambda n: engine.recommend(RecommendRequest(user_id=users[n], k=100)),
        "recommend, 10": lambda n: engine.recommend(RecommendRequest(user_id=users[n], k=10)),
        "recommend for nobody": lambda n: engine.recommend(RecommendRequest(k=10)),
        f"recommend of {N_WANTED} categories": lambda n: engine.recommend(
            RecommendRequest(user_id=users[n], k=10, categories=wanted)
        ),
        "recommend of one category": lambda n: engine.recommend(
            RecommendRequest(user_id=users[n], k=10, categories=one)
        ),
        "recommend below a price": lambda n: engine.recommend(
            RecommendRequest(user_id=users[n], k=10, max_price=50.0, min_price=10.0)
        ),
        "popular": lambda n: engine.lists.popular(PopularRequest(k=10)),
        "popular of 7 days": lambda n: engine.lists.popular(PopularRequest(k=10, days=7)),
        "popular by category": lambda n: engine.lists.popular(PopularRequest(k=10, per_category=3)),
        "latest": lambda n: engine.lists.latest(LatestRequest(k=10)),
        "similar": lambda n: engine.lists.similar(SimilarRequest(item_id=items[n], k=10)),
    }


def _recall(
    exact: Ranker | BaselineRanker, found: LargeRanker, users: Sequence[UserState]
) -> dict[str, tuple[float, float]]:
    """Of the items of exact lists, the share that is found: in the mean, and on the worst list."""
    n_items, generator = len(exact.ids), np.random.default_rng(9)
    shares: dict[str, tuple[float, float]] = {}
    for what, share in {
        "of all items": 1.0,
        "of a third": 0.33,
        "of one in twenty": 0.05,
        "of one in 100": 0.01,
    }.items():
        filters: ListFilters = {"allowed": None if share == 1.0 else generator.random(n_items) < share}
        wanted, got = (ranker.top_k(users, K, **filters) for ranker in (exact, found))
        of_lists = [
            len(dict(own).keys() & dict(best).keys()) / len(best) for best, own in zip(wanted, got, strict=True)
        ]
        shares[what] = float(np.mean(of_lists)), float(np.min(of_lists))
    return shares


def _times_ms(ask: Callable[[int], Any], requests: int) -> tuple[float, float]:
    ask(0)
    gc.collect(0)
    times = []
    for number in range(requests):
        started = time.perf_counter()
        ask(number)
        times.append(1000 * (time.perf_counter() - started))
    return float(np.percentile(times, 50)), float(np.percentile(times, 99))


if __name__ == "__main__":
    main()
