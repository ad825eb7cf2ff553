"""How well the bundle in service ranks what users did after it had learned: replayed from events, without any log.

Of each whole day (UTC) after the bundle's newest event, a seeded sample of the users who had a history and took
something new: the bundle ranks its whole catalogue for each as the day began, as its evaluation did, and it counts
where the items stand that the user then took. The sums of a day are kept, so that a past grows over bundles; nobody's
id is in them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, date, timedelta
from pathlib import Path

import duckdb
import numpy as np
from pydantic import Field, TypeAdapter

from core.settings.form import Frozen
from monitoring.answers.asked_days import Replayed, StatesThen, keep_days, open_events, states_of, sums_of
from monitoring.answers.rival import fit_neighbours
from monitoring.answers.unknown_items import unknown_shares
from monitoring.signals.segments import read_segments
from recommender.inputs.queries import Queries
from recommender.inputs.seen import item_keys
from recommender.inputs.user import UserState
from recommender.metrics.ranking_evaluation import AUC, evaluate_ranker
from recommender.metrics.top_k import Scores

STORE = "replay.json"
USERS_A_DAY = 200
MAX_QUERIES = 6000  # of one look; newer days first, older ones at the looks after
RANK, NDCG = "rank", "ndcg"
_SEED = 7
_TAKEN = """
CREATE TEMP TABLE taken AS
WITH firsts AS (SELECT user_id, item_id, min(timestamp) AS first FROM events GROUP BY ALL),
known AS (SELECT user_id, CAST(min(first) AS DATE) AS since FROM firsts GROUP BY user_id)
SELECT user_id, CAST(first AS DATE) AS day, list(item_id ORDER BY first, item_id) AS targets
FROM firsts JOIN known USING (user_id) ANTI JOIN flooders USING (user_id)
WHERE CAST(first AS DATE) IN (SELECT day FROM wanted) AND CAST(first AS DATE) > since GROUP BY ALL
"""
_QUERIES = f"""
CREATE TEMP TABLE queries AS
WITH drawn AS (
    SELECT *, row_number() OVER (PARTITION BY day ORDER BY hash(user_id, day, {_SEED}), user_id) AS place FROM taken
)
SELECT user_id, day, targets FROM (
    SELECT *, sum(1) OVER (ORDER BY day DESC, place) AS so_far FROM drawn WHERE place <= $users)
QUALIFY max(so_far) OVER (PARTITION BY day) <= $most
"""


class ReplayDay(Frozen):
    """How well one bundle ranked what users took on one day.

    Attributes:
        day: UTC.
        digest: Of the bundle.
        promise: What its evaluation found of users with a history, by figure.
        figures: `rank` (share of the other items that stand below a taken one) and `ndcg`: users, sum, sum of squares;
            none of a day on which nobody could be asked about, which tells nothing else either.
        segments: The same of `rank`, by segment of users.
        age_days: Since the bundle's catalogue was made, perhaps after it learned; None of days from before it was kept.
        unknown: Of users, the share of what they took that the bundle does not know: users, sum, sum of squares; None
            of days from before it was kept.
        unknown_groups: The same, users and sum, by group of users, the same groups each day; none of days from before
            it was kept.
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
    unknown_groups: tuple[tuple[float, float], ...] = ()
    lead: tuple[float, float, float] | None = None


_DAYS = TypeAdapter(list[ReplayDay])


def read_replay_days(folder: Path) -> list[ReplayDay]:
    """What was replayed, the oldest day first."""
    path = folder / STORE
    return _DAYS.validate_json(path.read_bytes()) if path.exists() else []


def replay(
    folder: Path,
    clean: Path,
    states_then: StatesThen,
    ranker: Scores,
    bundle: Replayed,
    wanted: Sequence[date],
    users_a_day: int = USERS_A_DAY,
) -> list[ReplayDay]:
    """Replay days that were not replayed yet, and keep their sums.

    Args:
        folder: Where the sums are kept.
        clean: Folder of the clean tables.
        states_then: Derives users as a day began.
        ranker: Of the bundle.
        bundle: What it is.
        wanted: The days (`days_to_replay`).
        users_a_day: Sample of a day, at most.
    Returns:
        All that is kept, the oldest day first.
    """
    fresh = list(_replayed(clean, states_then, ranker, bundle, wanted, users_a_day)) if wanted else []
    return keep_days(folder / STORE, _DAYS, read_replay_days(folder), fresh)


def _replayed(
    clean: Path,
    states_then: StatesThen,
    ranker: Scores,
    bundle: Replayed,
    wanted: Sequence[date],
    users_a_day: int,
) -> Iterator[ReplayDay]:
    with open_events(clean, wanted, bundle.floods) as connection:
        connection.execute(_TAKEN)
        connection.execute(_QUERIES, {"users": users_a_day, "most": max(MAX_QUERIES, users_a_day)})
        rows = [one for one in map(_with_new, states_of(connection, states_then)) if one[2]]
        # Days with nobody are done too, once; but not where a look merely had no room for those of a day.
        put_off = connection.execute("SELECT DISTINCT day FROM taken ANTI JOIN queries USING (day)").fetchall()
        for day in sorted(set(wanted) - {row[1] for row in rows} - {day for (day,) in put_off}):
            yield ReplayDay(day=day, digest=bundle.digest, figures={})
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
            age_days=(day - bundle.catalogue_at.astimezone(UTC).date()).days,
            unknown=tuple(unknown[day].sum(axis=0)) if day in unknown else None,
            unknown_groups=tuple((n, total) for n, total, _ in unknown[day]) if day in unknown else (),
            lead=None if leads is None else _known_sums(leads[mine]),
        )


def _with_new(
    row: tuple[str, date, tuple[str, ...], UserState],
) -> tuple[str, date, tuple[str, ...], UserState]:
    """Without targets that counted as seen when the day began, which no list of then could hold."""
    user, day, targets, state = row
    if state.seen is None:
        return row
    is_seen = np.isin(item_keys(targets), state.seen.keys)
    return user, day, tuple(item for item, gone in zip(targets, is_seen, strict=True) if not gone), state


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
