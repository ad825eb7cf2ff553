"""Gives reasons: the facts that matter most to a user, said in sentences. The `explainer` component of a bundle."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recommender.explaining.candidates import Nearest, candidates
from recommender.explaining.facts import Fact, FactKind, Grounded
from recommender.explaining.item_facts import ItemFacts
from recommender.explaining.phrasing import name_of_item, phrase
from recommender.explaining.relevance import Relevance
from recommender.inputs.catalogue import Catalogue
from recommender.inputs.texts import count_words
from recommender.inputs.user import UserState

MOST_STATEMENTS = 2
# A second statement that matters less is not said: 0 is the average one.
LEAST_RELEVANT = -0.5
# A reason says one thing of each sort: what reviewers say, what the item is, what others did, what it costs.
_SORTS: dict[FactKind, str] = {
    "aspect": "reviews",
    "words": "item", "category": "item", "brand": "item", "similar": "item", "attribute": "item",
    "price": "price",
    "together": "customers", "liked_together": "customers", "rating": "customers", "popularity": "customers",
    "new": "customers",
}  # fmt: skip


@dataclass(frozen=True)
class Statement:
    """A fact, how much it matters to the user, and the sentences that say it."""

    fact: Fact
    relevance: float
    sentences: tuple[str, ...]

    @property
    def text(self) -> str:
        """Its sentences, one after the other."""
        return " ".join(self.sentences)

    def as_data(self) -> dict[str, Any]:
        """Sentences and fact as answers and files have them."""
        fact = self.fact
        return {
            "kind": fact.kind,
            "value": fact.value,
            "text": self.text,
            "support": fact.support,
            "numbers": dict(fact.numbers),
            "item_ids": list(fact.items),
            "opinions": list(fact.opinions),
            "relevance": round(self.relevance, 3),
        }


@dataclass(frozen=True)
class Reason:
    """Why an item suits a user.

    Attributes:
        statements: What is said, the most relevant first.
        grounded: Who phrased it; either way it says nothing but its facts.
    """

    statements: tuple[Statement, ...]
    grounded: Grounded = "template"

    @property
    def text(self) -> str:
        """All statements, one after the other."""
        return " ".join(one.text for one in self.statements)

    @property
    def sentences(self) -> tuple[str, ...]:
        """Those of all statements: names that a text has may hold a full stop, so that it cannot be cut into them."""
        return tuple(sentence for one in self.statements for sentence in one.sentences)

    def said_within(self, n_chars: int) -> list[Statement]:
        """The statements that begin within the first characters of the text: of one that is cut there, all it says."""
        said, begins = [], 0
        for one in self.statements:
            if begins < n_chars:
                said.append(one)
            begins += len(one.text) + 1
        return said


@dataclass(frozen=True)
class Explainer:
    """Ranks facts and says them.

    Attributes:
        facts: Of all items, as of the cut-off.
        relevance: What matters to whom.
    """

    facts: ItemFacts
    relevance: Relevance

    def explain(
        self, user: UserState, item_id: str, nearest: Nearest, seed: int, max_words: int | None = None
    ) -> Reason:
        """Why an item suits a user: the one or two facts that matter most.

        Args:
            nearest: Says which items of a history are most like an item: the ranker's `nearest_history`.
            seed: Chooses the words, not the facts.
            max_words: A second statement that would make the text longer is left out.
        Raises:
            UnknownItem: the item is not in the catalogue.
        """
        chosen = one_of_each_sort(self.ranked(user, item_id, nearest))[:MOST_STATEMENTS]
        texts = phrase([fact for fact, _ in chosen], self.name_of, seed)
        statements = [Statement(*one, said) for one, said in zip(chosen, texts, strict=True)]
        is_long = max_words is not None and sum(count_words(one.text) for one in statements) > max_words
        if len(statements) > 1 and (is_long or statements[1].relevance < LEAST_RELEVANT):
            statements.pop()
        return Reason(tuple(statements))

    def ranked(self, user: UserState, item_id: str, nearest: Nearest) -> list[tuple[Fact, float]]:
        """Every fact that may speak for an item, the most relevant first."""
        found = candidates(self.facts, user, item_id, nearest)
        scores = self.relevance.score(found)
        order = sorted(range(len(found)), key=lambda place: (-scores[place], place))
        return [(found[place].fact, float(scores[place])) for place in order]

    def name_of(self, item_id: str) -> str:
        """What a reason calls an item."""
        title = self.facts.titles[self.facts.catalogue.ids.index(item_id) - 1]
        return name_of_item(title, item_id)

    def save(self, folder: Path) -> None:
        """Write the component into a folder that exists."""
        self.facts.save(folder)
        self.relevance.save(folder)

    @classmethod
    def load(cls, folder: Path, catalogue: Catalogue) -> Explainer:
        """Read what `save` wrote.

        Raises:
            BundleError: a file is missing or unreadable, or is of another catalogue.
        """
        return cls(ItemFacts.load(folder, catalogue), Relevance.load(folder))


def one_of_each_sort(ranked: Sequence[tuple[Fact, float]]) -> list[tuple[Fact, float]]:
    """The first fact of each sort, in their order."""
    first: dict[str, tuple[Fact, float]] = {}
    for fact, score in ranked:
        first.setdefault(_SORTS[fact.kind], (fact, score))
    return list(first.values())
