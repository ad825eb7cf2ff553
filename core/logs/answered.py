"""How many requests the service answered on each day, and how: counted in memory, kept in a small file by each process.

```
<shop>/answered/<day>.<process>.json     endpoint to outcome to number; the day is UTC
```
Beside the endpoints stands how much the reviews praised that it wrote, and how much of that is supported (`PRAISE`).
A file is written anew every `every_s` while anything is counted, so that a kill loses the counts of that moment alone.
Nobody's id is in them. Files go when their day is too long ago.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Literal

from pydantic import TypeAdapter

from core.ids import time_ordered_id
from core.storage import atomic_file
from core.timing.clock import CLOCK

logger = logging.getLogger(__name__)

# ok: below 400. limited: 429, of too many at once. throttled: 429, of a caller that asks too often. refused: any
# other of the caller's faults. failed: from 500 on.
Outcome = Literal["ok", "limited", "throttled", "refused", "failed"]
PRAISE = "praise in written reviews"
Support = Literal["supported", "unsupported"]
Counts = dict[str, dict[str, int]]
_COUNTS: TypeAdapter[Counts] = TypeAdapter(Counts)
_SUFFIX = ".json"


def outcome_of(status: int, is_throttled: bool = False) -> Outcome:
    """What an HTTP status says of an answer.

    Args:
        is_throttled: Whether 429 was answered as this caller asks too often, however little the service has to do.

    >>> [outcome_of(status) for status in (200, 404, 429, 503)]
    ['ok', 'refused', 'limited', 'failed']
    """
    if status == 429:
        return "throttled" if is_throttled else "limited"
    return "ok" if status < 400 else "refused" if status < 500 else "failed"


class AnswerCounts:
    """Counts the answers of one process. Safe to count from many threads.

    Args:
        folder: Of the shop's counts.
        days: Files of days that are longer ago go.
        every_s: How often `keep` writes at most.
        now: The clock of the wall.
    """

    def __init__(
        self, folder: Path, *, days: float, every_s: float, now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._folder, self._days, self._every_s, self._now = folder, days, every_s, now
        self._process = ""  # named when it first writes: until then it may have been forked
        self._lock = threading.Lock()
        self._counted: dict[date, Counter[tuple[str, Outcome | Support]]] = {}
        self._unkept: set[date] = set()
        self._kept_at = float("-inf")
        self._failing = False

    def add(self, endpoint: str, status: int, number: int = 1, *, is_throttled: bool = False) -> None:
        """Count answers; see `outcome_of`."""
        self._count({(endpoint, outcome_of(status, is_throttled)): number})

    def add_praise(self, n_supported: int, n_praised: int) -> None:
        """Count what written reviews praised, and how much of that the items' real reviews or texts support."""
        if n_praised:
            self._count({(PRAISE, "supported"): n_supported, (PRAISE, "unsupported"): n_praised - n_supported})

    def keep(self, *, at_once: bool = False) -> None:
        """Write what was counted since the last time, where that is long enough ago; a full disk fails no caller.

        Args:
            at_once: However short ago that is.
        """
        if not at_once and time.monotonic() - self._kept_at < self._every_s:
            return
        self._kept_at = time.monotonic()
        with self._lock:
            fresh, self._unkept = self._unkept, set()
            counted = {day: dict(self._counted[day]) for day in fresh}
        try:
            for day, counts in sorted(counted.items()):
                self._write(day, counts)
                fresh.discard(day)
            self._failing = False
        except (OSError, ValueError):
            if not self._failing:
                logger.exception("Cannot write how many requests were answered; they are counted on, and tried again")
            self._failing = True
        finally:
            with self._lock:
                self._unkept |= fresh

    def _count(self, found: Mapping[tuple[str, Outcome | Support], int]) -> None:
        day = self._now().astimezone(UTC).date()
        with self._lock:
            counted = self._counted.setdefault(day, Counter())
            for what, number in found.items():  # `update` asks first what kind of mapping it is given
                counted[what] += number
            self._unkept.add(day)

    def _write(self, day: date, counts: dict[tuple[str, Outcome | Support], int]) -> None:
        told: Counts = {}
        for (endpoint, outcome), number in sorted(counts.items()):
            told.setdefault(endpoint, {})[outcome] = number
        self._process = self._process or time_ordered_id()
        path = self._folder / f"{day.isoformat()}.{self._process}{_SUFFIX}"
        if not path.exists():
            self._folder.mkdir(parents=True, exist_ok=True)
            now = min(self._now(), CLOCK.earliest()).astimezone(UTC)
            _prune(self._folder, now.date() - timedelta(days=self._days))
        with atomic_file(path) as temporary:
            temporary.write_text(json.dumps(told), encoding="utf-8")


def read_answered(folder: Path) -> dict[date, Counts]:
    """How many requests were answered on each day, over all processes; by endpoint and outcome.

    What no service wrote is left out; so are counts that cannot be read, and the log says which.
    """
    found: dict[date, Counts] = {}
    for day, path in _files(folder):
        try:
            counts = _COUNTS.validate_json(path.read_bytes())
        except FileNotFoundError:  # it went meanwhile
            continue
        except ValueError:
            logger.warning("Left out, as it is no JSON of counts: %s. Move it away", path)
            continue
        of_day = found.setdefault(day, {})
        for endpoint, outcomes in counts.items():
            mine = of_day.setdefault(endpoint, {})
            for outcome, number in outcomes.items():
                mine[outcome] = mine.get(outcome, 0) + number
    return dict(sorted(found.items()))


def _prune(folder: Path, oldest: date) -> None:
    for day, path in _files(folder):
        if day < oldest:
            path.unlink(missing_ok=True)


def _files(folder: Path) -> Iterator[tuple[date, Path]]:
    """The files of counts with their days; others may lie beside them."""
    for path in sorted(folder.glob(f"*{_SUFFIX}")):
        named, _, process = path.name.removesuffix(_SUFFIX).partition(".")
        try:
            day = date.fromisoformat(named)
        except ValueError:
            continue
        if process:
            yield day, path
