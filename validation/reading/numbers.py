"""Numbers and money as people of any country write them, in SQL.

"1,299.00", "1.299,00", "1 299,00", "1'299.00" and "1,29,900" differ in shape; "12,50" has two digits after its comma,
which therefore does not part thousands, and "1.299,-" names its decimal mark. Only "1,299" and "1.299" could be both: a
comma parts thousands and a point decimals, or the other way round where the settings say `decimal_comma`; in a rating,
which is never in the thousands, both part decimals.
"""

from __future__ import annotations

import pyarrow as pa

from core import schema
from core.schema import RATING_RANGE, Column
from core.sql import literal
from validation.reading.ratings import rating_text_sql

NUMERIC = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT",
           "UHUGEINT", "FLOAT", "DOUBLE", "DECIMAL")  # fmt: skip
PLAIN = r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?"
_SPACE = r"[ \x{00a0}\x{2009}\x{202f}]"
# A currency's sign, perhaps with letters before it (US$, R$, USD $), an ISO code, or what people write in place of one.
_LATIN = r"kr|kc|k\x{010d}|z\x{0142}|ft|lei|lv|rs|rp|rm|fr|sfr|tl|din"
_CYRILLIC = r"\x{0440}|\x{0440}\x{0443}\x{0431}|\x{0433}\x{0440}\x{043d}"
_LOCAL = rf"(?i:{_LATIN}|{_CYRILLIC})\.?"
_CODE = rf"(?:[A-Za-z]{{0,3}}\.? ?\p{{Sc}}|[A-Za-z]{{3}}|{_LOCAL}|[\x{{5143}}\x{{5186}}\x{{c6d0}}])"
# More of them, which would make the pattern too large to be quick: a sign is put in their place.
_NAMES = r"euros?|dollars?|pounds?|pesos?|rupees?|francs?|yen|yuan|baht|zl|kn|bs|s/|\x{043b}\x{0432}"
_NAMED = rf"(?i)^(?:{_NAMES})\.?|(?:{_NAMES})\.?$"
_ROUND = r"((?:[.,][-\x{2013}\x{2014}]{1,2}|:-|/-)?)"  # "12,-" is twelve
_BODY = r"\d[\d.,:' \x{00a0}\x{2009}\x{202f}\x{2019}\x{00b4}`]*|[.,]\d+"
# Digits and marks of other alphabets; the last mark parts thousands.
_ELSEWHERE = ("０１２３４５６７８９，．٠١٢٣٤٥٦٧٨٩۰۱۲۳۴۵۶۷۸۹٫٬", "0123456789,.01234567890123456789.`")
_SIGN = r"([-+\x{2212}(]?)"
WRITTEN = rf"{_SIGN}{_SPACE}*(?:{_CODE}{_SPACE}*)?{_SIGN}({_BODY}?){_ROUND}{_SPACE}*(?:{_CODE})?{_SPACE}*\)?"
_AMOUNTS = r"(?i)mio|tsd|mrd|mil|bln|mln|\x{00a2}"  # "12 mio" is not twelve, and "99¢" not 99
_NEGATIVE = ("-", "\N{MINUS SIGN}", "(")


def number_sql(column: Column, value: str, type_: str, decimal_comma: bool, best: float = RATING_RANGE[1]) -> str:
    """A number in the column's type, null for "nan", "inf", "1_000", "0x10" and whatever else is none, as 1.5 is no
    whole one.

    Args:
        value: An expression: trimmed text where `type_` is VARCHAR, else the value as the source has it.
        type_: DuckDB's name of the source's type, without its size.
        best: The highest rating of the source's scale, for ratings that name one of their own: "8/10", "90 %".
    """
    if type_ in NUMERIC:
        number = f"TRY_CAST({value} AS DOUBLE)"
        read = f"CASE WHEN isfinite({number}) THEN {number} END"
    else:
        text = value if type_ == "VARCHAR" else f"CAST({value} AS VARCHAR)"
        rated = column.name in (schema.VALUE, schema.RATING)
        read = _text_number_sql(text, decimal_comma, grouped=not rated)
        read = f"coalesce({read}, {rating_text_sql(text, best)})" if rated else read
        value = text
    if column.type == pa.int64():
        return _whole_number_sql(read, value, is_text=type_ not in NUMERIC)
    return read


