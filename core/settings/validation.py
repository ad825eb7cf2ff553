"""Settings of validation: rules, cleaning, and what happens to the rows that break a rule."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, Field, FiniteFloat, model_validator

from core.schema import TableName
from core.settings.form import Frozen, Share

Severity = Literal["row", "table", "warn"]
PersonalData = Literal[
    "email", "phone", "card", "address", "iban", "bank_account", "crypto", "person", "username", "birth_date",
    "national_id", "tax_id", "health_id", "passport", "driver_license", "vehicle_plate", "vin", "ip", "mac", "url",
]  # fmt: skip
Region = Annotated[str, Field(pattern="^[A-Z]{2}$")]
PERSONAL_DATA: tuple[PersonalData, ...] = get_args(PersonalData)


def _rising(scale: tuple[float, float]) -> tuple[float, float]:
    low, high = scale
    if not low < high:
        raise ValueError("the lowest rating, then a higher one, such as [0, 10]")
    return scale


class OwnRule(Frozen):
    """A rule of the shop's own, beside the contract's."""

    name: str = Field(
        pattern=r"^[a-z][a-z0-9_]{0,60}$", description="The rule's name in quarantine, summary and Data Docs."
    )
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
    max_age_days: float | None = Field(None, gt=0, description="Maximum age of the newest event, days; empty: any.")
    max_volume_drop: Share = Field(
        0.5, description="Largest share of rows that may be missing compared with the previous run."
    )
    max_volume_growth: float = Field(
        10.0, gt=0, description="Largest number of rows, as a multiple of the previous run's."
    )
    max_unknown_items: Share = Field(0.05, description="Share of events on items that the catalogue does not have.")
    max_unknown_users: Share = Field(0.05, description="Share of events of users that the source does not have.")


class MissingValues(Frozen):
    """What to do where a column is empty."""

    table: TableName
    column: str
    how: Literal["drop", "value", "mean", "median", "mode", "interpolate"] = Field(
        description="drop: quarantine the row. interpolate: linear in time between the neighbours of the same item, "
        "for numbers of interactions and feedback."
    )
    value: str = Field("", description="What to fill in, for how=value.")


class Outliers(Frozen):
    """What to do with numbers far from the rest."""

    table: TableName
    column: str
    method: Literal["iqr", "z_score"] = "iqr"
    factor: float = Field(3.0, gt=0, description="Fences at this many interquartile ranges, or standard deviations.")
    action: Literal["quarantine", "clip", "empty", "warn"] = "quarantine"


class FloodSettings(Frozen):
    """Clients so busy that they would distort the data; limits are relative to the shop's other users."""

    action: Literal["quarantine", "warn", "off"] = Field(
        "quarantine",
        description="What to do with the surplus of a flood (one user repeats the same event on the same item; the "
        "first ones stay) and with all events of a bot (a user with far more events than others, at an inhuman pace). "
        "With fewer than 20 users or without times there is no search.",
    )
    factor: float = Field(
        20.0,
        ge=1,
        description="A flood or a bot exceeds the third quartile of the users this many times.",
    )
    min_repeats: int = Field(
        50,
        ge=2,
        description="Up to this many repetitions within a day are no flood, nor three times as many over a "
        "longer time.",
    )
    min_events: int = Field(500, ge=2, description="A user with fewer events is never a bot.")
    min_share: Share = Field(0.001, description="A flood or a bot with less than this share of the events is ignored.")
    max_user_share: Share = Field(
        0.1,
        description="A user with a larger share of the events raises a warning: perhaps an id that many people share "
        "(guest), or a test client.",
    )


