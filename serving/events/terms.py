"""A shop's terms for events: its own names for their kinds, and the scale of its ratings.

The bundle's recipe maps both. The log keeps the contract's names, and ratings of 1 to 5.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import TYPE_CHECKING

from core.events import EARLIEST, RATING_EVENT, bad_id, bad_time, canonical_id, kept_value
from core.schema import EVENTS, RATING_RANGE, VALUE, rating_slope
from core.settings.source import event_names
from serving.errors import BadRequest

if TYPE_CHECKING:  # clients import this, and need no settings
    from core.settings.tree import Recipe

NAMES_SETTING = "recipe.source.values.interactions.event"
LEFT_OUT = ""
SCALE_SETTING = "recipe.validation.cleaning.rating_scale"
EARLIEST_SETTING = "recipe.validation.earliest"
MISSING_SETTING = "recipe.validation.cleaning.missing"
_NAME_CHARS = 60


@dataclass(frozen=True)
class EventTerms:
    """Reads the events of clients. Without a bundle the contract's own terms alone are known.

    Attributes:
        names: The shop's own names of events, lower case, to the contract's; to LEFT_OUT for those that are dropped.
            A contract's name means itself unless the shop maps it.
        scale: Lowest and highest rating of the shop.
        model: The bundle whose recipe maps them; None before one is loaded.
        earliest: Events before this day are refused.
        takes_no_value: Whether the data gate fills in a rating without a value, so that one is taken. It counts from
            the next refresh on; only the gate sees the values that a mean is made of.
    """

    names: Mapping[str, str] = field(default_factory=dict)
    scale: tuple[float, float] = RATING_RANGE
    model: str | None = None
    earliest: date = EARLIEST
    takes_no_value: bool = False

    @classmethod
    def of(cls, recipe: Recipe, model: str) -> EventTerms:
        """The terms of a bundle's recipe."""
        mapped = {own: name.strip().lower() for own, name in event_names(recipe.source).items()}
        names = {own: name for own, name in mapped.items() if name in (*EVENTS, LEFT_OUT)}
        rules = recipe.validation
        fills = any(
            (one.table, one.column) == ("interactions", VALUE) and one.how != "drop" for one in rules.cleaning.missing
        )
        return cls(names, rules.cleaning.rating_scale or RATING_RANGE, model, rules.earliest, fills)

    def kind(self, name: str, where: str) -> str:
        """The contract's name of an event, case aside: as the settings map it for the source, else as it is.

        LEFT_OUT for one that they map to nothing.

        Raises:
            BadRequest: the name is unknown.
        """
        given = name.strip().lower()
        if given in self.names:
            return self.names[given]
        if given in EVENTS:
            return given
        own = ", ".join(f"{one} ({self.names[one]})" for one in sorted(self.names) if self.names[one] != LEFT_OUT)
        known = ", ".join(EVENTS) + (f", or the shop's own {own}" if own else "")
        do = f"Send one of these, or map more names in the setting {NAMES_SETTING}, and train a bundle with it"
        if self.model is None:
            do += "; no bundle is loaded yet, so the shop's own names are not known"
        raise BadRequest(
            "Cannot take the events", got=f"{where}.event={_shown(name)}", expected=f"one of {known}", do=do
        )

    def id(self, text: str, where: str) -> str:
        """An id as the clean tables have it.

        Raises:
            BadRequest: it is blank or too long.
        """
        found = canonical_id(text)
        broken = bad_id(found)
        if broken is not None:
            do = "Send the shop's own id, or leave out an event_id that is not known"
            raise BadRequest("Cannot take the events", got=f"{where}={_shown(text)}", expected=broken, do=do)
        return found

    def time(self, moment: datetime, now: datetime, where: str) -> datetime:
        """An event's time.

        Raises:
            BadRequest: it is earlier than the shop's settings take, or too far in the future.
        """
        broken = bad_time(moment, now, self.earliest)
        if broken is not None:
            got, rule = f"{where}.timestamp={moment.isoformat()}", f"{broken} ({EARLIEST_SETTING})"
            raise BadRequest("Cannot take the events", got=got, expected=rule, do="Send the time of the event")
        return moment

    def value(self, kind: str, value: float | None, where: str) -> float | None:
        """An event's value as the clean tables keep it: a rating's, read on the shop's scale, 1 to 5; else none.

        Raises:
            BadRequest: a rating has none that the data gate would not fill in, or it is out of range.
        """
        if value is None and (kind != RATING_EVENT or self.takes_no_value):
            return None
        low, high = self.scale if kind == RATING_EVENT else RATING_RANGE
        rule = f"a rating from {low:g} to {high:g}"
        if self.scale != RATING_RANGE and kind == RATING_EVENT:
            rule += f", the shop's scale ({SCALE_SETTING})"
        if value is None:
            do = f"Send the value of every rating, or have the gate fill it in ({MISSING_SETTING})"
            raise BadRequest("Cannot take the events", got=f"{where}.value=null", expected=rule, do=do)
        if not low <= value <= high:
            do = "Send a value within it" if kind == RATING_EVENT else f"Leave it out: {kind} needs no value"
            raise BadRequest("Cannot take the events", got=f"{where}.value={value:g}", expected=rule, do=do)
        # As validation reads the source's ratings; exact where the scale is the contract's own.
        read = value if (low, high) == RATING_RANGE else RATING_RANGE[0] + (value - low) * rating_slope(low, high)
        return kept_value(kind, read)


PLAIN_TERMS = EventTerms()


def _shown(name: str) -> str:
    return repr(name if len(name) <= _NAME_CHARS else f"{name[:_NAME_CHARS]}…")