def _whole_number_sql(read: str, value: str, *, is_text: bool) -> str:
    """A whole number, exact also where a double is not; DuckDB's own cast reads "1_000" and "0x10", and rounds 1.5."""
    is_exact = f"regexp_full_match({value}, '[+-]?\\d+')" if is_text else f"{value} = trunc({value})"
    whole = f"list_transform([{read}], lambda n: CASE WHEN n = trunc(n) THEN TRY_CAST(n AS BIGINT) END)[1]"
    return f"CASE WHEN {is_exact} THEN TRY_CAST({value} AS BIGINT) ELSE {whole} END"


def _text_number_sql(text: str, decimal_comma: bool, grouped: bool) -> str:
    plain = f"regexp_full_match({text}, {literal(PLAIN)})"
    if decimal_comma and grouped:
        plain += rf" AND NOT regexp_full_match({text}, '[+-]?[1-9]\d{{0,2}}\.\d{{3}}')"
    number = f"TRY_CAST({text} AS DOUBLE)"
    elsewhere = f"regexp_matches({text}, {literal(f'[{_ELSEWHERE[0]}]')})"
    translated = f"translate({text}, {literal(_ELSEWHERE[0])}, {literal(_ELSEWHERE[1])})"
    here = f"CASE WHEN {elsewhere} THEN {translated} ELSE {text} END"
    here = f"[regexp_replace({here}, {literal(_NAMED)}, '\N{EURO SIGN}')]"
    parts = f"regexp_extract(w, {literal('^' + WRITTEN + '$')}, ['before', 'after', 'body', 'round'])"
    negative = " OR ".join(f"p.before = '{sign}' OR p.after = '{sign}'" for sign in _NEGATIVE)
    spaces = rf"rtrim(regexp_replace(p.body, '[{_SPACE[1:-1]}\x{{2019}}\x{{00b4}}`]', '''', 'g'), '''')"
    nothing = "CASE WHEN p.round[1] IN (',', '.') THEN p.round[1] || '0' ELSE '' END"
    body = _body_sql(f"{spaces} || {nothing}", decimal_comma, grouped)
    signed = f"list_transform([{parts}], lambda p: (CASE WHEN {negative} THEN -1 ELSE 1 END) * {body})[1]"
    # Where the text is not written so, its parts are empty, and no number.
    written = (
        f"list_transform({here}, lambda w: CASE WHEN NOT regexp_matches(w, {literal(_AMOUNTS)}) THEN {signed} END)[1]"
    )
    return f"CASE WHEN {plain} THEN CASE WHEN isfinite({number}) THEN {number} END ELSE {written} END"


def _body_sql(body: str, decimal_comma: bool, grouped: bool) -> str:
    """The digits with their points, commas and spaces (by now apostrophes) as a number, null where they fit no form."""
    comma_is_decimal = decimal_comma or not grouped
    bare = "replace(b, '''', '')"
    to_point = f"replace({bare}, ',', '.')"
    forms = [
        # groups apart by spaces or apostrophes
        (r"\d{1,3}('\d{3})+([.,]\d+)?", to_point),
        # 1,299.00 and 1,29,900.00
        (r"\d{1,3}(,\d{2,3})*,\d{3}\.\d*", "replace(b, ',', '')"),
        (r"\d{1,3}(,\d{2,3})+,\d{3}", "replace(b, ',', '')"),
        # 1.299,00 and 1.299.000
        (r"\d{1,3}(\.\d{3})+,\d+", "replace(replace(b, '.', ''), ',', '.')"),
        (r"\d{1,3}(\.\d{3}){2,}", "replace(b, '.', '')"),
        # 1,299 and 1.299
        (r"[1-9]\d{0,2},\d{3}", to_point if comma_is_decimal else "replace(b, ',', '')"),
        (r"[1-9]\d{0,2}\.\d{3}", "replace(b, '.', '')" if decimal_comma and grouped else "b"),
        (r"\d*[.,]\d+|\d+[.,]?", "rtrim(replace(b, ',', '.'), '.')"),
    ]
    if grouped:  # of a price, as in Sweden
        forms.append((r"\d+:\d{2}", "replace(b, ':', '.')"))
    cases = " ".join(f"WHEN regexp_full_match(b, {literal(form)}) THEN {digits}" for form, digits in forms)
    return f"list_transform([{body}], lambda b: TRY_CAST(CASE {cases} END AS DOUBLE))[1]"
