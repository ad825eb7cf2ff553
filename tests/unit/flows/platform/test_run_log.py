"""What a terminal shows of a run's log: progress, and no traceback."""

from types import SimpleNamespace

import pytest

from flows.platform.run_log import describe_end, describe_line

TRACEBACK = '\nTraceback (most recent call last):\n  File "x.py", line 1, in <module>\nSourceError: no file'


class Client:
    def read_task_run(self, task_run_id):
        return SimpleNamespace(name=f"task {task_run_id}")


def line(message, task_run_id=None):
    return SimpleNamespace(message=message, task_run_id=task_run_id)


@pytest.mark.parametrize(
    ("message", "told"),
    [
        ("epoch 1/2: loss 3.4", "epoch 1/2: loss 3.4"),
        ("Task run failed with exception: OSError('busy') - Retry 1/2 will start 1 second(s) from now",) * 2,
        (f"Task run failed with exception: SourceError('no file') - Retries are exhausted{TRACEBACK}", ""),
        (f"Encountered exception during execution: SourceError('no file'){TRACEBACK}", ""),
        (f"Engine execution exited with unexpected exception{TRACEBACK}", ""),
        (f"The report cannot be shown{TRACEBACK}", "The report cannot be shown"),
        ("Finished in state Failed('Flow run encountered an exception: SourceError: no file')", ""),
    ],
)
def test_a_line_is_told_without_its_traceback(message, told):
    assert describe_line(Client(), line(message)) == told


def test_a_task_that_was_kept_is_named():
    assert describe_line(Client(), line("Finished in state Cached(type=COMPLETED)", "7")) == "task 7: kept from before"
    assert describe_line(Client(), line("Finished in state Completed()", "7")) == ""


def test_the_end_of_a_run_is_one_line():
    assert describe_end("Flow run encountered an exception: SourceError: no\n  file.") == "SourceError: no file"
    assert describe_end(None) == ""
