"""What a day's answers were like, in sums that outlast the prediction log; nobody's id is in them.

The log is kept for weeks, a quiet past takes months. So each look of `monitor` sums up the whole days (UTC) that were
not summed up yet. Of a day each user counts once, with the mean over their lists; a list that nobody's id came with
counts as a user. Lists of challengers in an experiment are left out, and summed up by themselves (`variants`). Items
that a request pinned count in no figure, nor as places above others; lists of nothing else are left out.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field, TypeAdapter

from core.experiments import CHAMPION
from core.logs.events import EventLog
from core.settings.form import Frozen
from core.sql import literal
from core.storage import atomic_file
from monitoring.answers.variants import keep_variant_days, variant_days
from monitoring.online.columns import IS_PINNED
from monitoring.online.shown import open_shown
from monitoring.signals.segments import read_segments

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

STORE = "answers.json"
KEPT_DAYS = 400
POPULAR_SHARE = 0.1  # of the items, by their events of four weeks: those are the popular ones
# Upper ends of classes of computing times, milliseconds; each is a fifth longer than the one before.
TOOK_MS = tuple(float(f"{1.2**n:.3g}") for n in range(-4, 56))
# Of a user's day: mean score, mean information (bits) and share of popular ones of the items, whether nothing was known
# of them, logarithm of the propensities, clicks per item, lists with a click, NDCG of the clicks.
FIGURES = ("score", "novelty", "popular", "cold", "propensity", "ctr", "hit", "ndcg")
_AGAIN = timedelta(days=1)  # the newest day that is known is summed up again: events come late
_N_ABOVE = f"coalesce(len(list_filter(rules[1:position], lambda rule: {IS_PINNED})), 0)"
# A list of numbers by place, without those of pinned items; records without rules have none.
_OF_UNPINNED = f"""CASE n_pinned WHEN 0 THEN {{0}}
    ELSE list_where({{0}}, list_transform(rules, lambda rule: NOT {IS_PINNED})) END"""
_LISTED = f"""
CREATE TEMP TABLE all_listed AS
WITH clicks AS (
    SELECT recommendation_id, count(*) AS n, sum(1 / log2(position - {_N_ABOVE} + 1)) AS gain
    FROM shown JOIN clicked c USING (recommendation_id, item_id) JOIN answers USING (recommendation_id)
    WHERE NOT c.is_pinned AND role = 'shown' GROUP BY ALL
),
kinds AS (
    SELECT recommendation_id, avg(coalesce(bits, rarest)) AS novelty, avg(coalesce(is_popular, 0)) AS popular
    FROM shown LEFT JOIN popular USING (item_id), (SELECT coalesce(max(bits), 0) AS rarest FROM popular)
    WHERE NOT is_pinned GROUP BY ALL
),
ranked AS (
    SELECT * EXCLUDE (scores, propensities), {_OF_UNPINNED.format("scores")} AS scores,
        {_OF_UNPINNED.format("propensities")} AS propensities
    FROM answers WHERE role = 'shown' AND len(items) > n_pinned
)
SELECT a.recommendation_id, CAST(a."at" AS DATE) AS day, model, experiment, variant,
    coalesce(a.who, a.recommendation_id) AS unit_id, a.user_id, took_ms,
    list_avg(scores) AS score, novelty, popular, CAST(cold_start AS INTEGER) AS cold,
    list_avg(list_transform(list_filter(propensities, lambda one: one > 0), lambda one: ln(one))) AS propensity,
    coalesce(n, 0) / (len(items) - n_pinned) AS ctr, CAST(coalesce(n, 0) > 0 AS INTEGER) AS hit,
    coalesce(gain / list_sum(list_transform(range(1, n + 1), lambda place: 1 / log2(place + 1))), 0) AS ndcg
