"""Signals of embeddings: the mean vector of what users take, of those who come, and of what reviewers write."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta

import duckdb
import numpy as np
import pyarrow as pa
from scipy.sparse import csr_matrix

from monitoring.answers.signals import NEEDED_DAYS, last_whole_day
from monitoring.embeddings.items import PlacedItems
from monitoring.embeddings.reviews import LEAST_PEOPLE, LEAST_TEXTS, Reviews
from monitoring.signals.activity import Span
from monitoring.signals.series import Landmarks, Series

ITEMS, USERS, REVIEWS = "embeddings.items.mean", "embeddings.users.mean", "embeddings.texts.mean"
MAX_USERS = 300  # of a day
# What says who a user is: items of so many days before, the newest. As many days for each day, so that no day knows
# more of its users than another; the first ones of the past know less, and are not counted.
HISTORY_DAYS, MAX_HISTORY = 28, 20
MAX_LANDMARKS = 300  # items, those taken most, by which a move is named
_LEAST_SHARE = 1e-4  # of the variance along the longest axis: what varies less is rounding
_SEED = 23


def item_and_user_series(connection: duckdb.DuckDBPyConnection, items: PlacedItems | None, n_days: int) -> list[Series]:
    """Both; none without placed items, or where these do not differ. Needs what `read_activity` made."""
    if items is None or not items.is_usable:
        return []
    ids = pa.array(items.item_ids, pa.string())
    connection.register("placed_ids", pa.table({"item_id": ids, "place": pa.array(range(len(ids)), pa.int32())}))
    connection.execute(
        f"""CREATE OR REPLACE TEMP TABLE placed_events AS
        SELECT day, uid, us, place, w, hash(uid, day, {_SEED}) AS draw
        FROM picked JOIN (SELECT hash(item_id) AS iid, place FROM placed_ids) USING (iid)"""
    )
    connection.unregister("placed_ids")
    rows = connection.execute(
        f"""WITH drawn AS (
            SELECT day, uid, true AS is_drawn FROM (SELECT DISTINCT day, uid, draw FROM placed_events)
            QUALIFY row_number() OVER (PARTITION BY day ORDER BY draw, uid) <= {MAX_USERS})
        SELECT day, place, w, dense_rank() OVER (ORDER BY uid) AS who, coalesce(is_drawn, false) AS is_drawn
        FROM (SELECT placed_events.* FROM placed_events SEMI JOIN drawn USING (uid)) LEFT JOIN drawn USING (day, uid)
        ORDER BY who, us, place"""
    ).fetchnumpy()
    if not len(rows["day"]):
        return []
    found = _series(items, {name: np.ma.getdata(values) for name, values in rows.items()}, n_days)
    return [one for one in found if one.sums.shape[1]]


def _series(items: PlacedItems, rows: dict[str, np.ndarray], n_days: int) -> Iterator[Series]:
    """Of rows by user and time: `day`, `place` of the item, weight `w`, `who`, and whether that day is drawn."""
    day, place, weight, who = (
        rows[name].astype(np.int64 if name != "w" else float) for name in ("day", "place", "w", "who")
    )
    is_drawn = rows["is_drawn"].astype(bool)
    code = who * (n_days + 1) + day
    codes, first = np.unique(code[is_drawn], return_index=True)
    day_of = day[is_drawn][first]
    unit = np.searchsorted(codes, code[is_drawn])
    took = _means(unit, place[is_drawn], weight[is_drawn], len(codes), items.vectors)
    met = np.bincount(place[is_drawn], weights=weight[is_drawn], minlength=len(items.item_ids))
    most = np.argsort(-met, kind="stable")[:MAX_LANDMARKS]
    most = most[met[most] > 0]
    landmarks = Landmarks(tuple(items.labels[at] for at in most), items.vectors[most])
    yield _mean_series(ITEMS, took, day_of, n_days, landmarks)
    # Of each drawn day what its user took on the days before: the rows before its own, the newest ones.
    end = np.searchsorted(code, codes)
    oldest = np.maximum(day_of - HISTORY_DAYS, 0) + codes - day_of
    begin = np.maximum(np.searchsorted(code, oldest), end - MAX_HISTORY)
    known = np.flatnonzero((end > begin) & (day_of >= HISTORY_DAYS))
    lengths = (end - begin)[known]
    unit = np.repeat(np.arange(len(known)), lengths)
    offsets = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    taken = place[np.repeat(begin[known], lengths) + offsets]
    if len(known):
        came = _means(unit, taken, np.ones(len(taken)), len(known), items.vectors)
        of_users = _mean_series(USERS, came, day_of[known] - HISTORY_DAYS, n_days - HISTORY_DAYS, landmarks)
        # Who comes again within four weeks says the same again, so far as what they took before is the same.
        again = _repetition(came, codes[known], day_of[known], n_days)
        assert of_users.squares is not None
        yield replace(of_users, begins=HISTORY_DAYS, squares=of_users.squares * again)


def _repetition(rows: np.ndarray, codes: np.ndarray, day: np.ndarray, n_days: int) -> float:
    """The variance of a mean over four weeks as a multiple of what it were if each row were another user's, at least 1.

    Args:
        codes: Of a user and a day: the user times one more than the days, and the day.
    """
    who = (codes - day) + day // HISTORY_DAYS
    _, group = np.unique(who, return_inverse=True)
    centred = rows - rows.mean(axis=0)
    sums = csr_matrix((np.ones(len(rows)), (group, np.arange(len(rows))))) @ centred
    return max(float((sums**2).sum() / max((centred**2).sum(), 1e-12)), 1.0)


def _means(unit: np.ndarray, place: np.ndarray, weight: np.ndarray, n_units: int, vectors: np.ndarray) -> np.ndarray:
    """The weighted mean of the vectors of each unit's items. Shape (n_units, d)."""
    total = np.bincount(unit, weights=weight, minlength=n_units)
    cells = csr_matrix((weight / total[unit], (unit, place)), shape=(n_units, len(vectors)))
    found: np.ndarray = cells @ vectors.astype(float)
    return found


