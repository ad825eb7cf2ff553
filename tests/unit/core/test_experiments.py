"""The record of experiments: changed by one at a time, and overruled by pins and rollbacks."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from core.experiments import (
    RECORD,
    BundlePlace,
    Experiment,
    ExperimentError,
    Experiments,
    Pin,
    Variant,
    grow,
    pinned,
    place_of,
    read_experiments,
    set_pin,
    start,
    stop,
)
from core.promotions import Change, Standing, model_folder

MODEL = "sommelier-tiny"
PLACE = BundlePlace(version="v2", digest="d2")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BENTOML_HOME", str(tmp_path / "bentoml"))
    return tmp_path


def experiment(name: str = "try", *shares: float, **more: Any) -> Experiment:
    variants = tuple(Variant(name=f"v{n}", bundle=PLACE, share=share) for n, share in enumerate(shares or (0.5,)))
    fields: dict[str, Any] = {
        "name": name,
        "kind": "split",
        "variants": variants,
        "started_at": "2026-03-01T12:00:00+00:00",
        "generation": 1,
    }
    return Experiment.model_validate({**fields, **more})


def change(action: str, version: str) -> Change:
    return Change.model_validate(
        {"at": "2026-03-01T13:00:00+00:00", "action": action, "version": version, "digest": version}
    )


def standing(*later: Change) -> Standing:
    return Standing(folder=model_folder(MODEL), changes=(change("promoted", "v1"), *later))


def test_without_a_record_nothing_runs_and_nothing_is_pinned() -> None:
    assert read_experiments(MODEL) == Experiments()


def test_what_is_started_runs_until_it_is_stopped() -> None:
    start(MODEL, experiment())
    assert [one.name for one in read_experiments(MODEL).running] == ["try"]
    stopped = stop(MODEL, "try", "enough")
    found = read_experiments(MODEL)
    assert (stopped.stop_reason, found.running, found.generation) == ("enough", (), 2)
    start(MODEL, experiment())
    assert read_experiments(MODEL).find("try") == experiment()


def test_a_change_that_was_decided_on_an_older_record_is_refused() -> None:
    before = read_experiments(MODEL).generation
    start(MODEL, experiment(), generation=before)
    with pytest.raises(ExperimentError, match=r"Cannot change the pin: generation=1, expected 0, as it was decided on"):
        set_pin(MODEL, None, generation=before)


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        (experiment("Big Words"), "name='Big Words', expected 1 to 40 lower-case letters"),
        (experiment("champion"), "name='champion'"),
        (experiment("try", 0.6, 0.5), r"variants=v0:0\.6, v1:0\.5, expected one or more, .* 1 together at most"),
        (experiment(variants=()), "variants=none"),
    ],
)
def test_names_and_shares_that_make_no_sense_are_refused(wrong: Experiment, sentence: str) -> None:
    with pytest.raises(ExperimentError, match=sentence):
        start(MODEL, wrong)
    assert not (model_folder(MODEL) / RECORD).exists()


def test_shares_of_a_tenth_each_are_one_together() -> None:
    start(MODEL, experiment("try", *[0.1] * 10))


def test_one_split_runs_at_a_time_and_one_shadow_beside_it() -> None:
    start(MODEL, experiment("first"))
    for other in (experiment("second"), experiment("second", kind="canary"), experiment("first", kind="shadow")):
        with pytest.raises(ExperimentError, match="Stop the other one: sommelier experiments stop first"):
            start(MODEL, other)
    start(MODEL, experiment("beside", kind="shadow"))
    with pytest.raises(ExperimentError, match="beside beside"):
        start(MODEL, experiment("third", kind="shadow"))


def test_only_what_runs_can_be_stopped() -> None:
    start(MODEL, experiment())
    with pytest.raises(ExperimentError, match="name=other, expected one that runs: try"):
        stop(MODEL, "other")


def test_a_rollback_since_it_began_overrules_an_experiment_and_a_promotion_does_not() -> None:
    record = Experiments(experiments=(experiment(),))
    assert record.overruled(experiment(), standing()) == ""
    assert record.overruled(experiment(), standing(change("promoted", "v3"))) == ""
    found = record.overruled(experiment(), standing(change("promoted", "v3"), change("rolled back", "v1")))
    assert found == "a rollback at 2026-03-01T13:00:00+00:00 put version v1 back in service"
    again = experiment(generation=2)
    assert record.overruled(again, standing(change("rolled back", "v1"))) == ""


def test_a_pin_overrules_until_a_rollback_or_until_it_is_lifted() -> None:
    pin = Pin(version="v1", digest="d1", at="2026-03-01T12:00:00+00:00", generation=1)
    record = set_pin(MODEL, pin)
    assert record.pin_in_force(standing()) == pin
    assert pinned(MODEL, standing()) == "v1"
    assert record.overruled(experiment(), standing()) == "version v1 is pinned"
    assert record.pin_in_force(standing(change("promoted", "v3"))) == pin
    assert record.pin_in_force(standing(change("rolled back", "v1"))) is None
    assert set_pin(MODEL, None).pin_in_force(standing()) is None


def test_a_damaged_record_says_so() -> None:
    start(MODEL, experiment())
    file = model_folder(MODEL) / RECORD
    file.write_text(file.read_text()[:-20])
    assert pinned(MODEL, standing()) == ""
    with pytest.raises(ExperimentError, match=r"Cannot read the experiments: record=.*remove it"):
        read_experiments(MODEL)
    file.write_text('{"generation": "many"}')
    with pytest.raises(ExperimentError, match="record=1 wrong fields"):
        read_experiments(MODEL)


def test_where_bundles_lie(tmp_path: Path) -> None:
    assert place_of(PLACE, MODEL, tmp_path) == (f"{MODEL}:v2", model_folder(MODEL) / "v2")
    candidate = BundlePlace(candidate="candidates/k", digest="0123456789abcdef")
    assert place_of(candidate, MODEL, tmp_path) == (f"{MODEL}:candidate-0123456789ab", tmp_path / "candidates" / "k")


RACE = """
import sys
from core.experiments import set_pin, Pin
for n in range(20):
    set_pin("sommelier-tiny", Pin(version=sys.argv[1], digest="d", at="t", generation=1))
