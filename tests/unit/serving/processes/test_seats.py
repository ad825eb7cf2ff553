"""Seats: as many processes answer as there are seats, and a spare has that of a process that was killed at once."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from core.settings.loading import load_settings
from serving.processes.seats import take_seat, wait_for_seat
from serving.processes.worker import FRONT, SERVICE

HOLD = """
import sys, time
from pathlib import Path
from serving.processes.seats import take_seat
seat = take_seat(Path(sys.argv[1]), 1)
print(seat is not None, flush=True)
time.sleep(60)
"""


def test_there_are_so_many_seats_and_no_more(tmp_path: Path) -> None:
    first, second = take_seat(tmp_path, 2), take_seat(tmp_path, 2)
    assert first is not None
    assert second is not None
    assert take_seat(tmp_path, 2) is None
    first.close()
    again = take_seat(tmp_path, 2)
    assert again is not None
    assert again.name == first.name


def test_who_waits_has_the_seat_of_a_killed_process_at_once(tmp_path: Path) -> None:
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "True\n"
        assert wait_for_seat(tmp_path, 1, seconds=0.2) is None
        holder.kill()
        killed = time.monotonic()
        seat = wait_for_seat(tmp_path, 1, seconds=10)
        assert seat is not None
        assert time.monotonic() - killed < 2
    finally:
        holder.kill()
        holder.wait()


def test_who_waits_for_nobody_ends(tmp_path: Path) -> None:
    with take_seat(tmp_path, 1) or pytest.fail("no seat"):
        assert wait_for_seat(tmp_path, 1, is_over=lambda: True) is None


def test_the_supervisor_knows_the_service_by_its_name_and_starts_its_spares() -> None:
    code = (
        f"import sys; from _bentoml_impl.loader import load; service = load({FRONT!r});"
        "print(service.name, service.config['workers'], 'serving.service' in sys.modules, 'torch' in sys.modules)"
    )
    variables = {**os.environ, "SOMMELIER_SERVING__WORKERS": "3", "SOMMELIER_SERVING__SPARES": "2"}
    said = subprocess.run([sys.executable, "-c", code], env=variables, capture_output=True, text=True, check=True)
    assert said.stdout.split() == [SERVICE.partition(":")[2], "5", "False", "False"]


def test_one_spare_waits_by_default() -> None:
    assert load_settings(variables={}).serving.spares == 1


def test_what_a_start_puts_in_place_of_bentoml_s_is_there() -> None:
    code = (
        "import _bentoml_impl.server.serving as supervisor, inspect; from bentoml._internal.utils import circus;"
        "assert supervisor._SERVICE_WORKER_SCRIPT == '_bentoml_impl.worker.service';"
        "assert 'check_delay' in inspect.getsource(circus.create_standalone_arbiter);"
        "assert 'import create_standalone_arbiter' in inspect.getsource(supervisor.serve_http)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
