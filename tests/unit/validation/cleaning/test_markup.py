"""Markup leaves texts; what people write with the same characters stays."""

from __future__ import annotations

import time

import pytest

from validation.cleaning.markup import strip_markup
from validation.cleaning.text_repair import KINDS, repair

MARKUP = 1 << KINDS.index("markup")


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("Great<br/>sound.<BR />Next", "Great sound. Next"),
        ('<p class="x">One</p><p>Two</p><ul><li>a</li><li>b</li></ul>', "One Two a b"),
        ("<P ALIGN=left>One<br clear=all>two", "One two"),
        ("<b>B</b>old and T<sup>2</sup>, <span style='a:b' id=x>quite</span>", "Bold and T2, quite"),
        ('see <a href="https://x.y/?a=1&b=2" target=_blank>this</a> one', "see this one"),
        ("&lt;b&gt;Bold&lt;/b&gt; move&lt;br&gt;now", "Bold move now"),
        ("one<!-- two --> three <![CDATA[ <i>four</i> ]]>", "one three four"),
        ("<script>if (a<b) go()</script>read<style>p {}</style>", "read"),
        ("[[VIDEOID:abc123]]Nice [[ASIN:B000123 My Guitar]] here", "Nice My Guitar here"),
        ("[b][i]both[/i][/b] [url=http://x.y]here[/url] [img]http://x/y.png[/img]", "both here"),
        ("[list][*]a[*]b[/list][quote=Jo]said[/quote]done", "a b said done"),
        ("cut in a tag <br", "cut in a tag"),
        ('cut in another <a href="http://x', "cut in another"),
    ],
)
def test_markup_leaves_a_text_and_glues_no_words(text: str, plain: str) -> None:
    got, kinds = repair(text)
    assert got == plain
    assert kinds & MARKUP
    assert not repair(got)[1] & MARKUP  # nothing is left to take out


@pytest.mark.parametrize(
    "text",
    [
        "a < b and c > d",
        "I <3 it > all",
        "x <b y and c> z",
        "if a<b>c then",
        "write to <EMAIL> or <PHONE>, <ADDRESS>, <CARD>",
        "dear <name>, your <title>",
        "-> this <- or <-> that <--",
        "under <5 and over >3",
        "[1] and [b] and a[i] = b[i]",
        "[[see below]]",
    ],
)
def test_what_only_looks_like_markup_stays(text: str) -> None:
    assert repair(text) == (text, 0)


def test_markup_stays_where_it_is_not_asked_for() -> None:
    assert repair("one<br/>two", strip=False) == ("one<br/>two", 0)


def test_the_spaces_that_markup_leaves_are_no_spacing_of_the_texts_own() -> None:
    assert repair("one <br/> two") == ("one two", MARKUP)


@pytest.mark.parametrize(
    "piece", ["<b>", "<!--", "[b]", "[[ASIN:a", "<p ", "<p a=b ", "<![CDATA[", "<script>", "[img]", "<a x=", '<p a="']
)
def test_a_text_full_of_half_a_mark_takes_no_longer(piece: str) -> None:
    closers = "</i></style>[/i][/img][/list]"
    began = time.perf_counter()
    strip_markup(piece * 100_000 + closers)
    assert time.perf_counter() - began < 10  # a search that starts anew at each piece takes hours
