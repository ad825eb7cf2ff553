"""The online store that is published, as a long-lived process holds it open: a refresh may go to another place."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from features.archive.publication import PUBLISHED_FILE, Published, read_published
from features.counting.views import VERSION
from features.errors import FeastFailure, StoreNotReady
from features.feast.store import open_online, open_store, renew_configuration
from features.written_stores import online_place


class OpenedStore:
    """Opened by the first who asks, and anew where another place is published since, which one look at a file shows.

    Args:
        feast_folder: The folder of the store.
        timeout_s: How long the store may take, seconds; None for as long as it does by itself.
        lock: Held while it is opened.
        on_other: Called, with the lock held, where another store than before is about to be given out.
    """

    def __init__(
        self, feast_folder: Path, timeout_s: float | None, lock: threading.RLock, on_other: Callable[[], None]
    ) -> None:
        self._folder, self._timeout_s, self._lock, self._on_other = feast_folder, timeout_s, lock, on_other
        self._opened: tuple[Any, Any] | None = None
        self._place: str | None = None
        self._seen: tuple[int, int] | None = None

    def get(self) -> tuple[Any, Any]:
        """The store and its configuration.

        Raises:
            StoreNotReady: no flow has made the store yet, or one of another release has.
            FeastFailure: it cannot be opened.
        """
        stamp = self._stamp()
        if (opened := self._opened) is not None and stamp in (None, self._seen):
            return opened
        with self._lock:
            published = read_published(self._folder)
            place = None if published is None else online_place(published.stores)
            if self._opened is None or place not in (None, self._place):
                found = self._open(published)
                if self._opened is not None:
                    self._on_other()
                self._opened, self._place = found, place
            self._seen = stamp
            return self._opened

    def _open(self, published: Published | None) -> tuple[Any, Any]:
        if published is None:
            store = open_store(self._folder)
            try:
                online, config = store._get_provider().online_store, store.config
            except Exception as error:
                raise FeastFailure(
                    "Cannot open the online store",
                    got=f"error={type(error).__name__}",
                    expected=f"Feast to open it, but {error}",
                    do="Refresh the features; if that fails too, move the feast folder away and refresh again",
                ) from error
        else:
            _check_version(self._folder, published)
            renew_configuration(self._folder)
            online, config = open_online(self._folder, published.stores)
        online.timeout_s = self._timeout_s
        return online, config

    def _stamp(self) -> tuple[int, int] | None:
        try:
            found = os.stat(self._folder / PUBLISHED_FILE)  # noqa: PTH116 - every request asks
        except OSError:  # nothing is published, or it cannot be looked at: what is open is read on
            return None
        return found.st_ino, found.st_mtime_ns


def _check_version(feast_folder: Path, published: Published) -> None:
    """See that the store was filled by this version of the views: features of another one mean something else."""
    if published.version != VERSION:
        raise StoreNotReady(
            "Cannot read the online store",
            got=f"version={published.version}",
            expected=f"{VERSION}, that of this release",
            where=str(feast_folder / PUBLISHED_FILE),
            do="Refresh the features: run the refresh-features or the pipeline deployment",
        )
