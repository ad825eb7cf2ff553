"""The language of a text by its stop words, and where words end in scripts of any kind.

A stop word counts for all languages that list it, less for more of them. Letters without case are those of all scripts
but Latin, Greek, Cyrillic and the few others with capitals: next to them, words in Latin letters, numbers and addresses
stand without a space.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from functools import cache

LEAST_HITS = 2  # stop words of a text, for its language to be known
_WORDS = re.compile(r"[^\W\d_]{2,}")
# Patterns of `regex`, version 1: a letter without case; a letter with case, or a digit.
UNCASED = r"[[\p{Lo}\p{Lm}\p{Nl}]--[\p{Latin}\p{Greek}\p{Cyrillic}\p{scx=Common}\u02b0-\u02ff]]"
CASED = rf"[[\p{{L}}\p{{N}}]--{UNCASED}]"
# Whatever is none of these has neither a letter without case nor a mark of its own.
_BEYOND_LATIN = re.compile(
    "[\u0300-\u036f\u0483-\u0489\u0559\u0590-\u1fff\u2d30-\u2dff\u2e80-\ud7ff\uf900-\ufdff\ufe20-\uffdc"
    "\U00010000-\U0001cfff\U0001e000-\U0001efff\U00020000-\U000dffff]"
)


def goes_beyond_latin(text: str) -> bool:
    """Whether a text may have letters without case, or marks that stand behind their letters.

    >>> goes_beyond_latin("“Déjà vu” 😀"), goes_beyond_latin("很好"), goes_beyond_latin("e\u0301")
    (False, True, True)
    """
    return not text.isascii() and _BEYOND_LATIN.search(text) is not None


@cache
def stop_words() -> tuple[tuple[str, str, float], ...]:
    """Word, language by its English name, and one over the number of languages that list the word."""
    from stop_words import AVAILABLE_LANGUAGES, get_stop_words

    listed = {(word.lower(), language) for language in AVAILABLE_LANGUAGES for word in get_stop_words(language)}
    n_languages = Counter(word for word, _ in listed)
    return tuple((word, language, 1 / n_languages[word]) for word, language in sorted(listed))


def language_of(text: str) -> str | None:
    """The language whose stop words weigh most in a text; None where too few of any stand in it.

    >>> language_of("I liked what happens in it"), language_of("Es un producto muy bueno"), language_of("Lamp 5")
    ('english', 'spanish', None)
    """
    found: defaultdict[str, list[float]] = defaultdict(list)
    for word in _WORDS.findall(text.lower()):
        for language, weight in _by_word().get(word, ()):
            found[language].append(weight)
    known = [(sum(weights), language) for language, weights in found.items() if len(weights) >= LEAST_HITS]
    return max(known)[1] if known else None


@cache
def _by_word() -> dict[str, list[tuple[str, float]]]:
    listed: defaultdict[str, list[tuple[str, float]]] = defaultdict(list)
    for word, language, weight in stop_words():
        listed[word].append((language, weight))
    return dict(listed)
