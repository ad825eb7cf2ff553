"""The mask: finds personal data of the kinds that the settings name, and puts marks in their place."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import cached_property

from core.settings.validation import PersonalData
from validation.masking import contacts, devices, identities, payment, persons
from validation.masking.marks import ANY_MARK, MARKS, PRECEDENCE, Span
from validation.masking.normalisation import Normalised, normalise
from validation.masking.recognisers import find_names
from validation.masking.suspects import Clues, suspect_sql

Finder = Callable[[Normalised], list[Span]]


@dataclass(frozen=True)
class Found:
    """Personal data in a text."""

    kind: PersonalData
    start: int
    end: int


class PersonalDataMask:
    """Replaces personal data by marks.

    Args:
        kinds: What is replaced.
        regions: Whose telephone numbers are known without a country code, and whose ids without a word that names them.
        person_models: spaCy models that recognise names of persons; none: names only after words that introduce them.
    """

    def __init__(
        self, kinds: Collection[PersonalData], regions: Sequence[str], person_models: Sequence[str] = ()
    ) -> None:
        self.kinds: tuple[PersonalData, ...] = tuple(kind for kind in MARKS if kind in kinds)
        self.regions = tuple(regions)
        self.person_models = tuple(person_models) if "person" in self.kinds else ()

    def suspect_sql(self, value: str) -> str:
        """SQL, true where something may be found in a text, and for most other texts not."""
        return suspect_sql(value, self.kinds, everything=bool(self.person_models))

    @cached_property
    def _finders(self) -> dict[PersonalData, Finder]:
        finders: dict[PersonalData, Finder] = {
            "email": contacts.find_emails,
            "card": payment.find_cards,
            "phone": contacts.telephone_finder(self.regions),
            "address": persons.find_streets,
            "iban": payment.find_ibans,
            "bank_account": payment.ACCOUNTS.find,
            "crypto": payment.find_wallets,
            "person": persons.find_persons,
            "username": contacts.find_usernames,
            "birth_date": persons.find_birth_dates,
            "national_id": identities.id_finder("national_id", self.regions),
            "tax_id": identities.id_finder("tax_id", self.regions),
            "health_id": identities.id_finder("health_id", self.regions),
            "passport": identities.NAMED["passport"].find,
            "driver_license": identities.NAMED["driver_license"].find,
            "vehicle_plate": devices.PLATES.find,
            "vin": devices.find_vins,
            "ip": devices.find_addresses,
            "mac": devices.find_macs,
            "url": contacts.find_links,
        }
        return {kind: finders[kind] for kind in PRECEDENCE if kind in self.kinds}

    def find(self, text: str) -> list[Found]:
        """Personal data from left to right; none overlaps another, nor a mark that stands in the text already."""
        copy = normalise(text)
        clues = Clues(copy)
        found: list[tuple[Span, int, PersonalData]] = []
        for rank, (kind, finder) in enumerate(self._finders.items()):
            if clues.may_hold(kind):
                found += [(span, rank, kind) for span in finder(copy)]
            if kind == "person" and self.person_models:
                found += [(span, rank, kind) for span in find_names(copy.spelled, self.person_models)]
        if not found:
            return []
        marked = [match.span() for match in ANY_MARK.finditer(copy.text)]
        free = [one for one in found if not any(one[0][0] < end and start < one[0][1] for start, end in marked)]
        return [Found(kind, *copy.original(span)) for span, kind in _without_overlaps(free)]

    def apply(self, text: str) -> tuple[str, int]:
        """A text with its personal data replaced; masked once more, it stays as it is.

        Returns:
            The text, and what it had: bit i for the ith of `MARKS`.
        """
        bits, found = 0, self.find(text)
        while found:  # a mark may free what it overlapped; each round leaves less text beside the marks
            for one in reversed(found):
                text = text[: one.start] + MARKS[one.kind] + text[one.end :]
                bits |= 1 << tuple(MARKS).index(one.kind)
            found = self.find(text)
        return text, bits


def _without_overlaps(found: list[tuple[Span, int, PersonalData]]) -> list[tuple[Span, PersonalData]]:
    """Overlapping spans become one, named by the kind that comes first in `PRECEDENCE`."""
    joined: list[tuple[Span, int, PersonalData]] = []
    for span, rank, kind in sorted(found):
        if joined and span[0] < joined[-1][0][1]:
            (start, end), best, named = joined[-1]
            least = min((best, named), (rank, kind))
            joined[-1] = ((start, max(end, span[1])), *least)
        else:
            joined.append((span, rank, kind))
    return [(span, kind) for span, _, kind in joined]
