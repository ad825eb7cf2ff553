"""Candidate statements: every fact of an item that may speak for it to a user."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np

from core import schema
from recommender.aspects.agreement import Agreement
from recommender.explaining.facts import Act, Candidate, Fact
from recommender.explaining.item_facts import MIN_CUSTOMERS, ItemFacts, paths_of
from recommender.inputs.user import UserState
from recommender.metrics.texts import words

# From a user, an item and a number to so many items of the history that are most like the item, with how much.
Nearest = Callable[[UserState, str, int], list[tuple[str, float]]]

# What a user did with an item is a choice from this event on.
CHOICES = frozenset(schema.EVENTS[schema.EVENTS.index("cart") :])
LIKED, DISLIKED = 4.0, 2.0
FEW = 2  # with fewer facts, the item's category is said
MOST_NAMED = 3  # items of the history that a fact names
MIN_RATINGS, GOOD_MEAN = 3, 4.0
MIN_LIKED_SHARE = 0.8
# A price within this share of the usual one is as usual; below, it is less.
USUAL_WITHIN, MIN_PRICED = 0.2, 3
MIN_LIFT = 1.5
MIN_COSINE = 0.4
TOP_SHARE = 0.1  # of its category, by customers: an item further down is not called popular
_DOUBT = 5.0  # is added to how many a share is of: small numbers make no large shares
_SCALE = 4.0  # what a logarithm of a count, or a lift, is divided by


@dataclass(frozen=True)
class Own:
    """What a user themself added to the facts of an item that they chose: it is taken out where a scorer learns.

    Attributes:
        aspects: On what the other reviewers of the item agree.
        rating: The user's own of the item; None without one.
        chosen: Places of all items that the user chose.
        rated: Places of those that they rated.
    """

    aspects: Sequence[Agreement]
    rating: float | None
    chosen: frozenset[int]
    rated: frozenset[int]

    def among(self, places: np.ndarray, mine: frozenset[int]) -> np.ndarray:
        """1 where the user is counted. Shape (N,), int64."""
        return np.array([int(place) in mine for place in places], dtype=np.int64)


@dataclass(frozen=True)
class Past:
    """What a user did before, without the item itself and without what they disliked.

    Attributes:
        places: In the catalogue, from 0; the newest last.
        act: Whether they chose these items, or, where they chose none, looked at them.
    """

    places: tuple[int, ...]
    act: Act

    @classmethod
    def of(cls, user: UserState, facts: ItemFacts, place: int) -> Past:
        """Items that the catalogue does not know are left out."""
        ids, kept, seen = facts.catalogue.ids, list[int](), list[int]()
        events = user.events or ("purchase",) * len(user.items)
        values = user.values or (None,) * len(user.items)
        for item, event, value in zip(user.items, events, values, strict=True):
            at = ids.index(item) - 1 if item in ids else place
            if at == place or (value is not None and value <= DISLIKED):
                continue
            (kept if event in CHOICES else seen).append(at)
        return cls(tuple(kept), "chose") if kept else cls(tuple(seen), "looked at")


def candidates(
    facts: ItemFacts, user: UserState, item_id: str, nearest: Nearest, own: Own | None = None
) -> list[Candidate]:
    """Every fact of an item that may speak for it to a user; there is always one.

    Args:
        own: What the user added to the item's facts; None where they did not choose it, as when a reason is asked for.
    Raises:
        UnknownItem: the item is not in the catalogue.
    """
    place = facts.catalogue.ids.index(item_id) - 1
    asked = _Asked(facts, user, place, item_id, Past.of(user, facts, place), own)
    near = asked.near(nearest)
    found = [
        *_aspects(asked, near), *_words(asked), *_attributes(asked, near), *_price(asked), *_together(asked),
        *_similar(asked, near), *_rating(asked), *_popularity(asked),
    ]  # fmt: skip
    if len(found) < FEW:
        found += _category(asked)
    return found or [Candidate(Fact("new", "", 0, {"n_events": 0.0}))]


@dataclass(frozen=True)
class _Asked:
    facts: ItemFacts
    user: UserState
    place: int
    item_id: str
    past: Past
    own: Own | None

    def near(self, nearest: Nearest) -> list[tuple[int, float]]:
        """The places of the past, the nearest to the item first, each with how near it is."""
        ids = self.facts.catalogue.ids
        if not self.past.places:
            return []
        history = UserState.from_history([ids.item_id(place + 1) for place in self.past.places])
        found = [(ids.index(item) - 1, score) for item, score in nearest(history, self.item_id, len(history.items))]
        rest = [(place, 0.0) for place in reversed(self.past.places) if place not in dict(found)]
        return found + rest

    def name(self, places: Sequence[int]) -> tuple[str, ...]:
        return tuple(self.facts.catalogue.ids.item_id(place + 1) for place in places[:MOST_NAMED])


def _aspects(asked: _Asked, near: Sequence[tuple[int, float]]) -> Iterator[Candidate]:
    facts, own_words = asked.facts, set(words(asked.user.own_words))
    agreed = facts.aspects.get(asked.place, ()) if asked.own is None else asked.own.aspects
    for one in agreed:
        alike = [place for place, _ in near if any(one.term == other.term for other in facts.aspects.get(place, ()))]
        is_own = float(spoken_in(one.term, own_words))
        numbers = {"n_praise": float(one.n_praise), "n_blame": float(one.n_blame), "in_own_words": is_own}
        named = asked.name(alike)[:1]
        yield Candidate(
            Fact("aspect", one.name, one.n_praise, numbers, named, one.opinions, asked.past.act),
            strength=_log(one.n_praise),
            match=is_own,
            shared=len(alike) / max(len(near), 1),
            common=facts.shares.get(one.term, 0.0),
        )


def _words(asked: _Asked) -> Iterator[Candidate]:
    own_words = [word for word in words(asked.user.own_words) if len(word) > 3]
    known = asked.facts.text_words(asked.place) if own_words else frozenset()
    for rank, word in enumerate(own_words):
        if word in known:
            yield Candidate(Fact("words", word, 1), strength=1 - rank / len(own_words), match=1.0)


def _attributes(asked: _Asked, near: Sequence[tuple[int, float]]) -> Iterator[Candidate]:
    facts, place = asked.facts, asked.place
    brand = facts.brands[place]
    for kind, values, of in (
        ("category", paths_of(facts.categories[place]), lambda at: paths_of(facts.categories[at])),
        ("brand", [brand] if brand else [], lambda at: [facts.brands[at]]),
    ):
        shared = [(value, [at for at, _ in near if value in of(at)]) for value in values]
        value, places = next(((value, alike) for value, alike in shared if alike), ("", []))
        if places:
            numbers = {"n_of_history": float(len(places)), "n_history": float(len(near))}
            fact = Fact(
                "category" if kind == "category" else "brand", value, len(places), numbers, asked.name(places),
                act=asked.past.act,
            )  # fmt: skip
            common = facts.value_shares.get(value, 0.0)
            yield Candidate(fact, _log(len(places)), len(places) / len(near), 0.0, common)


def _category(asked: _Asked) -> Iterator[Candidate]:
    """What the item is, for a user whose history has none of its category."""
    category = asked.facts.categories[asked.place]
    if category:
        yield Candidate(Fact("attribute", category, 1), common=asked.facts.value_shares.get(category, 0.0))


def _price(asked: _Asked) -> Iterator[Candidate]:
    price = asked.facts.prices[asked.place]
    paid = [one for place in asked.past.places if (one := asked.facts.prices[place])]
    if not price or len(paid) < MIN_PRICED:
        return
    usual = float(median(paid))
    if price <= usual * (1 + USUAL_WITHIN):
        kind = "usual" if price >= usual * (1 - USUAL_WITHIN) else "less"
        fact = Fact("price", kind, len(paid), {"price": price, "usual_price": usual}, act=asked.past.act)
        yield Candidate(fact, _log(len(paid)), match=max(0.0, 1 - price / usual))


def _together(asked: _Asked) -> Iterator[Candidate]:
    """What customers chose beside an item of the history, and how those liked this one who rated both."""
    counts, own = asked.facts.counts, asked.own
    rows = counts.rows(asked.place, np.array(asked.past.places, dtype=np.int64))
    if not len(rows) or asked.past.act != "chose":
        return
    others = counts.others[rows]
    both, chose = counts.n_both[rows], counts.n_chosen[others]
    rated, liked = counts.n_rated[rows], counts.n_liked[rows]
    if own is not None:
        i_chose, i_rated = own.among(others, own.chosen), own.among(others, own.rated)
        both, chose = both - i_chose, chose - i_chose
        rated = rated - i_rated * (own.rating is not None)
        liked = liked - i_rated * (own.rating is not None and own.rating >= LIKED)
    share = max(int(counts.n_chosen[asked.place]) - (own is not None), 1) / max(counts.n_customers, 1)
    lifts = both / np.maximum(chose, 1) / share
    best = _best(both / (chose + _DOUBT), (both >= MIN_CUSTOMERS) & (lifts >= MIN_LIFT))
    if best is not None:
        numbers = {"n_both": float(both[best]), "n_chose": float(chose[best]), "lift": round(float(lifts[best]), 2)}
        fact = Fact("together", "", int(both[best]), numbers, asked.name([int(others[best])]))
        yield Candidate(fact, _log(both[best]), math.log(lifts[best]) / _SCALE, both[best] / chose[best])
    best = _best(liked / (rated + _DOUBT), (rated >= MIN_CUSTOMERS) & (liked >= MIN_LIKED_SHARE * rated))
    if best is not None:
        numbers = {"n_liked": float(liked[best]), "n_rated": float(rated[best])}
        fact = Fact("liked_together", "", int(rated[best]), numbers, asked.name([int(others[best])]))
        yield Candidate(fact, _log(rated[best]), liked[best] / rated[best])


def _best(values: np.ndarray, allowed: np.ndarray) -> int | None:
    """The place of the largest value that is allowed."""
    return int(np.argmax(np.where(allowed, values, -np.inf))) if allowed.any() else None


def _similar(asked: _Asked, near: Sequence[tuple[int, float]]) -> Iterator[Candidate]:
    if not near or near[0][1] < MIN_COSINE:
        return
    place, cosine = near[0]
    facts = asked.facts
    alike = [
        column[place] is not None and column[place] == column[asked.place]
        for column in (facts.categories, facts.brands)
    ]
    fact = Fact("similar", "", 1, {"cosine": round(cosine, 3)}, asked.name([place]), act=asked.past.act)
    yield Candidate(fact, match=sum(alike) / 2)


def _rating(asked: _Asked) -> Iterator[Candidate]:
    mean, n = asked.facts.ratings[asked.place]
    if asked.own is not None and asked.own.rating is not None and n:
        mean, n = (mean * n - asked.own.rating) / max(n - 1, 1), n - 1
    if n >= MIN_RATINGS and mean >= GOOD_MEAN:
        fact = Fact("rating", "", n, {"mean_rating": round(mean, 2), "n_ratings": float(n)})
        yield Candidate(fact, _log(n), mean - GOOD_MEAN)


def _popularity(asked: _Asked) -> Iterator[Candidate]:
    facts = asked.facts
    n_events = int(facts.catalogue.n_events[asked.place]) - int(asked.own is not None)
    if n_events < 1:
        return
    (rank, of), numbers, value = facts.ranks[asked.place], {"n_events": float(n_events)}, ""
    if rank <= max(1, TOP_SHARE * of) and n_events >= MIN_CUSTOMERS:
        numbers |= {"rank": float(rank), "of": float(of)}
        value = facts.categories[asked.place] or ""
    yield Candidate(Fact("popularity", value, n_events, numbers), _log(n_events), 1 - rank / of)


def spoken_in(term: str, said: set[str]) -> bool:
    """Whether all words of a term are among these, in the singular or the plural."""
    return all({word, f"{word}s", f"{word}es"} & said for word in term.split())


def _log(n: float) -> float:
    return math.log1p(float(n)) / _SCALE