FROM ranked a LEFT JOIN clicks USING (recommendation_id) LEFT JOIN kinds USING (recommendation_id)
WHERE endpoint LIKE '%recommend%' AND day >= $since AND day < $until
"""
_OF_CHAMPIONS = f"""
CREATE TEMP VIEW listed AS SELECT * FROM all_listed WHERE coalesce(variant, '') IN ('', {literal(CHAMPION)})
"""
_FIRST = """SELECT CAST(min("at") AS DATE) FROM answers WHERE role <> 'preview'"""
_UNITS = f"""
CREATE TEMP TABLE units AS SELECT day, model, unit_id, any_value(user_id) AS user_id, count(*) AS n_lists,
    {", ".join(f"avg({name}) AS {name}" for name in FIGURES)}
FROM listed GROUP BY day, model, unit_id
"""
_SUMS = f"""
SELECT day, model, sum(n_lists), {", ".join(f"count({one}), sum({one}), sum({one} * {one})" for one in FIGURES)}
FROM units GROUP BY day, model ORDER BY day, model
"""
_SEGMENTS = """
SELECT day, model, segment, count(*), sum(hit), sum(hit * hit) FROM units JOIN user_segments USING (user_id)
GROUP BY ALL
"""
_PAIRS = """
SELECT day, model, sum(n * (n - 1)) / 2 FROM (
    SELECT day, model, item_id, count(DISTINCT unit_id) AS n FROM shown JOIN listed USING (recommendation_id)
    WHERE NOT is_pinned GROUP BY ALL) GROUP BY ALL
"""
_POSSIBLE = """
SELECT day, model, sum(n) * (sum(n) - 1) / 2 FROM (
    SELECT day, model, count(DISTINCT item_id) AS n FROM shown JOIN listed USING (recommendation_id)
    WHERE NOT is_pinned GROUP BY day, model, unit_id) GROUP BY ALL
