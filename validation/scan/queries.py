"""Rules that compare rows, as SQL over the staged tables: copies, keys, references, order, repetitions, bots.

Each function gives the row numbers of the rows that break its rule. Where rows have to be alike, hashes say which ones
could be; only those are compared exactly.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from core import schema
from core.schema import RATING_RANGE, TABLES, TableName
from validation.rules.contract import RATED
from validation.scan.order_lines import newest_first
from validation.staging.parts import StagedPart
from validation.staging.reading import FILLED_ID


def copies_sql(picked: Callable[[StagedPart], str], parts: Sequence[StagedPart]) -> str:
    """The row numbers of exact copies: the same row of the source, wherever it stands, came before.

    Args:
        picked: Part to SQL of those of its rows whose hash occurs twice.
    """
    texts = " UNION ALL ".join(
        f"""SELECT {one.offset} + file_row_number AS row_number,
            coalesce(source_text, CAST(to_json(source) AS VARCHAR)) AS source_row FROM {picked(one)}"""
        for one in parts
    )
    return f"""
    SELECT row_number FROM (
        SELECT row_number, row_number() OVER (PARTITION BY source_row ORDER BY row_number) AS copy FROM ({texts})
    ) WHERE copy > 1"""


def same_hash_sql(table: TableName) -> str:
    """Row number and part of the rows whose hash occurs twice."""
    twice = f"SELECT row_hash FROM staged_{table} GROUP BY row_hash HAVING count(*) > 1"
    return f"SELECT row_number, part FROM staged_{table} WHERE row_hash IN ({twice})"


def returned_sql(table: TableName, parts: Sequence[StagedPart], excluded: str) -> str:
    """The row numbers of readmitted rows that repeat a good row of the source.

    Args:
        excluded: SQL over a staged row, true where it is not clean.
    """
    back = ", ".join(str(one.index) for one in parts if one.part.origin == "readmitted")
    columns = [column.name for column in TABLES[table].columns if column.name != schema.EVENT_ID]
    same = " AND ".join(f"s.{name} IS NOT DISTINCT FROM r.{name}" for name in columns)
    attributes = " AND s.attributes IS NOT DISTINCT FROM r.attributes" if TABLES[table].open else ""
    return f"""
    SELECT row_number FROM staged_{table} r WHERE part IN ({back}) AND EXISTS (
        SELECT 1 FROM staged_{table} s WHERE s.part NOT IN ({back}) AND NOT ({excluded}) AND {same}{attributes})"""


# What says which event, review, user or item a row is about; a correction changes one of these at most.
_IDENTITY: Mapping[TableName, tuple[str, ...]] = {
    "interactions": (schema.USER_ID, schema.ITEM_ID, schema.EVENT, schema.TIMESTAMP),
    "feedback": (schema.USER_ID, schema.ITEM_ID, schema.TIMESTAMP),
    "users": (schema.USER_ID,),
    "items": (schema.ITEM_ID,),
}


def superseded_sql(table: TableName, parts: Sequence[StagedPart], excluded: str) -> str:
    """The row numbers of readmitted rows whose row the source itself has corrected by now: its correction counts.

    It is the same row if it stands where the readmitted one stood and they differ in one thing at most; an event with
    an id of its own, if it has that id and they differ in two things at most; and others, if they differ in none.

    Args:
        excluded: SQL over a staged row, true where it is not clean.
    """
    back, own = _numbers(parts, "readmitted"), _numbers(parts, "source")
    names = _IDENTITY[table]
    differing = " + ".join(f"(s.{name} IS DISTINCT FROM r.{name})::INTEGER" for name in names)
    ours = f"(SELECT * FROM staged_{table} WHERE part IN ({own}) AND NOT ({excluded}))"
    theirs = f"(SELECT * FROM staged_{table} WHERE part IN ({back}))"
    same = " AND ".join(f"s.{name} = r.{name}" for name in names)
    filled = f"regexp_full_match(r.event_id, '{FILLED_ID}')" if table == "interactions" else "true"
    found = [f"SELECT r.row_number FROM {theirs} r JOIN {ours} s ON {same} AND {filled}"]
    if table == "interactions":
        found.append(f"SELECT r.row_number FROM {theirs} r JOIN {ours} s USING (event_id) WHERE {differing} <= 2")
    if len(names) > 1:
        place = "source_file, source_number"
        at = f"({_places(parts, 'readmitted')})"
        of_source = f"SELECT * FROM ({_places(parts, 'source')}) WHERE ({place}) IN (SELECT ({place}) FROM {at})"
        found.append(
            f"""SELECT r.row_number FROM {theirs} r JOIN {at} USING (row_number) JOIN ({of_source}) p USING ({place})
            JOIN {ours} s ON s.row_number = p.row_number WHERE {differing} <= 1"""
        )
    return f"SELECT DISTINCT row_number FROM ({' UNION ALL '.join(found)})"


def exported_sql(parts: Sequence[StagedPart], excluded: str) -> str:
    """The row numbers of the source's events that the service's log holds, good, with the same id: its own, exported.

    An id that the source gives to an event of another user or item is no copy, but an id given twice.

    Args:
        excluded: SQL over a staged row, true where it is not clean.
    """
    logged = f"SELECT * FROM staged_interactions WHERE part IN ({_numbers(parts, 'events')}) AND NOT ({excluded})"
    return f"""
    SELECT s.row_number FROM staged_interactions s JOIN ({logged}) l USING (event_id, user_id, item_id)
    WHERE s.part IN ({_numbers(parts, "source")})"""


def _numbers(parts: Sequence[StagedPart], origin: str) -> str:
    """The numbers of the parts of an origin, as SQL between brackets."""
    return ", ".join(str(one.index) for one in parts if one.part.origin == origin) or "NULL"


def _places(parts: Sequence[StagedPart], origin: str) -> str:
    """Where the rows of an origin's parts stood in the source: row_number, source_file, source_number."""
    return " UNION ALL ".join(
        f"SELECT {one.offset} + file_row_number AS row_number, source_file, source_number FROM {one.file_sql()}"
        for one in parts
        if one.part.origin == origin
    )


