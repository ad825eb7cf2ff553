"""All facts of a shop as of any moments, from its archive: what both of Feast's offline stores answer from."""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from core import schema
from core.settings.features import FeatureSettings
from features.archive.events import TABLES, Archive
from features.archive.news import read_as_archived
from features.archive.publication import Published, open_published, require_published
from features.counting import streams
from features.counting.columns import Columns, Facts, ItemAttributes, in_units
from features.counting.item_facts import ItemFacts
from features.counting.seen import SeenFacts
from features.counting.streams import Array, Events, order_events
from features.counting.user_facts import UserFacts
from features.counting.views import ENTITY, ITEM_PROFILE, SEQUENCE, USER_HISTORY, USER_PROFILE, USER_SEEN
from features.counting.words import OwnWords
from features.errors import ArchiveDamaged

N_OWN_WORDS = 5


@dataclass(frozen=True)
class Reviews:
    """Reviews sorted by user and clock, which is that of the event reviewed, else their timestamp. R reviews.

    Attributes:
        users: The ids of those who wrote, sorted.
        starts: Where each one's start. Shape (n_users + 1,).
        clock: Microseconds. Shape (R,).
        texts: R texts.
    """

    users: pa.Array
    starts: Array
    clock: Array
    texts: list[str]


@dataclass(eq=False)
class ShopFacts:
    """The facts of one state of the archive.

    Attributes:
        events: All events, in order.
        items: The catalogue.
        profiles: Users and their attributes.
        texts: Reviews: user_id, item_id, text, timestamp.
        settings: How facts are computed.
        log_sequence: The newest number in the event log that the events hold.
    """

    events: Events
    items: pa.Table
    profiles: pa.Table
    texts: pa.Table
    settings: FeatureSettings
    log_sequence: int

    @classmethod
    def read(cls, archive: Archive, n_parts: int, settings: FeatureSettings, log_sequence: int) -> ShopFacts:
        """Read everything."""
        return cls.of(
            archive.read("events", n_parts), archive, n_parts, settings, log_sequence, archive.read("reviews", n_parts)
        )

    @classmethod
    def of(
        cls,
        events: pa.Table,
        archive: Archive,
        n_parts: int,
        settings: FeatureSettings,
        log_sequence: int,
        reviews: pa.Table,
    ) -> ShopFacts:
        """From some of the events and reviews: whole for the entities all of whose events are among them."""
        return cls(
            order_events(events, settings.ignored_events),
            archive.read("items", n_parts),
            archive.read("users", n_parts),
            reviews,
            settings,
            log_sequence,
        )

    @classmethod
    def of_clean(cls, clean: Path, settings: FeatureSettings, *, has_reviews: bool = True) -> ShopFacts:
        """From clean tables, whatever an archive holds: the facts that a refresh with them would publish.

        Args:
            has_reviews: Whether reviews are read; without them users have no words of their own.
        """
        events, items, users = (read_as_archived(clean, table) for table in ("events", "items", "users"))
        reviews = read_as_archived(clean, "reviews") if has_reviews else TABLES["reviews"].empty_table()
        return cls(order_events(events, settings.ignored_events), items, users, reviews, settings, log_sequence=0)

    def as_of(self, view: str, ids: pa.Array, moment: Array, names: Sequence[str]) -> Columns:
        """Facts of B entities as of B moments.

        Args:
            view: One of the four.
            ids: Users or items, known or not. B strings.
            moment: Microseconds; events with a clock of at most this are known. Shape (B,), int64.
            names: Which facts of the view.
        """
        if view == USER_PROFILE:
            return {name: self._profile(name, ids, moment) for name in names}
        found: Columns = {}
        if SEQUENCE[view] in names:
            found[SEQUENCE[view]] = np.full(len(ids), self.log_sequence)
        if view == ITEM_PROFILE:
            return {**found, **self._catalogue_facts(ids, names), **self._of_items(ids, moment, names)}
        code = streams.codes_of(ids, self.events.users)
        facts = self._seen if view == USER_SEEN else self._users
        return {**found, **facts.as_of(code, moment, [name for name in names if name not in found])}

    def entities(self, view: str) -> pa.Array:
        """The users or items that the view has rows of: with events, or in the users table or the catalogue."""
        key = ENTITY[view]
        if view in (USER_HISTORY, USER_SEEN):
            return self.events.users
        known = self.items if view == ITEM_PROFILE else self.profiles
        others = self.events.items if view == ITEM_PROFILE else self._reviews.users
        return pa.concat_arrays([known.column(key).combine_chunks(), others]).unique()

    @cached_property
    def _users(self) -> UserFacts:
        attributes = ItemAttributes.of(self.events.items, self.items)
        return UserFacts(self.events, attributes, self.settings.max_history)

    @cached_property
    def _seen(self) -> SeenFacts:
        return SeenFacts(self.events, self.settings.seen_events)

    @cached_property
    def _items(self) -> ItemFacts:
        return ItemFacts(self.events, max(self.settings.windows_days, default=1))

    def _of_items(self, ids: pa.Array, moment: Array, names: Sequence[str]) -> Facts:
        own = self._items.facts()
        return self._items.as_of(
            streams.codes_of(ids, self.events.items), moment, [name for name in names if name in own]
        )

    def _catalogue_facts(self, ids: pa.Array, names: Sequence[str]) -> Columns:
        """Facts of the catalogue; it has no time of its own, so it counts as known from the start."""
        row = streams.codes_of(ids, self.items.column(schema.ITEM_ID).combine_chunks())
        rows = self.items.take(pa.array(row, mask=row < 0))
        found: Columns = {}
        if "item_price" in names:
            price = rows.column(schema.PRICE).to_numpy(zero_copy_only=False)
            found["item_price"] = in_units(price, streams.PRICE_UNITS)
        if "item_created_us" in names:
            created = rows.column(schema.CREATED_AT).cast(pa.int64())
            # 0 is unknown: what is known to be of that very microsecond is of the next.
            known = pc.if_else(pc.equal(created, 0), 1, created)
            found["item_created_us"] = known.fill_null(0).to_numpy().astype(np.int64)
        for name, column in (("item_category", schema.CATEGORY), ("item_brand", schema.BRAND)):
            if name in names:
                found[name] = rows.column(column).combine_chunks()
        return found

    def _profile(self, name: str, ids: pa.Array, moment: Array) -> pa.Array:
        if name == schema.ATTRIBUTES:
            row = streams.codes_of(ids, self.profiles.column(schema.USER_ID).combine_chunks())
            known = self.profiles.column(schema.ATTRIBUTES).combine_chunks()
            return known.take(pa.array(row, mask=row < 0)).fill_null("")
        return pa.array(self._own_words(ids, moment), pa.string())

    def _own_words(self, ids: pa.Array, moment: Array) -> list[str]:
        """Every user's reviews are read once, whatever the number of moments."""
        user, reviews = streams.codes_of(ids, self._reviews.users), self._reviews
        found = [""] * len(user)
        order = np.lexsort((moment, user))
        words, reader, place = "", OwnWords(N_OWN_WORDS), 0
        last = -1
        for label in order[np.searchsorted(user[order], 0) :].tolist():
            if user[label] != last:
                last, words, reader = int(user[label]), "", OwnWords(N_OWN_WORDS)
                place = int(reviews.starts[last])
            known = place + int(
                np.searchsorted(reviews.clock[place : reviews.starts[last + 1]], moment[label], side="right")
            )
            for text in reviews.texts[place:known]:
                reader.read(text)
            words = reader.words() if known > place else words
            place, found[label] = known, words
        return found

    @cached_property
    def _reviews(self) -> Reviews:
        clock = review_clocks(self.events, self.texts)
        users = self.texts.column(schema.USER_ID).combine_chunks().unique().sort()
        user = streams.codes_of(self.texts.column(schema.USER_ID).combine_chunks(), users)
        order = np.lexsort((clock, user))
        texts = self.texts.column(schema.TEXT).take(pa.array(order)).to_pylist()
        return Reviews(users, streams.starts_of(user[order], len(users)), clock[order], texts)


