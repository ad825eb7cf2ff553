"""Signals of the data: volume, empty and new values, drift of what is looked at, by whom, and how it is rated."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import duckdb
import numpy as np

from core.schema import BRAND, CATEGORY, CATEGORY_SEPARATOR, PRICE, SIGNUP_AT, USER_ID
from core.sql import identifier, literal, plain_number_sql
from monitoring.signals.activity import DAY_US, HOUR_US, Span
from monitoring.signals.catalogue import item_column
from monitoring.signals.columns import Rows, daily, level_series, matrix, number_series, segment_series, word_series
from monitoring.signals.series import OTHER, Series

MAX_COLUMNS = 40  # of the items, and of the users
MAX_SEGMENTS = 6  # of one attribute
MAX_SEGMENT_ATTRIBUTES = 4
SEGMENT_VALUES = (2, 12)
_NUMERIC_SHARE = 0.95  # of an attribute's values that are numbers, for it to be one
_NUMERIC_VALUES = 30
_WEEK = 7
_FRESH_H = 6
_TOP = f"split_part({item_column(CATEGORY)}, {literal(CATEGORY_SEPARATOR)}, 1)"
_SEEN = "seen JOIN item_rows USING (vid)"


def data_series(
    connection: duckdb.DuckDBPyConnection,
    clean: Path,
    span: Span,
    item_columns: Sequence[str],
    usual_lag: timedelta | None = None,
) -> list[Series]:
    """All of them, from the tables that `read_activity` and `read_catalogue` made.

    Args:
        usual_lag: How late events come by habit; None: it is not known, and nothing is said of their freshness.
    """
    n_days = span.n_days
    connection.execute(
        """CREATE OR REPLACE TEMP TABLE seen AS SELECT day, uid, iid, vid, w FROM picked JOIN item_rows USING (iid)
        WHERE us >= from_us AND us < to_us"""
    )
    user_columns = _read_users(connection, clean)
    found = [
        *_volumes(connection, clean, span),
        *_arrival(connection, span, usual_lag),
        *_items(connection, item_columns, n_days),
    ]
    found += [*_users(connection, user_columns, n_days), *_ratings(connection, n_days)]
    found.append(_concentration(connection, n_days))
    return [*found, *_segments(connection, user_columns, found, n_days)]


def _read_users(connection: duckdb.DuckDBPyConnection, clean: Path) -> list[str]:
    path = literal(str(clean / "users.parquet"))
    names = [name for name, *_ in connection.execute(f"DESCRIBE SELECT * FROM read_parquet({path})").fetchall()]
    columns = [str(name) for name in names if name not in (USER_ID, SIGNUP_AT)][:MAX_COLUMNS]
    told = "".join(f", {identifier(name)} AS {_user_column(name)}" for name in columns)
    connection.execute(
        f"""CREATE OR REPLACE TEMP TABLE user_rows AS SELECT hash(user_id) AS uid {told} FROM read_parquet({path})
        SEMI JOIN (SELECT DISTINCT uid FROM active) AS present ON hash(user_id) = present.uid"""
    )
    return columns


def _user_column(name: str) -> str:
    """SQL of a column of `user_rows`."""
    return identifier(f"user.{name}")


def _volumes(connection: duckdb.DuckDBPyConnection, clean: Path, span: Span) -> Iterator[Series]:
    n_days = span.n_days
    kinds = [kind for (kind,) in connection.execute("SELECT DISTINCT event FROM calm ORDER BY 1").fetchall()]
    for kind in kinds:
        query = f"SELECT day, count(DISTINCT uid) FROM calm WHERE event = {literal(kind)} GROUP BY day"
        yield _volume(f"interactions.{kind}", daily(connection, query, n_days))
    users = daily(connection, "SELECT day, count(*) FROM active GROUP BY day", n_days)
    yield _volume("interactions", users)
    feedback = literal(str(clean / "feedback.parquet"))
    reviews = f"""SELECT {span.day_sql("timestamp")} AS day, count(DISTINCT user_id) FROM read_parquet({feedback})
        WHERE {span.within_sql("timestamp")} GROUP BY day"""
    yield _volume("feedback", daily(connection, reviews, n_days))
    floods = daily(connection, "SELECT day, count(*) FROM flooded GROUP BY day", n_days)
    exposure = users[:, 0] + floods[:, 0]
    yield Series("data.interactions.floods", "data", "rate", exposure, floods, least=3, consequence=0)
    connection.execute("CREATE OR REPLACE TEMP TABLE firsts AS SELECT uid, min(day) AS first FROM active GROUP BY uid")
    query = "SELECT day, first, count(*) FROM active JOIN firsts USING (uid) GROUP BY ALL"
    fresh = matrix(connection, query, n_days, n_days)
    none = np.zeros((n_days, 1))
    yield Series("data.users.new_share", "data", "rate", fresh.sum(axis=1), none, fresh=fresh, is_share=True)


def _arrival(connection: duckdb.DuckDBPyConnection, span: Span, usual_lag: timedelta | None) -> Iterator[Series]:
    """Whether events come as they do by habit, and the hours of those that came."""
    ((age_us,),) = connection.execute(f"SELECT min({span.age_us_sql('us')}) FROM events").fetchall()
    age = None if age_us is None else timedelta(microseconds=age_us)
    if usual_lag is not None:
        yield _freshness(connection, span, usual_lag, age)
    # What did not come yet is no change of the hours in which users come.
    late, begins, arrived = _arrived("picked", span, max(usual_lag or timedelta(), age or timedelta()))
    hours = Rows("interactions.hour", f"({arrived})", "CAST(3 * (hour // 3) AS VARCHAR)")
    for one in word_series(connection, hours, late.n_days):
        if one.name.endswith(".mix"):
            yield replace(one, begins=begins)


def _freshness(connection: duckdb.DuckDBPyConnection, span: Span, lag: timedelta, age: timedelta | None) -> Series:
    """Users of the last hours of each day: days end so long before the time of day of the look as events come late by
    habit, so that the hours have in each what they had when their own day ended.

    Where the newest event is older than these hours, there are none.
    """
    late, begins, arrived = _arrived("calm", span, lag)
    query = f"""SELECT day, count(DISTINCT uid) FROM ({arrived}) WHERE {late.age_us_sql("us")} % {DAY_US}
        < {_FRESH_H * HOUR_US} GROUP BY day"""
    counts = daily(connection, query, late.n_days)
    hour = timedelta(hours=1)
    told = "of unknown age" if age is None else f"{age / hour:.1f} hours"
    before = "before the look" if lag < 0.1 * hour else f"that end {lag / hour:.1f} hours before the look"
    return Series(
        "data.interactions.freshness", "data", "rate", weekly_habit(counts), counts, labels=(told, before), least=10,
        consequence=0, worse="lower", windows=(1,), unit="a day", begins=begins,
    )  # fmt: skip


def _arrived(table: str, span: Span, lag: timedelta) -> tuple[Span, int, str]:
    """Whole days that end a while before the span does, the watched day of the first, and SQL of their rows."""
    n_cut = -(-lag // timedelta(days=1))
    late = Span(span.end - lag, span.n_days - n_cut)
    age_us = late.age_us_sql("us")
    rows = f"""SELECT * REPLACE (CAST({late.n_days} - 1 - {age_us} // {DAY_US} AS SMALLINT) AS day) FROM {table}
        WHERE {age_us} >= 0 AND {age_us} < {late.n_days * DAY_US}"""
    return late, n_cut, rows


def _volume(name: str, counts: np.ndarray) -> Series:
    """Counts by day, over what days of the week have by habit."""
    return Series(f"data.{name}.volume", "data", "rate", weekly_habit(counts), counts, least=20, unit="a day")


def weekly_habit(counts: np.ndarray, is_known: np.ndarray | None = None) -> np.ndarray:
    """What each day has by its day of the week, as a multiple of the mean day; 1 where the past is too short to say.

    Args:
        counts: By day. Shape (n_days, 1).
        is_known: Days that were counted; None: all. Shape (n_days,), bool.
    """
    n_days = len(counts)
    habit = np.ones(n_days)
    n_past, places = max(n_days - 28, 0), np.arange(n_days) % _WEEK
    past = np.arange(n_past) if is_known is None else np.flatnonzero(is_known[:n_past])
    total, of_past = counts[past, 0], places[past]
    is_whole = np.bincount(of_past, minlength=_WEEK).all()
    if len(total) >= 8 * _WEEK and is_whole and total.sum() > 0:
        by_place = np.array([total[of_past == place].mean() for place in range(_WEEK)])
        habit = np.maximum(by_place / by_place.mean(), 0.1)[places]
    return habit


def _items(connection: duckdb.DuckDBPyConnection, columns: Sequence[str], n_days: int) -> Iterator[Series]:
    for name in columns[:MAX_COLUMNS]:
        own = item_column(name)
        if name == PRICE:
            yield from number_series(connection, Rows("items.price", _SEEN, own), n_days, is_log=True)
        elif name == CATEGORY:
            yield from word_series(connection, Rows("items.category", _SEEN, _TOP), n_days)
            path = Rows("items.category_path", _SEEN, f"CASE WHEN {own} <> {_TOP} THEN {own} END")
            yield from (one for one in word_series(connection, path, n_days) if not one.name.endswith("null_share"))
        elif name != BRAND and _is_numeric(connection, "item_rows", own):
            rows = Rows(f"items.{name}", _SEEN, plain_number_sql(own))
            yield from number_series(connection, rows, n_days)
        else:
            yield from word_series(connection, Rows(f"items.{name}", _SEEN, own), n_days)


def _users(connection: duckdb.DuckDBPyConnection, columns: Sequence[str], n_days: int) -> Iterator[Series]:
    relation = "(SELECT day, uid, 1.0 AS w FROM active) JOIN user_rows USING (uid)"
    for name in columns:
        own = _user_column(name)
        if _is_numeric(connection, "user_rows", own):
            rows = Rows(f"users.{name}", relation, plain_number_sql(own))
            yield from number_series(connection, rows, n_days)
        else:
            yield from word_series(connection, Rows(f"users.{name}", relation, own), n_days)


def _is_numeric(connection: duckdb.DuckDBPyConnection, table: str, own: str) -> bool:
    ((n, n_numbers, n_values),) = connection.execute(
        f"SELECT count({own}), count({plain_number_sql(own)}), approx_count_distinct({own}) FROM {table}"
    ).fetchall()
    return bool(n and n_numbers >= _NUMERIC_SHARE * n and n_values >= _NUMERIC_VALUES)


def _ratings(connection: duckdb.DuckDBPyConnection, n_days: int) -> Iterator[Series]:
    rating = Rows("interactions.rating", "rated", "value")
    for one in number_series(connection, rating, n_days):
        if not one.name.endswith("null_share"):
            yield one
    query = """SELECT day, count(*), count(*) FILTER (value IS NULL) FROM calm WHERE event = 'rating' GROUP BY day"""
    cells = daily(connection, query, n_days, 2)
    if cells[:, 0].any():
        name = rating.signal("null_share")
        yield Series(name, "data", "rate", cells[:, 0], cells[:, 1:], is_share=True, least=20, consequence=0)


def _concentration(connection: duckdb.DuckDBPyConnection, n_days: int) -> Series:
    """How often two users of a day meet at one item: pairs of users who do, of all pairs.

    Shares of items squared (Simpson's index), estimated without bias; a day's sums add up over days.
    """
    cells = daily(
        connection,
        """SELECT day, sum(n) * (sum(n) - 1) / 2, sum(n * (n - 1)) / 2 FROM (
            SELECT day, iid, count(DISTINCT uid) AS n FROM picked GROUP BY ALL) GROUP BY day""",
        n_days,
        2,
    )
    return Series("data.items.concentration", "data", "rate", cells[:, 0], cells[:, 1:], least=10)


def _segments(
    connection: duckdb.DuckDBPyConnection, user_columns: Sequence[str], found: Sequence[Series], n_days: int
) -> Iterator[Series]:
    by_name = {one.name: one for one in found}
    categories = by_name.get("data.items.category.mix")
    for name, segments in _segment_values(connection, user_columns):
        by = (name, _user_column(name), segments)
        if categories is not None:
            kinds = tuple(one for one in categories.labels if one != OTHER)
            rows = Rows("items.category", f"{_SEEN} JOIN user_rows USING (uid)", _TOP)
            yield from segment_series(connection, rows, by, kinds, n_days)
        for segment in segments:
            connection.execute(
                f"""CREATE OR REPLACE TEMP TABLE day_values AS SELECT day, value AS v, sum(w) AS w
                FROM rated JOIN user_rows USING (uid) WHERE {_user_column(name)} = {literal(segment)} GROUP BY ALL"""
            )
            told = f"{name}={segment}"
            yield from level_series(connection, Rows("interactions.rating", "", ""), n_days, segment=told)


def _segment_values(
    connection: duckdb.DuckDBPyConnection, user_columns: Sequence[str]
) -> list[tuple[str, tuple[str, ...]]]:
    """Attributes of users that part them into a few groups, and the largest groups of each."""
    low, high = SEGMENT_VALUES
    chosen = []
    for name in user_columns:
        own = _user_column(name)
        values = connection.execute(
            f"""SELECT {own}, count(*) FROM user_rows WHERE {own} IS NOT NULL
            GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT {high + 1}"""
        ).fetchall()
        if low <= len(values) <= high:
            chosen.append((name, tuple(str(value) for value, _ in values[:MAX_SEGMENTS])))
    return chosen[:MAX_SEGMENT_ATTRIBUTES]
