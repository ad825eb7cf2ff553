"""Repair of texts: HTML entities, broken encodings, control characters, markup, spacing, personal data.

A cheap pattern in SQL says which rows need Python; all others are only trimmed.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Collection

import duckdb

from core.sql import literal
from recommender.inputs.texts import tidy
from validation.cleaning.markup import MARKUP_SUSPECT, strip_markup
from validation.cleaning.personal_data import PersonalDataMask, suspect_pattern

# Texts that may need repair: an entity, two characters in a row beyond ASCII (a broken encoding
# never comes alone), a control character, or white space and full stops that `tidy` would change.
SUSPECT = r"&[#a-zA-Z]|[^\x00-\x7f]{2}|[\x00-\x1f\x7f-\x{9f}]|\s\s|[^\S ]|^\s|\s$|[a-z][.!?][A-Z]|\x{feff}|\x{fffd}"
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ufeff]")
KINDS = ("html_entities", "broken_encoding", "control_characters", "spacing", "markup")


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
    connection: duckdb.DuckDBPyConnection, repaired: bool, mask: PersonalDataMask | None, *, strip: bool = True
) -> None:
    """Give a connection the functions `repair_words` (titles and the like) and `repair_review` (masked as well).

    Args:
        repaired: Whether texts are repaired at all.
        strip: Whether the repair takes markup out of them.
        mask: Takes personal data out of reviews; None: nothing is masked.
    """

    def words(text: str) -> dict[str, object]:
        result, kinds = repair(text, strip=strip) if repaired else (text.strip(), 0)
        return {"text": result or None, "kinds": kinds}

    def review(text: str) -> dict[str, object]:
        result, kinds = repair(text, strip=strip) if repaired else (text.strip(), 0)
        if mask is not None:
            result, masked = mask.apply(result)
            kinds |= masked << len(KINDS)
        return {"text": result or None, "kinds": kinds}

    struct = "STRUCT(text VARCHAR, kinds INTEGER)"
    functions: dict[str, Callable[[str], dict[str, object]]] = {"repair_words": words, "repair_review": review}
    for name, function in functions.items():
        connection.create_function(name, function, ["VARCHAR"], struct)


def repaired_words_sql(value: str, *, review: bool, repaired: bool, masked: Collection[str]) -> str:
    """A struct of the repaired text (null where blank) and the kinds of repair, for a column of words."""
    patterns = [f"{SUSPECT}|{MARKUP_SUSPECT}"] if repaired else []
    patterns += [suspect_pattern(kind) for kind in sorted(masked)] if review else []
    plain = f"{{'text': nullif(trim({value}), ''), 'kinds': 0}}"
    if not patterns:
        return plain
    function = "repair_review" if review else "repair_words"
    needed = " OR ".join(f"regexp_matches({value}, {literal(pattern)})" for pattern in patterns)
    return f"CASE WHEN {needed} THEN {function}({value}) ELSE {plain} END"
