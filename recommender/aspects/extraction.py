"""Aspects of texts: what is spoken of, the word that judges it, and whether that is praise or blame.

Deterministic and offline. Precision goes before recall: what is not clearly an opinion of a side of the item is left
out, and so are texts in another language than the one that is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Literal

from recommender.aspects.aspect import Aspect
from recommender.inputs.texts import tidy

Language = Literal["en", "none"]


def extract_aspects(texts: Iterable[str], language: Language = "en") -> list[list[Aspect]]:
    """The aspects of each text, in the order in which they are spoken of, each (term, opinion) once.

    Args:
        texts: Reviews, in any language and script.
        language: What is read; of a text in another language nothing comes out. none: nothing is read at all.
    """
    read = _readers()[language]
    return [list(dict.fromkeys(read(text))) for text in texts]


def is_read(text: str, language: Language = "en") -> bool:
    """Whether a text is one that `extract_aspects` reads: in that language, or too short to tell."""
    from recommender.aspects.english import is_english

    return language == "en" and is_english(tidy(text))


def _readers() -> Mapping[Language, Callable[[str], list[Aspect]]]:
    """By language, what reads one text. Another one is added here."""
    from recommender.aspects.english import read_english

    return {"en": read_english, "none": lambda _: []}
