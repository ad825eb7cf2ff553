"""How well the scorer of the bundle in service foresees ratings that users gave after it had learned.

As in the replay: of each whole day (UTC) a seeded sample of users with a history, one rating of each, asked of the
scorer as the day began, with what had been rated until then, as the service asks it. What is kept is sums of days,
nobody's id.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence
from datetime import date
from pathlib import Path
from typing import Protocol

import duckdb
import numpy as np
import pyarrow as pa
from pydantic import TypeAdapter

from core.settings.form import Frozen
from monitoring.answers.asked_days import Replayed, StatesThen, keep_days, open_events, states_of, sums_of
from monitoring.answers.signals import last_whole_day
from monitoring.signals.activity import Span
from monitoring.signals.series import Series, Worse
from recommender.inputs.user import UserState
from recommender.scoring.input import ItemRatings

STORE = "rated.json"
RATINGS_A_DAY = 40
MAX_RATINGS = 800  # of one look, the newest days first: a scorer with a language model takes tens of milliseconds each
ERROR, BIAS = "error", "bias"
_SIGNALS: dict[str, tuple[str, Worse]] = {
    ERROR: ("quality.rated.error", "higher"),
    BIAS: ("quality.rated.like_bias", "either"),
}
_SEED = 11
_GIVEN = """
CREATE TEMP TABLE given AS
WITH known AS (SELECT user_id, CAST(min(timestamp) AS DATE) AS since FROM events GROUP BY user_id)
SELECT user_id, CAST(timestamp AS DATE) AS day, arg_min(item_id, hash(event_id)) AS item_id,
    arg_min(value, hash(event_id)) AS rating
FROM events ANTI JOIN flooders USING (user_id) JOIN known USING (user_id)
WHERE event = 'rating' AND value IS NOT NULL AND CAST(timestamp AS DATE) > since
    AND CAST(timestamp AS DATE) IN (SELECT day FROM wanted) GROUP BY ALL
"""
_QUERIES = f"""
CREATE TEMP TABLE queries AS
WITH drawn AS (
    SELECT *, row_number() OVER (PARTITION BY day ORDER BY hash(user_id, day, {_SEED}), user_id) AS place FROM given
)
SELECT user_id, day, [item_id] AS targets, rating FROM (
    SELECT *, sum(1) OVER (ORDER BY day DESC, place) AS so_far FROM drawn WHERE place <= $users)
QUALIFY max(so_far) OVER (PARTITION BY day) <= $most
"""
# Of each pair that is asked about: the item's ratings before the day, as the features count them.
_ITEM_RATINGS = """
SELECT asked.place, avg(events.value), count(events.value)
FROM asked LEFT JOIN events ON events.item_id = asked.item_id AND events.timestamp < asked.day::TIMESTAMPTZ
GROUP BY asked.place ORDER BY asked.place
"""


class RatedDay(Frozen):
    """How well one bundle foresaw the ratings of one day.

    Attributes:
        day: UTC.
        digest: Of the bundle.
        figures: `error`: distance of the foreseen rating from the one that was given; `bias`: the foreseen probability
            of a like less 1 for a like and 0 for none. Each as users, sum, sum of squares; none of a day without
            any rating to ask about.
    """

    day: date
    digest: str
    figures: dict[str, tuple[float, float, float]]


class Foresees(Protocol):
    """What is asked: a scorer of a bundle."""

    def predict(
        self, users: Sequence[UserState], item_ids: Sequence[str], ratings: ItemRatings | None
    ) -> tuple[np.ndarray, np.ndarray]:
        """P(like) and rating of many pairs, given what others' ratings say of the items. Shapes (B,)."""


_DAYS = TypeAdapter(list[RatedDay])


def read_rated_days(folder: Path) -> list[RatedDay]:
    """What was asked about, the oldest day first."""
    path = folder / STORE
    return _DAYS.validate_json(path.read_bytes()) if path.exists() else []