def shared_keys_sql(table: TableName, key: Sequence[str], copy: str, excluded: str) -> str:
    """The row numbers of rows whose key an earlier row has; where some of them are good, the first good one stays.

    Args:
        key: Its columns; a row that lacks one has no key.
        copy: SQL over a staged row, true for exact copies, which do not count.
        excluded: SQL over a staged row, true where it breaks another rule.
    """
    whole = " AND ".join(f"{name} IS NOT NULL" for name in key)
    names = ", ".join(key)
    rows = f"SELECT * FROM staged_{table} WHERE {whole} AND NOT ({copy})"
    return f"""
    SELECT row_number FROM (
        SELECT row_number, row_number() OVER (PARTITION BY {names} ORDER BY ({excluded}), row_number) AS nth
        FROM ({rows})
        WHERE hash({names}) IN (SELECT hash({names}) FROM ({rows}) GROUP BY ALL HAVING count(*) > 1)
    ) WHERE nth > 1"""


def overridden_sql(table: TableName, parts: Sequence[StagedPart]) -> str:
    """Over a row of users or items: clients say something of its id."""
    (key,) = TABLES[table].key
    return f"{key} IN (SELECT {key} FROM staged_{table} WHERE part IN ({_numbers(parts, 'overrides')}))"


def repeated_lines_sql(table: TableName, excluded: str, repeats: str) -> str:
    """The row numbers of lines of orders or reviews whose id a newer line has too.

    Args:
        excluded: SQL over a staged row, true where it breaks a rule.
        repeats: SQL over a staged row, true where several rows of its id are of one thing.
    """
    (key,) = TABLES[table].key
    return f"""
    SELECT row_number FROM (
        SELECT row_number, row_number() OVER (PARTITION BY {key} ORDER BY {newest_first()}) AS nth,
            count(*) OVER (PARTITION BY {key}) AS n
        FROM staged_{table} WHERE {key} IS NOT NULL AND {repeats} AND NOT ({excluded})
    ) WHERE nth < n"""


