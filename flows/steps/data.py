"""From a source to a training set: ingest, validate, features, training set."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from prefect import get_run_logger

from core.events import CLOCK_SKEW
from core.layout import Layout
from core.logs.audit import audited
from core.quarantine.requests import begin_request, end_request, read_requests
from core.schema import TableName
from core.settings.evaluation import EvaluationSettings
from core.tombstones import read_tombstones
from flows.errors import NothingValidated
from flows.in_use import keeping_used, note_used
from flows.last_validation import keep_validation, read_last_validation, require_validation
from flows.originals import expire_originals
from flows.reporting import artifacts
from flows.reporting.gauges import publish_rows
from flows.reporting.reports import DATA_DOCS, write_index
from flows.steps.run import Run
from flows.steps.step import Output, StepContext, action, step

if TYPE_CHECKING:
    from features.refresh import FeatureSummary
    from features.training import TrainingSummary
    from validation.quarantine.readmission import ReadmissionSummary
    from validation.raw.parts import RawTables
    from validation.summary import ValidationSummary


# The evaluation's settings that a training set depends on.
_WINDOWS = ("validation_share", "test_share", "validation_from", "test_from")


@step("ingest", at=lambda layout, key, _: layout.raw(key), reads=("source",))
def ingest(step: StepContext, fingerprint: str) -> RawTables:
    """Read the source, the service's event log and the readmitted rows into raw tables.

    Args:
        fingerprint: Of everything that is read: other rows are other inputs.
    """
    from validation.sources.ingest import ingest

    layout = step.layout
    return ingest(step.recipe.source, step.target, layout.events, layout.readmitted, layout.forgotten, layout.overrides)


# What the run before saw only decides warnings and stops, never the clean rows: the same rows are not validated twice.
@step("validate", at=lambda layout, key, _: layout.clean(key), reads=("validation",), unkeyed=("previous",))
def validate(
    step: StepContext, raw: Output[RawTables], previous: ValidationSummary | None, due: float | None = None
) -> ValidationSummary:
    """Check the raw tables against the expectations; bad rows go to quarantine, a bad table stops the flow.

    Args:
        due: The time that a row lay ahead of when the same tables were validated before, and that has come.
    """
    from validation.gate import validate

    docs = data_docs(step.layout, step.key).parent
    return validate(raw.folder, step.target, step.recipe.validation, docs, previous, step.layout.gx)


@action("readmit", reads=("validation.cleaning",))
def readmit_rows(
    step: StepContext, quarantine: Path, corrections: Path | None, table: TableName | None, rules: tuple[str, ...]
) -> ReadmissionSummary:
    """Let quarantined rows in again, as they are or as somebody corrected them; the next ingest reads them."""
    from validation.quarantine.readmission import read_corrections, readmit, select

    rows = select(quarantine, table, rules) if corrections is None else read_corrections(corrections, table, rules)
    forgotten, cleaning = read_tombstones(step.layout.forgotten).holds, step.recipe.validation.cleaning
    return readmit(rows, step.layout.readmitted, forgotten, cleaning)


@action("refresh-features", reads=("features",), retries=True, needs_room=True)
def refresh_features(step: StepContext, clean: Output[ValidationSummary]) -> FeatureSummary:
    """Compute the feature views, apply the Feast repository and materialise; does nothing where they are current."""
    from features.refresh import refresh_features

    layout = step.layout
    return refresh_features(clean.folder, layout.feast, step.recipe.features, step.stores, event_log=layout.events)


@step(
    "training-set",
    at=lambda layout, key, _: layout.training(key),
    reads=("features", *(f"evaluation.{name}" for name in _WINDOWS)),
)
def collect_training_set(step: StepContext, clean: Output[ValidationSummary]) -> TrainingSummary:
    """Point-in-time training set from Feast."""
    from features.training import build_training_set

    evaluation = step.recipe.evaluation
    windows = EvaluationSettings(**{name: getattr(evaluation, name) for name in _WINDOWS})
    return build_training_set(clean.folder, step.layout.feast, step.target, step.recipe.features, windows)


@step("training-set-full", at=lambda layout, key, _: layout.training(key), reads=("features",))
def collect_everything(step: StepContext, clean: Output[ValidationSummary]) -> TrainingSummary:
    """Training set without windows: everything up to the newest event is there to learn from."""
    from features.training import build_training_set

    return build_training_set(clean.folder, step.layout.feast, step.target, step.recipe.features, None)


@dataclass(frozen=True)
class Prepared:
    """Validated tables, and features that are up to date with them.

    Attributes:
        fingerprint: Of the data that were read.
    """

    fingerprint: str
    clean: Output[ValidationSummary]
    features: FeatureSummary


def data_docs(layout: Layout, clean_key: str) -> Path:
    """The first page of the Data Docs of a validation."""
    return layout.reports / clean_key / DATA_DOCS


def let_in_asked(run: Run) -> None:
    """Let rows in that the service was asked to; the next ingest reads them.

    A request is taken away when it is done: a run that is killed before lets the same rows in again, which changes
    nothing. Where no validation is there, as after a person was removed, requests wait for the run after this one,
    which finds what this one puts aside. Rows that are gone cannot be let in; the log of the run says so.
    """
    from validation.errors import ReadmissionError

    layout = run.layout
    waiting = read_requests(layout.to_readmit)
    if not waiting:
        return
    try:
        quarantine = require_validation(layout).quarantine
    except NothingValidated as error:
        get_run_logger().warning("What is to be let in waits for the next run (requests: %d): %s", len(waiting), error)
        return
    for asked in waiting:
        details = {"request": asked.id, "table": asked.table or "", "rule": asked.rule or "", "reason": asked.reason}
        rules = () if asked.rule is None else (asked.rule,)
        if not begin_request(layout.to_readmit, asked.id):
            continue  # withdrawn in the meantime
        try:
            with audited(layout.audit, "quarantine readmit", asked.by, **details) as found:
                found["rows"] = str(sum(readmit_rows(run, quarantine, None, asked.table, rules).rows.values()))
        except ReadmissionError as error:
            get_run_logger().warning("Rows that %s asked for are not let in: %s", asked.by, error)
        end_request(layout.to_readmit, asked.id)


def pass_data_gate(run: Run) -> tuple[Output[RawTables], Output[ValidationSummary]]:
    """Ingest and validate; rows that were asked for are let in before, and as they came they go once they were kept
    long enough.
    """
    from validation.sources.ingest import source_fingerprint

    layout, days = run.layout, run.platform.originals_days
    source = run.recipe.source
    let_in_asked(run)
    with run.holding_data():
        expire_originals(layout, days)
    read = source_fingerprint(source, layout.events, layout.readmitted, layout.forgotten, layout.overrides)
    with keeping_used(layout):  # what was read is used until it is validated, and not as long as the run goes on
        raw = ingest(run, fingerprint=read)
        clean = _validate_as_of(run, raw, datetime.now(UTC))
    note_used(clean.folder)
    with run.holding_data():
        expire_originals(layout, days)
        keep_validation(layout, clean.value)
        write_index(layout)
    publish_rows(layout, clean.value)
    artifacts.publish_validation(clean.value, run.page_url(data_docs(layout, clean.key)))
    return raw, clean


def _validate_as_of(run: Run, raw: Output[RawTables], now: datetime) -> Output[ValidationSummary]:
    """The validation of the raw tables, made now or kept; rows that lay ahead, and the age of all, are judged now."""
    from validation.rules.shares import judge_freshness

    previous, latest = read_last_validation(run.layout), (now + CLOCK_SKEW).timestamp()
    clean, due = validate(run, raw=raw, previous=previous), None
    while clean.value.due is not None and clean.value.due <= latest and clean.value.due != due:
        due = clean.value.due
        clean = validate(run, raw=raw, previous=previous, due=due)
    return replace(clean, value=judge_freshness(clean.value, run.recipe.validation.shares, now))


def prepare(run: Run) -> Prepared:
    """Ingest, validate, and bring the feature store up to date."""
    raw, clean = pass_data_gate(run)
    return Prepared(raw.value.fingerprint, clean, refresh_features(run, clean=clean))
