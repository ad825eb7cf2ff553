"""A removal that is killed ends, done again, in the same place; of a log whose events are sealed in part."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import pytest

from core.layout import Layout
from core.logs.events import EventLog, Interaction
from core.settings.features import FeatureStoreSettings
from core.storage import UNFINISHED
from core.tombstones import read_tombstones
from flows.erasure.person import Person
from flows.erasure.receipts import Receipt, read_receipts
from flows.erasure.removal import look, preview, remove_person
from tests.faults.disk import Disk, Snapshot
from tests.faults.processes import Died, in_fork
from tests.integration.byte_search import find
from tests.unit.flows.erasure.known_person import PERSON, START, build_shop, copy_shop, offline_rows, same_home

WRITES = ((os, "mkdir"), (os, "rename"), (os, "replace"), (os, "fsync"), (os, "unlink"), (os, "rmdir"))


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    work = tmp_path_factory.mktemp("built") / "work"
    with same_home():
        seal_some(build_shop(work))
    return work


def seal_some(layout: Layout) -> None:
    """Events of the person and of others in two segments, and in the table."""
    log = EventLog(layout.events, above=0)
    for name in ("y", "z"):
        log.seal(datetime(2100, 1, 1, tzinfo=UTC), at_least=1)
        log.append([Interaction(f"{name}-{user}", user, "a", "view", START) for user in (PERSON, "u")])
    log.close()


def removed(layout: Layout) -> Receipt:
    return remove_person(layout, FeatureStoreSettings(), PERSON)


def test_sealed_events_of_the_person_go_and_others_stay(built: Path, tmp_path: Path) -> None:
    layout = copy_shop(built, tmp_path / "work")
    (layout.sealed_events / f".one.0a1b2c3d{UNFINISHED}").write_text(PERSON)  # of a flow that was killed
    segments = {path.name for path in layout.sealed_events.glob("*.parquet")}
    assert len(segments) == 2
    places = {place for place in find(PERSON, layout.root.parent) if "/events/" in place}
    assert len(places) == 3
    assert len({one for one in look(layout, Person(PERSON)).left if "/events/" in one}) == 3
    assert preview(layout, PERSON).seen_from == "2026-01-01T00:00:00+00:00"
    receipt = removed(layout)
    assert find(PERSON, layout.root.parent) == set()
    assert (receipt.removed["event log"], receipt.seen_from) == (3, "2026-01-01T00:00:00+00:00")
    assert receipt.search is not None
    assert receipt.search.left == ()
    assert {path.name for path in layout.sealed_events.iterdir()} == segments
    assert [(n, one.user_id) for n, one in EventLog(layout.events).read()] == [(1, "u"), (4, "u"), (6, "u")]


def test_events_of_others_that_name_the_person_stay_and_are_said(built: Path, tmp_path: Path) -> None:
    layout = copy_shop(built, tmp_path / "work")
    log = EventLog(layout.events)
    log.append([Interaction("gift", "u", f"a gift for {PERSON} from u", "view", START)])
    log.seal(datetime(2100, 1, 1, tzinfo=UTC), at_least=1)
    log.close()
    receipt = removed(layout)
    assert [one.event_id for _, one in EventLog(layout.events).read()] == ["x0", "y-u", "z-u", "gift"]
    assert receipt.search is not None
    (left,) = receipt.search.left
    assert left.startswith("shop/events/")


def test_what_a_prefect_server_elsewhere_keeps_counts_as_left(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    left = [2]
    monkeypatch.setattr("flows.erasure.removal.clear_runs", lambda shop, person: left.pop())
    monkeypatch.setattr("flows.erasure.removal.count_runs", lambda shop, person: sum(left))
    assert "Prefect server: parameters of 2 runs" in preview(layout, PERSON).search.left
    assert removed(layout).removed["Prefect runs"] == 2
    left.append(1)
    monkeypatch.setattr("flows.erasure.removal.clear_runs", lambda shop, person: 0)
    monkeypatch.setattr("flows.erasure.removal.is_out_of_reach", lambda prefect: True)
    again = removed(layout)
    assert again.search.left == ("Prefect server: it does not answer", "Prefect server: parameters of 1 runs")


def test_how_old_their_events_were_is_known_after_a_kill_in_the_midst_of_them(
    built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layout = copy_shop(built, tmp_path / "work")

    def kill(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("core.logs.events.scrub", kill)
        with pytest.raises(KeyboardInterrupt):
            removed(layout)
    assert not EventLog(layout.events).times_of(lambda user: user == PERSON)
    assert removed(layout).seen_from == "2026-01-01T00:00:00+00:00"  # their rows elsewhere are later


def killed_at(number: int, layout: Layout) -> bool:
    """Remove the person in a process of its own that kills itself before its nth write; whether it came so far."""

    def meet(at: int) -> None:
        if at == number:
            os.kill(os.getpid(), signal.SIGKILL)

    def work() -> None:
        before_writes(meet)
        removed(layout)

    try:
        in_fork(work)
    except Died as death:
        return str(death) == f"status {int(signal.SIGKILL)}"
    return False


def before_writes(meet: Callable[[int], None]) -> None:
    """Have `meet` called with the number of each write before it is done; for the rest of this process's life."""
    seen = [0]

    def counted(write):
        def call(*args, **more):
            seen[0] += 1
            meet(seen[0])
            return write(*args, **more)

        return call

    for module, name in WRITES:
        setattr(module, name, counted(getattr(module, name)))


