"""What the shop will be able to do with the data, counted, and what should be known of them first."""

from __future__ import annotations

from dataclasses import dataclass, field

from core.settings.validation import ValidationSettings
from core.sql import identifier, literal, plain_number_sql
from validation.profile.draft import Draft
from validation.profile.extracts.counts import time_sql
from validation.profile.roles.sheet import Sheet
from validation.profile.roles.tables import Assignment
from validation.profile.values.numbers import as_ratings


@dataclass
class Abilities:
    """Lines for the report.

    Attributes:
        lines: What is possible, and what is not for which reason.
        warnings: What goes wrong, or may be meant otherwise.
        bad_share: Share of the interactions that cannot be used.
        bad_why: What they lack.
    """

    lines: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    bad_share: float = 0.0
    bad_why: str = ""


@dataclass(frozen=True)
class _Counts:
    rows: int
    usable: int
    users: int
    items: int
    guests: int
    no_user: int
    no_item: int
    no_time: int
    first: str
    last: str


def assess(draft: Draft, found: Assignment) -> Abilities:
    """Count what the tables give."""
    abilities = Abilities()
    counts = _count(draft, found.log)
    _assess_recommend(abilities, found.log, counts)
    _assess_bad_rows(abilities, found.log, counts)
    _assess_score(abilities, found)
    _assess_feedback(abilities, found)
    _assess_texts(abilities, found)
    _assess_returns(abilities, found.log)
    return abilities


def _count(draft: Draft, log: Sheet) -> _Counts:
    user, item, time = (log.name(role) for role in ("user", "item", "time"))
    formats = draft.get("recipe.source", "date_formats", [])
    if "time" in log.picks and not formats:
        formats = list(log.reading(log.picks["time"]).formats)
    user_sql, item_sql = (identifier(name) if name else "NULL" for name in (user, item))
    moment = time_sql(time, formats) if time else "NULL::TIMESTAMPTZ"
    bad = [f"{part} IS NULL" for name, part in ((user, "u"), (item, "i"), (time, "t")) if name] or ["false"]
    others = [part for part in bad if part != "u IS NULL"]
    guest = f"u IS NULL AND NOT ({' OR '.join(others)})" if user and others else "false"
    log.workspace.connection.execute("SET TimeZone = 'UTC'")
    (row,) = log.workspace.connection.sql(
        f"""
        WITH log AS (SELECT {user_sql} AS u, {item_sql} AS i, {moment} AS t FROM {log.extract.relation})
        SELECT count(*), count(*) FILTER (NOT ({" OR ".join(bad)})), count(DISTINCT u), count(DISTINCT i),
               count(*) FILTER ({guest}), count(*) FILTER (u IS NULL), count(*) FILTER (i IS NULL),
               count(*) FILTER (t IS NULL),
               coalesce(strftime(min(t), '%Y-%m-%d'), ''), coalesce(strftime(max(t), '%Y-%m-%d'), '')
        FROM log"""
    ).fetchall()
    return _Counts(*row)


def _assess_recommend(abilities: Abilities, log: Sheet, counts: _Counts) -> None:
    missing = [role for role in ("user", "item") if role not in log.picks]
    if missing:
        abilities.lines.append(f"recommend: not yet, no column is known to name the {' and the '.join(missing)}")
        return
    span = f", {counts.first} to {counts.last}" if counts.first else ", without times"
    about = "" if log.extract.is_whole else f" in the first {counts.rows:,} of about {log.extract.n_total:,} rows"
    summary = f"{counts.usable:,} events of {counts.users:,} users on {counts.items:,} items{span}{about}"
    least = ValidationSettings().min_interactions
    if counts.usable < least:
        summary += f"; at least {least} are needed (recipe.validation.min_interactions)"
    abilities.lines.append(f"recommend: {'no' if counts.usable < least else 'yes'} ({summary})")


def _assess_bad_rows(abilities: Abilities, log: Sheet, counts: _Counts) -> None:
    known = [
        ("no user", counts.no_user, "user" in log.picks),
        ("no item", counts.no_item, "item" in log.picks),
        ("no time that can be read", counts.no_time, "time" in log.picks),
    ]
    rows = max(1, counts.rows)
    parts = [f"{n / rows:.1%} of the rows have {what} ({n:,})" for what, n, given in known if given and n]
    if parts:
        abilities.warnings.append(f"{'; '.join(parts)}: those rows go to quarantine")
    # Events without a user go to quarantine too, but do not stop the flow.
    bad = counts.rows - counts.usable - counts.guests
    abilities.bad_share, abilities.bad_why = bad / max(1, rows - counts.guests), "; ".join(parts)


