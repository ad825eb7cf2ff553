"""What is known of the items of a catalogue that reasons are made of: counts over customers, nobody of them by name.

What fewer than three customers share is not kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from core import schema
from core.storage import atomic_file
from recommender.aspects.agreement import Agreement
from recommender.fitting.component import loading
from recommender.fitting.tensors import read_tensors, save_tensors
from recommender.inputs.catalogue import Catalogue
from recommender.inputs.texts import item_text, tidy
from recommender.metrics.texts import words

ASPECTS_FILE, TERMS_FILE, COUNTS_FILE = "aspects.parquet", "terms.parquet", "counts.safetensors"
MIN_CUSTOMERS = 3
_ASPECTS = pa.schema(
    [
        pa.field("place", pa.int64(), nullable=False),
        pa.field("term", pa.string(), nullable=False),
        pa.field("name", pa.string(), nullable=False),
        pa.field("n_praise", pa.int64(), nullable=False),
        pa.field("n_blame", pa.int64(), nullable=False),
        pa.field("opinions", pa.list_(pa.string()), nullable=False),
    ]
)
_TERMS = pa.schema([pa.field("term", pa.string(), nullable=False), pa.field("share", pa.float64(), nullable=False)])


@dataclass(frozen=True)
class SharedCounts:
    """Per item, rows of other items that at least three of the same customers chose. Places count from 0.

    Attributes:
        starts: Where each item's rows begin, and the last one's end. Shape (n_items + 1,), int64.
        others: The other item of each row, ascending within an item. Shape (n_rows,), int64.
        n_both: Customers who chose both. Shape (n_rows,), int64.
        n_rated: Customers who rated both. Shape (n_rows,), int64.
        n_liked: Those of them who rated this item 4 or more. Shape (n_rows,), int64.
        n_chosen: Customers who chose each item. Shape (n_items,), int64.
        n_customers: How many customers chose anything.
    """

    starts: np.ndarray
    others: np.ndarray
    n_both: np.ndarray
    n_rated: np.ndarray
    n_liked: np.ndarray
    n_chosen: np.ndarray
    n_customers: int

    def rows(self, place: int, others: np.ndarray) -> np.ndarray:
        """The rows of an item that are of these other items, each given once. Shape (N,), int64."""
        start, end = int(self.starts[place]), int(self.starts[place + 1])
        mine, wanted = self.others[start:end], np.sort(others)
        at = np.minimum(np.searchsorted(mine, wanted), max(len(mine) - 1, 0))
        found: np.ndarray = start + at[mine[at] == wanted] if len(mine) else at[:0]
        return found


@dataclass(frozen=True)
class ItemFacts:
    """Facts of all items.

    Attributes:
        aspects: Of items, by place from 0: what several reviewers praise.
        shares: Of each aspect's term, the share of reviews that speak of it.
        counts: Who chose what, together with what.
    """

    catalogue: Catalogue
    aspects: Mapping[int, tuple[Agreement, ...]]
    shares: Mapping[str, float]
    counts: SharedCounts

    @cached_property
    def titles(self) -> list[str | None]:
        return self._column(schema.TITLE)

    @cached_property
    def categories(self) -> list[str | None]:
        return self._column(schema.CATEGORY)

    @cached_property
    def brands(self) -> list[str | None]:
        return self._column(schema.BRAND)

    @cached_property
    def prices(self) -> list[float | None]:
        return self._column(schema.PRICE)

    @cached_property
    def ratings(self) -> list[tuple[float, int]]:
        """Mean and number, as of the cut-off; (0, 0) without any."""
        means, counts = self._column(schema.ITEM_MEAN_RATING), self._column(schema.ITEM_N_RATINGS)
        return [(mean or 0.0, int(n or 0)) for mean, n in zip(means, counts, strict=True)]

    @cached_property
    def value_shares(self) -> dict[str, float]:
        """Of each category (every step of its path) and each brand, the share of items that have it."""
        found: dict[str, float] = {}
        paths = [path for category in self.categories for path in paths_of(category)]
        for value in [*paths, *(brand for brand in self.brands if brand)]:
            found[value] = found.get(value, 0.0) + 1 / len(self.catalogue)
        return found

    def text_words(self, place: int) -> frozenset[str]:
        """The words of an item's title and description; none where its text is made of reviews."""
        title = self.titles[place]
        if not title or not tidy(title):
            return frozenset()
        own = _own_text(title, self.brands[place], self.categories[place], self.catalogue.texts[place])
        return frozenset(words(own))

    @cached_property
    def ranks(self) -> list[tuple[int, int]]:
        """By events before the cut-off: an item's rank within its category (without one, the shop), and of how many."""
        n_events, groups = self.catalogue.n_events, dict[str, list[int]]()
        for place, category in enumerate(self.categories):
            groups.setdefault(category or "", []).append(place)
        found = [(0, 0)] * len(self.catalogue)
        for places in groups.values():
            ascending = np.sort(n_events[places])
            for place in places:
                above = len(places) - int(np.searchsorted(ascending, n_events[place], side="right"))
                found[place] = (above + 1, len(places))
        return found

    def _column(self, name: str) -> list[Any]:
        values: list[Any] = self.catalogue.table.column(name).to_pylist()
        return values

    def save(self, folder: Path) -> None:
        """Write them into a folder that exists; the catalogue is kept elsewhere."""
        rows = [
            {"place": place, "term": one.term, "name": one.name, "n_praise": one.n_praise, "n_blame": one.n_blame,
             "opinions": list(one.opinions)}
            for place, found in sorted(self.aspects.items()) for one in found
        ]  # fmt: skip
        with atomic_file(folder / ASPECTS_FILE) as temporary:
            pq.write_table(pa.Table.from_pylist(rows, schema=_ASPECTS), temporary)
        terms = [{"term": term, "share": share} for term, share in sorted(self.shares.items())]
        with atomic_file(folder / TERMS_FILE) as temporary:
            pq.write_table(pa.Table.from_pylist(terms, schema=_TERMS), temporary)
        counts = self.counts
        arrays = {name: getattr(counts, name) for name in _ARRAYS}
        save_tensors(folder / COUNTS_FILE, arrays | {"n_customers": np.array([counts.n_customers])})

    @classmethod
    def load(cls, folder: Path, catalogue: Catalogue) -> ItemFacts:
        """Read what `save` wrote.

        Raises:
            BundleError: a file is missing or unreadable, or is of another catalogue.
        """
        expected = f"{ASPECTS_FILE}, {TERMS_FILE} and {COUNTS_FILE} of this catalogue"
        with loading("facts of reasons", got=f"folder={folder}", expected=expected):
            aspects: dict[int, list[Agreement]] = {}
            for row in pq.read_table(folder / ASPECTS_FILE).to_pylist():
                one = Agreement(row["term"], row["name"], row["n_praise"], row["n_blame"], tuple(row["opinions"]))
                aspects.setdefault(row["place"], []).append(one)
            shares = {row["term"]: row["share"] for row in pq.read_table(folder / TERMS_FILE).to_pylist()}
            tensors = {name: tensor.numpy() for name, tensor in read_tensors(folder / COUNTS_FILE).items()}
            counts = SharedCounts(
                **{name: tensors[name] for name in _ARRAYS}, n_customers=int(tensors["n_customers"][0])
            )
            if len(counts.n_chosen) != len(catalogue) or max(aspects, default=0) >= len(catalogue):
                raise ValueError(f"they are of {len(counts.n_chosen)} items in place of {len(catalogue)}")
        return cls(catalogue, {place: tuple(found) for place, found in aspects.items()}, shares, counts)


_ARRAYS = ("starts", "others", "n_both", "n_rated", "n_liked", "n_chosen")


def _own_text(title: str, brand: str | None, category: str | None, text: str) -> str:
    """Title and description, of a text that has brand and category between them."""
    return f"{tidy(title)} {text.removeprefix(item_text(title, brand, category, None, (), len(text)))}"


def paths_of(category: str | None) -> list[str]:
    """A category and those above it, the deepest first: "Tea > Black tea", "Tea"."""
    steps = category.split(schema.CATEGORY_SEPARATOR) if category else []
    return [schema.CATEGORY_SEPARATOR.join(steps[:n]) for n in range(len(steps), 0, -1)]
