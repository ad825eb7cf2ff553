"""On which aspects of an item its reviewers agree."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from recommender.aspects.aspect import Aspect

# So many of those who speak of an aspect have to praise it.
AGREED_SHARE = 0.8
MOST_OPINIONS = 3


@dataclass(frozen=True)
class Agreement:
    """An aspect of an item that several reviewers praise.

    Attributes:
        term: As `Aspect.term`.
        name: The term as most of them write it: "strings".
        n_praise: Reviewers who praise it.
        n_blame: Reviewers who blame it.
        opinions: The words of praise, those of most reviewers first.
    """

    term: str
    name: str
    n_praise: int
    n_blame: int
    opinions: tuple[str, ...]


class ReviewedItem:
    """What the reviewers of one item say of its aspects. A reviewer counts once, whatever they wrote.

    Who names a side by two nouns ("sound quality") speaks of the second one too, where others name it alone.
    """

    def __init__(self) -> None:
        # term -> reviewer -> opinions, each with whether it is praise
        self._said: defaultdict[str, defaultdict[str, dict[str, bool]]] = defaultdict(lambda: defaultdict(dict))
        self._names: defaultdict[str, Counter[str]] = defaultdict(Counter)

    def add(self, reviewer: str, aspects: Iterable[Aspect]) -> None:
        """Take in a review."""
        for aspect in aspects:
            self._said[aspect.term][reviewer][aspect.opinion] = aspect.is_praise
            self._names[aspect.term][aspect.name or aspect.term] += 1

    def agreed(self, min_reviewers: int, without: str | None = None) -> list[Agreement]:
        """The aspects that at least so many reviewers praise and few blame, those of most reviewers first.

        Args:
            without: A reviewer who does not count.
        """
        found = []
        for term in self._said:
            reviewers = self._reviewers(term)
            praise, blame, opinions = 0, 0, Counter[str]()
            for reviewer, said in reviewers.items():
                if reviewer == without or len(set(said.values())) > 1:
                    continue  # who does both says neither
                is_praise = next(iter(said.values()))
                praise, blame = praise + is_praise, blame + (not is_praise)
                opinions.update(said if is_praise else ())
            if praise >= min_reviewers and praise >= AGREED_SHARE * (praise + blame):
                ranked = sorted(opinions, key=lambda word: (-opinions[word], word))[:MOST_OPINIONS]
                found.append(Agreement(term, self._name(term), praise, blame, tuple(ranked)))
        return sorted(found, key=lambda one: (-one.n_praise, one.term))

    def _reviewers(self, term: str) -> dict[str, dict[str, bool]]:
        """Who speaks of a term, and what each of them says."""
        merged = {reviewer: dict(said) for reviewer, said in self._said[term].items()}
        if " " not in term:
            for other, reviewers in self._said.items():
                if other.endswith(f" {term}"):
                    for reviewer, said in reviewers.items():
                        merged[reviewer] = merged.get(reviewer, {}) | said
        return merged

    def _name(self, term: str) -> str:
        names = self._names[term]
        return min(names, key=lambda name: (-names[name], name))
