"""The online side: what the service reads of a user and of items before it answers, and writes when an event comes in.

Requests do not go through Feast's `get_online_features`, which takes half a millisecond for one row, but read the
view's row from Feast's online store itself (`read_served` of the stores in `features.feast`): the same bytes, parsed
once.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property, partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from core import schema
from core.logs.events import Interaction
from core.settings.features import FeatureSettings
from core.storage import is_disk_full
from core.tombstones import IsForgotten, nobody
from features.counting.columns import Facts, Lists
from features.counting.derivation import USER_INPUTS, derive_user
from features.counting.moments import as_us
from features.counting.seen import new_seen, seen_at, take_into_seen
from features.counting.sketches import (
    Arrival,
    Attributes,
    Row,
    new_item,
    new_user,
    take_into_item,
    take_into_user,
    tie_of,
)
from features.counting.streams import RATING_UNITS
from features.counting.views import ITEM_PROFILE, SEQUENCE, USER_HISTORY, USER_PROFILE, USER_SEEN
from features.errors import FeastFailure, FeatureError
from features.feast.rows import Merge, StoredRow, packed_lists, parse_row
from features.filling import Filling
from features.item_matrix import ItemMatrix, ItemsAt
from features.opened_store import OpenedStore
from recommender.inputs.seen import SeenItems
from recommender.inputs.user import UserState

_LISTS = ("categories", "category_counts", "brands", "brand_counts")
_NUMBERS = tuple(name for name in USER_INPUTS if name not in _LISTS)

Numbered = tuple[int, Arrival]
Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Request:
    """What one request reads.

    Attributes:
        user: None for a user that the shop does not know.
        items: Features of the candidates by name, in their order; see `features.counting.derivation.derive_item`.
    """

    user: UserState | None
    items: Facts


class OnlineFeatures:
    """Reads and writes the online store of a shop. Safe to share between threads.

    The store is opened by the first call, so a service may start before any flow has made one: until then every call
    says so, and the first one after it works.

    Args:
        feast_folder: The folder of the store.
        settings: Of the bundle that is served.
        is_forgotten: Whether a user is; they are unknown here, and nothing of theirs is written.
        timeout_s: How long the store may take, seconds; None for as long as it does by itself, up to half a minute
            where a file is locked, and for ever where a server hangs.
    """

    def __init__(
        self,
        feast_folder: Path,
        settings: FeatureSettings,
        is_forgotten: IsForgotten = nobody,
        timeout_s: float | None = None,
    ) -> None:
        self._folder = feast_folder
        self._is_forgotten = is_forgotten
        self._settings = settings
        self._following = threading.RLock()
        self._store = OpenedStore(feast_folder, timeout_s, self._following, self._start_anew)
        self._items = ItemMatrix(settings.windows_days)
        self._filling = Filling(feast_folder)

    def read_user(self, user_id: str, at: datetime | None = None) -> UserState | None:
        """What is known of a user, in one read; None for a user that the shop does not know.

        Args:
            user_id: The user.
            at: The moment of the features that change with time; now by default.
        Raises:
            StoreNotReady: no flow has made the store yet.
            FeastFailure: the store cannot be read.
        """
        texts, change = self._read(user_id)
        self._follow(change)
        return None if self._is_forgotten(user_id) else self._user(texts, us_of(at))

    def read_seen(self, user_id: str, within_days: float, at: datetime | None = None) -> SeenItems:
        """What a user saw in so many days before a moment, now by default, whatever the settings say of days.

        Raises:
            StoreNotReady: no flow has made the store yet.
            FeastFailure: the store cannot be read.
        """
        (_, _, seen), _ = self._read(user_id)
        return SeenItems() if self._is_forgotten(user_id) else self._seen(seen, us_of(at), within_days)

    def items_at(self, at: datetime | None = None) -> ItemsAt:
        """All items at a moment, now by default, as fresh as the store: what a ranker reads of them.

        Raises:
            StoreNotReady: no flow has made the store yet.
            FeastFailure: the store cannot be read.
        """
        _, change = self._read("")
        self._follow(change)
        return self._items.at(us_of(at))

    def read_items(self, item_ids: Sequence[str], at: datetime | None = None) -> Facts:
        """The features of items, as fresh as the store; an item it does not know has none.

        Raises:
            StoreNotReady: no flow has made the store yet.
            FeastFailure: the store cannot be read.
        """
        return self.read("", item_ids, at).items

    def read(self, user_id: str, item_ids: Sequence[str], at: datetime | None = None) -> Request:
        """A request's features: the user's row and the change counter in one read, the items from memory.

        Raises:
            StoreNotReady: no flow has made the store yet.
            FeastFailure: the store cannot be read.
        """
        texts, change = self._read(user_id)
        self._follow(change)
        at_us = us_of(at)
        user = None if self._is_forgotten(user_id) else self._user(texts, at_us)
        return Request(user, self._items.read(item_ids, at_us))

    def push(self, events: Sequence[Interaction], sequences: Sequence[int]) -> None:
        """Take events into the facts of their users and items, so that the next read knows them.

        They may come late, out of order by time, or twice: a row remembers the newest number of the event log that it
        has taken in, and an event of that number or an older one changes nothing. Each row is read, merged and
        written in one atomic step, so two pushes, or a push and a refresh, do not lose each other's events.

        An event on an item that has no row waits: where a refresh brings the item in, it brings its events too.

        Args:
            events: Any users, any items.
            sequences: Their numbers in the event log, ascending.
        Raises:
            StoreNotReady: no flow has made the store yet.
            FeatureError: a timestamp has no time zone; then nothing was written.
            FeastFailure: the store cannot be read or written.
        """
        arrivals = [
            (event.user_id, (sequence, self._arrival(event, sequence)))
            for event, sequence in zip(events, sequences, strict=True)
            if not self._is_forgotten(event.user_id)
        ]
        if not arrivals:
            return
        store, config = self._open()
        try:
            # Of an emptied store no item has a row: its events would be taken for those of unknown items, and lost.
            self._filling.check(store.read_filling(config))
            self._take_in(store, config, arrivals)
        except FeatureError:
            raise
        except Exception as error:
            raise _failure("write", error) from error

    def _take_in(self, store: Any, config: Any, arrivals: Sequence[tuple[str, Numbered]]) -> None:
        """Merge arrivals, each with its user, into the rows that they concern; not those of items without a row."""
        attributes = _attributes(store, config, list({arrival.item_id for _, (_, arrival) in arrivals}))
        arrivals = [pair for pair in arrivals if pair[1][1].item_id in attributes]
        of_items = _grouped((arrival.item_id, (sequence, arrival)) for _, (sequence, arrival) in arrivals)
        seen = (pair for pair in arrivals if pair[1][1].kind in self._settings.seen_events)
        max_history, window_days = self._settings.max_history, max(self._settings.windows_days, default=1)

        def take_into_history(row: Row, event: Arrival) -> None:
            take_into_user(row, event, attributes[event.item_id], max_history)

        def take_into_profile(row: Row, event: Arrival) -> None:
            take_into_item(row, event, window_days)

        def merge_user(merge: Merge, entity: str, old: StoredRow | None, settled: int) -> StoredRow | None:
            # Asked again while nobody else can write: their row may have been removed a moment ago.
            return None if self._is_forgotten(entity) else merge(entity, old, settled)

        for view, arrived, new, take in (
            (USER_HISTORY, _grouped(arrivals), new_user, take_into_history),
            (USER_SEEN, _grouped(seen), new_seen, take_into_seen),
            (ITEM_PROFILE, of_items, new_item, take_into_profile),
        ):
            if arrived:
                merge: Merge = partial(_merge, view, arrived, new, take)
                if view != ITEM_PROFILE:
                    merge = partial(merge_user, merge)
                store.update_rows(config, view, list(arrived), merge)
        # Who pushes marks the events as pushed next: they have to be on the disk before that mark is.
        store.settle(config, 0)

    def _arrival(self, event: Interaction, sequence: int) -> Arrival:
        counted = event.event not in self._settings.ignored_events
        us = _timestamp_us(event)
        return Arrival(event.item_id, event.event, counted, event.value, us, sequence, tie_of(event.event_id))

    def _read(self, user_id: str) -> tuple[list[Any], int]:
        """The user's row in each of the views that are read of users, and how many changes the items have had."""
        views = (USER_HISTORY, USER_PROFILE, USER_SEEN)

        def read(store: Any, config: Any) -> tuple[list[Any], int]:
            rows, change, filling = store.read_served(config, views, user_id, ITEM_PROFILE)
            if self._filling.is_new(filling):  # changes are counted from one again
                self._items = ItemMatrix(self._settings.windows_days)
            return rows, change

        return self._ask(read)

    def _follow(self, change: int) -> None:
        """Take in the items that have changed up to a change, where that was not done yet."""
        if change > self._items.seen:
            with self._following:  # whoever waited for another finds that done, or the store away
                if change > self._items.seen:
                    self._ask(self._take_changes)

    def _take_changes(self, store: Any, config: Any) -> None:
        """Take in the items that have changed since. One at a time, or older rows could come after newer ones."""
        with self._following:
            if self._open()[0] is not store:
                return  # the items of one store are not taken for those of another
            items = self._items
            items.take(store.read_changes(config, ITEM_PROFILE, items.seen))

    def _ask(self, read: Callable[[Any, Any], Answer]) -> Answer:
        """What the store says, given the store and its configuration.

        Raises:
            StoreNotReady: no flow has made the store yet.
            FeastFailure: the store cannot be read.
        """
        store, config = self._open()
        try:
            return read(store, config)
        except FeatureError:
            raise
        except Exception as error:
            raise _failure("read", error) from error

    def _user(self, texts: Sequence[str | bytes | None], at_us: int) -> UserState | None:
        history, profile, seen = texts
        if history is None and profile is None:
            return None
        row = new_user() if history is None else parse_row(USER_HISTORY, history)
        if profile is not None:
            row |= parse_row(USER_PROFILE, profile)
        features = FeaturesOf(row, at_us, self._settings.n_affinities)
        row[schema.MEAN_RATING] = mean_rating(row)
        return UserState.from_row(
            row,
            seen=self._seen(seen, at_us, self._settings.seen.within_days),
            features=features,
            items_then=self._items.at(at_us),
        )

    @staticmethod
    def _seen(served: Any, at_us: int, within_days: float | None) -> SeenItems:
        """Nothing of a user without a row: their events are all of other kinds."""
        if served is None:
            return SeenItems()
        keys, us = packed_lists(USER_SEEN, served)
        return seen_at(keys, us, at_us, within_days)

    def _open(self) -> tuple[Any, Any]:
        try:
            return self._store.get()
        except FeatureError:
            raise
        except Exception as error:
            raise _failure("open", error) from error

    def _start_anew(self) -> None:
        """What was read and counted was another store's."""
        self._items, self._filling = ItemMatrix(self._settings.windows_days), Filling(self._folder)


