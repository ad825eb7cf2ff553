"""Where a ranker does well: by what is known of the user, and by how popular the wanted items are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from core import schema
from recommender.inputs.catalogue import Catalogue
from recommender.inputs.ids import IdMap
from recommender.inputs.queries import Queries
from recommender.metrics.ranking_evaluation import RankingEvaluation

# Known items of a history, from and to; a blend is evaluated in each.
HISTORY_LENGTHS = {"0": (0, 0), "1-2": (1, 2), "3-5": (3, 5), "6-10": (6, 10), ">10": (11, 10**9)}
# Of wanted items: those that training never saw, and thirds of all training events, the rarest items first.
POPULARITIES = ("never seen", "rare third", "middle third", "popular third")
ACTIVITIES = ("least active third", "middle third", "most active third")
# What groupings are called in every table; a shop's attribute of that name has another one there.
ACTIVITY, ITEM_POPULARITY, HISTORY = "activity", "item popularity", "history"
CATEGORY, AGE = "category of the wanted item", "age of the wanted item"
GROUPINGS = (ACTIVITY, ITEM_POPULARITY, HISTORY, CATEGORY, AGE)
# A mean over fewer users says nothing of a group.
MIN_GROUP = 10
MAX_VALUES = 12


def by_history_length(
    evaluated: Mapping[str, RankingEvaluation], queries: Queries, ids: IdMap
) -> dict[str, dict[str, float | int]]:
    """NDCG of every ranker where the history has so many items that the model knows; empty groups are left out."""
    lengths = _known_lengths(queries, ids)
    table: dict[str, dict[str, float | int]] = {}
    for name, (least, most) in HISTORY_LENGTHS.items():
        members = (lengths >= least) & (lengths <= most)
        if members.any():
            table[name] = _ndcg(evaluated, members)
    return table


def by_item_popularity(
    evaluated: Mapping[str, RankingEvaluation], queries: Queries, catalogue: Catalogue
) -> dict[str, dict[str, float | int]]:
    """Of the wanted items of each popularity the share that stands in its user's list (recall over targets).

    Args:
        evaluated: By rankers that have the catalogue's ids.
    Returns:
        {popularity: {n_targets, ranker: recall}}; a popularity that nobody wanted is left out. Targets that the
        catalogue does not know are of no popularity.
    """
    bucket_of = popularity_buckets(catalogue.n_events)
    pairs = [
        (row, index) for row, wanted in enumerate(queries.targets) for index in catalogue.ids.known_indices(wanted)
    ]
    if not pairs:
        return {}
    rows, indices = np.array(pairs).T
    hit = {name: (one.lists[rows] == indices[:, None]).any(axis=1) for name, one in evaluated.items()}
    table: dict[str, dict[str, float | int]] = {}
    for number, name in enumerate(POPULARITIES):
        members = bucket_of[indices - 1] == number
        if members.any():
            recalls = {model: float(found[members].mean()) for model, found in hit.items()}
            table[name] = {"n_targets": int(members.sum()), **recalls}
    return table


def popularity_buckets(n_events: np.ndarray) -> np.ndarray:
    """The place in `POPULARITIES` of each item: 0 never seen, then the third of all events in which its events lie.

    Args:
        n_events: Shape (n_items,).

    >>> popularity_buckets(np.array([0, 1, 1, 2, 2])).tolist()
    [0, 1, 1, 2, 3]
    """
    order = np.argsort(n_events, kind="stable")
    upto = np.cumsum(n_events[order], dtype=np.float64)
    buckets = np.empty(len(n_events), dtype=np.int64)
    # An item lies where the middle of its own events does.
    buckets[order] = 1 + np.minimum(3 * (upto - n_events[order] / 2) / max(float(upto[-1]), 1.0), 2).astype(np.int64)
    buckets[n_events == 0] = 0
    return buckets


def by_user_group(
    evaluated: Mapping[str, RankingEvaluation],
    queries: Queries,
    ids: IdMap,
    attributes: Mapping[str, Sequence[str | None]] | None = None,
) -> dict[str, dict[str, Any]]:
    """NDCG of every ranker by activity (thirds of the users with a history, by its length) and by what users are.

    Args:
        attributes: Name to the value of each query's user, None where it is not known.
    Returns:
        {grouping: {"groups": {group: {n_queries, ranker: ndcg}}, "gap": {ranker: best group - worst group}}}. Groups of
        fewer than 10 queries are left out, and groupings of fewer than two groups.
    """
    table: dict[str, dict[str, Any]] = {}
    for grouping, values in user_groupings(queries, ids, attributes).items():
        of_query = np.array([value or "" for value in values], dtype=object)
        members = {name: of_query == name for name in order_of_groups(values)}
        groups = {name: _ndcg(evaluated, chosen) for name, chosen in members.items() if chosen.sum() >= MIN_GROUP}
        if len(groups) > 1:
            spread = {model: [group[model] for group in groups.values()] for model in evaluated}
            gap = {model: max(values) - min(values) for model, values in spread.items()}
            table[grouping] = {"groups": groups, "gap": gap}
    return table


def user_groupings(
    queries: Queries, ids: IdMap, attributes: Mapping[str, Sequence[str | None]] | None = None
) -> dict[str, Sequence[str | None]]:
    """Every way in which users are grouped: by activity, and by each attribute; the group of each query's user."""
    return beside_attributes({ACTIVITY: activity_thirds(_known_lengths(queries, ids))}, attributes or {})


