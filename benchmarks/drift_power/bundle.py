"""Bundles in service of a shop of this benchmark, item neighbours, and what they are asked about the days after."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import duckdb
import numpy as np
from pydantic import TypeAdapter
from scipy.sparse import csr_matrix

from core.settings.features import FeatureSettings
from core.sql import literal
from features.point_in_time.states import StatesThen
from monitoring.answers.asked_days import Replayed, days_to_replay
from monitoring.answers.replay import RANK, STORE, ReplayDay, replay
from monitoring.extent import find_extent
from monitoring.signals.activity import FloodRule
from recommender.inputs.ids import IdMap
from recommender.inputs.item_vectors import ItemVectors
from recommender.ranking.baseline_ranker import item_matrix
from recommender.retrieval.history import HistoryRanker

RULE = FloodRule(20, 50)
NEIGHBOURS = 50
PROMISE_DAYS = 28  # after it learned: what an evaluation would have promised


class Bundle:
    """One bundle.

    Args:
        clean: Folder of the clean tables.
        until: It learned nothing later.
    """

    def __init__(self, clean: Path, until: datetime) -> None:
        self.until = until
        with duckdb.connect() as connection:
            rows = connection.execute(
                f"""SELECT list(DISTINCT item_id ORDER BY item_id)
                FROM read_parquet({literal(str(clean / "interactions.parquet"))})
                WHERE timestamp <= TIMESTAMPTZ {literal(until.isoformat())} GROUP BY user_id"""
            ).fetchall()
        ids = IdMap.shuffled((item for (items,) in rows for item in items), 0)
        had = item_matrix([ids.known_indices(items) for (items,) in rows], len(ids))
        items = SimpleNamespace(ids=ids, catalogue=SimpleNamespace(n_events=np.asarray(had.sum(axis=0)).ravel()))
        self.ranker = HistoryRanker(cast(ItemVectors, items), _item_knn(had))


def ask(bundles: Sequence[Bundle], clean: Path, folder: Path, known: Sequence[ReplayDay] = ()) -> list[ReplayDay]:
    """The days that are known already, and those after them, each as the newest bundle ranks it that learned before.

    A bundle promises what the one before it reached on its days, as the one that is judged before a refit does; the
    first one what it reached itself.
    """
    folder.mkdir(parents=True)
    (folder / STORE).write_bytes(TypeAdapter(list[ReplayDay]).dump_json(list(known)))
    found, extent, states_then = list(known), find_extent(clean), StatesThen(clean, FeatureSettings())
    for bundle in reversed(bundles):
        asked = Replayed(bundle.until.isoformat(), bundle.until, {}, 10, RULE)
        while wanted := days_to_replay(extent, found, bundle.until):
            found = replay(folder, clean, states_then, bundle.ranker, asked, wanted)
    found = [day for day in found if day.figures]
    reached = [_mean_rank([day for day in found if day.digest == one.until.isoformat()]) for one in bundles]
    promised = {one.until.isoformat(): reached[max(place - 1, 0)] for place, one in enumerate(bundles)}
    return [day.model_copy(update={"promise": {RANK: promised[day.digest]}}) for day in found]


def _mean_rank(days: Sequence[ReplayDay]) -> float:
    first = [one.figures[RANK] for one in days[:PROMISE_DAYS]]
    return sum(total for _, total, _ in first) / sum(n for n, *_ in first)


def _item_knn(had: csr_matrix):  # type: ignore[no-untyped-def]
    from implicit.nearest_neighbours import CosineRecommender

    model = CosineRecommender(K=NEIGHBOURS, num_threads=1)
    model.fit(had, show_progress=False)

    def score(histories: list[list[int]]) -> np.ndarray:
        found: np.ndarray = (item_matrix(histories, had.shape[1]) @ model.similarity).toarray().astype(np.float32)
        return found

    return score