def _assess_score(abilities: Abilities, found: Assignment) -> None:
    column = found.log.picks.get("value")
    feedback = found.tables.get("feedback")
    if column is None and feedback is not None and feedback.columns.get("rating"):
        own = feedback.columns["rating"]
        column = next(one for one in feedback.sheet.columns if one.name == own)
    if column is None:
        abilities.lines.append("score: no, there are no ratings")
        return
    ratings = as_ratings([value for value, _ in column.common])
    numbers = [(ratings[value], n) for value, n in column.common if value in ratings]
    total = sum(n for _, n in numbers)
    mean = f", mean {sum(number * n for number, n in numbers) / total:.2f}" if total else ""
    abilities.lines.append(f"score: yes ({column.n_given:,} ratings in {column.name}{mean})")


def _assess_feedback(abilities: Abilities, found: Assignment) -> None:
    feedback = found.tables.get("feedback")
    if feedback is None:
        abilities.lines.append("feedback: no, there are no review texts")
        return
    text = next(one for one in feedback.sheet.columns if one.name == feedback.columns["text"])
    abilities.lines.append(
        f"feedback: yes ({text.n_given:,} review texts, {text.mean_chars:.0f} characters on average)"
    )
    if feedback.sheet is found.log and text.share_given < 0.995:
        abilities.warnings.append(
            f"{1 - text.share_given:.0%} of the reviews have no words: they count as ratings alone"
        )


def _assess_texts(abilities: Abilities, found: Assignment) -> None:
    items, users = found.tables.get("items"), found.tables.get("users")
    own = {name: of for name, of in (items.columns if items else {}).items() if name not in ("item_id", "price")}
    abilities.lines.append(
        f"item texts: {', '.join(own)}" if own else "item texts: no, nothing but ids is known of the items"
    )
    attributes = [name for name in (users.columns if users else {}) if name not in ("user_id", "signup_at")]
    abilities.lines.append(f"user profiles: {', '.join(attributes) if attributes else 'from the history alone'}")
    price = items.columns.get("price", "") if items else ""
    abilities.lines.append(f"prices: yes ({price})" if price else "prices: no")


def _assess_returns(abilities: Abilities, log: Sheet) -> None:
    """Cancellations in a file of orders: counted, since no setting separates them from purchases."""
    quantity, order = log.name("quantity"), log.name("order")
    if not quantity and not order:
        return
    signs = []
    if quantity:
        signs.append(("negative quantities", f"{plain_number_sql(identifier(quantity))} < 0"))
    if order:
        letter = _cancelling_letter(log, order)
        if letter:
            signs.append((f"{order} beginning with {letter}", f"starts_with({identifier(order)}, {literal(letter)})"))
    if not signs:
        return
    either = " OR ".join(f"coalesce({sql}, false)" for _, sql in signs)
    ((n,),) = log.workspace.connection.sql(f"SELECT count(*) FROM {log.extract.relation} WHERE {either}").fetchall()
    if n:
        leave_out = "no setting separates them: take them out of the file first"
        if log.extract.kind == "sqlite":
            leave_out = "leave them out by a WHERE in the query of interactions"
        abilities.warnings.append(
            f"{n:,} rows look like returns or cancellations ({' or '.join(name for name, _ in signs)}): they count as "
            f"purchases; {leave_out} if they should not"
        )


def _cancelling_letter(log: Sheet, order: str) -> str:
    """The letter before some order numbers, where most have none."""
    found = log.workspace.connection.sql(
        f"SELECT regexp_extract({identifier(order)}, '^[A-Za-z]+') AS head, count(*) FROM {log.extract.relation} "
        f"WHERE {identifier(order)} IS NOT NULL GROUP BY 1 ORDER BY 2 DESC, 1"
    ).fetchall()
    return str(found[1][0]) if len(found) > 1 and found[0][0] == "" and len(found[1][0]) <= 2 else ""
