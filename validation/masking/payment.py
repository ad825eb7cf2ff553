"""How a person pays: cards, bank accounts, wallets of cryptocurrency."""

from __future__ import annotations

import re

from validation.masking.contextual import Contextual
from validation.masking.marks import Span
from validation.masking.normalisation import Normalised
from validation.masking.presidio import analyze

_MIN_CARD_DIGITS = 14  # with 13 it is rather an EAN
_CARD_WORD = re.compile(r"(?:card|karte|carte|tarjeta|carta|visa|mastercard|amex)\W+(?:\w+\W+){0,3}$", re.I)
_NO_CARD = re.compile(
    r"(?:isbn|ean|upc|gtin|imei|serial\w*|order|tracking|bestell\w*|commande|pedido|ordine)\b[\s.:#-]*(?:\w+\W+)?$",
    re.I,
)
# Whatever has none of these is none, and Presidio is not asked.
_LIKE_CARD = re.compile(r"\d(?:[ -]?\d){12}")
_LIKE_BITCOIN = re.compile(r"(?:bc1|[13])[a-zA-HJ-NP-Z0-9]{25}")
_IBAN = re.compile(r"[A-Za-z]{2}\d{2}")
# Presidio's pattern is older than these cards.
_MASTERCARD_2 = re.compile(r"(?<![\d.-])2[2-7]\d{2}([ -]?)\d{4}\1\d{4}\1\d{4}(?![\d.-]?\d)")
_ETHEREUM = re.compile(r"(?<![A-Za-z0-9])0x[0-9a-fA-F]{40}(?![A-Za-z0-9])")

_ACCOUNT_WORDS = (
    "account", "bank account", "checking", "savings", "acct", "a/c", "routing", "sort code", "konto", "kto",
    "bankleitzahl", "blz", "numéro de compte", "numero de compte", "compte", "rib", "número de cuenta",
    "numero de cuenta", "cuenta", "ccc", "numero di conto", "conto", "c/c", "iban",
)  # fmt: skip
ACCOUNTS = Contextual(
    _ACCOUNT_WORDS,
    "(?:bank |checking |savings )?account(?: number| no| nr| #)?|acct|a/c|routing(?: number)?|sort code"
    "|konto(?:nummer|nr|verbindung)?"
    "|kto|bankleitzahl|blz|num[ée]ro de compte|compte(?: bancaire)?|rib|(?:n[uú]mero de )?cuenta(?: bancaria"
    "| corriente)?|ccc"
    "|(?:numero di )?conto(?: corrente| bancario)?|c/c|iban",
)


def has_luhn(number: str) -> bool:
    """Whether the check digit is right that cards and many other numbers end with."""
    digits = [int(char) for char in number if char.isdigit()]
    return sum(sum(divmod(2 * one, 10)) if place % 2 else one for place, one in enumerate(reversed(digits))) % 10 == 0


def find_cards(plain: Normalised) -> list[Span]:
    """Numbers of payment cards, by their check digit."""
    text = plain.text
    if not _LIKE_CARD.search(text):
        return []
    found = [(one.start, one.end) for one in analyze("CreditCardRecognizer", text)]
    found += [match.span() for match in _MASTERCARD_2.finditer(text) if has_luhn(match[0])]
    spans = []
    for start, end in found:
        before = text[max(0, start - 40) : start]
        digits = sum(char.isdigit() for char in text[start:end])
        if _NO_CARD.search(before) or re.search(r"\d[ .-]?$", before) or re.match(r"[ .-]?\d", text[end:]):
            continue
        if digits >= _MIN_CARD_DIGITS or _CARD_WORD.search(before):
            spans.append((start, end))
    return spans


def find_ibans(plain: Normalised) -> list[Span]:
    """International bank account numbers, by their check digits."""
    if not _IBAN.search(plain.text):
        return []
    return [(one.start, one.end) for one in analyze("IbanRecognizer", plain.text)]


def find_wallets(plain: Normalised) -> list[Span]:
    """Addresses of Bitcoin, by their checksum, and of Ethereum."""
    found = analyze("CryptoRecognizer", plain.text) if _LIKE_BITCOIN.search(plain.text) else []
    return [(one.start, one.end) for one in found] + [match.span() for match in _ETHEREUM.finditer(plain.text)]
