"""Whether a gap between groups is more than noise: an interval, and a p-value corrected for how many are looked at.

The gap is the best group's mean less the worst one's, which noise alone makes larger than zero. So its p-value compares
it with the gaps between groups of the same sizes that are drawn by lot, and a gap is beyond noise where that p-value
holds after Holm's correction over all groupings. The interval is that of the difference between these two groups.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from recommender.evaluation.groups import (
    ITEM_POPULARITY,
    MIN_GROUP,
    POPULARITIES,
    order_of_groups,
    popularity_buckets,
    user_groupings,
)
from recommender.inputs.catalogue import Catalogue
from recommender.inputs.ids import IdMap
from recommender.inputs.queries import Queries
from recommender.metrics.ranking import metric_key
from recommender.metrics.ranking_evaluation import RankingEvaluation
from recommender.metrics.significance import CHANCE, Clusters, group_range_p_value, holm


def audit_gaps(
    model: RankingEvaluation,
    queries: Queries,
    ids: IdMap,
    seed: int,
    attributes: Mapping[str, Sequence[str | None]] | None = None,
    catalogue: Catalogue | None = None,
) -> list[dict[str, Any]]:
    """The gap of every grouping of users, by NDCG, and of wanted items by popularity, by the share that is found.

    Args:
        attributes: Name to the value of each query's user, None where it is not known.
        catalogue: Of the model; None leaves the popularity of items out.
    Returns:
        JSON-able rows {grouping, metric, groups: {group: {n, mean}}, best, worst, gap, low, high, p_value,
        adjusted_p_value, beyond_noise}. Groups of fewer than 10 users, or wanted items, are left out, and groupings of
        fewer than two groups.
    """
    rows = []
    for grouping, of_query in user_groupings(queries, ids, attributes).items():
        values = model.per_query["ndcg"]
        row = _audit(values, np.arange(len(values)), of_query, seed)
        if row is not None:
            rows.append({"grouping": grouping, "metric": metric_key("ndcg", model.k), **row})
    if catalogue is not None:
        row = _audit(*_found_items(model, queries, catalogue), seed)
        if row is not None:
            rows.append({"grouping": ITEM_POPULARITY, "metric": metric_key("recall", model.k), **row})
    adjusted = holm(np.array([row["p_value"] for row in rows]))
    return [
        {**row, "adjusted_p_value": float(p), "beyond_noise": bool(p <= CHANCE)}
        for row, p in zip(rows, adjusted, strict=True)
    ]


def _found_items(
    model: RankingEvaluation, queries: Queries, catalogue: Catalogue
) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Of each wanted item that the catalogue knows: whether it is in the list, who wants it, how popular it is."""
    buckets = popularity_buckets(catalogue.n_events)
    pairs = [
        (row, index) for row, wanted in enumerate(queries.targets) for index in catalogue.ids.known_indices(wanted)
    ]
    rows, indices = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
    found = (model.lists[rows] == indices[:, None]).any(axis=1).astype(np.float64)
    return found, rows, [POPULARITIES[bucket] for bucket in buckets[indices - 1]]


def _audit(values: np.ndarray, users: np.ndarray, names: Sequence[str | None], seed: int) -> dict[str, Any] | None:
    """One grouping; None where fewer than two of its groups are large enough.

    Args:
        values: Shape (n,).
        users: Whose each value is. Shape (n,).
        names: The group of each value; None for none.
    """
    of_value = np.array([name or "" for name in names], dtype=object)
    groups = [name for name in order_of_groups(names) if (of_value == name).sum() >= MIN_GROUP]
    if len(groups) < 2:
        return None
    number = {name: place for place, name in enumerate(groups)}
    kept = np.flatnonzero([name in number for name in of_value])
    values, users = values[kept].astype(np.float64), users[kept]
    group = np.array([number[name] for name in of_value[kept]])
    sizes = np.bincount(group)
    means = np.bincount(group, weights=values) / sizes
    best, worst = int(means.argmax()), int(means.argmin())
    clusters = Clusters.of(values, group, users)
    low, high = clusters.interval(best, worst, seed)
    p_value = group_range_p_value(values, group, seed)
    if clusters.spans_groups:
        # A user's wanted items are found or not together: lots that part them would make chance look too small.
        p_value = max(p_value, clusters.range_p_value(seed))
    return {
        "groups": {name: {"n": int(sizes[place]), "mean": float(means[place])} for name, place in number.items()},
        "best": groups[best],
        "worst": groups[worst],
        "gap": float(means[best] - means[worst]),
        "low": low,
        "high": high,
        "p_value": p_value,
    }
