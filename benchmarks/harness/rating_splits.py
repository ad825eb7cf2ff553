"""Splits of ratings for `benchmarks.rating`, made from the training set of the product's global time split."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from core import schema
from recommender.inputs.user import UserState

SPLITS: tuple[schema.Split, ...] = ("train", "validation", "test")
VALIDATION_SHARE, TEST_SHARE = 0.1, 0.2
PARTS = 10
_ROWS_PER_PAGE = 5000


def write_random_split(time_split: Path, target: Path, seed: int, max_history: int) -> None:
    """Split the same ratings at random; the history of a rating is the user's training ratings.

    The history of a training rating, and the mean of its item, leave out the whole fold that the rating is in. Leaving
    out that one rating alone would leak it: it is the difference to the sum in the user's other rows.

    Args:
        time_split: The training set that the product made: its `pairs` are a user's together, oldest first.
        target: A folder that does not exist; `pairs.parquet` and `catalogue.parquet` are written.
        max_history: The newest training ratings of the user that a history holds.
    """
    read = [schema.USER_ID, schema.ITEM_ID, schema.RATING, schema.ITEM_TEXT]
    pairs = pq.read_table(time_split / "pairs.parquet", columns=read)
    users, items = (pairs[name].to_numpy(zero_copy_only=False) for name in (schema.USER_ID, schema.ITEM_ID))
    ratings = pairs[schema.RATING].to_numpy()
    # Without the user's own words, where the item's text quotes them: they tell the rating, which may be held out here.
    item_texts = pairs[schema.ITEM_TEXT].to_pylist()
    edges = np.cumsum([1 - VALIDATION_SHARE - TEST_SHARE, VALIDATION_SHARE])
    split = np.searchsorted(edges, np.random.default_rng(seed).random(len(ratings)), side="right")
    _, user = np.unique(users, return_inverse=True)
    names, item = np.unique(items, return_inverse=True)
    target.mkdir(parents=True)
    known = split == 0
    # 0 to PARTS - 1 are the folds of the training ratings; PARTS stands for all of them.
    part = np.where(known, np.random.default_rng(seed + 1).integers(PARTS, size=len(split)), PARTS)
    counts, sums = (np.zeros((PARTS + 1, len(names))) for _ in range(2))
    for number in range(PARTS + 1):
        others = known & (part != number)
        counts[number] = np.bincount(item[others], minlength=len(names))
        sums[number] = np.bincount(item[others], weights=ratings[others], minlength=len(names))
    wanted = schema.TRAINING_TABLES["pairs"]
    with pq.ParquetWriter(target / "pairs.parquet", wanted) as file:
        rows = _pair_rows(users, items, ratings, split, user, part, counts[part, item], sums[part, item], max_history)
        told = ({**row, schema.ITEM_TEXT: text} for row, text in zip(rows, item_texts, strict=True))
        for page in _pages(told):
            file.write_table(pa.Table.from_pylist(page, schema=wanted))
    all_known = zip(counts[PARTS].astype(int).tolist(), sums[PARTS].tolist(), strict=True)
    of_item = dict(zip(names.tolist(), all_known, strict=True))
    _write_catalogue(time_split, target, of_item)


def users_at_cutoff(training: Path, max_history: int) -> dict[str, UserState]:
    """Every user of the training ratings with these ratings as the history."""
    pairs = pq.read_table(training / "pairs.parquet", columns=[schema.USER_ID, schema.ITEM_ID, schema.RATING, "split"])
    entries: dict[str, dict[str, float]] = {}
    given: dict[str, list[float]] = {}
    for user, item, rating, split in zip(*(column.to_pylist() for column in pairs.columns), strict=True):
        if split == "train":
            history = entries.setdefault(user, {})
            history.pop(item, None)  # an entry stands at the latest rating
            history[item] = rating
            given.setdefault(user, []).append(rating)
    return {
        user: UserState(
            items=tuple(history)[-max_history:],
            values=tuple(history.values())[-max_history:],
            mean_rating=float(np.mean(given[user])),
            n_ratings=len(given[user]),
        )
        for user, history in entries.items()
    }


def _pair_rows(
    users: np.ndarray,
    items: np.ndarray,
    ratings: np.ndarray,
    split: np.ndarray,
    user: np.ndarray,
    part: np.ndarray,
    item_counts: np.ndarray,
    item_sums: np.ndarray,
    max_history: int,
) -> Iterator[dict[str, Any]]:
    known = [np.flatnonzero((user == number) & (split == 0)) for number in range(int(user.max()) + 1)]
    for row in range(len(ratings)):
        others = known[user[row]]
        others = others[part[others] != part[row]]
        n, total = item_counts[row], item_sums[row]
        yield {
            schema.USER_ID: users[row],
            schema.ITEM_ID: items[row],
            schema.RATING: ratings[row],
            schema.SPLIT: SPLITS[split[row]],
            schema.HISTORY_ITEMS: items[others[-max_history:]].tolist(),
            schema.HISTORY_VALUES: ratings[others[-max_history:]].tolist(),
            schema.MEAN_RATING: float(ratings[others].mean()) if len(others) else None,
            schema.N_RATINGS: len(others),
            schema.ITEM_MEAN_RATING: float(total / n) if n else None,
            schema.ITEM_N_RATINGS: int(n),
        }


def _pages(rows: Iterator[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    page = []
    for row in rows:
        page.append(row)
        if len(page) == _ROWS_PER_PAGE:
            yield page
            page = []
    yield page


def _write_catalogue(time_split: Path, target: Path, of_item: dict[str, tuple[int, float]]) -> None:
    """Names and texts as they are; what is counted, of the training ratings."""
    wanted = schema.TRAINING_TABLES["catalogue"]
    kept = (schema.ITEM_ID, schema.TITLE, schema.CATEGORY, schema.BRAND, schema.PRICE, schema.ITEM_TEXT)
    rows = pq.read_table(time_split / "catalogue.parquet", columns=list(kept)).to_pylist()
    for row in rows:
        n, total = of_item.get(row[schema.ITEM_ID], (0, 0.0))
        row |= {schema.ITEM_N_EVENTS: n, schema.ITEM_N_RATINGS: n, schema.ITEM_MEAN_RATING: total / n if n else None}
    pq.write_table(pa.Table.from_pylist(rows, schema=wanted), target / "catalogue.parquet")
