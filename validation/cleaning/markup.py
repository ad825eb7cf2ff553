"""Markup that leaves a text: HTML tags of known names, comments, CDATA, BBCode, and marks such as [[VIDEOID:…]].

People write "<3", "a < b and c > d" and "<EMAIL>" too, so only what is surely markup is removed: a known
tag's name, then nothing but attributes with values. What breaks a line becomes a space, so that no words are glued.
"""

from __future__ import annotations

import re

# What SQL looks for before Python is asked (RE2); texts without "<" and "[" never match.
MARKUP_SUSPECT = r"<[/!?a-zA-Z]|\[/[a-zA-Z]|\[\[[A-Za-z]"
_BLOCKS = (
    "article|aside|blockquote|body|br|button|caption|center|dd|div|dl|dt|embed|fieldset|figcaption|figure|footer|form|"
    "h[1-6]|head|header|hr|html|iframe|img|input|li|main|nav|noscript|object|ol|option|p|param|picture|pre|section|"
    "select|source|svg|table|tbody|td|textarea|tfoot|th|thead|tr|ul|video|wbr"
)
# No "address", "title" and the like: "<ADDRESS>" is a mask, "<title>" a placeholder. Letters need their closing tag.
_INLINE = "abbr|bdi|bdo|big|cite|code|dfn|em|font|ins|kbd|nobr|samp|small|span|strike|strong|sub|sup|tt"
_LETTERS = "[abiqsu]"
_VALUE = r"""(?:"[^"<>]*"|'[^'<>]*'|[^\s"'<>]+)"""
_ATTRIBUTES = rf"(?:\s+[a-zA-Z][a-zA-Z0-9:_-]*\s*=\s*{_VALUE})"
_DECLARATION = re.compile(r"<!doctype\b[^<>]*>|<\?xml\b[^<>]*>", re.I)
_UNREAD = re.compile(r"<(/?)(script|style)\b[^<>]*>", re.I)
_BLOCK = re.compile(rf"</?(?:{_BLOCKS}){_ATTRIBUTES}*\s*/?>", re.I)
_INLINE_TAG = re.compile(rf"</?(?:{_INLINE}){_ATTRIBUTES}*\s*/?>|</{_LETTERS}\s*>|<{_LETTERS}{_ATTRIBUTES}+\s*>", re.I)
_LETTER_TAG = re.compile(rf"<(/?)({_LETTERS})\s*>", re.I)
# The end of a text that was cut inside a tag.
_CUT = re.compile(rf"<br\s*/?$|<(?:{_BLOCKS}|{_INLINE}|a)\s+[a-zA-Z-]+\s*=[^<>]*$", re.I)
_MARK = re.compile(r"\[\[(?:VIDEOID|ASIN):([^\[\]]*)\]\]", re.I)
_BB_IMAGE = re.compile(r"\[(img|video|youtube)(?:=[^\[\]]*)?\][^\[\]]*\[/\1\]", re.I)
_BB_TAG = re.compile(r"\[(/?)(b|i|u|s|url|color|size|font|quote|code|center|list|spoiler|email)(?:=[^\[\]]*)?\]", re.I)
_BB_POINT = re.compile(r"\[\*\]")
_BB_BLOCKS = ("quote", "code", "center", "list")


def strip_markup(text: str) -> str:
    """A text without markup; entities are undone before. White space is left to whoever tidies the text.

    Each step is one pass, so that a text full of half a mark takes no longer than another.
    """
    if "<" in text:
        text = _between(text, "<!--", "-->", keep=False)
        text = _between(text, "<![CDATA[", "]]>", keep=True)
        text = _without_pairs(text, _UNREAD, inside=True)
        text = _DECLARATION.sub(" ", text)
        text = _without_pairs(text, _LETTER_TAG)
        text = _BLOCK.sub(" ", text)
        text = _INLINE_TAG.sub("", text)
        text = _CUT.sub(" ", text)
    if "[[" in text:  # what follows the product's or the video's number is its name
        text = _MARK.sub(lambda match: f" {match[1].strip().partition(' ')[2]} ", text)
    if "[/" in text:
        text = _BB_IMAGE.sub(" ", text)
        text = _without_pairs(text, _BB_TAG)
    return text


def _between(text: str, begin: str, end: str, *, keep: bool) -> str:
    """Take out what is marked so, marks and all or the marks alone."""
    parts = []
    at = 0
    while (start := text.find(begin, at)) >= 0 and (stop := text.find(end, start + len(begin))) >= 0:
        parts += [text[at:start], text[start + len(begin) : stop] if keep else ""]
        at = stop + len(end)
    return " ".join([*parts, text[at:]]) if parts else text


def _without_pairs(text: str, tag: re.Pattern[str], *, inside: bool = False) -> str:
    """Take out tags that have a partner, and with `inside` what they enclose.

    Args:
        tag: Its groups are the closing tag's slash and the name.
    """
    opened: dict[str, list[re.Match[str]]] = {}
    spans: list[tuple[int, int, str]] = []
    for match in tag.finditer(text):
        kind = match[2].lower()
        if not match[1]:
            opened.setdefault(kind, []).append(match)
        elif opened.get(kind):
            begin = opened[kind].pop()
            space = " " if inside or kind in _BB_BLOCKS else ""
            if inside:
                spans.append((begin.start(), match.end(), space))
            else:
                spans += [(begin.start(), begin.end(), space), (match.start(), match.end(), space)]
    if "list" in opened:
        spans += [(point.start(), point.end(), " ") for point in _BB_POINT.finditer(text)]
    parts = []
    at = 0
    for start, stop, space in sorted(spans):
        if start >= at:
            parts += [text[at:start], space]
            at = stop
    return "".join([*parts, text[at:]])
