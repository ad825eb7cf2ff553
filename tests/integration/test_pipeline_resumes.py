"""A pipeline that was killed goes on where it was, and ends with the bundle of an undisturbed run."""

import json
import signal
import subprocess
import sys
import time

import pytest

from core.layout import Layout

RUN = """
import sys
from flows.params import PipelineParams
from flows.pipeline import pipeline
from core.settings.tree import Recipe
recipe = Recipe.model_validate_json(sys.argv[1])
for _ in range(int(sys.argv[2])):
    print(pipeline(PipelineParams(shop="small", recipe=recipe)).model_dump_json())
"""


@pytest.fixture(scope="module")
def start(small_settings, flow_environment):
    """Starts the pipeline in a process of its own, working in `work_dir`, as many times as asked."""

    started = []

    def start_in(work_dir, times=1):
        settings = small_settings(work_dir)
        # Into a file: nobody empties the pipe of a process that runs beside another.
        with work_dir.with_suffix(".log").open("a") as log:
            process = subprocess.Popen(
                [sys.executable, "-c", RUN, settings.recipe.model_dump_json(), str(times)],
                env=flow_environment(settings),
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        started.append(process)
        return process

    yield start_in
    for process in started:
        process.kill()
        process.communicate()


def finish(process, work_dir):
    out, _ = process.communicate(timeout=300)
    assert process.returncode == 0, log_of(work_dir)
    return [json.loads(line) for line in out.splitlines() if line.startswith("{")]


def log_of(work_dir):
    return work_dir.with_suffix(".log").read_text()[-3000:]


def digest_in(work_dir):
    manifests = list((Layout(work_dir, "small").root / "candidates").glob("*/manifest.json"))
    assert len(manifests) == 1
    return json.loads(manifests[0].read_text())["digest"]


@pytest.mark.slow  # a few minutes; the sample of faults kills flows at some of their writes each time
def test_a_killed_pipeline_ends_with_the_same_bundle(start, tmp_path):
    whole, cut = tmp_path / "undisturbed", tmp_path / "killed"
    # Side by side: each is busy on one thread for most of its time.
    undisturbed = start(whole)
    killed = start(cut)
    fitted = Layout(cut, "small").root / "components" / "sequence"
    deadline = time.monotonic() + 300
    while not any(fitted.glob("[0-9a-f]*")):
        assert killed.poll() is None, log_of(cut)
        assert time.monotonic() < deadline
        time.sleep(0.02)
    time.sleep(0.5)  # the task's record follows its folder
    killed.send_signal(signal.SIGKILL)
    killed.wait()

    resumed, again = finish(start(cut, times=2), cut)
    assert resumed["promoted"]
    [outcome] = finish(undisturbed, whole)
    assert outcome["promoted"]
    assert digest_in(cut) == digest_in(whole)
    done_again = {step["step"] for step in resumed["steps"]}
    assert "promote" in done_again
    assert not done_again & {"ingest", "validate", "training-set", "embed-catalogue"}

    assert not again["promoted"]
    assert "in service already" in again["reason"]
    assert [step["step"] for step in again["steps"]] == ["refresh-features", "gate"]
