"""The service keeps for experiments what figures need of segments that go."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from core.experiments import Experiment, read_experiments, start
from core.layout import Layout
from core.logs.pruning import segments_of
from monitoring.online.kept import kept_files
from tests.unit.monitoring.online.test_figures import experiment
from tests.unit.serving.experiments.test_desk import CHAMPION, MODEL, Desk

DAY = timedelta(days=1)


def write_old_segment(log: Path, one: Experiment) -> None:
    at = datetime.now(UTC) - 40 * DAY
    answer = {"recommendation_id": "r1", "at": at.isoformat(), "items": ["a"], "role": "shown", "user_id": "u1"}
    answer |= {"experiment": one.name, "variant": "new", "unit": "user", "model": "m", "took_ms": 1.0, "together": 1}
    log.mkdir(parents=True)
    (log / "0.jsonl").write_text(json.dumps(answer) + "\n")
    os.utime(log / "0.jsonl", (at.timestamp(), at.timestamp()))


@pytest.mark.parametrize("room", [10**6, 0])
def test_answers_of_a_running_experiment_outlast_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: int
) -> None:
    monkeypatch.setenv("BENTOML_HOME", str(tmp_path / "bentoml"))
    one = experiment(started_at=(datetime.now(UTC) - 41 * DAY).isoformat())
    write_old_segment(Layout(tmp_path, "tiny").predictions, one)
    (tmp_path / "bentoml" / "models" / MODEL).mkdir(parents=True)
    start(MODEL, one)
    desk = Desk(tmp_path, predictions={"flush_s": 0.0, "days": 30, "experiments_max_bytes": room})
    desk.desk.close()
    desk.desk.follow(CHAMPION)
    assert segments_of(desk.layout.predictions) == []
    (known,) = read_experiments(MODEL).experiments
    assert len(kept_files(desk.layout.predictions, known)) == (1 if room else 0)
    desk.desk.info(CHAMPION.value)
    desk.desk._figures.wait(30)
    figures = desk.desk.info(CHAMPION.value).experiments[0].figures
    assert figures is not None
    assert (figures.lost, sum(one.answers for one in figures.variants)) == ((False, 1) if room else (True, 0))
