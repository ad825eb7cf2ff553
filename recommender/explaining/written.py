"""Whether written reviews praise what several reviewers of the item praise, or what its text says."""

from __future__ import annotations

from recommender.aspects.aspect import head_of
from recommender.aspects.extraction import extract_aspects
from recommender.explaining.item_facts import ItemFacts
from recommender.metrics.texts import words


def supported_praise(facts: ItemFacts, item_id: str, text: str) -> tuple[int, int]:
    """How much of what a text praises is supported, and how much it praises: each aspect once.

    An aspect is supported where at least three reviewers of the item praise it and few blame it, or where the item's
    text holds it with the word of praise. Blame is left out: what reviewers blame is not kept.

    Args:
        facts: Of the catalogue that has the item.
    Raises:
        UnknownItem: the item is not in the catalogue.
    """
    (found,) = extract_aspects([text])
    praised = {head_of(one.term): one for one in found if one.is_praise}
    if not praised:
        return 0, 0
    place = facts.catalogue.ids.index(item_id) - 1
    agreed = {head_of(one.term) for one in facts.aspects.get(place, ())}
    item = set(words(facts.catalogue.texts[place]))
    is_named = {
        head: one.opinion in item and all({word, f"{word}s", f"{word}es"} & item for word in one.term.split())
        for head, one in praised.items()
    }
    return sum(head in agreed or is_named[head] for head in praised), len(praised)
