"""What reviewers write about, by day: their texts as vectors, of which sums of days are kept and nothing else.

A day is embedded once, by the encoder as it was before it learned from the shop. Its vectors are laid along directions
that are drawn by chance (Johnson and Lindenstrauss 1984), which are learned from nobody's text and the same for every
bundle of that encoder, and summed up over at least five people.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np

from core.schema import ITEM_ID, TEXT, TIMESTAMP, USER_ID
from core.settings.form import Frozen
from core.sql import literal
from core.storage import atomic_file, digest_of
from monitoring.answers.asked_days import KEPT_DAYS, days_to_replay, open_events
from monitoring.answers.signals import NEEDED_DAYS
from monitoring.embeddings.items import Encode
from monitoring.extent import Extent
from monitoring.signals.activity import FloodRule
from monitoring.signals.texts import MAX_CHARS, SHORT_CHARS

STORE = "review_vectors.json"
MAX_A_DAY = 60  # texts, each of another user
MAX_A_LOOK = 1000  # texts, the newest days first, but that a quiet past is embedded at once; ten milliseconds each
LEAST_PEOPLE = 5  # of a day; of fewer nothing is kept
WIDTH = 32  # directions
LEAST_TEXTS = 10 * WIDTH  # of all days, for it to be known how texts differ
_SEED = 17
_LONG_AGO, _EVER = datetime(1970, 1, 1, tzinfo=UTC), date(1970, 1, 1)
_DRAWN = f"""
WITH said AS (
    SELECT {USER_ID} AS user_id, CAST({TIMESTAMP} AS DATE) AS day, left(trim({TEXT}), {MAX_CHARS}) AS text,
        hash({USER_ID}, {ITEM_ID}, {TIMESTAMP}, {_SEED}) AS draw
    FROM read_parquet($feedback)
    WHERE length(trim({TEXT})) >= {SHORT_CHARS} AND CAST({TIMESTAMP} AS DATE) IN (SELECT day FROM wanted)),
one AS (SELECT user_id, day, arg_min(text, draw) AS text, min(draw) AS draw FROM said ANTI JOIN flooders USING (user_id)
    GROUP BY user_id, day),
drawn AS (SELECT *, row_number() OVER (PARTITION BY day ORDER BY draw, user_id) AS place FROM one),
counted AS (SELECT *, sum(1) OVER (ORDER BY day DESC, place) AS so_far FROM drawn WHERE place <= {MAX_A_DAY})
SELECT day, text, max(so_far) OVER (PARTITION BY day) <= $most OR day >= $past AS has_room
FROM counted ORDER BY day DESC, place
"""


class ReviewDay(Frozen):
    """The texts of one day.

    Attributes:
        day: UTC.
        n: People, one text of each; 0 where there were fewer than five.
        sums: Of their vectors, along each direction; none where nobody is counted.
    """

    day: date
    n: int
    sums: tuple[float, ...] = ()


class Reviews(Frozen):
    """What is kept of the texts that one encoder embedded.

    Attributes:
        encoder: Says which.
        days: The oldest first.
        n, sums, products: Of all texts together, also of days that are no longer kept: how many, their vectors, and
            the products of each two directions, by which it is known how texts differ. Shapes (d,) and (d, d).
    """

    encoder: str
    days: tuple[ReviewDay, ...] = ()
    n: int = 0
    sums: tuple[float, ...] = ()
    products: tuple[tuple[float, ...], ...] = ()


def read_reviews(folder: Path) -> Reviews | None:
    """What is kept; None before the first look."""
    path = folder / STORE
    return Reviews.model_validate_json(path.read_bytes()) if path.exists() else None


def embed_reviews(
    folder: Path, clean: Path, extent: Extent, floods: FloodRule, encoder: str, encode: Encode
) -> Reviews:
    """Embed the reviews of whole days that were not embedded yet, and keep their sums.

    The newest days that a quiet past takes are embedded at once, however many texts they have, so that the first look
    catches up; older ones follow over the next looks.

    Args:
        folder: Where the sums are kept.
        clean: Folder of the clean tables.
        extent: Of the events: the days end where they do.
        encoder: Says which encoder it is; what another one made is made anew, over the next looks.
        encode: It; not called where there is nothing new.
    Returns:
        All that is kept.
    """
    before = read_reviews(folder)
    kept = before if before is not None and before.encoder == encoder else Reviews(encoder=encoder)
    begin = _EVER if extent.first is None else extent.first.astimezone(UTC).date()
    wanted = [day for day in days_to_replay(extent, kept.days, _LONG_AGO) if day >= begin]
    if wanted and extent.newest is not None:
        past = (extent.newest + timedelta(microseconds=1)).astimezone(UTC).date() - timedelta(days=NEEDED_DAYS)
        kept = _embedded(kept, _texts(clean, wanted, past, floods), encode)
    if kept != before:
        folder.mkdir(parents=True, exist_ok=True)
        with atomic_file(folder / STORE) as temporary:
            temporary.write_text(kept.model_dump_json(), encoding="utf-8")
    return kept


def encoder_digest(settings: object, model_digest: str) -> str:
    """Says which encoder gave vectors, and along which directions they are laid.

    Args:
        settings: Of the encoder, as far as they decide a vector.
        model_digest: Of its files.
    """
    return digest_of(settings, model_digest, directions(2).round(6).tolist())


def directions(width: int) -> np.ndarray:
    """Directions drawn by chance. Shape (width, WIDTH)."""
    return np.random.default_rng(_SEED).normal(size=(width, WIDTH))


def _embedded(kept: Reviews, said: dict[date, list[str]], encode: Encode) -> Reviews:
    """What is kept, and the days of these texts."""
    told = {day: texts for day, texts in said.items() if len(texts) >= LEAST_PEOPLE}
    fresh = {day: ReviewDay(day=day, n=0) for day in said}
    n, sums, products = kept.n, np.array(kept.sums or [0.0]), np.array(kept.products or [[0.0]])
    if told:
        raw = encode([text for texts in told.values() for text in texts])
        laid = raw @ directions(raw.shape[1])
        ends = np.cumsum([len(texts) for texts in told.values()])
        for day, mine in zip(told, np.split(laid, ends[:-1]), strict=True):
            fresh[day] = ReviewDay(day=day, n=len(mine), sums=_rounded(mine.sum(axis=0)))
        n, sums, products = n + len(laid), sums + laid.sum(axis=0), products + laid.T @ laid
    days = sorted([*kept.days, *fresh.values()], key=lambda one: one.day)
    oldest = days[-1].day - timedelta(days=KEPT_DAYS) if days else _EVER
    return Reviews(
        encoder=kept.encoder,
        days=tuple(one for one in days if one.day >= oldest),
        n=n,
        sums=_rounded(sums),
        products=tuple(_rounded(row) for row in products),
    )


def _texts(clean: Path, wanted: Sequence[date], past: date, floods: FloodRule) -> dict[date, list[str]]:
    """Of each of the days that a look has room for, as all have since `past`, one text of each person who is drawn."""
    with open_events(clean, wanted, floods) as connection:
        query = _DRAWN.replace("$feedback", literal(str(clean / "feedback.parquet")))
        rows = connection.execute(query, {"most": max(MAX_A_LOOK, MAX_A_DAY), "past": past}).fetchall()
    texts: dict[date, list[str]] = {day: [] for day in wanted}
    for day, text, has_room in rows:
        if has_room:
            texts[day].append(text)
        else:
            texts.pop(day, None)
    return texts


def _rounded(values: np.ndarray) -> tuple[float, ...]:
    return tuple(values.round(5).tolist())
