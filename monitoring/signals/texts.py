"""Signals of the reviews' texts: length, empty ones, script, language, repetition, and sound against rating.

Of each day at most `MAX_TEXTS` users are drawn, and of each of them one review: so millions of reviews take seconds,
and a busy writer is one user. The language of a text is read off its stop words: each counts for all languages that
list it, less for more of them, and the language with most wins.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import duckdb
import pyarrow as pa

from core.languages import LEAST_HITS, stop_words
from core.schema import ITEM_ID, RATING, TEXT, TIMESTAMP, USER_ID
from core.sql import literal
from monitoring.signals.activity import Span
from monitoring.signals.columns import Rows, daily, number_series, word_series
from monitoring.signals.repetition import repetition_series
from monitoring.signals.sentiment import sentiment_series
from monitoring.signals.series import Series

MAX_TEXTS = 300  # of a day
MAX_CHARS = 400  # of a text, from its beginning, in which its language is read
SHORT_CHARS = 10  # a text with fewer says nothing
_DRAW = f"hash({USER_ID}, {ITEM_ID}, {TIMESTAMP})"
_UNCLEAR, _OTHER_SCRIPT = "(unclear)", "(other script)"


def text_series(connection: duckdb.DuckDBPyConnection, clean: Path, span: Span) -> list[Series]:
    """All of them, of days on which somebody wrote; none where nobody did. Needs what `read_activity` made."""
    _draw(connection, clean, span)
    if not connection.execute("SELECT 1 FROM reviews LIMIT 1").fetchall():
        return []
    _read_languages(connection)
    n_days = span.n_days
    return [
        *_signals(connection, n_days),
        *repetition_series(connection, n_days),
        *sentiment_series(connection, n_days),
    ]


def _signals(connection: duckdb.DuckDBPyConnection, n_days: int) -> Iterator[Series]:
    length = Rows("length", "reviews", "nullif(n_chars, 0)", "text")
    # A language's texts are longer than another's: the cause is named first.
    yield from (
        replace(one, consequence=2)
        for one in number_series(connection, length, n_days, is_log=True)
        if one.name.endswith(".level")
    )
    for name, of, what in (
        ("short_share", "true", f"n_chars < {SHORT_CHARS}"),
        ("other_script_share", f"n_chars >= {SHORT_CHARS}", "is_other_script"),
    ):
        query = f"SELECT day, count(*), count(*) FILTER ({what}) FROM reviews WHERE {of} GROUP BY day"
        cells = daily(connection, query, n_days, 2)
        yield Series(f"text.{name}", "text", "rate", cells[:, 0], cells[:, 1:], is_share=True)
    # A text that says nothing has no language: were it a kind, empty texts would look like a new language.
    language = Rows(
        "language", f"reviews JOIN languages USING (draw) WHERE n_chars >= {SHORT_CHARS}", "language", "text"
    )
    yield from (one for one in word_series(connection, language, n_days) if not one.name.endswith("null_share"))


def _draw(connection: duckdb.DuckDBPyConnection, clean: Path, span: Span) -> None:
    """Make `reviews` (day, draw, place, uid, w, rating, text, n_chars, is_other_script); `place` counts on each day."""
    feedback = f"read_parquet({literal(str(clean / 'feedback.parquet'))})"
    connection.execute(
        f"""CREATE OR REPLACE TEMP TABLE drawn AS
        SELECT day, uid, draw, row_number() OVER (PARTITION BY day ORDER BY hash(draw)) AS place FROM (
            SELECT day, uid, min(draw) AS draw FROM (
                SELECT {span.day_sql(TIMESTAMP)} AS day, hash({USER_ID}) AS uid, {_DRAW} AS draw FROM {feedback}
                WHERE {span.within_sql(TIMESTAMP)})
            ANTI JOIN flooded USING (day, uid) GROUP BY day, uid)
        QUALIFY place <= {MAX_TEXTS}"""
    )
    letters, latin = (f"length(regexp_replace(text, '[^{kind}]', '', 'g'))" for kind in (r"\p{L}", r"\p{Latin}"))
    connection.execute(
        f"""CREATE OR REPLACE TEMP TABLE reviews AS
        SELECT day, draw, place, uid, rating, 1.0 AS w, n_chars, text, {latin} < 0.5 * {letters} AS is_other_script
        FROM (SELECT day, draw, place, uid, {RATING} AS rating, left(trim(coalesce({TEXT}, '')), {MAX_CHARS}) AS text,
                length(trim(coalesce({TEXT}, ''))) AS n_chars
            FROM {feedback} JOIN drawn ON {_DRAW} = draw)"""
    )


def _read_languages(connection: duckdb.DuckDBPyConnection) -> None:
    """Make `languages` (draw, language) of all reviews."""
    words, languages, weights = zip(*stop_words(), strict=True)
    connection.register("listed", pa.table({"word": words, "language": languages, "weight": weights}))
    connection.execute(
        rf"""CREATE OR REPLACE TEMP TABLE languages AS
        WITH said AS (
            SELECT draw, unnest(regexp_extract_all(lower(text), '[\p{{L}}\p{{M}}]{{2,}}')) AS word FROM reviews
        ),
        scores AS (SELECT draw, language, sum(weight) AS score, count(*) AS hits FROM said JOIN listed USING (word)
            GROUP BY ALL HAVING hits >= {LEAST_HITS}),
        best AS (SELECT draw, arg_max(language, (score, language)) AS language FROM scores GROUP BY draw)
        SELECT draw,
            coalesce(language, CASE WHEN is_other_script THEN '{_OTHER_SCRIPT}' ELSE '{_UNCLEAR}' END) AS language
        FROM reviews LEFT JOIN best USING (draw)"""
    )
    connection.unregister("listed")
