"""The frozen map between the shop's item ids and the indices of tensors, so that the two never mix."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
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
            raise UnknownItem(
                "Cannot find item", got=f"item_id={item_id!r}", expected="an item of the catalogue", do="Check the id"
            ) from None

    def known_indices(self, item_ids: Iterable[str]) -> list[int]:
        """The indices of those items that the map knows, in the order given; the others are dropped."""
        found = (self._indices.get(item_id) for item_id in item_ids)
        return [index for index in found if index is not None]

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
        if not PADDING < index <= len(self.item_ids):
            raise UnknownItem(
                "Cannot find item", got=f"index={index}", expected=f"1 to {len(self.item_ids)}", do="Check the index"
            )
        return self.item_ids[index - 1]

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
