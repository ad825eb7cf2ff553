"""What the simulated shop's users do: latent tastes, visits, purchases, ratings and reviews.

Three things make a sequence worth learning: a visit follows one thread (what is bought next goes with what was bought
last, and shares its character), tastes differ between users but come in kinds, and users seldom buy the same item
twice.
"""

from __future__ import annotations

from collections.abc import Iterator
from copy import copy
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np

from core.schema import TableName
from simulation.shop.catalogue import CHARACTER_NAMES, ORIGIN_NAMES, SECTION_NAMES, SHELVES, Item
from simulation.shop.reviews import find_voice, write_review
from simulation.shop.words import AGE_GROUPS, COUNTRIES, GENDERS, NEW_SECTION, RANGES

_KINDS = 12  # kinds of people, each with a taste of its own
_VISITS = 3.0  # mean of the visits of a user
_STEPS = 2.8  # mean of the items looked at in a visit
_STAYS, _FOLLOWS = 0.35, 0.4  # chance to look on the same shelf, or on one that goes with the last purchase
_SHARPNESS = 2.2  # of the choice between items: the larger, the more it obeys taste
_THREAD = 2.4  # weight of having the character of the last purchase
_CANDIDATES = 200  # items that a user can compare at most
_BOUGHT_BEFORE = 5.0
_HOLD_OF_HABIT_IN_FASHION = 0.3
_FASHION_SECTIONS = ("Wine", "Kitchenware")
_FASHION_CHARACTERS = ("smoky", "citrus", "copper")
_NEW_SECTION_PULL = 2.0
_HOURS = np.array([1, 1, 0, 0, 0, 1, 2, 4, 5, 5, 5, 6, 8, 7, 5, 5, 5, 6, 8, 10, 11, 9, 6, 3], dtype=float)


@dataclass(frozen=True)
class Taste:
    """What a user likes; each array holds one weight per name. Larger is better, about standard normal.

    Attributes:
        sections: Shape (n_sections,).
        characters: Shape (n_characters,).
        origins: Shape (n_origins,).
        ranges: Shape (3,).
    """

    sections: np.ndarray
    characters: np.ndarray
    origins: np.ndarray
    ranges: np.ndarray

    def blend(self, own: float, other: Taste, others: float) -> Taste:
        """A weighted sum of two tastes."""
        return Taste(
            own * self.sections + others * other.sections,
            own * self.characters + others * other.characters,
            own * self.origins + others * other.origins,
            own * self.ranges + others * other.ranges,
        )


class Shelf:
    """A section's items as arrays, oldest first."""

    def __init__(self, items: list[Item]) -> None:
        self.items = sorted(items, key=lambda item: item.created_at)
        self.created_s = np.array([item.created_at.timestamp() for item in self.items])
        self.gone_s = np.array([np.inf if item.gone_at is None else item.gone_at.timestamp() for item in self.items])
        self.character = np.array([CHARACTER_NAMES.index(item.character) for item in self.items], dtype=int)
        self.second = np.array([CHARACTER_NAMES.index(item.second) for item in self.items], dtype=int)
        self.origin = np.array([ORIGIN_NAMES.index(item.origin) for item in self.items], dtype=int)
        self.range = np.array([RANGES.index(item.range_name) for item in self.items], dtype=int)
        self.quality = np.array([item.quality for item in self.items])
        self.pull = np.array([item.pull for item in self.items])

    def there(self, now: datetime) -> np.ndarray:
        """The places of the items that are in the shop, ascending. Shape (n,), integers."""
        n_come = int(np.searchsorted(self.created_s, now.timestamp()))
        return np.flatnonzero(self.gone_s[:n_come] > now.timestamp())

    def match(self, taste: Taste, at: np.ndarray) -> np.ndarray:
        """How well the items at these places meet a taste, about standard normal. Shape as `at`."""
        return (
            0.75 * taste.characters[self.character[at]]
            + 0.4 * taste.characters[self.second[at]]
            + 0.35 * taste.origins[self.origin[at]]
            + 0.35 * taste.ranges[self.range[at]]
        )


@dataclass(frozen=True)
class Times:
    """When the log opens and closes, and when tastes drift (None: never)."""

    opens_at: datetime
    closes_at: datetime
    taste_drifts_at: datetime | None
    catalogue_drifts_at: datetime | None


class Crowd:
    """All that users share: the shelves, the kinds of people, the fashion to come."""

    def __init__(self, items: list[Item], times: Times, rng: np.random.Generator) -> None:
        self.times = times
        self.shelves = [Shelf([item for item in items if item.section == name]) for name in SECTION_NAMES]
        self.kinds = [_draw_taste(rng) for _ in range(_KINDS)]
        self.fashion = _fashion(rng)


def _softmax(values: np.ndarray) -> np.ndarray:
    raised = np.exp(values - values.max())
    shares: np.ndarray = raised / raised.sum()
    return shares


