"""What is mended, and what is sorted out: the settings' cleaning as steps and rules of the scan."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import duckdb
import pyarrow as pa

from core import schema
from core.schema import RATING_RANGE, TABLES, TIME, TableName, rating_slope
from core.settings.validation import CleaningSettings, FloodSettings
from validation.cleaning.floods import BOT, FLOOD, ONE_USER_DOMINATES
from validation.cleaning.missing_values import drop_rules, fill_steps
from validation.cleaning.outliers import fence_rules, fence_steps, find_fences
from validation.cleaning.personal_data import MARKS, PersonalDataMask
from validation.cleaning.text_repair import KINDS, mended_words_sql, register_mending
from validation.reading.dialect import Dialect
from validation.reading.times import any_form_sql
from validation.rules.contract import PRICE_WRITTEN, Rule, late_rule
from validation.staging import FROM_LOG, WORDS, StagedPart, Step, mapped_columns, mended_sql

NEAR_DUPLICATE = "near_duplicate"
BOT_RATE = "bot_rate"
BOT_BURST = "bot_burst"
K_CORE = "k_core"


def register_cleaning(connection: duckdb.DuckDBPyConnection, settings: CleaningSettings) -> None:
    """Give a connection the functions that the steps call."""
    mask = PersonalDataMask(settings.mask_pii, settings.phone_regions) if settings.mask_pii else None
    register_mending(connection, settings.mend_text, mask, strip=settings.strip_markup)


def build_cleaning(
    connection: duckdb.DuckDBPyConnection,
    table: TableName,
    settings: CleaningSettings,
    parts: Sequence[StagedPart],
    read: str,
    dialect: Dialect,
) -> tuple[list[Step], list[Rule]]:
    """The steps that mend a table's rows, in order, and the rules that sort rows out.

    Args:
        dialect: Of the source.
        read: SQL of the table's rows as they were read; fences, means and the like are taken over them.
    Raises:
        RuleError: the settings do not fit the contract.
    """
    steps = [*_word_steps(table, settings), *_form_steps(table, settings, parts, dialect)]
    steps += fill_steps(connection, table, settings.missing, mended_sql(table, read, steps)[0])
    fences = find_fences(connection, table, settings.outliers, mended_sql(table, read, steps)[0])
    rules = [*drop_rules(table, settings.missing), *fence_rules(fences), *_late_rules(table, settings)]
    if table == "interactions" and schema.TIMESTAMP in mapped_columns(parts):
        rules += _flood_rules(settings.floods)
    return [*steps, *fence_steps(fences)], rules


def _word_steps(table: TableName, settings: CleaningSettings) -> list[Step]:
    """Texts as people meant them, each column with a struct of its own for what was found."""
    steps = []
    for column in TABLES[table].columns:
        name = column.name
        if name not in WORDS:
            continue
        review = name == schema.TEXT
        sql = mended_words_sql(name, review=review, mended=settings.mend_text, masked=settings.mask_pii)
        kinds = [*KINDS, *(f"pii_{kind}" for kind in MARKS)] if review else KINDS
        steps += [
            Step({f"{name}_mended": sql}),
            Step(
                {name: f"{name}_mended.text"},
                {kind: f"{name}_mended.kinds & {1 << bit} <> 0" for bit, kind in enumerate(kinds)},
            ),
        ]
    return steps


def _form_steps(
    table: TableName, settings: CleaningSettings, parts: Sequence[StagedPart], dialect: Dialect
) -> list[Step]:
    """Names of events, ratings on 1 to 5; which prices and dates had a form of their own, and what is emptied."""
    steps = [Step({schema.EVENT: f"lower({schema.EVENT})"})] if table == "interactions" else []
    for column in TABLES[table].columns:
        name = column.name
        is_text = any(one.types.get(name) == "VARCHAR" for one in parts)
        if name in (schema.VALUE, schema.RATING) and settings.rating_scale is not None:
            steps.append(_scale_step(name, *settings.rating_scale))
        if name == schema.PRICE:
            written = f"{name} IS NOT NULL AND {name} IS DISTINCT FROM TRY_CAST({name}_text AS DOUBLE)"
            steps.append(Step({}, {"normalised_price": written} if is_text else {}))
            steps.append(Step({PRICE_WRITTEN: name, name: f"CASE WHEN {name} >= 0 THEN {name} END"}))
        if column.type == TIME and is_text and dialect.date_formats:
            other = f"{name} IS NOT NULL AND {any_form_sql(f'{name}_text', dialect)} IS DISTINCT FROM {name}"
            steps.append(Step({}, {"other_date_form": other}))
        if column.type != pa.string() and not column.required:
            emptied = f"{name} IS NULL AND {name}_text IS NOT NULL"
            if name == schema.VALUE:  # a rating that does not read is a bad row
                emptied += " AND event <> 'rating'"
            steps.append(Step({}, {f"emptied_{name}": emptied}))
    return steps


def _scale_step(name: str, lowest: float, highest: float) -> Step:
    """Ratings of the source's scale on 1 to 5. Those of the service's log are on it already, also out of quarantine."""
    rated = f"{name} IS NOT NULL AND NOT {FROM_LOG}" + (" AND event = 'rating'" if name == schema.VALUE else "")
    scaled = f"{RATING_RANGE[0]} + ({name} - {lowest!r}) * {rating_slope(lowest, highest)!r}"
    return Step({name: f"CASE WHEN {rated} THEN {scaled} ELSE {name} END"}, {"normalised_rating": rated})


def _flood_rules(settings: FloodSettings) -> list[Rule]:
    """Rules that only times can tell: a habit of years is no flood."""
    if settings.action == "off":
        return []
    severity: Literal["row", "warn"] = "row" if settings.action == "quarantine" else "warn"
    again = f"The user did not do the same to the same item far more often than others (over {settings.min_repeats})."
    pace = f"The user does not have far more events than others (over {settings.min_events}) at an inhuman pace."
    share = f"No user makes more than {settings.max_user_share:.0%} of the events; an id of many people is none."
    shown = "concat_ws(' / ', user_id, item_id, event)"
    return [
        late_rule(FLOOD, severity, again, shown),
        late_rule(BOT, severity, pace, "user_id"),
        late_rule(ONE_USER_DOMINATES, "warn", share, "user_id"),
    ]


def _late_rules(table: TableName, settings: CleaningSettings) -> list[Rule]:
    """Rules that are found by comparing rows; `scan` knows how."""
    rules = []
    if table == "interactions":
        shown = "concat_ws(' / ', user_id, item_id, event, timestamp)"
        if settings.repeated_within_s:
            why = f"The user did not do the same to the same item {settings.repeated_within_s:g} s before."
            rules.append(late_rule(NEAR_DUPLICATE, "row", why, shown))
        severity: Literal["row", "warn"] = "row" if settings.bots == "quarantine" else "warn"
        if settings.max_events_per_day:
            why = f"The user has at most {settings.max_events_per_day} events on one day."
            rules.append(late_rule(BOT_RATE, severity, why, "user_id"))
        if settings.burst_events:
            why = f"The user has fewer than {settings.burst_events} events within {settings.burst_s:g} s."
            rules.append(late_rule(BOT_BURST, severity, why, "user_id"))
        if settings.min_user_events or settings.min_item_events:
            why = (
                f"Of the clean events, the user has at least {settings.min_user_events} and the item at least "
                f"{settings.min_item_events}."
            )
            rules.append(late_rule(K_CORE, "row", why, shown))
    if table == "feedback" and settings.similar_texts:
        why = "No earlier review of another user or item says nearly the same."
        rules.append(late_rule(NEAR_DUPLICATE, "row", why, "left(text, 200)"))
    return rules
