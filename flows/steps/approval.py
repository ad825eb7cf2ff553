"""A run waits for somebody's approval: by Prefect's means it ends its process, and a new one goes on with the answer.

While it waits it holds no lock, no slot of its deployment and no memory.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

from prefect import get_run_logger, suspend_flow_run
from prefect.input import RunInput
from prefect.runtime import deployment, flow_run
from pydantic import Field

from flows.errors import ApprovalImpossible
from flows.promotion.approvals import Kept, Waiting, keep_waiting, list_waiting, now, read_waiting
from flows.promotion.gate import Approval, Decision
from flows.steps.run import Run
from flows.steps.step import Output
from recommender.bundle.manifest import read_manifest

if TYPE_CHECKING:
    from features.training import TrainingSummary
    from validation.summary import ValidationSummary

# Prefect gives a run up so long after the limit: that of one whose end `follow-canary` has not said by then.
_GIVEN_UP_AFTER = timedelta(days=1)


class Answer(RunInput):
    """The form in the Prefect UI."""

    approve: bool = Field(title="Approve", description="Whether it goes on; otherwise the bundle in service stays.")
    comment: str = Field("", title="Comment", max_length=500, description="Kept with the decision.")
    by: str = Field("", title="Your name", max_length=100, description="Kept with the decision.")


@dataclass(frozen=True)
class Made:
    """What a release is about.

    Attributes:
        candidate: The bundle as it is judged.
        training: Its training set, with the windows.
        clean: The clean tables.
    """

    candidate: Output[str]
    training: Output[TrainingSummary]
    clean: Output[ValidationSummary]


def check_approvable(run: Run) -> None:
    """Make sure, before anything is computed, that the run can wait for an approval where its recipe wants one.

    Raises:
        ApprovalImpossible: it is of no deployment: nothing would take it up again.
    """
    if run.recipe.gate.approval == "none" or deployment.id:
        return
    raise ApprovalImpossible(
        "Cannot wait for an approval",
        got="a flow run of no deployment",
        expected="a run that a process takes up again once it is approved (recipe.gate.approval=required)",
        do="Run the deployment: sommelier run pipeline; or set recipe.gate.approval=none",
    )


def ask_already(run: Run, bundle: Path, decision: Decision) -> Approval | None:
    """What is to be said where the same bundle waits in another run, against the same bundle in service; else None."""
    digest = read_manifest(bundle).digest
    for other in list_waiting(run.layout):
        same = (other.digest, other.decision.generation) == (digest, decision.generation)
        if same and other.flow_run_id != str(flow_run.id):
            return Approval(state="asked already", comment=f"run {other.run}", at=now().isoformat(timespec="seconds"))
    return None


def begin_waiting(run: Run, made: Made, bundle: Path, decision: Decision) -> Waiting:
    """Keep what the run goes on with once it is answered."""
    asked = now()
    waiting = Waiting(
        flow_run_id=str(flow_run.id),
        run=str(flow_run.name),
        flow=str(flow_run.flow_name),
        asked_at=asked.isoformat(timespec="milliseconds"),
        until=(asked + timedelta(hours=run.recipe.gate.approval_h)).isoformat(timespec="seconds"),
        bundle=_below(run, bundle),
        digest=read_manifest(bundle).digest,
        decision=decision,
        forgotten=run.generation,
        parts={
            "candidate": Kept(
                folder=_below(run, made.candidate.folder), key=made.candidate.key, value=made.candidate.value
            ),
            "training": _kept(run, made.training),
            "clean": _kept(run, made.clean),
        },
    )
    keep_waiting(run.layout, waiting)
    return waiting


def wait(waiting: Waiting, describe: str) -> Approval:
    """End this process until somebody answers; in the process that goes on then, what they said.

    Args:
        describe: Markdown above the form.
    Raises:
        Pause: Prefect's word that the run is suspended; whoever catches it has to raise it again.
    """
    until = datetime.fromisoformat(waiting.until)
    timeout = until - datetime.fromisoformat(waiting.asked_at) + _GIVEN_UP_AFTER
    get_run_logger().info("Waits for approval until %s: %s", waiting.until[:16], how_to_answer(waiting))
    form = Answer.with_initial_data(description=describe)
    # Of one key Prefect asks once: what it was answered is read again by the process that goes on.
    given = suspend_flow_run(wait_for_input=form, timeout=int(timeout.total_seconds()), key=_pause_key(waiting))
    answered_at = _answered_at()
    if waiting.is_late(answered_at):
        return Approval(state="late", at=answered_at.isoformat(timespec="seconds"))
    state = "approved" if given.approve else "refused"
    return Approval.model_validate(
        {
            "state": state,
            "by": given.by.strip(),
            "comment": given.comment.strip(),
            "at": answered_at.isoformat(timespec="seconds"),
        }
    )


def take_up(run: Run) -> tuple[Waiting, Made] | None:
    """What this run waited with, where it goes on after an answer; None where it has asked nobody.

    Where some of it is gone, the run begins anew.
    """
    waiting = read_waiting(run.layout, str(flow_run.id)) if flow_run.id else None
    if waiting is None:
        return None
    from features.training import TrainingSummary
    from validation.summary import ValidationSummary

    gone = [str(folder) for folder in waiting.folders(run.layout) if not folder.exists()]
    if gone:
        get_run_logger().warning("What was to be approved is gone, and is made anew: %s", ", ".join(gone))
        return None
    kept = {name: (run.layout.root / part.folder, part.key, part.value) for name, part in waiting.parts.items()}
    folder, key, value = kept["training"]
    training = Output(folder, key, TrainingSummary.model_validate(value))
    folder, key, value = kept["clean"]
    clean = Output(folder, key, ValidationSummary.model_validate(value))
    return waiting, Made(Output(*kept["candidate"]), training, clean)


def how_to_answer(waiting: Waiting) -> str:
    """What somebody does, one clause."""
    return f"answer in the Prefect UI, or by: sommelier approve {waiting.run}"


def _kept(run: Run, output: Output[Any]) -> Kept:
    return Kept(folder=_below(run, output.folder), key=output.key, value=output.value.model_dump(mode="json"))


def _below(run: Run, folder: Path) -> str:
    return folder.relative_to(run.layout.root).as_posix()


def _pause_key(waiting: Waiting) -> str:
    """Letters and digits: Prefect takes no others."""
    return f"approval-{re.sub('[^0-9]', '', waiting.asked_at)}"


def _answered_at() -> datetime:
    """When this run was resumed; a process may take it up much later."""
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        states = client.read_flow_run_states(UUID(str(flow_run.id)))
    resumed = [state.timestamp for state in states if state.name == "Resuming" and state.timestamp is not None]
    return max(resumed, default=now())
