"""Settings of the data gate: rules, cleaning, and what to do with rows that break a rule."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, FiniteFloat

from core.schema import TableName
from core.settings.form import Frozen, Share

Severity = Literal["row", "table", "warn"]
PersonalData = Literal["email", "phone", "card", "address"]


def _rising(scale: tuple[float, float]) -> tuple[float, float]:
    low, high = scale
    if not low < high:
        raise ValueError("the lowest rating, then a higher one, such as [0, 10]")
    return scale


class OwnRule(Frozen):
    """A rule of the shop's own, beside those of the contract."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]{0,60}$", description="Stands in quarantine, summary and Data Docs.")
    table: TableName
    severity: Severity = Field(
        "row", description="row: quarantine the rows that break it. table: stop the flow. warn: only count."
    )
    check: Literal["not_null", "unique", "between", "in_set", "matches", "length", "sql"] = Field(
        description="between and length use minimum and maximum; in_set uses values; matches uses pattern; sql uses "
        "expression."
    )
    column: str = Field("", description="A column of the contract; not needed by sql.")
    minimum: float | None = None
    maximum: float | None = None
    values: tuple[str, ...] = ()
    pattern: str = Field("", description="A regular expression that the whole value has to match.")
    expression: str = Field("", description="DuckDB's SQL over the contract's columns, true where the row is good.")
    max_share: Share = Field(0.0, description="For table and warn: the share of rows that may break it.")
    why: str = Field("", description="One sentence for the Data Docs.")


class ShareRules(Frozen):
    """Rules on a table as a whole."""

    severity: Literal["warn", "table"] = Field("warn", description="warn: report. table: stop the flow.")
    max_age_days: float | None = Field(None, gt=0, description="The newest event may be at most so old; empty: any.")
    max_volume_drop: Share = Field(0.5, description="Share of rows that may be missing against the run before.")
    max_volume_growth: float = Field(10.0, gt=0, description="How many times the rows of the run before there may be.")
    max_unknown_items: Share = Field(0.05, description="Share of events on items that the catalogue does not have.")
    max_unknown_users: Share = Field(0.05, description="Share of events of users that the source does not have.")


class MissingValues(Frozen):
    """What to do where a column is empty."""

    table: TableName
    column: str
    how: Literal["drop", "value", "mean", "median", "mode", "interpolate"] = Field(
        description="drop: quarantine the row. interpolate: linear in time between the neighbours of the same item "
        "(or user), for numbers of interactions and feedback."
    )
    value: str = Field("", description="What to fill in, for how=value.")


class Outliers(Frozen):
    """What to do with numbers far from the rest."""

    table: TableName
    column: str
    method: Literal["iqr", "z_score"] = "iqr"
    factor: float = Field(
        3.0, gt=0, description="Fences at so many interquartile ranges, or so many standard deviations."
    )
    action: Literal["quarantine", "clip", "empty", "warn"] = "quarantine"


class FloodSettings(Frozen):
    """Busy clients that would pass for the shop; how far is far is measured on the shop's own users."""

    action: Literal["quarantine", "warn", "off"] = Field(
        "quarantine",
        description="What to do with the surplus of a flood (one user's same event on the same item, again and again; "
        "the first ones stay) and with all events of a bot (a user with far more events than others, at a pace that no "
        "person keeps). Nothing is looked for with fewer than 20 users or without times.",
    )
    factor: float = Field(
        20.0,
        ge=1,
        description="A flood repeats, and a bot has, more than so many times what the users of the third quartile do.",
    )
    min_repeats: int = Field(
        50,
        ge=2,
        description="Up to so many repetitions within a day are no flood, nor three times as many over a longer time.",
    )
    min_events: int = Field(500, ge=2, description="A user with fewer events is never a bot.")
    min_share: Share = Field(
        0.001, description="A flood or a bot that makes less than this share of the events is let through."
    )
    max_user_share: Share = Field(
        0.1,
        description="A user with a larger share of the events is a warning: an id that many people share (guest), or "
        "a test client.",
    )


class CleaningSettings(Frozen):
    """What is repaired, and what is dropped, before the rules check the rows."""

    mend_text: bool = Field(True, description="HTML entities, broken encodings and control characters in texts.")
    strip_markup: bool = Field(
        True, description="Part of mend_text: HTML tags and comments, BBCode and [[VIDEOID:…]] leave the texts as well."
    )
    mask_pii: tuple[PersonalData, ...] = Field(
        ("email", "phone", "card", "address"),
        description="Personal data in reviews, replaced by marks such as <EMAIL>.",
    )
    phone_regions: tuple[str, ...] = Field(
        ("US", "GB", "IN"), description="Whose phone numbers are known without a country code."
    )
    repeated_within_s: float = Field(
        0.0, ge=0, description="The same event of a user on an item within so many seconds is a near duplicate; 0: off."
    )
    similar_texts: Share = Field(
        0.0,
        description="A review at least so similar (Jaccard of word pairs) to an earlier one of another user or item is "
        "a near duplicate; 0: off.",
    )
    missing: tuple[MissingValues, ...] = ()
    outliers: tuple[Outliers, ...] = ()
    rating_scale: Annotated[tuple[FiniteFloat, FiniteFloat], AfterValidator(_rising)] | None = Field(
        None, description="Lowest and highest rating of the source, mapped to 1 and 5; empty: it is 1 to 5 already."
    )
    decimal_comma: bool = Field(False, description="Prices are written 1.299,00.")
    floods: FloodSettings = Field(default_factory=FloodSettings)
    max_events_per_day: int = Field(0, ge=0, description="Users with more events on one day are bots; 0: off.")
    burst_events: int = Field(0, ge=0, description="Users with so many events within burst_s are bots; 0: off.")
    burst_s: float = Field(60.0, gt=0)
    bots: Literal["quarantine", "warn"] = Field("quarantine", description="What to do with all events of a bot.")
    min_user_events: int = Field(0, ge=0, description="Of a k-core: users with fewer clean events are left out.")
    min_item_events: int = Field(0, ge=0, description="Of a k-core: items with fewer clean events are left out.")


class ValidationSettings(Frozen):
    """The data gate."""

    max_quarantined_share: Share = Field(
        0.2,
        description="A table with a larger share of bad rows stops the flow (floods, guests and ratings alone aside).",
    )
    max_guest_share: Share = Field(
        0.9, description="Events of nobody (no user id) go to quarantine, and stop the flow only above this share."
    )
    min_interactions: int = Field(100, ge=1, description="Fewer interactions than this stop the flow.")
    min_text_chars: int = Field(0, ge=0, description="A shorter review is counted as a warning.")
    max_text_chars: int = Field(20_000, ge=100, description="A longer text is a bad row.")
    min_letters_share: Share = Field(0.3, description="A review with fewer letters than this is counted as a warning.")
    earliest: date = Field(date(1995, 1, 1), description="No event can be older; the first web shops.")
    shares: ShareRules = Field(default_factory=ShareRules)
    rules: tuple[OwnRule, ...] = Field((), description="The shop's own rules.")
    cleaning: CleaningSettings = Field(default_factory=CleaningSettings)
