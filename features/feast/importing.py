"""Importing Feast in a second instead of five."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any


def import_feast() -> None:
    """Import Feast, for the first time in a process without typeguard.

    Feast marks its views and sources so that each call checks the types of its arguments. Rewriting them for that takes
    four of the five seconds of the import, each time that a worker starts.
    """
    if "feast" not in sys.modules:
        with _unmarked():
            import_module("feast")


@contextmanager
def _unmarked() -> Iterator[None]:
    """Within this, `typeguard.typechecked` leaves what it decorates as it is."""
    typeguard: Any = import_module("typeguard")  # comes with Feast
    marking = typeguard.typechecked

    def leave(target: Any = None, **_: Any) -> Any:
        return leave if target is None else target

    typeguard.typechecked = leave
    try:
        yield
    finally:
        typeguard.typechecked = marking
