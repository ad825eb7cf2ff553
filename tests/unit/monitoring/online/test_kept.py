"""What is kept of the prediction log for experiments: with it figures are what the whole log would give."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import signal
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from core.experiments import CHAMPION, Experiment, ExperimentError, Growth, start, stop
from core.logs.events import EventLog, Interaction
from core.logs.predictions import Prediction, erase_predictions
from core.logs.pruning import Lost, prune_segments, read_lost, segments_of
from core.promotions import Standing, model_folder
from core.settings.monitoring import ExperimentSettings
from core.storage import UNFINISHED, write_json
from monitoring.online import kept
from monitoring.online.erasure import erase_kept
from monitoring.online.figures import ExperimentFigures, compute_figures
from monitoring.online.kept import ExperimentKeeper, kept_files
from monitoring.online.shown import PredictionLogError
from tests.faults.processes import Died, in_fork
from tests.integration.byte_search import find
from tests.unit.monitoring.online.test_figures import MODEL, answer, experiment, standing

NOW = datetime.now(UTC)
BEGAN = NOW - timedelta(days=40)
SETTINGS = ExperimentSettings(clicks=("click",), click_window_s=3600, observe_s=86_400)
ROOM = 10**7


class Shop:
    """A shop with a running split, a segment of the log per day, and clicks on it."""

    def __init__(self, folder: Path, one: Experiment, n_days: int = 8, users: int = 60) -> None:
        self.log, self.folder, self.experiment = folder / "predictions", folder, one
        self.serves = Standing(folder=model_folder(MODEL), changes=standing(folder).changes)
        write_json(model_folder(MODEL) / "promotions.json", {"changes": []})
        start(MODEL, one)
        self.log.mkdir()
        self.events = EventLog(folder / "events.sqlite")
        clicks = []
        for day in range(n_days):
            moment = BEGAN + timedelta(days=day, hours=1)
            lists = [shown(day * 1000 + n, n, moment + timedelta(seconds=n)) for n in range(users)]
            clicks += [click(one, f"i{n % 4}") for n, one in enumerate(lists) if n % 3 == day % 3]
            failed = [shown(day * 1000 + 900 + n, n, moment, role="failed", items=(), scores=()) for n in range(3)]
            self.write(f"{day:02}", moment + timedelta(hours=2), *lists, *failed)
        self.events.append(clicks)

    def write(self, name: str, at: datetime, *lists: Prediction, dropped: int = 1) -> None:
        lines = [json.dumps({field: getattr(one, field) for field in Prediction.__slots__}) for one in lists]
        lines.append(json.dumps({"dropped": dropped, "at": at.isoformat()}))
        file = self.log / f"{name}.jsonl"
        file.write_text("\n".join(lines) + "\n")
        os.utime(file, (at.timestamp(), at.timestamp()))

    def keeper(self, max_bytes: int = ROOM, days: float = 30.0) -> ExperimentKeeper:
        return ExperimentKeeper(self.log, MODEL, max_bytes=max_bytes, days=days, window_s=SETTINGS.click_window_s)

    def prune(self, n_left: int, **more: Any) -> list[Path]:
        sizes = [one.stat().st_size for one in segments_of(self.log)]
        return prune_segments(self.log, sum(sizes[len(sizes) - n_left :]), 10**4, None, self.keeper(**more))

    def figures(self, now: datetime = NOW) -> ExperimentFigures:
        return compute_figures(self.experiment, self.serves, self.log, self.events, SETTINGS, now)


def shown(number: int, user: int, at: datetime, **more: Any) -> Prediction:
    """Of every fifth user a list of a search, which takes clicks that name no answer from the experiment."""
    of_search: dict[str, Any] = {"endpoint": "/v1/search", "experiment": ""} if user % 5 == 4 else {}
    fields: dict[str, Any] = {"at": at.isoformat(), "items": [f"i{n}" for n in range(4)], "scores": [1.0] * 4}
    who: dict[str, Any] = {"user_id": None, "visitor_id": f"person-{user}", "unit": "visitor"} if user % 7 == 6 else {}
    fields |= {"took_ms": number % 7, **of_search, **who, **more}
    return answer(number, "new" if user % 2 else CHAMPION, f"person-{user % 50}", **fields)


def click(of: Prediction, item: str) -> Interaction:
    """Every other click names no answer."""
    number, at = int(of.recommendation_id[1:]), datetime.fromisoformat(of.at) + timedelta(minutes=5)
    named = of.recommendation_id if number % 2 else None
    return Interaction(f"e{number}", str(of.user_id or of.visitor_id), item, "click", at, None, named)


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Shop]:
    monkeypatch.setenv("BENTOML_HOME", str(tmp_path / "bentoml"))
    model_folder(MODEL).mkdir(parents=True)

    def made(**more: Any) -> Shop:
        n_days = more.pop("n_days", 8)
        return Shop(tmp_path, experiment(started_at=BEGAN.isoformat(), **more), n_days)

    return made


def add_shadows(shop: Shop, name: str = "try") -> None:
    """Three lists of a shadow each day, in segments of their own."""
    for day in range(8):
        at, more = BEGAN + timedelta(days=day, hours=4), {"overlap": 0.1 * day, "rank_correlation": 0.5}
        more |= {"role": "shadow", "experiment": name}
        shop.write(f"{day:02}s", at, *(shown(9000 + 3 * day + n, 1, at, **more) for n in range(3)))


def change_record(**fields: Any) -> None:
    """Change the only experiment in the record."""
    file = model_folder(MODEL) / "experiments.json"
    told = json.loads(file.read_text())
    told["experiments"][0] |= fields
    write_json(file, told)


@pytest.mark.parametrize("kind", ["split", "shadow"])
def test_figures_are_those_of_the_whole_log_wherever_it_is_pruned(make: Callable[..., Shop], kind: str) -> None:
    shop = make(kind=kind)
    if kind == "shadow":
        add_shadows(shop)
    whole = shop.figures()
    assert sum(one.answers for one in whole.variants) > 20
    assert kind == "shadow" or sum(one.clicks for one in whole.variants) > 20
    assert sum(one.failed for one in whole.variants) > 2
    n_segments = len(segments_of(shop.log))
    for left in range(n_segments - 1, -1, -1):
        assert len(shop.prune(left)) == 1
        assert shop.figures() == whole
    assert not whole.lost
    assert read_lost(shop.log).until is not None
    assert len(kept_files(shop.log, shop.experiment)) == n_segments


def test_a_click_on_a_list_that_went_counts_as_on_one_that_is_there(make: Callable[..., Shop]) -> None:
    shop = make()
    late = [
        Interaction("late-1", "person-1", "i2", "click", BEGAN + timedelta(hours=1, minutes=9), None, "r1"),
        Interaction("late-2", "person-3", "i2", "click", BEGAN + timedelta(hours=1, minutes=9), None, None),
        Interaction("too-late", "person-5", "i2", "click", BEGAN + timedelta(hours=2, minutes=9), None, "r5"),
    ]
    before = shop.figures()
    shop.prune(3)
    shop.events.append(late)
    now = [one.clicks for one in shop.figures().variants]
    assert now == [before.variants[0].clicks, before.variants[1].clicks + 2]


def test_of_a_log_that_was_pruned_before_the_beginning_is_lost(make: Callable[..., Shop]) -> None:
    shop = make()
    newest = segments_of(shop.log)[4].stat().st_mtime
    assert len(prune_segments(shop.log, 10**6, (NOW.timestamp() - newest - 1) / 86_400)) == 5
    found = shop.figures()
    assert (found.lost, found.since) == (True, (BEGAN + timedelta(days=4, hours=3)).isoformat(timespec="seconds"))
    assert "serving.predictions.experiments_max_bytes" in found.tests[0].note
    for left in (2, 1, 0):
        assert len(shop.prune(left)) == 1
        assert shop.figures() == found


def test_another_experiment_of_the_name_has_its_own(make: Callable[..., Shop]) -> None:
    shop = make()
    shop.prune(4)
    stop(MODEL, "try")
    again = experiment(started_at=(BEGAN + timedelta(days=5)).isoformat())
    start(MODEL, again)
    first, second = shop.figures(), compute_figures(again, shop.serves, shop.log, shop.events, SETTINGS, NOW)
    shop.prune(0)
    assert shop.figures() == first
    assert compute_figures(again, shop.serves, shop.log, shop.events, SETTINGS, NOW) == second
    assert [len(kept_files(shop.log, one)) for one in (shop.experiment, again)] == [8, 3]


def test_what_no_longer_counts_goes_and_what_counts_anew_is_whole(make: Callable[..., Shop]) -> None:
    growth = Growth(at=(BEGAN + timedelta(days=4)).isoformat(), share=0.5)
    shop = make(kind="canary")
    shop.prune(2)
    assert len(kept_files(shop.log, shop.experiment)) == 6
    change_record(growths=[growth.model_dump()])
    shop.experiment = shop.experiment.model_copy(update={"growths": (growth,)})
    grown = shop.figures()
    assert sum(one.answers for one in grown.variants) > 20
    shop.prune(1)
    assert shop.figures() == grown
    assert not grown.lost
    assert len(kept_files(shop.log, shop.experiment)) == 3


def test_after_its_end_it_is_kept_as_long_as_the_log_goes_back(make: Callable[..., Shop]) -> None:
    shop = make()
    shop.prune(2)
    shop.experiment = stop(MODEL, "try")
    whole = shop.figures()
    shop.prune(2, days=1.0)
    assert shop.figures() == whole
    change_record(stopped_at=(NOW - timedelta(days=2)).isoformat())
    assert shop.prune(2, days=1.0) == []
    assert list((shop.log / "kept").iterdir()) == []
    assert (shop.figures().lost, read_lost(shop.log).kept) == (True, {})


def test_it_has_a_room_of_its_own_and_what_has_no_test_goes_first(make: Callable[..., Shop]) -> None:
    shop = make()
    add_shadows(shop, "beside")
    beside = experiment("shadow", started_at=BEGAN.isoformat(), name="beside")
    start(MODEL, beside)
    whole = shop.figures()
    shop.prune(0)
    sizes = {one: one.stat().st_size for one in (shop.log / "kept").rglob("*.parquet")}
    ours, theirs = kept_files(shop.log, shop.experiment), kept_files(shop.log, beside)
    assert (len(ours), len(theirs)) == (16, 16)
    shop.prune(0, max_bytes=sum(sizes[one] for one in ours) + sizes[theirs[-1]])
    assert (kept_files(shop.log, shop.experiment), kept_files(shop.log, beside)) == (ours, theirs[-1:])
    assert shop.figures() == whole
    went = ours[1].stat().st_mtime
    shop.prune(0, max_bytes=sum(sizes[one] for one in ours[2:]))
    found = shop.figures()
    assert (found.lost, found.since) == (True, datetime.fromtimestamp(went, UTC).isoformat(timespec="seconds"))
    assert (kept_files(shop.log, shop.experiment), kept_files(shop.log, beside)) == (ours[2:], [])
    # With room again it is no more whole than it was.
    shop.prune(0)
    assert shop.figures() == found
    shop.prune(0, max_bytes=0)
    assert [one.answers for one in shop.figures().variants] == [0, 0]


def test_where_it_cannot_be_written_the_log_is_bounded_and_says_what_is_lost(
    make: Callable[..., Shop], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    shop = make()

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(kept.os, "utime", refuse)
        assert len(shop.prune(6)) == 2
    assert "Answers of experiments cannot be kept, and are lost with 00.jsonl" in caplog.text
    found = shop.figures()
    assert (found.lost, found.since) == (True, (BEGAN + timedelta(days=1, hours=3)).isoformat(timespec="seconds"))
    shop.prune(0)
    assert shop.figures() == found


def begin_second(days: float, until: datetime | None = None) -> Experiment:
    """Another experiment, so many days after the first; one that has ended where `until` says so."""
    made = experiment(started_at=(BEGAN + timedelta(days=days)).isoformat(), name="second", kind="shadow")
    start(MODEL, made)
    if until is None:
        return made
    file = model_folder(MODEL) / "experiments.json"
    told = json.loads(file.read_text())
    told["experiments"][-1]["stopped_at"] = until.isoformat()
    write_json(file, told)
    return made.model_copy(update={"stopped_at": until.isoformat()})


def refuse_files_of(one: Experiment, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have nothing written that is kept of an experiment."""
    write = os.utime

    def utime(file: Path, **more: Any) -> None:
        if Path(file).parent.name == kept.name_of(one):
            raise OSError(errno.EACCES, "Permission denied")
        write(file, **more)

    monkeypatch.setattr(kept.os, "utime", utime)


