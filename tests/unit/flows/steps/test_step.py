"""What the key of a step's result covers, and what a step may read."""

import errno
import re
import time
from dataclasses import replace
from pathlib import Path

import duckdb
import pytest
import torch
from prefect import flow
from prefect.testing.utilities import prefect_test_harness

from core.errors import SettingsError
from core.layout import Layout
from core.settings.features import FeatureStoreSettings
from core.settings.platform import PlatformSettings
from core.settings.tree import Recipe
from core.tombstones import bury
from features.errors import FeastFailure
from flows.errors import DataChanged, DiskFull
from flows.steps import step as steps
from flows.steps.run import Run
from flows.steps.step import THREADS, WHOLE_RECIPE, Output, StepContext, StepKey, action, step

RECIPE = Recipe(seed=1)
UNREADABLE = SettingsError("Cannot ask", got="a=1", expected="2", do="Ask again")


def run_of(folder, recipe=RECIPE):
    return Run(recipe, Layout(folder, "shop"), PlatformSettings(), FeatureStoreSettings())


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setattr(steps, "code_version", lambda: "code")
    monkeypatch.setattr(steps, "library_versions", lambda: {"torch": "2"})
    return run_of(tmp_path)


def key(run, reads=("seed",), name="fit", unkeyed=(), **inputs):
    return StepKey(unkeyed=frozenset(unkeyed)).key(StepContext(name, run, reads), inputs)


def changed(run, **update):
    return run.with_recipe(run.recipe.model_copy(update=update))


def test_the_key_covers_name_settings_and_inputs(run):
    raw = Output(Path("somewhere"), "k1", None)
    before = key(run, raw=raw)
    assert key(run, raw=raw) == before
    assert key(run, raw=Output(Path("elsewhere"), "k1", "other value")) == before
    assert key(run, raw=Output(Path("somewhere"), "k2", None)) != before
    assert key(run, raw=raw, name="other") != before
    assert key(changed(run, seed=2), raw=raw) != before
    assert key(changed(run, blend=RECIPE.blend.model_copy(update={"kind": "mean"})), raw=raw) == before
    assert key(run_of(Path("another")), raw=raw) == before


def test_the_key_covers_groups_of_settings_and_the_whole_recipe(run):
    other = changed(run, blend=RECIPE.blend.model_copy(update={"kind": "mean"}))
    assert key(run, ("blend",)) != key(other, ("blend",))
    assert key(run, WHOLE_RECIPE) != key(other, WHOLE_RECIPE)
    assert key(run, ("features.max_history",)) == key(other, ("features.max_history",))


def test_another_library_or_other_code_reuses_nothing(run, monkeypatch):
    before = key(run)
    monkeypatch.setattr(steps, "library_versions", lambda: {"torch": "3"})
    newer = key(run)
    monkeypatch.setattr(steps, "code_version", lambda: "new code")
    assert len({before, newer, key(run)}) == 3
    other = StepKey(source="def fit(step): return other(step)").key(StepContext("fit", run, ("seed",)), {})
    assert other != key(run)


def test_unkeyed_inputs_change_nothing_and_paths_must_be_unkeyed(run):
    assert key(run, unkeyed=("listener",), listener=print) == key(run, unkeyed=("listener",), listener=None)
    for value in (Path("file"), print, (Path("file"),), [print]):
        with pytest.raises(TypeError, match="input listener: a path or a function"):
            key(run, listener=value)


def test_a_step_reads_no_setting_that_it_does_not_name(run):
    context = StepContext("fit", run, ("seed", "features.max_history"))
    assert (context.recipe.seed, context.recipe.features.max_history) == (1, RECIPE.features.max_history)
    with pytest.raises(AttributeError, match=r"step fit reads recipe\.blend and does not declare it"):
        _ = context.recipe.blend
    with pytest.raises(AttributeError, match=r"step fit reads recipe\.features\.seen and does not declare it"):
        _ = context.recipe.features.seen


def test_a_fit_compares_lists_of_the_length_that_its_step_reads(run):
    longer = changed(run, evaluation=RECIPE.evaluation.model_copy(update={"k": 33}))
    reading = StepContext("fit", longer, ("seed", "evaluation.k"), computes=True).fit(Path("training"))
    assert (reading.k, reading.seed, reading.threads) == (33, 1, THREADS)
    assert StepContext("fit", longer, WHOLE_RECIPE, computes=True).fit(Path("training")).k == 33
    assert reading.models == longer.layout.work_dir.absolute() / "language-models"
    # Its key does not know the length, so the length must not reach the fit.
    assert StepContext("fit", longer, ("seed",), computes=True).fit(Path("training")).k == 10


