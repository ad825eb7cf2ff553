"""Who chose some items, and how they rated them, as arrays: an item may have hundreds of thousands of customers."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

CHOICES = ("cart", "purchase", "rating")


@dataclass(frozen=True)
class Customers:
    """The customers of one item before the cut-off; each is a number.

    Attributes:
        chosen: Who chose or reviewed it, ascending. Shape (n,), int64.
        raters: Who rated or reviewed it with a rating, ascending. Shape (m,), int64.
        ratings: Their latest rating each; that of a review counts where there is no other. Shape (m,), float64.
        n_ratings: How many ratings there are, those of reviews apart.
        mean_rating: Of these; NaN without any.
    """

    chosen: np.ndarray
    raters: np.ndarray
    ratings: np.ndarray
    n_ratings: int
    mean_rating: float

    def shared_with(self, other: Customers) -> int:
        """How many chose both."""
        return len(np.intersect1d(self.chosen, other.chosen, assume_unique=True))

    def ratings_shared_with(self, other: Customers) -> np.ndarray:
        """The ratings of this item by those who rated both. Shape (N,), float64."""
        _, mine, _ = np.intersect1d(self.raters, other.raters, assume_unique=True, return_indices=True)
        found: np.ndarray = self.ratings[mine]
        return found


def read_customers(
    interactions: ds.Dataset, feedback: ds.Dataset | None, items: Collection[str], until: datetime
) -> Mapping[str, Customers]:
    """The customers of each of some items.

    Args:
        interactions: The clean table.
        feedback: The clean table; None without one.
        until: Events from then on do not count.
    """
    ids = pa.array(sorted(items), pa.string())
    wanted = (pc.field("timestamp") < until) & pc.field("item_id").isin(ids)
    columns = ["user_id", "item_id", "event", "value", "timestamp", "position"]
    tables = [interactions.to_table(columns=columns, filter=wanted)]
    if feedback is not None:
        reviews = feedback.to_table(columns=["user_id", "item_id", "rating", "timestamp"], filter=wanted)
        tables.append(reviews.rename_columns({"rating": "value"}))
    rows = pa.concat_tables(tables, promote_options="default")
    is_event = np.arange(len(rows)) < len(tables[0])
    users = rows.column("user_id").combine_chunks().dictionary_encode().indices.to_numpy(zero_copy_only=False)
    places = pc.index_in(rows.column("item_id"), value_set=ids).to_numpy()
    values = rows.column("value").cast(pa.float64()).fill_null(float("nan")).to_numpy()
    times = rows.column("timestamp").cast(pa.int64()).to_numpy()
    positions = rows.column("position").cast(pa.int64()).fill_null(0).to_numpy()
    is_choice = ~is_event | pc.is_in(rows.column("event"), value_set=pa.array(CHOICES)).to_numpy()
    # Of each item reviews before events, and the first review last: of a customer's ratings the last row counts.
    order = np.lexsort((positions, np.where(is_event, times, -times), is_event, places))
    starts = np.searchsorted(places[order], np.arange(len(ids) + 1))
    return {
        item: _of_item(*(column[order[start:end]] for column in (users, values, is_choice, is_event)))
        for item, start, end in zip(ids.to_pylist(), starts, starts[1:], strict=False)
    }


def _of_item(users: np.ndarray, values: np.ndarray, is_choice: np.ndarray, is_event: np.ndarray) -> Customers:
    """From the rows of one item, in the order in which they count."""
    rated = ~np.isnan(values)
    raters, last = np.unique(users[rated][::-1], return_index=True)
    own = values[rated & is_event]
    return Customers(
        chosen=np.unique(users[is_choice]),
        raters=raters,
        ratings=values[rated][::-1][last],
        n_ratings=len(own),
        mean_rating=float(own.mean()) if len(own) else float("nan"),
    )
