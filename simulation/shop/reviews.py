"""Reviews of the simulated shop: words that follow the item, the rating, the match and the writer's own voice."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from simulation.shop.catalogue import SHELVES, Item
from simulation.shop.words import CHARACTERS

_PRAISE = (
    "wonderful", "splendid", "lovely", "brilliant", "gorgeous", "superb", "delightful", "cracking", "heavenly",
    "divine", "terrific", "magnificent",
)  # fmt: skip
_BLAME = (
    "dreadful", "dull", "disappointing", "poor", "sad", "flat", "grim", "awful", "bland", "weak", "forgettable",
    "sorry",
)  # fmt: skip
_BOOSTS = ("really", "truly", "so very", "quite", "absolutely", "simply", "honestly", "utterly")
_COMPANY = ("my wife", "my husband", "my sister", "our guests", "the children", "my flatmate", "my mother", "the team")
_SIGN_OFFS = (
    "Cheers", "Just my view", "Would love a bigger size", "More please", "That is all from me", "Thanks to the shop",
    "Back to the kettle now", "Until the next parcel", "Happy tasting", "You have been told",
)  # fmt: skip

_OPENINGS = {
    5: (
        "{boost} {praise}, this {noun}.",
        "What a {praise} {noun}!",
        "I have tried many a {style} and this one is {praise}.",
        "{praise} from the first moment.",
        "I would buy the {noun} by {maker} again tomorrow.",
    ),
    4: (
        "A {praise} {noun}, near enough perfect.",
        "Very good {style}, {boost} enjoyable.",
        "{maker} did well with this {noun}.",
        "Liked it a lot, the {noun} is {praise}.",
    ),
    3: (
        "The {noun} is all right.",
        "Decent {style}, nothing more.",
        "Neither {praise} nor {blame}, this {noun}.",
        "An average {noun} by {maker}.",
    ),
    2: (
        "I expected more of this {noun}.",
        "Rather {blame} for a {style}.",
        "{maker} can do better than this {noun}.",
        "A {blame} {noun}, to be fair.",
    ),
    1: (
        "{boost} {blame}.",
        "What a {blame} {noun}!",
        "I poured my money away on this {noun}.",
        "{blame} from start to finish, I gave it away.",
    ),
}
_TASTE_LIKED = (
    "The {character} side is what I hoped for, all {note}.",
    "So {character}, with {note} and then {other}.",
    "I love how {note} leads to {other}.",
    "Nobody makes {character} like {origin} does.",
)
_TASTE_MIXED = (
    "It is {character} with some {other}.",
    "You get {note}, then a little {other}.",
    "More {second} than {character} to me.",
)
_TASTE_DISLIKED = (
    "Far too {character} for me, nothing but {note}.",
    "The {note} is all I get and I do not care for {character} things.",
    "I never warmed to the {second} part, that {other} spoils it.",
)
_MONEY_GOOD = ("Good value for {range} goods.", "Worth every penny.", "The price is fair for something from {origin}.")
_MONEY_BAD = ("Too dear for what it is.", "Not worth the price.", "For {range} goods I expect more.")
_USES = ("We had it {occasion}.", "I keep it for {company}.", "{company} finished it {occasion}.", "Best {occasion}.")


@dataclass(frozen=True)
class Voice:
    """How one user writes.

    Attributes:
        praise, blame: Their favourite words.
        length: Sentences they like to write, 1 to 5.
        shouts: Chance that a sentence ends in an exclamation mark.
    """

    praise: tuple[str, ...]
    blame: tuple[str, ...]
    boost: str
    company: str
    sign_off: str
    length: int
    shouts: float


def find_voice(rng: np.random.Generator) -> Voice:
    """Draw a user's voice."""
    return Voice(
        praise=tuple(_PRAISE[i] for i in rng.choice(len(_PRAISE), 2, replace=False)),
        blame=tuple(_BLAME[i] for i in rng.choice(len(_BLAME), 2, replace=False)),
        boost=_pick(_BOOSTS, rng),
        company=_pick(_COMPANY, rng),
        sign_off=_pick(_SIGN_OFFS, rng),
        length=int(rng.choice([1, 2, 3, 4, 5], p=[0.1, 0.3, 0.3, 0.2, 0.1])),
        shouts=float(rng.beta(1, 5)),
    )


def write_review(voice: Voice, item: Item, rating: int, match: float, rng: np.random.Generator) -> str:
    """Write what this user says of this item.

    Args:
        rating: Stars, 1 to 5.
        match: How well the item meets the user's taste, about standard normal.
    """
    taste = _TASTE_LIKED if match > 0.4 else _TASTE_DISLIKED if match < -0.4 else _TASTE_MIXED
    parts = [_OPENINGS[rating], taste, _MONEY_GOOD if rating >= 4 else _MONEY_BAD, _USES]
    keep = [0, 1, *rng.permutation([2, 3])][: max(1, voice.length)]
    if rng.random() < 0.15:  # now and then somebody starts with the taste
        keep[0], keep[-1] = keep[-1], keep[0]
    words = _words(voice, item, rng)
    sentences = [_sentence(_pick(parts[part], rng).format_map(words), voice, rng) for part in keep]
    if voice.length > 2 and rng.random() < 0.5:
        sentences.append(f"{voice.sign_off}.")
    return " ".join(sentences)


def _words(voice: Voice, item: Item, rng: np.random.Generator) -> dict[str, str]:
    return {
        "praise": _pick(voice.praise, rng),
        "blame": _pick(voice.blame, rng),
        "boost": voice.boost,
        "company": voice.company,
        "noun": item.noun.lower(),
        "style": item.style.lower(),
        "maker": item.maker,
        "character": item.character,
        "second": item.second,
        "origin": item.origin,
        "range": item.range_name,
        "note": _pick(CHARACTERS[item.character], rng),
        "other": _pick(CHARACTERS[item.second], rng),
        "occasion": _pick(SHELVES[item.section].occasions, rng),
    }


def _sentence(text: str, voice: Voice, rng: np.random.Generator) -> str:
    text = text[0].upper() + text[1:]
    return text[:-1] + "!" if text.endswith(".") and rng.random() < voice.shouts else text


def _pick(options: tuple[str, ...], rng: np.random.Generator) -> str:
    return options[int(rng.integers(len(options)))]
