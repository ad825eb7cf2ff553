"""Cut a scenario short at each of its writes, do it again, and hold the end against an undisturbed run."""

from __future__ import annotations

import os
import random
import re
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from core.storage import UNFINISHED
from tests.faults.disk import Disk, Snapshot
from tests.faults.points import NEED_ROOM, Point, Watch, disk_full
from tests.faults.processes import Died, in_fork
from tests.faults.scenarios import SCENARIOS, Place, Scenario
from tests.faults.shop import write_source
from tests.faults.state import read_section, sections

Fault = Literal["kill", "full once", "full"]
FAULTS: tuple[Fault, ...] = ("kill", "full once", "full")
_LONG_AGO_S = 25 * 3600.0


@dataclass(frozen=True)
class Cut:
    """One moment at which a process may be killed.

    Attributes:
        point: What it was about to do, or was doing.
        disk: What it leaves.
        before: The write that it was about to do; None in the midst of one, and at the end.
    """

    point: str
    disk: Snapshot
    before: Point | None = None


@dataclass
class Survey:
    """An undisturbed run of a scenario.

    Attributes:
        start: The disk before it.
        old, new: The shop's state before and after it.
        points: Every write.
        cuts: Every disk that a kill may leave, each once.
        end: The disk after it.
        unsynced: What was given a name before it was on the disk: a loss of power leaves the name alone.
    """

    start: Snapshot
    old: dict[str, str]
    new: dict[str, str]
    points: list[Point]
    cuts: list[Cut]
    end: Snapshot
    unsynced: list[str]


@dataclass
class Failure:
    """A fault after which the shop is not what it should be."""

    scenario: str
    fault: Fault
    point: str
    why: str

    def __str__(self) -> str:
        return f"{self.scenario}: {self.fault} at {self.point}: {self.why}"


