"""How well the bundle in service ranks what users did after it had learned: replayed from events, without any log.

Of each whole day (UTC) after the bundle's newest event, a seeded sample of the users who had a history and took
something new: the bundle ranks its whole catalogue for each as the day began, as its evaluation did, and it counts
where the items stand that the user then took. The sums of a day are kept, so that a past grows over bundles; nobody's
id is in them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Protocol

import duckdb
import numpy as np
from pydantic import Field, TypeAdapter

from core.schema import EVENTS
from core.settings.form import Frozen
from core.sql import literal
from core.storage import atomic_file
from monitoring.answers.rival import fit_neighbours
from monitoring.answers.unknown_items import unknown_shares
from monitoring.extent import find_extent
from monitoring.signals.activity import FloodRule
from monitoring.signals.segments import read_segments
from recommender.inputs.queries import Queries
from recommender.inputs.user import UserState
from recommender.metrics.ranking_evaluation import AUC, evaluate_ranker
from recommender.metrics.top_k import Scores

STORE = "replay.json"
KEPT_DAYS = 400
USERS_A_DAY = 200
MAX_QUERIES = 6000  # of one look; newer days first, older ones at the looks after
RANK, NDCG = "rank", "ndcg"
_HISTORY = 200  # items of a history, the newest
_SEED = 7
# Whoever floods on one day is no user whose taste is asked about.
_FLOODERS = """
CREATE TEMP TABLE flooders AS
WITH days AS (SELECT user_id, CAST(timestamp AS DATE) AS day, count(*) AS n FROM events GROUP BY ALL)
SELECT DISTINCT user_id FROM days
WHERE n > greatest($min_repeats, $factor * (SELECT quantile_disc(n, 0.75) FROM days)) AND $is_on
"""
_QUERIES = f"""
CREATE TEMP TABLE queries AS
WITH firsts AS (SELECT user_id, item_id, min(timestamp) AS first FROM events GROUP BY ALL),
known AS (SELECT user_id, CAST(min(first) AS DATE) AS since FROM firsts GROUP BY user_id),
taken AS (
    SELECT user_id, CAST(first AS DATE) AS day, list(item_id ORDER BY first, item_id) AS targets
    FROM firsts JOIN known USING (user_id) ANTI JOIN flooders USING (user_id)
    WHERE CAST(first AS DATE) IN (SELECT day FROM wanted) AND CAST(first AS DATE) > since GROUP BY ALL
),
drawn AS (
    SELECT *, row_number() OVER (PARTITION BY day ORDER BY hash(user_id, day, {_SEED}), user_id) AS place FROM taken
)
SELECT user_id, day, targets FROM (
    SELECT *, sum(1) OVER (ORDER BY day DESC, place) AS so_far FROM drawn WHERE place <= $users)
QUALIFY max(so_far) OVER (PARTITION BY day) <= $most
"""
_STATES = f"""
SELECT q.user_id, q.day, q.targets, list(item_id ORDER BY since DESC, item_id)[:{_HISTORY}] AS items,
    list(value ORDER BY since DESC, item_id)[:{_HISTORY}] AS ratings,
    list(kind ORDER BY since DESC, item_id)[:{_HISTORY}] AS kinds
