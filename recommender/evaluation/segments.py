"""Who and what a comparison is parted by: users by history and by what they are, wanted items by category and age.

A segment of users is their queries. A segment of items is what users wanted of them: the same lists, of which only hits
on items of the segment count, and only for users who wanted one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from core import schema
from core.settings.evaluation import SegmentSettings
from recommender.evaluation.groups import AGE, CATEGORY, HISTORY, beside_attributes
from recommender.inputs.catalogue import Catalogue
from recommender.inputs.ids import IdMap
from recommender.inputs.queries import Queries
from recommender.metrics.ranking import PER_QUERY
from recommender.metrics.ranking_evaluation import RankingEvaluation

COLD, LIGHT, HEAVY = "cold", "light", "heavy"
NEW, OLD = "new", "old"


@dataclass(frozen=True)
class Segments:
    """The groupings of some queries.

    Attributes:
        of_users: Grouping to the segment of each query's user; None for none.
        of_items: Grouping to the segment of each wanted item; an item may have none.
        absent: Attributes that were named and that the users do not have.
    """

    of_users: Mapping[str, Sequence[str | None]]
    of_items: Mapping[str, Mapping[str, str]]
    absent: tuple[str, ...] = ()


def find_segments(
    queries: Queries,
    catalogue: Catalogue,
    settings: SegmentSettings,
    attributes: Mapping[str, Sequence[str | None]] | None = None,
) -> Segments:
    """The groupings that the settings name.

    Args:
        catalogue: Of the candidate: an item that it counts no event of, or does not know, is new.
        attributes: Name to the value of each query's user.
    """
    known = attributes or {}
    named = {name: known[name] for name in settings.attributes if name in known}
    users = beside_attributes({HISTORY: _histories(queries, settings.light_until)}, named)
    items = {AGE: _ages(queries, catalogue), CATEGORY: _categories(queries, catalogue, settings.categories)}
    return Segments(users, items, tuple(name for name in settings.attributes if name not in known))


def values_by_segment(
    evaluated: RankingEvaluation, ids: IdMap, queries: Queries, segments: Segments, metric: str
) -> dict[tuple[str, str], np.ndarray]:
    """A ranker's figure for each query in each segment, NaN where the query is not of it.

    Args:
        ids: Of the ranker.
        metric: A name of `PER_QUERY`.
    Returns:
        (grouping, segment) to values of shape (n_queries,).
    """
    found: dict[tuple[str, str], np.ndarray] = {}
    for grouping, of_query in segments.of_users.items():
        names = np.array([name or "" for name in of_query], dtype=object)
        for name in dict.fromkeys(sorted(filter(None, of_query))):
            found[grouping, name] = np.where(names == name, evaluated.per_query[metric], np.nan)
    for grouping, of_item in segments.of_items.items():
        of_place = np.array(["", *(of_item.get(item, "") for item in ids)], dtype=object)[evaluated.lists]
        for name in dict.fromkeys(sorted(of_item.values())):
            wanted = np.array([sum(of_item.get(item) == name for item in one) for one in queries.targets])
            hits = evaluated.hits & (of_place == name)
            values = PER_QUERY[metric](hits, np.maximum(wanted, 1))
            found[grouping, name] = np.where(wanted > 0, values, np.nan)
    return found


def _histories(queries: Queries, light_until: int) -> list[str | None]:
    lengths = [len(user.items) for user in queries.users]
    return [COLD if not n else LIGHT if n <= light_until else HEAVY for n in lengths]


def _wanted(queries: Queries) -> set[str]:
    return {item for targets in queries.targets for item in targets}


def _ages(queries: Queries, catalogue: Catalogue) -> dict[str, str]:
    events = dict(zip(catalogue.ids, catalogue.n_events.tolist(), strict=True))
    return {item: OLD if events.get(item) else NEW for item in _wanted(queries)}


def _categories(queries: Queries, catalogue: Catalogue, most: int) -> dict[str, str]:
    """The categories that most users wanted something of."""
    if schema.CATEGORY not in catalogue.table.column_names or not most:
        return {}
    of_item = dict(zip(catalogue.ids, catalogue.table.column(schema.CATEGORY).to_pylist(), strict=True))
    there = {item: str(of_item[item]) for item in _wanted(queries) if of_item.get(item)}
    wanted_by = Counter(name for one in queries.targets for name in {there[item] for item in one if item in there})
    kept = {name for name, _ in wanted_by.most_common(most)}
    return {item: name for item, name in there.items() if name in kept}
