"""The parts that a ranking is blended of beside the sequence model: each scores every item by itself.

A further part needs a name, a class with the methods of `Retriever`, a line in `LOADERS` here and in `part_fits.FITS`,
and what answers call it (`shown_as`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import combinations
from pathlib import Path
from typing import Any, Literal, Protocol, cast

import numpy as np

from core.storage import write_json
from recommender.fitting.component import loading, read_config
from recommender.inputs.catalogue import Catalogue
from recommender.inputs.ids import IdMap
from recommender.inputs.item_moments import POPULARITY, window_counts
from recommender.inputs.item_vectors import ItemVectors
from recommender.inputs.user import UserState
from recommender.retrieval.neighbours import NeighbourModel

# What puts an item on a list, as answers say it.
Part = Literal["sequence", "neighbours", "item_knn", "text", "popularity", "profile"]
# Of a window that the feature store counts: `popularity_recent_1` is the shortest.
RECENT = "popularity_recent_"
# Those that know nothing of an item without training events.
LEARNED_BY_EVENTS = ("neighbours", "item_knn")


@dataclass(frozen=True)
class Asked:
    """Users, each with an item in the history that is known.

    Attributes:
        users: Their states.
        histories: Those items by their indices, oldest first.
        ratings: What the user rated each, None where they did not.
        events: The strongest kind of event on each; empty for a user whose kinds are not known.
    """

    users: Sequence[UserState]
    histories: list[list[int]]
    ratings: list[list[float | None]]
    events: list[list[str]]

    @classmethod
    def of(cls, users: Sequence[UserState], ids: IdMap) -> Asked:
        """Look the histories' items up."""
        found = [ids.find(user.items) for user in users]
        histories = [[index for index in indices if index is not None] for indices in found]
        ratings = [
            [value for index, value in zip(indices, user.values, strict=True) if index is not None]
            for user, indices in zip(users, found, strict=True)
        ]
        events = [
            [kind for index, kind in zip(indices, user.events, strict=True) if index is not None] if user.events else []
            for user, indices in zip(users, found, strict=True)
        ]
        return cls(users, histories, ratings, events)

    def of_one(self, row: int) -> Asked:
        """One of the users alone."""
        one = slice(row, row + 1)
        return Asked(self.users[one], self.histories[one], self.ratings[one], self.events[one])

    @property
    def lengths(self) -> np.ndarray:
        """Known items of each history. Shape (B,), int64."""
        return np.array([len(history) for history in self.histories], dtype=np.int64)


class Retriever(Protocol):
    """What a part has to be able to."""

    def scores(self, asked: Asked) -> np.ndarray:
        """Higher is better, on any scale; an item that the part knows nothing of has 0. Shape (B, n_items), float32."""
        ...

    def save(self, folder: Path) -> None:
        """Write what `LOADERS` reads into a folder that exists."""
        ...


@dataclass(frozen=True)
class ItemToItem:
    """Weights of the items of a history, added: `neighbours` and `item_knn`."""

    name: str
    model: NeighbourModel

    def scores(self, asked: Asked) -> np.ndarray:
        """See `Retriever`."""
        return self.model.scores(asked.histories, asked.ratings, asked.events)

    def save(self, folder: Path) -> None:
        """See `Retriever`."""
        self.model.save(folder, self.name)


@dataclass(frozen=True)
class TextLikeness:
    """The cosine of an item's text to the texts of the history: `text`."""

    vectors: ItemVectors

    def scores(self, asked: Asked) -> np.ndarray:
        """See `Retriever`."""
        profiles = np.stack([self.vectors.profile(history) for history in asked.histories])
        cosines: np.ndarray = profiles @ self.vectors.retrieval[1:].numpy().T
        return cosines

    def save(self, folder: Path) -> None:
        """Nothing: the vectors are a component of their own."""


