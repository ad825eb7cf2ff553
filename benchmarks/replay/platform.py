"""The platform that a past is led through: `sommelier up` in processes of its own, asked by its own interfaces."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

HOST = "127.0.0.1"
_PARTS = ("prefect", "service", "monitoring", "reports")
_ENDED = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")
_QUIET_S = 10.0  # a run that an automation starts is there so long after the event that starts it


class Running:
    """A platform that is up.

    Args:
        settings: `a.b=value` each, with the work folder and the ports.
        ports: By part.
    """

    def __init__(self, settings: Sequence[str], ports: dict[str, int]) -> None:
        self.settings = list(settings)
        self._ports = ports
        self._client = httpx.Client(timeout=60)

    def ask(self, path: str, body: dict[str, Any] | None = None) -> Any:
        """What the service answers."""
        url = f"http://{HOST}:{self._ports['service']}{path}"
        answer = self._client.get(url) if body is None else self._client.post(url, json=body)
        answer.raise_for_status()
        return answer.json()

    def run(self, deployment: str) -> None:
        """Run a deployment to its end, as `sommelier run` does."""
        subprocess.run(
            [sys.executable, "-m", "cli", "run", deployment, *_options(self.settings)],
            check=True,
            stdout=subprocess.DEVNULL,
        )

    def wait_until_idle(self, timeout_s: float = 3600.0) -> None:
        """Wait until no run goes on or is due.

        Raises:
            TimeoutError: runs go on for longer.
        """
        until, quiet_since = time.monotonic() + timeout_s, time.monotonic()
        while time.monotonic() - quiet_since < _QUIET_S:
            if time.monotonic() > until:
                raise TimeoutError(f"runs still go on after {timeout_s:.0f} s")
            if self._busy():
                quiet_since = time.monotonic()
            time.sleep(1.0)

    def runs(self) -> list[dict[str, Any]]:
        """All flow runs that ended, oldest first: name of the flow, state, seconds."""
        found = self._prefect("/flow_runs/filter", {"sort": "START_TIME_ASC", "limit": 200})
        return [one for one in found if one["state_type"] in _ENDED and one["start_time"]]

    def _busy(self) -> bool:
        states = {"any_": ["RUNNING", "PENDING", "CANCELLING", "PAUSED"]}
        going = self._prefect("/flow_runs/filter", {"flow_runs": {"state": {"type": states}}})
        late = self._prefect(
            "/flow_runs/filter", {"flow_runs": {"state": {"name": {"any_": ["Late", "AwaitingRetry"]}}}}
        )
        # What an automation or a person starts is scheduled for now; what a schedule starts lies ahead.
        due = self._prefect(
            "/flow_runs/filter",
            {
                "flow_runs": {
                    "state": {"type": {"any_": ["SCHEDULED"]}},
                    "expected_start_time": {"before_": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())},
                }
            },
        )
        return bool(going or late or due)

    def _prefect(self, path: str, body: dict[str, Any]) -> Any:
        url = f"http://{HOST}:{self._ports['prefect']}/api{path}"
        for _ in range(60):
            answer = self._client.post(url, json=body)
            if answer.status_code != 503:  # the word of a SQLite that is busy
                answer.raise_for_status()
                return answer.json()
            time.sleep(1.0)
        answer.raise_for_status()
        return answer.json()


@contextmanager
def running_platform(
    settings: Sequence[str], work_dir: Path, log: Path, timeout_s: float = 3600.0
) -> Iterator[Running]:
    """Start the platform, wait for its first bundle, and stop it at the end.

    Args:
        settings: `a.b=value` each.
        log: Where its output goes.
    Raises:
        RuntimeError: it ended before its first bundle served.
    """
    ports = dict(zip(_PARTS, _free_ports(len(_PARTS)), strict=True))
    given = [*settings, f"work_dir={work_dir}", *(f"platform.{part}_port={port}" for part, port in ports.items())]
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "cli", "up", *_options(given)], stdout=output, stderr=subprocess.STDOUT
        )
        try:
            until = time.monotonic() + timeout_s
            while "Ctrl-C stops everything" not in log.read_text(encoding="utf-8", errors="replace"):
                if process.poll() is not None or time.monotonic() > until:
                    raise RuntimeError(f"the platform did not come up: {log.read_text(encoding='utf-8')[-2000:]}")
                time.sleep(1.0)
            yield Running(given, ports)
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(120)
            except subprocess.TimeoutExpired:
                process.kill()


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
