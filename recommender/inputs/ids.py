"""The frozen map between the shop's item ids and the indices of tensors, so that the two never mix."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from core.storage import atomic_file
from recommender.errors import BundleError, RecommenderError
from recommender.fitting.component import loading
from recommender.inputs.seen import KeyTable, SeenItems, item_keys

PADDING = 0


class UnknownItem(RecommenderError):
    """An item id is not in the catalogue that the model learned."""


@dataclass(frozen=True)
class IdMap:
    """Item id <-> index; index 0 is padding, so `item_ids[i]` has index i + 1.

    Indices are a seeded permutation: an order by id or by time would leak into the model.
    """

    item_ids: tuple[str, ...]
    _indices: dict[str, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        indices = {item_id: index for index, item_id in enumerate(self.item_ids, start=PADDING + 1)}
        if len(indices) != len(self.item_ids):
            twice = next(item for place, item in enumerate(self.item_ids, start=1) if indices[item] != place)
            raise UnknownItem(
                "Cannot map item ids",
                got=f"item_id={twice!r} twice",
                expected="each id once",
                do="Correct the items table",
            )
        object.__setattr__(self, "_indices", indices)

    @classmethod
    def shuffled(cls, item_ids: Iterable[str], seed: int) -> IdMap:
        """Map the distinct ids in an order that depends on nothing but the ids and the seed."""
        ordered = sorted(set(item_ids))
        return cls(tuple(ordered[place] for place in np.random.default_rng(seed).permutation(len(ordered))))

    def __len__(self) -> int:
        """The number of items; padding is none."""
        return len(self.item_ids)

    def __contains__(self, item_id: object) -> bool:
        return item_id in self._indices

    def __iter__(self) -> Iterator[str]:
        return iter(self.item_ids)

    def index(self, item_id: str) -> int:
        """The index of one item.

        Raises:
            UnknownItem: the item is not in the map.
        """
        try:
            return self._indices[item_id]
        except KeyError:
            raise _unknown(f"item_id={item_id!r}") from None

    def indices(self, item_ids: Iterable[str]) -> list[int]:
        """The index of each item.

        Raises:
            UnknownItem: one is not in the map.
        """
        try:
            return list(map(self._indices.__getitem__, item_ids))
        except KeyError as error:
            raise _unknown(f"item_id={error.args[0]!r}") from None

    def knows_any(self, item_ids: Iterable[str]) -> bool:
        """Whether one of some items is in the map."""
        return not self._indices.keys().isdisjoint(item_ids)

    def known_indices(self, item_ids: Iterable[str]) -> list[int]:
        """The indices of those items that the map knows, in the order given; the others are dropped."""
        return [index for index in self.find(item_ids) if index is not None]

    def find(self, item_ids: Iterable[str]) -> list[int | None]:
        """The index of each item, None of one that the map does not know."""
        return list(map(self._indices.get, item_ids))

    def places_of(self, seen: SeenItems) -> np.ndarray:
        """Where the items of a set stand among `item_ids`, from 0, in no order; others are dropped. Shape (N,)."""
        return self._key_table.find(seen.keys)

    @cached_property
    def _key_table(self) -> KeyTable:
        return KeyTable(item_keys(self.item_ids))

    def unknown(self, item_ids: Iterable[str]) -> list[str]:
        """Those items that the map does not know, in the order given."""
        return [item_id for item_id in item_ids if item_id not in self._indices]

    def item_id(self, index: int) -> str:
        """The item at an index.

        Raises:
            UnknownItem: padding, or out of range.
        """
        return self.names([index])[0]

    def names(self, indices: Collection[int]) -> list[str]:
        """The item at each index.

        Raises:
            UnknownItem: one is padding, or out of range.
        """
        ids = self.item_ids
        if indices and not (min(indices) > PADDING and max(indices) <= len(ids)):
            wrong = next(index for index in indices if not PADDING < index <= len(ids))
            raise UnknownItem(
                "Cannot find item", got=f"index={wrong}", expected=f"1 to {len(ids)}", do="Check the index"
            )
        return [ids[index - 1] for index in indices]

    def save(self, path: Path) -> None:
        """Write the ids as a JSON list, in the order of their indices."""
        with atomic_file(path) as temporary:
            temporary.write_text(json.dumps(list(self.item_ids), ensure_ascii=False), encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> IdMap:
        """Read what `save` wrote.

        Raises:
            BundleError: no such file, or not a JSON list of strings.
        """
        do = "Fit the vectors again"
        with loading("ids", got=f"file={path}", expected="a JSON list", do=do):
            ids: Sequence[str] = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(ids, list) or not all(isinstance(item_id, str) for item_id in ids):
            raise BundleError("Cannot load ids", got=f"file={path}", expected="a JSON list of strings", do=do)
        return cls(tuple(ids))


def _unknown(got: str) -> UnknownItem:
    return UnknownItem("Cannot find item", got=got, expected="an item of the catalogue", do="Check the id")
