"""What written reviews state of items, and whether the items' real reviews or texts say so too."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from recommender.aspects.aspect import Aspect, head_of
from recommender.aspects.extraction import extract_aspects
from recommender.metrics.texts import words
from recommender.writing.examples import WritingExample


@dataclass(frozen=True)
class Support:
    """How many statements are supported, of how many.

    Attributes:
        n_supported: Those that a real review of the item, or its text, makes too.
        n_statements: (aspect, praise or blame), each once per text.
    """

    n_supported: int
    n_statements: int

    @property
    def precision(self) -> float | None:
        """The share that is supported; None where nothing is stated."""
        return self.n_supported / self.n_statements if self.n_statements else None


class Evidence:
    """What the real reviews of items say, in whatever window.

    Args:
        reviews: Of all windows.
    """

    def __init__(self, reviews: Iterable[WritingExample]) -> None:
        self._reviews: dict[str, list[WritingExample]] = defaultdict(list)
        for review in reviews:
            self._reviews[review.item_id].append(review)
        self._read: dict[str, list[Aspect]] = {}

    def support(self, texts: Sequence[str], about: Sequence[WritingExample], without_own: bool = False) -> Support:
        """Of the statements of texts, those that somebody makes of the same item.

        A statement is an aspect and whether it is praised or blamed: "great strings" supports "the strings sound
        lovely" where both are read as praise of the strings. The item's text supports it where it holds the aspect and
        the judging word.

        Args:
            about: Of each text the real review in whose place it stands.
            without_own: Leave that review out: how far do the others support what a real one states?
        """
        n_supported = n_statements = 0
        for text, real in zip(texts, about, strict=True):
            mine = {(head_of(aspect.term), aspect.is_praise): aspect for aspect in self._aspects(text)}.values()
            n_statements += len(mine)
            n_supported += sum(self._holds(aspect, real, without_own) for aspect in mine)
        return Support(n_supported, n_statements)

    def features(self, texts: Sequence[str]) -> list[set[str]]:
        """Of each text the aspects that it judges."""
        return [{term for term, _ in self._statements(text)} for text in texts]

    def _holds(self, aspect: Aspect, real: WritingExample, without_own: bool) -> bool:
        item = set(words(real.request.item))
        named = all({word, f"{word}s", f"{word}es"} & item for word in aspect.term.split())
        if aspect.opinion in item and named:
            return True
        key = head_of(aspect.term), aspect.is_praise
        # What does not hold the word at all, be it in the plural, cannot say it: most reviews are not read.
        stem = key[0][:-1]
        return any(
            key in self._statements(review.text)
            for review in self._reviews[real.item_id]
            if not (without_own and review == real) and stem in review.text.lower()
        )

    def _statements(self, text: str) -> set[tuple[str, bool]]:
        return {(head_of(aspect.term), aspect.is_praise) for aspect in self._aspects(text)}

    def _aspects(self, text: str) -> list[Aspect]:
        if text not in self._read:
            (self._read[text],) = extract_aspects([text])
        return self._read[text]
