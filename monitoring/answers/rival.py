"""Item neighbours that learn anew each week: what a bundle's lead is measured against as it grows old.

How hard it is to foresee what users take changes by itself, from one month to the next. The same users and items asked
of the bundle and of neighbours that know everything up to the week before take that out: what is left is what the
bundle is ahead by, or behind. Both rank the same items, those of the bundle: among more items, most of them hardly ever
taken, whatever is taken stands higher, and a bundle that does not know the new ones would seem to fall behind.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from datetime import date

import duckdb
import numpy as np

from core.sql import literal
from recommender.inputs.ids import IdMap
from recommender.inputs.user import UserState
from recommender.metrics.top_k import mask_seen
from recommender.ranking.baseline_ranker import item_matrix

N_NEIGHBOURS = 50
MAX_PAIRS = 1_000_000  # of users and items, the newest; older ones say little of what is wanted now
_SEED = 0


class Neighbours:
    """Ranks by how often items of a history went together with each item; by popularity where it has nothing to say.

    Args:
        items: Of each user, what they had.
        ids: The items that are ranked; one that nobody had stands last.
    """

    def __init__(self, items: Sequence[Sequence[str]], ids: IdMap) -> None:
        from implicit.nearest_neighbours import CosineRecommender

        self.ids = ids
        self._known = IdMap.shuffled((item for had in items for item in had), _SEED)
        had = item_matrix([self._known.known_indices(one) for one in items], len(self._known))
        model = CosineRecommender(K=N_NEIGHBOURS, num_threads=1)
        with warnings.catch_warnings():  # of a conversion that implicit makes by itself
            warnings.filterwarnings("ignore", message="Method expects CSR input")
            model.fit(had, show_progress=False)
        self._counts = np.asarray(had.sum(axis=0)).ravel().astype(np.float32)
        places = {item: place for place, item in enumerate(self._known)}
        ranked = [(place, places[item]) for place, item in enumerate(ids) if item in places]
        # Of what is ranked alone: its places in `ids`, and what every known item says for it.
        self._ranked, known = np.array(ranked, dtype=np.int64).reshape(-1, 2).T
        self._weights, self._counts = model.similarity[:, known], self._counts[known]

    def scores(self, users: Sequence[UserState]) -> np.ndarray:
        """Scores of the items that are ranked; seen ones are -inf. Shape (B, n_items), float32."""
        histories = [self._known.known_indices(user.items) for user in users]
        scores = np.zeros((len(users), len(self.ids)), dtype=np.float32)
        scores[:, self._ranked] = (item_matrix(histories, len(self._known)) @ self._weights).toarray()
        popular = np.zeros(len(self.ids), dtype=np.float32)
        popular[self._ranked] = self._counts
        scores[scores.max(axis=1) <= scores.min(axis=1)] = popular
        return mask_seen(scores, users, self.ids)


def fit_neighbours(connection: duckdb.DuckDBPyConnection, before: date, ids: IdMap) -> Neighbours | None:
    """Those that know what is in `events` up to a day, and rank some items; None where nothing is."""
    begin = f"TIMESTAMPTZ {literal(f'{before.isoformat()} 00:00:00Z')}"
    rows = connection.execute(
        f"""SELECT list(item_id ORDER BY item_id) FROM (
            SELECT user_id, item_id FROM events WHERE timestamp < {begin}
            GROUP BY ALL ORDER BY max(timestamp) DESC, user_id, item_id LIMIT {MAX_PAIRS})
        GROUP BY user_id ORDER BY user_id"""
    ).fetchall()
    return Neighbours([items for (items,) in rows], ids) if rows else None