class Harness:
    """Runs scenarios in forks of this process, in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.place = Place(folder / "work")
        self._disk = Disk(folder / "work", folder / "contents")
        self._surveys: dict[str, Survey] = {}
        self._read: dict[tuple[str, str], dict[str, str]] = {}

    def survey(self, name: str) -> Survey:
        """The undisturbed run of a scenario, made once."""
        if name not in self._surveys:
            scenario = SCENARIOS[name]
            if scenario.after:
                self._disk.put(self.survey(scenario.after).end)
            else:
                self._disk.put(Snapshot({}))
                write_source(self.place.source)
            in_fork(lambda: scenario.before(self.place))
            start = self._disk.take()
            old = self._see()
            self._disk.put(start)
            points, cuts, unsynced = in_fork(lambda: self._watched(scenario))
            end = self._disk.take()
            self._surveys[name] = Survey(start, old, self._see(), points, cuts, end, unsynced)
        return self._surveys[name]

    def faults(self, name: str, *, by_place: bool = False) -> list[tuple[Fault, int]]:
        """Every fault of a scenario: its kind, and the number of the cut or point.

        Args:
            by_place: Of the points at one place of the product, a full disk only at the first and the last one.
        """
        found = self.survey(name)
        full = [n for n, point in enumerate(found.points) if point.kind in NEED_ROOM]
        if by_place:
            first = {(found.points[n].kind, found.points[n].place): n for n in reversed(full)}
            last = {(found.points[n].kind, found.points[n].place): n for n in full}
            full = sorted({*first.values(), *last.values()})
        return [
            *(("kill", n) for n in range(len(found.cuts))),
            *((fault, n) for fault in FAULTS[1:] for n in full),
        ]  # fmt: skip

    def check(self, name: str, fault: Fault, number: int, *, really: bool = False) -> Failure | None:
        """Do one fault to a scenario, look at what readers see, do the scenario again; None where all is well.

        Args:
            really: Kill a process there, where the fault is a kill, instead of putting back what it would leave.
        """
        scenario, found = SCENARIOS[name], self.survey(name)
        point = found.cuts[number].point if fault == "kill" else str(found.points[number])
        try:
            cut = found.cuts[number] if fault == "kill" else None
            if cut is not None and really and cut.before is not None:
                self._disk.put(found.start)
                self._kill(scenario, cut.before)
            elif cut is not None:
                self._disk.put(cut.disk)
            else:
                self._disk.put(found.start)
                in_fork(lambda: self._on_a_full_disk(scenario, found.points[number], once=fault == "full once"))
            self._require_known(scenario, found, self._see())
            in_fork(lambda: (scenario.again or scenario.work)(self.place))
            _require_equal(self._see(), found.new)
            self._clear_up()
        except Exception as error:
            notes = "\n".join(getattr(error, "__notes__", []))
            return Failure(name, fault, point, f"{type(error).__name__}: {error}\n{notes}")
        return None

    def _watched(self, scenario: Scenario) -> tuple[list[Point], list[Cut], list[str]]:
        points: list[Point] = []
        cuts: list[Cut] = []
        known: set[str] = set()
        last: list[Snapshot] = []

        def keep(what: str, disk: Snapshot, before: Point | None = None) -> None:
            if disk.digest not in known:
                known.add(disk.digest)
                cuts.append(Cut(what, disk, before))

        def meet(point: Point) -> None:
            points.append(point)
            disk = self._disk.take()
            torn = self._disk.torn(last[-1], disk) if last else None
            if torn is not None:
                keep(f"half of what is written before {point}", torn)
            keep(str(point), disk, point)
            last[:] = [disk]

        watch = Watch(self.place.work_dir, meet)
        watch.install()
        scenario.work(self.place)
        keep("the end", self._disk.take())
        return points, cuts, watch.unsynced

    def _kill(self, scenario: Scenario, wanted: Point) -> None:
        """Run a scenario in a process that is killed before one write."""

        def meet(point: Point) -> None:
            if point == wanted:
                os.kill(os.getpid(), signal.SIGKILL)

        def work() -> None:
            Watch(self.place.work_dir, meet).install()
            scenario.work(self.place)

        try:
            in_fork(work)
        except Died:
            return
        raise AssertionError("the point was not reached")

    def _on_a_full_disk(self, scenario: Scenario, wanted: Point, *, once: bool) -> None:
        """Run a scenario on a disk that is full at one point, or from there on; it ends well or says what to do."""
        state = {"is_full": False, "is_over": False}

        def meet(point: Point) -> None:
            if state["is_over"] or point.kind not in NEED_ROOM:
                return
            if point == wanted or (state["is_full"] and not once):
                state["is_full"] = True
                raise disk_full(point)

        slept: list[float] = []
        plain_sleep = time.sleep
        time.sleep = slept.append  # type: ignore[assignment]
        Watch(self.place.work_dir, meet).install()
        try:
            scenario.work(self.place)
        except Exception as error:
            state["is_over"] = True
            if not (isinstance(error, scenario.refusals) or _says_what_to_do(error)):
                raise AssertionError(f"no clear sentence: {type(error).__name__}: {error}") from error
        finally:
            state["is_over"] = True
            time.sleep = plain_sleep
        assert state["is_full"], "the point was not reached"
        assert not [one for one in slept if one >= 1], f"tried again after {slept} s, though the disk is full"

    def _see(self) -> dict[str, str]:
        """The shop's state, as a process finds it that reads it now; what lies there as before was read before."""
        layout, disk = self.place.layout, self._disk.take()
        keys = {name: disk.digest_of(places) for name, places in sections(layout, disk.entries).items()}
        fresh = [name for name, key in keys.items() if (name, key) not in self._read]
        if fresh:
            read = in_fork(lambda: {name: read_section(layout, name) for name in fresh})
            self._read |= {(name, keys[name]): found for name, found in read.items()}
        return {what: value for name, key in keys.items() for what, value in self._read[name, key].items()}

    def _require_known(self, scenario: Scenario, found: Survey, seen: Mapping[str, str]) -> None:
        strange = {
            name: value
            for name, value in seen.items()
            if value not in (found.old.get(name), found.new.get(name))
            and not name.startswith((*scenario.between, "evaluated/"))
        }
        assert not strange, f"readers see what is neither old nor new: {_short(strange)}"

    def _clear_up(self) -> None:
        """A day later, the next run removes what the killed one left unfinished."""
        from flows.pruning import prune

        old = time.time() - _LONG_AGO_S
        for path in list(self.place.work_dir.rglob("*")):
            if UNFINISHED in path.name:
                os.utime(path, (old, old))
        prune(self.place.layout)
        left = [str(path) for path in self.place.work_dir.rglob("*") if path.name.endswith(UNFINISHED)]
        assert not left, f"left unfinished for good: {left}"


def sample(names: Sequence[str], harness: Harness, count: int, seed: int) -> Iterator[tuple[str, Fault, int]]:
    """Some faults of each of these scenarios, chosen by the seed."""
    for name in names:
        chance = random.Random(f"{seed} {name}")
        faults = harness.faults(name)
        for fault, number in chance.sample(faults, min(count, len(faults))):
            yield name, fault, number


def _says_what_to_do(error: BaseException) -> bool:
    from core.errors import SommelierError

    return isinstance(error, SommelierError) and re.search(r"\b[Ff]ree (room|space)", error.do) is not None


def _require_equal(ended: Mapping[str, str], wanted: Mapping[str, str]) -> None:
    names = {name for name in ended.keys() | wanted.keys() if ended.get(name) != wanted.get(name)}
    differing = {name: (ended.get(name), wanted.get(name)) for name in sorted(names)}
    assert not names, f"it ends otherwise than undisturbed: {_short(differing)}"


def _short(found: Mapping[str, Any]) -> str:
    return "; ".join(f"{name}: {_around_difference(value)}" for name, value in list(found.items())[:6])


def _around_difference(value: Any) -> str:
    """A value, or where the two of a pair part."""
    if not (isinstance(value, tuple) and all(isinstance(one, str) for one in value)):
        return str(value)[:300]
    start = max(0, len(os.path.commonprefix(value)) - 60)  # noqa: RUF071
    return " | ".join(one[start : start + 200] for one in value)
