"""The simulated shop's catalogue: items whose texts carry what they are like."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta

import numpy as np

from simulation.shop.words import (
    CHARACTERS,
    NEW_ORIGINS,
    NEW_SECTIONS,
    RANGE_SENTENCES,
    RANGE_WORDS,
    RANGES,
    SECTIONS,
    Section,
)

SHELVES: dict[str, Section] = {**SECTIONS, **NEW_SECTIONS}
SECTION_NAMES = tuple(SHELVES)
CHARACTER_NAMES = tuple(CHARACTERS)
ORIGIN_NAMES = tuple(
    dict.fromkeys([*(origin for section in SHELVES.values() for origin in section.origins), *NEW_ORIGINS])
)

_RANGE_SHARES = (0.5, 0.35, 0.15)
_RANGE_FACTORS = (1.0, 1.8, 3.5)
_LATECOMERS = 0.2  # share of items that enter the catalogue while the shop is open
_NEW_WAVE = 0.4  # share of items that the drift scenario "catalogue" brings
_NEW_WAVE_PRICES = 1.7
_NEW_WAVE_RANGE_SHARES = (0.05, 0.25, 0.7)
_NEW_WAVE_PULL = 3.0  # the shop promotes new items


@dataclass(frozen=True)
class Traits:
    """What an item is like, from which its texts are written.

    Attributes:
        character, second: Main and second character, keys of `CHARACTERS`.
    """

    section: str
    style: str
    noun: str
    character: str
    second: str
    origin: str
    maker: str
    range_name: str


@dataclass(frozen=True)
class Item(Traits):
    """One item: what the shop shows of it, and what only the simulation knows (`quality`, `pull`).

    Attributes:
        quality: How good it is, standard normal; shows in ratings.
        pull: How visible the shop makes it, about standard normal; shows in counts.
        gone_at: When it leaves the shop; None: never.
    """

    item_id: str
    title: str
    description: str
    price: float
    created_at: datetime
    quality: float
    pull: float
    gone_at: datetime | None = None


def stock(
    n_items: int,
    opened_at: datetime,
    days: int,
    new_wave_at: datetime | None,
    rng: np.random.Generator,
    lifetime_days: float | None = None,
) -> list[Item]:
    """Make a catalogue.

    Args:
        opened_at: When the log begins; most items are older.
        days: Length of the log, days.
        new_wave_at: When a wave of dearer items of new makers, and a whole new section, enters; None for no wave.
        lifetime_days: For about how long an item is there; items come as steadily as they go. None: for ever.
    """
    ids = rng.permutation(n_items)
    waves = rng.random(n_items) < (_NEW_WAVE if new_wave_at is not None else 0.0)
    items = []
    for number in range(n_items):
        is_new = bool(waves[number])
        gone = None
        if lifetime_days is not None:
            created = opened_at + timedelta(days=float(rng.uniform(-lifetime_days, days)))
            gone = created + timedelta(days=lifetime_days * float(rng.lognormal(-0.045, 0.3)))
        elif is_new and new_wave_at is not None:
            created = new_wave_at + timedelta(minutes=float(rng.uniform(0, 1440)))
        elif rng.random() < _LATECOMERS:
            created = opened_at + timedelta(days=float(rng.uniform(0, 0.9 * days)))
        else:
            created = opened_at - timedelta(days=float(rng.uniform(1, 700)))
        # Every section has its turn, so that a small catalogue has them all.
        names = tuple(NEW_SECTIONS) if is_new and rng.random() < 0.6 else tuple(SECTIONS)
        item = _make_item(f"i{10_000 + int(ids[number])}", names[number % len(names)], created, is_new, rng)
        items.append(replace(item, gone_at=gone))
    return items


def _make_item(item_id: str, section_name: str, created: datetime, is_new: bool, rng: np.random.Generator) -> Item:
    section = SHELVES[section_name]
    style = _pick(tuple(section.styles), rng)
    noun = _pick(section.styles[style], rng)
    character, second = (section.characters[i] for i in rng.choice(len(section.characters), 2, replace=False))
    origin, maker = _pick(NEW_ORIGINS if is_new else section.origins, rng), _pick(section.makers, rng)
    range_name = RANGES[int(rng.choice(3, p=_NEW_WAVE_RANGE_SHARES if is_new else _RANGE_SHARES))]
    if is_new:
        maker = f"New {maker}"
    price = section.price * _RANGE_FACTORS[RANGES.index(range_name)] * float(rng.lognormal(0, 0.2))
    traits = Traits(section_name, style, noun, character, second, origin, maker, range_name)
    title = f"{_name(traits, rng)}, {_pick(section.sizes, rng)}"
    return Item(
        **asdict(traits),
        item_id=item_id,
        title=title,
        description=_describe(traits, section.occasions, rng),
        price=round(price * (_NEW_WAVE_PRICES if is_new else 1.0), 2),
        created_at=created.replace(microsecond=0),
        quality=float(rng.standard_normal()),
        pull=float(rng.standard_normal()) + (_NEW_WAVE_PULL if is_new else 0.0),
    )


def _name(item: Traits, rng: np.random.Generator) -> str:
    name = f"{_pick(RANGE_WORDS[item.range_name], rng)} {item.character.title()} {item.noun}"
    origin = item.origin
    forms = (f"{name} from {origin}", f"{origin.removeprefix('the ')} {name}", f"{name}, {origin}")
    return _pick(forms, rng)


def _describe(item: Traits, occasions: tuple[str, ...], rng: np.random.Generator) -> str:
    character, second, origin, style = item.character, item.second, item.origin, item.style.lower()
    note, other = _pick(CHARACTERS[character], rng), _pick(CHARACTERS[second], rng)
    noun = item.noun.lower()
    lead = (
        f"{item.maker} brings this {character} {noun} from {origin}, with {note} and a {second} touch of {other}.",
        f"{_a(character)} and {second} {style} from {origin}: think of {note}, then {other}.",
        f"From {origin}, {style} with {note} up front and {other} behind it; {character} through and through.",
    )
    use = f"Lovely {_pick(occasions, rng)}."
    sentences = [_pick(lead, rng), _pick(RANGE_SENTENCES[item.range_name], rng), use]
    return " ".join(sentences)


def _a(word: str) -> str:
    return f"{'An' if word[0] in 'aeiou' else 'A'} {word}"


def _pick(options: tuple[str, ...], rng: np.random.Generator) -> str:
    return options[int(rng.integers(len(options)))]