def features_of(row: Row, at_us: int, n_affinities: int) -> dict[str, Any]:
    """One user's features by name, as plain Python values; None without a value."""
    numbers = np.array([row[name] for name in _NUMBERS], dtype=np.int64).reshape(-1, 1)
    facts: dict[str, Any] = dict(zip(_NUMBERS, numbers, strict=True))
    for names, counts in (_LISTS[:2], _LISTS[2:]):
        length = np.array([len(row[names])])
        facts[names] = Lists(length, np.arange(len(row[names])))
        facts[counts] = Lists(length, np.array(row[counts], dtype=np.int64))
    found: dict[str, Any] = {}
    for name, value in derive_user(facts, np.array([at_us]), n_affinities).items():
        if isinstance(value, Lists):
            found[name] = tuple(value.values.tolist())
        else:
            (plain,) = value.tolist()
            found[name] = None if plain != plain else plain
    for top, names in (("top_categories", "categories"), ("top_brands", "brands")):
        found[top] = tuple(row[names][place] for place in found[top])
    return found


def mean_rating(row: Row) -> float | None:
    """Of one user, as `features_of` has it."""
    n = row["n_ratings"]
    return row["rating_sum"] / (n * RATING_UNITS) if n else None


class FeaturesOf(Mapping[str, Any]):
    """`features_of` one user, worked out when the first one is asked for: most rankers read none of them."""

    def __init__(self, row: Row, at_us: int, n_affinities: int) -> None:
        self._given = (dict(row), at_us, n_affinities)

    @cached_property
    def _found(self) -> dict[str, Any]:
        return features_of(*self._given)

    @property
    def row(self) -> Mapping[str, Any]:
        """The facts that they are worked out of, as the store has them."""
        return self._given[0]

    def __getitem__(self, name: str) -> Any:
        return self._found[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._found)

    def __len__(self) -> int:
        return len(self._found)

    def __repr__(self) -> str:
        return repr(self._found)


