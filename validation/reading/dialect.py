"""How a source writes its values, as far as the type of a column does not tell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from recommender.schema import TableName
from recommender.source_settings import NULL_WORDS, SourceForms


@dataclass(frozen=True)
class Dialect:
    """What a table's values look like.

    Attributes:
        date_formats: strptime forms, tried in order before ISO 8601 and numbers.
        time_zone: Of times that name none.
        null_words: What stands for an empty value, as it is spelt.
        values: Column to {the source's value, lower case: the contract's}.
        decimal_comma: 1.299 is a thousand and more, and 1,299 little more than one, where a price could be either.
    """

    date_formats: Sequence[str] = ()
    time_zone: str = "UTC"
    null_words: Sequence[str] = NULL_WORDS
    values: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    decimal_comma: bool = False

    @classmethod
    def of(cls, forms: SourceForms, table: TableName, decimal_comma: bool = False) -> Dialect:
        """The dialect of one table of a source."""
        values = {
            column: {own.strip().lower(): wanted for own, wanted in mapped.items()}
            for column, mapped in forms.values.get(table, {}).items()
        }
        return cls(forms.date_formats, forms.time_zone, forms.null_words, values, decimal_comma)

    def of_events(self) -> Dialect:
        """The dialect of the service's own log: the contract's names, ids that were accepted, times with their zone."""
        return replace(self, date_formats=(), time_zone="UTC", null_words=(), values={})
