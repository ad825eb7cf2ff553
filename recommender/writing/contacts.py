"""Contacts in texts: the data gate masks those of reviews, but pretraining had others."""

from __future__ import annotations

import re

# The marks of the data gate, which training texts have in the same places.
EMAIL, URL, PHONE = "<EMAIL>", "<URL>", "<PHONE>"
# Also one whose end was cut off.
_EMAIL = re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)*")
_URL = re.compile(r"(?:https?://|www\.)\S*[\w/]", re.IGNORECASE)
_PHONE = re.compile(r"(?<![\w.,$€£])\+?\(?\d(?:[ ().-]{0,2}\d){6,14}(?!\w)")


def mask_contacts(text: str) -> str:
    """Put a mark in the place of each e-mail address, link and run of digits that may be a telephone number.

    >>> mask_contacts("Mail joe@shop.com or call 555-010-9999, see www.shop.com/deals.")
    'Mail <EMAIL> or call <PHONE>, see <URL>.'
    """
    return _PHONE.sub(_phone, _EMAIL.sub(EMAIL, _URL.sub(URL, text)))


def _phone(found: re.Match[str]) -> str:
    """Pairs of digits are sizes, such as those of strings, unless they begin as national and foreign numbers do."""
    text = found.group()
    is_number = text.startswith(("+", "0", "(")) or re.search(r"\d{3}", text)
    return PHONE if is_number else text
