"""Loads that end when a test says so."""

from __future__ import annotations

import threading
from collections import defaultdict
from typing import Any

from serving.processes.loading import Loader

WAIT_S = 20.0


def loads_at_once() -> Loader[Any]:
    """A loader that has loaded what is asked for when it was asked, so that one check does all there is to do."""
    return Loader(start=lambda run: run())


class SlowLoads:
    """Loads each bundle when it is let go, in the loader's thread.

    Attributes:
        begun: The bundles of which a load was begun, in order.
        broken: Those that cannot be loaded.
        in_vain: How many loads nobody wished any more when they ended.
        most: How many went on at once, at most.
    """

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.broken: set[str] = set()
        self.in_vain = 0
        self.most = self._now = 0
        self._changed = threading.Condition()
        self._let_go: defaultdict[str, int] = defaultdict(int)
        self.loader: Loader[str] = Loader(on_vain=self._note_vain)

    def load(self, promoted: Any, *_: object) -> str:
        model: str = promoted.model
        with self._changed:
            self.begun.append(model)
            self._now += 1
            self.most = max(self.most, self._now)
            self._changed.notify_all()
            assert self._changed.wait_for(lambda: self._let_go[model], WAIT_S), "nobody let it go"
            self._let_go[model] -= 1
            self._now -= 1
        if model in self.broken:
            raise ValueError(f"{model} is damaged")
        return model.upper()

    def wait_until_begun(self, *models: str) -> None:
        """Until just these loads were begun, in this order."""
        with self._changed:
            begun = self._changed.wait_for(lambda: len(self.begun) >= len(models), WAIT_S)
        assert begun
        assert self.begun == [*models]

    def let_go(self, model: str) -> None:
        """Let a load of a bundle end, or the next one that begins."""
        with self._changed:
            self._let_go[model] += 1
            self._changed.notify_all()

    def let_all_go(self) -> None:
        """Let everything end, as a test does."""
        with self._changed:
            for model in self.begun:
                self._let_go[model] += 1
            self._changed.notify_all()

    def end(self, model: str) -> None:
        """Let the load of a bundle end, and wait until it has; of nobody who follows the loads by themselves."""
        self.loader.wait(0.0)  # what ended before is known
        self.let_go(model)
        self.loader.wait(WAIT_S)
        with self._changed:
            assert not self._let_go[model], "it does not end"

    def _note_vain(self) -> None:
        self.in_vain += 1
