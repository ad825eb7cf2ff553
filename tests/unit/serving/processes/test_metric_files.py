"""A full disk keeps no label from being counted."""

import os
import resource
import signal
import subprocess
import sys

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.multiprocess import MultiProcessCollector

from serving.processes.metric_files import reserve_room

GONE = 1 << 30  # beyond what a system gives: no process has it

# What Prometheus's client has for a label is made after no file may grow any more.
COUNT = """
import os, resource, sys
from pathlib import Path
from serving.processes.metric_files import reserve_room
if sys.argv[1] == "reserved":
    reserve_room(Path(os.environ["PROMETHEUS_MULTIPROC_DIR"]), os.getpid())
from prometheus_client import CollectorRegistry
from prometheus_client.multiprocess import MultiProcessCollector
from serving.http.metrics import Metrics
counted = Metrics()
resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
for number in range(40):
    counted.answered(f"/v1/{number}", 200, 0.1)
    counted.chore_failed(f"chore {number}")
registry = CollectorRegistry()
MultiProcessCollector(registry)
print(registry.get_sample_value("sommelier_request_duration_seconds_count", {"endpoint": "/v1/39"}))
"""


def test_a_label_that_comes_when_the_disk_is_full_is_counted(tmp_path):
    def count(how):
        (tmp_path / how).mkdir()
        given = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path / how)}
        command = [sys.executable, "-c", COUNT, how]
        return subprocess.run(command, env=given, capture_output=True, text=True, check=False)

    assert "mmap_dict" in count("not").stderr
    done = count("reserved")
    assert done.stdout == "1.0\n", done.stderr


def test_room_is_kept_on_the_disk_and_not_in_name_alone(tmp_path):
    reserve_room(tmp_path, 7)
    assert {path.name for path in tmp_path.iterdir()} >= {"counter_7.db", "histogram_7.db", "gauge_mostrecent_7.db"}
    for path in tmp_path.iterdir():
        assert path.stat().st_blocks * 512 >= path.stat().st_size == 1 << 20


# One that counts and is killed, as for its memory.
KILLED = """
import os, signal
from pathlib import Path
from serving.processes.metric_files import reserve_room
reserve_room(Path(os.environ["PROMETHEUS_MULTIPROC_DIR"]), os.getpid())
from serving.http.metrics import Metrics
Metrics().answered("/v1/recommend", 200, 0.1)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_dead_processes_had_reserved_is_given_back_and_what_they_counted_stays(tmp_path):
    given = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
    for _ in range(2):
        done = subprocess.run([sys.executable, "-c", KILLED], env=given, check=False)
        assert done.returncode == -signal.SIGKILL
    (tmp_path / f"counter_{GONE}").touch()  # killed while it reserved

    reserve_room(tmp_path, os.getpid())

    own = {path for path in tmp_path.iterdir() if path.stem.endswith(f"_{os.getpid()}")}
    others = {*tmp_path.iterdir()} - own
    assert len(own) == 4
    assert len(others) >= 8
    assert all(path.suffix == ".db" and path.stat().st_blocks * 512 < 1 << 18 for path in others)
    registry = CollectorRegistry()
    MultiProcessCollector(registry, str(tmp_path))
    labels = {"endpoint": "/v1/recommend"}
    assert registry.get_sample_value("sommelier_request_duration_seconds_count", labels) == 2.0


def test_a_process_that_has_the_id_of_a_dead_one_counts_on(tmp_path):
    reserve_room(tmp_path, GONE)
    (tmp_path / f"counter_{GONE}.db").write_bytes(b"\x10\0\0\0" + b"counted before")
    reserve_room(tmp_path, GONE)
    path = tmp_path / f"counter_{GONE}.db"
    assert path.read_bytes()[:16] == b"\x10\0\0\0" + b"counted befo"
    assert path.stat().st_size == 1 << 20


def test_a_reservation_that_fails_leaves_no_half_made_file(tmp_path):
    kept = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, kept[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            reserve_room(tmp_path, os.getpid())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, kept)
    assert [*tmp_path.iterdir()] == []
