"""An id in raw text, however deeply the platform's writers escape it, and whether it stands there alone.

Known are JSON (with and without `ensure_ascii`), Python's `repr`, HTML, percent-encoding and doubled quotes of CSV and
SQL, one within another. What stands beside an id is read as the character that it is written for: the `n` of `\\n` is
no letter, and `\\u00e9` is one. Where raw text can be read either way, as `C:\\nu1`, the id counts as found.
"""

from __future__ import annotations

import string
from collections.abc import Iterator, Sequence
from html import unescape
from urllib.parse import unquote

import regex

from core.languages import UNCASED

_PLAIN = frozenset(string.ascii_letters + string.digits)  # no writer escapes these
_SHORT = {"\a": "a", "\b": "b", "\f": "f", "\n": "n", "\r": "r", "\t": "t", "\v": "v"}
_NAMES = {'"': "quot", "&": "amp", "<": "lt", ">": "gt", "'": "apos"}
_MIN_CHARS, _MIN_DIGITS = 5, 8  # of an id, not to be taken for anything else
_SEEN = 64  # characters beside an id in which an escape ends
_HEX = "[0-9a-fA-F]"
# Backslashes before what JSON or `repr` escapes, which a link escapes too.
_SLASHED = r"(?:\\|%(?:25)*5[cC])"
_ESCAPE = (
    rf"(?:{_SLASHED}+(?P<code>(?:u[dD][89abAB]{_HEX}{{2}}{_SLASHED}+)?u{_HEX}{{4}}|U{_HEX}{{8}}|x{_HEX}{{2}})|{_SLASHED}+(?P<short>[abfnrtv])"
    rf"|&(?:amp;)*(?P<entity>#\d{{1,7}}|#[xX]{_HEX}{{1,6}}|[A-Za-z]\w{{1,30}});|(?P<percent>(?:%(?:25)*{_HEX}{{2}})+))"
)
_BEFORE, _BEHIND = regex.compile(rf"{_ESCAPE}\Z"), regex.compile(_ESCAPE)
_CODE = regex.compile(rf"[uUx]({_HEX}+)")
_IS_UNCASED = regex.compile(UNCASED, regex.V1)
_OF_WORD = regex.compile(r"[\p{L}\p{N}]")
_BACKSLASHES = regex.compile(rf"{_SLASHED}+")
_MARK = regex.compile(r"\p{M}")


def is_distinct(user_id: str) -> bool:
    """Whether an id is like nothing else, so that it means the person wherever it stands."""
    return len(user_id) >= (_MIN_DIGITS if user_id.isdecimal() else _MIN_CHARS)


def escaped(text: str) -> str:
    """A pattern of `regex` for a text in any escaping."""
    return "".join(map(_of_char, text))


def hints(texts: Sequence[str]) -> tuple[str, ...]:
    """Strings one of which stands wherever one of the texts does, in any escaping; an empty one stands everywhere."""
    return tuple(dict.fromkeys(hint for text in texts for hint in _hints(text)))


def alone(pattern: regex.Pattern[str], text: str, within: tuple[int, int] | None = None) -> Iterator[tuple[int, int]]:
    """Where a pattern finds what is no part of a longer word, from left to right.

    Args:
        pattern: Its group `id` is what has to stand alone.
        within: Which part of the text it has to stand in, as begin and end; anywhere without it.
    """
    first, last = within or (0, len(text))
    place = 0
    while found := pattern.search(text, place):
        start, end = found.span("id")
        if start >= first and end <= last and _begins(text, start, end) and _ends(text, start, end):
            yield start, end
            place = end
        else:
            # Behind the backslashes of an escape: within them it would begin anew.
            skipped = _BACKSLASHES.match(text, start)
            place = max(found.start() + 1, skipped.end() if skipped else 0)


