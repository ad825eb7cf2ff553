"""Figures are computed behind those who look; whatever goes wrong, they are told, and who looks next tries it again."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from core.experiments import start
from core.promotions import RECORD, Change, PromotionRecordError, Standing, model_folder
from core.storage import write_json
from serving.experiments.figures import Computed, FiguresCache
from tests.unit.monitoring.online.test_figures import experiment
from tests.unit.serving.experiments.test_desk import CHAMPION, MODEL, Desk


class Panic(BaseException):
    """As of a library that is written in Rust."""


def served(n_changes: int = 1) -> Standing:
    """What is in service after so many changes."""
    change = Change(at="2026-02-01T00:00:00+00:00", action="promoted", version="v1", digest="d1")
    return Standing(folder=Path("models"), changes=(change,) * n_changes)


@pytest.mark.parametrize("error", [ValueError("no"), Panic("no")])
def test_whatever_computing_raises_who_looks_is_told(error: BaseException) -> None:
    def compute(_: Sequence[object]) -> Any:
        if errors:
            raise errors.pop()
        return Computed(["figures"], 0.0)  # type: ignore[list-item]

    errors, asked = [error], experiment()
    figures = FiguresCache(compute, keep_s=0.0, standing=served)
    figures.refresh([asked])
    figures.wait(20)
    said = "no" if isinstance(error, Exception) else "Panic: no"
    assert (figures.of(asked), figures.problem) == (None, f"The figures cannot be computed: {said}")
    figures.refresh([asked])
    figures.wait(20)
    assert (figures.of(asked), figures.problem) == ("figures", "")


def test_where_the_system_gives_no_thread_who_looks_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    asked = experiment()
    figures = FiguresCache(lambda _: Computed(["figures"], 0.0), keep_s=1000.0, standing=served)  # type: ignore[list-item]
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        figures.refresh([asked])
        figures.wait(20)
    assert figures.problem == "The figures cannot be computed: can't start new thread"
    figures.refresh([asked])
    figures.wait(20)
    assert (figures.of(asked), figures.problem) == ("figures", "")


@pytest.mark.parametrize(("age_s", "times"), [(999.0, 1), (1001.0, 2)])
def test_figures_of_another_worker_are_as_old_here_as_there(
    monkeypatch: pytest.MonkeyPatch, age_s: float, times: int
) -> None:
    computed = []

    def compute(asked: Sequence[object]) -> Any:
        computed.append(asked)
        return Computed(["figures"], age_s)  # type: ignore[list-item]

    monkeypatch.setattr("serving.experiments.figures.time.monotonic", lambda: 5000.0)
    figures = FiguresCache(compute, keep_s=1000.0, standing=served)
    for _ in range(2):
        figures.refresh([experiment()])
        figures.wait(20)
    assert len(computed) == times


def test_a_change_of_what_is_in_service_or_of_an_experiment_has_them_computed_at_the_next_look() -> None:
    computed: list[int] = []

    def compute(asked: Sequence[Any]) -> Any:
        computed.append(len(asked))
        return Computed([f"figures {len(computed)}"] * len(asked), 0.0)  # type: ignore[list-item]

    def standing() -> Standing:
        if not changes[0]:  # the record cannot be read for a moment
            raise PromotionRecordError("Cannot read", got="nothing", expected="a record", do="Wait")
        return served(changes[0])

    figures, runs = FiguresCache(compute, keep_s=1e6, standing=standing), experiment()
    stopped = experiment(stopped_at="2026-03-02T00:00:00+00:00")
    changes, seen = [0], []
    for asked, changes[0] in (
        ([runs], 1),
        ([runs], 1),
        ([runs], 2),
        ([runs], 0),
        ([stopped], 2),
        ([stopped], 2),
        ([stopped, experiment(name="another")], 2),
    ):
        figures.refresh(asked)
        figures.wait(20)
        seen.append(figures.of(runs))
    assert computed == [1, 1, 1, 2]
    assert seen == [f"figures {n}" for n in (1, 1, 2, 2, 3, 3, 4)]


def test_a_promotion_shows_at_the_next_look_however_long_figures_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENTOML_HOME", str(tmp_path / "bentoml"))
    desk = Desk(tmp_path, experiments={"figures_s": 1e6})
    start(MODEL, experiment())
    desk.desk.follow(CHAMPION)
    since = []
    first = {"at": "2026-02-01T12:00:00+00:00", "action": "promoted", "version": "v1", "digest": "v1"}
    for later in ([], [{**first, "at": "2026-03-05T12:00:00+00:00", "version": "v3", "digest": "v3"}]):
        write_json(model_folder(MODEL) / RECORD, {"changes": [first, *later]})
        desk.desk.info()
        desk.desk._figures.wait(30)
        found = desk.desk.info().experiments[0].figures
        assert found is not None
        since.append(found.since)
    desk.desk.close()
    assert since == ["2026-03-01T12:00:00+00:00", "2026-03-05T12:00:00+00:00"]