def test_a_file_that_cannot_be_written_loses_the_answers_of_its_own_experiment_alone(
    make: Callable[..., Shop], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    shop = make()
    second = begin_second(0.0)
    whole = shop.figures()
    refuse_files_of(second, monkeypatch)
    assert len(shop.prune(6)) == 2
    assert f"are lost with 01.jsonl: those of {kept.name_of(second)}" in caplog.text
    assert kept.name_of(shop.experiment) not in caplog.text
    assert shop.figures() == whole
    theirs = compute_figures(second, shop.serves, shop.log, shop.events, SETTINGS, NOW)
    assert (theirs.lost, theirs.since) == (True, (BEGAN + timedelta(days=1, hours=3)).isoformat(timespec="seconds"))


def test_segments_from_after_the_end_of_an_experiment_have_nothing_to_lose_of_it(
    make: Callable[..., Shop], monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = make()
    second = begin_second(0.0, until=BEGAN + timedelta(days=2, hours=2, minutes=30))
    whole, theirs = shop.figures(), compute_figures(second, shop.serves, shop.log, shop.events, SETTINGS, NOW)
    assert (whole.dropped, theirs.dropped) == (8, 2)
    assert len(shop.prune(5, days=60.0)) == 3
    refuse_files_of(second, monkeypatch)
    assert len(shop.prune(1, days=60.0)) == 4
    assert [one.stem for one in kept_files(shop.log, second)] == ["00", "01", "02"]
    assert len(kept_files(shop.log, shop.experiment)) == 7
    assert compute_figures(second, shop.serves, shop.log, shop.events, SETTINGS, NOW) == theirs
    assert shop.figures() == whole


def test_segments_stay_where_nobody_can_tell_which_experiments_run(make: Callable[..., Shop]) -> None:
    shop = make()
    shop.prune(4)
    (model_folder(MODEL) / "experiments.json").write_text("{")
    with pytest.raises(ExperimentError, match="Cannot read the experiments"):
        shop.prune(0)
    assert len(segments_of(shop.log)) == 4
    assert len(kept_files(shop.log, shop.experiment)) == 4


def test_without_a_readable_word_on_what_went_nothing_that_is_kept_is_removed_before_segments_go(
    make: Callable[..., Shop], caplog: pytest.LogCaptureFixture
) -> None:
    shop = make()
    shop.prune(4)
    (shop.log / "lost.json").write_text("{")
    assert shop.prune(4) == []
    assert len(kept_files(shop.log, shop.experiment)) == 4
    assert "it is written anew once some go" in caplog.text
    # What it said may have been that the beginning is lost.
    with pytest.raises(PredictionLogError, match=r"Cannot tell how far back the prediction log goes"):
        shop.figures()
    newest = segments_of(shop.log)[0].stat().st_mtime
    shop.prune(3)
    found = shop.figures()
    assert (found.lost, found.since) == (True, datetime.fromtimestamp(newest, UTC).isoformat(timespec="seconds"))


def test_a_missing_word_on_what_went_is_written_at_once_and_all_before_what_is_there_counts_as_gone(
    make: Callable[..., Shop], caplog: pytest.LogCaptureFixture
) -> None:
    shop = make()
    shop.prune(4)
    (shop.log / "lost.json").unlink()
    with pytest.raises(PredictionLogError, match=r"Cannot tell how far back the prediction log goes"):
        shop.figures()
    oldest = segments_of(shop.log)[0].stat().st_mtime
    for _ in range(3):
        assert shop.prune(4) == []
    found = shop.figures()
    assert (found.lost, found.since) == (True, datetime.fromtimestamp(oldest, UTC).isoformat(timespec="seconds"))
    assert kept_files(shop.log, shop.experiment) == []
    assert [one.message for one in caplog.records if "lost.json was missing" in one.message] != []
    assert len(caplog.records) == 1
    shop.prune(0)
    after = shop.figures()
    assert (after.lost, after.since, after.variants) == (True, found.since, found.variants)


def test_a_segment_that_is_written_meanwhile_stays_and_its_new_answers_count(make: Callable[..., Shop]) -> None:
    shop = make()
    whole = shop.figures()
    keeper = shop.keeper()

    class Beside:
        """A keeper during whose work another process appends to the first segment."""

        tidy = keeper.tidy

        def keep(self, segments: Sequence[Path], lost: Lost) -> Mapping[str, datetime]:
            found = keeper.keep(segments, lost)
            with (shop.log / "00.jsonl").open("a") as file:
                file.write(json.dumps({"dropped": 7, "at": (BEGAN + timedelta(hours=9)).isoformat()}) + "\n")
            return found

    gone = prune_segments(shop.log, 0, 10**4, None, Beside())
    assert [one.stem for one in gone] == [f"{n:02}" for n in range(7, 0, -1)]
    now = shop.figures()
    assert now == whole.model_copy(update={"dropped": whole.dropped + 7})
    shop.prune(0)
    assert shop.figures() == now


def killed_at(number: int, shop: Shop) -> bool:
    """Prune in a process that kills itself before its nth write; whether it came so far."""
    seen = [0]

    def counted(write: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **more: Any) -> Any:
            seen[0] += 1
            if seen[0] == number:
                os.kill(os.getpid(), signal.SIGKILL)
            return write(*args, **more)

        return call

    def work() -> None:
        for name in ("mkdir", "rename", "replace", "fsync", "unlink", "utime"):
            setattr(os, name, counted(getattr(os, name)))
        shop.prune(0)

    try:
        in_fork(work)
    except Died:
        return True
    return False


def test_killed_before_any_write_nothing_is_lost_nor_counted_twice(make: Callable[..., Shop], tmp_path: Path) -> None:
    shop = make(n_days=2)
    shutil.copytree(shop.log, tmp_path / "whole")
    whole, number = shop.figures(), 1
    seen: list[dict[str, int]] = []
    while killed_at(number, shop):
        left = {str(one.relative_to(shop.log)): one.stat().st_size for one in shop.log.rglob("*")}
        names = {re.sub(r"\.[0-9a-f]{8}\.", ".", name): size for name, size in left.items()}
        if names not in seen:  # an `fsync` changes nothing
            seen.append(names)
            assert shop.figures() == whole, number
            shop.prune(0)
            assert (shop.figures(), segments_of(shop.log)) == (whole, []), number
            assert [one.name for one in (shop.log / "kept").rglob("*") if one.suffix == UNFINISHED] == [], number
        shutil.rmtree(shop.log)
        shutil.copytree(tmp_path / "whole", shop.log)
        number += 1
    assert (number > 15, len(seen) > 7) == (True, True)
    assert (shop.figures(), segments_of(shop.log)) == (whole, [])


def test_a_forgotten_user_is_taken_out_of_it(make: Callable[..., Shop]) -> None:
    shop = make()
    shop.prune(2)
    assert {one for one in find("person-6", shop.log) if one.startswith("kept/")} != set()
    before, times = shop.figures(), [one.stat().st_mtime_ns for one in kept_files(shop.log, shop.experiment)]
    (kept_files(shop.log, shop.experiment)[0].parent / f".x.1{UNFINISHED}").write_text("PAR1 person-6")
    erase_predictions(shop.log, lambda one: one == "person-6")
    assert erase_kept(shop.log, lambda one: one == "person-6") == 12
    assert find("person-6", shop.log) == set()
    assert [one.stat().st_mtime_ns for one in kept_files(shop.log, shop.experiment)] == times
    assert sum(one.answers for one in before.variants) - sum(one.answers for one in shop.figures().variants) == 16
    assert erase_kept(shop.log / "none", lambda _: True) == 0
