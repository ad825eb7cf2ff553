"""Rules on a table as a whole: enough rows, fresh enough, about as many as last time, few unknown ids."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

from core.schema import TableName
from core.settings.validation import ShareRules, ValidationSettings
from validation.errors import TableRejected
from validation.rules.rule import Rule, comparing_rule
from validation.summary import ValidationSummary


@dataclass(frozen=True)
class TableRule:
    """One rule on a table as a whole.

    Attributes:
        name: Stands in the Data Docs.
        severity: "table": the flow stops where it is not met. "warn": it is reported.
        measure: What of the scan is measured.
        expectation: Name of the Great Expectations class.
        limits: `min_value`, `max_value` or both, of what is measured.
        column: What the expectation is about; "" for the table.
        why: One sentence for the Data Docs.
    """

    name: str
    severity: Literal["table", "warn"]
    measure: Literal["rows_in", "rows_clean", "newest"]
    expectation: str
    limits: Mapping[str, float]
    column: str = ""
    why: str = ""


def build_table_rules(
    table: TableName, settings: ValidationSettings, previous: ValidationSummary | None, now: datetime
) -> list[TableRule]:
    """The rules on a table as a whole; those on shares of rows are `build_share_rules`.

    Args:
        previous: What the last validation of the shop found; None: there is nothing to compare with.
    """
    shares = settings.shares
    rules = []
    if table == "interactions":
        least = {"min_value": settings.min_interactions}
        why = f"At least {settings.min_interactions} clean interactions."
        rules.append(TableRule("enough_rows", "table", "rows_clean", "ExpectTableRowCountToBeBetween", least, why=why))
    if table == "interactions" and (fresh := _fresh(shares, now)):
        rules.append(fresh)
    before = previous.tables[table].rows_in if previous is not None and table in previous.tables else 0
    if before:
        limits = {
            "min_value": int(before * (1 - shares.max_volume_drop)),
            "max_value": int(before * shares.max_volume_growth),
        }
        why = f"About as many rows as in the run before ({before})."
        rules.append(TableRule("volume", shares.severity, "rows_in", "ExpectTableRowCountToBeBetween", limits, why=why))
    return rules


def _fresh(shares: ShareRules, now: datetime) -> TableRule | None:
    if shares.max_age_days is None:
        return None
    oldest = now - timedelta(days=shares.max_age_days)
    why = f"The newest clean event is not older than {oldest:%Y-%m-%d %H:%M} UTC, as seconds since 1970."
    limits = {"min_value": oldest.astimezone(UTC).timestamp()}
    return TableRule("fresh", shares.severity, "newest", "ExpectColumnMaxToBeBetween", limits, "timestamp_s", why)


def judge_freshness(summary: ValidationSummary, shares: ShareRules, now: datetime) -> ValidationSummary:
    """What a validation found, with the warning on its age as of now: one that is kept was judged when it was made.

    Raises:
        TableRejected: the newest event is too old, and that is to stop the flow.
    """
    rule = _fresh(shares, now)
    if rule is None or summary.newest is None or summary.newest >= rule.limits["min_value"]:
        return summary
    sentence = f"{rule.name}: {rule.measure}={summary.newest}. {rule.why}"
    if rule.severity == "table":
        raise TableRejected(
            "Table rejected",
            got=sentence.rstrip("."),
            expected="the rule to be met, since its severity is table",
            where="interactions",
            do="See whether the source is still written; then correct it, or recipe.validation.shares.max_age_days",
        )
    named = f"interactions: {rule.name}: "
    others = tuple(warning for warning in summary.warnings if not warning.startswith(named))
    return summary.model_copy(update={"warnings": (*others, f"interactions: {sentence}")})


def build_share_rules(table: TableName, settings: ShareRules, rules: list[Rule]) -> list[Rule]:
    """How many ids may be unknown, where the source has the table that knows them."""
    if table != "interactions":
        return []
    known = {rule.name: rule for rule in rules}
    shares = []
    for kind, most in (("user", settings.max_unknown_users), ("item", settings.max_unknown_items)):
        if f"{kind}_id_known" in known:
            why = f"At most {most:.1%} of the events name an unknown {kind}."
            name = f"few_unknown_{kind}s"
            more = {"applies_where": known[f"{kind}_id_known"].applies_where, "max_share": most}
            shares.append(comparing_rule(name, settings.severity, why, f"{kind}_id", **more))
    return shares