def other_scale_sql(table: TableName, copy: str) -> str:
    """The row numbers of ratings off the scale of 1 to 5, where the scale must be another one: where they are more than
    one in twenty, or zeros and halves beside the halves of half stars.
    """
    name = RATED[table]
    low, high = RATING_RANGE
    rated = f"{name} IS NOT NULL AND NOT ({copy})" + (" AND event = 'rating'" if table == "interactions" else "")
    off = f"({name} < {low!r} OR {name} > {high!r})"
    half = f"({name} * 2 = round({name} * 2))"
    between = f"count(*) FILTER (NOT {off} AND {half} AND {name} <> round({name}))"
    low_halves = f"count(*) FILTER ({name} IN (0, 0.5))"
    return f"""
    WITH rated AS (SELECT row_number, {name} FROM staged_{table} WHERE {rated}),
    found AS (
        SELECT count(*) FILTER ({off}) * 20 > count(*) AND count(*) FILTER ({off}) > 2
            OR {low_halves} > 2 AND {low_halves} = count(*) FILTER ({off}) AND {between} > 2 AS is_other FROM rated
    )
    SELECT row_number FROM rated, found WHERE is_other AND {off}"""


def unknown_ids_sql(table: TableName, column: str, owner: TableName) -> str:
    """The row numbers of rows whose id the source's own table does not have.

    An id whose own row is bad is known all the same: one bad price must not cost an item its events. A visitor may come
    to the service before the source has them; an item comes from the source.
    """
    visitor = " AND NOT visited" if owner == "users" else ""
    return f"""
    SELECT row_number FROM staged_{table} WHERE {column} IS NOT NULL{visitor}
        AND {column} NOT IN (SELECT {column} FROM staged_{owner} WHERE {column} IS NOT NULL)"""


def out_of_order_sql(table: TableName, parts: Sequence[StagedPart], copy: str) -> str:
    """The row numbers of events that lie before the user's event of the position before, in the source's own parts.

    A position that is only the row's number in its file, for lack of another, says nothing about the order.
    """
    own = ", ".join(str(one.index) for one in parts if one.part.origin == "source")
    return f"""
    SELECT row_number FROM (
        SELECT row_number, timestamp < lag(timestamp) OVER (PARTITION BY part, user_id ORDER BY position, row_number)
            AS earlier
        FROM staged_{table}
        WHERE placed AND part IN ({own}) AND user_id IS NOT NULL AND timestamp IS NOT NULL AND NOT ({copy})
    ) WHERE earlier"""


def repeated_events_sql(within_s: float, copy: str) -> str:
    """The row numbers of interactions that repeat a user's same event on the same item within so many seconds."""
    return f"""
    SELECT row_number FROM (
        SELECT row_number, epoch_us(timestamp) - lag(epoch_us(timestamp)) OVER (
            PARTITION BY user_id, item_id, event ORDER BY timestamp, row_number) AS since_us
        FROM staged_interactions
        WHERE user_id IS NOT NULL AND item_id IS NOT NULL AND event IS NOT NULL AND timestamp IS NOT NULL
            AND NOT ({copy})
    ) WHERE since_us <= {within_s * 1e6!r}"""


def bots_by_day_sql(max_events: int, copy: str) -> str:
    """The row numbers of all events of users with more than `max_events` on one day (UTC)."""
    users = f"""SELECT user_id FROM staged_interactions WHERE timestamp IS NOT NULL AND NOT ({copy})
        GROUP BY user_id, epoch_us(timestamp) // 86400000000 HAVING count(*) > {max_events}"""
    return f"SELECT row_number FROM staged_interactions WHERE user_id IN ({users}) AND NOT ({copy})"


def bots_by_burst_sql(n_events: int, within_s: float, copy: str) -> str:
    """The row numbers of all events of users with `n_events` within so many seconds."""
    span = f"""epoch_us(timestamp) - lag(epoch_us(timestamp), {n_events - 1}) OVER (
        PARTITION BY user_id ORDER BY timestamp, row_number)"""
    users = f"""SELECT user_id FROM (SELECT user_id, {span} AS span_us FROM staged_interactions
        WHERE timestamp IS NOT NULL AND NOT ({copy})) WHERE span_us <= {within_s * 1e6!r}"""
    return f"SELECT row_number FROM staged_interactions WHERE user_id IN ({users}) AND NOT ({copy})"
