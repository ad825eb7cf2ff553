"""The corpus: review sentences with a value each, and others that only look so; half of the sentences held out."""

from __future__ import annotations

import random
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from benchmarks.personal_data.values import COUNTRIES, Values

Half = Literal["seen", "held_out"]
NOTHING = "nothing"
_TEMPLATES = Path(__file__).parent / "templates"
_DISGUISED = 0.3  # share of the values that are written with characters beyond ASCII
_NBSP, _NARROW, _FIGURE = "\u00a0", "\u202f", "\u2012"
_DIGITS = {"full-width": 0xFF10, "arabic-indic": 0x0660, "devanagari": 0x0966}


@dataclass(frozen=True)
class Text:
    """A text with a value in it.

    Attributes:
        kind: Of the value; `NOTHING` where there is none.
        start, end: Where it stands.
        disguise: How it is written otherwise than in ASCII; "" where it is not.
    """

    language: str
    kind: str
    text: str
    start: int = 0
    end: int = 0
    disguise: str = ""


def build_corpus(half: Half, n_each: int, seed: int) -> list[Text]:
    """Texts of every kind in every language, in a fixed order.

    Args:
        half: Of the sentences: those seen at work on the mask, or the others.
        n_each: Texts per kind and language; of those without personal data four times as many.
    """
    texts = []
    for language in COUNTRIES:
        sentences = tomllib.loads((_TEMPLATES / f"{language}.toml").read_text(encoding="utf-8"))
        source = random.Random(f"{seed} {language} {half}")
        values = Values(language, source)
        for kind in values.kinds:
            texts += [_plant(source, language, kind, sentences, half, values) for _ in range(n_each)]
        for _ in range(4 * n_each):
            around = _around(source, sentences[NOTHING]["filler"], source.choice(sentences[NOTHING][half]))
            texts.append(Text(language, NOTHING, " ".join(around)))
    return texts


def _plant(
    source: random.Random,
    language: str,
    kind: str,
    sentences: dict[str, dict[str, list[str]]],
    half: Half,
    values: Values,
) -> Text:
    value, disguise = values.make(kind), ""
    if source.random() < _DISGUISED:
        name, written = source.choice(list(_disguises(value)) or [("", value)])
        value, disguise = written, name
    before, sentence, after = _around(source, sentences[NOTHING]["filler"], source.choice(sentences[kind][half]))
    start = len(before) + 1 + sentence.index("{}")
    return Text(
        language, kind, " ".join((before, sentence.replace("{}", value), after)), start, start + len(value), disguise
    )


def _around(source: random.Random, filler: list[str], sentence: str) -> tuple[str, str, str]:
    before, after = source.sample(filler, 2)
    return before, sentence, after


def _disguises(value: str) -> Iterator[tuple[str, str]]:
    """The value in the ways of other keyboards and of copied web pages."""
    if " " in value:
        yield "no-break space", value.replace(" ", _NBSP)
        yield "narrow no-break space", value.replace(" ", _NARROW)
    if "-" in value:
        for name, dash in (("en dash", "\u2013"), ("non-breaking hyphen", "\u2011"), ("figure dash", _FIGURE)):
            yield name, value.replace("-", dash)
    if any(char.isdigit() for char in value):
        for name, zero in _DIGITS.items():
            yield name, "".join(chr(zero + int(char)) if char.isdigit() else char for char in value)
    if len(value) > 6:
        middle = len(value) // 2
        yield "zero-width space", value[:middle] + "\u200b" + value[middle:]
    if "@" in value and "/" not in value and not value.startswith("@"):
        yield "full-width @", value.replace("@", "\uff20")
        yield "(at)", value.replace("@", " (at) ").replace(".", " (dot) ")
