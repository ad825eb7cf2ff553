"""Whether an online store still has what a refresh brought into it: a server may come back with nothing."""

from __future__ import annotations

from pathlib import Path

from features.archive.publication import PUBLISHED_FILE, read_published
from features.errors import StoreEmptied


class Filling:
    """The number that a refresh leaves in the store once all rows are in, as one reader has seen it.

    Without it every user of an emptied store would be a new one, and nobody would be told.

    Args:
        feast_folder: Of the store.
    """

    def __init__(self, feast_folder: Path) -> None:
        self._path = feast_folder / PUBLISHED_FILE
        self._seen = 0
        self._published: tuple[int, int] | None = None

    def is_new(self, filling: int) -> bool:
        """Whether the store was filled anew since this was asked last: what was read before is of another count.

        Args:
            filling: As the store has it; 0 for none.
        Raises:
            StoreEmptied: there should be one, and is none.
        """
        self.check(filling)
        before, self._seen = self._seen, filling
        return before not in (0, filling)

    def check(self, filling: int) -> None:
        """See that the store has not lost its rows.

        Raises:
            StoreEmptied: it has.
        """
        if filling == 0 and (self._seen or self._expected()):
            raise StoreEmptied(
                "Cannot read the online store",
                got="filled=0: it was emptied since the last refresh of the features",
                expected=f"the number of its filling, {self._seen or self._expected()}",
                where=str(self._path.parent),
                do="Run the refresh-features deployment, which fills it again; nothing has to be started again",
            )

    def _expected(self) -> int:
        """What was published; 0 where an earlier release filled the store, or nothing did."""
        try:
            changed = self._path.stat().st_mtime_ns
        except FileNotFoundError:
            return 0
        if self._published is None or self._published[0] != changed:
            published = read_published(self._path.parent)
            self._published = changed, 0 if published is None else published.filling
        return self._published[1]
