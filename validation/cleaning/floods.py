"""Floods and bots among the interactions: a few busy clients must not distort the data.

A *flood* is one user's same event on the same item, again and again, far beyond what the rest of the shop does. Its
first events stay, as many as others have on one item; the surplus breaks the rule. A *bot* is a user with far more
events than the others, at an inhuman pace; all its events break the rule.

Limits are relative to the third quartile of the users, which a flood moves only if it comes from a quarter of all
users. Habits are spared (the same milk every day), and so is an id that many people share ("guest"): it does what the
other users do, only more of it, at all hours. A large share of one id is a warning.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import duckdb

from core.settings.validation import FloodSettings
from validation.staging.parts import StagedPart

FLOOD = "flood"
BOT = "bot"
ONE_USER_DOMINATES = "one_user_dominates"
MIN_USERS = 20  # with fewer, there are no other users to compare with
LASTING_TIMES = 3  # over any number of days, a flood has so many times `min_repeats` events
LASTING_PER_DAY = 5  # moments a day, of the days with any, from which it is no habit, nor an order of many pieces
LASTING_SHARE = 0.01  # of the table's events that a user's lasting floods make at least
MIN_ODDS_RATIO = 10  # of the flooded items, the user's events against the others'
BOT_PER_MINUTE = 60  # events a minute, of the minutes with any
BOT_MIN_SECONDS = 100  # so many different seconds: orders and days that share one timestamp have no pace
BOT_MAX_HOURS_SHARE = 0.25  # of the hours in which the others act: an id of many people is active in more
CLOCKWORK_MAX_GAP_S = 60  # between two events of a user who acts like a clock
CLOCKWORK_SPREAD = 2  # the wide gaps (90 %) are at most so many times the narrow ones (10 %)
_SAMPLED_USERS = 20_000  # whose repetitions are counted to learn what is usual
_NOTHING = "SELECT NULL::BIGINT AS row_number WHERE false"
_DAY_US, _HOUR_US, _MINUTE_US, _SECOND_US = 86_400_000_000, 3_600_000_000, 60_000_000, 1_000_000


@dataclass(frozen=True)
class FloodFound:
    """One flood or bot, for the Data Docs.

    Attributes:
        rule: `FLOOD` or `BOT`.
        item_id, event: Of a flood; "" for a bot, which may do anything.
        events: Events of the user, of a flood those on the item.
        found: Those of them that break the rule.
    """

    rule: str
    user_id: str
    item_id: str
    event: str
    events: int
    found: int


class FloodSearch:
    """Looks for floods, bots and users who dominate among the staged interactions that are clean so far.

    Args:
        connection: Has `staged_interactions`; temporary tables are made there.
        parts: Rows that a person let in again (origin "readmitted") are left out.
        excluded: SQL over a staged row, true where it is not clean.
    """

    def __init__(
        self, connection: duckdb.DuckDBPyConnection, settings: FloodSettings, parts: Sequence[StagedPart], excluded: str
    ) -> None:
        self.connection, self.settings = connection, settings
        back = ", ".join(str(one.index) for one in parts if one.part.origin == "readmitted")
        self.rows = f"""SELECT row_number, user_id, item_id, event, epoch_us(timestamp) AS us FROM staged_interactions
            WHERE user_id IS NOT NULL AND item_id IS NOT NULL AND event IS NOT NULL AND timestamp IS NOT NULL
                AND NOT ({excluded})""" + (f" AND part NOT IN ({back})" if back else "")
        self._keep("flood_users", f"SELECT user_id, count(*) AS n FROM ({self.rows}) GROUP BY user_id")
        self._keep("flooders", "SELECT user_id FROM flood_users WHERE false")
        n_users, n_rows, usual = self._one("count(*), sum(n), quantile_disc(n, 0.75)", "flood_users")
        self.n_rows, self.usual_events = int(n_rows or 0), int(usual or 0)
        self.sampled = -(-n_users // _SAMPLED_USERS)
        self.has_rest = n_users >= MIN_USERS
        self.least = max(settings.min_repeats, settings.min_share * self.n_rows)

    def find_floods(self) -> tuple[str, list[FloodFound]]:
        """SQL of the row numbers of the surplus of floods; and the floods, the greatest first."""
        busy = f"SELECT user_id FROM flood_users WHERE n >= {self.least!r}"
        if not self.has_rest or not self._any(busy):
            return _NOTHING, []
        self._keep(
            "flood_groups",
            f"""SELECT user_id, item_id, event FROM ({self.rows}) WHERE user_id IN ({busy})
            GROUP BY ALL HAVING count(*) >= {self.settings.min_repeats}""",
        )
        if not self._any("SELECT 1 FROM flood_groups"):
            return _NOTHING, []
        kept = self._find_flooded_days()
        self._find_flooders(kept)
        self._keep(
            "flood_rows",
            f"""SELECT * FROM (
                SELECT row_number, user_id, item_id, event, us // {_DAY_US} AS day,
                    row_number() OVER (PARTITION BY user_id, item_id, event ORDER BY us, row_number) AS nth
                FROM ({self.rows}) WHERE user_id IN (SELECT user_id FROM flooders)
            ) SEMI JOIN flood_days USING (user_id, item_id, event, day) WHERE nth > {kept}""",
        )
        floods = self.connection.execute(
            """SELECT user_id, item_id, event, any_value(total), any_value(found)
            FROM flood_days JOIN (SELECT user_id, item_id, event, count(*) AS found FROM flood_rows GROUP BY ALL)
                USING (user_id, item_id, event)
            GROUP BY ALL ORDER BY 5 DESC, 1, 2, 3"""
        ).fetchall()
        found = [FloodFound(FLOOD, user, item, event, int(n), int(surplus)) for user, item, event, n, surplus in floods]
        return "SELECT row_number FROM flood_rows", found

    def find_bots(self) -> tuple[str, list[FloodFound]]:
        """SQL of the row numbers of the events of bots; and the bots, the busiest first. Floods are found before."""
        least = max(self.least, self.settings.min_events, self.settings.factor * self.usual_events)
        users = f"SELECT user_id FROM flood_users ANTI JOIN flooders USING (user_id) WHERE n >= {least!r}"
        if not self.has_rest or not self._any(users):
            return _NOTHING, []
        (hours,) = self._one(f"count(DISTINCT us // {_HOUR_US})", f"({self.rows}) WHERE user_id NOT IN ({users})")
        self._keep(
            "bots",
            f"""SELECT user_id, n FROM (
                SELECT user_id, count(*) AS n, count(DISTINCT us // {_MINUTE_US}) AS minutes,
                    count(DISTINCT us // {_SECOND_US}) AS seconds, count(DISTINCT us // {_HOUR_US}) AS hours,
                    quantile_disc(gap, [0.1, 0.5, 0.9]) AS gaps
                FROM (SELECT user_id, us, us - lag(us) OVER (PARTITION BY user_id ORDER BY us) AS gap
                    FROM ({self.rows}) WHERE user_id IN ({users}))
                GROUP BY user_id)
            WHERE (n >= {BOT_PER_MINUTE} * minutes AND seconds >= {BOT_MIN_SECONDS}
                    AND hours < {BOT_MAX_HOURS_SHARE} * {hours})
                OR (gaps[1] > 0 AND gaps[2] <= {CLOCKWORK_MAX_GAP_S * _SECOND_US}
                    AND gaps[3] <= {CLOCKWORK_SPREAD} * gaps[1])""",
        )
        bots = self.connection.execute("SELECT user_id, n FROM bots ORDER BY n DESC, user_id").fetchall()
        found = [FloodFound(BOT, user, "", "", n, n) for user, n in bots]
        return f"SELECT row_number FROM ({self.rows}) WHERE user_id IN (SELECT user_id FROM bots)", found

    def dominating_sql(self) -> str:
        """SQL of the row numbers of the events of users with a great share of all. Floods and bots are found before."""
        most = max(self.least, self.settings.max_user_share * self.n_rows)
        if not self.has_rest or not self._any(f"SELECT 1 FROM flood_users WHERE n > {most!r}"):
            return _NOTHING
        users = f"SELECT user_id FROM ({self.rows}) GROUP BY user_id HAVING count(*) > {most!r}"
        return f"SELECT row_number FROM ({self.rows}) WHERE user_id IN ({users})"

    def _find_flooded_days(self) -> int:
        """Make `flood_rest`, what the shop's users repeat, and `flood_days`, where `flood_groups` go far beyond it.

        Returns:
            How many events on one item nearly all users have at most: so many of a flood stay.
        """
        day = f"us // {_DAY_US} AS day"
        self._keep(
            "flood_rest",
            f"""SELECT user_id, item_id, event, max(n) AS top_day, sum(n) AS total FROM (
                SELECT user_id, item_id, event, {day}, count(*) AS n
                FROM ({self.rows}) WHERE hash(user_id) % {self.sampled} = 0 GROUP BY ALL
            ) GROUP BY ALL""",
        )
        usual_day, usual_total = self._one(
            "quantile_disc(top_day, 0.75), quantile_disc(total, 0.75)",
            "(SELECT max(top_day) AS top_day, max(total) AS total FROM flood_rest GROUP BY user_id)",
        )
        least, factor = self.settings.min_repeats, self.settings.factor
        many = max(least, factor * (usual_day or 0))
        long = max(LASTING_TIMES * least, factor * int(usual_total or 0))
        group = "OVER (PARTITION BY user_id, item_id, event)"
        self._keep(
            "flood_days",
            f"""SELECT * FROM (
                SELECT *, sum(n) FILTER (lasting) OVER (PARTITION BY user_id) AS lasting_n FROM (
                    SELECT *, sum(n) {group} AS total, total >= {long!r} AND avg(moments) {group} >= {LASTING_PER_DAY}
                            AS lasting FROM (
                        SELECT user_id, item_id, event, {day}, count(*) AS n, count(DISTINCT us) AS moments
                        FROM ({self.rows}) SEMI JOIN flood_groups USING (user_id, item_id, event) GROUP BY ALL)))
            WHERE n > {many!r} OR (lasting AND lasting_n >= {LASTING_SHARE * self.n_rows!r})""",
        )
        (kept,) = self._one("quantile_disc(total, 0.99)", f"flood_rest WHERE top_day <= {many!r}")
        return min(int(kept or 1), least)

    def _find_flooders(self, kept: int) -> None:
        """Make `flooders`: users whose events are mostly on flooded days, and unlike those of the others.

        An id of many people is busy on items that all like; a flooder on items that the others hardly look at. Of the
        others, at most `kept` events of a user on an item count, so that another flood does not hide this one.
        """
        self._keep(
            "flooders",
            f"""
            WITH flooded AS (
                SELECT user_id, flooded / n AS mine FROM flood_users
                    JOIN (SELECT user_id, sum(n) AS flooded FROM flood_days GROUP BY user_id) USING (user_id)
                WHERE flooded >= {self.least!r} AND flooded >= 0.5 * n),
            rest AS (SELECT user_id, item_id, least(total, {kept}) AS n FROM flood_rest),
            items AS (SELECT item_id, sum(n) AS n FROM rest GROUP BY item_id),
            own AS (SELECT user_id, item_id, sum(n) AS n FROM rest SEMI JOIN flooded USING (user_id) GROUP BY ALL),
            pairs AS (SELECT DISTINCT user_id, item_id FROM flood_days SEMI JOIN flooded USING (user_id)),
            others AS (
                SELECT user_id, sum(coalesce(items.n, 0) - coalesce(own.n, 0)) AS n
                FROM pairs LEFT JOIN items USING (item_id) LEFT JOIN own USING (user_id, item_id) GROUP BY user_id),
            whole AS (
                SELECT user_id, (SELECT sum(n) FROM rest) - coalesce(sum(own.n), 0) AS n
                FROM flooded LEFT JOIN own USING (user_id) GROUP BY user_id)
            SELECT user_id FROM (
                SELECT user_id, mine, others.n / whole.n AS theirs
                FROM flooded JOIN others USING (user_id) JOIN whole USING (user_id))
            WHERE theirs <= 0.5 AND mine * (1 - theirs) >= {MIN_ODDS_RATIO} * theirs * (1 - mine)""",
        )

    def _keep(self, name: str, query: str) -> None:
        self.connection.execute(f"CREATE OR REPLACE TEMP TABLE {name} AS {query}")

    def _any(self, query: str) -> bool:
        return self.connection.execute(f"SELECT 1 FROM ({query}) LIMIT 1").fetchone() is not None

    def _one(self, columns: str, relation: str) -> tuple[Any, ...]:
        (row,) = self.connection.execute(f"SELECT {columns} FROM {relation}").fetchall()
        return tuple(row)
