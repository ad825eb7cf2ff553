"""What figures of experiments need of the prediction log, kept for longer than its segments.

```
<shop>/predictions/kept/<experiment>.<start>/<segment>.parquet
```
Before a segment goes, those of its columns and rows that figures read are written as Parquet, for each experiment that
runs or ended lately: about a twentieth of its bytes. Figures read these files and the segments as one log. So they are
what the whole log would give, to the last click: an event that names no answer counts for the last list that showed the
item, and for how long an event counts may be set anew; sums per user could do neither. Where segment and file are both
there, as after a kill, the segment is read.

They have a room of their own. Where it is used up, files go: first of experiments without a test (shadows, and those
that have lost their beginning), then the oldest. `core.logs.pruning.Lost` has up to when.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from core.experiments import Experiment, read_experiments
from core.ids import moment_of_id
from core.logs.pruning import KEPT, Lost
from core.promotions import read_standing
from core.sql import literal
from core.storage import UNFINISHED, atomic_file, list_folder, sync_folder, whole_folders
from core.timing.clock import CLOCK
from monitoring.online.columns import MEMORY, OF_EXPERIMENT, lines_of
from monitoring.online.window import moment_of, window_of

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

logger = logging.getLogger(__name__)

_PARQUET = ".parquet"
# A segment is named when its first answers are written. They were asked for before: they may have waited for the disk,
# and the clock may have been set back meanwhile, as in autumn.
_WAITED = timedelta(hours=2)
_FIRST = 'SELECT min(least("at", dropped_since)) FROM lines'
_LINES = "CREATE OR REPLACE TEMP TABLE lines AS SELECT * FROM {lines}"
# Of a split or canary also whatever else was shown to users: an event that names no answer may be of that.
_OF_SPLIT = """
SELECT * FROM lines WHERE "at" >= $since AND (dropped IS NOT NULL OR recommendation_id IS NOT NULL AND (
    role IN ('shown', 'failed') AND experiment = $experiment
    OR role = 'shown' AND "at" <= $until AND coalesce(user_id, visitor_id) IS NOT NULL))
"""
_OF_SHADOW = """
SELECT * FROM lines WHERE "at" >= $since AND (dropped IS NOT NULL
    OR recommendation_id IS NOT NULL AND role IN ('shadow', 'failed') AND experiment = $experiment AND "at" <= $until)
"""


def name_of(experiment: Experiment) -> str:
    """The folder that an experiment's answers are kept in: another of the same name has another."""
    return f"{experiment.name}.{moment_of(experiment.started_at).astimezone(UTC):%Y%m%dT%H%M%S%f}"


def kept_files(log: Path, experiment: Experiment) -> list[Path]:
    """What is kept of an experiment, the oldest first; also of segments that are still there.

    Args:
        log: The folder of the prediction log.
    """
    return whole_files(log / KEPT / name_of(experiment))


def whole_files(folder: Path) -> list[Path]:
    """The files of an experiment, but for those that are still being written."""
    return [one for one in list_folder(folder) if one.suffix == _PARQUET and not one.name.startswith(".")]


def remove_unfinished(folder: Path) -> None:
    """Remove what killed processes left in a folder; nobody may write there meanwhile."""
    for file in folder.glob(f".*{UNFINISHED}"):
        file.unlink(missing_ok=True)
    sync_folder(folder)


@dataclass(frozen=True)
class _Needed:
    """An experiment whose answers are kept.

    Attributes:
        since: From when on they count.
        until: The last moment at which a list that was shown can have a click that counts for it.
        ended: The same of one that has ended: it was stopped, a rollback overruled it, or its one bundle is in service.
            Nothing of later counts, unless a promotion has it count anew, from then on. None of one that goes on.
    """

    experiment: Experiment
    since: datetime
    until: datetime
    ended: datetime | None

    @property
    def has_test(self) -> bool:
        return self.experiment.kind != "shadow"


