"""Signals of what reviews say: whether they repeat each other, and whether they sound like their ratings."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from core.schema import TABLES
from monitoring.calibration import measure
from monitoring.signals.activity import FloodRule, Span, open_database, read_activity
from monitoring.signals.series import Series
from monitoring.signals.texts import text_series
from monitoring.verdict import judge

DAYS, TURN, WRITERS = 160, 153, 25
SPAN = Span(datetime(2025, 6, 1, tzinfo=UTC), DAYS)
REPEATED, MISMATCH = "text.repeated_share", "text.sentiment.mismatch_share"
GOOD, BAD = ("lovely", "great", "perfect", "charming"), ("awful", "broken", "useless", "smelly")
PLAIN = tuple(
    f"{first}{last}" for first in ("ba", "ke", "li", "mo", "nu", "sa") for last in ("ra", "ton", "vel", "dim")
)
COPIED = ["this", "is", "the", "best", "shop", "of", "all", "and", "my", "family", "buys", "everything", "here", "now"]
# Of a review, its words and its rating, with a number drawn from 0 to 1.
Change = Callable[[list[str], float, float], tuple[list[str], float]]


def _as_it_is(words: list[str], rating: float, _: float) -> tuple[list[str], float]:
    return words, rating


def _copied(words: list[str], rating: float, drawn: float) -> tuple[list[str], float]:
    """Of some, a text that is the same but for the words at its end."""
    return ([*COPIED, *words[6:8]], rating) if drawn < 0.2 else (words, rating)


def _praised(words: list[str], rating: float, drawn: float) -> tuple[list[str], float]:
    """Of some bad texts, the best rating."""
    return words, 5.0 if drawn < 0.5 else rating


def _series(folder: Path, change: Change) -> dict[str, Series]:
    rng, rows = np.random.default_rng(11), []
    for day in range(DAYS):
        for writer in range(WRITERS):
            rating = float(rng.integers(1, 6))
            sound = GOOD if (rating > 2) == (rng.random() > 0.1) else BAD
            words = [*rng.choice(PLAIN, 6), str(rng.choice(sound)), str(rng.choice(sound)), *rng.choice(PLAIN, 3)]
            drawn = float(rng.random())
            if day >= TURN:
                words, rating = change(words, rating, drawn)
            at = SPAN.starts(day) + timedelta(hours=1, seconds=int(rng.integers(70_000)))
            rows.append(_row(f"u{day}-{writer}", " ".join(words), rating, at))
    return _read(folder, rows)


def _row(user: str, text: str, rating: float | None, at: datetime) -> dict[str, object]:
    return {"user_id": user, "item_id": "i", "rating": rating, "text": text, "timestamp": at}


def _read(folder: Path, rows: list[dict[str, object]]) -> dict[str, Series]:
    for name, found in (("feedback", rows), ("interactions", [])):
        pq.write_table(pa.Table.from_pylist(found, schema=TABLES[name].arrow()), folder / f"{name}.parquet")  # type: ignore[index]
    with open_database(1.0, folder) as connection:
        read_activity(connection, folder, SPAN, FloodRule(20, 50))
        return {one.name: one for one in text_series(connection, folder, SPAN)}


@pytest.mark.parametrize(("change", "alarms"), [(_as_it_is, set()), (_copied, {REPEATED}), (_praised, {MISMATCH})])
def test_what_reviews_say_alarms_where_it_moved_and_only_there(
    tmp_path: Path, change: Change, alarms: set[str]
) -> None:
    found = _series(tmp_path, change)
    moved = [one for name in (REPEATED, MISMATCH) for one in measure(found[name], DAYS, 60)]
    verdict = judge(moved, SPAN, DAYS, 0.05)
    assert {one.signal for one in verdict.alarms} == alarms
    assert all(one.says.startswith("Reviews: ") for one in verdict.alarms)


def test_a_review_is_a_repetition_where_most_of_it_was_said_within_four_weeks(tmp_path: Path) -> None:
    said, other = " ".join(COPIED), " ".join(PLAIN[:15])
    told = [
        (40, "a", said),
        (41, "b", said.upper() + "!!!"),  # however it is written
        (42, "c", f"Well, {said} indeed"),  # with something around it
        (43, "d", f"{said} {other}"),  # half of it is new
        (44, "e", "very good item"),  # too short to be a copy of anything
        (45, "f", "很好喝下次还来买"),
        (45, "g", "很好喝下次还来买"),
        (75, "h", said),  # too long ago
    ]
    rows = [_row(user, text, None, SPAN.starts(day) + timedelta(hours=1)) for day, user, text in told]
    series = _read(tmp_path, rows)[REPEATED]
    repeated = {int(day) + series.begins: int(series.sums[day, 0]) for day in np.flatnonzero(series.exposure)}
    assert repeated == {40: 0, 41: 1, 42: 1, 43: 0, 45: 1, 75: 0}


def test_where_too_few_are_rated_low_nothing_is_said_of_sentiment(tmp_path: Path) -> None:
    rows = [_row(f"u{n}", "lovely and great", 5.0, SPAN.starts(n)) for n in range(100)]
    assert MISMATCH not in _read(tmp_path, rows)


def test_a_middle_rating_sounds_like_neither_and_counts_for_none(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    rows = []
    for n in range(300):
        rating = (1.0, 3.0, 5.0)[n % 3]
        words = rng.choice(BAD if rating == 1 else GOOD, 5)
        rows.append(_row(f"u{n}", " ".join(words), rating, SPAN.starts(50 + n % 50)))
    series = _read(tmp_path, rows)[MISMATCH]
    assert (series.exposure.sum(), series.sums.sum()) == (200, 0)
