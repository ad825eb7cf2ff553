"""Lists in cells: JSON (["a", "b"]), Python's and numpy's own text of one (['a', 'b']); of categories, whose words have
no brackets of their own, also sets and PostgreSQL's {a,b}.
"""

from __future__ import annotations

from core.sql import literal

PATH_JOIN = " > "
_QUOTED = r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\""""
_PYTHON = r"""\[\[?\s*['"](?s:.*)['"]\s*\]?\]"""
_BRACKETED = r"""[\[({](?s:.*)[\])}]"""


def list_text_sql(expression: str, join: str = ", ") -> str:
    """Words in a field that holds text, or the text of a list, whose parts are joined."""
    parts = f"list_filter({_parts_sql(expression)}, lambda part: part <> '')"
    return f"CASE WHEN {_is_list_sql(expression)} THEN array_to_string({parts}, {literal(join)}) ELSE {expression} END"


def list_path_sql(expression: str, plain: str) -> str:
    """A category in a field that holds text, or the text of a list (of lists, of which the first is taken).

    Args:
        plain: What a text that is no list reads as.
    """
    first = f"""CASE WHEN json_type({expression}, '$[0]') = 'ARRAY' THEN json_extract({expression}, '$[0]')
        ELSE CAST({expression} AS JSON) END"""
    json = f"""from_json({first}, '["VARCHAR"]')"""
    inner = rf"coalesce(nullif(regexp_extract({expression}, '[\[(]\s*[\[(]([^\])]*)[\])]', 1), ''), {expression})"
    words = f"string_split(trim({inner}, '[](){{}} '), ',')"
    words = f"list_transform({words}, lambda word: trim(word, ' ''\"'))"
    quoted = _quoted_sql(inner)
    cells = f"CASE WHEN len({quoted}) > 0 THEN {quoted} ELSE {words} END"
    return f"""CASE WHEN {_is_json_sql(expression)} THEN nullif({_joined(json)}, '')
        WHEN regexp_full_match({expression}, {literal(_BRACKETED)}) THEN nullif({_joined(cells)}, '') ELSE {plain}
        END"""


def _joined(parts: str) -> str:
    return f"array_to_string(list_filter({parts}, lambda part: part <> ''), '{PATH_JOIN}')"


def _is_list_sql(expression: str) -> str:
    """A title may begin and end with a bracket: only quoted words are a list."""
    bracket = f"starts_with({expression}, '[')"
    return f"({bracket} AND (json_valid({expression}) OR regexp_full_match({expression}, {literal(_PYTHON)})))"


def _is_json_sql(expression: str) -> str:
    return f"(starts_with({expression}, '[') AND json_valid({expression}))"


def _parts_sql(expression: str) -> str:
    return f"""CASE WHEN json_valid({expression}) THEN from_json({expression}, '["VARCHAR"]')
        ELSE {_quoted_sql(expression)} END"""


def _quoted_sql(expression: str) -> str:
    """The quoted parts of Python's text of a list, without their quotes and backslashes."""
    found = f"regexp_extract_all({expression}, {literal(_QUOTED)})"
    bare = r"""regexp_replace(part[2:-2], '\\([''"\\])', '\1', 'g')"""
    return f"list_transform({found}, lambda part: {bare})"
