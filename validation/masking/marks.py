"""The kinds of personal data, and the mark that takes the place of each."""

from __future__ import annotations

import re

from core.settings.validation import PersonalData

MARKS: dict[PersonalData, str] = {
    "email": "<EMAIL>",
    "card": "<CARD>",
    "phone": "<PHONE>",
    "address": "<ADDRESS>",
    "iban": "<IBAN>",
    "bank_account": "<ACCOUNT>",
    "crypto": "<WALLET>",
    "person": "<PERSON>",
    "username": "<USERNAME>",
    "birth_date": "<BIRTH_DATE>",
    "national_id": "<NATIONAL_ID>",
    "tax_id": "<TAX_ID>",
    "health_id": "<HEALTH_ID>",
    "passport": "<PASSPORT>",
    "driver_license": "<DRIVER_LICENSE>",
    "vehicle_plate": "<PLATE>",
    "vin": "<VIN>",
    "ip": "<IP>",
    "mac": "<MAC>",
    "url": "<URL>",
}
ANY_MARK = re.compile("|".join(map(re.escape, MARKS.values())))
# Where two kinds stand in the same place, the earlier one is named.
PRECEDENCE: tuple[PersonalData, ...] = (
    "url", "email", "iban", "crypto", "mac", "ip", "vin", "passport", "driver_license", "vehicle_plate", "birth_date",
    "health_id", "tax_id", "national_id", "bank_account", "card", "phone", "username", "address", "person",
)  # fmt: skip
Span = tuple[int, int]


def numbers_of(kinds: int) -> list[PersonalData]:
    """The kinds whose bits are set, bit i for the ith of `MARKS`."""
    return [kind for bit, kind in enumerate(MARKS) if kinds >> bit & 1]
