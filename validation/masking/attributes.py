"""The mask over attributes: JSON text in which the values of strings change, and nothing else.

The name of an attribute tells what its value is, as a word before it does in a text: "passport_number", "Model".
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass

from core.sql import literal
from validation.masking.marks import ANY_MARK, MARKS
from validation.masking.mask import PersonalDataMask
from validation.masking.persons import NAME_KEY

_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\]:,]|[^\s{}\[\]:,"]+', re.S)
_NUMBER = re.compile(r"[+-]?[0-9]+(?:[.,][0-9]+)?(?:[eE][+-]?[0-9]+)?")
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
# Attributes that hold a name or an address of a person only where they are a person's own, or of one of these.
_OF_PERSON = re.compile(
    r"(?:.*\b)?(?:contact|billing|shipping|person|customer|address|profile|owner|user|recipient|delivery)", re.I
)
_ADDRESS_KEY = re.compile(
    r"(?!.*\b(?:ip|mac|e-?mail|web|wallet|bitcoin)\b)(?:.*\b)?"
    r"(?:street|address(?: ?line)?(?: ?\d)?|stra(?:ß|ss)e|adresse|anschrift|direcci[oó]n|domicilio"
    r"|indirizzo|rue)",
    re.I,
)
_NAMED_NUMBER = re.compile(
    r"phone|mobile|cell|\btel|fax|whatsapp|handy|telefon|movil|portable|card\b|karte|iban|account|konto|cuenta"
    r"|conto|compte|ssn|social"
    r"|national|identity|passport|pass|licen[cs]e|tax|vat|steuer|birth|\bdob\b|geb|naiss|nacim|nascita|\bdni\b"
    r"|\bnif\b|\bnie\b|insurance|nhs",
    re.I,
)
# Names of attributes, and escapes behind which any character may stand: beside what makes a text suspect.
_SUSPECT = (
    r'(?i)"[^"]*(?:name|nom|nombre|apellido|cognome|nome|street|address|stra(?:ß|ss)e|adresse|anschrift|direcci|domicilio|indirizzo|rue)'
    r'[^"]*"\s*:|\\u[0-9a-f]{4}'
)


@dataclass
class _Value:
    """A value within JSON text: where it stands, and the names that lead to it."""

    start: int
    end: int
    written: str
    names: tuple[str, ...]


def suspect_attributes_sql(value: str) -> str:
    """SQL, true where attributes may hold personal data beside what a text with the same words would."""
    return f"regexp_matches({value}, {literal(_SUSPECT)})"


def mask_attributes(text: str, mask: PersonalDataMask, *, of_person: bool) -> tuple[str, int]:
    """Attributes with their personal data replaced; what nothing is found in stays byte by byte.

    Args:
        text: JSON.
        of_person: Whether they are a user's, so that a name is a person's.
    Returns:
        The text, and what it had: bit i for the ith of `MARKS`.
    """
    pieces, done, bits = [], 0, 0
    for value in _values(text):
        masked, found = _masked(value, mask, of_person)
        if found:
            # Half a character, which UTF-8 cannot hold, stays escaped.
            written = json.dumps(masked, ensure_ascii=False).encode(errors="backslashreplace").decode()
            pieces += [text[done : value.start], written]
            done, bits = value.end, bits | found
    return "".join((*pieces, text[done:])), bits


def _masked(value: _Value, mask: PersonalDataMask, of_person: bool) -> tuple[str, int]:
    """What a value becomes, and what it had; numbers stay unless their name says that they are a person's."""
    plain = json.loads(value.written) if value.written.startswith('"') else value.written
    if not plain.strip() or ANY_MARK.fullmatch(plain):
        return plain, 0
    if plain[0] in "{[" and _is_json(plain):  # nested attributes come as text
        return mask_attributes(plain, mask, of_person=of_person)
    name = _spoken(value.names[-1]) if value.names else ""
    if _NUMBER.fullmatch(plain.strip()) and not _NAMED_NUMBER.search(name):
        return plain, 0
    if of_person and (whole := _whole(value.names, plain, mask)):
        return whole
    return _after_name(name, plain, mask)


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def _whole(names: tuple[str, ...], plain: str, mask: PersonalDataMask) -> tuple[str, int] | None:
    """A value that its name says to be a person's name or address."""
    name = _spoken(names[-1]) if names else ""
    if len(names) > 1 and not _OF_PERSON.fullmatch(_spoken(names[-2])):
        return None
    if "person" in mask.kinds and NAME_KEY.fullmatch(name) and re.search(r"[^\W\d_]", plain):
        return MARKS["person"], 1 << tuple(MARKS).index("person")
    if "address" in mask.kinds and _ADDRESS_KEY.fullmatch(name) and re.search(r"\d", plain) and "@" not in plain:
        return MARKS["address"], 1 << tuple(MARKS).index("address")
    return None


def _after_name(name: str, plain: str, mask: PersonalDataMask) -> tuple[str, int]:
    before = f"{name}: " if name else ""
    bits, found = 0, mask.find(before + plain)
    while found := [one for one in found if one.start >= len(before)]:
        for one in reversed(found):
            start, end = one.start - len(before), one.end - len(before)
            plain = plain[:start] + MARKS[one.kind] + plain[end:]
            bits |= 1 << tuple(MARKS).index(one.kind)
        found = mask.find(before + plain)
    return plain, bits


def _spoken(name: str) -> str:
    """An attribute's name as words: "passportNumber" and "passport_number" are "passport number"."""
    return _CAMEL.sub(" ", name.strip('"')).replace("_", " ").strip()


def _values(text: str) -> Iterator[_Value]:
    """Strings and numbers of JSON text, each with the names that lead to it."""
    names: list[str] = []  # of the objects that are open; an array has the name of what holds it
    opened: list[bool] = []  # whether each open bracket is an object's
    name, is_name = "", False
    for match in _TOKEN.finditer(text):
        written = match[0]
        match written:
            case "{" | "[":
                names.append(name)
                opened.append(written == "{")
                is_name = written == "{"
            case "}" | "]":
                opened.pop()
                name = names.pop()
            case ",":
                is_name = opened[-1]
                name = name if is_name or not opened else names[-1]
            case ":":
                is_name = False
            case _ if is_name and written.startswith('"'):
                name = json.loads(written)
            case _ if written not in ("true", "false", "null"):
                yield _Value(*match.span(), written, (*(one for one in names if one), *([name] if name else [])))
