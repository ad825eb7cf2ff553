"""Whatever is cut short, wherever it is: done again, the shop ends as if nothing had been.

`make test-long` samples the faults, by the seed in FAULTS_SEED or one that the failure names, and in CI always the same
ones; `make test-slow` does them all. One alone: `python -m tests.faults events --at intake`.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys

import pytest

from tests.faults.harness import FAULTS
from tests.faults.points import ROOT
from tests.faults.scenarios import SCENARIOS

SEED = int(os.environ.get("FAULTS_SEED") or (0 if "CI" in os.environ else random.SystemRandom().randrange(10**6)))
# Beside this one, which is quick, one of the others.
QUICK = "events"


def run(*arguments: str) -> None:
    """Faults in a process that imports everything once and has no thread of another test."""
    command = [sys.executable, "-W", "ignore", "-m", "tests.faults", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}\n{done.stderr[-2000:]}"


@pytest.mark.long
def test_a_sample_of_faults() -> None:
    other = random.Random(SEED).choice(sorted(name for name in SCENARIOS if SCENARIOS[name].after in ("", "pipeline")))
    run(*sorted({QUICK, other}), "--sample", "2", "--seed", str(SEED))


@pytest.mark.slow
@pytest.mark.timeout(6 * 3600)
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("name", SCENARIOS)
def test_every_fault(name: str, fault: str) -> None:
    run(name, "--fault", fault)
