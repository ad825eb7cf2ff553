"""The processes of the platform: each starts in a group of its own, and is stopped by its own id.

What serves and what trains is essential: without it the platform ends. What only shows, Evidently's UI and the
reports' pages, is started again instead.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from core.settings.platform import PartName, PlatformSettings
from flows.errors import PartFailed, PortTaken
from flows.platform import keeper
from flows.platform.keeper import stop_groups
from flows.platform.part_logs import last_lines, open_log, rotate

_STOP_S = 15.0
_FIRST_WAIT_S = 1.0  # between the start of a part that ended and its next one; doubled each time
_MAX_WAIT_S = 300.0
_STEADY_S = 600.0  # one that ran for so long had started well
_LEFTOVER_S = 5.0


@dataclass
class Part:
    """One process of the platform and the file that its output goes to.

    Attributes:
        arguments: Of Python, to start it again.
        essential: Whether the platform ends where it does.
        log_start: Bytes that its log held before this start.
        started: When it was started last, by the monotonic clock, seconds.
        failures: How often in a row it ended soon after its start.
    """

    name: str
    process: subprocess.Popen[bytes]
    log: Path
    arguments: tuple[str, ...] = ()
    essential: bool = True
    log_start: int = 0
    started: float = 0.0
    failures: int = 0

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
        show: Called with each line that somebody should know.
    """

    environment: Mapping[str, str]
    logs: Path
    joined: str | None = None
    parts: list[Part] = field(default_factory=list)
    show: Callable[[str], None] = lambda _: None
    _keeper: subprocess.Popen[bytes] | None = None

    def start(self, name: str, arguments: Sequence[str], *, essential: bool = True) -> Part:
        """Start Python with `arguments` in a process group of its own, its output going to `logs/<name>.log`."""
        part = self._run(name, tuple(arguments), essential)
        self.parts.append(part)
        return part

    def tend(self) -> None:
        """Rotate the logs, and start parts again that are not essential and have ended, each time later.

        To be called once in a while by the thread that started the parts.
        """
        for part in self.parts:
            rotate(part.log)
            if not part.essential and not part.is_running:
                self._start_again(part)

    def _start_again(self, part: Part) -> None:
        now = time.monotonic()
        wait_s = min(_MAX_WAIT_S, _FIRST_WAIT_S * 2.0**part.failures)
        if now - part.started < wait_s:
            return
        failures = 0 if now - part.started > _STEADY_S else part.failures + 1
        self.show(f"{part.name} ended with exit code {part.process.returncode}, see {part.log}; starting it again")
        # What it had started may still hold its port.
        stop_groups([part.process.pid], _LEFTOVER_S)
        self._tell_keeper("-", part.process.pid)
        fresh = self._run(part.name, part.arguments, essential=False)
        fresh.failures = failures
        self.parts[self.parts.index(part)] = fresh

    def _run(self, name: str, arguments: tuple[str, ...], essential: bool) -> Part:
        log = self.logs / f"{name}.log"
        with open_log(log) as output:
            begins = output.tell()
            process = subprocess.Popen(
                [sys.executable, *arguments],
                env=dict(self.environment),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._tell_keeper("+", process.pid)
        return Part(name, process, log, arguments, essential, begins, time.monotonic())

    def _tell_keeper(self, sign: str, group: int) -> None:
        """Have a process group stopped where this process ends without having done it."""
        if self._keeper is None:
            self._keeper = subprocess.Popen(
                [sys.executable, "-I", str(Path(keeper.__file__))],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        assert self._keeper.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._keeper.stdin.write(f"{sign}{group}\n".encode())
            self._keeper.stdin.flush()

    def stop(self) -> None:
        """Stop every part and whatever it started: ask, wait, then insist.

        The first part is what the others talk to, and have a last word for: it is asked when they have ended.
        """
        _stop_all(self.parts[1:])
        _stop_all(self.parts[:1])
        for part in self.parts:
            self._tell_keeper("-", part.process.pid)
        self.parts.clear()
        if self._keeper is not None:
            assert self._keeper.stdin is not None
            with contextlib.suppress(BrokenPipeError):
                self._keeper.stdin.close()
            self._keeper.wait()
            self._keeper = None

    def first_stopped(self) -> Part | None:
        """An essential part that ended by itself, if any did."""
        return next((part for part in self.parts if part.essential and not part.is_running), None)


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


def check_ports(where: PlatformSettings, names: Sequence[PartName]) -> None:
    """Make sure that every part can listen.

    Raises:
        PortTaken: names the setting to change.
    """
    for name in names:
        host, port = where.host_of(name), where.port_of(name)
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
    lines = last_lines(part.log, 5, part.log_start)
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
