"""What reviewers of an item speak of, liked and disliked, in a few words that a writer is told."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path

from core.storage import write_json
from recommender.aspects.aspect import head_of
from recommender.aspects.extraction import Language, extract_aspects

MENTIONS_FILE = "mentions.json"
# So many aspects of a kind are named, those of most reviewers first.
MOST_LIKED, MOST_DISLIKED = 3, 2


class ReviewerCounts:
    """Of each item, how many reviewers praise and how many blame each of its aspects. Who does both says neither.

    Args:
        min_reviewers: What fewer reviewers of an item say is not mentioned.
        language: That reviews are read in; none: nothing is ever mentioned.
    """

    def __init__(self, min_reviewers: int, language: Language = "en") -> None:
        self._least, self._language = min_reviewers, language
        # item -> (noun, whether it is praised) -> reviewers
        self._said: defaultdict[str, Counter[tuple[str, bool]]] = defaultdict(Counter)
        # (item, reviewer) -> noun -> what they say of it
        self._by: defaultdict[tuple[str, str], dict[str, set[bool]]] = defaultdict(dict)

    def add(self, item: str, reviewer: str, text: str) -> None:
        """Take in a review."""
        (aspects,) = extract_aspects([text], self._language)
        counts, own = self._said[item], self._by[item, reviewer]
        counts.subtract(_plain(own))
        for aspect in aspects:
            own.setdefault(head_of(aspect.term), set()).add(aspect.is_praise)
        counts.update(_plain(own))

    def mentions(self, item: str, without: str | None = None) -> str:
        """What several reviewers of an item say, as "strings, sound (liked); strap (disliked)"; empty where that is
        nothing.

        Args:
            without: A reviewer who does not count.
        """
        own = set() if without is None else set(_plain(self._by.get((item, without), {})))
        counts = Counter({said: n - (said in own) for said, n in self._said.get(item, Counter()).items()})
        # An aspect that as many like as dislike is neither.
        several = [
            (noun, is_praise)
            for (noun, is_praise), n in sorted(counts.items(), key=lambda one: (-one[1], one[0]))
            if n >= self._least and n > counts[noun, not is_praise]
        ]
        liked = [noun for noun, is_praise in several if is_praise][:MOST_LIKED]
        disliked = [noun for noun, is_praise in several if not is_praise][:MOST_DISLIKED]
        kinds = ((liked, "liked"), (disliked, "disliked"))
        return "; ".join(f"{', '.join(nouns)} ({how})" for nouns, how in kinds if nouns)

    def of_all(self) -> Mentions:
        """Of every item."""
        return Mentions({item: said for item in self._said if (said := self.mentions(item))})


class Mentions:
    """Of each item what several of its reviewers mention; nobody of them by name.

    Args:
        of_items: By item.
    """

    def __init__(self, of_items: Mapping[str, str]) -> None:
        self._of_items = dict(of_items)

    def __len__(self) -> int:
        return len(self._of_items)

    def of(self, item: str) -> str:
        """Empty where it is nothing."""
        return self._of_items.get(item, "")

    def save(self, folder: Path) -> None:
        """Write them into a folder that exists."""
        write_json(folder / MENTIONS_FILE, dict(sorted(self._of_items.items())))

    @classmethod
    def load(cls, folder: Path) -> Mentions:
        """Read what `save` wrote.

        Raises:
            OSError, ValueError: the file is missing or damaged.
        """
        kept = json.loads((folder / MENTIONS_FILE).read_text(encoding="utf-8"))
        return cls({str(item): str(said) for item, said in kept.items()})


def _plain(said: Mapping[str, set[bool]]) -> Iterator[tuple[str, bool]]:
    """Of what a reviewer says, that which they do not take back."""
    return ((noun, next(iter(ways))) for noun, ways in said.items() if len(ways) == 1)