def review_clocks(events: Events, reviews: pa.Table) -> Array:
    """Each review's clock: that of the first event of its user on its item at its timestamp, else the timestamp."""
    us = reviews.column(schema.TIMESTAMP).cast(pa.int64()).to_numpy().astype(np.int64)
    user = streams.codes_of(reviews.column(schema.USER_ID).combine_chunks(), events.users)
    item = streams.codes_of(reviews.column(schema.ITEM_ID).combine_chunks(), events.items)
    counted = np.flatnonzero(events.counted)
    # Sorted by user, timestamp and clock already: the first of (user, timestamp, item) is the one of the lowest clock.
    instants, instant = np.unique(np.concatenate([events.us[counted], us]), return_inverse=True)
    n_items = len(events.items) + 1
    of_event, of_review = (
        (who * len(instants) + when) * n_items + what
        for who, when, what in (
            (events.user[counted], instant[: len(counted)], events.item[counted]),
            (user, instant[len(counted) :], item),
        )
    )
    keys, first = np.unique(of_event, return_index=True)
    if not len(keys):
        return us
    place = np.minimum(np.searchsorted(keys, of_review), len(keys) - 1)
    matched = (keys[place] == of_review) & (user >= 0) & (item >= 0)
    return np.where(matched, events.clock[counted][first[place]], us)


_loaded: weakref.WeakValueDictionary[tuple[str, str, int, int, int], ShopFacts] = weakref.WeakValueDictionary()
_pinned: dict[str, ShopFacts] = {}


def load_facts(feast_folder: Path) -> ShopFacts:
    """The facts that look-ups are answered from: those that are `pinned`, or else of what is published.

    Raises:
        StoreNotReady, ArchiveDamaged: as `load_published`.
    """
    found = _pinned.get(_place_of(feast_folder))
    return load_published(feast_folder)[1] if found is None else found


def load_published(feast_folder: Path) -> tuple[Published, ShopFacts]:
    """What is published, and its facts. While somebody holds them, they are not read again.

    Raises:
        StoreNotReady: nothing is published.
        ArchiveDamaged: what is published is not there, or not whole.
    """
    published = require_published(feast_folder)
    while True:
        try:
            return published, _read(feast_folder, published)
        except ArchiveDamaged:
            # A refresh may have published others, and removed these, since the file was read.
            newer = require_published(feast_folder)
            if newer == published:
                raise
            published = newer


@contextmanager
def pinned(feast_folder: Path, facts: ShopFacts) -> Iterator[None]:
    """Have all look-ups of this process answered from these facts within the block, whatever is published meanwhile."""
    place = _place_of(feast_folder)
    before = _pinned.get(place)
    _pinned[place] = facts
    try:
        yield
    finally:
        if before is None:
            _pinned.pop(place, None)
        else:
            _pinned[place] = before


def _place_of(feast_folder: Path) -> str:
    return str(feast_folder.absolute())


def _read(feast_folder: Path, published: Published) -> ShopFacts:
    state = (_place_of(feast_folder), published.key, published.generation, published.n_parts, published.log_sequence)
    found = _loaded.get(state)
    if found is None:
        archive = open_published(feast_folder, published)
        archive.verify(published.n_parts)
        found = ShopFacts.read(archive, published.n_parts, published.settings, published.log_sequence)
        _loaded[state] = found
    return found
