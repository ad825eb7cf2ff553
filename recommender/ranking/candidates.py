"""The candidates of queries: every part's best items, with what each part makes of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from recommender.inputs.ids import IdMap
from recommender.inputs.queries import Queries
from recommender.inputs.user import UserState
from recommender.metrics.ranking import PER_QUERY
from recommender.metrics.top_k import best_indices, hits_of
from recommender.ranking.candidate_features import Describer

# The scores of all parts are held at once.
USERS_PER_PASS = 128
# Candidates.
FEATURES_PER_PASS = 1 << 15
# From users to what each part makes of every item, standardised. Shapes (B, n_items).
StandardScores = Callable[[Sequence[UserState]], dict[str, np.ndarray]]


@dataclass(frozen=True)
class Candidates:
    """The union of every part's best items for each of B queries, C at most; seen items are none.

    Attributes:
        names: The parts.
        places: Of each candidate in the catalogue, from 0, ascending; -1 where a query has fewer. Shape (B, C), int64.
        scores: Standardised over the catalogue, by part; 0 where there is no candidate. Shape (B, C, P), float32.
        wanted: Which of them are targets. Shape (B, C), bool.
        n_targets: Of each query, candidates or not. Shape (B,), int64.
        lengths: Of the histories. Shape (B,), int64.
        features: What a correction reads of them, a query's candidates after those of the query before. Shape (N, F),
            float32, where N counts all of them; F is 0 where none is fitted.
    """

    names: tuple[str, ...]
    places: np.ndarray
    scores: np.ndarray
    wanted: np.ndarray
    n_targets: np.ndarray
    lengths: np.ndarray
    features: np.ndarray

    @classmethod
    def of(
        cls,
        standard: StandardScores,
        queries: Queries,
        ids: IdMap,
        names: Sequence[str],
        n: int,
        describer: Describer | None = None,
    ) -> Candidates:
        """Ask the parts about queries of users with a known history.

        Args:
            names: The parts that are asked.
            n: How many of each part's best items are taken.
            describer: Describes them for a correction.
        """
        places: list[np.ndarray] = []
        scores: list[np.ndarray] = []
        described: list[np.ndarray] = []
        for some in queries.passes(len(ids), USERS_PER_PASS):
            by_part = standard(some.users)
            matrices = [by_part[name] for name in names]
            for row, user in enumerate(some.users):
                rows = np.stack([matrix[row] for matrix in matrices])  # (P, n_items)
                union = union_of(rows, user.seen_places(ids), n)
                places.append(union)
                scores.append(rows[:, union].T)
                if describer is not None:
                    length = len(ids.known_indices(user.items))
                    described.append(describer.describe(user, length, union, scores[-1]))
        width = max((len(union) for union in places), default=0)
        padded = np.full((len(places), width), -1, dtype=np.int64)
        values = np.zeros((len(places), width, len(names)), dtype=np.float32)
        for row, (union, own) in enumerate(zip(places, scores, strict=True)):
            padded[row, : len(union)], values[row, : len(union)] = union, own
        features = np.concatenate(described) if described else np.zeros((sum(map(len, places)), 0), dtype=np.float32)
        lengths = np.array([len(ids.known_indices(user.items)) for user in queries.users], dtype=np.int64)
        nothing = np.zeros(padded.shape, dtype=bool)
        found = cls(tuple(names), padded, values, nothing, np.zeros(len(padded), dtype=np.int64), lengths, features)
        return found.wanting(queries.targets, ids)

    def __len__(self) -> int:
        return len(self.places)

    @property
    def there(self) -> np.ndarray:
        """Which places hold a candidate. Shape (B, C), bool."""
        there: np.ndarray = self.places >= 0
        return there

    @property
    def n_with_target(self) -> int:
        """How many queries have a target among their candidates."""
        return int(self.wanted.any(axis=1).sum())

    def take(self, rows: np.ndarray) -> Candidates:
        """Some of the queries."""
        return replace(
            self,
            places=self.places[rows],
            scores=self.scores[rows],
            wanted=self.wanted[rows],
            n_targets=self.n_targets[rows],
            lengths=self.lengths[rows],
            features=self.features[self._places_of(rows)],
        )

    def _places_of(self, rows: np.ndarray) -> np.ndarray:
        """Where the candidates of some queries stand among the features. Shape (n,), int64."""
        counts = self.there.sum(axis=1)
        ends, found = counts.cumsum(), np.zeros(0, dtype=np.int64)
        return np.concatenate([found, *(np.arange(ends[row] - counts[row], ends[row]) for row in rows)])

    def feature_passes(self) -> Iterator[np.ndarray]:
        """The features of some candidates at a time: what is computed of them takes several times their memory."""
        for start in range(0, len(self.features), FEATURES_PER_PASS):
            yield self.features[start : start + FEATURES_PER_PASS]

    def wanting(self, targets: Sequence[Sequence[str]], ids: IdMap) -> Candidates:
        """The same candidates for other targets of the queries."""
        known = [np.array(ids.known_indices(one), dtype=np.int64) - 1 for one in targets]
        wanted = np.zeros(self.places.shape, dtype=bool)
        for row, places in enumerate(known):
            wanted[row] = np.isin(self.places[row], places)
        return replace(self, wanted=wanted, n_targets=np.array([len(one) for one in targets], dtype=np.int64))

    def of_part(self, name: str) -> np.ndarray:
        """What one part makes of them. Shape (B, C), float32."""
        scores: np.ndarray = self.scores[:, :, self.names.index(name)]
        return scores

    def ndcg(self, scores: np.ndarray, k: int) -> np.ndarray:
        """NDCG at k of each query, of the candidates ranked by scores of shape (B, C). Shape (B,)."""
        ranked = np.where(self.there, scores, -np.inf)
        targets = [(np.flatnonzero(row) + 1).tolist() for row in self.wanted]
        found: np.ndarray = PER_QUERY["ndcg"](hits_of(ranked, targets, k), self.n_targets)
        return found


def union_of(scores: np.ndarray, seen: np.ndarray, n: int) -> np.ndarray:
    """The places that are among the n best of any row of scores, seen ones left out, ascending.

    Args:
        scores: Of one query, a row per part. Shape (P, n_items).
        seen: Places that do not come back.
    """
    unseen = scores.copy()
    unseen[:, seen] = -np.inf
    best = best_indices(unseen, n)
    places: np.ndarray = np.unique(best[best > 0]) - 1
    return places
