"""The online store of the shop, as a worker reads it: by the settings of one bundle or another."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from core.settings.features import FeatureSettings
from core.settings.platform import OnlineReadSettings
from core.timing.circuit import CircuitBreaker
from core.tombstones import IsForgotten


class ShopStore:
    """Whether the store can be read is the same for all who read it: they share one circuit breaker.

    Args:
        feast_folder: Of the store.
        limits: Of the service.
        is_forgotten: Whether a user is.
    """

    def __init__(self, feast_folder: Path, limits: OnlineReadSettings, is_forgotten: IsForgotten) -> None:
        self._folder, self._limits, self._is_forgotten = feast_folder, limits, is_forgotten
        self._breaker = CircuitBreaker(limits.retry_s)
        self._newest: Any = None

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

        self._newest = ResilientFeatures(
            self._folder,
            settings,
            self._is_forgotten,
            breaker=self._breaker,
            timeout_s=self._limits.timeout_s,
            kept_bytes=self._limits.kept_bytes,
        )
        return self._newest

    def probe(self) -> None:
        """Ask a store that is away once more, where that is due."""
        if self._newest is not None:
            self._newest.probe()
