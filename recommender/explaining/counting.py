"""Count what reasons are made of, from a training set: who chose what together, and what reviewers agree on."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc

from core import schema
from recommender.aspects.agreement import ReviewedItem
from recommender.aspects.aspect import Aspect
from recommender.explaining.candidates import CHOICES, LIKED
from recommender.explaining.item_facts import MIN_CUSTOMERS, SharedCounts
from recommender.inputs.catalogue import Catalogue, read_training_table

# Of a customer the newest so many choices are counted together.
MOST_CHOICES = 100
# A term that fewer reviewers of the shop speak of has no share of its own.
MIN_SPEAKERS = 3
# Items whose rows are counted in one product of matrices.
_PASS = 2048


def reviewed_items(
    catalogue: Catalogue, rows: Sequence[Mapping[str, Any]], aspects: Sequence[Sequence[Aspect]]
) -> dict[int, ReviewedItem]:
    """By place from 0, what the reviewers of each item say.

    Args:
        rows: Reviews, with who wrote them and of what.
        aspects: Of each review.
    """
    found: defaultdict[int, ReviewedItem] = defaultdict(ReviewedItem)
    for row, said in zip(rows, aspects, strict=True):
        found[catalogue.ids.index(row[schema.ITEM_ID]) - 1].add(row[schema.USER_ID], said)
    return dict(found)


def shares_of(said: Iterable[Sequence[Aspect]]) -> dict[str, float]:
    """Of each term, the share of reviews that speak of it; those of few reviews are left out."""
    counts, n_reviews = Counter[str](), 0
    for aspects in said:
        n_reviews += 1
        counts.update({aspect.term for aspect in aspects})
    return {term: n / n_reviews for term, n in sorted(counts.items()) if n >= MIN_SPEAKERS}


def read_choices(training: Path) -> dict[str, dict[str, float | None]]:
    """What each user chose before the cut-off, with their rating of it, None without one.

    Who reviews an item has chosen it. Ratings and reviews are all there. A purchase is known as far as a
    training sequence shows it, so of choices that are neither rated nor reviewed a few may be missing.
    """
    columns = [schema.USER_ID, schema.HISTORY_ITEMS, schema.HISTORY_EVENTS]
    found: defaultdict[str, dict[str, float | None]] = defaultdict(dict)
    for batch in read_training_table(training, "sequences", columns).to_batches():
        for row in batch.to_pylist():
            items = row[schema.HISTORY_ITEMS]
            events = row[schema.HISTORY_EVENTS] or ["purchase"] * len(items)
            chosen = (item for item, event in zip(items, events, strict=True) if event in CHOICES)
            found[row[schema.USER_ID]].update(dict.fromkeys(chosen))
    for table in ("reviews", "pairs"):
        for row in of_split(training, table, "train", [schema.USER_ID, schema.ITEM_ID, schema.RATING]):
            found[row[schema.USER_ID]][row[schema.ITEM_ID]] = row[schema.RATING]
    return {user: chosen for user, chosen in found.items() if chosen}


def count_together(catalogue: Catalogue, choices: Iterable[Mapping[str, float | None]]) -> SharedCounts:
    """How many customers chose each item, and each two items; pairs that fewer than three chose are left out.

    Args:
        choices: Of each customer, the items with their ratings.
    """
    from scipy.sparse import csr_matrix

    n_items, rows, columns, ratings = len(catalogue), [], [], []
    for row, chosen in enumerate(choices):
        for item, rating in list(chosen.items())[-MOST_CHOICES:]:
            rows.append(row)
            columns.append(catalogue.ids.index(item) - 1)
            ratings.append(0.0 if rating is None else rating)
    if not rows:
        nothing = np.zeros(0, dtype=np.int64)
        starts = np.zeros(n_items + 1, dtype=np.int64)
        return SharedCounts(starts, nothing, nothing, nothing, nothing, np.zeros(n_items, dtype=np.int64), 0)
    n_customers, rated = max(rows) + 1, np.array(ratings)

    def matrix(kept: np.ndarray) -> csr_matrix:
        return csr_matrix((kept.astype(np.int64), (rows, columns)), shape=(n_customers, n_items))

    had, rating, liking = (matrix(kept) for kept in (np.ones(len(rows), dtype=bool), rated > 0, rated >= LIKED))
    parts: list[_Rows] = []
    for start in range(0, n_items, _PASS):
        some = slice(start, start + _PASS)
        products = (had[:, some].T @ had, rating[:, some].T @ rating, liking[:, some].T @ rating)
        both, rated_both, liked = (product.tocsr() for product in products)
        parts.append(_rows(both, rated_both, liked, start))
    per_item, others, n_both, n_rated, n_liked = (np.concatenate(part) for part in zip(*parts, strict=True))
    return SharedCounts(
        starts=np.concatenate([[0], np.cumsum(per_item)]).astype(np.int64),
        others=others.astype(np.int64),
        n_both=n_both,
        n_rated=n_rated,
        n_liked=n_liked,
        n_chosen=np.bincount(np.array(columns, dtype=np.int64), minlength=n_items).astype(np.int64),
        n_customers=n_customers,
    )


# Per item how many rows it has; and of each row the other item, and how many chose both, rated both, liked it.
_Rows = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def _rows(both: Any, rated: Any, liked: Any, start: int) -> _Rows:
    """The rows of some items, from products of sparse matrices of whole numbers."""
    pairs = both.tocoo()
    enough = (pairs.data >= MIN_CUSTOMERS) & (pairs.row + start != pairs.col)
    row, column, counts = pairs.row[enough], pairs.col[enough], pairs.data[enough]
    order = np.lexsort((column, row))
    row, column, counts = row[order], column[order], counts[order]
    n_rated, n_liked = (_at(matrix, row, column) for matrix in (rated, liked))
    return np.bincount(row, minlength=both.shape[0]), column, counts, n_rated, n_liked


def _at(matrix: Any, row: np.ndarray, column: np.ndarray) -> np.ndarray:
    """Numbers of a sparse matrix of whole numbers. Shape (n,), int64."""
    if not len(row):  # of no place at all a matrix gives a matrix
        return np.zeros(0, dtype=np.int64)
    return np.asarray(matrix[row, column], dtype=np.int64).reshape(-1)


def of_split(training: Path, table: str, split: schema.Split, columns: list[str]) -> list[dict[str, Any]]:
    """The rows of one window."""
    found = read_training_table(training, table, [*columns, schema.SPLIT])
    rows: list[dict[str, Any]] = found.filter(pc.equal(found.column(schema.SPLIT), split)).to_pylist()
    return rows
