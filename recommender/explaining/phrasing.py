"""Facts as plain English sentences: a few templates per kind of fact, of which a seed takes one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from core import schema
from recommender.explaining.facts import Fact, FactKind
from recommender.inputs.texts import shorten, tidy

NAME_CHARS = 60
# Slots: {value}, {item} (the history's item), {act}, and the figures by their names; {count} agrees with {support}.
TEMPLATES: Mapping[FactKind, tuple[str, ...]] = {
    "aspect": (
        "{n_praise} reviewers praise the {value}{opinions}.",
        "What {n_praise} reviewers like about it: the {value}{opinions}.",
        "{n_praise} reviewers speak well of the {value}{opinions}.",
    ),
    "words": (
        "“{value}” comes back in your reviews, and in its title or description too.",
        "You often write of “{value}”, which its title or description names.",
    ),
    "category": (
        "It is from {value}, like {item}, which you {act}.",
        "You {act} {support_items} of {value} before, such as {item}, and this is another one.",
        "It stays with {value}, where you {act} {item}.",
    ),
    "brand": (
        "It is by {value}, like {item}, which you {act}.",
        "You {act} {support_items} by {value} before, such as {item}.",
        "{value} makes it, as {item}, which you {act}.",
    ),
    "price": (
        "At {price} it costs {than} the usual {usual_price} of what you {act}.",
        "Its price is {price}; what you {act} usually costs {usual_price}.",
    ),
    "together": (
        "{n_both} customers who chose {item}, as you did, chose this too.",
        "You chose {item}, and {n_both} customers chose both.",
        "{item} and this one were chosen together by {n_both} customers.",
    ),
    "liked_together": (
        "Of {n_rated} customers who rated both this and {item}, {n_liked} gave it four stars or more.",
        "{n_liked} of the {n_rated} customers who also rated {item} gave it at least four stars.",
    ),
    "similar": (
        "Of all that you {act}, it is most like {item}.",
        "It is close to {item}, which you {act}.",
    ),
    "rating": (
        "It has {mean_rating} of 5 stars on average, from {n_ratings} ratings.",
        "{n_ratings} ratings give it {mean_rating} of 5 stars on average.",
    ),
    "popularity": ("It is among the most popular of {value}: number {rank} of {of}.",),
    "attribute": ("It belongs to {value}.", "You find it in {value}."),
    "new": ("It is new here: there is nothing of it to go by yet.",),
}
_SHOP_WIDE = "It is among the most popular of the shop: number {rank} of {of}."
_COUNTED = "Customers have looked at it or chosen it {times} so far."
# Behind an aspect that the user cares for, and where an item of the history is praised for the same.
_IN_OWN_WORDS = "You write of that yourself."
_AS_PRAISED = "The same is said of {item}, which you {act}."


def phrase(facts: Sequence[Fact], name_of: Callable[[str], str], seed: int) -> list[tuple[str, ...]]:
    """The sentences of each fact, one or more; the same seed gives the same words.

    Args:
        name_of: From an item's id to what it is called.
    """
    rng = np.random.default_rng(seed)
    return [_sentences(fact, name_of, int(rng.integers(1 << 16))) for fact in facts]


def _sentences(fact: Fact, name_of: Callable[[str], str], draw: int) -> tuple[str, ...]:
    forms = TEMPLATES[fact.kind]
    if fact.kind == "popularity" and "rank" not in fact.numbers:
        forms = (_COUNTED,)
    elif fact.kind == "popularity" and not fact.value:
        forms = (_SHOP_WIDE,)
    slots = _slots(fact, name_of)
    said = forms[draw % len(forms)].format_map(slots)
    more = []
    if fact.kind == "aspect":
        more += [_IN_OWN_WORDS] if fact.numbers.get("in_own_words") else []
        more += [_AS_PRAISED.format_map(slots)] if fact.items else []
    return (said[0].upper() + said[1:], *more)


def _slots(fact: Fact, name_of: Callable[[str], str]) -> dict[str, str]:
    figures = {name: f"{value:.2f}" if name.endswith("price") else f"{value:g}" for name, value in fact.numbers.items()}
    times = int(fact.numbers.get("n_events", 0))
    return {
        **figures,
        "value": shown_value(fact),
        "act": fact.act,
        "item": name_of(fact.items[0]) if fact.items else "",
        "opinions": f" ({', '.join(f'“{word}”' for word in fact.opinions)})" if fact.opinions else "",
        "support_items": "an item" if fact.support == 1 else f"{fact.support} items",
        "than": "about" if fact.value == "usual" else "less than",
        "times": "once" if times == 1 else f"{times} times",
    }  # fmt: skip


def shown_value(fact: Fact) -> str:
    """What a fact is about, as a sentence has it: the last steps of a category's path."""
    if fact.kind in ("category", "attribute", "popularity"):
        return tidy(fact.value.split(schema.CATEGORY_SEPARATOR)[-1])
    return tidy(fact.value)


def name_of_item(title: str | None, item_id: str) -> str:
    """What a reason calls an item: its title, else its id; never the words of a review that stand for its text."""
    return shorten(tidy(title), NAME_CHARS) if title else f"item {item_id}"
