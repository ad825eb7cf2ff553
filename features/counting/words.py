"""A user's own words: those that recur in their reviews."""

from __future__ import annotations

import heapq
import unicodedata
from collections import Counter
from functools import cache

import regex

from recommender.inputs.texts import tidy

# Letters with their marks and with what joins or parts letters within a word. Scripts that put no space between words
# give what stands between spaces and signs: one character would be typical of nobody.
_WORD = regex.compile(r"\p{L}[\p{L}\p{M}]*+(?:[\u200c\u200d]++[\p{L}\p{M}]++)*+")
MIN_CHARS = 3


@cache
def stop_words() -> frozenset[str]:
    """Words that are not typical of a writer: the union over the languages of the package stop-words, lower case.

    One list for all languages, because reviews do not say theirs and one shop may have several.
    """
    from stop_words import AVAILABLE_LANGUAGES, get_stop_words

    return frozenset(
        unicodedata.normalize("NFC", word).lower()
        for language in AVAILABLE_LANGUAGES
        for word in get_stop_words(language)
    )


def words_of(text: str) -> set[str]:
    """The distinct words of a text, lower case, of three letters and marks at least, without stop words.

    >>> sorted(words_of("The guitar, गिटार"))
    ['guitar', 'गिटार']
    """
    found = _WORD.findall(unicodedata.normalize("NFC", tidy(text).lower()))
    return {word for word in found if len(word) >= MIN_CHARS} - stop_words()


class OwnWords:
    """Finds a user's own words in their reviews: those in at least two of the reviews, most frequent first.

    Reviews of others do not count, so a new review changes the words of its writer only. The order in which reviews are
    read does not matter; equally frequent words are in alphabetical order.
    """

    def __init__(self, n_words: int) -> None:
        self.n_words = n_words
        self._counts: Counter[str] = Counter()
        self._repeated: set[str] = set()

    def read(self, text: str) -> None:
        """Add a review."""
        words = words_of(text)
        self._repeated.update(word for word in words if word in self._counts)
        self._counts.update(words)

    def words(self) -> str:
        """The words, joined by commas; "" without any."""
        own = heapq.nsmallest(self.n_words, self._repeated, key=lambda word: (-self._counts[word], word))
        return ", ".join(own)
