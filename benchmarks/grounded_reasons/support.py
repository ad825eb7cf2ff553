"""Whether the shop's tables support a fact, looked up again without any code that made it.

Everything is counted from the clean tables, as of the cut-off. An aspect is supported where so many different customers
name it in their reviews who rate the item 3 or more, where more of those who name it rate it 4 or more than 2 or less,
and where each word of praise that is quoted stands in a sentence that names it; reviews from after the cut-off may
speak for it too.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from serving.api.feedback import GivenFact

_CHOICES = ("cart", "purchase", "rating")
_SENTENCE = re.compile(r"(?<=[.!?])\s*")
# Words of praise that stand for verbs.
_VERBS = {"loved": r"\b(love[ds]?|adore)\b", "liked": r"\b(like[ds]?|enjoy(ed)?)\b"}
_TOLERANCE = 0.015


@dataclass(frozen=True)
class Shop:
    """The clean tables, as far as facts are about them.

    Attributes:
        items: Rows by item.
        reviews: Of each item, (user, rating, text), of all time.
        chosen: Of each item, who chose it before the cut-off.
        rated: Of each item, who rated or reviewed it before the cut-off, and how.
        ratings: Of each item, all ratings before the cut-off.
        n_events: Of each item, events before the cut-off.
        own: Of each user, the items that they chose before the history's end, without those rated 2 or less.
        own_texts: Of each user, their reviews from before the history's end.
        vectors: By item, as the ranker compares them.
    """

    items: Mapping[str, Mapping[str, Any]]
    reviews: Mapping[str, list[tuple[str, float | None, str]]]
    chosen: Mapping[str, set[str]]
    rated: Mapping[str, dict[str, float]]
    ratings: Mapping[str, list[float]]
    n_events: Mapping[str, int]
    own: Mapping[str, list[str]]
    own_texts: Mapping[str, list[str]]
    vectors: Mapping[str, np.ndarray]

    def supports(self, fact: GivenFact, user_id: str, item_id: str) -> bool:
        """Whether a fact that is said to a user of an item is so."""
        checks: dict[str, Callable[[GivenFact, str, str], bool]] = {
            "aspect": self._aspect, "words": self._words, "category": self._category, "brand": self._brand,
            "price": self._price, "together": self._together, "liked_together": self._liked, "similar": self._similar,
            "rating": self._rating, "popularity": self._popularity, "attribute": self._attribute, "new": self._new,
        }  # fmt: skip
        return checks[fact.kind](fact, user_id, item_id) and set(fact.item_ids) <= set(self.own.get(user_id, ()))

    def _aspect(self, fact: GivenFact, user_id: str, item_id: str) -> bool:
        # "sound" is named by "sounds", "look" by "looks" and "looked".
        named = [re.compile(rf"\b{re.escape(word.removesuffix('s'))}(s|es|ed|ing)?\b") for word in fact.value.split()]
        ratings: dict[str, float | None] = {}
        sentences: list[str] = []
        for user, rating, text in self.reviews[item_id]:
            naming = [one for one in _SENTENCE.split(text.lower()) if all(word.search(one) for word in named)]
            if naming or (fact.value == "feel" and "felt" in text.lower()):
                ratings[user] = rating
                sentences += naming
        known = [3.0 if rating is None else rating for rating in ratings.values()]
        happy, unhappy = sum(rating >= 4 for rating in known), sum(rating <= 2 for rating in known)
        praised = len(known) - unhappy >= fact.numbers["n_praise"] and happy >= unhappy
        quoted = all(
            any(re.search(_VERBS.get(word, rf"\b{re.escape(word)}\b"), one) for one in sentences)
            for word in fact.opinions
        )
        return praised and quoted

    def _words(self, fact: GivenFact, user_id: str, item_id: str) -> bool:
        item = f"{self.items[item_id]['title']} {self.items[item_id]['description']}".lower()
        own = sum(fact.value in text.lower() for text in self.own_texts.get(user_id, ()))
        return fact.value in item and own >= 2

    def _category(self, fact: GivenFact, user_id: str, item_id: str) -> bool:
        return self._shared("category", fact, user_id, item_id)

    def _brand(self, fact: GivenFact, user_id: str, item_id: str) -> bool:
        return self._shared("brand", fact, user_id, item_id)

    def _shared(self, column: str, fact: GivenFact, user_id: str, item_id: str) -> bool:
        def has(one: str) -> bool:
            value = self.items[one][column] or ""
            return bool(value == fact.value or value.startswith(f"{fact.value} > "))

        own = [one for one in self.own.get(user_id, ()) if one != item_id]
        return has(item_id) and all(has(one) for one in fact.item_ids) and sum(map(has, own)) >= fact.support

    def _price(self, fact: GivenFact, user_id: str, item_id: str) -> bool:
        own = [one for one in self.own.get(user_id, ()) if one != item_id]
        usual = median([price for one in own if (price := self.items[one]["price"])])
        price = self.items[item_id]["price"] or 0.0
        said = fact.numbers["price"] == price and abs(fact.numbers["usual_price"] - usual) <= _TOLERANCE * usual
        return said and (0.8 * usual <= price <= 1.2 * usual if fact.value == "usual" else price < 0.8 * usual)

    def _together(self, fact: GivenFact, user_id: str, item_id: str) -> bool:
        (other,) = fact.item_ids
        return len(self.chosen[item_id] & self.chosen[other]) >= fact.numbers["n_both"]

    def _liked(self, fact: GivenFact, user_id: str, item_id: str) -> bool:
        (other,) = fact.item_ids
        both = [self.rated[item_id][user] for user in self.rated[item_id].keys() & self.rated[other].keys()]
        liked = sum(rating >= 4 for rating in both)
        return (len(both), liked) == (fact.numbers["n_rated"], fact.numbers["n_liked"])

    def _similar(self, fact: GivenFact, user_id: str, item_id: str) -> bool:
        own = [one for one in self.own.get(user_id, ()) if one != item_id and one in self.vectors]
        cosines = {one: float(self.vectors[one] @ self.vectors[item_id]) for one in own}
        (other,) = fact.item_ids
        return cosines.get(other, -1.0) >= max(cosines.values(), default=-1.0) - 1e-4

    def _rating(self, fact: GivenFact, user_id: str, item_id: str) -> bool:
        ratings = self.ratings[item_id]
        near = bool(ratings) and abs(float(np.mean(ratings)) - fact.numbers["mean_rating"]) <= _TOLERANCE
        return near and len(ratings) == fact.numbers["n_ratings"]

    def _popularity(self, fact: GivenFact, user_id: str, item_id: str) -> bool:
        said = self.n_events.get(item_id, 0) == fact.numbers["n_events"]
        if "rank" not in fact.numbers:
            return said
        alike = [one for one, row in self.items.items() if row["category"] == self.items[item_id]["category"]]
        above = sum(self.n_events.get(one, 0) > self.n_events.get(item_id, 0) for one in alike)
        return said and (above + 1, len(alike)) == (fact.numbers["rank"], fact.numbers["of"])

    def _attribute(self, fact: GivenFact, user_id: str, item_id: str) -> bool:
        return bool(self.items[item_id]["category"] == fact.value)

    def _new(self, fact: GivenFact, user_id: str, item_id: str) -> bool:
        return self.n_events.get(item_id, 0) == 0


def read_shop(clean: Path, facts_until: datetime, own_until: datetime, vectors: Mapping[str, np.ndarray]) -> Shop:
    """Read the clean tables.

    Args:
        facts_until: The cut-off of the items' facts.
        own_until: When reasons are asked for: users' histories end here.
    """
    events = sorted(_rows(clean / "interactions.parquet"), key=lambda row: (row["timestamp"], row["position"] or 0))
    reviews = _rows(clean / "feedback.parquet") if (clean / "feedback.parquet").exists() else []
    chosen, rated = defaultdict[str, set[str]](set), defaultdict[str, dict[str, float]](dict)
    ratings = defaultdict[str, list[float]](list)
    own, disliked, n_events = defaultdict[str, dict[str, None]](dict), set[tuple[str, str]](), Counter[str]()
    for row in events:
        user, item, is_choice = row["user_id"], row["item_id"], row["event"] in _CHOICES
        if row["timestamp"] < facts_until:
            n_events[item] += 1
            if is_choice:
                chosen[item].add(user)
            if row["value"] is not None:
                rated[item][user] = row["value"]
                ratings[item].append(row["value"])
        if row["timestamp"] < own_until and is_choice:
            own[user][item] = None
            (disliked.add if row["value"] is not None and row["value"] <= 2 else disliked.discard)((user, item))
    texts, own_texts = defaultdict[str, list[tuple[str, float | None, str]]](list), defaultdict[str, list[str]](list)
    for row in reviews:
        texts[row["item_id"]].append((row["user_id"], row["rating"], row["text"]))
        if row["timestamp"] < own_until:
            own_texts[row["user_id"]].append(row["text"])
        if row["timestamp"] < facts_until:
            chosen[row["item_id"]].add(row["user_id"])
            if row["rating"] is not None:
                rated[row["item_id"]].setdefault(row["user_id"], row["rating"])
    items = {row["item_id"]: row for row in _rows(clean / "items.parquet")}
    kept = {user: [item for item in found if (user, item) not in disliked] for user, found in own.items()}
    return Shop(items, texts, chosen, rated, ratings, n_events, kept, own_texts, vectors)


def _rows(path: Path) -> Iterable[Any]:
    rows: list[Any] = pq.read_table(path).to_pylist()
    return rows
