"""The services that are loaded, each in processes of its own, and the load generator in another."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from urllib.error import URLError
from urllib.request import Request, urlopen

import numpy as np
import psutil

from benchmarks.serving_load.client import GRACE_S, UNSENT, Phase
from core.layout import Layout

HOST = "127.0.0.1"
# Of any BentoML service; and of this one, where those that answer hold a seat.
WORKER, OWN_WORKER, SEAT = "_bentoml_impl.worker.service", "serving.processes.worker", "seat-"
WAIT_S = 180.0
IDLE_SHARE = 0.1


def variables_of(layout: Layout, bentoml_home: Path, serving: Mapping[str, object]) -> dict[str, str]:
    """The environment of a shop's service.

    Args:
        bentoml_home: The model store.
        serving: Settings of `serving`.
    """
    return {
        "BENTOML_HOME": str(bentoml_home),
        "SOMMELIER_SHOP": layout.shop,
        "SOMMELIER_WORK_DIR": str(layout.work_dir),
        "SOMMELIER_SERVING": json.dumps(serving),
        "OMP_NUM_THREADS": "1",
    }


@dataclass(frozen=True)
class Seen:
    """What a phase saw.

    Attributes:
        phase: The load.
        at: When each request was sent, seconds. Shape (n,).
        took: Seconds to each answer. Shape (n,).
        status: Of each answer; 0 for none, `UNSENT` where no connection was free. Shape (n,), int.
    """

    phase: Phase
    at: np.ndarray
    took: np.ndarray
    status: np.ndarray

    @property
    def good(self) -> np.ndarray:
        """Which requests were answered with 200. Shape (n,), bool."""
        return np.asarray(self.status == 200)

    @property
    def rate(self) -> float:
        """Good answers a second, as long as requests were sent: what still waited then was taken in too fast."""
        in_time = self.good & (self.at + self.took <= self.phase.seconds)
        return float(in_time.sum() / self.phase.seconds)

    @property
    def unsent(self) -> int:
        """Requests of an open load for which no connection was free."""
        return int((self.status == UNSENT).sum())

    def percentile_ms(self, percent: float) -> float:
        """Of the time to a good answer, milliseconds; NaN without any."""
        took = self.took[self.good]
        return float(np.percentile(took, percent) * 1000) if len(took) else float("nan")

    def percentile_of_all_ms(self, percent: float) -> float:
        """Of the time to a good answer, milliseconds, where requests without one take for ever; NaN without any."""
        took = np.where(self.good, self.took, np.inf)
        return float(np.percentile(took, percent, method="higher") * 1000) if len(took) else float("nan")


@dataclass
class Server:
    """A running service.

    Attributes:
        process: Its supervisor.
        port: Where it listens.
        path: Its endpoint.
        bodies: Requests, in turn.
        ready_s: From its start to the moment that it was ready, seconds.
        ready_cpu_s: Processor seconds of its workers up to then.
    """

    process: subprocess.Popen[bytes]
    port: int
    path: str
    bodies: Sequence[str]
    ready_s: float = 0.0
    ready_cpu_s: float = 0.0

    def at(self, path: str, bodies: Sequence[str]) -> Server:
        """Another endpoint of the same service."""
        return replace(self, path=path, bodies=bodies)

    def load(self, *phases: Phase) -> list[Seen]:
        """Load it from a process of its own."""
        order = {
            "host": HOST, "port": self.port, "path": self.path, "bodies": list(self.bodies),
            "phases": [asdict(phase) for phase in phases],
        }  # fmt: skip
        limit_s = sum(phase.seconds + GRACE_S for phase in phases) + 60
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.serving_load.client"],
            input=json.dumps(order), capture_output=True, text=True, check=True, timeout=limit_s,
        )  # fmt: skip
        return [
            Seen(phase, np.array(one["at"]), np.array(one["took"]), np.array(one["status"], dtype=int))
            for phase, one in zip(phases, json.loads(done.stdout), strict=True)
        ]

    def workers(self) -> list[psutil.Process]:
        """The processes that answer."""
        found = psutil.Process(self.process.pid).children(recursive=True)
        return [one for one in found if one.is_running() and _answers(one)]

    def cpu_s(self) -> float:
        """Processor seconds of the workers so far."""
        times = [worker.cpu_times() for worker in self.workers()]
        return float(sum(one.user + one.system for one in times))

    def memory_mib(self) -> float:
        """Resident memory of the workers."""
        return float(sum(worker.memory_info().rss for worker in self.workers()) / 2**20)

    def answers(self) -> bool:
        """Whether a request on a new connection is answered with 200."""
        asked = Request(
            f"http://{HOST}:{self.port}{self.path}", self.bodies[0].encode(), {"Content-Type": "application/json"}
        )
        try:
            with urlopen(asked, timeout=2) as answer:
                return bool(answer.status == 200)
        except (URLError, OSError):
            return False

    def settle(self) -> None:
        """Wait until the workers have nothing to do: a bundle's rarer parts are loaded behind the first answers."""
        until = time.monotonic() + WAIT_S
        while time.monotonic() < until:
            before = self.cpu_s()
            time.sleep(1.0)
            if self.cpu_s() - before < IDLE_SHARE:
                return

    def kill_worker(self) -> float:
        """Kill one worker; seconds until requests are answered again."""
        killed = self.workers()[0]
        killed.kill()
        started = time.perf_counter()
        psutil.wait_procs([killed], timeout=5)
        self.wait()
        return time.perf_counter() - started

    def wait(self) -> None:
        """Wait until it answers."""
        until = time.monotonic() + WAIT_S
        while not self.answers():
            if self.process.poll() is not None or time.monotonic() > until:
                raise RuntimeError("the service did not begin to answer")
            time.sleep(0.02)


def _answers(process: psutil.Process) -> bool:
    command = " ".join(process.cmdline())
    if OWN_WORKER in command:
        return any(Path(file.path).name.startswith(SEAT) for file in process.open_files())
    return WORKER in command


@contextmanager
def started(
    command: Sequence[str], variables: dict[str, str], log: Path, path: str, bodies: Sequence[str]
) -> Iterator[Server]:
    """A service from the moment that it answers, stopped at the end."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port = int(probe.getsockname()[1])
    arguments = [sys.executable, "-m", *command, "--host", HOST, "--port", str(port)]
    begun = time.perf_counter()
    with log.open("wb") as output:
        process = subprocess.Popen(
            arguments, env={**os.environ, **variables}, stdout=output, stderr=output, start_new_session=True
        )
    server = Server(process, port, path, bodies)
    try:
        server.wait()
        server.ready_s, server.ready_cpu_s = time.perf_counter() - begun, server.cpu_s()
        server.settle()
        yield server
    finally:
        _stop(process)


def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is not None:
        return
    family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    process.send_signal(signal.SIGTERM)
    _, alive = psutil.wait_procs(family, timeout=20)
    for survivor in alive:
        survivor.kill()
