"""Loads bundles in threads that only load: whoever follows the model store never waits for one.

What is wished is asked for anew at each check of the store, so that what was superseded meanwhile is what is not asked
for again. A load cannot be stopped: one that nobody wishes any more goes on, and what it loaded is let go as it ends.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import partial
from typing import Generic, TypeVar

from core.errors import as_exception

logger = logging.getLogger(__name__)

T = TypeVar("T")
_AT_ONCE = 2  # loads of what is to serve
_LONG_S = 600.0  # of a load that may never end, as where a network drive hangs


@dataclass(frozen=True)
class Ended(Generic[T]):
    """What became of a load.

    Attributes:
        result: What was loaded; raises what the load failed with.
        seconds: That it took.
        has_failed: Whether `result` raises.
    """

    result: Callable[[], T]
    seconds: float
    has_failed: bool = False


class _Load(Generic[T]):
    """A load that goes on, or whose end nobody has heard of yet."""

    def __init__(self, whose: Wishes[T], model: str) -> None:
        self.whose, self.model = whose, model
        self.is_wished = True
        self.begun = time.monotonic()
        self.ended: Ended[T] | None = None

    @property
    def is_long(self) -> bool:
        """Whether it began so long ago that it may never end."""
        return time.monotonic() - self.begun >= _LONG_S


class Loader(Generic[T]):
    """Has bundles loaded. What is to serve everybody waits for no load of what is to be tried, nor for one of its own
    that is wished no more: a rollback does not wait for what it takes back. Only behind two of those does it wait. A
    load of the same bundle that is to be tried is taken over. What is to be tried is loaded one at a time, and begins
    while nothing else is loaded.

    Args:
        finish: Called with what was loaded right before it is handed out, by whoever asks; may raise as a load may.
        on_vain: Called when something was loaded, or could not be, that nobody wishes any more, by the loading thread.
        start: Runs a load; in a thread of its own, unless something else is given.
    """

    def __init__(
        self,
        finish: Callable[[T], object] = lambda _: None,
        on_vain: Callable[[], object] = lambda: None,
        start: Callable[[Callable[[], None]], object] | None = None,
    ) -> None:
        self._finish, self._on_vain, self._start = finish, on_vain, start or _in_thread
        self._lock = threading.Lock()
        self._loads: list[_Load[T]] = []
        self._is_closed = False
        self._news = threading.Event()

    @property
    def is_loading(self) -> bool:
        """Whether a load goes on, wished or not; but for those that may never end."""
        with self._lock:
            return any(one.ended is None and not one.is_long for one in self._loads)

    def check(self) -> None:
        """Make sure that no load, wished or not, goes on for so long that it may never end.

        Raises:
            TimeoutError: one does; says which, and what to do.
        """
        with self._lock:
            slow = [one.model for one in self._loads if one.ended is None and one.is_long]
        if slow:
            raise TimeoutError(
                f"Cannot tell whether these loads will ever end, which go on for {_LONG_S / 60:g} minutes or more: "
                f"{', '.join(slow)}. "
                "The index of a large catalogue may take so long to be made. "
                "Otherwise see whether the disk with the model store answers; if it does, restart this worker."
            )

    def wait(self, timeout_s: float) -> None:
        """Wait until a load has ended since the last call, this is closed, or the time has passed; for one thread."""
        self._news.wait(timeout_s)
        self._news.clear()

    def close(self) -> None:
        """Begin no load any more, and hand nothing out; what goes on is not waited for."""
        with self._lock:
            self._is_closed = True
            self._let_go(lambda _: True)
        self._news.set()

    def ask(self, whose: Wishes[T], model: str, load: Callable[[], T]) -> Ended[T] | None:
        """As of `Wishes`, whose they are."""
        with self._lock:
            if self._is_closed:
                return None
            if whose.serves:
                self._let_go(lambda one: one.whose is whose and one.model != model)
            found = self._found(whose, model)
            is_new = found is None
            if found is None:
                if not self._may_begin(whose):
                    return None
                found = _Load(whose, model)
                self._loads.append(found)
            found.is_wished = True
        if is_new:
            logger.info("Loading: %s", model)
            try:
                self._start(partial(self._run, found, load))
            except Exception as error:  # as where the system gives no more threads
                self._end(found, _failed(error, 0.0))
        with self._lock:
            ended = found.ended
            if ended is None or found not in self._loads:  # it goes on, or this was closed meanwhile
                return None
            self._loads.remove(found)
        try:
            self._finish(ended.result())
        except BaseException as error:
            return _failed(as_exception(error), ended.seconds)
        return ended

    def keep(self, whose: Wishes[T], asked: Collection[str]) -> None:
        """Wish no more, of what these wished, all but some."""
        with self._lock:
            self._let_go(lambda one: one.whose is whose and one.model not in asked)

    def has_begun(self, whose: Wishes[T], model: str) -> bool:
        """As of `Wishes`, whose load it is."""
        with self._lock:
            return any(one.whose is whose and one.model == model for one in self._loads)

    def _found(self, whose: Wishes[T], model: str) -> _Load[T] | None:
        own = next((one for one in self._loads if one.model == model and one.whose is whose), None)
        if own is not None or not whose.serves:
            return own
        for one in self._loads:
            if one.model == model and (one.ended is None or not one.ended.has_failed):
                one.whose = whose  # it is further than another would be, and one is enough in memory
                return one
        return None

    def _let_go(self, is_superseded: Callable[[_Load[T]], bool]) -> None:
        """Wish some no more. What was loaded of them goes now; what goes on keeps its place until its end."""
        for one in self._loads:
            if is_superseded(one):
                one.is_wished = False
        self._loads = [one for one in self._loads if one.is_wished or one.ended is None]

    def _may_begin(self, whose: Wishes[T]) -> bool:
        if not whose.serves:
            return not self._loads
        own = [one for one in self._loads if one.whose is whose]
        return len(own) < _AT_ONCE and not any(one.is_wished for one in own)

    def _run(self, one: _Load[T], load: Callable[[], T]) -> None:
        # What was loaded in vain is free when `_carry_out` has returned, and not before.
        if not self._carry_out(one, load):
            logger.info("Loaded in vain, as it is not asked for any more: %s", one.model)
            self._on_vain()
        self._news.set()

    def _carry_out(self, one: _Load[T], load: Callable[[], T]) -> bool:
        started = time.perf_counter()
        try:
            loaded = load()
        except BaseException as error:  # whatever it is, the next load needs the place
            return self._end(one, _failed(as_exception(error), time.perf_counter() - started))
        return self._end(one, Ended(lambda: loaded, time.perf_counter() - started))

    def _end(self, one: _Load[T], ended: Ended[T]) -> bool:
        """Keep what became of a load, if it is still wished."""
        with self._lock:
            if one.is_wished:
                one.ended = ended
            else:
                self._loads.remove(one)
            return one.is_wished


class Wishes(Generic[T]):
    """What one of those who follow the model store wishes to have loaded; for one thread.

    Args:
        loader: Loads it.
        serves: Whether it is to serve everybody: that is loaded first, and only the newest wish counts. Otherwise all
            count that are asked for within one check.
    """

    def __init__(self, loader: Loader[T], *, serves: bool) -> None:
        self._loader, self.serves = loader, serves
        self._asked: set[str] = set()

    def ask(self, model: str, load: Callable[[], T]) -> Ended[T] | None:
        """Wish a bundle, also where it was wished before; what became of it, once, and None until then.

        Args:
            model: Says which.
            load: Loads it.
        """
        self._asked.add(model)
        return self._loader.ask(self, model, load)

    def has_begun(self, model: str) -> bool:
        """Whether a load of it that was asked for goes on, or has ended and nobody has heard of it yet."""
        return self._loader.has_begun(self, model)

    def end_check(self) -> None:
        """Wish nothing any more that was not asked for since the last time."""
        asked, self._asked = self._asked, set()
        self._loader.keep(self, asked)


def _failed(error: Exception, seconds: float) -> Ended[T]:
    def fail() -> T:
        raise error

    return Ended(fail, seconds, has_failed=True)


def _in_thread(run: Callable[[], None]) -> None:
    # A process that ends does not wait for it.
    threading.Thread(target=run, name="bundle-loading", daemon=True).start()
