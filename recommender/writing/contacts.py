"""Contacts in texts: the data gate masks those of reviews, but pretraining had others."""

from __future__ import annotations

import re

import regex

from core.languages import CASED, UNCASED, goes_beyond_latin
from core.words.telephones import JOINED_BEFORE, JOINED_BEHIND, is_date, is_quantity, names_telephone
from recommender.metrics.texts import pieces

# The marks of the data gate, which training texts have in the same places.
EMAIL, URL, PHONE = "<EMAIL>", "<URL>", "<PHONE>"
# Also one whose end was cut off.
_EMAIL = re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)*")
# A link ends before what no URL has: white space, quotation marks, < and >, signs beyond ASCII.
_OF_URL = r"[!#-;=?-~\w]"
_URL = re.compile(rf"(?:https?://|www\.){_OF_URL}*[\w/]", re.IGNORECASE)
_DIGITS = r"\+?\(?\d(?:[ ().-]{0,2}\d){6,14}"
_JOINED = "|".join(rf"(?<=\b{word})" for word in JOINED_BEFORE)
_ITS_NAME = rf"(?=(?:{'|'.join(JOINED_BEHIND)})(?![a-z]))"
_PHONE = re.compile(rf"(?=[+(]|\d)(?:(?<![\w.,$€£])|{_JOINED}){_DIGITS}(?:(?!\w)|{_ITS_NAME})", re.IGNORECASE)
# The same in texts of any script: letters without case beside an address of others, or beside a number, are no part of
# it, and a mark belongs to its letter.
_SIGNS = rf"[[\w.+-]--{UNCASED}]"
_ANY_EMAIL = regex.compile(
    rf"(?:{_SIGNS}|{UNCASED}\p{{M}}*+(?![A-Za-z0-9]))+@"
    rf"(?:[[\w-]--{UNCASED}]|(?<![A-Za-z0-9]){UNCASED}\p{{M}}*+)+"
    rf"(?:\.(?:[[\w-]--{UNCASED}]|(?<![A-Za-z0-9]){UNCASED}\p{{M}}*+)+)*",
    regex.V1,
)
# Text without spaces goes on behind a link. Where its host is of ASCII, letters without case are none of it (RFC 3986),
# but for names between the signs that part a path or a query; where it is not, all its letters are (RFC 3987), but for
# those that begin right behind a letter or digit of ASCII.
# In full width stand signs that no sentence has.
_CASED_OF_URL = rf"(?:[!#-;=?-~＃-＆＋－-／＝＠＿]|？(?=[\w-]+[=＝])|{CASED}\p{{M}}*+)"
_PART = rf"(?<=[/?#&=_~.-])(?:{UNCASED}\p{{M}}*+)++(?=[/?#&=_~.%-]+[A-Za-z0-9])"
_OWN = rf"(?<![A-Za-z0-9]){UNCASED}\p{{M}}*+(?:{UNCASED}\p{{M}}*+)*+"
_ANY_URL = regex.compile(
    rf"(?:https?://|www\.)(?:(?=[A-Za-z0-9.:@-]*{_OWN})(?:{_CASED_OF_URL}|{_OWN})*|(?:{_CASED_OF_URL}|{_PART})*)(?<=[\w/])",
    regex.V1 | regex.IGNORECASE,
)
_ANY_PHONE = regex.compile(
    rf"(?=[+(]|\d)(?:(?<!{CASED}\p{{M}}*|[_.,$€£])|(?<=(?<!{CASED})(?:{'|'.join(JOINED_BEFORE)}))){_DIGITS}"
    rf"(?:(?!{CASED}|_)|{_ITS_NAME})",
    regex.V1 | regex.IGNORECASE,
)
_NATIONAL_DIGITS = 9  # of a number of a country, at least
# From one year to another, and thousands in groups, of which no three stand first: those may be a number.
_YEAR = r"(?:19|20)\d\d"
_NUMBERS = re.compile(rf"{_YEAR} ?- ?{_YEAR}|[1-9]\d?(?:\.\d{{3}})+")
# What says before a number that it is one to call even where it has the form of an amount, with a few short words
# between them. "Number" alone does too: a written text has numbers of no orders.
_CALLED = re.compile(
    r"\b(?:call(?:ed)?|dial(?:led)?|(?:tele)?phone|tel|text(?:ed)?|sms|whatsapp|mobile|cell|fax|contact"
    r"|(?:ring|rang|reach)(?=\W{1,3}(?:me|us|him|her|my|our)\b)|number|(?:his|her|its|my|our|their|your) no)"
    r"(?:\W{1,3}(?:at|by|him|her|is|it|me|my|no|nr|number|on|our|phone|the|them|under|us|via|was|your)\b){0,4}\W{0,3}\Z",
    re.IGNORECASE,
)
_NEAR = 60  # characters before a number in which it is said
# What may be part of a contact. What stands beside its ends is part of none, whatever follows.
_PERHAPS = re.compile(r"(?:https?://|www\.)\S+|\d(?:[ ().-]{0,2}\d)+", re.IGNORECASE)


def mask_contacts(text: str) -> str:
    """Put a mark in the place of each e-mail address, link and run of digits that may be a telephone number.

    >>> mask_contacts("Mail joe@shop.com or call 555-010-9999, see www.shop.com/deals.")
    'Mail <EMAIL> or call <PHONE>, see <URL>.'
    """
    if goes_beyond_latin(text):
        return _ANY_PHONE.sub(_phone, _ANY_EMAIL.sub(EMAIL, _ANY_URL.sub(URL, text)))
    return _PHONE.sub(_phone, _EMAIL.sub(EMAIL, _URL.sub(URL, text)))


def settled(text: str) -> str:
    """The sentences of a text that is still written that nothing can change any more: all but the last one, and but
    those that share what may become a contact with it.

    >>> settled("It is good. Call 555. 010"), settled("It is good. Call me. 010")
    ('It is good.', 'It is good. Call me.')
    """
    text = text.strip()
    perhaps = [found.span() for found in _PERHAPS.finditer(text)]
    end = len(text)
    for piece in reversed(pieces(text)):
        end -= len(piece)
        next_at = end + len(piece) - len(piece.lstrip())
        if not any(first < next_at < last for first, last in perhaps):
            break
    return text[:end]


def _phone(found: re.Match[str] | regex.Match[str]) -> str:
    """Not every run of digits is a number to call: see `_NUMBERS` and the comments."""
    text, span = found.group(), found.span()
    if is_date(text) or is_quantity(found.string, *span):
        return text
    is_called = names_telephone(found.string, *span) or _CALLED.search(found.string, max(0, span[0] - _NEAR), span[0])
    if _NUMBERS.fullmatch(text) and not is_called:
        return text
    if is_called or text.startswith(("+", "0", "(")):
        return PHONE
    # Pairs of digits are sizes, such as those of strings; short runs without any separator are counts and part numbers.
    is_number = re.search(r"\d{3}", text) and (not text.isdigit() or len(text) >= _NATIONAL_DIGITS)
    return PHONE if is_number else text