@dataclass(frozen=True)
class Popularity:
    """log(1 + events) of all time up to the training cut-off: `popularity`.

    Args:
        event_weights: How much an event counts by its kind; kinds that are not named count in full.
    """

    vectors: ItemVectors
    event_weights: Mapping[str, float] = field(default_factory=dict)

    def scores(self, asked: Asked) -> np.ndarray:
        """See `Retriever`."""
        return np.tile(np.log1p(self._counts), (len(asked.users), 1))

    @cached_property
    def _counts(self) -> np.ndarray:
        counts = self.vectors.catalogue.n_events
        if not self.event_weights:
            return counts
        by_kind = events_by_kind(self.vectors.catalogue)
        less = [(1 - weight) * by_kind[kind] for kind, weight in self.event_weights.items() if kind in by_kind]
        return (counts - np.sum(less, axis=0)).astype(np.float32) if less else counts

    def save(self, folder: Path) -> None:
        """The weights, where there are any: the counts are the catalogue's."""
        if self.event_weights:
            counted = list(events_by_kind(self.vectors.catalogue))
            write_json(folder / POPULARITY_FILE, {"event_weights": dict(self.event_weights), "counted": counted})


@dataclass(frozen=True)
class RecentPopularity:
    """log(1 + events) in a recent window; equal counts by the events of all time: `popularity_recent_1` and so on.

    The window ends when the user is asked about; without counts of then, at the training cut-off.

    Args:
        window: Which of the windows that the feature store counts, 0 for the shortest.
    """

    vectors: ItemVectors
    window: int

    def scores(self, asked: Asked) -> np.ndarray:
        """See `Retriever`."""
        ties = self.ties
        scores = np.empty((len(asked.users), len(ties)), dtype=np.float32)
        rows: dict[int, np.ndarray] = {}  # users of one moment share theirs
        for row, user in enumerate(asked.users):
            moment = id(user.items_then)
            if moment not in rows:
                rows[moment] = np.log1p(self._counts(user)[:, self.window] + ties)
            scores[row] = rows[moment]
        return scores

    @property
    def ties(self) -> np.ndarray:
        """What is added to counts: less than one event. Shape (n_items,)."""
        counts = self.vectors.catalogue.n_events
        found: np.ndarray = counts / (counts.max(initial=0) + 1)
        return found

    def _counts(self, user: UserState) -> np.ndarray:
        if user.items_then is None:
            return recent_counts(self.vectors.catalogue)
        return user.items_then.of(self.vectors.ids).popularity

    def save(self, folder: Path) -> None:
        """Nothing: the counts are the catalogue's."""


def shown_as(name: str) -> Part:
    """What answers call a part."""
    shown: Part = "popularity" if name.startswith(RECENT) else cast(Part, name)
    return shown


def recent_counts(catalogue: Catalogue) -> np.ndarray:
    """Events of each item in each window before the training cut-off, shortest first. Shape (n_items, n_windows)."""
    return window_counts(catalogue.table.column(POPULARITY).to_pylist())


def events_by_kind(catalogue: Catalogue) -> dict[str, np.ndarray]:
    """Training events of each item by their kind; of kinds that happened, and that count. Shapes (n_items,), float64.

    Which kinds count is a setting, `features.ignored_events`, and told by the counts themselves: those count that
    together are the events that the catalogue counts. Empty where no kinds are, or more than one choice of them.
    """
    happened = kinds_that_happened(catalogue)
    usual = [[kind for kind in happened if kind != left_out] for left_out in ("impression", "")]
    others = [list(kinds) for n in range(1, len(happened)) for kinds in combinations(happened, n)]
    fitting = [kinds for kinds in (*usual, *others) if kinds and _are_what_counts(kinds, happened, catalogue)]
    if not fitting or (fitting[0] not in usual and len(fitting) > 1):
        return {}
    return {kind: happened[kind] for kind in fitting[0]}


