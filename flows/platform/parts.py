"""The processes of the platform: each starts in a group of its own, and is stopped by its own id."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from flows.errors import PartFailed, PortTaken

_STOP_S = 15.0


@dataclass
class Part:
    """One process of the platform and the file that its output goes to."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def is_running(self) -> bool:
        return self.process.poll() is None


@dataclass
class Platform:
    """The running parts, newest last.

    Attributes:
        environment: Of every part.
        logs: Folder of their output.
        joined: Address of a Prefect server that another platform runs and this one uses; None with one of its own.
    """

    environment: Mapping[str, str]
    logs: Path
    joined: str | None = None
    parts: list[Part] = field(default_factory=list)

    def start(self, name: str, arguments: Sequence[str]) -> Part:
        """Start Python with `arguments` in a process group of its own, its output going to `logs/<name>.log`."""
        self.logs.mkdir(parents=True, exist_ok=True)
        log = self.logs / f"{name}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, *arguments],
                env=dict(self.environment),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        part = Part(name, process, log)
        self.parts.append(part)
        return part

    def stop(self) -> None:
        """Stop every part and whatever it started: ask, wait, then insist.

        The first part is what the others talk to, and have a last word for: it is asked when they have ended.
        """
        _stop_all(self.parts[1:])
        _stop_all(self.parts[:1])
        self.parts.clear()

    def first_stopped(self) -> Part | None:
        """A part that ended by itself, if any did."""
        return next((part for part in self.parts if not part.is_running), None)


def listens(url: str) -> bool:
    """Whether anything accepts connections at `url`; one that is slow to answer does."""
    try:
        httpx.get(url, timeout=5, trust_env=False)
    except httpx.ConnectError:
        return False
    except httpx.TransportError:
        return True
    return True


def wait_until_answers(part: Part, url: str, timeout_s: float, asked_to_stop: threading.Event) -> None:
    """Wait until a part answers 200 at `url`, or until somebody asks to stop.

    Raises:
        PartFailed: it ended, or did not answer in time; the message ends with its last lines of output.
    """
    deadline = time.monotonic() + timeout_s
    last = "no connection"
    while time.monotonic() < deadline and not asked_to_stop.is_set():
        if not part.is_running:
            raise _failed(part, f"exit code {part.process.returncode}", "a running process")
        with contextlib.suppress(httpx.TransportError):
            answer = httpx.get(url, timeout=5, follow_redirects=True, trust_env=False)
            if answer.status_code == httpx.codes.OK:
                return
            last = f"{answer.status_code} {answer.text[:300]}"
        time.sleep(0.2)
    if asked_to_stop.is_set():
        return
    raise _failed(part, f"{url} answered {last}", f"200 within {timeout_s:.0f} s")


def check_ports(host: str, ports: Mapping[str, int]) -> None:
    """Make sure that every part can listen.

    Raises:
        PortTaken: names the setting to change.
    """
    for name, port in ports.items():
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError as error:
                raise PortTaken(
                    f"Cannot start {name}",
                    got=f"platform.{name}_port={port}",
                    expected=f"a free port on {host} ({error.strerror})",
                    do=f'Stop what listens there, or: make run ARGS="--set platform.{name}_port=<another>"',
                ) from error


def _failed(part: Part, got: str, expected: str) -> PartFailed:
    lines = part.log.read_text(encoding="utf-8", errors="replace").splitlines()[-5:]
    return PartFailed(
        f"Cannot start {part.name}",
        got=got,
        expected=expected,
        where=f"{part.log}: {' / '.join(lines)}",
        do="Read the log, repair what it says, and start again",
    )


def _stop_all(parts: Sequence[Part]) -> None:
    for part in parts:
        _signal_group(part, signal.SIGTERM)
    deadline = time.monotonic() + _STOP_S
    for part in parts:
        with contextlib.suppress(subprocess.TimeoutExpired):
            part.process.wait(max(0.1, deadline - time.monotonic()))
    while time.monotonic() < deadline and any(_group_lives(part) for part in parts):
        time.sleep(0.1)
    for part in parts:
        if _group_lives(part):
            _signal_group(part, signal.SIGKILL)
        part.process.wait()


def _signal_group(part: Part, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(part.process.pid, number)


def _group_lives(part: Part) -> bool:
    """Whether any process of the part's group is left; one that ended and was not waited for does not count."""
    part.process.poll()
    try:
        os.killpg(part.process.pid, 0)
    except ProcessLookupError:
        return False
    return True
