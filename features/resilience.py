"""Online reads of a service that goes on without the store: it is not asked while it is away, and what was read last of
each user is kept.
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from core.settings.features import FeatureSettings
from core.timing.circuit import CircuitBreaker
from core.tombstones import IsForgotten, nobody
from features.counting.columns import Facts
from features.errors import FeastFailure, FeatureError, StoreUnreachable
from features.item_matrix import ItemsAt
from features.online import Answer, OnlineFeatures, us_of
from recommender.inputs.seen import SeenItems
from recommender.inputs.user import UserState

logger = logging.getLogger(__name__)

_ENTRY_BYTES = 400  # of a user's rows beside their content, about

Rows = Sequence[str | bytes | None]


class KeptRows:
    """The rows that were read last, of the users who were read last. Safe to share between threads.

    Args:
        max_bytes: That all rows have together, about; the rows of those who were not read for longest go.
    """

    def __init__(self, max_bytes: int) -> None:
        self._room = max_bytes
        self._rows: OrderedDict[str, tuple[Rows, int]] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._rows)

    def keep(self, user_id: str, rows: Rows) -> None:
        """Take a user's rows in the place of those before; of a user without any nothing is kept."""
        size = _ENTRY_BYTES + len(user_id) + sum(len(row) for row in rows if row is not None)
        with self._lock:
            self._drop(user_id)
            if all(row is None for row in rows):
                return
            self._rows[user_id] = rows, size
            self._room -= size
            while self._room < 0:
                _, (_, freed) = self._rows.popitem(last=False)
                self._room += freed

    def of(self, user_id: str) -> Rows | None:
        """The user's rows, None where none are kept."""
        found = self._rows.get(user_id)
        return None if found is None else found[0]

    def drop(self, user_id: str) -> None:
        """Keep nothing of a user."""
        with self._lock:
            self._drop(user_id)

    def sweep(self, is_gone: IsForgotten) -> None:
        """Keep nothing of any user who is gone."""
        with self._lock:
            users = list(self._rows)
        for user_id in users:
            if is_gone(user_id):
                self.drop(user_id)

    def _drop(self, user_id: str) -> None:
        _, freed = self._rows.pop(user_id, (None, 0))
        self._room += freed


class ResilientFeatures(OnlineFeatures):
    """`OnlineFeatures` whose reads fail at once while the store is away, and which knows what it read before.

    Args:
        feast_folder: The folder of the store.
        settings: Of the bundle that is served.
        is_forgotten: Whether a user is; they are unknown here, and nothing of theirs is written.
        breaker: Of the store; may be shared with those who read the same store by other settings.
        timeout_s: How long the store may take, seconds.
        kept_bytes: Of users' rows in memory, about.
    """

    def __init__(
        self,
        feast_folder: Path,
        settings: FeatureSettings,
        is_forgotten: IsForgotten = nobody,
        *,
        breaker: CircuitBreaker,
        timeout_s: float,
        kept_bytes: int,
    ) -> None:
        super().__init__(feast_folder, settings, is_forgotten, timeout_s)
        self._breaker, self._kept = breaker, KeptRows(kept_bytes)

    @property
    def is_away(self) -> bool:
        """Whether the last read failed."""
        return self._breaker.is_open

    def probe(self) -> None:
        """Ask a store that is away once more, where that is due: so that no request has to wait for its answer."""
        if not self._breaker.is_open or self._breaker.wait_s > 0:
            return
        with suppress(FeatureError):  # as it was, and the breaker knows
            self._read("")

    def sweep(self, is_gone: IsForgotten) -> None:
        """Let go what is kept of users who are gone."""
        self._kept.sweep(is_gone)

    def last_user(self, user_id: str, at: datetime | None = None) -> UserState | None:
        """`read_user` by the rows that were read last; None where none are kept."""
        rows = self._last_rows(user_id)
        return None if rows is None else self._user(rows, us_of(at))

    def last_seen(self, user_id: str, within_days: float, at: datetime | None = None) -> SeenItems:
        """`read_seen` by the rows that were read last; nothing where none are kept."""
        rows = self._last_rows(user_id)
        return SeenItems() if rows is None else self._seen(rows[-1], us_of(at), within_days)

    def last_items_at(self, at: datetime | None = None) -> ItemsAt:
        """`items_at` by what was read last; an item has no features where nothing was read yet."""
        return self._items.at(us_of(at))

    def last_items(self, item_ids: Sequence[str], at: datetime | None = None) -> Facts:
        """`read_items` by what was read last; an item has no features where nothing was read yet."""
        return self._items.read(item_ids, us_of(at))

    def _last_rows(self, user_id: str) -> Rows | None:
        if self._is_forgotten(user_id):
            self._kept.drop(user_id)
            return None
        return self._kept.of(user_id)

    def _read(self, user_id: str) -> tuple[list[Any], int]:
        rows, change = super()._read(user_id)
        self._kept.keep(user_id, rows)
        # Asked once they are kept: of who is forgotten later, the sweep that follows finds them.
        if any(row is not None for row in rows) and self._is_forgotten(user_id):
            self._kept.drop(user_id)
        return rows, change

    def _ask(self, read: Callable[[Any, Any], Answer]) -> Answer:
        breaker = self._breaker
        if not breaker.allows():
            raise StoreUnreachable(
                "Cannot read the online store",
                got=f"a failure a moment ago: {breaker.problem}",
                expected=f"it to be asked again in {breaker.wait_s:.1f} s",
                do="Ask again then; see that the store's server runs and can be reached",
            )
        try:
            found = super()._ask(read)
            if breaker.is_open:
                # Rows may be read where the items' changes cannot: closed before these, it would open again at once.
                super()._ask(self._take_changes)
        except FeastFailure as error:
            # A value that cannot be read or sent is of one request; the store itself may well answer others.
            if not isinstance(error.__cause__, ValueError) and breaker.failed(str(error)):
                logger.exception("The online store cannot be read; answers go on without it until it can")
            raise
        if breaker.succeeded():
            logger.info("The online store can be read again")
        return found
