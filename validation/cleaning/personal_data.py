"""Personal data in reviews, found by Presidio's pattern recognizers (no language model) and replaced by marks.

Numbers in reviews are mostly prices, years and model numbers, so a telephone number has to look like one: written with
a country code, with separators, or whole in ten digits or more, and not named as a part or order number.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cached_property
from typing import Any

from core.settings.validation import PersonalData

MARKS: dict[PersonalData, str] = {"email": "<EMAIL>", "card": "<CARD>", "phone": "<PHONE>", "address": "<ADDRESS>"}
_STREETS = (
    "street|st|avenue|ave|road|rd|boulevard|blvd|lane|ln|drive|dr|court|ct|square|sq|highway|hwy|parkway|pkwy|terrace"
)
_ADDRESS = (
    rf"\b(?-i:[0-9]{{1,5}}[A-Za-z]?,?(?:\s+(?:[NSEW]\.?|[A-Z][a-z'.-]+|[0-9]{{1,3}}(?:st|nd|rd|th))){{1,4}})"
    rf"\s+(?:{_STREETS})\b\.?(?:,?\s+(?:apt|apartment|suite|unit|flat|#)\.?\s*[0-9A-Za-z-]{{1,6}}\b)?"
)
# What SQL looks for before Python is asked; each lets through more than the recognizer behind it takes.
_SUSPECT: dict[PersonalData, str] = {
    "email": "@",
    "phone": r"[0-9][0-9 ().+/\-]{5,}[0-9]",
    "card": r"[0-9][0-9 \-]{10,}[0-9]",
    "address": rf"(?i)[0-9][A-Za-z]?,?\s[^\n]{{1,60}}\s({_STREETS})\b",
}
_NO_TELEPHONE = re.compile(
    r"(?:model|serial|part|item|order|isbn|asin|sku|upc|version|no|nr|number|#|[$€£₹])[\s.:#-]*$", re.I
)
_TELEPHONE_WORD = re.compile(r"(?:phone|call|cell|mobile|tel|text|contact|fax|whatsapp)\W+(?:\w+\W+){0,3}$", re.I)
_AMOUNTS = re.compile(r"\d{1,4}(?:[.,]\d{2,3})+(?:\s+\d{1,4}(?:[.,]\d{2,3})+)*")
_YEARS = re.compile(r"(?:(?:19|20)\d\d\D*)+")
_DATE = re.compile(r"\d{1,4}[-/. ]\d{1,2}[-/. ]\d{1,4}(?:\D.*)?")


def suspect_pattern(kind: str) -> str:
    """A pattern (RE2) that every text with such data matches; most texts without do not."""
    return next(pattern for name, pattern in _SUSPECT.items() if name == kind)


class PersonalDataMask:
    """Replaces personal data by marks.

    Args:
        kinds: What is replaced.
        regions: Whose telephone numbers are known without a country code.
    """

    def __init__(self, kinds: Sequence[PersonalData], regions: Sequence[str]) -> None:
        self.kinds = tuple(kind for kind in MARKS if kind in kinds)
        self.regions = tuple(regions)

    @cached_property
    def _recognizers(self) -> dict[PersonalData, Any]:
        """Made when the first suspicious text comes: Presidio takes seconds to import."""
        import tldextract
        from presidio_analyzer import Pattern, PatternRecognizer
        from presidio_analyzer.predefined_recognizers import CreditCardRecognizer, EmailRecognizer, PhoneRecognizer

        # The list of top-level domains that comes with the package: nothing is fetched.
        domains = tldextract.TLDExtract(suffix_list_urls=(), cache_dir=None)

        class OfflineEmailRecognizer(EmailRecognizer):
            def validate_result(self, pattern_text: str) -> bool:
                return bool(domains(pattern_text).fqdn)

        makers: dict[PersonalData, Any] = {
            "email": OfflineEmailRecognizer,
            "card": CreditCardRecognizer,
            "phone": lambda: PhoneRecognizer(supported_regions=self.regions),
            "address": lambda: PatternRecognizer(
                supported_entity="STREET_ADDRESS", patterns=[Pattern("street address", _ADDRESS, 0.6)]
            ),
        }
        return {kind: makers[kind]() for kind in self.kinds}

    def apply(self, text: str) -> tuple[str, int]:
        """A text with its personal data replaced.

        Returns:
            The text, and what it had: bit i for the ith of `MARKS`.
        """
        found = 0
        for bit, kind in enumerate(MARKS):
            if kind not in self.kinds or not re.search(_SUSPECT[kind], text):
                continue
            spans = self._find(kind, text)
            for start, end in reversed(spans):
                text = text[:start] + MARKS[kind] + text[end:]
            found |= (1 << bit) if spans else 0
        return text, found

    def _find(self, kind: PersonalData, text: str) -> list[tuple[int, int]]:
        """Spans from left to right, none inside another."""
        recognizer = self._recognizers[kind]
        results = recognizer.analyze(text, recognizer.supported_entities, None) or []
        spans = sorted({(one.start, one.end) for one in results if one.score > 0})
        if kind == "phone":
            spans = [(start, end) for start, end in spans if _is_telephone(text, start, end)]
        kept: list[tuple[int, int]] = []
        for start, end in spans:
            if kept and start < kept[-1][1]:
                kept[-1] = (kept[-1][0], max(end, kept[-1][1]))
            else:
                kept.append((start, end))
        return kept


def _is_telephone(text: str, start: int, end: int) -> bool:
    """Whether a number that could be dialled is a telephone number."""
    number, before = text[start:end], text[max(0, start - 40) : start]
    digits = sum(char.isdigit() for char in number)
    if _TELEPHONE_WORD.search(before):
        return digits >= 7
    if _NO_TELEPHONE.search(before) or re.search(r"[\w-]$", before) or re.match(r"[\w-]", text[end:]):
        return False
    if number.startswith("+"):
        return digits >= 8
    if _AMOUNTS.fullmatch(number) or _YEARS.fullmatch(number) or (_DATE.fullmatch(number) and digits <= 8):
        return False
    return digits >= 10
