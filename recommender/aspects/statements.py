"""What reviewers of items state alike, and how much of another text that supports."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

from core.storage import write_json
from recommender.aspects.aspect import Aspect, head_of
from recommender.aspects.extraction import extract_aspects

STATEMENTS_FILE = "statements.json"
# What fewer reviewers of an item state is not kept.
MIN_REVIEWERS = 2

# An aspect, as the noun that it is about, and whether it is praised.
Statement = tuple[str, bool]


class KnownStatements:
    """Of each item what several of its reviewers state.

    Args:
        of_items: By item.
    """

    def __init__(self, of_items: Mapping[str, Collection[Statement]]) -> None:
        self._of_items = {item: frozenset(statements) for item, statements in of_items.items()}

    @classmethod
    def of(cls, reviews: Iterable[tuple[str, str, str]]) -> KnownStatements:
        """Count reviewers.

        Args:
            reviews: Item, reviewer and text of each.
        """
        said: defaultdict[tuple[str, Statement], set[str]] = defaultdict(set)
        for item, reviewer, text in reviews:
            for statement in statements_of(text):
                if len(said[item, statement]) < MIN_REVIEWERS:  # more change nothing
                    said[item, statement].add(reviewer)
        kept: defaultdict[str, list[Statement]] = defaultdict(list)
        for (item, statement), reviewers in said.items():
            if len(reviewers) >= MIN_REVIEWERS:
                kept[item].append(statement)
        return cls(kept)

    def supported_share(self, item: str, item_words: Collection[str], text: str) -> float:
        """Share of a text's statements that reviewers of the item make, or its own text: (supported + 1/2) / (all + 1).

        A text that states nothing has a half: more than one whose only statement nothing supports.

        Args:
            item_words: Of the item's text, lower case.
        """
        known, stated = self._of_items.get(item, frozenset()), statements_of(text)
        n_supported = sum(statement in known or _says(item_words, aspect) for statement, aspect in stated.items())
        return (n_supported + 0.5) / (len(stated) + 1)

    def save(self, folder: Path) -> None:
        """Write them into a folder that exists."""
        write_json(folder / STATEMENTS_FILE, {item: sorted(said) for item, said in sorted(self._of_items.items())})

    @classmethod
    def load(cls, folder: Path) -> KnownStatements:
        """Read what `save` wrote.

        Raises:
            OSError, ValueError: the file is missing or damaged.
        """
        kept = json.loads((folder / STATEMENTS_FILE).read_text(encoding="utf-8"))
        return cls({item: [(str(noun), bool(praised)) for noun, praised in said] for item, said in kept.items()})


def statements_of(text: str) -> dict[Statement, Aspect]:
    """What a text states, each once."""
    (aspects,) = extract_aspects([text])
    return {(head_of(aspect.term), aspect.is_praise): aspect for aspect in aspects}


def polarity_of(text: str) -> float:
    """How much the words of a text praise or blame, -1 to 1, by a lexicon of English; 0 where it knows none of them."""
    from textblob.en import polarity

    return float(polarity(text))


def _says(item_words: Collection[str], aspect: Aspect) -> bool:
    named = all({word, f"{word}s", f"{word}es"} & set(item_words) for word in aspect.term.split())
    return named and aspect.opinion in item_words
