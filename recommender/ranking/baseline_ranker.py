"""A baseline as what serves: where it ranks better than what was learned, it is put into a bundle of its own.

It scores by the ranker that was evaluated, and answers whatever a bundle's ranker is asked. What is popular
changes by the week: where that is what serves, lists are made of counts up to the newest event, which its metrics were
not measured on. The `baseline` component holds what the ranker needs beside the item vectors:
```
baseline.json         which baseline
baseline.safetensors  recent (popularity_recent: events of each item in the window),
                      now (both popularities: the scores of counts up to the newest event), or
                      data, indices, indptr (item_knn: weights of items to items, sparse); absent for the others
```
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Unpack

import numpy as np

from core.settings.evaluation import BASELINE_KINDS, BaselineKind
from core.stages import stage
from core.storage import write_json
from recommender.errors import BundleError
from recommender.fitting.component import loading, read_config
from recommender.fitting.tensors import read_tensors, save_tensors
from recommender.inputs.ids import IdMap
from recommender.inputs.item_vectors import ItemVectors
from recommender.inputs.user import UserState
from recommender.metrics.top_k import ListFilters, best_items, nearest_items
from recommender.ranking.parts import Part
from recommender.ranking.ranker import AnsweredBy
from recommender.retrieval.history import HistoryRanker
from recommender.retrieval.popularity import PopularityRanker, RecentPopularityRanker
from recommender.retrieval.text.ranker import TextRanker

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

SETTINGS_FILE = "baseline.json"
WEIGHTS_FILE = "baseline.safetensors"
# What serves by counts, which go on after its evaluation.
POPULARITIES: tuple[BaselineKind, ...] = ("popularity", "popularity_recent")


class BaselineRanker:
    """Ranks the catalogue by a baseline.

    Args:
        vectors: Catalogue, ids and text vectors.
        kind: Which baseline.
        recent: Of `popularity_recent`: events of each item in the window before the training cut-off. Shape (n_items,).
        window_days: Length of that window.
        window: Which of the windows that the feature store counts it is, 0 for the shortest.
        now: Of both popularities: what each item scores by counts up to the newest event. Shape (n_items,), float32.
            None: lists are made of the counts that were evaluated.
        weights: Of `item_knn`: how much an item of a history speaks for each item. Shape (n_items, n_items).
    """

    def __init__(
        self,
        vectors: ItemVectors,
        kind: BaselineKind,
        *,
        recent: np.ndarray | None = None,
        window_days: int | None = None,
        window: int = 0,
        now: np.ndarray | None = None,
        weights: csr_matrix | None = None,
    ) -> None:
        self.vectors, self.kind = vectors, kind
        self._recent, self._weights, self._now = recent, weights, now
        self.window_days, self._window = window_days, window
        self._text = vectors.before_fine_tuning()
        self._evaluated = self._build()

    def _build(self) -> PopularityRanker | RecentPopularityRanker | HistoryRanker | TextRanker:
        if self.kind == "popularity_recent":
            assert self._recent is not None
            return RecentPopularityRanker(self.vectors, self._recent, self._window)
        if self.kind == "item_knn":
            return HistoryRanker(self.vectors, self._sum_weights, "baseline item_knn")
        return TextRanker(self._text) if self.kind == "text_encoder" else PopularityRanker(self.vectors)

    def _sum_weights(self, histories: list[list[int]]) -> np.ndarray:
        """Of each history, its entries' weights for every item, added. Shape (B, n_items), float32."""
        sums: np.ndarray = (item_matrix(histories, len(self.ids)) @ self._weights).toarray().astype(np.float32)
        return sums

    def for_one(self, user: UserState) -> BaselineRanker:
        """The same for one request, as of a `Ranker`: itself, for what stands behind a list is quickly said."""
        return self

    def for_each(self, users: Sequence[UserState]) -> list[BaselineRanker]:
        """`for_one` of each of some users."""
        return [self.for_one(user) for user in users]

    @property
    def reads_items_then(self) -> bool:
        """Whether the features of the items at the moment of asking are read."""
        return False

    @property
    def ids(self) -> IdMap:
        return self.vectors.ids

    def knows(self, user: UserState) -> bool:
        """Whether an item of the user's history is in the catalogue: without one it is a cold start."""
        return self.ids.knows_any(user.items)

    def answered_by(self, user: UserState) -> AnsweredBy:
        """Who ranks for this user: popularity, unless the baseline reads histories and has something for this one."""
        return self._part(user)

    def scores(self, users: Sequence[UserState], exclude_seen: bool = True) -> np.ndarray:
        """Score every item for each user, as the evaluation does.

        Returns:
            Shape (B, n_items), float32, in the order of the id map; seen items are -inf.
        """
        return self._evaluated.scores(users, exclude_seen)

    def parts_of(self, user: UserState, item_ids: Sequence[str]) -> list[Part]:
        """For each item, the part that put it on the list.

        Raises:
            UnknownItem: an item is not in the catalogue.
        """
        for item_id in item_ids:
            self.ids.index(item_id)
        return [self._part(user)] * len(item_ids)

    def _part(self, user: UserState) -> Literal["neighbours", "text", "popularity"]:
        if isinstance(self._evaluated, HistoryRanker):
            return "neighbours" if self._evaluated.speaks(user) else "popularity"
        return "text" if self.kind == "text_encoder" and self.knows(user) else "popularity"

    def top_k(
        self, users: Sequence[UserState], k: int, **filters: Unpack[ListFilters]
    ) -> list[list[tuple[str, float]]]:
        """The best items of each user, as `best_items` gives them, by `scores` or by counts up to the newest event."""
        with stage("rank"):
            now = self._now
            scores = self.scores(users, exclude_seen=False) if now is None else np.tile(now, (len(users), 1))
            return best_items(scores, users, self.ids, k, **filters)

    def up_to(self, counts: np.ndarray, recent: np.ndarray) -> BaselineRanker:
        """The same popularity, with lists made of newer counts.

        Args:
            counts: Events of each item so far. Shape (n_items,).
            recent: Those of the newest `window_days`. Shape (n_items,).
        """
        part = recent if self.kind == "popularity_recent" else 0
        now = (part + counts / (counts.max(initial=0) + 1)).astype(np.float32)
        return BaselineRanker(
            self.vectors, self.kind, recent=self._recent, window_days=self.window_days, window=self._window, now=now
        )

    def nearest_history(self, user: UserState, item_id: str, n: int) -> list[tuple[str, float]]:
        """The items of the history that speak for an item: by their weight, or the cosine of their texts.

        Returns:
            At most n (item id, weight or cosine) pairs, most similar first; none where popularity answers, as the
            history has no part in that.
        Raises:
            UnknownItem: the item is not in the catalogue.
        """
        return self.nearest_histories(user, [item_id], n)[0]

    def similarities(self, item_id: str) -> np.ndarray | None:
        """How like an item every item is: its weight, or the cosine of their texts; None where popularity ranks.

        Returns:
            Shape (n_items,), float32; -inf of a weight of 0, which connects nothing.
        Raises:
            UnknownItem: the item is not in the catalogue.
        """
        target = self.ids.index(item_id) - 1
        if self.kind == "text_encoder":
            cosines: np.ndarray = (self._text.text[1:] @ self._text.text[1:][target]).numpy()
            return cosines
        if self._weights is None:
            return None
        weights = self._weights[:, [target]].toarray()[:, 0].astype(np.float32)
        return np.where(weights > 0, weights, np.float32(-np.inf))

    def user_vectors(self, users: Sequence[UserState]) -> np.ndarray | None:
        """The histories of users as text, of length 1; None where no texts rank. Shape (B, D), float32."""
        if self.kind != "text_encoder":
            return None
        return np.stack([self._text.profile(self.ids.known_indices(user.items)) for user in users])

    def nearest_histories(self, user: UserState, item_ids: Sequence[str], n: int) -> list[list[tuple[str, float]]]:
        """`nearest_history` of each of some items."""
        if self.kind == "item_knn":
            found = nearest_items(self.ids, user, item_ids, n, self._weights_of)
            return [[pair for pair in pairs if pair[1] > 0] for pairs in found]
        if self.kind == "text_encoder":
            return nearest_items(self.ids, user, item_ids, n, self._cosines)
        for item_id in item_ids:
            self.ids.index(item_id)
        return [[] for _ in item_ids]

    def _weights_of(self, history: list[int], targets: list[int]) -> np.ndarray:
        assert self._weights is not None
        found: np.ndarray = self._weights[history][:, targets].toarray().T
        return found

    def _cosines(self, history: list[int], targets: list[int]) -> np.ndarray:
        text = self._text.text[1:]
        found: np.ndarray = (text[targets] @ text[history].T).numpy()
        return found

    def save(self, folder: Path) -> None:
        """Write the `baseline` component into a folder that exists."""
        window = {"window_days": self.window_days, "window": self._window}
        write_json(folder / SETTINGS_FILE, {"kind": self.kind, **window})
        tensors: dict[str, np.ndarray] = {}
        if self._recent is not None:
            tensors["recent"] = self._recent
        if self._now is not None:
            tensors["now"] = self._now
        if self._weights is not None:
            tensors |= {name: getattr(self._weights, name) for name in ("data", "indices", "indptr")}
        if tensors:
            save_tensors(folder / WEIGHTS_FILE, tensors)

    @classmethod
    def load(cls, folder: Path, vectors: ItemVectors) -> BaselineRanker:
        """Read what `save` wrote.

        Raises:
            BundleError: a file is missing or unreadable, lacks a tensor, or is of another catalogue.
        """
        config = read_config(folder / SETTINGS_FILE)
        kind, window_days = config.get("kind"), config.get("window_days")
        if kind not in BASELINE_KINDS:
            raise BundleError(
                "Cannot load baseline",
                got=f"kind={kind}",
                expected=f"one of {', '.join(BASELINE_KINDS)}",
                where=str(folder),
                do="Fit it again: make run",
            )
        if kind == "text_encoder" or (kind == "popularity" and not (folder / WEIGHTS_FILE).exists()):
            return cls(vectors, kind)
        n_items = len(vectors.ids)
        expected = f"{WEIGHTS_FILE} with readable weights of {kind}"
        with loading("baseline", got=f"folder={folder}", expected=expected, do="Fit it again: make run"):
            tensors = {name: tensor.numpy() for name, tensor in read_tensors(folder / WEIGHTS_FILE).items()}
            if kind in POPULARITIES:
                for values in tensors.values():
                    if values.shape != (n_items,):
                        raise ValueError(f"{len(values)} items in place of {n_items}")
                recent = tensors["recent"] if kind == "popularity_recent" else None
                window, now = int(config["window"]), tensors.get("now")
                return cls(vectors, kind, recent=recent, window_days=window_days, window=window, now=now)
            return cls(vectors, kind, weights=_read_weights(tensors, n_items))


def item_matrix(histories: Sequence[Sequence[int] | np.ndarray], n_items: int) -> csr_matrix:
    """Who had what: item indices, from 1, to a row of ones each. Shape (len(histories), n_items), float32."""
    from scipy.sparse import csr_matrix

    lengths = [len(history) for history in histories]
    columns = np.concatenate([np.asarray(history, dtype=np.int64) for history in [*histories, []]]) - 1
    starts = np.concatenate([[0], np.cumsum(lengths)])
    return csr_matrix((np.ones(len(columns), dtype=np.float32), columns, starts), shape=(len(histories), n_items))


def _read_weights(tensors: dict[str, np.ndarray], n_items: int) -> csr_matrix:
    from scipy.sparse import csr_matrix

    return csr_matrix((tensors["data"], tensors["indices"], tensors["indptr"]), shape=(n_items, n_items))