def disks_at_writes(layout: Layout, disk: Disk) -> list[Snapshot]:
    """What a kill before each write leaves, to the time stamps: the folder as it lies there at that moment."""

    def work() -> list[Snapshot]:
        found: list[Snapshot] = []
        before_writes(lambda _: found.append(disk.take()))
        removed(layout)
        return found

    return in_fork(work)


def end_of(layout: Layout) -> dict[str, object]:
    """What a shop has in the end, but for times and counts of what was removed."""
    (receipt,) = read_receipts(layout)
    assert receipt.search.left == ()
    folders = {path.relative_to(layout.root).as_posix() for path in layout.root.rglob("*") if path.is_dir()}
    return {
        "folders": {one for one in folders if not one.startswith("feast/offline/")},
        "offline": offline_rows(layout),
        "events": list(EventLog(layout.events).read()),
        "receipt": (receipt.state, receipt.seen_from, [(one.digest, one.state) for one in receipt.bundles]),
        "found": find(PERSON, layout.root.parent),
        "tombstones": len(read_tombstones(layout.forgotten).forgotten),
    }


def removed_to_the_end(layout: Layout) -> dict[str, object]:
    removed(layout)
    return end_of(layout)


def test_a_removal_that_is_killed_ends_the_same_when_it_is_done_again(built: Path, tmp_path: Path) -> None:
    wanted = removed_to_the_end(copy_shop(built, tmp_path / "whole"))
    assert wanted["found"] == set()
    for number in range(3, 200, 45):
        layout = copy_shop(built, tmp_path / str(number))
        assert killed_at(number, layout)
        assert removed_to_the_end(layout) == wanted, number


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_removal_may_be_killed_at_any_write(built: Path, tmp_path: Path) -> None:
    """Of one removal the disk is taken before each write; from each of these the removal is done again, in a process
    that knows nothing of the others, but from those that are what the write before found: an `fsync` changes nothing.
    """
    layout = copy_shop(built, tmp_path / "work")
    disk = Disk(layout.root.parent, tmp_path / "contents")
    start = disk.take()
    disks = disks_at_writes(layout, disk)
    assert len(disks) > 200
    disk.put(start)

    def done_again() -> dict[str, object]:
        os.fsync = lambda _: None  # type: ignore[assignment] # what was killed is the process: the kernel has all that it wrote
        return removed_to_the_end(layout)

    wanted = in_fork(done_again)
    assert wanted["found"] == set()
    for number, (before, found) in enumerate(pairwise([start, *disks]), 1):
        if number > 1 and found == before:
            continue
        disk.put(found)
        assert in_fork(done_again) == wanted, number
