"""A shop of any size for the feature benchmarks: clean tables, written by DuckDB in seconds."""

from __future__ import annotations

from pathlib import Path

from core.sql import literal


def write_clean_tables(clean: Path, *, n_events: int, n_users: int, n_items: int, rated_share: float) -> None:
    """Write users, items, interactions and an empty feedback table.

    Users and items are drawn with the long tails of real shops: the square of a uniform number, so a tenth of them
    have a third of the events. Times are spread over a year, by the second, so some are tied.

    Args:
        clean: The folder; made.
        n_events: Interactions.
        n_users: Users.
        n_items: Items; in 40 categories, of 300 brands.
        rated_share: Share of the interactions that carry a rating.
    """
    import duckdb

    clean.mkdir(parents=True, exist_ok=True)
    statements = {
        "users": f"""
            SELECT 'u' || n AS user_id, NULL::TIMESTAMPTZ AS signup_at, 'FR' AS country FROM range({n_users}) AS t(n)
        """,
        "items": f"""
            SELECT 'i' || n AS item_id, 'Item ' || n AS title, NULL::VARCHAR AS description,
                'Category ' || (n % 40) AS category, 'Brand ' || (hash(n) % 300) AS brand,
                (hash(n) % 10000) / 100.0 AS price, NULL::TIMESTAMPTZ AS created_at
            FROM range({n_items}) AS t(n)
        """,
        "interactions": f"""
            SELECT 'e' || n AS event_id, 'u' || floor(u * u * {n_users})::BIGINT AS user_id,
                'i' || floor(i * i * {n_items})::BIGINT AS item_id,
                CASE WHEN r < {rated_share} THEN 'rating' WHEN r < {rated_share} + (1 - {rated_share}) * 0.3
                    THEN 'click' WHEN r < 0.95 THEN 'view' ELSE 'impression' END AS event,
                CASE WHEN r < {rated_share} THEN 1.0 + floor(5 * v) END AS value,
                make_timestamp(1735689600000000 + floor(t * 31536000)::BIGINT * 1000000)::TIMESTAMPTZ AS timestamp,
                n::BIGINT AS position
            FROM (
                SELECT n, random() AS u, random() AS i, random() AS r, random() AS v, random() AS t
                FROM range({n_events}) AS t(n)
            )
        """,
        "feedback": """
            SELECT ''::VARCHAR AS user_id, '' AS item_id, 1.0 AS rating, '' AS text, now() AS timestamp WHERE false
        """,
    }
    with duckdb.connect() as database:
        database.execute("SET threads = 2")
        database.execute("SET TimeZone = 'UTC'")
        database.execute("SELECT setseed(0.5)").fetchall()
        for table, statement in statements.items():
            path = str(clean / f"{table}.parquet")
            database.execute(f"COPY ({statement}) TO {literal(str(path))} (FORMAT parquet)")