def _of_char(char: str) -> str:
    if char in _PLAIN:
        return char
    number, plain = ord(char), regex.escape(char, special_only=True, literal_spaces=True)
    if char == "\\":
        ways = [rf"{_SLASHED}+"]
    elif char in "\"'":
        ways = [rf"{_SLASHED}*{plain}(?:{_SLASHED}*{plain})?"]
    elif char in "%&":
        ways = [f"{plain}(?:{'25' if char == '%' else 'amp;'})*"]
    else:
        ways = [rf"{_SLASHED}*{plain}" if char.isascii() else plain]
    units = char.encode("utf-16-be", "surrogatepass").hex()
    ways.append(r"(?i:" + "".join(rf"{_SLASHED}+u{units[at : at + 4]}" for at in range(0, len(units), 4)) + ")")
    if number > 0xFFFF or number < 0x100:
        ways.append(rf"(?i:{_SLASHED}+" + (f"U{number:08x})" if number > 0xFFFF else f"x{number:02x})"))
    ways += [rf"{_SLASHED}+{_SHORT[char]}"] if char in _SHORT else []
    name = f"|{_NAMES[char]}" if char in _NAMES else ""
    before = f"{_SLASHED}*" if char.isascii() else ""
    ways.append(rf"{before}&(?:amp;)*(?i:#0*{number}|#x0*{number:x}{name});")
    ways.append(before + "(?i:" + "".join(f"%(?:25)*{one:02x}" for one in char.encode("utf-8", "surrogatepass")) + ")")
    ways += [r"\+"] if char == " " else []
    # An entity before a sign that begins as it does: of "&amp;" the whole.
    return f"(?:{'|'.join(sorted(ways, key=lambda way: way.startswith(plain)))})"


def _hints(text: str) -> list[str]:
    runs = regex.findall("[A-Za-z0-9]+", text)
    if runs:
        return [max(runs, key=len)]
    char = next((one for one in text if not one.isascii()), "")
    if not char:
        return [""]
    last = char.encode("utf-16-be", "surrogatepass").hex()[-4:]
    first = f"{char.encode('utf-8', 'surrogatepass')[0]:02x}"
    codes = [last, f"{ord(char):x}", first]
    # Hexadecimal in either case, and no other.
    return [char, str(ord(char)), *codes, *(one.upper() for one in codes)]


def _begins(text: str, start: int, end: int) -> bool:
    first = _first(text, start, end)
    if not _OF_WORD.match(first) and not _MARK.match(first):
        return True
    while start > 0:
        char, start = _char_before(text, start)
        if not _MARK.match(char):
            return not _is_joined(first, char)
    return True


def _ends(text: str, start: int, end: int) -> bool:
    last = _last(text, start, end)
    if end >= len(text) or not last:
        return True
    found = _BEHIND.match(text, end, end + _SEEN)
    char = (_decoded(found, at=0) if found else "") or text[end]
    return not _MARK.match(char) and not _is_joined(last, char)


def _is_joined(edge: str, beside: str) -> bool:
    """Whether what stands beside a letter or digit of an id makes it a longer word.

    Next to a letter without case another one is part of the word, and a digit or a letter with case is none.
    """
    if not _OF_WORD.match(beside):
        return False
    return bool(_IS_UNCASED.match(edge)) or not _IS_UNCASED.match(beside)


def _char_before(text: str, place: int) -> tuple[str, int]:
    """The character that ends at a place, and where it is written from."""
    found = _BEFORE.search(text, max(0, place - _SEEN), place)
    if found and (char := _decoded(found, at=-1)):
        return char, found.start()
    return text[place - 1], place - 1


def _first(text: str, start: int, end: int) -> str:
    found = _BEHIND.match(text, start, end)
    return (_decoded(found, at=0) if found else "") or text[start]


def _last(text: str, start: int, end: int) -> str:
    """The last letter, digit or sign of an id, without its marks; empty for a sign, beside which anything may stand."""
    while end > start:
        char, end = _char_before(text, end)
        if not _MARK.match(char):
            return char if _OF_WORD.match(char) else ""
    return ""


def _decoded(found: regex.Match[str], at: int) -> str:
    """The character that an escape is written for; empty where it is no escape.

    Args:
        at: Which one of several of percent-encoding: 0 for the first, -1 for the last.
    """
    if found["short"]:
        return "\n"
    if code := found["code"]:
        units = [int(one, 16) for one in _CODE.findall(code)]
        if len(units) == 1:
            return chr(units[0]) if units[0] <= 0x10FFFF else ""
        pair = b"".join(unit.to_bytes(2, "big") for unit in units)
        return pair.decode("utf-16-be", "replace")[-1]
    if entity := found["entity"]:
        plain = unescape(f"&{entity};")
        return plain if len(plain) == 1 else ""
    written = regex.sub("%(?:25)+", "%", found["percent"])
    # Another character of them may be cut where the looking ends.
    char = unquote(written, errors="replace")[at]
    return "" if char == "\ufffd" else char