def test_what_a_gpu_fitted_is_not_taken_for_what_the_cpu_fits(run, monkeypatch):
    def keys(device):
        monkeypatch.setattr(Run, "device", property(lambda _: device))
        contexts = [StepContext("fit", run, ("seed",), computes) for computes in (True, False)]
        return [StepKey().key(context, {}) for context in contexts]

    (fit_here, read_here), (fit_there, read_there) = keys("cpu"), keys("cuda")
    assert fit_here != fit_there
    assert read_here == read_there, "what asks no model does not depend on it"
    assert StepContext("fit", run, ("seed",), computes=True).fit(Path("training")).device == "cuda"


def test_a_step_that_does_not_say_that_it_computes_cannot_fit(run):
    with pytest.raises(AttributeError, match="step read computes with models and does not declare it"):
        StepContext("read", run, ("seed",)).fit(Path("training"))


def test_a_gpu_is_asked_for_in_the_settings(run):
    wanting = replace(run, platform=PlatformSettings(device="cuda"))
    if not torch.cuda.is_available():
        with pytest.raises(SettingsError, match=r"platform\.device=cuda"):
            _ = wanting.device
    assert replace(run, platform=PlatformSettings(device="cpu")).device == "cpu"


@pytest.fixture(scope="module")
def server():
    with prefect_test_harness(server_startup_timeout=120):
        yield


@pytest.fixture
def quiet_measurement(monkeypatch, tmp_path):
    monkeypatch.setenv("SOMMELIER_WORK_DIR", str(tmp_path))
    monkeypatch.setenv("PREFECT_LOCAL_STORAGE_PATH", str(tmp_path / "results"))


def test_equal_work_is_done_once_and_again_where_its_output_is_gone(server, quiet_measurement, run):
    done = []

    @step("write", at=lambda layout, key, _: layout.root / key, reads=("seed",), unkeyed=("listener",))
    def write(step: StepContext, text: str, listener: object = None) -> int:
        done.append(text)
        step.target.parent.mkdir(parents=True, exist_ok=True)
        step.target.write_text(text)
        return len(text)

    @action("look")
    def look(step: StepContext, text: str) -> str:
        done.append(step.name)
        return text

    @flow
    def work(run, text, listener=None):
        return write(run, text, listener=listener), look(run, text=text)

    first, seen = work(run, "one")
    assert (first.value, first.folder.read_text(), seen) == (3, "one", "one")
    assert first.folder == run.layout.root / first.key
    assert work(run, "one", print)[0] == first
    assert done == ["one", "look", "look"]
    first.folder.unlink()
    assert work(run, "one")[0].folder.read_text() == "one"
    assert work(run, "two")[0].key != first.key
    assert work(replace(run, refresh=True), "two")[0].value == 3
    assert [name for name in done if name != "look"] == ["one", "one", "two", "two"]


def test_shops_of_equal_work_keep_their_own_results(server, quiet_measurement, run):
    done = []

    @step("place", at=lambda layout, key, _: layout.root / key, reads=("seed",))
    def place(step: StepContext) -> str:
        done.append(step.layout.shop)
        step.target.mkdir(parents=True)
        return str(step.target)

    @flow
    def work(run):
        return place(run)

    other = replace(run, layout=Layout(run.layout.work_dir, "other"))
    for one in (run, other, run, other):
        assert work(one).value == str(one.layout.root / work(one).key)
    assert done == ["shop", "other"]


def test_a_step_that_leaves_nothing_is_asked_again(server, quiet_measurement, run):
    done = []

    @step("fit", at=lambda layout, key, _: layout.root / key, reads=("seed",))
    def fit(step: StepContext) -> bool:
        done.append(step.name)
        return False

    @flow
    def work(run):
        return fit(run)

    assert not work(run).value
    assert not work(run).value
    assert done == ["fit", "fit"]


@pytest.mark.parametrize(("error", "times"), [(UNREADABLE, 1), (OSError("away"), 3)])
def test_a_step_is_tried_again_unless_the_user_has_to_act(server, quiet_measurement, run, monkeypatch, error, times):
    monkeypatch.setitem(steps._RETRIES, "retry_delay_seconds", 0)
    done = []

    @step("fit", at=lambda layout, key, _: layout.root / key)
    def fit(step: StepContext) -> None:
        done.append(step.name)
        raise error

    @flow
    def work(run):
        fit(run)

    with pytest.raises(type(error)):
        work(run)
    assert len(done) == times


