"""Ratings that are no bare number, in SQL: "4 out of 5", "8/10", "90 %", "4.5 stars", "★★★★☆", "3½"."""

from __future__ import annotations

from core.sql import literal

_NUMBER = r"(\d{1,3}(?:[.,]\d+)?)"
_STARS = r"(?i:\s*(?:stars?|sterne?|\x{00e9}toiles?|estrellas?|stelle|sterren|estrelas?|\x{2605}|\x{2b50})\x{fe0f}?)"
_OF = r"(?i:\s*(?:/|out\s+of|of|von|sur|de|su|van)\s*)"
_OF_A_SCALE = rf"{_NUMBER}{_STARS}?{_OF}(\d{{1,3}}){_STARS}?"
_PERCENT = rf"{_NUMBER}\s*%"
_WITH_STARS = rf"{_NUMBER}{_STARS}"
_DRAWN = r"((?:[\x{2605}\x{2b50}]\x{fe0f}?)+|\*{1,5})([\x{00bd}]?)(\x{2606}*)"
_HALF = r"(\d{1,2})\s*\x{00bd}"


def rating_text_sql(text: str, best: float) -> str:
    """A rating, null where the text is none of these forms.

    Args:
        text: An expression: trimmed text.
        best: The highest rating of the source's scale: "8/10" is four of five, and eight of ten.
    """

    def group(form: str, number: int) -> str:
        return f"regexp_extract({text}, {literal(f'^{form}$')}, {number})"

    def number(form: str, place: int = 1) -> str:
        return f"TRY_CAST(replace({group(form, place)}, ',', '.') AS DOUBLE)"

    full = f"length(regexp_replace({group(_DRAWN, 1)}, '\\x{{fe0f}}', '', 'g'))"
    half, empty = f"length({group(_DRAWN, 2)})", f"length({group(_DRAWN, 3)})"
    drawn = f"({full} + {half} * 0.5)"
    # Empty stars say how many there could be, as "out of five" does; without them a star is a point.
    scaled = f"{drawn} * {best!r} / ({full} + {half} + {empty})"
    values = {
        _WITH_STARS: number(_WITH_STARS),
        _OF_A_SCALE: f"{number(_OF_A_SCALE)} * {best!r} / nullif({number(_OF_A_SCALE, 2)}, 0)",
        _PERCENT: f"{number(_PERCENT)} * {best!r} / 100",
        _DRAWN: f"CASE WHEN {empty} > 0 THEN {scaled} ELSE {drawn} END",
        _HALF: f"{number(_HALF)} + 0.5",
    }
    cases = " ".join(f"WHEN regexp_full_match({text}, {literal(form)}) THEN {value}" for form, value in values.items())
    return f"CASE {cases} END"
