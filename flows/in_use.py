"""Which results each run that goes on has made or reads: however old they are, they are not pruned.

```
<shop>/in-use/<random>   one of these folders a line, as JSON; its run holds a lock on the file as long as it goes on
```
The system gives the lock back when the run's process ends, however it ends: what a killed run used is nobody's then.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

from core.layout import Layout
from core.storage import exclusively, is_held

_LOCK = "changes.lock"


@dataclass
class _Use:
    """What one run uses; its file is made with the first folder.

    Attributes:
        kept: How many of each stage's newest results are to stay, beside those.
    """

    layout: Layout
    kept: int
    lock: ExitStack
    file: Path | None = None
    noted: set[Path] = field(default_factory=set)

    def add(self, *folders: Path) -> None:
        new = [folder for folder in folders if folder not in self.noted]
        if self.file is not None and not new:
            return
        with exclusively(self.layout.in_use / _LOCK):
            if self.file is None:
                self.file = self.layout.in_use / uuid4().hex
                self.lock.enter_context(exclusively(self.file))
                self._write(self.kept)
            for folder in new:
                self._write(str(_below(self.layout, folder)))
        self.noted.update(new)

    def _write(self, value: str | int) -> None:
        assert self.file is not None
        with self.file.open("a", encoding="utf-8") as lines:
            # Also before it: a disk that was full may have left a half line, for which the run was told.
            lines.write(f"\n{json.dumps(value)}\n")


_CURRENT: ContextVar[_Use | None] = ContextVar("in_use", default=None)


@contextmanager
def keeping_used(layout: Layout, kept: int = 0) -> Iterator[None]:
    """Within the block, whatever is noted as used stays until the block ends. Blocks may stand within each other: what
    is noted in the inner one stays until that one ends.

    Args:
        layout: Of the shop.
        kept: How many of each stage's newest results are to stay too, whoever prunes.
    """
    with ExitStack() as lock:
        use = _Use(layout, kept, lock)
        if kept:
            use.add()
        token = _CURRENT.set(use)
        try:
            yield
        finally:
            _CURRENT.reset(token)
            if use.file is not None:
                use.file.unlink(missing_ok=True)


def note_used(*folders: Path) -> None:
    """Have folders stay as long as the run does that this is called in; outside of any, they may go as before."""
    if (use := _CURRENT.get()) is not None:
        use.add(*folders)


@contextmanager
def reading_uses(layout: Layout) -> Iterator[tuple[set[Path], int]]:
    """What runs use at this moment, and the most of a stage's results that one of them wants kept.

    Within the block none of them notes more: what is not in use can be removed.
    """
    if not layout.in_use.is_dir():
        yield set(), 0  # no run has noted anything yet
        return
    with exclusively(layout.in_use / _LOCK):
        used: set[Path] = set()
        kept = 0
        for file in layout.in_use.iterdir():
            if file.name == _LOCK:
                continue
            if not is_held(file):
                file.unlink(missing_ok=True)  # its run was killed, or has just ended
                continue
            try:
                noted = file.read_text(encoding="utf-8")
            except FileNotFoundError:  # its run has just ended
                continue
            for value in _whole(noted.splitlines()):
                if isinstance(value, int):
                    kept = max(kept, value)
                else:
                    used.add(layout.root / value)
        yield used, kept


def _whole(lines: list[str]) -> Iterator[str | int]:
    """What is noted, but for what a full disk cut short: whoever wanted to note that did not go on with it."""
    for line in lines:
        with suppress(json.JSONDecodeError):
            yield json.loads(line)


def _below(layout: Layout, folder: Path) -> Path:
    """The folder as every process of the shop finds it, wherever the work folder lies there."""
    return folder.relative_to(layout.root) if folder.is_relative_to(layout.root) else folder.absolute()
