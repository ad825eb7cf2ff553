"""How a source writes its values, where a column's type does not say it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from core.schema import RATING_RANGE, TableName
from core.settings.source import NULL_WORDS, SourceForms
from core.settings.validation import CleaningSettings

_WHOLE = re.compile(r"^(-?\d+)\.0+$")


@dataclass(frozen=True)
class Dialect:
    """What a table's values look like.

    Attributes:
        date_formats: strptime forms, tried in order before ISO 8601 and numbers.
        time_zone: Of times that name none.
        null_words: Words that mean an empty value, case counts.
        values: Column to {the source's value, lower case: the contract's}; also names columns that map nothing.
        best_rating: The highest of the source's scale.
        decimal_comma: 1.299 is a thousand and more, and 1,299 little more than one, where a price could be either.
    """

    date_formats: Sequence[str] = ()
    time_zone: str = "UTC"
    null_words: Sequence[str] = NULL_WORDS
    values: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    decimal_comma: bool = False
    best_rating: float = RATING_RANGE[1]

    @classmethod
    def of(cls, forms: SourceForms, table: TableName, cleaning: CleaningSettings | None = None) -> Dialect:
        """The dialect of one table of a source."""
        cleaning = cleaning or CleaningSettings()
        best = (cleaning.rating_scale or RATING_RANGE)[1]
        values = {
            column: {_WHOLE.sub(r"\1", own.strip().lower()): wanted for own, wanted in mapped.items()}
            for column, mapped in forms.values.get(table, {}).items()
        }
        return cls(forms.date_formats, forms.time_zone, forms.null_words, values, cleaning.decimal_comma, best)

    def of_column(self, name: str) -> Dialect:
        """The dialect of one column: a null word that the settings map is a value."""
        mapped = self.values.get(name, {})
        return replace(self, null_words=[word for word in self.null_words if word.lower() not in mapped])

    def of_events(self) -> Dialect:
        """The dialect of the service's own log: the contract's names, ids that were accepted, times with their zone."""
        values: dict[str, dict[str, str]] = {name: {} for name in self.values}
        return replace(self, date_formats=(), time_zone="UTC", null_words=(), values=values)
