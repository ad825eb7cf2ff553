"""A pipeline that was killed goes on where it was, and ends with the bundle of an undisturbed run."""

import json
import signal
import subprocess
import sys
import time

import pytest

from recommender.layout import Layout

RUN = """
import sys
from flows.params import PipelineParams
from flows.pipeline import pipeline
from recommender.settings import Recipe
recipe = Recipe.model_validate_json(sys.argv[1])
print(pipeline(PipelineParams(shop="small", recipe=recipe)).model_dump_json())
"""


@pytest.fixture(scope="module")
def start(small_settings, flow_environment):
    """Starts the pipeline in a process of its own, working in `work_dir`."""

    def start_in(work_dir):
        settings = small_settings(work_dir)
        return subprocess.Popen(
            [sys.executable, "-c", RUN, settings.recipe.model_dump_json()],
            env=flow_environment(settings),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return start_in


def finish(process):
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err[-3000:]
    return json.loads(out.splitlines()[-1])


def digest_in(work_dir):
    manifests = list((Layout(work_dir, "small").root / "candidates").glob("*/manifest.json"))
    assert len(manifests) == 1
    return json.loads(manifests[0].read_text())["digest"]


def test_a_killed_pipeline_ends_with_the_same_bundle(start, tmp_path):
    undisturbed = finish(start(tmp_path / "undisturbed"))
    assert undisturbed["promoted"]

    killed = start(tmp_path / "killed")
    fitted = Layout(tmp_path / "killed", "small").root / "components" / "sequence"
    deadline = time.monotonic() + 300
    while not any(fitted.glob("[0-9a-f]*")):
        assert killed.poll() is None, killed.communicate()[1][-3000:]
        assert time.monotonic() < deadline
        time.sleep(0.02)
    time.sleep(0.5)  # the task's record follows its folder
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    killed.communicate()

    resumed = finish(start(tmp_path / "killed"))
    assert resumed["promoted"]
    assert digest_in(tmp_path / "killed") == digest_in(tmp_path / "undisturbed")
    done_again = {step["step"] for step in resumed["steps"]}
    assert "promote" in done_again
    assert not done_again & {"ingest", "validate", "training-set", "embed-catalogue"}

    again = finish(start(tmp_path / "killed"))
    assert not again["promoted"]
    assert "in service already" in again["reason"]
    assert [step["step"] for step in again["steps"]] == ["features"]
