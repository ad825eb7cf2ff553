"""An outcome is read for the run that left it, and for no other."""

import pytest

from flows.errors import RunFailed
from flows.reporting.outcome import Outcome, keep_outcome, outcome_file, read_outcome

OUTCOME = Outcome(
    flow_run_id="run-2",
    in_service=None,
    promoted=False,
    reason="a reason",
    metrics={},
    steps=[],
    drifted=False,
    example_user="",
    example_item="",
)


def test_a_run_finds_its_outcome(tmp_path):
    keep_outcome(tmp_path, OUTCOME)
    assert read_outcome(tmp_path, "run-2") == OUTCOME


def test_the_outcome_of_another_run_is_refused(tmp_path):
    keep_outcome(tmp_path, OUTCOME)
    with pytest.raises(RunFailed, match=r"outcome=that of the run run-2, expected that of the run run-3"):
        read_outcome(tmp_path, "run-3")


def test_a_missing_outcome_is_told(tmp_path):
    with pytest.raises(RunFailed, match=r"outcome=none, .*outcome\.json"):
        read_outcome(tmp_path, "run-2")


@pytest.mark.parametrize("left", ["{}", '{"promoted": true}', "no JSON"])
def test_an_outcome_of_another_form_is_told(tmp_path, left):
    outcome_file(tmp_path).write_text(left)
    with pytest.raises(RunFailed, match="unreadable fields, expected that of the run run-2"):
        read_outcome(tmp_path, "run-2")