def _attributes(store: Any, config: Any, item_ids: list[str]) -> dict[str, Attributes]:
    """Of the items that have a row."""
    found = {}
    for item_id, row in zip(item_ids, store.read_rows(config, ITEM_PROFILE, item_ids), strict=True):
        if row is None:
            continue
        facts = row.facts(ITEM_PROFILE)
        price = facts["item_price"]
        found[item_id] = Attributes(facts["item_category"], facts["item_brand"], None if price < 0 else price)
    return found


def _grouped(arrivals: Iterable[tuple[str, Numbered]]) -> dict[str, list[Numbered]]:
    """Arrivals by entity, in their order."""
    found: dict[str, list[Numbered]] = {}
    for entity, numbered in arrivals:
        found.setdefault(entity, []).append(numbered)
    return found


def _merge(
    view: str,
    arrived: Mapping[str, Sequence[Numbered]],
    new: Callable[[], Row],
    take: Callable[[Row, Arrival], None],
    entity: str,
    old: StoredRow | None,
    settled: int,
) -> StoredRow | None:
    """The entity's row with the arrivals that it has not taken in yet; None if it has all of them.

    An entity without a row has none of the events up to `settled`: the data gate refused them.
    """
    newest = settled if old is None else old.sequence
    fresh = [(sequence, event) for sequence, event in arrived[entity] if sequence > newest]
    if not fresh:
        return None
    row = new() if old is None else old.facts(view)
    for _, event in fresh:
        take(row, event)
    row[SEQUENCE[view]] = fresh[-1][0]
    return StoredRow.of(view, entity, row)


def us_of(at: datetime | None) -> int:
    """A moment in microseconds since 1970, UTC; now for None."""
    return time.time_ns() // 1000 if at is None else as_us(at)


def _timestamp_us(event: Interaction) -> int:
    if event.timestamp.tzinfo is None:
        raise FeatureError(
            "Cannot push an event",
            got=f"timestamp={event.timestamp.isoformat()}",
            expected="a time zone",
            where=f"event_id={event.event_id}",
            do="Give the time in UTC",
        )
    return as_us(event.timestamp)


def _failure(verb: str, error: Exception) -> FeastFailure:
    return FeastFailure(
        f"Cannot {verb} the online store",
        got=f"error={type(error).__name__}",
        expected=f"Feast to {verb} it, but {error}",
        do=_advice(error),
    )


def _advice(error: Exception) -> str:
    if is_disk_full(error):
        return "Free room on the disk; what is in the event log is pushed then"
    if isinstance(error, PermissionError | NotADirectoryError):
        return "See that the feast folder is one, and may be read; nothing has to be started again"
    if type(error).__module__.startswith("redis"):
        return "See that Redis runs, and can be reached at feature_store.redis; nothing else has to be done"
    return "Refresh the features; if that fails too, move the feast folder away and refresh again"
