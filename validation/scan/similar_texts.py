"""Reviews that say nearly the same as an earlier one of another user or item, found without comparing all with all.

Two texts are as similar as their sets of word pairs (Jaccard); where a script puts no space between words each
character is one. Two sets whose Jaccard is at least t share one of their
first |x| - ceil(t |x|) + 1 pairs when both are sorted by rarity, so only texts that share such a pair are compared,
exactly; texts with the very same pairs stand for one another.
Source: Chaudhuri, Ganti & Kaushik 2006 (prefix filter); Xiao et al. 2008 (rarest first).
"""

from __future__ import annotations

import duckdb

from core.sql import words_sql


def find_similar_texts(connection: duckdb.DuckDBPyConnection, similarity: float, copy: str) -> str:
    """SQL of the row numbers of near duplicates in `staged_feedback`; works in temporary tables.

    Args:
        similarity: Jaccard of word pairs from which two texts are near duplicates, above 0.
        copy: SQL over a staged row, true for exact copies, which are left out.
    """
    _keep_texts(connection, copy)
    _keep_sorted_pairs(connection)
    _keep_similar(connection, similarity)
    return """
    SELECT row_number FROM (
        SELECT row_number, author, min(author) OVER before AS lowest, max(author) OVER before AS highest
        FROM texts
        WINDOW before AS (PARTITION BY first_row ORDER BY row_number ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)
    ) WHERE lowest <> author OR highest <> author
    UNION
    SELECT later.row_number FROM similar_pairs JOIN texts later ON later.first_row = similar_pairs.later
        JOIN texts earlier ON earlier.first_row = similar_pairs.earlier
    WHERE later.author <> earlier.author AND earlier.row_number < later.row_number
    """


def _keep_texts(connection: duckdb.DuckDBPyConnection, copy: str) -> None:
    """Make `texts`: of each review its word pairs, and the first review with the very same pairs."""
    pairs = "list_distinct(list_transform(range(1, len(words)), lambda i: hash(words[i], words[i + 1])))"
    connection.execute(
        f"""
        CREATE OR REPLACE TEMP TABLE texts AS
        SELECT row_number, hash(user_id, item_id) AS author, list_sort({pairs}) AS pairs,
            min(row_number) OVER (PARTITION BY list_sort({pairs})) AS first_row
        FROM (SELECT *, {words_sql("text")} AS words FROM staged_feedback WHERE text IS NOT NULL AND NOT ({copy}))
        WHERE len(words) > 1
        """
    )


def _keep_sorted_pairs(connection: duckdb.DuckDBPyConnection) -> None:
    """Make `sorted_pairs`: the pairs of each distinct text, the rarest first."""
    connection.execute(
        """
        CREATE OR REPLACE TEMP TABLE sorted_pairs AS
        SELECT row_number, pair, n_pairs, n_texts,
            row_number() OVER (PARTITION BY row_number ORDER BY n_texts, pair) AS nth
        FROM (
            SELECT *, count(*) OVER (PARTITION BY pair) AS n_texts
            FROM (
                SELECT row_number, len(pairs) AS n_pairs, unnest(pairs) AS pair FROM texts WHERE row_number = first_row
            )
        )
        """
    )


def _keep_similar(connection: duckdb.DuckDBPyConnection, similarity: float) -> None:
    """Make `similar_pairs`: pairs of distinct texts that are similar enough."""
    prefix = f"SELECT * FROM sorted_pairs WHERE n_texts > 1 AND nth <= n_pairs - ceil({similarity!r} * n_pairs) + 1"
    connection.execute(
        f"""
        CREATE OR REPLACE TEMP TABLE similar_pairs AS
        WITH prefixes AS ({prefix}), candidates AS (
            SELECT DISTINCT a.row_number AS earlier, b.row_number AS later
            FROM prefixes a JOIN prefixes b ON a.pair = b.pair AND a.row_number < b.row_number
            WHERE least(a.n_pairs, b.n_pairs) >= {similarity!r} * greatest(a.n_pairs, b.n_pairs)
        ), compared AS (
            SELECT earlier, later, len(list_intersect(a.pairs, b.pairs)) AS n_both, len(a.pairs) + len(b.pairs) AS n_sum
            FROM candidates JOIN texts a ON a.row_number = earlier JOIN texts b ON b.row_number = later
        )
        SELECT earlier, later FROM compared WHERE n_both / (n_sum - n_both) >= {similarity!r}
        """
    )