def rate(
    folder: Path,
    clean: Path,
    states_then: StatesThen,
    scorer: Foresees,
    bundle: Replayed,
    wanted: Sequence[date],
    catalogue: Container[str],
    like_from: float,
) -> list[RatedDay]:
    """Ask about days that were not asked about yet, and keep their sums.

    Args:
        folder: Where the sums are kept.
        clean: Folder of the clean tables.
        states_then: Derives users as a day began.
        wanted: The days (`days_to_replay`).
        catalogue: Items that the bundle knows; a rating of another one is left out.
        like_from: A rating from here on is a like.
    Returns:
        All that is kept, the oldest day first.
    """
    fresh = list(_rated(clean, states_then, scorer, bundle, wanted, catalogue, like_from)) if wanted else []
    return keep_days(folder / STORE, _DAYS, read_rated_days(folder), fresh)


def _rated(
    clean: Path,
    states_then: StatesThen,
    scorer: Foresees,
    bundle: Replayed,
    wanted: Sequence[date],
    catalogue: Container[str],
    like_from: float,
) -> Iterator[RatedDay]:
    with open_events(clean, wanted, bundle.floods) as connection:
        connection.execute(_GIVEN)
        connection.execute(_QUERIES, {"users": RATINGS_A_DAY, "most": MAX_RATINGS})
        given = {
            (user, day): value
            for user, day, value in connection.execute("SELECT user_id, day, rating FROM queries").fetchall()
        }
        asked = [one for one in states_of(connection, states_then) if one[2][0] in catalogue]
        item_ids, days = [one[2][0] for one in asked], [one[1] for one in asked]
        of_items = _item_ratings(connection, item_ids, days) if asked else None
        put_off = connection.execute("SELECT DISTINCT day FROM given ANTI JOIN queries USING (day)").fetchall()
    values: dict[str, np.ndarray] = {}
    if asked:
        ratings = np.array([given[user, day] for user, day, *_ in asked])
        likely, foreseen = scorer.predict([one[3] for one in asked], item_ids, of_items)
        values = {ERROR: np.abs(foreseen - ratings), BIAS: likely - (ratings >= like_from)}
    for day in wanted:
        mine = np.array([one == day for one in days], dtype=bool)
        # Without any rating to ask about it is done, too; but not where a look merely had no room for it.
        if mine.any() or (day,) not in put_off:
            figures = {name: sums_of(found[mine]) for name, found in values.items()} if mine.any() else {}
            yield RatedDay(day=day, digest=bundle.digest, figures=figures)


def _item_ratings(connection: duckdb.DuckDBPyConnection, item_ids: Sequence[str], days: Sequence[date]) -> ItemRatings:
    """What others' ratings said of the items as the days began."""
    places = range(len(item_ids))
    pairs = pa.table({"place": pa.array(places, pa.int64()), "item_id": list(item_ids), "day": pa.array(days)})
    connection.register("asked", pairs)
    rows = connection.execute(_ITEM_RATINGS).fetchall()
    mean = np.array([np.nan if mean is None else mean for _, mean, _ in rows], dtype=np.float32)
    return ItemRatings(mean, np.array([n for *_, n in rows], dtype=np.float32))


def rated_series(days: Sequence[RatedDay], span: Span) -> list[Series]:
    """Both; none where no day of the span was asked about."""
    last = last_whole_day(span)
    placed = [(span.n_days - 1 - (last - one.day).days, one) for one in days if one.figures]
    within = [(place, one) for place, one in placed if 0 <= place < span.n_days]
    if not within:
        return []
    begins, found = within[0][0], []
    for figure, (name, worse) in _SIGNALS.items():
        cells = np.zeros((span.n_days - begins, 3))
        for place, one in within:
            cells[place - begins] += one.figures[figure]
        found.append(
            Series(
                name, "quality", "mean", cells[:, 0], cells[:, 1:2], cells[:, 2:],
                worse=worse, begins=begins, consequence=3,
            )
        )  # fmt: skip
    return found
