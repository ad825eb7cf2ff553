"""Parts start, are waited for, and are stopped together with whatever they started."""

import itertools
import signal
import socket
import subprocess
import sys
import threading
import time

import psutil
import pytest

from core.settings.platform import PlatformSettings
from flows.errors import PartFailed, PortTaken
from flows.platform.parts import Platform, check_ports, wait_until_answers

NEVER = threading.Event()


@pytest.fixture
def platform(tmp_path):
    running = Platform({"PATH": "/usr/bin:/bin"}, tmp_path / "logs")
    yield running
    running.stop()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(condition, timeout_s=20.0):
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


def test_a_part_answers_and_is_stopped_with_its_children(platform):
    port = free_port()
    parent = "import subprocess, sys; subprocess.run([sys.executable, *sys.argv[1:]])"
    part = platform.start("pages", ["-c", parent, "-m", "http.server", str(port), "--bind", "127.0.0.1"])
    wait_until_answers(part, f"http://127.0.0.1:{port}/", 20, NEVER)
    family = [psutil.Process(part.process.pid), *psutil.Process(part.process.pid).children(recursive=True)]
    assert len(family) == 2
    platform.stop()
    assert not any(process.is_running() for process in family)


def test_a_part_that_ignores_the_request_is_made_to_stop(platform, monkeypatch):
    monkeypatch.setattr("flows.platform.parts._STOP_S", 0.5)
    deaf = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(60)"
    )
    part = platform.start("deaf", ["-c", deaf])
    wait_for(lambda: b"deaf" in part.log.read_bytes())
    pid = part.process.pid
    platform.stop()
    assert not psutil.pid_exists(pid)


def test_the_first_part_answers_until_the_others_have_ended(platform, tmp_path):
    port, told = free_port(), tmp_path / "told"
    server = platform.start("server", ["-m", "http.server", str(port), "--bind", "127.0.0.1"])
    wait_until_answers(server, f"http://127.0.0.1:{port}/", 20, NEVER)
    last_word = f"""
import pathlib, signal, sys, time, urllib.request
def end(*_):
    time.sleep(0.5)
    pathlib.Path({str(told)!r}).write_text(str(urllib.request.urlopen("http://127.0.0.1:{port}/").status))
    sys.exit()
signal.signal(signal.SIGTERM, end)
print("ready", flush=True)
time.sleep(60)
"""
    client = platform.start("client", ["-c", last_word])
    wait_for(lambda: b"ready" in client.log.read_bytes())
    platform.stop()
    assert told.read_text() == "200"


def test_a_part_that_ends_is_reported_with_its_last_words(platform):
    part = platform.start("short", ["-c", "raise SystemExit('no licence')"])
    with pytest.raises(PartFailed, match=r"exit code 1.*no licence"):
        wait_until_answers(part, "http://127.0.0.1:9/", 20, NEVER)
    assert platform.first_stopped() is part


def test_a_taken_port_names_the_setting():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(PortTaken, match=f"platform.service_port={port}"):
            check_ports(PlatformSettings(service_port=port), ["service"])


def test_waiting_ends_when_somebody_asks_to_stop(platform):
    part = platform.start("slow", ["-c", "import time; time.sleep(60)"])
    asked = threading.Event()
    threading.Timer(0.3, asked.set).start()
    started = time.monotonic()
    wait_until_answers(part, f"http://127.0.0.1:{free_port()}/", 30, asked)
    assert time.monotonic() - started < 10


def test_parts_and_their_children_end_when_the_launcher_is_killed(tmp_path):
    nested = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import time; time.sleep(60)'])"
    launcher = f"""
import os, pathlib, signal, time, psutil
from flows.platform.parts import Platform
platform = Platform(dict(os.environ), pathlib.Path({str(tmp_path)!r}))
parts = [platform.start(name, ["-c", {nested!r}]) for name in ("first", "second")]
while len(found := psutil.Process().children(recursive=True)) < 5:
    time.sleep(0.05)
print(*(process.pid for process in found), flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    ended = subprocess.run([sys.executable, "-c", launcher], check=False, capture_output=True, text=True, timeout=60)
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    pids = [int(pid) for pid in ended.stdout.split()]
    assert len(pids) == 5  # the keeper among them
    wait_for(lambda: not any(map(psutil.pid_exists, pids)))


def test_a_part_that_only_shows_is_started_again_later_each_time(platform, monkeypatch):
    monkeypatch.setattr("flows.platform.parts._FIRST_WAIT_S", 0.2)
    told = []
    platform.show = told.append
    platform.start("server", ["-c", "import time; time.sleep(60)"])
    platform.start("pages", ["-c", "raise SystemExit('down')"], essential=False)
    starts = [platform.parts[1].started]

    def tended():
        platform.tend()
        if platform.parts[1].started != starts[-1]:
            starts.append(platform.parts[1].started)
        return len(starts) == 4

    wait_for(tended)
    assert platform.first_stopped() is None
    assert [part.name for part in platform.parts] == ["server", "pages"]
    assert all(later - earlier >= 0.2 * 2**n for n, (earlier, later) in enumerate(itertools.pairwise(starts)))
    assert "pages ended with exit code 1" in told[0]
    assert platform.parts[1].log.read_text().count("== started") == 4
