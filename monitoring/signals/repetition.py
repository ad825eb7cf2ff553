"""Reviews that say again what a review before them said: copies, and texts with a few words changed.

A text is cut into runs of five words. One most of whose runs stand in other reviews of the four weeks before it is a
repetition: changed names, a word left out or a sentence added do not hide it (Broder 1997, "On the resemblance and
containment of documents"). In scripts that put no space between words each character is a word.
"""

from __future__ import annotations

from collections.abc import Iterator

import duckdb

from core.sql import words_sql
from monitoring.signals.columns import daily
from monitoring.signals.series import Series

MAX_READ = 100  # of a day; of those that were drawn
RUN = 5  # words
BACK_DAYS = 28
_MOST = 0.8  # of a text's runs


def repetition_series(connection: duckdb.DuckDBPyConnection, n_days: int) -> Iterator[Series]:
    """The share of reviews that repeat another one, of those with at least five words. Needs `reviews`."""
    if n_days <= BACK_DAYS:
        return
    connection.execute(
        f"""CREATE OR REPLACE TEMP TABLE runs AS
        SELECT day, draw, unnest(list_distinct(list_transform(range(1, len(said) - {RUN - 2}),
            lambda place: hash(said[place:place + {RUN - 1}])))) AS run
        FROM (SELECT day, draw, {words_sql("text")} AS said FROM reviews
            WHERE place <= {MAX_READ})
        WHERE len(said) >= {RUN}"""
    )
    query = f"""
    WITH met AS (SELECT day, draw,
            coalesce(day - lag(day) OVER (PARTITION BY run ORDER BY day, draw) <= {BACK_DAYS}, false) AS is_again
        FROM runs),
    repeated AS (SELECT day, draw, avg(CAST(is_again AS INTEGER)) >= {_MOST} AS is_again FROM met GROUP BY ALL)
    SELECT day, count(*), count(*) FILTER (is_again) FROM repeated GROUP BY day"""
    cells = daily(connection, query, n_days, 2)[BACK_DAYS:]  # of the first days what was before is not known
    connection.execute("DROP TABLE runs")
    if cells[:, 0].any():
        yield Series("text.repeated_share", "text", "rate", cells[:, 0], cells[:, 1:], is_share=True, begins=BACK_DAYS)
