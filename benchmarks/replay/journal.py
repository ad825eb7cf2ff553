"""What a replay has done, in one SQLite file: killed at any moment, it goes on from here."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_TABLES = """
CREATE TABLE IF NOT EXISTS answers (
    period INTEGER NOT NULL, event_id TEXT PRIMARY KEY, user_id TEXT NOT NULL, place INTEGER, recommendation_id TEXT
);
CREATE TABLE IF NOT EXISTS steps (
    period INTEGER NOT NULL, step TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (period, step)
);
"""
_OF_ALL = -1  # the period of what is about all of them
_BUSY_TIMEOUT_S = 30.0


@dataclass(frozen=True)
class Answer:
    """What the service showed before an event.

    Attributes:
        place: Of the item that was chosen next, from 1; None where it was not on the list.
        recommendation_id: Of the list.
    """

    event_id: str
    user_id: str
    place: int | None
    recommendation_id: str


class Journal:
    """The file of one policy; it is made by the first call. What a call wrote outlives a kill of the process.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._connection = sqlite3.connect(path, timeout=_BUSY_TIMEOUT_S)
        # No wait for the disk at each of thousands of writes: a kill takes none back, only a crash of the machine may.
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = NORMAL")
        self._connection.executescript(_TABLES)

    def check_options(self, options: dict[str, Any]) -> None:
        """Keep what the replay was started with, or make sure that it goes on with the same.

        Raises:
            SystemExit: it was started with other options.
        """
        known = self.step(_OF_ALL, "options")
        if known is None:
            self.mark(_OF_ALL, "options", options)
        elif known != options:
            other = ", ".join(
                f"{name}: {known.get(name)} before" for name in options if known.get(name) != options[name]
            )
            raise SystemExit(
                f"{self._path} is of a replay with other options ({other}). Give it the same ones, or another --keep."
            )

    def keep_answers(self, period: int, answers: Sequence[Answer]) -> None:
        """Keep what was shown, all of it or nothing."""
        rows = [(period, one.event_id, one.user_id, one.place, one.recommendation_id) for one in answers]
        with self._connection:
            self._connection.executemany("INSERT OR IGNORE INTO answers VALUES (?, ?, ?, ?, ?)", rows)

    def answers(self, period: int) -> dict[str, Answer]:
        """What was shown in a period, by the event that came next, in the order of the questions."""
        query = "SELECT event_id, user_id, place, recommendation_id FROM answers WHERE period = ? ORDER BY rowid"
        return {row[0]: Answer(*row) for row in self._connection.execute(query, (period,))}

    def mark(self, period: int, step: str, value: Any = True) -> None:
        """Say that a step of a period is done, with what came of it, as JSON."""
        with self._connection:
            self._connection.execute("INSERT OR REPLACE INTO steps VALUES (?, ?, ?)", (period, step, json.dumps(value)))

    def step(self, period: int, step: str) -> Any:
        """What came of a step of a period; None where it is not done."""
        query = "SELECT value FROM steps WHERE period = ? AND step = ?"
        found = self._connection.execute(query, (period, step)).fetchone()
        return None if found is None else json.loads(found[0])
