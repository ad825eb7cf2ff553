"""Let quarantined rows in again, after they or the rules were corrected."""

from __future__ import annotations

from prefect import flow

from flows.last_validation import require_validation
from flows.params import PipelineParams, ReadmitParams
from flows.pruning import HOOKS, pruned
from flows.reporting import artifacts
from flows.reporting.traces import traced
from flows.steps.data import pass_data_gate, readmit_rows
from flows.steps.run import Run


@flow(name="readmit", log_prints=False, **HOOKS)
@traced
@pruned
def readmit(params: ReadmitParams) -> dict[str, int]:
    """Take rows out of quarantine, corrected or as they are, and validate all again; returns clean rows by table.

    Rows that still break a rule are back in quarantine afterwards; rows that the source still has, unchanged, count as
    its exact duplicates. Models and features follow with the next run of the pipeline.

    Args:
        params: The shop, and which rows.
    Raises:
        NothingValidated: the shop has no quarantine yet.
        ReadmissionError: the corrections cannot be read.
    """
    run = Run.of(PipelineParams(shop=params.shop, recipe=params.recipe))
    before = require_validation(run.layout)
    let_in = readmit_rows(run, before.quarantine, params.corrections, params.table, params.rules)
    after = pass_data_gate(run)[1].value
    artifacts.publish_readmission(let_in, before, after)
    return {name: table.rows_clean for name, table in after.tables.items()}
