"""Two bundles on the same queries: overall, by segment, and what the lists of both are like otherwise.

Several segments are looked at, and one of them loses by chance more often than any single one would: intervals hold
95 % for all segments together (Bonferroni), and p-values are corrected for their number (Holm). What is drawn is users.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from core.settings.evaluation import SegmentSettings
from recommender.bundle.loading import Bundle
from recommender.evaluation.differences import GapChange, Judgement, SegmentDifference
from recommender.evaluation.segments import Segments, find_segments, values_by_segment
from recommender.fitting.component import loading
from recommender.inputs.ids import PADDING, IdMap
from recommender.inputs.queries import Queries
from recommender.metrics.ranking import metric_key
from recommender.metrics.ranking_evaluation import RankingEvaluation, evaluate_ranker
from recommender.metrics.significance import (
    CONFIDENCE,
    Comparison,
    bootstrap_interval,
    drawn_means,
    holm,
    sign_flip_p_values,
)

# So many draws that the tails of intervals corrected for some dozens of segments are not single draws.
_N_SAMPLES = 10_000


def judge_bundles(
    candidate: Bundle,
    champion: Bundle,
    queries: Queries,
    k: int,
    metric: str,
    *,
    settings: SegmentSettings | None = None,
    attributes: Mapping[str, Sequence[str | None]] | None = None,
) -> Judgement:
    """Compare two bundles on the same queries, of events that neither learned from.

    The champion ranks its own catalogue, so a target it does not know is its miss.

    Args:
        queries: At least one.
        metric: A name of `metrics.PER_QUERY`, e.g. "ndcg".
        settings: Of the segments; without them the bundles are compared overall alone.
        attributes: Name to the value of each query's user, None where it is not known.
    Raises:
        BundleError: the champion cannot rank them, as a part that it needs is missing.
    """
    seed = candidate.manifest.recipe.seed
    ours = evaluate_ranker(candidate.ranker, queries, k)
    with loading("bundle", got=f"bundle={champion.folder}", expected="one that ranks the test queries"):
        theirs = evaluate_ranker(champion.ranker, queries, k)
    comparison = _compare(ours.per_query[metric], theirs.per_query[metric], metric_key(metric, k), seed)
    shown = _n_shown(ours), _n_shown(theirs)
    if settings is None:
        return Judgement(comparison, n_shown=shown[0], n_shown_champion=shown[1])
    segments = find_segments(queries, candidate.catalogue, settings, attributes)
    by_segment = (
        _values(ours, candidate.catalogue.ids, queries, segments, metric, settings.min_queries),
        _values(theirs, champion.catalogue.ids, queries, segments, metric, settings.min_queries),
    )
    return Judgement(
        comparison, _differences(*by_segment, seed), _gaps(*by_segment, seed), *shown, absent=segments.absent
    )


def _compare(ours: np.ndarray, theirs: np.ndarray, metric: str, seed: int) -> Comparison:
    difference = ours - theirs
    low, high = bootstrap_interval(difference, seed)
    return Comparison(
        metric=metric,
        candidate=float(ours.mean()),
        champion=float(theirs.mean()),
        difference=float(difference.mean()),
        low=low,
        high=high,
        p_value=float(sign_flip_p_values(difference[:, None], seed)[0]),
        n_queries=len(ours),
    )


def _n_shown(evaluated: RankingEvaluation) -> int:
    return int(np.count_nonzero(np.unique(evaluated.lists) != PADDING))


# (grouping, segment) to the figure of each query, NaN where it is not of the segment.
_BySegment = Mapping[tuple[str, str], np.ndarray]


def _values(
    evaluated: RankingEvaluation, ids: IdMap, queries: Queries, segments: Segments, metric: str, least: int
) -> _BySegment:
    found = values_by_segment(evaluated, ids, queries, segments, metric)
    return {key: values for key, values in found.items() if (~np.isnan(values)).sum() >= least}


def _differences(ours: _BySegment, theirs: _BySegment, seed: int) -> tuple[SegmentDifference, ...]:
    if not ours:
        return ()
    candidate, champion = (np.stack(list(one.values()), axis=1) for one in (ours, theirs))
    there = (~np.isnan(candidate)).astype(np.float64)
    differences = np.nan_to_num(candidate - champion)
    # Whoever is not of a segment adds nothing to its sum, whatever the sign.
    p_values = sign_flip_p_values(differences, seed)
    low, high = _interval(drawn_means(differences, there, seed, _N_SAMPLES), len(ours))
    n_users = there.sum(axis=0)
    means = [np.nan_to_num(one).sum(axis=0) / n_users for one in (candidate, champion)]
    columns = (n_users, *means, differences.sum(axis=0) / n_users, low, high, p_values, holm(p_values))
    return tuple(
        SegmentDifference(grouping, segment, int(column[0]), *(float(value) for value in column[1:]))
        for (grouping, segment), column in zip(ours, np.stack(columns, axis=1), strict=True)
    )


def _gaps(ours: _BySegment, theirs: _BySegment, seed: int) -> tuple[GapChange, ...]:
    """The change of each grouping's gap; best and worst segment are looked for anew in every draw of users."""
    places: dict[str, list[int]] = {}
    for place, (grouping, _) in enumerate(ours):
        places.setdefault(grouping, []).append(place)
    places = {grouping: columns for grouping, columns in places.items() if len(columns) > 1}
    if not places:
        return ()
    values = np.stack([*ours.values(), *theirs.values()], axis=1)
    sums, there = np.nan_to_num(values), (~np.isnan(values)).astype(np.float64)
    means = (sums.sum(axis=0) / there.sum(axis=0))[None, :]
    drawn, n = drawn_means(sums, there, seed, _N_SAMPLES), len(ours)

    def gap(rows: np.ndarray, columns: list[int]) -> np.ndarray:
        found: np.ndarray = np.nanmax(rows[:, columns], axis=1) - np.nanmin(rows[:, columns], axis=1)
        return found

    found = []
    for grouping, columns in places.items():
        shifted = [place + n for place in columns]
        mine, other = float(gap(means, columns)[0]), float(gap(means, shifted)[0])
        low, high = _interval((gap(drawn, columns) - gap(drawn, shifted))[:, None], len(places))
        found.append(GapChange(grouping, mine, other, mine - other, float(low[0]), float(high[0])))
    return tuple(found)


def _interval(drawn: np.ndarray, n_looked_at: int) -> tuple[np.ndarray, np.ndarray]:
    """Percentile intervals of columns that hold together at 95 %, where so many are looked at. Shapes (m,)."""
    tail = (1 - CONFIDENCE) / 2 / n_looked_at
    low, high = np.nanquantile(drawn, [tail, 1 - tail], axis=0)
    return low, high
