"""A short replay through the running platform: the loop answers drift that comes in as events; kills change nothing."""

import contextlib
import json
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from benchmarks.replay.journal import Journal
from tests.faults.shop import SETTINGS, START
from tests.integration.test_loop import drift

ROOT = Path(__file__).parents[2]
N_PERIODS, DAYS, BEGINS = 2, 2, START.replace(day=9)
WITHIN_S = 2400
EAGER = {"min_new_events": 5, "min_new_share": 0.0}
WORKER = ("-m", "serving.processes.worker")
# What is killed, one after the other, each once the service is up again: words of its command line.
VICTIMS = {
    "a worker of the service": WORKER,
    "a run": ("-m", "prefect.engine"),
    "the service": ("-m", "serving"),
    "what starts runs": ("-m", "cli", "serve-flows"),
    "the Prefect server": ("-m", "prefect", "server", "start"),
    "the platform": ("-m", "cli", "up"),
    "the replay": ("-m", "benchmarks.replay"),
}


class Replay:
    """`python -m benchmarks.replay` over the tiny shop's drift, in a process of its own."""

    def __init__(self, source, keep):
        self._keep = keep
        flat = {
            f"{part}.{name}": value
            for part, tree in SETTINGS.items()
            if isinstance(tree, dict)
            for name, value in tree.items()
        }
        given = [f"{name}={json.dumps(value)}" for name, value in {**flat, "seed": SETTINGS["seed"]}.items()]
        self._command = [sys.executable, "-m", "benchmarks.replay", "--data", str(source), "--keep", str(keep)]
        self._command += ["--from", f"{BEGINS:%Y-%m-%d}", "--periods", str(N_PERIODS), "--days", str(DAYS)]
        self._command += ["--asked", "6", "--policies", "loop"]
        self._command += [word for one in given for word in ("--set", one)]
        more = [f"loop.retraining.{name}={value}" for name, value in EAGER.items()]
        self._command += [word for one in more for word in ("--platform-set", one)]
        self.start()

    def start(self):
        self._log = (self._keep.parent / f"{self._keep.name}.log").open("a")
        self.process = psutil.Popen(self._command, cwd=ROOT, stdout=self._log, stderr=subprocess.STDOUT)

    def is_over(self):
        return self.process.poll() is not None

    def find(self, words):
        """A process of the replay whose command line has these words, once there is one; None after its end."""
        while not self.is_over():
            for process in [self.process, *self.process.children(recursive=True)]:
                with contextlib.suppress(psutil.Error):
                    if set(words) <= set(process.cmdline()):
                        return process
            time.sleep(0.2)
        return None

    def wait(self):
        assert self.process.wait(WITHIN_S) == 0, Path(self._log.name).read_text()[-3000:]

    def close(self):
        if not self.is_over():
            self.process.send_signal(signal.SIGINT)
            self.process.wait(120)
        self._log.close()

    def told(self):
        """For each period the places of the items that were chosen, and the digests of what was promoted or refused."""
        journal = Journal(self._keep / "loop.journal")
        for number in range(N_PERIODS):
            happened = journal.step(number, "ended")["happened"]
            yield (
                [answer.place for answer in journal.answers(number).values()],
                [(entry["subject"], entry["state"]) for entry in happened if entry["kind"] == "gate"],
                [entry["details"]["digest"] for entry in happened if entry["kind"] == "promotion"],
            )


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return drift(tmp_path_factory.mktemp("replayed") / "source")


@pytest.fixture(scope="module")
def undisturbed(source, tmp_path_factory):
    replay = Replay(source, tmp_path_factory.mktemp("undisturbed") / "keep")
    try:
        replay.wait()
        yield replay
    finally:
        replay.close()


@pytest.mark.slow
@pytest.mark.timeout(2 * WITHIN_S)
def test_the_loop_sees_the_drift_that_comes_in_and_learns_from_it(undisturbed):
    shown = Path(undisturbed._log.name).read_text()
    assert re.search(
        r"^loop 2026-01-\d\d .*alarm data\..*retrain: fine-tune; gate promoted; promotion done", shown, re.M
    )
    assert [len(places) > 0 for places, _, _ in undisturbed.told()] == [True] * N_PERIODS


@pytest.mark.slow
@pytest.mark.timeout(2 * WITHIN_S)
def test_whatever_is_killed_the_replay_goes_on_with_the_same_decisions(source, undisturbed, tmp_path):
    chance, killed = random.Random(5), []
    replay = Replay(source, tmp_path / "keep")
    try:
        for name, words in VICTIMS.items():
            replay.find(WORKER)
            time.sleep(chance.uniform(0, 5))
            if victim := replay.find(words):
                victim.kill()
                killed.append(name)
        replay.process.wait()
        replay.start()
        replay.wait()
        assert killed == list(VICTIMS)
        assert list(replay.told()) == list(undisturbed.told())
    finally:
        replay.close()
