"""The online store of the shop, as a worker reads it: by the settings of one bundle or another."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any
from weakref import WeakSet

from core.settings.features import FeatureSettings
from core.settings.platform import OnlineReadSettings
from core.timing.circuit import CircuitBreaker
from core.tombstones import TombstoneError, TombstoneFile, Tombstones


class ShopStore:
    """Whether the store can be read is the same for all who read it: they share one circuit breaker.

    Args:
        feast_folder: Of the store.
        limits: Of the service.
        tombstones: Of the users who are forgotten.
    """

    def __init__(self, feast_folder: Path, limits: OnlineReadSettings, tombstones: TombstoneFile) -> None:
        self._folder, self._limits, self._tombstones = feast_folder, limits, tombstones
        self._breaker = CircuitBreaker(limits.retry_s)
        self._readers: WeakSet[Any] = WeakSet()
        self._lock = threading.Lock()
        self._swept = Tombstones()

    @property
    def is_away(self) -> bool:
        """Whether it could not be read the last time that anybody tried."""
        return self._breaker.is_open

    @property
    def problem(self) -> str:
        """Why it could not be read; empty where it could."""
        return self._breaker.problem

    def read_as(self, settings: FeatureSettings) -> Any:
        """`features.resilience.ResilientFeatures`, which opens the store with its first read.

        Args:
            settings: Of a bundle's recipe.
        """
        from features.resilience import ResilientFeatures

        reader = ResilientFeatures(
            self._folder,
            settings,
            self._tombstones.holds,
            breaker=self._breaker,
            timeout_s=self._limits.timeout_s,
            kept_bytes=self._limits.kept_bytes,
        )
        with self._lock:
            self._readers.add(reader)
        return reader

    def sweep(self) -> None:
        """Let go what readers keep of users who are forgotten, where the record of them has changed."""
        try:
            now = self._tombstones.current()
        except TombstoneError:  # said by whatever reads a user; swept once it is put back
            return
        if now is self._swept or not now.forgotten:
            return
        persons = {one.person for one in now.forgotten}
        with self._lock:
            readers = list(self._readers)
        for reader in readers:
            reader.sweep(lambda user_id: now.hash_of(user_id) in persons)
        self._swept = now
