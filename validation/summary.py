"""What a validation found, as numbers."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict

from core.quarantine.rows import QUARANTINE
from core.schema import TableName

SUMMARY_FILE = "summary.json"


class TableSummary(BaseModel):
    """One table. Always `rows_in == rows_clean + rows_quarantined + duplicates`.

    Attributes:
        rows_in: Rows of the source.
        rows_clean: Those that meet every rule.
        rows_quarantined: Those that break at least one.
        duplicates: Rows that repeat another row, left out: exact copies, and lines of orders or reviews that repeat an
            item or a user; and events that the settings map to nothing.
        rows_flooded: Of the quarantined rows, those of a flood or a bot.
        rows_of_guests: Of the quarantined rows, those that lack only a user.
        rows_without_words: Of the quarantined rows, reviews that lack only their text.
        rows_forgotten: Rows of people who are forgotten, which were left out before: they are not among `rows_in`.
        rows_derived: Rows that the source did not have: users and items known only from the events on them.
        rules: Broken rule to number of rows, copies among them; a row may break several. `exact_duplicate` is one, and
            `repeated` another.
        warnings: The same for rules that do not send a row to quarantine, where more rows break them than may.
        cleaned: Kind of repair to number of rows that it changed.
    """

    model_config = ConfigDict(frozen=True)

    rows_in: int
    rows_clean: int
    rows_quarantined: int
    duplicates: int
    rows_flooded: int = 0
    rows_of_guests: int = 0
    rows_without_words: int = 0
    rows_forgotten: int = 0
    rows_derived: int = 0
    rules: dict[str, int] = {}
    warnings: dict[str, int] = {}
    cleaned: dict[str, int] = {}

    @property
    def quarantined_share(self) -> float:
        """Of the rows that are not copies, 0 to 1."""
        return self.rows_quarantined / max(1, self.rows_in - self.duplicates)

    @property
    def bad_share(self) -> float:
        """The same without floods, bots, guests and ratings without a text."""
        aside = self.rows_flooded + self.rows_of_guests + self.rows_without_words
        return (self.rows_quarantined - aside) / max(1, self.rows_in - self.duplicates - aside)

    @property
    def guest_share(self) -> float:
        """Share of events without a user among the rows that are not copies, 0 to 1."""
        return self.rows_of_guests / max(1, self.rows_in - self.duplicates)


class ValidationSummary(BaseModel):
    """All tables.

    Attributes:
        folder: Holds the clean tables.
        docs: First page of the Data Docs.
        gx_success: Whether Great Expectations found every expectation met, warnings apart. Bad rows in quarantine make
            it false; the clean tables are good nonetheless.
        tables: One summary per table.
        warnings: Rules on tables as a whole that are not met, as sentences.
        newest: Time of the newest clean interaction, seconds since 1970; None where there is none.
        due: Time of the first row that is in quarantine because it lay ahead, seconds since 1970; None where none is.
        log_sequence: Up to where the service's event log was validated, for the features; None where there was no log.
    """

    model_config = ConfigDict(frozen=True)

    folder: Path
    docs: Path
    gx_success: bool
    tables: dict[TableName, TableSummary]
    warnings: tuple[str, ...] = ()
    newest: float | None = None
    due: float | None = None
    log_sequence: int | None = None

    @property
    def quarantine(self) -> Path:
        """Folder of the quarantined rows, one file per table."""
        return self.folder / QUARANTINE
