"""What clients said of one item or user, as far as it could be read, and as who asks may see it."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from core.overrides import Override
from serving.api.message import Degradation
from serving.errors import RecordUnreadable

# Of an attribute: no text, and no number so long that it could be a person's.
_PLAIN = re.compile(r"true|false|-?[0-9]{1,3}(?:\.[0-9]{1,2})?")


@dataclass(frozen=True)
class Said:
    """What clients said of one item or user.

    Attributes:
        override: All of it; None where they never said anything.
        is_read: Whether that is what they say now; False where the file could not be read.
        is_whole: Whether who asks may see it as it was said, which no data gate has masked.
    """

    override: Override | None = None
    is_read: bool = True
    is_whole: bool = False

    @property
    def degraded(self) -> list[Degradation]:
        """What an answer has to do without."""
        return [] if self.is_read else ["changes"]

    def check_read(self, what: str, id_: str) -> None:
        """Refuse to say that there is no such item or user where clients may have said something of it.

        Raises:
            RecordUnreadable: it could not be read.
        """
        if not self.is_read:
            raise RecordUnreadable(
                f"Cannot read the {what}",
                got=f"{what}_id={id_[:60]!r}, of which nothing else is known",
                expected="what clients said of it to be readable",
                do="Ask again later; /v1/model says in changes_problem why it cannot be read",
            )

    @property
    def shown(self) -> Override | None:
        """What of it stands in the record of an item: without what the data gate might mask, or all of it."""
        said = self.override
        if said is None or self.is_whole:
            return said
        fields = {name: value for name, value in said.fields.items() if not isinstance(value, str)}
        attributes = {name: value for name, value in said.attributes.items() if _PLAIN.fullmatch(value)}
        return replace(said, fields=fields, attributes=attributes)

    @property
    def withheld(self) -> list[str]:
        """Names of what was said and may not be seen, in their order."""
        if self.override is None or self.shown is None:
            return []
        said, shown = self.override, self.shown
        return sorted([*(said.fields.keys() - shown.fields), *(said.attributes.keys() - shown.attributes)])


NOTHING_SAID = Said()
