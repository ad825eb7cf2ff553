"""Whether reviews sound like the ratings that they came with, by the reader that judges written reviews.

The reader learns from these very reviews: the texts of each half of the users are read by one that learned from the
other half, over all days alike, so that no day is better known to it than another.
"""

from __future__ import annotations

from collections.abc import Iterator

import duckdb
import numpy as np

from monitoring.signals.series import Series
from recommender.evaluation.feedback.sentiment import MIDDLE, SentimentReader, sentiment_of

MAX_READ = 60  # of a day; of those that were drawn
_SEED = 0


def sentiment_series(connection: duckdb.DuckDBPyConnection, n_days: int) -> Iterator[Series]:
    """The share of reviews with a low or a high rating that sound like the other one. Needs `reviews`.

    None where a half of the users wrote too few low or high ratings with a text to learn from.
    """
    found = connection.execute(
        f"""SELECT day, CAST(uid % 2 AS INTEGER), rating, text FROM reviews
        WHERE place <= {MAX_READ} AND rating IS NOT NULL AND n_chars > 0 ORDER BY day, draw"""
    ).fetchall()
    found = [row for row in found if sentiment_of(row[2]) != MIDDLE]  # which sounds like neither
    wanted = np.array([sentiment_of(rating) for _, _, rating, _ in found], dtype=int)
    halves = np.array([half for _, half, _, _ in found], dtype=int)
    cells = np.zeros((n_days, 2))
    for half in (0, 1):
        learned = np.flatnonzero(halves != half)
        reader = SentimentReader.fit([found[at][3] for at in learned], [found[at][2] for at in learned], _SEED)
        if reader is None:
            return
        read = np.flatnonzero(halves == half)
        if not len(read):
            continue
        is_other = reader.hear([found[at][3] for at in read]) != wanted[read]
        np.add.at(cells, [found[at][0] for at in read], np.stack([np.ones(len(read)), is_other], axis=1))
    # What is not understood, as another language, sounds wrong: the cause is named first.
    yield Series(
        "text.sentiment.mismatch_share", "text", "rate", cells[:, 0], cells[:, 1:], is_share=True, consequence=2
    )
