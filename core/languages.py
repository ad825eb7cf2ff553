"""The language of a text by its stop words: each counts for all languages that list it, less for more of them."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from functools import cache

LEAST_HITS = 2  # stop words of a text, for its language to be known
_WORDS = re.compile(r"[^\W\d_]{2,}")


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