class CleaningSettings(Frozen):
    """What is repaired, and which rows are taken out, before the rules are checked."""

    @model_validator(mode="before")
    @classmethod
    def _read_phone_regions(cls, given: Any) -> Any:
        """`regions` under the name that it had before; bundles keep the settings that they were made by."""
        if not isinstance(given, Mapping) or "phone_regions" not in given:
            return given
        renamed = {name: value for name, value in given.items() if name != "phone_regions"}
        return {"regions": given["phone_regions"], **renamed}

    mend_text: bool = Field(True, description="Repair HTML entities, broken encodings and control characters in texts.")
    strip_markup: bool = Field(
        True, description="With mend_text: also remove HTML tags and comments, BBCode and [[VIDEOID:…]] from texts."
    )
    mask_pii: tuple[PersonalData, ...] = Field(
        PERSONAL_DATA,
        description="Personal data in reviews and in the attributes of users, replaced by marks such as <EMAIL>.",
    )
    mask_pii_items: tuple[PersonalData, ...] = Field(
        ("email", "phone", "card", "iban", "crypto", "national_id", "username", "url"),
        description="The same in descriptions and attributes of items.",
    )
    mask_pii_titles: tuple[PersonalData, ...] = Field(
        ("email", "iban", "url"),
        description="The same in titles, categories and brands of items, where a model number looks like a telephone "
        "number.",
    )
    regions: tuple[Region, ...] = Field(
        ("US", "GB", "IN", "DE", "FR", "ES", "IT"),
        description="Countries (ISO 3166) whose phone numbers are found without a country code, and whose ids, tax and "
        "health numbers are found without a word that names them.",
    )
    person_models: tuple[str, ...] = Field(
        (),
        description="Installed spaCy models (or folders) that recognise names of persons, such as en_core_web_sm; "
        "empty: only names that a text introduces, such as in my name is ….",
    )
    repeated_within_s: float = Field(
        0.0,
        ge=0,
        description="A user's same event on the same item within this many seconds is a near duplicate; 0: off.",
    )
    similar_texts: Share = Field(
        0.0,
        description="Jaccard similarity of word pairs from which a review is a near duplicate of an earlier one of "
        "another user or item; 0: off.",
    )
    missing: tuple[MissingValues, ...] = ()
    outliers: tuple[Outliers, ...] = ()
    rating_scale: Annotated[tuple[FiniteFloat, FiniteFloat], AfterValidator(_rising)] | None = Field(
        None, description="Lowest and highest rating of the source, mapped to 1 and 5; empty: it is 1 to 5 already."
    )
    decimal_comma: bool = Field(False, description="Prices are written 1.299,00.")
    floods: FloodSettings = Field(default_factory=FloodSettings)
    max_events_per_day: int = Field(0, ge=0, description="Users with more events on one day are bots; 0: off.")
    burst_events: int = Field(
        0, ge=0, description="Users with this many events within burst_s seconds are bots; 0: off."
    )
    burst_s: float = Field(60.0, gt=0)
    bots: Literal["quarantine", "warn"] = Field("quarantine", description="What to do with all events of a bot.")
    min_user_events: int = Field(0, ge=0, description="K-core: users with fewer clean events are left out; 0: off.")
    min_item_events: int = Field(0, ge=0, description="K-core: items with fewer clean events are left out; 0: off.")


class ValidationSettings(Frozen):
    """The data gate: limits, rules and cleaning."""

    max_quarantined_share: Share = Field(
        0.2,
        description="A table with a larger share of bad rows stops the flow; floods, guests and ratings without "
        "a text do not count.",
    )
    max_guest_share: Share = Field(
        0.9, description="Events without a user id go to quarantine, and stop the flow only above this share."
    )
    min_interactions: int = Field(100, ge=1, description="Fewer interactions than this stop the flow.")
    min_text_chars: int = Field(0, ge=0, description="A shorter review is counted as a warning.")
    max_text_chars: int = Field(20_000, ge=100, description="A longer text is a bad row.")
    min_letters_share: Share = Field(
        0.3, description="A review with a smaller share of letters is counted as a warning."
    )
    earliest: date = Field(
        date(1995, 1, 1), description="Events before this day are bad rows; the first web shops opened in 1995."
    )
    shares: ShareRules = Field(default_factory=ShareRules)
    rules: tuple[OwnRule, ...] = Field((), description="The shop's own rules.")
    cleaning: CleaningSettings = Field(default_factory=CleaningSettings)