def kinds_that_happened(catalogue: Catalogue) -> dict[str, np.ndarray]:
    """Training events of each item by their kind, whether or not they count. Shapes (n_items,), float64."""
    found = {
        kind: np.nan_to_num(catalogue.table.column(name).to_numpy(zero_copy_only=False).astype(np.float64))
        for kind, name in _OF_KIND.items()
    }
    return {kind: counts for kind, counts in found.items() if counts.any()}


def _are_what_counts(kinds: Sequence[str], happened: Mapping[str, np.ndarray], catalogue: Catalogue) -> bool:
    return np.array_equal(np.sum([happened[kind] for kind in kinds], axis=0), catalogue.n_events)


def load_parts(folder: Path, vectors: ItemVectors) -> dict[str, Retriever]:
    """The parts whose names stand in a `blend` component.

    Raises:
        BundleError: a file is missing or unreadable.
    """
    names = read_config(folder / PARTS_FILE).get("parts", [])
    with loading("parts", got=f"{PARTS_FILE}={names}", expected=f"of {', '.join(LOADERS)}"):
        return {name: LOADERS[name.rstrip("0123456789")](folder, vectors, name) for name in names}


def counts_all_items(folder: Path) -> bool:
    """Whether a `blend` component was chosen with the events of all items.

    Older ones were chosen as if items that only customers of one item took had no events, and are served so.

    Raises:
        BundleError: the file is missing or unreadable.
    """
    return bool(read_config(folder / PARTS_FILE).get("counts_all_items", False))


def popularity_weights(folder: Path, vectors: ItemVectors) -> dict[Any, float]:
    """By kind, how much an event counts in the popularity of a `blend` component; none where they did nothing in it.

    Raises:
        BundleError: the file is unreadable.
    """
    file = folder / POPULARITY_FILE
    config = read_config(file) if file.exists() else {"event_weights": {}}
    weights = {str(kind): float(weight) for kind, weight in config["event_weights"].items()}
    if weights and "counted" not in config:
        # An older one knew what counts only where all kinds do, or all but impressions; elsewhere weights did nothing.
        left_out = kinds_that_happened(vectors.catalogue).keys() - events_by_kind(vectors.catalogue).keys()
        weights = weights if left_out <= {"impression"} else {}
    return weights


def save_parts(folder: Path, parts: Mapping[str, Retriever], counts_all: bool = True) -> None:
    """Write them, their names, and what `counts_all_items` reads, into a folder that exists."""
    for part in parts.values():
        part.save(folder)
    write_json(folder / PARTS_FILE, {"parts": list(parts), "counts_all_items": counts_all})


def _load_weights(folder: Path, vectors: ItemVectors, name: str) -> ItemToItem:
    return ItemToItem(name, NeighbourModel.load(folder, name))


def _load_recent(folder: Path, vectors: ItemVectors, name: str) -> RecentPopularity:
    window = int(name.removeprefix(RECENT)) - 1
    if not 0 <= window < recent_counts(vectors.catalogue).shape[1]:
        raise ValueError(f"the catalogue has no counts for {name}")
    return RecentPopularity(vectors, window)


def _load_popularity(folder: Path, vectors: ItemVectors, name: str) -> Popularity:
    return Popularity(vectors, popularity_weights(folder, vectors))


PARTS_FILE = "parts.json"
POPULARITY_FILE = "popularity.json"
_OF_KIND = {
    "impression": "item_n_impressions",
    "view": "item_n_views",
    "click": "item_n_clicks",
    "cart": "item_n_carts",
    "purchase": "item_n_purchases",
    "rating": "item_n_rating_events",
}
# By the name without its number.
LOADERS: dict[str, Callable[[Path, ItemVectors, str], Retriever]] = {
    "neighbours": _load_weights,
    "item_knn": _load_weights,
    "text": lambda _, vectors, __: TextLikeness(vectors),
    "popularity": _load_popularity,
    RECENT: _load_recent,
}
