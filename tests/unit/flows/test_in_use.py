"""What a run uses that goes on is not pruned, however many runs end meanwhile; what a killed one used is."""

import errno
import os
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest
from prefect import flow
from prefect.testing.utilities import prefect_test_harness

from core.layout import Layout
from core.settings.features import FeatureStoreSettings
from core.settings.platform import PlatformSettings
from core.settings.tree import Recipe
from core.storage import is_held
from flows import in_use
from flows.errors import DiskFull
from flows.in_use import keeping_used, note_used, reading_uses
from flows.params import PipelineParams
from flows.pruning import prune, pruned
from flows.steps.run import Run
from flows.steps.step import Output, step

KEPT_RESULTS = PlatformSettings().kept_results


@pytest.fixture
def layout(tmp_path, monkeypatch):
    monkeypatch.setenv("SOMMELIER_WORK_DIR", str(tmp_path))
    monkeypatch.setenv("BENTOML_HOME", str(tmp_path / "bentoml"))
    return Layout(tmp_path, "vineyard")


def make(folder: Path, age: int) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    os.utime(folder, (1_000_000 - age, 1_000_000 - age))
    return folder


def make_newer(layout: Layout) -> None:
    """What the runs of another flow leave meanwhile: as much as pruning keeps."""
    for number in range(2 * KEPT_RESULTS):
        for stage in (layout.raw, layout.clean, layout.training):
            make(stage(f"newer{number}"), number)


def test_what_a_run_uses_stays_until_it_ends(layout):
    used, other = make(layout.clean("used"), 99), make(layout.clean("other"), 98)
    make_newer(layout)

    @pruned
    def run(params: PipelineParams) -> None:
        note_used(used)
        note_used(used, used)
        assert other in prune(layout)
        assert used.exists()
        assert other not in prune(layout)

    run(PipelineParams(shop="vineyard"))
    assert not used.exists()
    with reading_uses(layout) as (left, _):
        assert left == set()


@step("gather", at=lambda layout, key, _: layout.clean(key))
def gather(step, raw: Output[str]) -> str:
    step.target.mkdir(parents=True)
    return step.key


def test_what_a_step_makes_and_what_it_is_given_is_used(layout):
    given = Output(make(layout.raw("given"), 99), "given", "")
    context = Run(Recipe(), layout, PlatformSettings(), FeatureStoreSettings())
    found = []

    @flow(name="gather-twice")
    @pruned
    def run(params: PipelineParams) -> None:
        for _ in range(2):  # made, and then taken up again
            made = gather(context, raw=given)
            os.utime(made.folder, (1_000_000 - 99, 1_000_000 - 99))
            make_newer(layout)
            prune(layout)
            found.extend([made.folder.exists(), given.folder.exists()])

    with prefect_test_harness(server_startup_timeout=120):
        run(PipelineParams(shop="vineyard"))
    assert found == [True] * 4
    assert not given.folder.exists()


def test_what_an_inner_part_of_a_run_uses_may_go_when_that_part_ends(layout):
    whole, part = make(layout.clean("whole"), 99), make(layout.training("part"), 99)
    make_newer(layout)
    with keeping_used(layout):
        note_used(whole)
        with keeping_used(layout):
            note_used(part)
            assert prune(layout) != []
            assert whole.exists()
            assert part.exists()
        assert prune(layout) == [part]
    assert prune(layout) == [whole]


def test_whoever_prunes_keeps_as_many_results_as_a_search_wants(layout):
    for age in range(8):
        make(layout.clean(f"key{age}"), age)
    with keeping_used(layout, kept=7):
        assert prune(layout) == [layout.clean("key7")]
    assert len(prune(layout)) == 7 - KEPT_RESULTS


@pytest.mark.parametrize("ends_when", ["asked whether it is held", "found to be held"])
def test_a_run_that_ends_while_another_prunes_uses_nothing(layout, monkeypatch, ends_when):
    used = make(layout.clean("used"), 99)
    make_newer(layout)
    with ExitStack() as run:
        run.enter_context(keeping_used(layout))
        note_used(used)

        def ending(file: Path) -> bool:
            held = is_held(file) if ends_when == "found to be held" else None
            run.close()
            return is_held(file) if held is None else held

        monkeypatch.setattr(in_use, "is_held", ending)
        assert used in prune(layout)


def test_what_a_killed_run_used_may_go(layout):
    used = make(layout.clean("used"), 99)
    make_newer(layout)
    code = (
        "import sys; from pathlib import Path; from core.layout import Layout; from flows.in_use import *\n"
        "with keeping_used(Layout(Path(sys.argv[1]), 'vineyard')):\n"
        "    note_used(Path(sys.argv[2])); print('noted', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(layout.work_dir), str(used)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout.readline() == "noted\n"
        prune(layout)
        assert used.exists()
        run.kill()
    assert prune(layout) == [used]
    assert [file.suffix for file in layout.in_use.iterdir()] == [".lock"]


def test_a_line_that_a_full_disk_cut_short_hides_no_other(layout):
    first, second = make(layout.clean("first"), 99), make(layout.clean("second"), 98)
    make_newer(layout)
    with keeping_used(layout):
        note_used(first)
        (file,) = (file for file in layout.in_use.iterdir() if file.suffix != ".lock")
        with file.open("a", encoding="utf-8") as lines:
            lines.write('"clean/sec')
        with reading_uses(layout) as (used, _):
            assert used == {first}
        note_used(second)
        with reading_uses(layout) as (used, _):
            assert used == {first, second}


def test_a_disk_too_full_to_prune_does_not_hide_how_a_run_ended(layout, monkeypatch, caplog):
    """The lock that keeps runs from noting more meanwhile has no room."""

    def full(*_: object) -> ExitStack:
        raise OSError(errno.ENOSPC, "No space left on device")

    @pruned
    def run(params: PipelineParams, failing: bool = False) -> str:
        if failing:
            raise full()
        return "done"

    make(layout.in_use, 0)
    monkeypatch.setattr(in_use, "exclusively", full)
    assert run(PipelineParams(shop="vineyard")) == "done"
    assert "Not every old result is pruned: [Errno 28] No space left on device" in caplog.text
    with pytest.raises(DiskFull, match="Free room on this disk"):
        run(PipelineParams(shop="vineyard"), failing=True)