FROM queries q JOIN (
    SELECT user_id, day, item_id, max(timestamp) AS since, arg_max(value, timestamp) AS value,
        max(list_position([{", ".join(literal(one) for one in EVENTS)}], event)) AS kind
    FROM events JOIN queries USING (user_id) WHERE timestamp < day::TIMESTAMPTZ GROUP BY ALL
) USING (user_id, day) GROUP BY ALL ORDER BY q.day, q.user_id
"""


class ReplayDay(Frozen):
    """How well one bundle ranked what users took on one day.

    Attributes:
        day: UTC.
        digest: Of the bundle.
        promise: What its evaluation found of users with a history, by figure.
        figures: `rank` (share of the other items that stand below a taken one) and `ndcg`: users, sum, sum of squares.
        segments: The same of `rank`, by segment of users.
        age_days: Since the bundle learned; None of days from before it was kept.
        unknown: Of users, the share of what they took that the bundle does not know: users, sum, sum of squares; None
            of days from before it was kept.
        lead: The same of the rank above that of neighbours that learn anew each week, both among the bundle's items and
            of taken items that are among them; None where there are none.
    """

    day: date
    digest: str
    promise: dict[str, float] = Field(default_factory=dict)
    figures: dict[str, tuple[float, float, float]]
    segments: dict[str, tuple[float, float, float]] = Field(default_factory=dict)
    age_days: int | None = None
    unknown: tuple[float, float, float] | None = None
    lead: tuple[float, float, float] | None = None


@dataclass(frozen=True)
class Replayed:
    """The bundle that is asked.

    Attributes:
        digest: Its own.
        learned_until: It learned nothing later.
        promise: What its evaluation found, by figure.
        k: Length of its lists.
        floods: Who is left out.
    """

    digest: str
    learned_until: datetime
    promise: dict[str, float]
    k: int
    floods: FloodRule


class HasDay(Protocol):
    """What was made of a day."""

    @property
    def day(self) -> date:
        """UTC."""


_DAYS = TypeAdapter(list[ReplayDay])


def read_replay_days(folder: Path) -> list[ReplayDay]:
    """What was replayed, the oldest day first."""
    path = folder / STORE
    return _DAYS.validate_json(path.read_bytes()) if path.exists() else []


def days_to_replay(clean: Path, known: Sequence[HasDay], learned_until: datetime) -> list[date]:
    """Whole days after a bundle learned that no bundle was asked about yet, the oldest first.

    They end where the shop's events do (`monitoring.extent`).
    """
    newest = find_extent(clean).newest
    if newest is None:
        return []
    end = (newest + timedelta(microseconds=1)).astimezone(UTC).date()
    begin = max(learned_until.astimezone(UTC).date() + timedelta(days=1), end - timedelta(days=KEPT_DAYS))
    done = {one.day for one in known}
    days = (begin + timedelta(days=n) for n in range(max((end - begin).days, 0)))
    return [day for day in days if day not in done]


def replay(
    folder: Path, clean: Path, ranker: Scores, bundle: Replayed, users_a_day: int = USERS_A_DAY
) -> list[ReplayDay]:
    """Replay the days that were not replayed yet, and keep their sums; the same days again change nothing.

    Args:
        folder: Where the sums are kept.
        clean: Folder of the clean tables.
        ranker: Of the bundle.
        bundle: What it is.
        users_a_day: Sample of a day, at most.
    Returns:
        All that is kept, the oldest day first.
    """
    known = read_replay_days(folder)
    wanted = days_to_replay(clean, known, bundle.learned_until)
    fresh = list(_replayed(clean, ranker, bundle, wanted, users_a_day)) if wanted else []
    if not fresh:
        return known
    days = sorted([*known, *fresh], key=lambda one: one.day)
    days = [one for one in days if one.day >= days[-1].day - timedelta(days=KEPT_DAYS)]
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_file(folder / STORE) as temporary:
        temporary.write_bytes(_DAYS.dump_json(days))
    return days


def _replayed(
    clean: Path, ranker: Scores, bundle: Replayed, wanted: Sequence[date], users_a_day: int
) -> Iterator[ReplayDay]:
    with duckdb.connect(config={"threads": 1}) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        path = literal(str(clean / "interactions.parquet"))
        connection.execute(
            f"CREATE TEMP VIEW events AS SELECT * FROM read_parquet({path}) WHERE event <> {literal(EVENTS[0])}"
        )
        listed = ", ".join(f"(DATE {literal(day.isoformat())})" for day in wanted)
        connection.execute(f"CREATE TEMP TABLE wanted AS SELECT * FROM (VALUES {listed}) AS t(day)")
        connection.execute(*flooders_sql(bundle.floods))
        connection.execute(_QUERIES, {"users": users_a_day, "most": max(MAX_QUERIES, users_a_day)})
        rows = states_of(connection)
        read_segments(connection, clean)
        found = connection.execute(
            "SELECT user_id, list(segment) FROM user_segments SEMI JOIN queries USING (user_id) GROUP BY user_id"
        ).fetchall()
        if not rows:
            return
        queries = Queries(tuple(row[3] for row in rows), tuple(row[2] for row in rows))
        per_query = evaluate_ranker(ranker, queries, bundle.k, with_auc=True).per_query
        values = {NDCG: per_query[NDCG]} | ({RANK: per_query[AUC]} if AUC in per_query else {})
        days = np.array([row[1] for row in rows])
        unknown = unknown_shares(connection, ranker.ids.item_ids)
        leads = _leads(connection, ranker, queries, days, values[RANK], bundle.k) if RANK in values else None
    of_user = dict(found)
    for day in sorted(set(days)):
        mine = np.flatnonzero(days == day)
        told: dict[str, list[float]] = {}
        for place in mine if RANK in values else ():
            for segment in of_user.get(rows[place][0], ()):
                told.setdefault(segment, []).append(float(values[RANK][place]))
        yield ReplayDay(
            day=day,
            digest=bundle.digest,
            promise=bundle.promise,
            figures={name: sums_of(all_values[mine]) for name, all_values in values.items()},
            segments={segment: sums_of(np.array(some)) for segment, some in sorted(told.items())},
            age_days=(day - bundle.learned_until.astimezone(UTC).date()).days,
            unknown=unknown.get(day),
            lead=None if leads is None else _known_sums(leads[mine]),
        )


def _leads(
    connection: duckdb.DuckDBPyConnection,
    ranker: Scores,
    queries: Queries,
    days: np.ndarray,
    ranks: np.ndarray,
    k: int,
) -> np.ndarray:
    """How much higher a bundle ranks each query's items than neighbours that learned up to the query's week.

    Both rank the bundle's items, and are asked about those of the taken ones that are among them.

    Args:
        ranks: The bundle's, a taken item that it does not know being a miss. Shape (n_queries,).
    Returns:
        NaN where there was nothing to learn or to ask about. Shape (n_queries,).
    """
    known = [tuple(item for item in wanted if item in ranker.ids) for wanted in queries.targets]
    leads = np.full(len(queries), np.nan)
    weeks = np.array([day - timedelta(days=day.weekday()) for day in days])
    for week in sorted(set(weeks)):
        mine = [at for at in np.flatnonzero(weeks == week) if known[at]]
        neighbours = fit_neighbours(connection, week, ranker.ids) if mine else None
        if neighbours is not None:
            asked = Queries(tuple(queries.users[at] for at in mine), tuple(known[at] for at in mine))
            rivals = evaluate_ranker(neighbours, asked, k, with_auc=True).per_query[AUC]
            n_wanted, n_known = (np.array([len(of[at]) for at in mine]) for of in (queries.targets, known))
            leads[mine] = ranks[mine] * n_wanted / n_known - rivals  # without its misses
    return leads


def _known_sums(values: np.ndarray) -> tuple[float, float, float] | None:
    known = values[~np.isnan(values)]
    return sums_of(known) if len(known) else None


def flooders_sql(rule: FloodRule) -> tuple[str, dict[str, float | bool]]:
    """What makes `flooders` (user_id) of `events`, and its parameters."""
    return _FLOODERS, {"min_repeats": rule.min_repeats, "factor": rule.factor, "is_on": rule.is_on}


def states_of(connection: duckdb.DuckDBPyConnection) -> list[tuple[str, date, tuple[str, ...], UserState]]:
    """Of each of `queries` with a history in `events`: user, day, targets, and the user as the day began."""
    rows = connection.execute(_STATES).fetchall()
    return [(user, day, tuple(targets), _state(*history)) for user, day, targets, *history in rows]


def _state(items: Sequence[str], ratings: Sequence[float | None], kinds: Sequence[int]) -> UserState:
    """A history as the features have it, oldest first."""
    return UserState(
        items=tuple(reversed(items)),
        values=tuple(reversed(ratings)),
        events=tuple(EVENTS[kind - 1] for kind in reversed(kinds)),
    )


def sums_of(values: np.ndarray) -> tuple[float, float, float]:
    """Their number, their sum, and the sum of their squares."""
    return float(len(values)), float(values.sum()), float((values**2).sum())
