"""What a worker does at each check of the model store, each whatever becomes of the others."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from contextlib import suppress

from core.errors import as_exception

logger = logging.getLogger(__name__)

_AGAIN_S = 3600.0  # after which a failure that goes on is logged once more


class Chores:
    """Does them one after another, for one thread. That one fails is logged when it begins, when it fails in another
    way, and once an hour; and so is that it no longer does.

    Args:
        count: Told the name of each that fails, each time.
    """

    def __init__(self, count: Callable[[str], object] = lambda _: None) -> None:
        self._count = count
        self._problems: dict[str, tuple[type[Exception], float]] = {}

    def run(self, chores: Mapping[str, Callable[[], object]]) -> None:
        """Do each of these once. Never raises: one that fails is left until the next time.

        Args:
            chores: By what they are called in the log.
        """
        for name, do in chores.items():
            try:
                do()
            except BaseException as error:
                self._note(name, as_exception(error))
            else:
                if self._problems.pop(name, None) is not None:
                    logger.warning("This is done again at each check of the model store: %s", name)

    def _note(self, name: str, error: Exception) -> None:
        with suppress(Exception):  # a figure that cannot be kept, as of a full disk, stops no chore; the log has it
            self._count(name)
        # By its kind: the words of an error may have a time or a number in them that is another at each check.
        kind, said_at = self._problems.get(name, (None, 0.0))
        if kind is not type(error) or time.monotonic() - said_at >= _AGAIN_S:
            logger.error("At each check of the model store this fails, and the rest goes on: %s", name, exc_info=error)
            self._problems[name] = type(error), time.monotonic()
