"""The platform that a past is led through: `sommelier up` in processes of its own, asked by its own interfaces.

Any of its processes may be killed: what was asked is asked again once the platform is up, and it comes up again with
`--resume`, so that a start learns nothing that no policy asked for.
"""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil

from core.storage import write_json

HOST = "127.0.0.1"
_PARTS = ("prefect", "service", "monitoring", "reports")
_QUIET_S = 10.0  # a run that an automation starts is there so long after the event that starts it
_START_S = 3600.0  # with the first run of the pipeline
_ANSWER_S = 900.0  # that a question waits for a platform which comes up again
_IDLE_S = 3600.0
_STOP_S = 120.0
_TRIES = 5  # of a start, or of a run, that was killed on its way
_LEFTOVER_S = 15.0  # that parts take to end whose platform was killed; until then no other one may serve their shop
_UP = "Ctrl-C stops everything"
_BUSY = (429, 502, 503, 504)


class Running:
    """A platform that is up, or comes up again.

    Args:
        settings: `a.b=value` each; the work folder and the ports are added.
        work_dir: Its work folder.
        log: Where its output goes, and beside it which process it is.
    """

    def __init__(self, settings: Sequence[str], work_dir: Path, log: Path) -> None:
        self._given = [*settings, f"work_dir={work_dir}"]
        self._log, self._held = log, log.with_suffix(".process.json")
        self._client = httpx.Client(timeout=60, trust_env=False)
        self._process: subprocess.Popen[bytes] | None = None
        self._ports: dict[str, int] = {}

    def start(self) -> None:
        """Start the platform, and wait until it answers; what an earlier replay left running is stopped first.

        Raises:
            RuntimeError: it ended before it was up, again and again.
        """
        for _ in range(_TRIES):
            self.stop()
            self._stop_leftover()
            if self._comes_up():
                self._stop_schedules()
                return
            time.sleep(_LEFTOVER_S)
        raise RuntimeError(f"The platform does not come up, in {_TRIES} tries. Read {self._log}.")

    def stop(self) -> None:
        """Stop the platform, if it runs."""
        if self._process is not None:
            _stop(self._process)
        self._process = None

    def ask(self, path: str, body: dict[str, Any] | None = None) -> Any:
        """What the service answers; where it was killed meanwhile, what it answers once it is up again."""
        return self._asked("service", path, body)

    def entries(self, after: int) -> list[dict[str, Any]]:
        """Entries of the time line with a higher number, the oldest first."""
        return [entry for entry in self.ask("/v1/timeline")["entries"] if entry["id"] > after]

    def wait_for_bundle(self, tag: str) -> None:
        """Wait until the service answers by a bundle."""
        self._wait(lambda: self.ask("/v1/model")["model"] == tag, f"the service does not load {tag}")

    def run(self, deployment: str) -> None:
        """Run a deployment to its end, as `sommelier run` does; again where it was killed.

        Raises:
            RuntimeError: it does not end well, again and again.
        """
        for _ in range(_TRIES):
            self._ensure_up()
            command = [sys.executable, "-m", "cli", "run", deployment, *_options(self._settings)]
            done = subprocess.run(command, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            if done.returncode == 0:
                return
            time.sleep(2.0)  # a platform that lost a part ends by itself
        raise RuntimeError(f"{deployment} does not end well, in {_TRIES} tries: {done.stdout[-2000:]}")

    def wait_until_idle(self) -> None:
        """Wait until no run goes on or is due.

        Raises:
            TimeoutError: runs go on for longer than an hour.
        """
        quiet_since = time.monotonic()

        def is_quiet() -> bool:
            nonlocal quiet_since
            if self._busy():
                quiet_since = time.monotonic()
            return time.monotonic() - quiet_since >= _QUIET_S

        self._wait(is_quiet, "runs still go on")

    def cpu_s(self) -> float:
        """Processor time of all runs since the platform came up, seconds, with that of the process that starts them."""
        found = 0.0
        with contextlib.suppress(psutil.Error):
            parts = psutil.Process(self._process.pid).children() if self._process else []
            for runner in parts:
                if "serve-flows" in runner.cmdline():
                    # A run that has ended counts as a child of the runner once that has noticed.
                    found = sum(_spent(process) for process in [runner, *runner.children(recursive=True)])
        return found

    @property
    def _settings(self) -> list[str]:
        return [*self._given, *(f"platform.{part}_port={port}" for part, port in self._ports.items())]

    def _ensure_up(self) -> None:
        if self._process is None or self._process.poll() is not None:
            self.start()

    def _comes_up(self) -> bool:
        self._ports = dict(zip(_PARTS, _free_ports(len(_PARTS)), strict=True))
        self._log.parent.mkdir(parents=True, exist_ok=True)
        with self._log.open("ab") as output:
            begins = output.tell()
            command = [sys.executable, "-m", "cli", "up", "--resume", *_options(self._settings)]
            self._process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
        created = psutil.Process(self._process.pid).create_time()
        write_json(self._held, {"pid": self._process.pid, "created": created})
        until = time.monotonic() + _START_S
        while time.monotonic() < until and self._process.poll() is None:
            with self._log.open("rb") as lines:
                lines.seek(begins)
                if _UP in lines.read().decode("utf-8", errors="replace"):
                    return True
            time.sleep(1.0)
        return False

    def _stop_leftover(self) -> None:
        """Stop the platform of a replay that was killed, if it still runs: no other one may serve its shop."""
        with contextlib.suppress(FileNotFoundError, psutil.Error):
            held = json.loads(self._held.read_text(encoding="utf-8"))
            process = psutil.Process(held["pid"])
            if process.create_time() == held["created"]:
                _stop(process)

    def _stop_schedules(self) -> None:
        """What goes by the clock of the wall would fall anywhere into compressed time."""
        found = self._asked("prefect", "/api/deployments/filter", {"limit": 200})
        for deployment in found:
            for schedule in deployment["schedules"]:
                path = f"/api/deployments/{deployment['id']}/schedules/{schedule['id']}"
                self._asked("prefect", path, {"active": False}, method="PATCH")

    def _busy(self) -> bool:
        def flow_runs(**state: Any) -> Any:
            return self._asked("prefect", "/api/flow_runs/filter", {"flow_runs": state})

        going = {"type": {"any_": ["RUNNING", "PENDING", "CANCELLING", "PAUSED"]}}
        late = {"name": {"any_": ["Late", "AwaitingRetry"]}}
        # What an automation or a person starts is scheduled for now; what a schedule starts lies ahead.
        now = {"before_": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}
        due = flow_runs(state={"type": {"any_": ["SCHEDULED"]}}, expected_start_time=now)
        return bool(flow_runs(state=going) or flow_runs(state=late) or due)

    def _asked(self, part: str, path: str, body: dict[str, Any] | None = None, method: str = "") -> Any:
        until = time.monotonic() + _ANSWER_S
        while True:
            self._ensure_up()
            try:
                url = f"http://{HOST}:{self._ports[part]}{path}"
                answer = self._client.request(method or ("GET" if body is None else "POST"), url, json=body)
                if answer.status_code not in _BUSY or time.monotonic() > until:
                    answer.raise_for_status()
                    return answer.json() if answer.content else None
            except httpx.TransportError:
                if time.monotonic() > until:
                    raise
            time.sleep(1.0)

    def _wait(self, is_there: Callable[[], bool], otherwise: str) -> None:
        until = time.monotonic() + _IDLE_S
        while not is_there():
            if time.monotonic() > until:
                raise TimeoutError(f"{otherwise} after {_IDLE_S:.0f} s; read {self._log}")
            time.sleep(1.0)


@contextmanager
def running_platform(settings: Sequence[str], work_dir: Path, log: Path) -> Iterator[Running]:
    """Start the platform, wait for its first bundle, and stop it at the end.

    Args:
        settings: `a.b=value` each.
        log: Where its output goes.
    Raises:
        RuntimeError: it does not come up.
    """
    platform = Running(settings, work_dir, log)
    try:
        platform.start()
        yield platform
    finally:
        platform.stop()


def _spent(process: psutil.Process) -> float:
    """Processor time of a process and of its children that have ended, seconds; 0 once it is gone."""
    with contextlib.suppress(psutil.Error):
        return float(sum(process.cpu_times()[:4]))
    return 0.0


def _stop(process: subprocess.Popen[bytes] | psutil.Process) -> None:
    with contextlib.suppress(ProcessLookupError, psutil.NoSuchProcess):
        process.send_signal(signal.SIGINT)
    try:
        process.wait(_STOP_S)
    except (subprocess.TimeoutExpired, psutil.TimeoutExpired):
        process.kill()
        process.wait()


def _options(settings: Sequence[str]) -> list[str]:
    return [part for setting in settings for part in ("--set", setting)]


def _free_ports(number: int) -> list[int]:
    probes = [socket.socket() for _ in range(number)]
    try:
        for probe in probes:
            probe.bind((HOST, 0))
        return [int(probe.getsockname()[1]) for probe in probes]
    finally:
        for probe in probes:
            probe.close()
