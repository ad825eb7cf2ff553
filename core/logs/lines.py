"""Log lines, as text for people or as a JSON object each for whatever collects them; both name the request.

A JSON line has `time` (ISO 8601, UTC), `level`, `logger` and `message`, and where there is one `request_id`,
`flow_run_id`, `task_run_id`, `exception` and `stack`. Nothing else that a library hangs on a record is written.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
from types import TracebackType
from typing import Any, Literal

from pythonjsonlogger.json import JsonFormatter

from core.logs.requests import current_request_id

Format = Literal["text", "json"]

_RENAMED = {"levelname": "level", "name": "logger", "exc_info": "exception", "stack_info": "stack"}
_FIELDS = (
    "time",
    "level",
    "logger",
    "message",
    "request_id",
    "flow_run_id",
    "task_run_id",
    "exception",
    "stack",
)
# Of a process that runs a flow, as Prefect's runner and workers say it.
_FLOW_RUN = "PREFECT__FLOW_RUN_ID"


class JsonLines(JsonFormatter):
    """Formats a record as one JSON object on one line.

    Args:
        fmt, datefmt, style, validate, defaults: As `logging.config` passes them; there is one format.
    """

    def __init__(
        self,
        fmt: str | None = None,
        datefmt: str | None = None,
        style: str = "%",
        validate: bool = True,
        *,
        defaults: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(["levelname", "name", "message"], rename_fields=_RENAMED, timestamp="time")

    def process_log_record(self, log_data: dict[str, Any]) -> dict[str, Any]:
        """The fields that a line has, in their order."""
        log_data["request_id"] = current_request_id()
        log_data["flow_run_id"] = log_data.get("flow_run_id") or os.environ.get(_FLOW_RUN)
        return {name: log_data[name] for name in _FIELDS if log_data.get(name) not in (None, "")}


class TextLines(logging.Formatter):
    """Formats a record as text that ends with the request's id, where there is a request."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  (logging's own name)
        """The line, before any traceback."""
        request_id = current_request_id()
        line = super().formatMessage(record)
        return line if request_id is None else f"{line} (request={request_id})"


def log_as_json() -> None:
    """Have every line of this process's log be JSON: of handlers that there are, of Python's warnings, and of errors
    that end a thread or the process.

    Where there is no handler yet, one that writes to stderr is added. What configures logging later has to name
    `JsonLines` itself.
    """
    root = logging.getLogger()
    if not root.handlers:
        root.addHandler(logging.StreamHandler())
    known = [one for one in root.manager.loggerDict.values() if isinstance(one, logging.Logger)]
    for handler in {handler for one in (root, *known) for handler in one.handlers}:
        handler.setFormatter(JsonLines())
    logging.captureWarnings(True)
    sys.excepthook = _log_end
    threading.excepthook = _log_end_of_thread


def logs_as_json() -> bool:
    """Whether this process's log is JSON."""
    return any(isinstance(handler.formatter, JsonLines) for handler in logging.getLogger().handlers)


def _log_end(kind: type[BaseException], error: BaseException, where: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, where)
        return
    logging.getLogger().critical("The process ends with an error", exc_info=(kind, error, where))


def _log_end_of_thread(ended: threading.ExceptHookArgs) -> None:
    if ended.exc_value is not None:
        name = "" if ended.thread is None else ended.thread.name
        error = (ended.exc_type, ended.exc_value, ended.exc_traceback)
        logging.getLogger().critical("The thread %s ends with an error", name, exc_info=error)
