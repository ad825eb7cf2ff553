"""Rows that broke a rule of validation: look at them, correct them, let them in again, or not after all."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from cli.options import NOT_CHOSEN, AsJson, Chosen
from cli.output import print_rows, show, show_aside

if TYPE_CHECKING:
    from core.layout import Layout
    from core.quarantine.rows import QuarantinedRow

Table = Literal["users", "items", "interactions", "feedback"]


@Parameter(name="*")
@dataclass(frozen=True)
class Rows:
    """Which rows.

    Attributes:
        table: Only rows of this table.
        rule: Only rows that broke this rule; give it again for more.
    """

    table: Table | None = None
    rule: Annotated[list[str], Parameter(json_list=False)] = field(default_factory=list)


ALL_ROWS = Rows()


def list_rules(*, rows: Rows = ALL_ROWS, as_json: AsJson = False, chosen: Chosen = NOT_CHOSEN) -> None:
    """Count the quarantined rows by table and rule, and say beside that what the service was asked to let in."""
    from core.quarantine.requests import read_requests
    from validation.quarantine.readmission import count_by_rule

    layout = _layout(chosen)
    try:
        print_rows(count_by_rule(_select(layout, rows)), as_json, none="no such row is in quarantine")
    finally:  # also where nothing was validated yet, or what was is gone
        for one in read_requests(layout.to_readmit):
            show_aside(f"{one.describe()}: {one.reason}")


def export(file: Path, /, *, rows: Rows = ALL_ROWS, chosen: Chosen = NOT_CHOSEN) -> None:
    """Write the quarantined rows as JSON lines, so that they can be corrected.

    Args:
        file: The file to write.
    """
    from core.logs.audit import audited
    from validation.quarantine.readmission import export as write

    layout = _layout(chosen)
    with audited(layout.audit_reads, "quarantine export") as details:
        found = _select(layout, rows)
        write(found, file)
        details["rows"] = str(len(found))
    show(f"{len(found)} rows in {file}: correct their values, then: sommelier quarantine readmit {file}")


def readmit(file: Path | None = None, /, *, rows: Rows = ALL_ROWS, chosen: Chosen = NOT_CHOSEN) -> None:
    """Let quarantined rows in again; the next run of the pipeline validates them again.

    Args:
        file: A corrected export, of which --table and --rule choose rows too; without it, the rows as they are.
    """
    from core.storage import together
    from core.tombstones import read_tombstones
    from validation.quarantine.readmission import read_corrections
    from validation.quarantine.readmission import readmit as let_in

    layout = _layout(chosen)
    found = read_corrections(file, rows.table, rows.rule) if file else _select(layout, rows)
    cleaning = chosen.resolve().recipe.validation.cleaning
    with together(layout.data_lock):
        summary = let_in(found, layout.readmitted, read_tombstones(layout.forgotten).holds, cleaning)
    left_out = f"{summary.forgotten} left out, of people who are forgotten; " if summary.forgotten else ""
    show(
        f"{sum(summary.rows.values())} rows let in; {left_out}"
        "the next run of pipeline or refresh-features validates them"
    )


def revoke(file: Path | None = None, /, *, table: Table | None = None, chosen: Chosen = NOT_CHOSEN) -> None:
    """Take readmitted rows back; from the next run on only what the source has of them counts.

    Args:
        file: The export or its correction that was let in; without it, all rows that were.
        table: Only rows of this table.
    """
    from validation.quarantine.readmission import read_corrections
    from validation.quarantine.readmission import revoke as take_back

    n = take_back(_layout(chosen).readmitted, read_corrections(file) if file else None, table)
    show(f"{n} rows taken back; the next run of pipeline or refresh-features leaves them out")


def withdraw(readmissions: Annotated[list[str], Parameter(json_list=False)], /, *, chosen: Chosen = NOT_CHOSEN) -> None:
    """Withdraw what the service was asked to let in, before a run has begun with it: all that are named, or none.

    Args:
        readmissions: Their ids, as `sommelier quarantine list` shows them.
    """
    from core.logs.audit import audited
    from core.quarantine.requests import withdraw_requests

    layout = _layout(chosen)
    with audited(layout.audit, "quarantine withdraw", readmissions=" ".join(readmissions)):
        found = withdraw_requests(layout.to_readmit, readmissions)
    for one in found:
        show(f"withdrawn: {one.what()}, asked for by {one.by} {one.at}, id {one.id}")


def _select(layout: Layout, rows: Rows) -> list[QuarantinedRow]:
    from flows.last_validation import require_validation
    from validation.quarantine.readmission import select

    return select(require_validation(layout).quarantine, rows.table, tuple(rows.rule))


def _layout(chosen: Chosen) -> Layout:
    from core.layout import Layout

    settings = chosen.resolve()
    return Layout(settings.work_dir, settings.shop)
