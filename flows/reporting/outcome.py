"""What a pipeline run leaves for whoever started it: a small record beside the shop's files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import ValidationError

from core.layout import Layout
from core.settings.form import Frozen
from core.storage import write_json
from flows.errors import RunFailed
from flows.promotion.gate import BestBaseline


class Outcome(Frozen):
    """The end of a pipeline run.

    Attributes:
        flow_run_id: Prefect's id of the run.
        in_service: Tag of the bundle in service afterwards; None where nothing was promoted yet.
        promoted: Whether this run put it there.
        reason: The gate's.
        served: Which ranker of the evaluation that bundle is: `blend` for the candidate, or the baseline that serves in
            its place; None where a bundle of an earlier run stays, or nothing is in service.
        baseline: The best baseline of the evaluation that can serve, with the candidate's difference from it.
        metrics: The evaluation of this run's candidate.
        steps: Wall time and peak memory of the steps that ran.
        drifted: Whether the newest window has drifted.
        example_user: A user with a history, for a first request; empty where the test window names nobody.
        example_item: An item that this user has not seen yet.
    """

    flow_run_id: str
    in_service: str | None
    promoted: bool
    reason: str
    served: str | None = None
    baseline: BestBaseline | None = None
    metrics: dict[str, Any]
    steps: list[dict[str, Any]]
    drifted: bool
    example_user: str
    example_item: str


def outcome_file(root: Path) -> Path:
    """Where a shop's newest outcome is kept."""
    return Layout(root.parent, root.name).outcome


def keep_outcome(root: Path, outcome: Outcome) -> None:
    """Keep an outcome, replacing the one before."""
    write_json(outcome_file(root), outcome.model_dump(mode="json"))


def read_outcome(root: Path, flow_run_id: str) -> Outcome:
    """Read the outcome that a run left.

    Raises:
        RunFailed: it left none, or another run left one since.
    """
    file = outcome_file(root)
    try:
        outcome = Outcome.model_validate_json(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise _not_of(flow_run_id, "none", file) from None
    except (OSError, ValueError) as error:
        words = f"{error.error_count()} unreadable fields" if isinstance(error, ValidationError) else str(error)
        raise _not_of(flow_run_id, words, file) from error
    if outcome.flow_run_id != flow_run_id:
        raise _not_of(flow_run_id, f"that of the run {outcome.flow_run_id}", file)
    return outcome


def _not_of(flow_run_id: str, got: str, file: Path) -> RunFailed:
    return RunFailed(
        "Cannot read the outcome of the pipeline",
        got=f"outcome={got}",
        expected=f"that of the run {flow_run_id}",
        where=str(file),
        do="Start again, and let one run of a shop end before the next begins; what was done is kept",
    )


def choose_example(training: Path) -> tuple[str, str]:
    """A user of the test window with the longest history, and an item that is new to them."""
    import duckdb

    with duckdb.connect() as connection:
        rows = connection.execute(
            "SELECT user_id, targets[1] FROM read_parquet(?) WHERE split = 'test' "
            "ORDER BY len(history_items) DESC, user_id LIMIT 1",
            [str(training / "queries.parquet")],
        ).fetchall()
    return (str(rows[0][0]), str(rows[0][1])) if rows else ("", "")
