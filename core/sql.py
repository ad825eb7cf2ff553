"""Texts and names as SQL: whatever comes from data or settings is quoted here, and nowhere by hand."""

from __future__ import annotations

# Of scripts that put no space between words each character is a word; of others a run of letters with their marks, and
# digits. RE2 cannot take a set from another, so spaces are put around the former first.
_CHARACTER = (
    r"[\x{0e00}-\x{0eff}\x{1000}-\x{109f}\x{1780}-\x{17ff}\x{3040}-\x{30ff}\x{3400}-\x{9fff}\x{ff70}"
    r"\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Myanmar}\p{Khmer}]"
)
_WORD = rf"{_CHARACTER}|[\p{{L}}\p{{M}}\p{{N}}]+"


def literal(text: str) -> str:
    """Text as a SQL literal."""
    return "'" + text.replace("'", "''") + "'"


def identifier(name: str) -> str:
    """A name as a SQL identifier, of whatever characters."""
    return '"' + name.replace('"', '""') + '"'


def json_pointer(name: str) -> str:
    """A key of a JSON object as the SQL literal of a path to its value.

    DuckDB's own paths (`$."key"`) read a star as any key and take no empty key; a JSON pointer names every key.
    """
    return literal("/" + name.replace("~", "~0").replace("/", "~1"))


def plain_number_sql(text: str) -> str:
    """SQL of the number that a text or another value is, null where it is none: DuckDB's own cast reads "1_000" as one.

    Args:
        text: SQL of the text, or of the value.
    """
    return f"CASE WHEN NOT contains(CAST({text} AS VARCHAR), '_') THEN TRY_CAST({text} AS DOUBLE) END"


def words_sql(text: str) -> str:
    """SQL of the list of a text's words, lower case.

    Args:
        text: SQL of the text.
    """
    parted = f"regexp_replace(lower({text}), {literal(f'({_CHARACTER})')}, ' \\1 ', 'g')"
    return f"regexp_extract_all({parted}, {literal(_WORD)})"
