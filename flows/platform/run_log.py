"""The log of a flow run as the user of a terminal sees it: what happens, and what failed without its traceback."""

from __future__ import annotations

from typing import Any
from uuid import UUID

_PAGE = 200
_TRACEBACK = "\nTraceback (most recent call last):"
# Prefect repeats what ended a run: in the logs of task, flow and engine, and as the state of the run.
# The state is shown, at the end, by whoever waits for the run.
_ENDS = (
    "Task run failed with",
    "Encountered exception during execution",
    "Engine execution exited with unexpected exception",
)
_STATE_PREFIX = "Flow run encountered an exception: "


def read_lines(client: Any, run_id: UUID, shown: int) -> tuple[list[str], int]:
    """The lines worth showing after the first `shown` of a run's log, and how many there are by now.

    Args:
        client: Prefect's, synchronous.
        run_id: The flow run.
        shown: Lines of the log that were read before.
    """
    from prefect.client.schemas.filters import LogFilter, LogFilterFlowRunId
    from prefect.client.schemas.sorting import LogSort

    texts: list[str] = []
    while True:
        lines = client.read_logs(
            log_filter=LogFilter(flow_run_id=LogFilterFlowRunId(any_=[run_id])),
            limit=_PAGE,
            offset=shown,
            sort=LogSort.TIMESTAMP_ASC,
        )
        for line in lines:
            message = describe_line(client, line)
            if message:
                texts.append(f"{line.timestamp:%H:%M:%S} {message}")
        shown += len(lines)
        if len(lines) < _PAGE:
            return texts, shown


def describe_line(client: Any, line: Any) -> str:
    """A log line as the user sees it; empty where it is not worth one.

    A task's end is worth a word only where its result was kept from before. Tracebacks stay in the runner's log.
    """
    message = str(line.message)
    head, traceback, _ = message.partition(_TRACEBACK)
    if traceback:
        return "" if head.startswith(_ENDS) else head
    if not message.startswith("Finished in state"):
        return message
    if line.task_run_id is None or "Cached" not in message:
        return ""
    return f"{client.read_task_run(line.task_run_id).name}: kept from before"


def describe_end(message: str | None) -> str:
    """What a state's message says of why the run ended, on one line and without the full stop."""
    return " ".join((message or "").removeprefix(_STATE_PREFIX).split()).removesuffix(".")
