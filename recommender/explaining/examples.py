"""Candidate statements of which it is known whether they mattered: what the scorer of relevance learns from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from core import schema
from core.settings.models import ReasonSettings
from recommender.aspects.agreement import ReviewedItem
from recommender.explaining.candidates import CHOICES, LIKED, Nearest, Own, candidates
from recommender.explaining.facts import SPOKEN_OF, Fact
from recommender.explaining.item_facts import ItemFacts
from recommender.explaining.phrasing import shown_value
from recommender.explaining.relevance import Example
from recommender.inputs.user import UserState
from recommender.metrics.texts import words

# By language, how a review speaks of a price.
PRICE_WORDS: Mapping[str, frozenset[str]] = {
    "en": frozenset(
        words(
            "price prices priced pricing cheap cheaper expensive inexpensive affordable value cost costs money bargain"
        )
    ),
    "none": frozenset(),
}


@dataclass(frozen=True)
class Chosen:
    """Somebody's choice of an item.

    Attributes:
        user: As they stood just before it.
        own: What they themself added to the facts, which is taken out; None where the facts are older.
        said: The words of their review of it; None without one.
        others: Places of all items that they chose: no other item is drawn from these.
    """

    user: UserState
    item_id: str
    own: Own | None
    said: frozenset[str] | None
    others: frozenset[int]


@dataclass(frozen=True)
class Teacher:
    """Makes examples of choices.

    Attributes:
        facts: Of all items.
        nearest: As for `candidates`.
        language: Of the reviews.
        by_reviews: Whether reviews say what matters of what can be spoken of; else choices say it of every kind.
    """

    facts: ItemFacts
    nearest: Nearest
    language: str
    by_reviews: bool

    def examples(self, choices: Sequence[Chosen], rng: np.random.Generator) -> list[Example]:
        """Those of each choice, and of an item in its place, drawn by popularity."""
        weights = self.facts.counts.n_chosen.astype(np.float64)
        drawn = rng.choice(len(weights), size=len(choices), p=weights / weights.sum()) if choices else ()
        return [one for choice, place in zip(choices, drawn, strict=True) for one in self._of(choice, int(place))]

    def _of(self, choice: Chosen, other: int) -> Iterator[Example]:
        for one in candidates(self.facts, choice.user, choice.item_id, self.nearest, choice.own):
            if self._is_spoken(one.fact):
                if choice.said is not None:
                    yield Example(one, speaks_of(choice.said, one.fact, self.language), True)
            else:
                yield Example(one, True, False)
        if other in choice.others:
            return
        other_id = self.facts.catalogue.ids.item_id(other + 1)
        for one in candidates(self.facts, choice.user, other_id, self.nearest):
            if not self._is_spoken(one.fact):
                yield Example(one, False, False)

    def _is_spoken(self, fact: Fact) -> bool:
        return self.by_reviews and fact.kind in SPOKEN_OF and (fact.kind != "price" or bool(PRICE_WORDS[self.language]))


def speaks_of(said: frozenset[str], fact: Fact, language: str) -> bool:
    """Whether a review's words speak of what a fact is about."""
    if fact.kind == "price":
        return bool(said & PRICE_WORDS[language])
    about = [word for word in words(shown_value(fact)) if len(word) > 2]
    found = [bool(_forms(word) & said) for word in about]
    return any(found) if fact.kind in ("category", "attribute") else bool(found) and all(found)


def reviewed_choices(
    rows: Sequence[Mapping[str, Any]],
    facts: ItemFacts,
    by_user: Mapping[str, Mapping[str, float | None]],
    reviewed: Mapping[int, ReviewedItem] | None,
    settings: ReasonSettings,
) -> list[Chosen]:
    """The reviews that liked their item, as choices.

    Args:
        rows: Of the training set's reviews.
        by_user: What each user chose before the cut-off.
        reviewed: What the reviews before the cut-off say, where these reviews are among them; None for later ones.
    """
    found, ids = [], facts.catalogue.ids
    for row in rows:
        rating, item_id, user_id = row[schema.RATING], row[schema.ITEM_ID], row[schema.USER_ID]
        if rating is not None and rating < LIKED:
            continue
        chosen = by_user.get(user_id, {})
        places = frozenset(ids.index(item) - 1 for item in chosen)
        own = None
        if reviewed is not None:
            own = _own(facts, item_id, chosen, reviewed.get(ids.index(item_id) - 1), user_id, settings)
        said = frozenset(words(row[schema.TEXT]))
        found.append(Chosen(UserState.from_row(row), item_id, own, said, places))
    return found


def _own(
    facts: ItemFacts,
    item_id: str,
    chosen: Mapping[str, float | None],
    reviewed: ReviewedItem | None,
    user_id: str,
    settings: ReasonSettings,
) -> Own:
    ids = facts.catalogue.ids
    return Own(
        aspects=() if reviewed is None else reviewed.agreed(settings.min_reviewers, without=user_id),
        rating=chosen.get(item_id),
        chosen=frozenset(ids.index(item) - 1 for item in chosen),
        rated=frozenset(ids.index(item) - 1 for item, rating in chosen.items() if rating is not None),
    )


def choices_in_sequences(
    rows: Sequence[Mapping[str, Any]],
    facts: ItemFacts,
    by_user: Mapping[str, Mapping[str, float | None]],
    reviewed: Mapping[int, ReviewedItem],
    settings: ReasonSettings,
) -> list[Chosen]:
    """The last choice of each training sequence, with what came before it."""
    found, ids = [], facts.catalogue.ids
    for row in rows:
        items, events = row[schema.HISTORY_ITEMS], row[schema.HISTORY_EVENTS]
        events = events or ["purchase"] * len(items)
        first = row[schema.N_CONTEXT] or 0
        places = [place for place in range(max(first, 1), len(items)) if events[place] in CHOICES]
        if not places:
            continue
        end, values = places[-1], row[schema.HISTORY_VALUES] or [None] * len(items)
        user = UserState(tuple(items[:end]), tuple(values[:end]), events=tuple(events[:end]))
        chosen = by_user.get(row[schema.USER_ID], {})
        own = _own(facts, items[end], chosen, reviewed.get(ids.index(items[end]) - 1), row[schema.USER_ID], settings)
        found.append(Chosen(user, items[end], own, None, frozenset(ids.index(item) - 1 for item in chosen)))
    return found


def _forms(word: str) -> set[str]:
    return {word, f"{word}s", f"{word}es", word.removesuffix("s"), word.removesuffix("es")}