def _draw_taste(rng: np.random.Generator) -> Taste:
    sections, characters, origins, ranges = (
        rng.standard_normal(n) for n in (len(SECTION_NAMES), len(CHARACTER_NAMES), len(ORIGIN_NAMES), len(RANGES))
    )
    return Taste(sections, characters, origins, ranges)


def _fashion(rng: np.random.Generator) -> Taste:
    """What everyone wants once tastes drift: a few sections, a few characters, the dearest range, some origins."""
    return Taste(
        sections=np.array([2.2 if name in _FASHION_SECTIONS else -0.6 for name in SECTION_NAMES]),
        characters=np.array([2.5 if name in _FASHION_CHARACTERS else -0.8 for name in CHARACTER_NAMES]),
        origins=rng.standard_normal(len(ORIGIN_NAMES)) * 1.5,
        ranges=np.array([-1.5, 0.0, 3.0]),
    )


Row = tuple[TableName, dict[str, Any]]


class User:
    """One user: tastes, voice, and a memory of what was bought."""

    def __init__(self, user_id: str, crowd: Crowd, rng: np.random.Generator) -> None:
        self.user_id, self.crowd, self.rng = user_id, crowd, rng
        kind = int(rng.integers(_KINDS))
        self.taste = crowd.kinds[kind].blend(0.85, _draw_taste(rng), 0.5)
        self.mildness = float(rng.normal(0, 0.35))
        self.voice = find_voice(rng)
        self.bought: set[str] = set()
        self.last: tuple[int, Item] | None = None
        self.n_events = 0
        self.age_group = AGE_GROUPS[(kind + int(rng.random() < 0.4)) % len(AGE_GROUPS)]
        self.gender = GENDERS[int(rng.choice(3, p=[0.49, 0.48, 0.03]))]
        self.country = COUNTRIES[int(rng.choice(5, p=[0.45, 0.2, 0.15, 0.1, 0.1]))]
        length = crowd.times.closes_at - crowd.times.opens_at
        since = rng.uniform(0, 0.97) if rng.random() < 0.3 else -rng.exponential(1.0)
        signup = crowd.times.opens_at + length * float(since)
        self.signup_at = signup.replace(hour=0, minute=0, second=0, microsecond=0)

    def live(self) -> Iterator[Row]:
        """Everything the user leaves in the logs: the sign-up, then events and reviews, oldest visit first."""
        yield (
            "users",
            {
                "user_id": self.user_id,
                "signup_at": self.signup_at,
                "age_group": self.age_group,
                "gender": self.gender,
                "country": self.country,
            },
        )
        opens, closes = self.crowd.times.opens_at, self.crowd.times.closes_at
        begin = max(opens, self.signup_at)
        n_visits = 1 + self.rng.poisson(
            _VISITS * self.rng.lognormal(-0.18, 0.6) * ((closes - begin) / (closes - opens))
        )
        for share in np.sort(self.rng.random(n_visits)):
            yield from self._visit(begin + (closes - begin) * float(share))

    def _visit(self, about: datetime) -> Iterator[Row]:
        hour = int(self.rng.choice(24, p=_HOURS / _HOURS.sum()))
        now = about.replace(hour=hour, minute=int(self.rng.integers(60)), second=0, microsecond=0)
        basket: list[tuple[Item, float]] = []
        for _ in range(1 + self.rng.poisson(_STEPS - 1)):
            now += timedelta(seconds=int(self.rng.integers(20, 400)))
            chosen = self._choose(now)
            if chosen is None:
                continue
            section, item, match = chosen
            yield from self._log(item, "view", now)
            if self.buys(match):
                basket.append((item, match))
                self.take(section, item)
        paid_at = now + timedelta(seconds=int(self.rng.integers(30, 300)))
        for position, (item, _) in enumerate(basket):  # paid together: these events share their timestamp
            yield from self._log(item, "purchase", paid_at, position=position)
        for item, match in basket:
            if self.rng.random() < 0.85:
                after = timedelta(hours=float(self.rng.uniform(20, 150)), seconds=int(self.rng.integers(3600)))
                yield from self._rate(item, match, (paid_at + after).replace(microsecond=0))

    def _choose(self, now: datetime) -> tuple[int, Item, float] | None:
        """Pick a shelf, then an item on it; None when the shelf is still empty."""
        taste, hold = self._taste_at(now)
        section = self._choose_section(taste, hold)
        shelf = self.crowd.shelves[section]
        there = shelf.there(now)
        if not len(there):
            return None
        at = there if len(there) <= _CANDIDATES else there[self.rng.integers(len(there), size=_CANDIDATES)]
        match = shelf.match(taste, at)
        wish = self._wish(shelf, at, match, hold)
        best = int(np.argmax(wish + self.rng.gumbel(size=len(at))))
        return section, shelf.items[at[best]], float(match[best])

    def _wish(self, shelf: Shelf, at: np.ndarray, match: np.ndarray, hold: float) -> np.ndarray:
        """How much each of the items at these places is wanted now. Shape as `at`."""
        wish: np.ndarray = _SHARPNESS * match + 0.3 * shelf.quality[at] + 0.25 * shelf.pull[at]
        if self.last is not None:  # the thread: what was bought last sets the character of the next
            wish += hold * _THREAD * (shelf.character[at] == CHARACTER_NAMES.index(self.last[1].character))
            wish += hold * 0.5 * _THREAD * (shelf.character[at] == CHARACTER_NAMES.index(self.last[1].second))
        wish -= _BOUGHT_BEFORE * np.array([shelf.items[place].item_id in self.bought for place in at])
        return wish

    def _choose_section(self, taste: Taste, hold: float) -> int:
        draw = self.rng.random()
        if self.last is not None and draw < hold * _STAYS:
            return self.last[0]
        if self.last is not None and draw < hold * (_STAYS + _FOLLOWS):
            friends = SHELVES[SECTION_NAMES[self.last[0]]].goes_with
            return SECTION_NAMES.index(friends[int(self.rng.integers(len(friends)))])
        return int(np.argmax(taste.sections + self.rng.gumbel(size=len(SECTION_NAMES))))

    def choice_probabilities(self, now: datetime) -> list[np.ndarray]:
        """How likely each item is the next that the user looks at: what `_choose` draws from, exactly.

        Where a shelf has more items than a user can compare, as if they could be compared all.

        Returns:
            One array per shelf, shape (n_items of the shelf,). They sum to 1 less the chance of an empty shelf.
        """
        taste, hold = self._taste_at(now)
        sections, found = self._section_probabilities(taste, hold), []
        for shelf, share in zip(self.crowd.shelves, sections.tolist(), strict=True):
            chances, at = np.zeros(len(shelf.items)), shelf.there(now)
            if len(at):
                chances[at] = share * _softmax(self._wish(shelf, at, shelf.match(taste, at), hold))
            found.append(chances)
        return found

    def _section_probabilities(self, taste: Taste, hold: float) -> np.ndarray:
        """What `_choose_section` draws from. Shape (n_sections,)."""
        by_taste = _softmax(taste.sections)
        if self.last is None:
            return by_taste
        shares = (1 - hold * (_STAYS + _FOLLOWS)) * by_taste
        shares[self.last[0]] += hold * _STAYS
        friends = SHELVES[SECTION_NAMES[self.last[0]]].goes_with
        for friend in friends:
            shares[SECTION_NAMES.index(friend)] += hold * _FOLLOWS / len(friends)
        return shares

    def buys(self, match: float) -> bool:
        """Whether an item that was looked at is bought."""
        return bool(self.rng.random() < 1 / (1 + np.exp(-(0.8 + 0.5 * match))))

    def take(self, section: int, item: Item) -> None:
        """Remember a purchase."""
        self.last = (section, item)
        self.bought.add(item.item_id)

    def consider(self, section: int, place: int, now: datetime) -> None:
        """Look at an item, and buy it or not."""
        shelf = self.crowd.shelves[section]
        taste, _ = self._taste_at(now)
        if self.buys(float(shelf.match(taste, np.array([place]))[0])):
            self.take(section, shelf.items[place])

    def fork(self, rng: np.random.Generator) -> User:
        """The same user as they are now, to go on with other chances; what the one does leaves the other as it is."""
        other = copy(self)
        other.rng, other.bought = rng, set(self.bought)
        return other

    def _taste_at(self, now: datetime) -> tuple[Taste, float]:
        """The taste of the day, and how much hold the last purchase has on the next, 0 to 1."""
        times = self.crowd.times
        if times.taste_drifts_at is not None and now >= times.taste_drifts_at:
            return self.taste.blend(0.4, self.crowd.fashion, 1.0), _HOLD_OF_HABIT_IN_FASHION
        if times.catalogue_drifts_at is not None and now >= times.catalogue_drifts_at:
            sections = self.taste.sections.copy()
            sections[SECTION_NAMES.index(NEW_SECTION)] += _NEW_SECTION_PULL
            return Taste(sections, self.taste.characters, self.taste.origins, self.taste.ranges), 1.0
        return self.taste, 1.0

    def _rate(self, item: Item, match: float, when: datetime) -> Iterator[Row]:
        if when > self.crowd.times.closes_at:
            return
        score = 2.75 + 0.9 * match + 0.45 * item.quality + self.mildness + self.rng.normal(0, 0.45)
        rating = int(np.clip(np.rint(score), 1, 5))
        yield from self._log(item, "rating", when, value=float(rating))
        if self.rng.random() < 0.8:
            text = write_review(self.voice, item, rating, match, self.rng)
            review = {"user_id": self.user_id, "item_id": item.item_id, "rating": float(rating), "text": text}
            yield "feedback", {**review, "timestamp": when}

    def _log(
        self, item: Item, event: str, when: datetime, *, value: float | None = None, position: int = 0
    ) -> Iterator[Row]:
        if when > self.crowd.times.closes_at:
            return
        self.n_events += 1
        yield (
            "interactions",
            {
                "event_id": f"{self.user_id}-{self.n_events}",
                "user_id": self.user_id,
                "item_id": item.item_id,
                "event": event,
                "value": value,
                "timestamp": when,
                "position": position,
            },
        )
