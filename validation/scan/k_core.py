"""The k-core of the clean events: users and items with enough events on what is left of one another."""

from __future__ import annotations

import duckdb


def find_outside_core(
    connection: duckdb.DuckDBPyConnection, min_user_events: int, min_item_events: int, excluded: str
) -> str:
    """SQL of the row numbers of clean interactions outside the core; works in a temporary table.

    Leaving out a user takes events from items, so that rounds are needed until nothing changes.

    Args:
        min_user_events, min_item_events: Of a user or item in the core; 0 asks for nothing.
        excluded: SQL over a staged row, true where it is not clean.
    """
    clean = f"SELECT row_number, user_id, item_id FROM staged_interactions WHERE NOT ({excluded})"
    connection.execute(f"CREATE OR REPLACE TEMP TABLE core AS {clean}")
    changed = True
    while changed:
        changed = False
        for name, least in (("user_id", min_user_events), ("item_id", min_item_events)):
            rare = f"SELECT {name} FROM core GROUP BY {name} HAVING count(*) < {least}"
            ((count,),) = connection.execute(f"DELETE FROM core WHERE {name} IN ({rare})").fetchall()
            changed = changed or count > 0
    return f"SELECT row_number FROM ({clean}) WHERE row_number NOT IN (SELECT row_number FROM core)"
