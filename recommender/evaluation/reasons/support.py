"""Whether the shop's tables support a fact, looked up again without any code that made it.

Everything is counted from the clean tables, as of the cut-off. An aspect is supported where so many different customers
name it in their reviews who rate the item 3 or more, where more of those who name it rate it 4 or more than 2 or less,
and where each word of praise that is quoted stands in a sentence that names it; reviews from after the cut-off may
speak for it too.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from recommender.explaining.facts import Fact

_CHOICES = ("cart", "purchase", "rating")
_SENTENCE = re.compile(r"(?<=[.!?])\s*")
# Words of praise that stand for verbs.
_VERBS = {"loved": r"\b(love[ds]?|adore)\b", "liked": r"\b(like[ds]?|enjoy(ed)?)\b"}
_TOLERANCE = 0.015
# How like an item another one is, as the ranker compares them; None where it does not.
Likeness = Callable[[str, str], float | None]


@dataclass(frozen=True)
class Shop:
    """The clean tables, as far as facts are about some users and items.

    Attributes:
        items: Rows by item, of the whole shop.
        reviews: Of each item, (user, rating, text), of all time.
        chosen: Of each item, who chose it before the cut-off.
        rated: Of each item, who rated or reviewed it before the cut-off, and how.
        ratings: Of each item, all ratings before the cut-off.
        n_events: Of each item of the shop, events before the cut-off.
        own: Of each user, the newest items that they chose before the history's end, without those rated 2 or less.
        looked_at: The same of what they did not choose.
        own_texts: Of each user, their reviews from before the history's end.
        likeness: How like an item another one is.
    """

    items: Mapping[str, Mapping[str, Any]]
    reviews: Mapping[str, list[tuple[str, float | None, str]]]
    chosen: Mapping[str, set[str]]
    rated: Mapping[str, dict[str, float]]
    ratings: Mapping[str, list[float]]
    n_events: Mapping[str, int]
    own: Mapping[str, list[str]]
    looked_at: Mapping[str, list[str]]
    own_texts: Mapping[str, list[str]]
    likeness: Likeness

    def supports(self, fact: Fact, user_id: str, item_id: str) -> bool:
        """Whether a fact that is said to a user of an item is so."""
        checks: dict[str, Callable[[Fact, str, str], bool]] = {
            "aspect": self._aspect, "words": self._words, "category": self._category, "brand": self._brand,
            "price": self._price, "together": self._together, "liked_together": self._liked, "similar": self._similar,
            "rating": self._rating, "popularity": self._popularity, "attribute": self._attribute, "new": self._new,
        }  # fmt: skip
        return checks[fact.kind](fact, user_id, item_id) and set(fact.items) <= set(self._past(fact, user_id))

    def _past(self, fact: Fact, user_id: str, without: str = "") -> list[str]:
        """What the user chose, or looked at where the fact says no more, without an item."""
        done = self.own if fact.act == "chose" else self.looked_at
        return [one for one in done.get(user_id, ()) if one != without]

    @cached_property
    def _counts_of_categories(self) -> dict[str | None, list[int]]:
        """Of each category, the events of its items, ascending."""
        found = defaultdict[str | None, list[int]](list)
        for one, row in self.items.items():
            found[row["category"]].append(self.n_events.get(one, 0))
        return {category: sorted(counts) for category, counts in found.items()}

    def _aspect(self, fact: Fact, user_id: str, item_id: str) -> bool:
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

    def _words(self, fact: Fact, user_id: str, item_id: str) -> bool:
        item = f"{self.items[item_id]['title']} {self.items[item_id]['description']}".lower()
        own = sum(fact.value in text.lower() for text in self.own_texts.get(user_id, ()))
        return fact.value in item and own >= 2

    def _category(self, fact: Fact, user_id: str, item_id: str) -> bool:
        return self._shared("category", fact, user_id, item_id)

    def _brand(self, fact: Fact, user_id: str, item_id: str) -> bool:
        return self._shared("brand", fact, user_id, item_id)

    def _shared(self, column: str, fact: Fact, user_id: str, item_id: str) -> bool:
        def has(one: str) -> bool:
            value = self.items[one][column] or ""
            return bool(value == fact.value or value.startswith(f"{fact.value} > "))

        own = self._past(fact, user_id, item_id)
        return has(item_id) and all(has(one) for one in fact.items) and sum(map(has, own)) >= fact.support

    def _price(self, fact: Fact, user_id: str, item_id: str) -> bool:
        own = self._past(fact, user_id, item_id)
        usual = median([price for one in own if (price := self.items[one]["price"])])
        price = self.items[item_id]["price"] or 0.0
        said = fact.numbers["price"] == price and abs(fact.numbers["usual_price"] - usual) <= _TOLERANCE * usual
        return said and (0.8 * usual <= price <= 1.2 * usual if fact.value == "usual" else price < 0.8 * usual)

    def _together(self, fact: Fact, user_id: str, item_id: str) -> bool:
        (other,) = fact.items
        return len(self.chosen[item_id] & self.chosen[other]) >= fact.numbers["n_both"]

    def _liked(self, fact: Fact, user_id: str, item_id: str) -> bool:
        (other,) = fact.items
        both = [self.rated[item_id][user] for user in self.rated[item_id].keys() & self.rated[other].keys()]
        liked = sum(rating >= 4 for rating in both)
        return (len(both), liked) == (fact.numbers["n_rated"], fact.numbers["n_liked"])

    def _similar(self, fact: Fact, user_id: str, item_id: str) -> bool:
        (other,) = fact.items
        found = {one: self.likeness(item_id, one) for one in self._past(fact, user_id, item_id)}
        known = {one: likeness for one, likeness in found.items() if likeness is not None}
        return other in known and known[other] >= max(known.values()) - 1e-4

    def _rating(self, fact: Fact, user_id: str, item_id: str) -> bool:
        ratings = self.ratings[item_id]
        near = bool(ratings) and abs(float(np.mean(ratings)) - fact.numbers["mean_rating"]) <= _TOLERANCE
        return near and len(ratings) == fact.numbers["n_ratings"]

    def _popularity(self, fact: Fact, user_id: str, item_id: str) -> bool:
        said = self.n_events.get(item_id, 0) == fact.numbers["n_events"]
        if "rank" not in fact.numbers:
            return said
        alike = self._counts_of_categories[self.items[item_id]["category"]]
        above = len(alike) - bisect_right(alike, self.n_events.get(item_id, 0))
        return said and (above + 1, len(alike)) == (fact.numbers["rank"], fact.numbers["of"])

    def _attribute(self, fact: Fact, user_id: str, item_id: str) -> bool:
        return bool(self.items[item_id]["category"] == fact.value)

    def _new(self, fact: Fact, user_id: str, item_id: str) -> bool:
        return self.n_events.get(item_id, 0) == 0


def read_shop(
    clean: Path,
    facts_until: datetime,
    own_until: datetime,
    users: Collection[str],
    items: Collection[str],
    likeness: Likeness,
    max_history: int,
) -> Shop:
    """Read what the clean tables hold of some users and items: memory grows with these, and not with the shop's events.

    Args:
        facts_until: The cut-off of the items' facts.
        own_until: When reasons are asked for: users' histories end here.
        users: Who is asked for.
        items: What is said of them.
        max_history: So many of a user's newest items are what is known of them.
    """
    interactions = ds.dataset(clean / "interactions.parquet")
    before = pc.field("timestamp") < facts_until
    counted = interactions.to_table(columns=["item_id"], filter=before).column("item_id").value_counts().to_pylist()
    mine = _in_order(_rows(interactions, (pc.field("timestamp") < own_until) & pc.field("user_id").isin([*users])))
    own, looked_at = _histories(mine, max_history)
    about = {*items, *(one for done in (*own.values(), *looked_at.values()) for one in done)}
    chosen, rated = defaultdict[str, set[str]](set), defaultdict[str, dict[str, float]](dict)
    ratings = defaultdict[str, list[float]](list)
    for row in _in_order(_rows(interactions, before & pc.field("item_id").isin([*about]))):
        if row["event"] in _CHOICES:
            chosen[row["item_id"]].add(row["user_id"])
        if row["value"] is not None:
            rated[row["item_id"]][row["user_id"]] = row["value"]
            ratings[row["item_id"]].append(row["value"])
    texts, own_texts = defaultdict[str, list[tuple[str, float | None, str]]](list), defaultdict[str, list[str]](list)
    is_of = pc.field("item_id").isin([*about]) | pc.field("user_id").isin([*users])
    for row in _rows(ds.dataset(clean / "feedback.parquet"), is_of) if (clean / "feedback.parquet").exists() else ():
        texts[row["item_id"]].append((row["user_id"], row["rating"], row["text"]))
        if row["timestamp"] < own_until:
            own_texts[row["user_id"]].append(row["text"])
        if row["timestamp"] < facts_until:
            chosen[row["item_id"]].add(row["user_id"])
            if row["rating"] is not None:
                rated[row["item_id"]].setdefault(row["user_id"], row["rating"])
    described = {row["item_id"]: row for row in pq.read_table(clean / "items.parquet").to_pylist()}
    n_events = {one["values"]: one["counts"] for one in counted}
    return Shop(described, texts, chosen, rated, ratings, n_events, own, looked_at, own_texts, likeness)


def _histories(rows: Sequence[Mapping[str, Any]], most: int) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """Of each user's newest items, at most so many, what they chose, and what they looked at and did not choose.

    What they rated 2 or less the last time is left out.
    """
    touched, chosen = defaultdict[str, dict[str, None]](dict), set[tuple[str, str]]()
    rated: dict[tuple[str, str], float] = {}
    for row in rows:
        user, item = row["user_id"], row["item_id"]
        touched[user].pop(item, None)
        touched[user][item] = None
        if row["event"] in _CHOICES:
            chosen.add((user, item))
        if row["value"] is not None:
            rated[user, item] = row["value"]
    kept = {
        user: [item for item in list(items)[-most:] if rated.get((user, item), 5.0) > 2]
        for user, items in touched.items()
    }
    own, looked_at = (
        {user: [item for item in items if ((user, item) in chosen) == is_choice] for user, items in kept.items()}
        for is_choice in (True, False)
    )
    return own, looked_at


def _in_order(rows: list[Any]) -> list[Any]:
    return sorted(rows, key=lambda row: (row["timestamp"], row["position"] or 0))


def _rows(table: ds.Dataset, kept: pc.Expression) -> list[Any]:
    rows: list[Any] = table.to_table(filter=kept).to_pylist()
    return rows
