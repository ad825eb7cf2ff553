"""The settings' cleaning as repair steps and as rules of the scan: where a new cleaning step is listed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import duckdb
import pyarrow as pa

from core import schema
from core.schema import RATING_RANGE, TABLES, TIME, TableName, rating_slope
from core.settings.validation import CleaningSettings, FloodSettings, PersonalData
from validation.cleaning.floods import BOT, FLOOD, ONE_USER_DOMINATES
from validation.cleaning.missing_values import drop_rules, fill_steps
from validation.cleaning.outliers import fence_rules, fence_steps, find_fences
from validation.cleaning.text_repair import (
    KINDS,
    MaskedGroup,
    masked_attributes_sql,
    register_repairs,
    repaired_words_sql,
)
from validation.masking.marks import MARKS
from validation.masking.mask import PersonalDataMask
from validation.masking.recognisers import require_models
from validation.reading.dialect import Dialect
from validation.reading.times import any_form_sql
from validation.rules.rule import Rule, comparing_rule
from validation.rules.values import PRICE_WRITTEN
from validation.staging.layers import WORDS, Step, repaired_sql
from validation.staging.parts import StagedPart, mapped_columns
from validation.staging.reading import FROM_LOG

NEAR_DUPLICATE = "near_duplicate"
BOT_RATE = "bot_rate"
BOT_BURST = "bot_burst"
K_CORE = "k_core"
GROUPS: dict[str, MaskedGroup] = {schema.TEXT: "reviews", schema.DESCRIPTION: "items"}
_PII = tuple(f"pii_{kind}" for kind in MARKS)


def register_cleaning(connection: duckdb.DuckDBPyConnection, settings: CleaningSettings) -> None:
    """Give a connection the functions that the steps call.

    Raises:
        MaskError: a model that the settings name for names of persons is not installed.
    """
    require_models(settings.person_models)
    register_repairs(connection, settings.mend_text, build_masks(settings), strip=settings.strip_markup)


def build_masks(settings: CleaningSettings) -> dict[MaskedGroup, PersonalDataMask]:
    """What takes personal data out of each group of texts."""
    kinds: dict[MaskedGroup, Sequence[PersonalData]] = {
        "reviews": settings.mask_pii,
        "users": settings.mask_pii,
        "items": settings.mask_pii_items,
        "titles": settings.mask_pii_titles,
    }
    return {group: PersonalDataMask(of, settings.regions, settings.person_models) for group, of in kinds.items()}


def build_cleaning(
    connection: duckdb.DuckDBPyConnection,
    table: TableName,
    settings: CleaningSettings,
    parts: Sequence[StagedPart],
    read: str,
    dialect: Dialect,
) -> tuple[list[Step], list[Rule]]:
    """The steps that repair a table's rows, in order, and the rules that send rows to quarantine.

    Args:
        dialect: Of the source.
        read: SQL of the table's rows as they were read; fences, means and the like are taken over them.
    Raises:
        RuleError: the settings do not fit the contract.
    """
    steps = [*_word_steps(table, settings), *_form_steps(table, settings, parts, dialect)]
    steps += fill_steps(connection, table, settings.missing, repaired_sql(table, read, steps)[0])
    fences = find_fences(connection, table, settings.outliers, repaired_sql(table, read, steps)[0])
    rules = [*drop_rules(table, settings.missing), *fence_rules(fences), *_comparing_rules(table, settings)]
    if table == "interactions" and schema.TIMESTAMP in mapped_columns(parts):
        rules += _flood_rules(settings.floods)
    return [*steps, *fence_steps(fences)], rules


def _word_steps(table: TableName, settings: CleaningSettings) -> list[Step]:
    """Texts repaired and masked, attributes masked, each column with a struct of its own for what was found."""
    steps, masks = [], build_masks(settings)
    for column in TABLES[table].columns:
        name = column.name
        if name not in WORDS:
            continue
        group = GROUPS.get(name, "titles")
        sql = repaired_words_sql(name, group, masks[group], repaired=settings.mend_text)
        steps += _found_steps(name, sql, (*KINDS, *_PII), masks[group])
    if table == "users" or table == "items":
        steps += _found_steps("attributes", masked_attributes_sql(table, masks[table]), _PII, masks[table])
    return steps


def _found_steps(name: str, sql: str, kinds: Sequence[str], mask: PersonalDataMask) -> list[Step]:
    """A column replaced by the text of a struct, and the bits of its kinds counted, of those that are looked for."""
    possible = {*KINDS, *(f"pii_{kind}" for kind in mask.kinds)}
    bits = {kind: 1 << bit for bit, kind in enumerate(kinds) if kind in possible}
    found = {kind: f"{name}_repaired.kinds & {value} <> 0" for kind, value in bits.items()}
    return [Step({f"{name}_repaired": sql}), Step({name: f"{name}_repaired.text"}, found)]


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
    """Rules that need times: a habit of years is no flood."""
    if settings.action == "off":
        return []
    severity: Literal["row", "warn"] = "row" if settings.action == "quarantine" else "warn"
    again = f"The user did not do the same to the same item far more often than others (over {settings.min_repeats})."
    pace = f"The user does not have far more events than others (over {settings.min_events}) at an inhuman pace."
    share = f"No user makes more than {settings.max_user_share:.0%} of the events; an id of many people is none."
    shown = "concat_ws(' / ', user_id, item_id, event)"
    return [
        comparing_rule(FLOOD, severity, again, shown),
        comparing_rule(BOT, severity, pace, "user_id"),
        comparing_rule(ONE_USER_DOMINATES, "warn", share, "user_id"),
    ]


def _comparing_rules(table: TableName, settings: CleaningSettings) -> list[Rule]:
    """Rules that are found by comparing rows; `scan` knows how."""
    rules = []
    if table == "interactions":
        shown = "concat_ws(' / ', user_id, item_id, event, timestamp)"
        if settings.repeated_within_s:
            why = f"The user did not do the same to the same item {settings.repeated_within_s:g} s before."
            rules.append(comparing_rule(NEAR_DUPLICATE, "row", why, shown))
        severity: Literal["row", "warn"] = "row" if settings.bots == "quarantine" else "warn"
        if settings.max_events_per_day:
            why = f"The user has at most {settings.max_events_per_day} events on one day."
            rules.append(comparing_rule(BOT_RATE, severity, why, "user_id"))
        if settings.burst_events:
            why = f"The user has fewer than {settings.burst_events} events within {settings.burst_s:g} s."
            rules.append(comparing_rule(BOT_BURST, severity, why, "user_id"))
        if settings.min_user_events or settings.min_item_events:
            why = (
                f"Of the clean events, the user has at least {settings.min_user_events} and the item at least "
                f"{settings.min_item_events}."
            )
            rules.append(comparing_rule(K_CORE, "row", why, shown))
    if table == "feedback" and settings.similar_texts:
        why = "No earlier review of another user or item says nearly the same."
        rules.append(comparing_rule(NEAR_DUPLICATE, "row", why, "left(text, 200)"))
    return rules
