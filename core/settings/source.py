"""Settings of the source: one class per kind of reader."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal
from zoneinfo import ZoneInfo

import pyarrow as pa
from pydantic import Field, Tag, field_validator

from core.schema import EVENT, EVENTS, TABLES, TIME, TableName
from core.settings.form import Address, Frozen, Share, kind_or

EventName = Literal["view", "click", "cart", "purchase", "rating"]
# What programs and people write for an unknown value; the spelling counts, so that a user "Nan" is kept.
NULL_WORDS = (
    "NULL", "Null", "null", "(null)", "<null>", "\\N", "NIL", "nil", "None", "none", "NONE", "<NA>", "NA", "N/A", "n/a",
    "#N/A", "#NA", "NaN", "nan", "NAN", "-nan", "NaT", "undefined", "-", "--", "?",
)  # fmt: skip
# Those of DuckDB's strptime.
_DIRECTIVE = re.compile(r"%(-?[dHIjmMSy]|[abcfghnpuwxzABGTUVWXYZ%])")


class SourceForms(Frozen):
    """How a source writes its values: the same settings for every reader and every column."""

    date_formats: tuple[str, ...] = Field(
        (),
        description="Formats of dates, as in strptime, tried in order before ISO 8601 and numbers: "
        "['%m/%d/%Y %H:%M', '%Y%m%d'].",
    )
    time_zone: str = Field("UTC", description="Time zone of times without one, such as Europe/Berlin.")
    null_words: tuple[str, ...] = Field(NULL_WORDS, description="Words that mean an empty value; case counts.")
    values: dict[TableName, dict[str, dict[str, str]]] = Field(
        default_factory=dict,
        description="Table to column to {the source's value: the contract's}, ignoring case: "
        "{interactions: {event: {addtocart: cart}}}. An empty text empties the value, or leaves out the row of an "
        "event. /v1/events takes these names too.",
    )
    no_time: Literal["refuse", "file_order"] = Field(
        "refuse", description="Interactions without times: refuse them, or take the order of the file instead."
    )

    @field_validator("date_formats")
    @classmethod
    def _known_forms(cls, forms: tuple[str, ...]) -> tuple[str, ...]:
        for form in forms:
            found = _DIRECTIVE.findall(form)
            if "%" in _DIRECTIVE.sub("", form) or not {one.lstrip("-") for one in found} & set("YyGcx"):
                raise ValueError(f"formats as in strptime, with a year, such as %d/%m/%Y %H:%M; not {form}")
        return forms

    @field_validator("time_zone")
    @classmethod
    def _known_zone(cls, zone: str) -> str:
        try:
            ZoneInfo(zone)
        except (LookupError, OSError, ValueError) as error:
            raise ValueError("a time zone of the IANA list, such as Europe/Berlin or UTC") from error
        return zone

    @field_validator("values")
    @classmethod
    def _values_of_the_contract(
        cls, values: dict[TableName, dict[str, dict[str, str]]]
    ) -> dict[TableName, dict[str, dict[str, str]]]:
        for table, columns in values.items():
            types = {column.name: column.type for column in TABLES[table].columns}
            for name, mapped in columns.items():
                if name not in types:
                    raise ValueError(f"a column of {table}, one of {', '.join(types)}; not {name}")
                for own, wanted in mapped.items():
                    if rule := _misfit(name, types[name], wanted):
                        raise ValueError(f"{table}.{name} to be mapped to {rule}; {own} is mapped to {wanted}")
        return values


def _misfit(column: str, kind: pa.DataType, wanted: str) -> str:
    """What a value should be; "" for one that fits its column."""
    if not wanted.strip():
        return ""
    if column == EVENT:
        return "" if wanted.strip().lower() in EVENTS else f"one of {', '.join(EVENTS)}"
    if kind in (pa.string(), TIME):
        return ""
    try:
        float(wanted)
    except ValueError:
        return "a number"
    return ""


class SimulatedSource(Frozen):
    """A shop that the project simulates: tastes, catalogue texts, sessions, ratings, reviews, some dirty rows."""

    kind: Literal["simulated"] = "simulated"
    n_users: int = Field(1500, ge=20, le=1_000_000, description="Users of the shop.")
    n_items: int = Field(400, ge=20, le=1_000_000, description="Items of the catalogue.")
    n_days: int = Field(365, ge=30, le=3650, description="Days of history.")
    dirty_share: Share = Field(0.01, description="Share of rows broken on purpose.")
    drift: Literal["none", "taste", "catalogue"] = Field(
        "none", description="What drifts in the last tenth of the time: nothing, the users' tastes, or the catalogue."
    )
    item_lifetime_days: float | None = Field(
        None,
        gt=0,
        description="For about how long an item is in the shop, new ones coming all the time, as in a shop of news or "
        "fashion; empty: items that have come stay.",
    )
    seed: int = Field(11, description="Seed of the simulation; the same seed gives the same shop.")


class Amazon2014Source(SourceForms):
    """Reviews in the format of the Amazon 2014 release: JSON lines, gzip or not."""

    kind: Literal["amazon-2014"] = "amazon-2014"
    path: Path = Field(description="A reviews file, or a folder that holds one (and perhaps a meta_ file).")


class Amazon2023Source(SourceForms):
    """Reviews in the format of the Amazon 2023 release: JSON lines with millisecond times, gzip or not."""

    kind: Literal["amazon-2023"] = "amazon-2023"
    path: Path = Field(description="A reviews file, or a folder that holds one (and perhaps a meta_ file).")


class RecboleSource(SourceForms):
    """RecBole's atomic files: tab-separated .inter, .user and .item with typed headers, gzip or not."""

    kind: Literal["recbole"] = "recbole"
    path: Path = Field(description="The folder of the atomic files.")