@pytest.mark.parametrize(("retries", "times"), [(True, 3), (False, 1)])
def test_an_action_is_tried_again_whatever_went_wrong(server, quiet_measurement, run, monkeypatch, retries, times):
    monkeypatch.setitem(steps._RETRIES, "retry_delay_seconds", 0)
    done = []

    @action("refresh", retries=retries)
    def refresh(step: StepContext) -> None:
        done.append(step.name)
        raise UNREADABLE

    @flow
    def work(run):
        refresh(run)

    with pytest.raises(SettingsError):
        work(run)
    assert len(done) == times


def in_flow(made, run):
    @flow
    def work(run):
        made(run)

    work(run)


LASTING = [
    MemoryError(), TypeError("a bug"), AssertionError(), ValueError("a bug"), KeyError("a bug"),
    RuntimeError("[enforce fail] DefaultCPUAllocator: not enough memory"),
    duckdb.OutOfMemoryException("failed to allocate"), DiskFull("It stops", got="1", expected="2", do="Free room"),
]  # fmt: skip
PASSING = [ConnectionError("reset"), TimeoutError("the server is slow"), OSError(errno.EIO, "I/O"), RuntimeError("odd")]


@pytest.mark.parametrize(("error", "times"), [*((one, 1) for one in LASTING), *((one, 3) for one in PASSING)])
def test_what_will_not_pass_on_a_second_try_is_tried_once(server, quiet_measurement, run, monkeypatch, error, times):
    monkeypatch.setitem(steps._RETRIES, "retry_delay_seconds", 0)
    tries = []

    @action("fail", retries=True)
    def fail(step: StepContext) -> None:
        tries.append(1)
        raise error

    with pytest.raises(type(error)):
        in_flow(fail, run)
    assert len(tries) == times


def test_a_full_disk_is_said_in_one_sentence_and_not_tried_again(server, quiet_measurement, run):
    tries = []

    @action("fill", retries=True)
    def fill(step: StepContext) -> None:
        tries.append(1)
        try:
            raise OSError(errno.ENOSPC, "No space left on device")
        except OSError as error:
            raise FeastFailure("Cannot refresh", got="a", expected="b", do="Move the folder away") from error

    with pytest.raises(DiskFull, match=r"lack of room: error=FeastFailure.* Free room on this disk and run the flow"):
        in_flow(fill, run)
    assert tries == [1]


def test_a_step_past_its_limit_fails_and_is_not_tried_again(server, quiet_measurement, run):
    tries = []

    @step("sleep")
    def sleep(step: StepContext) -> None:
        tries.append(1)
        while True:
            time.sleep(0.05)

    hasty = replace(run, platform=PlatformSettings(step_timeout_s=0.5))
    started = time.monotonic()
    with pytest.raises(TimeoutError):
        in_flow(sleep, hasty)
    assert time.monotonic() - started < 20
    assert len(tries) == 1


def test_every_task_is_a_step_whose_time_is_limited():
    flows = Path(steps.__file__).parents[1]
    made = {file.relative_to(flows) for file in flows.rglob("*.py") if re.search(r"@task\b|\bTask\(", file.read_text())}
    # A trial has no limit of its own: all that it does is done by steps.
    assert made == {Path("steps/step.py"), Path("tuning/trials.py")}


def test_a_step_that_writes_needs_room(server, quiet_measurement, run, tmp_path):
    @step("write", at=lambda layout, key, _: layout.root / key)
    def write(step: StepContext) -> None:
        pytest.fail("there is no room")

    full = replace(run, platform=PlatformSettings(min_free_bytes=10**18))
    with pytest.raises(DiskFull, match=rf"free=.* MB, expected at least 1,000,000,000,000 MB.*\({tmp_path}"):
        in_flow(write, full)


def test_a_run_that_began_before_somebody_was_forgotten_does_not_go_on(server, quiet_measurement, run):
    done = []

    @action("write", retries=True)
    def write(step: StepContext) -> str:
        done.append(step.name)
        return "done"

    @flow
    def work(run):
        return write(run)

    assert work(run) == "done"
    bury(run.layout.forgotten, "somebody")
    with pytest.raises(DataChanged, match=r"forgotten=1 changes, expected 0.*Run the flow again"):
        work(run)
    assert work(replace(run, generation=1)) == "done"
    assert done == ["write", "write"]
