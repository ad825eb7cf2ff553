"""Log lines: a JSON object each with the same few fields, or text; both with the request's id."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from core.logs.lines import JsonLines, TextLines
from core.logs.requests import answering

PROGRAM = """
import logging, sys, threading, warnings
from core.logs.lines import log_as_json, logs_as_json

own = logging.getLogger("own")
own.addHandler(logging.StreamHandler())
own.propagate = False
assert not logs_as_json()
log_as_json()
assert logs_as_json()
own.warning("of a handler of before")
logging.getLogger("other").warning("of none")
warnings.warn("Python's own")
thread = threading.Thread(target=lambda: 1 / 0, name="worker-1")
thread.start()
thread.join()
raise OSError("the end")
"""


def line_of(message: str, *args: object, name: str = "serving", **extra: Any) -> dict[str, Any]:
    error = extra.pop("error", None)
    exc_info = None if error is None else (type(error), error, error.__traceback__)
    record = logging.LogRecord(name, logging.WARNING, __file__, 1, message, args, exc_info)
    record.__dict__.update(extra)
    text = JsonLines().format(record)
    assert "\n" not in text
    return dict(json.loads(text))


def test_a_line_has_time_level_logger_and_message() -> None:
    line = line_of("%d events of „%s“ wait", 3, "tea\nroom")
    assert list(line) == ["time", "level", "logger", "message"]
    assert (line["level"], line["logger"], line["message"]) == ("WARNING", "serving", "3 events of „tea\nroom“ wait")
    moment = datetime.fromisoformat(line["time"])
    assert moment.utcoffset() == timedelta(0)
    assert abs(datetime.now(UTC) - moment) < timedelta(seconds=10)


def test_a_line_of_a_request_names_it_whatever_a_library_calls_so() -> None:
    with answering(["a", "b"]):
        assert line_of("slow", request_id=7)["request_id"] == "a b"
    assert "request_id" not in line_of("slow", request_id=7)


def test_a_line_of_a_flow_run_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    line = line_of("fits", flow_run_id="run-1", task_run_id="task-1", flow_run_name="otter")
    assert list(line) == ["time", "level", "logger", "message", "flow_run_id", "task_run_id"]
    monkeypatch.setenv("PREFECT__FLOW_RUN_ID", "run-2")
    assert line_of("of a library")["flow_run_id"] == "run-2"
    assert line_of("fits", flow_run_id="run-1")["flow_run_id"] == "run-1"


def test_an_exception_is_a_field_and_nothing_that_hangs_on_a_record_is_one() -> None:
    try:
        raise ValueError("wrong")
    except ValueError as error:
        line = line_of("failed", error=error, authorization="Bearer som_secret", body={"text": "a review"})
    assert list(line) == ["time", "level", "logger", "message", "exception"]
    assert line["exception"].startswith("Traceback (most recent call last):\n")
    assert line["exception"].endswith("ValueError: wrong")


def test_text_ends_with_the_request_where_there_is_one() -> None:
    record = logging.LogRecord("serving", logging.WARNING, __file__, 1, "slow", (), None)
    lines = TextLines("%(levelname)s %(message)s")
    assert lines.format(record) == "WARNING slow"
    with answering(["a"]):
        assert lines.format(record) == "WARNING slow (request=a)"


def test_all_that_a_process_says_is_json_to_its_end() -> None:
    ended = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False)
    lines = [json.loads(line) for line in ended.stderr.splitlines()]
    assert ended.returncode == 1
    assert [(line["logger"], line["level"]) for line in lines] == [
        ("own", "WARNING"),
        ("other", "WARNING"),
        ("py.warnings", "WARNING"),
        ("root", "CRITICAL"),
        ("root", "CRITICAL"),
    ]
    assert "ZeroDivisionError" in lines[3]["exception"]
    assert "worker-1" in lines[3]["message"]
    assert lines[4]["exception"].endswith("OSError: the end")