class ExperimentKeeper:
    """Keeps what figures of experiments need of segments that go (`core.logs.pruning.Keeper`).

    Args:
        log: The folder of the prediction log.
        model_name: In the model store, beside which experiments are written down.
        max_bytes: Room for what is kept.
        days: For how long after the end of an experiment.
        window_s: An event counts for an answer that is at most so old, seconds.
    """

    def __init__(self, log: Path, model_name: str, *, max_bytes: int, days: float, window_s: float) -> None:
        self._folder, self._model_name = log / KEPT, model_name
        self._max_bytes, self._days, self._window = max_bytes, timedelta(days=days), timedelta(seconds=window_s)

    def keep(self, segments: Sequence[Path], lost: Lost) -> Mapping[str, datetime]:
        """See `Keeper`.

        Raises:
            ExperimentError, PromotionRecordError: it cannot be told which experiments there are; then segments stay.
        """
        if not segments and not lost.kept and not self._folder.is_dir():
            return {}
        found = {name_of(one.experiment): one for one in self._needed()}
        kept = {
            # Of one of which nothing is kept yet, what went before is lost.
            name: max(lost.kept.get(name, lost.until or one.since), one.since)
            for name, one in found.items()
            if segments or name in lost.kept or (self._folder / name).is_dir()
        }
        if segments and kept:
            self._folder.mkdir(parents=True, exist_ok=True)  # before any is read: whoever erases waits then
            kept = self._take(segments, found, kept)
        return self._bounded(found, kept)

    def tidy(self, kept: Mapping[str, datetime]) -> None:
        """See `Keeper`."""
        for folder in whole_folders(self._folder):
            remove_unfinished(folder)
            for file in list_folder(folder):
                if folder.name not in kept or _written_until(file) <= kept[folder.name]:
                    file.unlink()
            if folder.name not in kept:
                folder.rmdir()

    def _needed(self) -> list[_Needed]:
        standing = read_standing(self._model_name)
        now, found = CLOCK.earliest(), []
        for one in read_experiments(self._model_name).experiments:
            if one.stopped_at is not None and moment_of(one.stopped_at) < now - self._days:
                continue
            moment = max(CLOCK.latest(), moment_of(one.started_at))
            since, until = window_of(one, standing, moment)
            goes_on = one.runs and until == moment
            found.append(_Needed(one, since, until + self._window, None if goes_on else until + self._window))
        return found

    def _take(
        self, segments: Sequence[Path], needed: Mapping[str, _Needed], kept: Mapping[str, datetime]
    ) -> dict[str, datetime]:
        """Write a file per segment and experiment; where that cannot be, what the segment has is lost: it goes."""
        import duckdb

        after = dict(kept)
        with (
            TemporaryDirectory(prefix="kept-", ignore_cleanup_errors=True) as spilled,
            duckdb.connect(config={"threads": 1, "memory_limit": MEMORY, "temp_directory": spilled}) as connection,
        ):
            connection.execute("SET TimeZone = 'UTC'")
            for segment in segments:
                written = _written_until(segment)
                theirs = [name for name in kept if needed[name].since <= written]
                for name in self._write_all(connection, segment, {name: needed[name] for name in theirs}):
                    after[name] = max(after[name], min(written, needed[name].ended or written))
        return after

    def _write_all(self, connection: DuckDBPyConnection, segment: Path, needed: Mapping[str, _Needed]) -> list[str]:
        """Write what those need that a segment may hold answers of; the names of those for which that cannot be."""
        import duckdb

        if not needed:
            return []
        try:
            connection.execute(_LINES.format(lines=lines_of(OF_EXPERIMENT)), {"files": [str(segment)]})
            ((first,),) = connection.execute(_FIRST).fetchall()
        except (OSError, duckdb.Error):
            begun = moment_of_id(segment.stem)
            lost = [
                name
                for name, one in needed.items()
                if one.ended is None or begun is None or begun - _WAITED <= one.ended
            ]
            logger.exception(
                "Answers of experiments cannot be read, and are lost with %s: those of %s",
                segment.name,
                ", ".join(lost) or "none, as all had ended before",
            )
            return lost
        failed = []
        for name, one in needed.items():
            if one.ended is not None and (first is None or first > one.ended):
                continue
            try:
                self._write(connection, segment, name, one)
            except (OSError, duckdb.Error):
                logger.exception(
                    "Answers of experiments cannot be kept, and are lost with %s: those of %s", segment.name, name
                )
                failed.append(name)
        return failed

    def _write(self, connection: DuckDBPyConnection, segment: Path, name: str, needed: _Needed) -> None:
        found, file = segment.stat(), self._folder / name / f"{segment.stem}{_PARQUET}"
        asked = {"experiment": needed.experiment.name, "since": needed.since, "until": needed.until}
        select = _OF_SPLIT if needed.has_test else _OF_SHADOW
        with atomic_file(file) as temporary:
            place = literal(str(temporary))
            connection.execute(f"COPY ({select}) TO {place} (FORMAT parquet, COMPRESSION zstd)", asked)
            # It ages as its segment would.
            os.utime(temporary, ns=(found.st_atime_ns, found.st_mtime_ns))

    def _bounded(self, needed: Mapping[str, _Needed], kept: Mapping[str, datetime]) -> dict[str, datetime]:
        """Up to when each has lost answers, once all of them fit into the room."""
        after = dict(kept)
        files = {
            file: file.stat()
            for name, moment in kept.items()
            for file in whole_files(self._folder / name)
            if _written_until(file) > moment
        }
        room = self._max_bytes - sum(one.st_size for one in files.values())
        tested = {name for name, moment in kept.items() if needed[name].has_test and moment <= needed[name].since}
        for file in sorted(files, key=lambda one: (one.parent.name in tested, files[one].st_mtime)):
            if room >= 0:
                break
            name = file.parent.name
            after[name] = max(after[name], _written_until(file))
            room += files[file].st_size
        return after


def _written_until(file: Path) -> datetime:
    """Its last write, no later than now; it holds no answer that is later."""
    return datetime.fromtimestamp(min(file.stat().st_mtime, CLOCK.latest().timestamp()), UTC)