"""


def test_processes_that_change_it_at_once_lose_no_change() -> None:
    processes = [subprocess.Popen([sys.executable, "-c", RACE, f"v{n}"]) for n in range(3)]
    assert [process.wait(60) for process in processes] == [0, 0, 0]
    assert read_experiments(MODEL).generation == 60


def test_a_canary_grows_and_never_shrinks() -> None:
    start(MODEL, experiment("try", 0.1, kind="canary"))
    grown = grow(MODEL, "try", 0.5, "it is as good")
    assert (grown.variants[0].share, [(one.share, one.reason) for one in grown.growths]) == (
        0.5,
        [(0.5, "it is as good")],
    )
    assert grown.shares_since == grown.growths[0].at
    for share in (0.5, 0.1, 1.5):
        with pytest.raises(ExperimentError, match=r"a share above its own, at most 1; what runs: try:0\.5"):
            grow(MODEL, "try", share)
    stop(MODEL, "try")
    start(MODEL, experiment())
    with pytest.raises(ExperimentError, match="expected a canary that runs"):
        grow(MODEL, "try", 0.9)


def test_what_the_loop_withdrew_is_known_with_what_was_judged_in_its_place() -> None:
    place = BundlePlace(version="v2", digest="refit", judged="judged")
    one = experiment("try", kind="canary", variants=(Variant(name="v", bundle=place, share=0.1),), followed=True)
    start(MODEL, one)
    assert read_experiments(MODEL).withdrawn == frozenset()
    stop(MODEL, "try", outcome="withdrawn")
    assert read_experiments(MODEL).withdrawn == {"refit", "judged"}
