"""What may be said of an item to a user: facts, as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

# aspect: several reviewers praise it. words: a word of the user's own reviews stands in the item's title or text.
# category, brand: as of items in the history. price: against what the user usually pays. together: who chose an item
# of the history chose this one too. liked_together: and how those rated it. similar: nearest in the model's vectors.
# rating, popularity: of all customers. attribute: a category or brand that is not in the history. new: no events yet.
FactKind = Literal[
    "aspect", "words", "category", "brand", "price", "together", "liked_together", "similar", "rating", "popularity",
    "attribute", "new",
]  # fmt: skip
KINDS: tuple[FactKind, ...] = get_args(FactKind)
# What a review can speak of; of the others only behaviour tells whether they matter.
SPOKEN_OF: frozenset[FactKind] = frozenset(("aspect", "words", "category", "brand", "price", "attribute"))
# Who phrased a reason.
Grounded = Literal["template"]
Act = Literal["chose", "looked at"]


@dataclass(frozen=True)
class Fact:
    """One fact, true as of the cut-off for the item and as of the request for the user.

    Attributes:
        value: What it is about: the aspect, the category, the brand, the word; of a price "usual" or "less"; else "".
        support: How many reviewers, customers, ratings or items of the history it rests on.
        numbers: Its figures by name, such as `{"n_praise": 7, "n_blame": 0}`.
        items: Items of the history that it relates to, the nearest first.
        opinions: Of an aspect, the words of praise, those of most reviewers first.
        act: What the user did with the items of the history.
    """

    kind: FactKind
    value: str
    support: int
    numbers: Mapping[str, float] = field(default_factory=dict)
    items: tuple[str, ...] = ()
    opinions: tuple[str, ...] = ()
    act: Act = "chose"


@dataclass(frozen=True)
class Candidate:
    """A fact, and what its relevance is judged by.

    Attributes:
        strength: How much it rests on, about 0 to 1.
        match: How well it goes with the user, about 0 to 1.
        shared: Of an aspect, the share of the user's history that is praised for the same.
        common: How frequent what it says is in the shop, 0 to 1.
    """

    fact: Fact
    strength: float = 0.0
    match: float = 0.0
    shared: float = 0.0
    common: float = 0.0

    @property
    def features(self) -> tuple[float, ...]:
        """What the scorer reads, beside the kind."""
        return (1.0, self.strength, self.match, self.shared, self.common)


N_FEATURES = 5
