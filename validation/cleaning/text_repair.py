"""Repair of texts: HTML entities, broken encodings, control characters, markup, spacing, personal data.

A cheap pattern in SQL says which rows need Python; all others are only trimmed.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Mapping
from typing import Literal

import duckdb

from core.sql import literal
from recommender.inputs.texts import tidy
from validation.cleaning.markup import MARKUP_SUSPECT, strip_markup
from validation.masking.attributes import mask_attributes, suspect_attributes_sql
from validation.masking.mask import PersonalDataMask

# Texts that may need repair: an entity, two characters in a row beyond ASCII (a broken encoding
# never comes alone), a control character, or white space and full stops that `tidy` would change.
SUSPECT = r"&[#a-zA-Z]|[^\x00-\x7f]{2}|[\x00-\x1f\x7f-\x{9f}]|\s\s|[^\S ]|^\s|\s$|[a-z][.!?][A-Z]|\x{feff}|\x{fffd}"
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ufeff]")
KINDS = ("html_entities", "broken_encoding", "control_characters", "spacing", "markup")
_SPACING = 1 << KINDS.index("spacing")
_STRUCT = "STRUCT(text VARCHAR, kinds INTEGER)"
# Reviews; attributes of users; descriptions and attributes of items; titles, categories and brands.
MaskedGroup = Literal["reviews", "users", "items", "titles"]


def repair(text: str, *, strip: bool = True) -> tuple[str, int]:
    """A text without entities, broken encodings, control characters, markup and odd spacing.

    Args:
        strip: Whether markup leaves the text.
    Returns:
        The text, and which of `KINDS` it had: bit i for the ith.
    """
    import ftfy

    unescaped = html.unescape(text)
    encoded = ftfy.fix_encoding(unescaped)
    controlled = _CONTROL.sub("", encoded)
    # An entity written as an entity ("&amp;#34;") counts as an entity, not as spacing; `tidy` unescapes too.
    plain = html.unescape(controlled)
    stripped = strip_markup(plain) if strip else plain
    tidied = tidy(stripped)
    entities = unescaped != text or " ".join(plain.split()) != " ".join(controlled.split())
    markup = stripped != plain
    spacing = (tidy(plain) if markup else tidied) != plain  # not the spaces that markup leaves behind
    flags = (entities, encoded != unescaped, controlled != encoded, spacing, markup)
    return tidied, sum(1 << bit for bit, flag in enumerate(flags) if flag)


def register_repairs(
    connection: duckdb.DuckDBPyConnection,
    repaired: bool,
    masks: Mapping[MaskedGroup, PersonalDataMask],
    *,
    strip: bool = True,
) -> None:
    """Give a connection a function for each group of texts (`repair_reviews`, …) and for attributes (`mask_users`, …).

    Args:
        repaired: Whether texts are repaired at all.
        masks: What takes personal data out of each group.
        strip: Whether the repair takes markup out of texts.
    """

    def repairing(mask: PersonalDataMask) -> Callable[[str, bool], dict[str, object]]:
        def words(text: str, suspect: bool) -> dict[str, object]:
            result, kinds = repair(text, strip=strip) if repaired else (text.strip(), 0)
            if suspect or kinds & ~_SPACING:  # an entity, a tag or a broken character may have hidden something
                result, masked = mask.apply(result)
                kinds |= masked << len(KINDS)
            return {"text": result or None, "kinds": kinds}

        return words

    def masking(mask: PersonalDataMask, of_person: bool) -> Callable[[str], dict[str, object]]:
        def attributes(text: str) -> dict[str, object]:
            result, masked = mask_attributes(text, mask, of_person=of_person)
            return {"text": result, "kinds": masked}

        return attributes

    for group, mask in masks.items():
        connection.create_function(f"repair_{group}", repairing(mask), ["VARCHAR", "BOOLEAN"], _STRUCT)
    for group in ("users", "items"):
        connection.create_function(f"mask_{group}", masking(masks[group], group == "users"), ["VARCHAR"], _STRUCT)


def repaired_words_sql(value: str, group: MaskedGroup, mask: PersonalDataMask, *, repaired: bool) -> str:
    """A struct of the repaired and masked text (null where blank) and the kinds of repair, for a column of words."""
    plain = f"{{'text': nullif(trim({value}), ''), 'kinds': 0}}"
    cases = [f"WHEN {mask.suspect_sql(value)} THEN repair_{group}({value}, true)"] if mask.kinds else []
    if repaired:
        needed = f"regexp_matches({value}, {literal(f'{SUSPECT}|{MARKUP_SUSPECT}')})"
        cases.append(f"WHEN {needed} THEN repair_{group}({value}, false)")
    return f"CASE {' '.join(cases)} ELSE {plain} END" if cases else plain


def masked_attributes_sql(group: MaskedGroup, mask: PersonalDataMask) -> str:
    """A struct of the masked attributes, JSON text, and the kinds of personal data that they had."""
    plain = "{'text': attributes, 'kinds': 0}"
    if not mask.kinds:
        return plain
    suspect = f"({mask.suspect_sql('attributes')} OR {suspect_attributes_sql('attributes')})"
    return f"CASE WHEN attributes <> '' AND {suspect} THEN mask_{group}(attributes) ELSE {plain} END"
