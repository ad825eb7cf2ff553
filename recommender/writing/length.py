"""How long a text may be: in tokens while it is written, then in whole sentences and in words."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from recommender.inputs.texts import Strategy, TextStyle, count_words, first_words
from recommender.metrics.texts import pieces
from recommender.writing.decoding import Decoding

# Sentences (None: any number) and tokens of each style, at most.
_STYLES: dict[TextStyle, tuple[int | None, int]] = {
    "short": (1, 60),
    "medium": (None, Decoding.max_new_tokens),
    "long": (None, 160),
}
_TOKENS_PER_WORD, _TOKENS_AT_LEAST = 4, 16


@dataclass(frozen=True)
class Length:
    """The most that a text may have.

    Attributes:
        tokens: While it is written.
        sentences: None for any number.
        words: None for any number.
    """

    tokens: int = Decoding.max_new_tokens
    sentences: int | None = None
    words: int | None = None

    @classmethod
    def of(cls, style: TextStyle, max_words: int | None) -> Length:
        """As a request asks for it; fewer words are written in fewer tokens.

        >>> Length.of("short", 10)
        Length(tokens=56, sentences=1, words=10)
        """
        most, tokens = _STYLES[style]
        if max_words is not None:
            tokens = min(tokens, _TOKENS_PER_WORD * max_words + _TOKENS_AT_LEAST)
        return cls(tokens, most, max_words)

    def decoding(self, max_tokens: int, strategy: Strategy = "nucleus") -> Decoding:
        """How a writer is to decode it.

        Args:
            max_tokens: What the writer sees, prompt and text together.
            strategy: How words are found.
        """
        return Decoding.by(strategy, min(self.tokens, max_tokens), self.words)

    def cut(self, text: str) -> str:
        """The text up to its last sentence that fits.

        >>> Length(words=4).cut("It is good. I like it.")
        'It is good.'
        """
        if self.sentences is None and self.words is None:
            return text
        return "".join(self.keep(pieces(text)))

    def join(self, written: Iterable[str]) -> str:
        """The sentences that fit, as one text."""
        return " ".join(self.keep(written))

    def keep(self, written: Iterable[str]) -> Iterator[str]:
        """The sentences that fit."""
        kept = Kept(self)
        for sentence in written:
            if fitting := kept.take(sentence):
                yield fitting


class Kept:
    """What fits of a text that comes by the sentence.

    Attributes:
        is_full: Whether no further sentence can fit.
    """

    def __init__(self, length: Length) -> None:
        self._length = length
        self._n_sentences = self._n_words = 0
        self.is_full = False

    def take(self, sentence: str) -> str:
        """The sentence where it fits, else nothing; where the first alone has too many words, its first ones."""
        if self.is_full:
            return ""
        self._n_sentences += 1
        most = self._length.words
        if most is not None:
            self._n_words += count_words(sentence)
            self.is_full = self._n_words >= most
            if self._n_words > most:
                return first_words(sentence, most).rstrip(" ,;:-–.!?。！？，、") + "." if self._n_sentences == 1 else ""
        self.is_full = self.is_full or self._n_sentences == self._length.sentences
        return sentence
