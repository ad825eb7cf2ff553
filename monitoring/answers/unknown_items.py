"""What a bundle cannot recommend: items that users take and that are not in its catalogue, as they came after it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

import duckdb
import numpy as np
import pyarrow as pa

GROUPS = 20  # of users, so that who comes on many days is seen to be one, without anybody's id
_SEED = 7
# As in the replay: an item is taken when a user first has it, each user counts once a day, and no flood counts.
_SHARES = f"""
WITH taken AS (SELECT user_id, item_id, CAST(min(timestamp) AS DATE) AS day FROM events GROUP BY ALL),
shares AS (
    SELECT day, hash(user_id, {_SEED}) % {GROUPS} AS user_group, avg(CAST(known.item_id IS NULL AS INTEGER)) AS share
    FROM taken SEMI JOIN wanted USING (day) ANTI JOIN flooders USING (user_id)
    LEFT JOIN bundle_items AS known USING (item_id) GROUP BY day, user_id
)
SELECT day, user_group, count(*), sum(share), sum(share * share) FROM shares GROUP BY day, user_group
"""


def unknown_shares(connection: duckdb.DuckDBPyConnection, item_ids: Sequence[str]) -> dict[date, np.ndarray]:
    """How much of what users took on each of the `wanted` days a bundle does not know, users without a history too.

    Args:
        connection: With `events`, `wanted` (day) and `flooders` (user_id).
        item_ids: The bundle's catalogue.
    Returns:
        Of the users' shares, by group of users: their number, their sum, and the sum of their squares. A day without
        events is left out. Shape (GROUPS, 3).
    """
    connection.register("bundle_items", pa.table({"item_id": pa.array(item_ids, pa.string())}))
    found: dict[date, np.ndarray] = {}
    for day, group, *sums in connection.execute(_SHARES).fetchall():
        found.setdefault(day, np.zeros((GROUPS, 3)))[group] = sums
    return found
