"""Settings of the source: one class per kind of reader."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, Tag

from recommender.schema import TableName
from recommender.settings_form import Frozen, Share, kind_or

EventName = Literal["view", "click", "cart", "purchase", "rating"]


class SimulatedSource(Frozen):
    """A shop that the project simulates: tastes, catalogue texts, sessions, ratings, reviews, some dirty rows."""

    kind: Literal["simulated"] = "simulated"
    n_users: int = Field(1500, ge=20, le=1_000_000, description="Users of the shop.")
    n_items: int = Field(400, ge=20, le=1_000_000, description="Items of the catalogue.")
    n_days: int = Field(365, ge=30, le=3650, description="Days of history.")
    dirty_share: Share = Field(0.01, description="Share of rows that are broken on purpose.")
    drift: Literal["none", "taste", "catalogue"] = Field(
        "none", description="What changes in the newest tenth of the time: nothing, the users' tastes, the catalogue."
    )
    seed: int = Field(11, description="Seed of the simulation; the same seed gives the same shop.")


class Amazon2014Source(Frozen):
    """Reviews in the format of the Amazon 2014 release: JSON lines, gzip or not."""

    kind: Literal["amazon-2014"] = "amazon-2014"
    path: Path = Field(description="A reviews file, or a folder that holds one (and perhaps a meta_ file).")


class Amazon2023Source(Frozen):
    """Reviews in the format of the Amazon 2023 release: JSON lines with millisecond times, gzip or not."""

    kind: Literal["amazon-2023"] = "amazon-2023"
    path: Path = Field(description="A reviews file, or a folder that holds one (and perhaps a meta_ file).")


class RecboleSource(Frozen):
    """RecBole's atomic files: tab-separated .inter, .user and .item with typed headers, gzip or not."""

    kind: Literal["recbole"] = "recbole"
    path: Path = Field(description="The folder of the atomic files.")


class TablesSource(Frozen):
    """A folder of Parquet, CSV or JSON-lines files named as the contract's tables, or mapped to them here."""

    kind: Literal["tables"] = "tables"
    path: Path = Field(description="The folder.")
    files: dict[TableName, str] = Field(
        default_factory=dict,
        description="Table to file name, where the file is not named as the table. Two tables may share a file.",
    )
    columns: dict[TableName, dict[str, str]] = Field(
        default_factory=dict, description="Table to {contract column: the file's column}, where the names differ."
    )
    default_event: EventName = Field("purchase", description="The event of interactions that name none.")
    date_formats: tuple[str, ...] = Field(
        (),
        description="Forms of dates, as strptime writes them, tried in order where a date is neither ISO 8601 nor a "
        "number: ['%m/%d/%Y %H:%M', '%m-%d-%Y %H:%M'].",
    )
    encoding: str = Field("utf-8", description="The text files' encoding, by Python's name for it.")
    delimiter: str = Field("", max_length=1, description="Of .csv files; empty: a comma.")


class SqlSource(Frozen):
    """Tables of a database, one query each, streamed as Arrow by the database's ADBC driver."""

    kind: Literal["sql"] = "sql"
    url: str = Field(
        description="postgresql://user@host/database, or sqlite:///file. ${NAME} is replaced from the environment, so "
        "that no password has to stand here."
    )
    queries: dict[TableName, str] = Field(
        min_length=1, description="Table to the query that gives it, with the contract's column names (AS …)."
    )
    default_event: EventName = Field("purchase", description="The event of interactions that name none.")
    date_formats: tuple[str, ...] = Field((), description="As in `tables`, for columns that hold dates as text.")


Source = Annotated[
    Annotated[SimulatedSource, Tag("simulated")]
    | Annotated[Amazon2014Source, Tag("amazon-2014")]
    | Annotated[Amazon2023Source, Tag("amazon-2023")]
    | Annotated[RecboleSource, Tag("recbole")]
    | Annotated[TablesSource, Tag("tables")]
    | Annotated[SqlSource, Tag("sql")],
    kind_or("simulated"),
]
SOURCE_KINDS = ("simulated", "amazon-2014", "amazon-2023", "recbole", "tables", "sql")
