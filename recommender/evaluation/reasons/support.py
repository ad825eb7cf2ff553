"""Whether the shop's tables support a fact, looked up again without any code that made it.

Everything is counted from the clean tables, as of the cut-off. An aspect is supported where so many different customers
name it in their reviews who rate the item 3 or more, where more of those who name it rate it 4 or more than 2 or less,
and where each word of praise that is quoted stands in a sentence that names it; reviews from after the cut-off may
speak for it too.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from recommender.evaluation.reasons.customers import CHOICES, Customers, read_customers
from recommender.explaining.facts import Fact

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
        items: What these are: category, brand and price, and of those that something is said of title and description.
        reviews: Of each item that something is said of, (user, rating, text), of all time.
        customers: Of each of the items before the cut-off.
        n_events: Of each item, events before the cut-off.
        by_category: Of each category of the shop, the events of its items before the cut-off, ascending.
        own: Of each user, the newest items that they chose before the history's end, without those rated 2 or less.
        looked_at: The same of what they did not choose.
        own_texts: Of each user, their reviews from before the history's end.
        likeness: How like an item another one is.
    """

    items: Mapping[str, Mapping[str, Any]]
    reviews: Mapping[str, list[tuple[str, float | None, str]]]
    customers: Mapping[str, Customers]
    n_events: Mapping[str, int]
    by_category: Mapping[str | None, np.ndarray]
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

    def _aspect(self, fact: Fact, user_id: str, item_id: str) -> bool:
        # "sound" is named by "sounds", "look" by "looks" and "looked".
        named = [re.compile(rf"\b{re.escape(word.removesuffix('s'))}(s|es|ed|ing)?\b") for word in fact.value.split()]
        ratings: dict[str, float | None] = {}
        sentences: list[str] = []
        for user, rating, text in self.reviews.get(item_id, ()):
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
        return self.customers[item_id].shared_with(self.customers[other]) >= fact.numbers["n_both"]

    def _liked(self, fact: Fact, user_id: str, item_id: str) -> bool:
        (other,) = fact.items
        both = self.customers[item_id].ratings_shared_with(self.customers[other])
        return (len(both), (both >= 4).sum()) == (fact.numbers["n_rated"], fact.numbers["n_liked"])

    def _similar(self, fact: Fact, user_id: str, item_id: str) -> bool:
        (other,) = fact.items
        found = {one: self.likeness(item_id, one) for one in self._past(fact, user_id, item_id)}
        known = {one: likeness for one, likeness in found.items() if likeness is not None}
        return other in known and known[other] >= max(known.values()) - 1e-4

    def _rating(self, fact: Fact, user_id: str, item_id: str) -> bool:
        found = self.customers[item_id]
        near = abs(found.mean_rating - fact.numbers["mean_rating"]) <= _TOLERANCE
        return near and found.n_ratings == fact.numbers["n_ratings"]

    def _popularity(self, fact: Fact, user_id: str, item_id: str) -> bool:
        said = self.n_events.get(item_id, 0) == fact.numbers["n_events"]
        if "rank" not in fact.numbers:
            return said
        alike = self.by_category[self.items[item_id]["category"]]
        above = len(alike) - int(np.searchsorted(alike, self.n_events.get(item_id, 0), side="right"))
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
    named: Collection[str],
    likeness: Likeness,
    max_history: int,
) -> Shop:
    """Read what the clean tables hold of some users and items; of the shop's other rows only items are counted.

    Args:
        facts_until: The cut-off of the items' facts.
        own_until: When reasons are asked for: users' histories end here.
        users: Who is asked for.
        items: What something is said of.
        named: Other items that facts name.
        max_history: So many of a user's newest items are what is known of them.
    """
    interactions = ds.dataset(clean / "interactions.parquet")
    feedback = ds.dataset(clean / "feedback.parquet") if (clean / "feedback.parquet").exists() else None
    of_users = pc.field("user_id").isin([*users]) & (pc.field("timestamp") < own_until)
    own, looked_at = _histories(interactions, of_users, max_history)
    past = {one for done in (*own.values(), *looked_at.values()) for one in done}
    texts, own_texts = defaultdict[str, list[tuple[str, float | None, str]]](list), defaultdict[str, list[str]](list)
    if feedback is not None:
        columns = ["user_id", "item_id", "rating", "text"]
        for row in feedback.to_table(columns=columns, filter=pc.field("item_id").isin([*items])).to_pylist():
            texts[row["item_id"]].append((row["user_id"], row["rating"], row["text"]))
        for row in feedback.to_table(columns=["user_id", "text"], filter=of_users).to_pylist():
            own_texts[row["user_id"]].append(row["text"])
    about, counts = {*items, *named, *past}, _count_events(interactions, clean / "items.parquet", facts_until)
    described = _describe(clean / "items.parquet", about, items)
    return Shop(
        described,
        texts,
        read_customers(interactions, feedback, {*items, *named}, facts_until),
        {row["item_id"]: row["n"] for row in counts.filter(pc.field("item_id").isin([*about])).to_pylist()},
        _by_category(counts),
        own,
        looked_at,
        own_texts,
        likeness,
    )


def _count_events(interactions: ds.Dataset, items: Path, until: datetime) -> pa.Table:
    """Of every item of the shop its id, category and `n`, its events before a moment."""
    seen = interactions.to_table(columns=["item_id"], filter=pc.field("timestamp") < until)
    counts = seen.group_by("item_id").aggregate([([], "count_all")]).rename_columns({"count_all": "n"})
    found = pq.read_table(items, columns=["item_id", "category"]).join(counts, "item_id", join_type="left outer")
    return found.set_column(found.column_names.index("n"), "n", found.column("n").fill_null(0))


def _by_category(counts: pa.Table) -> dict[str | None, np.ndarray]:
    found = counts.group_by("category").aggregate([("n", "list")])
    rows = zip(found.column("category").to_pylist(), found.column("n_list"), strict=True)
    return {category: np.sort(numbers.values.to_numpy()) for category, numbers in rows}


def _describe(items: Path, about: Collection[str], in_words: Collection[str]) -> dict[str, dict[str, Any]]:
    """Rows by item, those of some items with their texts."""
    columns, texts = ["item_id", "category", "brand", "price"], ["title", "description"]
    table, wanted = ds.dataset(items), pc.field("item_id").isin([*in_words])
    found = table.to_table(columns=columns, filter=pc.field("item_id").isin([*about])).to_pylist()
    said = {row["item_id"]: row for row in table.to_table(columns=["item_id", *texts], filter=wanted).to_pylist()}
    return {row["item_id"]: {**row, **said.get(row["item_id"], {})} for row in found}


def _histories(
    interactions: ds.Dataset, wanted: pc.Expression, most: int
) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """Of each user's newest items, at most so many, what they chose, and what they looked at and did not choose.

    What they rated 2 or less the last time is left out.
    """
    columns = ["user_id", "item_id", "event", "value", "timestamp", "position"]
    rows: list[Any] = interactions.to_table(columns=columns, filter=wanted).to_pylist()
    touched, chosen = defaultdict[str, dict[str, None]](dict), set[tuple[str, str]]()
    rated: dict[tuple[str, str], float] = {}
    for row in sorted(rows, key=lambda row: (row["timestamp"], row["position"] or 0)):
        user, item = row["user_id"], row["item_id"]
        touched[user].pop(item, None)
        touched[user][item] = None
        if row["event"] in CHOICES:
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
