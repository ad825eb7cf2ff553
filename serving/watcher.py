"""Follows the model store: has the promoted bundle loaded beside the one in service, then swaps one reference.

Loads go on in a thread of their own while the store is followed: what was superseded meanwhile never serves.

A promoted bundle that cannot be loaded leaves the one before it in service, the last that can be, also at the start;
but one that was erased, since it learned from somebody who is forgotten, answers no more, whether or not another does.
One watcher per worker process, because each worker has its own memory; a reload endpoint would reach only one of them.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Generic, TypeVar

from core.experiments import ExperimentError, Experiments, read_experiments
from core.promotions import read_standing
from serving.processes.chores import Chores
from serving.processes.loading import Loader, Wishes

logger = logging.getLogger(__name__)

T = TypeVar("T")
MAX_WAIT_S = 60.0
_LOOK_S = 1.0  # at most, while a start waits


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
    """A bundle could not be loaded; it is tried again, ever more rarely."""

    sentence: str
    wait_s: float
    retry_at: float


class PromotedFinder:
    """The bundle to serve, and after it those to fall back to: what was in service before and not withdrawn.

    The first is the pinned one, where one is pinned, else the promoted one. What is pinned is what the record of
    experiments said when it could be read last: one that was damaged since lifts no pin. BENTOML_HOME says where the
    model store lies.

    Args:
        model_name: In the model store.
    """

    def __init__(self, model_name: str) -> None:
        self._name = model_name
        self._record = Experiments()

    def __call__(self) -> list[Promoted]:
        """Look now.

        Raises:
            PromotionRecordError: the record of promotions is there and cannot be read.
        """
        standing = read_standing(self._name)
        with suppress(ExperimentError):  # whoever follows experiments says so
            self._record = read_experiments(self._name)
        versions = list(standing.good.values())
        pin = self._record.pin_in_force(standing)
        if versions and pin is not None:
            versions = [pin.version, *(version for version in versions if version != pin.version)]
        return [Promoted(f"{self._name}:{version}", standing.folder / version) for version in versions]


def find_promoted(model_name: str) -> list[Promoted]:
    """What `PromotedFinder` finds for somebody who asks once.

    Raises:
        PromotionRecordError: the record of promotions is there and cannot be read.
    """
    return PromotedFinder(model_name)()


def find_erased(model_name: str) -> frozenset[str]:
    """The bundles that were removed from the model store, since they learned from somebody who is forgotten."""
    return frozenset(f"{model_name}:{one.version}" for one in read_standing(model_name).erased if one.version)


class Watcher(Generic[T]):
    """Keeps `loaded` at the promoted bundle, or at the last one before it that can be loaded.

    Args:
        find: The promoted bundle, and after it those to fall back to, the newest first; empty before the first one.
        load: Loads and warms one, in a thread that only loads; what it returns is put into service.
        find_erased: Bundles that may not answer any more.
        poll_s: Seconds between two checks of the store.
        on_swap: Called after each swap, in the watcher's thread.
        on_let_go: Called after an erased bundle was let go and none is in service, in the watcher's thread.
        on_poll: Called at the end of each check, in the watcher's thread.
        on_failure: Called on each failed check or load, in the watcher's thread.
        at_hand: What is in memory of a bundle for another purpose, and need not be loaded; None where nothing is.
        loader: Has bundles loaded, also for others; one for this alone by default.
    """

    def __init__(
        self,
        *,
        find: Callable[[], Sequence[Promoted]],
        load: Callable[[Promoted], T],
        find_erased: Callable[[], Collection[str]] = frozenset,
        poll_s: float,
        on_swap: Callable[[Loaded[T]], None] = lambda _: None,
        on_let_go: Callable[[], None] = lambda: None,
        on_poll: Callable[[], None] = lambda: None,
        on_failure: Callable[[], None] = lambda: None,
        at_hand: Callable[[str], T | None] = lambda _: None,
        loader: Loader[T] | None = None,
    ) -> None:
        self._find = find
        self._load = load
        self._find_erased = find_erased
        self._poll_s = poll_s
        self._on_swap = on_swap
        self._on_let_go = on_let_go
        self._on_poll = on_poll
        self._on_failure = on_failure
        self._at_hand = at_hand
        self._loader: Loader[T] = loader or Loader()
        self._wishes = Wishes(self._loader, serves=True)
        self._awaited: str | None = None  # what is to be put into service once it is loaded
        # Read by requests without a lock: assigning a reference is atomic.
        self._loaded: Loaded[T] | None = None
        self._problem: str | None = None
        self._promoted: str | None = None
        self._failures: dict[str, _Failure] = {}
        # Whatever breaks a check off: who followed no more would serve on what was taken back.
        self._checks = Chores(lambda _: on_failure())
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def loaded(self) -> Loaded[T] | None:
        """What is in service; None before the first bundle, and where the last one was erased."""
        return self._loaded

    @property
    def problem(self) -> str | None:
        """Why the promoted bundle is not the one in service; None when it is."""
        return self._problem

    @property
    def promoted(self) -> str | None:
        """The promoted bundle, loaded or not, as the last check that could read the store found it."""
        return self._promoted

    @property
    def falls_back(self) -> bool:
        """Whether another bundle than the promoted one is in service, as that one cannot be loaded."""
        loaded = self._loaded
        return loaded is not None and self._promoted != loaded.model and self._promoted in self._failures

    def poll(self) -> None:
        """Check the store once, and put what is loaded into service; no load is waited for. Never raises: a failure is
        kept as `problem` and logged, and what is in service stays where it was not erased.
        """
        try:
            promoted, erased = self._find(), self._find_erased()
        except Exception as error:
            self._on_failure()
            self._report(f"the model store cannot be read: {error}")
        else:
            self._promoted = promoted[0].model if promoted else None
            if not promoted:
                self._awaited = None
                self._report("no bundle has been promoted yet: run the pipeline, and its bundle will be loaded")
            else:
                self._follow(promoted)
            self._wishes.end_check()
            # What is to answer in its place may be on its way.
            if self._awaited is None or not self._wishes.has_begun(self._awaited):
                self._let_go(erased)
        try:
            self._on_poll()
        except Exception:
            logger.exception("The work at the end of a check of the model store failed")

    def start(self, is_over: Callable[[], bool] = lambda: False) -> None:
        """Check until the first bundle is in service, or none can be; then every `poll_s` in a thread, until `stop`.

        Args:
            is_over: Whether nobody needs it any more; asked while the first bundle is loaded.
        """
        self.poll()
        while self._awaited is not None:
            if is_over():
                self.stop()
                return
            self._loader.wait(min(self._poll_s, _LOOK_S))
            self.poll()
        self._thread = threading.Thread(target=self._run, name="bundle-watcher", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread, which is waited for, a few seconds at most; a load that is under way is not."""
        self._stopping.set()
        self._loader.close()
        if self._thread is not None:
            self._thread.join(timeout=5)

    def _run(self) -> None:
        while True:
            self._loader.wait(self._poll_s)
            if self._stopping.is_set():
                return
            self._checks.run({"follow the model store": self.poll})

    def _follow(self, promoted: Sequence[Promoted]) -> None:
        """Have the first of these in service that can be loaded; one that failed a moment ago is not tried again, nor
        while one behind it is on its way.
        """
        models = [one.model for one in promoted]
        self._failures = {model: self._failures[model] for model in models if model in self._failures}
        on_its_way = models.index(self._awaited) if self._awaited in models else 0
        self._awaited = None
        for place, one in enumerate(promoted):
            if self._loaded is not None and self._loaded.model == one.model:
                self._failures.pop(one.model, None)
                break
            failed = self._failures.get(one.model)
            if failed is not None and (place < on_its_way or time.monotonic() < failed.retry_at):
                continue
            if self._try(one, failed):
                break
        self._tell(promoted[0].model)

    def _tell(self, promoted: str) -> None:
        failed = self._failures.get(promoted)
        if failed is None:
            waits = self._loaded is None and self._awaited is not None
            self._problem = f"{self._awaited} is being loaded" if waits else None
        elif self._loaded is None:
            self._problem = failed.sentence  # logged where it failed
        else:
            self._report(f"{failed.sentence.removesuffix('.')}; in service in its place: {self._loaded.model}")

    def _let_go(self, erased: Collection[str]) -> None:
        """Answer with nothing rather than with what learned from somebody who is forgotten."""
        if self._loaded is None or self._loaded.model not in erased:
            return
        gone = f"{self._loaded.model} learned from somebody who is forgotten, and answers no more"
        before = (self._problem or "").partition("; in service in its place")[0].removesuffix(".")
        self._loaded = None
        # Nothing answers meanwhile, and its memory may be what another lacked.
        self._failures = {}
        self._report("; ".join(filter(None, (before, gone))))
        try:
            self._on_let_go()
        except Exception:
            logger.exception("The work after a bundle was let go failed")

    def _try(self, promoted: Promoted, failed: _Failure | None) -> bool:
        """Put a bundle into service if it is loaded, and otherwise have it loaded; False where it cannot be.

        Args:
            failed: The last time, where it did.
        """
        value, how = self._at_hand(promoted.model), "which was in memory"
        if value is None:
            ended = self._wishes.ask(promoted.model, lambda: self._load(promoted))
            if ended is None:
                self._awaited = promoted.model
                return True
            try:
                value, how = ended.result(), f"loaded in {ended.seconds:.1f} s"
            except Exception as error:
                self._fail(promoted, failed, error)
                return False
        self._failures.pop(promoted.model, None)
        self._loaded = Loaded(promoted.model, value, datetime.now(UTC))
        logger.info("Bundle in service: %s (%s)", promoted.model, how)
        try:
            self._on_swap(self._loaded)
        except Exception:
            logger.exception("The work after the swap to %s failed", promoted.model)
        return True

    def _fail(self, promoted: Promoted, before: _Failure | None, error: Exception) -> None:
        # A part that it needs may come back, a damaged file never does: wait ever longer.
        wait_s = self._poll_s if before is None else min(before.wait_s * 2, MAX_WAIT_S)
        sentence = f"{promoted.model} cannot be loaded: {error}"
        self._failures[promoted.model] = _Failure(sentence, wait_s, time.monotonic() + wait_s)
        self._on_failure()
        if before is None or before.sentence != sentence:
            logger.warning("%s", sentence, exc_info=error)

    def _report(self, sentence: str) -> None:
        """Keep the sentence, and log it when it is new."""
        if sentence != self._problem:
            logger.warning("%s", sentence)
        self._problem = sentence