def _mean_series(name: str, rows: np.ndarray, day: np.ndarray, n_days: int, landmarks: Landmarks) -> Series:
    centre = rows.mean(axis=0)
    axes, _ = _independent(np.cov(rows.T, bias=True).reshape(rows.shape[1], rows.shape[1]))
    rows, places = (rows - centre) @ axes, (landmarks.places - centre) @ axes
    sums, squares = np.zeros((2, n_days, rows.shape[1]))
    np.add.at(sums, day, rows)
    np.add.at(squares, day, rows**2)
    exposure = np.bincount(day, minlength=n_days).astype(float)
    # What moves categories or brands moves vectors: the more telling name comes first.
    landmarks = Landmarks(landmarks.names, places)
    return Series(name, "embeddings", "mean", exposure, sums, squares, landmarks=landmarks, consequence=2)


def _independent(covariance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Axes along which values vary apart from each other, as a comparison of means takes them to, and how much.

    Returns:
        Shapes (d, k), orthonormal, and (k,); without axes along which hardly anything varies.
    """
    values, axes = np.linalg.eigh(covariance)
    kept = values > max(_LEAST_SHARE * values[-1], 1e-12)
    return axes[:, kept], values[kept]


def review_series(reviews: Reviews | None, span: Span) -> list[Series]:
    """The one of reviews' texts; none where no day of the span has people enough."""
    if reviews is None or not reviews.n:
        return []
    last = last_whole_day(span)
    placed = [(span.n_days - 1 - (last - one.day).days, one) for one in reviews.days]
    within = [(place, one) for place, one in placed if 0 <= place < span.n_days and one.n]
    if not within or reviews.n < LEAST_TEXTS:
        return []
    centre = np.array(reviews.sums) / reviews.n
    axes, spread = _independent(np.array(reviews.products) / reviews.n - np.outer(centre, centre))
    begins = within[0][0]
    exposure, sums = np.zeros(span.n_days - begins), np.zeros((span.n_days - begins, len(spread)))
    for place, one in within:
        exposure[place - begins] = one.n
        sums[place - begins] = (np.array(one.sums) - one.n * centre) @ axes
    squares = exposure[:, None] * spread  # of each day as of all days together, which are kept alone
    return [Series(REVIEWS, "embeddings", "mean", exposure, sums, squares, begins=begins, consequence=2)]


def items_note(items: PlacedItems | None, not_embedded: str = "") -> str:
    """Why the embeddings of items and users are not watched, a sentence; empty where they are.

    Args:
        not_embedded: What kept the look from placing items and embedding texts, a sentence; empty where nothing did.
    """
    if items is not None and items.is_usable:
        return ""
    none_has = not_embedded or "No bundle in service has vectors of their texts."
    why = none_has if items is None else "Too few items have a text."
    return f"Not watched: embeddings of items and users. {why}"


def reviews_note(
    reviews: Reviews | None, items: PlacedItems | None, span: Span, newest: datetime, not_embedded: str = ""
) -> str:
    """Why the embeddings of reviews are not watched, or not those of the newest days, a sentence; empty where all are.

    Args:
        items: Of the bundle in service; None where it has no vectors of texts.
        newest: The newest event that counts: days after it have nothing to embed.
        not_embedded: What kept the look from embedding them, a sentence; empty where nothing did.
    """
    what = "embeddings of reviews"
    none_reads = "No bundle in service has vectors of texts, by whose encoder they would be read."
    if reviews is None and not_embedded:
        return f"Not watched: {what}. {not_embedded}"
    if reviews is None and items is None:
        return f"Not watched: {what}. {none_reads}"
    if reviews is None:
        return f"Not watched yet: {what}. They are embedded by looks of `monitor`, and none was so far."
    told = [one.day for one in reviews.days if one.n]
    if not told:
        return f"Not watched: {what}. No day with texts of {LEAST_PEOPLE} people or more was embedded."
    n = max((last_whole_day(span) - told[0]).days + 1, 0)
    if n < NEEDED_DAYS:
        return (
            f"Not watched yet: {what}. The first that was embedded is {n} days old; a quiet past takes {NEEDED_DAYS}."
        )
    last = min(last_whole_day(span), last_whole_day(Span(newest + timedelta(microseconds=1), 1)))
    if reviews.days[-1].day < last:
        waits = none_reads if items is None else "The next look of `monitor` embeds the days since."
        why = not_embedded or waits
        return f"Watched up to {reviews.days[-1].day}: {what}. {why}"
    return ""