class TablesSource(SourceForms):
    """A folder of Parquet, CSV or JSON-lines files named as the contract's tables, or mapped to them here."""

    kind: Literal["tables"] = "tables"
    path: Path = Field(description="The folder, or one file.")
    files: dict[TableName, str] = Field(
        default_factory=dict,
        description="Table to file name, where the file is not named after its table. Two tables may share a file.",
    )
    columns: dict[TableName, dict[str, str]] = Field(
        default_factory=dict,
        description="Table to {contract column: the file's column}, where the names differ. Further names of users and "
        "items become attributes.",
    )
    default_event: EventName = Field("purchase", description="The event of interactions without one.")
    encoding: str = Field("utf-8", description="Encoding of text files, by Python's name.")
    delimiter: str = Field("", max_length=1, description="Delimiter of .csv files; empty: a comma.")


class SqlSource(SourceForms):
    """Tables of a database, one query each, streamed as Arrow by the database's ADBC driver."""

    kind: Literal["sql"] = "sql"
    url: Address = Field(
        description="postgresql://user@host/database, or sqlite:///file. ${NAME} is replaced from the environment, so "
        "that no password stands here."
    )
    queries: dict[TableName, str] = Field(
        min_length=1, description="Table to its query, with the contract's column names (AS …)."
    )
    default_event: EventName = Field("purchase", description="The event of interactions without one.")


Source = Annotated[
    Annotated[SimulatedSource, Tag("simulated")]
    | Annotated[Amazon2014Source, Tag("amazon-2014")]
    | Annotated[Amazon2023Source, Tag("amazon-2023")]
    | Annotated[RecboleSource, Tag("recbole")]
    | Annotated[TablesSource, Tag("tables")]
    | Annotated[SqlSource, Tag("sql")],
    kind_or("simulated"),
]


def event_names(source: Source) -> dict[str, str]:
    """The shop's own names of events, lower case, to the contract's; empty for a source without any."""
    values = source.values if isinstance(source, SourceForms) else {}
    return {own.strip().lower(): name for own, name in values.get("interactions", {}).get("event", {}).items()}


SOURCE_KINDS = ("simulated", "amazon-2014", "amazon-2023", "recbole", "tables", "sql")
