"""/v1/quarantine and /v1/quarantine/readmissions: what the data gate put aside, and letting it in again."""

from __future__ import annotations

from typing import Annotated

from pydantic import ConfigDict, Field, StringConstraints

from core.quarantine.requests import ReadmissionRequest
from core.quarantine.rows import QuarantinedRow
from core.schema import TableName
from serving.api.message import Message

MAX_ROWS = 100
MAX_SHOWN_CHARS = 2000
_RuleName = Annotated[str, StringConstraints(min_length=1, max_length=200)]
_WHAT_FOLLOWS = (
    "The next run of pipeline, refresh-features or monitor lets the rows in, masked, and validates them again; those "
    "that still break a rule are back in quarantine afterwards."
)


class QuarantineQuery(Message):
    """Which example rows to look at. What was put aside is counted whole in any case."""

    table: TableName | None = Field(None, description="Only rows of this table.")
    rule: _RuleName | None = Field(None, description="Only rows that break this rule.")
    after: str | None = Field(None, max_length=60, description="`next` of the page before.")
    limit: int = Field(10, ge=1, le=MAX_ROWS, description="At most so many rows.")


class QuarantineTable(Message):
    """A table of the source."""

    table: TableName
    rows_in: int = Field(description="That the source had.")
    rows_quarantined: int = Field(description="Those of them that break at least one rule.")


class QuarantineGroup(Message):
    """The rows of a table that break one rule; a row that breaks several counts for each."""

    table: TableName
    rule: str
    rows: int
    column: str | None = Field(description="That the rule is about; null for the row as a whole.")
    expectation: str | None = Field(
        description="The Great Expectations class, as the Data Docs name it; null where an earlier release validated."
    )
    why: str | None = Field(description="What holds for good rows, in a sentence.")


class QuarantineRow(Message):
    """A row as it came and as it was read. A longer text is cut at 2000 characters."""

    table: TableName
    rules: list[str] = Field(description="That it breaks.")
    position: str = Field(description="Where it stood in the source: file and number of the row.")
    values: dict[str, str | None] = Field(description="Of the contract's columns, in the source's own words.")
    attributes: dict[str, str | None] = Field(description="Further columns of a user or an item.")
    source_row: str = Field(description="As the source had it.")

    @classmethod
    def of(cls, row: QuarantinedRow) -> QuarantineRow:
        return cls(
            table=row.table,
            rules=list(row.rules),
            position=f"{row.source_file}:{row.source_number}",
            values={name: _cut(text) for name, text in row.values.items()},
            attributes={name: _cut(text) for name, text in row.attributes.items()},
            source_row=_cut(row.source_row) or "",
        )


class Readmission(Message):
    """Rows that somebody asked to let in."""

    id: str
    table: TableName | None = Field(description="Only rows of this table; null: of all.")
    rule: str | None = Field(description="Only rows that break this rule; null: whichever.")
    reason: str
    by: str = Field(description="Who asked: an API key's id, or local.")
    at: str = Field(description="UTC.")
    begun: bool = Field(description="A run has begun to let them in: it can no longer be withdrawn.")

    @classmethod
    def of(cls, asked: ReadmissionRequest) -> Readmission:
        return cls(**asked.model_dump())


class QuarantineInfo(Message):
    """What the newest validation put aside."""

    problem: str | None = Field(description="Why there is nothing to look at; null where there is.")
    validation: str | None = Field(description="The name of the validation's folder.")
    read_at: str | None = Field(description="When the rows were read from the source, UTC.")
    docs: str | None = Field(description="The page of the Data Docs; null where the service knows of none.")
    tables: list[QuarantineTable]
    groups: list[QuarantineGroup] = Field(description="By table and rule, the most frequent first.")
    rows: list[QuarantineRow] | None = Field(
        description="Examples; null without a key of scope `admin`. Rows of people who are forgotten are left out."
    )
    next: str | None = Field(description="To be given as `after` for the rows behind these; null where none are.")
    waiting: list[Readmission] | None = Field(
        description="What was asked to be let in, and waits for a run; null without a key of scope `admin`."
    )


class ReadmitRequest(Message):
    """Which rows to let in again, and why: as they are, after the rules or what they refer to was corrected."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {"table": "interactions", "rule": "value_in_range", "reason": "The scale was set wrong."}
        }
    )

    table: TableName | None = Field(None, description="Only rows of this table.")
    rule: _RuleName | None = Field(None, description="Only rows that break this rule.")
    reason: Annotated[str, StringConstraints(strip_whitespace=True, min_length=3, max_length=500)] = Field(
        description="Stands in the audit log. Name no people in it."
    )


class ReadmissionAsked(Readmission):
    """That rows are let in by the next run, and how many that would be now."""

    rows: int = Field(description="That were in quarantine when it was asked.")
    what_follows: str = _WHAT_FOLLOWS


def _cut(text: str | None) -> str | None:
    return text if text is None or len(text) <= MAX_SHOWN_CHARS else f"{text[: MAX_SHOWN_CHARS - 1]}…"
