"""A full disk keeps no label from being counted."""

import os
import subprocess
import sys

from serving.processes.metric_files import reserve_room

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