def beside_attributes(
    own: Mapping[str, Sequence[str | None]], attributes: Mapping[str, Sequence[str | None]]
) -> dict[str, Sequence[str | None]]:
    """Groupings of ours, and behind them the shop's attributes: one that is called like ours is told apart by its name.

    >>> list(beside_attributes({"activity": []}, {"country": [], "activity": []}))
    ['activity', 'country', 'activity (attribute)']
    """
    found = dict(own)
    for attribute, values in attributes.items():
        name = attribute
        while name in found or name in GROUPINGS:
            name = f"{name} (attribute)"
        found[name] = values
    return found


def order_of_groups(values: Sequence[str | None]) -> list[str]:
    """The groups among the values, in the order of every table."""
    there = {value for value in values if value}
    return [name for name in dict.fromkeys([*ACTIVITIES, *POPULARITIES, *sorted(there)]) if name in there]


def activity_thirds(lengths: np.ndarray) -> list[str | None]:
    """One of `ACTIVITIES` for each history length, None for 0. Equal lengths share a third. Shape (n,)."""
    active = np.sort(lengths[lengths > 0])
    if not len(active):
        return [None] * len(lengths)
    first, second = active[[len(active) // 3, 2 * len(active) // 3]]
    return [None if not n else ACTIVITIES[int(n >= first) + int(n >= second)] for n in lengths]


def read_attributes(users: Path, queries: Queries) -> dict[str, list[str | None]]:
    """The attributes of the queries' users that part them into a few groups.

    Args:
        users: The clean users table; attributes are its columns beyond the contract's.
    Returns:
        Name to one value per query, None where it is not known. Attributes of more than 12 values are cut into thirds
        where they are numbers; of words the 12 most frequent values are kept that at least 10 of the users have, and an
        attribute that has fewer than two such values is left out.
    """
    if not users.is_file() or not queries.user_ids:
        return {}
    table = pq.read_table(users)
    row_of = {user: row for row, user in enumerate(table.column(schema.USER_ID).to_pylist())}
    rows = [row_of.get(user) for user in queries.user_ids]
    contract = {column.name for column in schema.TABLES["users"].columns}
    found = {}
    for name in table.column_names:
        if name not in contract:
            column = table.column(name).to_pylist()
            values = [None if row is None or column[row] in (None, "") else str(column[row]) for row in rows]
            grouped = values if len(set(values)) <= MAX_VALUES else _thirds(values) or _most_frequent(values)
            if grouped is not None:
                found[name] = grouped
    return found


def _thirds(values: Sequence[str | None]) -> list[str | None] | None:
    """Numbers as ranges of about equally many users; None where they are no numbers."""
    try:
        numbers = np.array([np.nan if value is None else float(value) for value in values])
    except ValueError:
        return None
    first, second = np.nanquantile(numbers, [1 / 3, 2 / 3])
    names = (f"up to {first:g}", f"{first:g} to {second:g}", f"over {second:g}")
    return [None if np.isnan(n) else names[int(n > first) + int(n > second)] for n in numbers]


def _most_frequent(values: Sequence[str | None]) -> list[str | None] | None:
    """The values that are frequent enough for a group, None in place of the others; None where they are not two."""
    counts = Counter(value for value in values if value is not None)
    kept = {value for value, count in counts.most_common(MAX_VALUES) if count >= MIN_GROUP}
    return [value if value in kept else None for value in values] if len(kept) > 1 else None


def _known_lengths(queries: Queries, ids: IdMap) -> np.ndarray:
    return np.array([len(ids.known_indices(user.items)) for user in queries.users])


def _ndcg(evaluated: Mapping[str, RankingEvaluation], members: np.ndarray) -> dict[str, float | int]:
    means = {model: float(one.per_query["ndcg"][members].mean()) for model, one in evaluated.items()}
    return {"n_queries": int(members.sum()), **means}