"""
_TOOK = "SELECT day, model, list(took_ms) FROM listed WHERE took_ms IS NOT NULL GROUP BY ALL"


class AnswerDay(Frozen):
    """The answers that one bundle gave on one day.

    Attributes:
        day: UTC.
        model: The bundle, name:version.
        promise: Its offline NDCG; None where it is not known.
        answers: Lists.
        figures: Of each of `FIGURES`: users that have it, the sum over them, and the sum of squares.
        hits: The same of `hit`, by segment of users.
        pairs: Pairs of shown items, and how many of them are one item shown to two users.
        took: Answers by how long they took to compute: up to each of `TOOK_MS`, and longer.
    """

    day: date
    model: str
    promise: float | None = None
    answers: int
    figures: dict[str, tuple[float, float, float]]
    hits: dict[str, tuple[float, float, float]] = Field(default_factory=dict)
    pairs: tuple[float, float] = (0.0, 0.0)
    took: tuple[int, ...] = ()


@dataclass(frozen=True)
class AnswerLogs:
    """Where answers and what became of them are found.

    Attributes:
        log: The folder of the prediction log.
        events: The service's event log.
        clean: Folder of the clean tables: what is popular, and who the users are.
        clicks: Kinds of event that count as a click.
        window_s: An event counts for an answer that is at most so old, seconds.
    """

    log: Path
    events: EventLog
    clean: Path
    clicks: Collection[str]
    window_s: float


_DAYS = TypeAdapter(list[AnswerDay])


def read_answer_days(folder: Path) -> list[AnswerDay]:
    """What was summed up, the oldest day first."""
    path = folder / STORE
    return _DAYS.validate_json(path.read_bytes()) if path.exists() else []


def sum_up_answers(
    folder: Path, logs: AnswerLogs, promises: Mapping[str, float], now: datetime | None = None
) -> list[AnswerDay]:
    """Sum up the days that are over, and keep them; the same days again change nothing.

    Of a day of which the log has lost answers since, the sums of before stay; one that the log holds only the end of is
    left out.

    Args:
        folder: Where the sums are kept.
        promises: The offline NDCG of bundles, by name:version.
        now: This moment, by default.
    Returns:
        All that is kept, the oldest day first.
    Raises:
        PredictionLogError, EventLogError: a log cannot be read.
    """
    known = read_answer_days(folder)
    over = (now or datetime.now(UTC)) - timedelta(seconds=logs.window_s)
    until = over.astimezone(UTC).date()
    since = max(known[-1].day - _AGAIN, known[0].day) if known else date(1970, 1, 1)
    opens = datetime.combine(since, time(), UTC)
    with open_shown(logs.log, logs.events, logs.clicks, logs.window_s, since=opens) as (tables, _):
        # The day on which the log begins is not whole. If it was summed up when it still was, the sums are kept below.
        ((first,),) = tables.execute(_FIRST).fetchall()
        if first is None:
            return known
        if not known or first > known[-1].day:
            since = first + timedelta(days=1)
        if since >= until:
            return known
        read_segments(tables, logs.clean)
        _rank_items(tables, logs.clean)
        tables.execute(_LISTED, {"since": since, "until": until})
        tables.execute(_OF_CHAMPIONS)
        tables.execute(_UNITS)
        fresh, of_variants = list(_days(tables, promises)), variant_days(tables, since, until)
    found = {(one.day, one.model): one for one in fresh}
    for one in known:  # of a day of which answers have left the log, the sums of before are the whole
        own = (one.day, one.model)
        if own not in found or one.answers > found[own].answers:
            found[own] = one
    oldest = until - timedelta(days=KEPT_DAYS)
    keep_variant_days(folder, of_variants, oldest)
    days = [found[own] for own in sorted(found) if own[0] >= oldest]
    if days != known:
        with atomic_file(folder / STORE) as temporary:
            temporary.write_bytes(_DAYS.dump_json(days))
    return days


def _rank_items(tables: DuckDBPyConnection, clean: Path) -> None:
    """Make `popular` (item_id, bits, is_popular) of the items that had events in the newest four weeks."""
    events = literal(str(clean / "interactions.parquet"))
    tables.execute(
        f"""CREATE TEMP TABLE popular AS
        WITH newest AS (SELECT item_id, count(DISTINCT user_id) AS n FROM read_parquet({events})
            WHERE timestamp > (SELECT max(timestamp) FROM read_parquet({events})) - INTERVAL 28 DAY GROUP BY item_id)
        SELECT item_id, -log2(n / sum(n) OVER ()) AS bits,
            CAST(row_number() OVER (ORDER BY n DESC, item_id) <= {POPULAR_SHARE} * count(*) OVER () AS INTEGER)
                AS is_popular
        FROM newest"""
    )


def _days(tables: DuckDBPyConnection, promises: Mapping[str, float]) -> Iterator[AnswerDay]:
    segments: dict[tuple[date, str], dict[str, tuple[float, float, float]]] = {}
    for day, model, segment, *sums in tables.execute(_SEGMENTS).fetchall():
        segments.setdefault((day, model), {})[str(segment)] = _three(sums)
    met = {(day, model): float(n) for day, model, n in tables.execute(_PAIRS).fetchall()}
    possible = {(day, model): float(n) for day, model, n in tables.execute(_POSSIBLE).fetchall()}
    took = {(day, model): _classes(values) for day, model, values in tables.execute(_TOOK).fetchall()}
    for day, model, answers, *sums in tables.execute(_SUMS).fetchall():
        own = (day, model)
        yield AnswerDay(
            day=day,
            model=model,
            promise=promises.get(model),
            answers=int(answers),
            figures={name: _three(sums[3 * place : 3 * place + 3]) for place, name in enumerate(FIGURES)},
            hits=dict(sorted(segments.get(own, {}).items())),
            pairs=(possible.get(own, 0.0), met.get(own, 0.0)),
            took=took.get(own, ()),
        )


def _three(sums: Sequence[float | None]) -> tuple[float, float, float]:
    n, total, squares = (float(one or 0.0) for one in sums)
    return n, total, squares


def _classes(values: Sequence[float]) -> tuple[int, ...]:
    places = np.searchsorted(np.array(TOOK_MS), np.array(values, dtype=float))
    return tuple(int(n) for n in np.bincount(places, minlength=len(TOOK_MS) + 1))
