"""Follows the model store: loads the newest promoted bundle beside the one in service, then swaps one reference.

One watcher per worker process, because each worker has its own memory; a reload endpoint would reach only one of them.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Generic, TypeVar

logger = logging.getLogger(__name__)

T = TypeVar("T")
MAX_WAIT_S = 60.0


@dataclass(frozen=True)
class Promoted:
    """A bundle in the model store."""

    model: str
    folder: Path


@dataclass(frozen=True)
class Loaded(Generic[T]):
    """What is in service."""

    model: str
    value: T
    loaded_at: datetime


@dataclass(frozen=True)
class _Failure:
    """The newest bundle could not be loaded; it is tried again, ever more rarely."""

    model: str
    sentence: str
    wait_s: float
    retry_at: float


def newest_promoted(model_name: str) -> Promoted | None:
    """The newest version of a model in BentoML's store (the folder of BENTOML_HOME); None before the first one.

    Looking makes no folder.
    """
    home = Path(os.environ.get("BENTOML_HOME", "~/bentoml")).expanduser()
    if "bentoml" not in sys.modules and not home.is_dir():
        return None  # BentoML makes its home on import
    import bentoml
    from bentoml.exceptions import NotFound

    try:
        model = bentoml.models.get(f"{model_name}:latest")
    except NotFound:
        return None
    return Promoted(str(model.tag), Path(model.path))


class Watcher(Generic[T]):
    """Keeps `loaded` at the newest promoted bundle.

    Args:
        find: The newest promoted bundle, or None.
        load: Loads and warms one, off the path of requests; what it returns is put into service.
        poll_s: Seconds between two checks of the store.
        on_swap: Called after each swap, in the watcher's thread.
        on_poll: Called at the end of each check, in the watcher's thread.
        on_failure: Called on each failed check or load.
    """

    def __init__(
        self,
        *,
        find: Callable[[], Promoted | None],
        load: Callable[[Promoted], T],
        poll_s: float,
        on_swap: Callable[[Loaded[T]], None] = lambda _: None,
        on_poll: Callable[[], None] = lambda: None,
        on_failure: Callable[[], None] = lambda: None,
    ) -> None:
        self._find = find
        self._load = load
        self._poll_s = poll_s
        self._on_swap = on_swap
        self._on_poll = on_poll
        self._on_failure = on_failure
        # Read by requests without a lock: assigning a reference is atomic.
        self._loaded: Loaded[T] | None = None
        self._problem: str | None = None
        self._failure: _Failure | None = None
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def loaded(self) -> Loaded[T] | None:
        """What is in service; None before the first bundle."""
        return self._loaded

    @property
    def problem(self) -> str | None:
        """Why the newest promoted bundle is not the one in service; None when it is."""
        return self._problem

    def poll(self) -> None:
        """Check the store once. Never raises: a failure is kept as `problem` and logged, and the old bundle stays."""
        try:
            promoted = self._find()
        except Exception as error:
            self._on_failure()
            self._report(f"the model store cannot be read: {error}")
        else:
            if promoted is None:
                self._report("no bundle has been promoted yet: run the pipeline, and its bundle will be loaded")
            else:
                self._follow(promoted)
        try:
            self._on_poll()
        except Exception:
            logger.exception("The work at the end of a check of the model store failed")

    def start(self) -> None:
        """Check once now, then every `poll_s` in a thread, until `stop`."""
        self.poll()
        self._thread = threading.Thread(target=self._run, name="bundle-watcher", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread; a load that is under way is waited for, a few seconds at most."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(timeout=5)

    def _run(self) -> None:
        while not self._stopping.wait(self._poll_s):
            self.poll()

    def _follow(self, promoted: Promoted) -> None:
        """Load what was promoted, unless it is in service, or failed a moment ago."""
        if self._loaded is not None and self._loaded.model == promoted.model:
            self._problem = self._failure = None
            return
        failed = self._failure if self._failure is not None and self._failure.model == promoted.model else None
        if failed is not None and time.monotonic() < failed.retry_at:
            return
        started = time.perf_counter()
        try:
            value = self._load(promoted)
        except Exception as error:
            self._fail(promoted, failed, error)
            return
        self._loaded = Loaded(promoted.model, value, datetime.now(UTC))
        self._problem = self._failure = None
        logger.info("Bundle in service: %s (loaded in %.1f s)", promoted.model, time.perf_counter() - started)
        try:
            self._on_swap(self._loaded)
        except Exception:
            logger.exception("The work after the swap to %s failed", promoted.model)

    def _fail(self, promoted: Promoted, before: _Failure | None, error: Exception) -> None:
        # A bundle that is still being copied is whole a moment later, a damaged one never: wait ever longer.
        wait_s = self._poll_s if before is None else min(before.wait_s * 2, MAX_WAIT_S)
        sentence = f"{promoted.model} cannot be loaded: {error}"
        self._failure = _Failure(promoted.model, sentence, wait_s, time.monotonic() + wait_s)
        self._on_failure()
        self._report(sentence, error)

    def _report(self, sentence: str, error: Exception | None = None) -> None:
        """Keep the sentence, and log it when it is new."""
        if sentence != self._problem:
            logger.warning("%s", sentence, exc_info=error)
        self._problem = sentence
