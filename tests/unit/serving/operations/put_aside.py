"""A shop of whose rows some are in quarantine, put there by the gate's own scan; Great Expectations judges nothing."""

from __future__ import annotations

from pathlib import Path
from shutil import copytree
from tempfile import TemporaryDirectory

from core.layout import Layout
from core.quarantine.rows import QUARANTINE
from core.settings.source import TablesSource
from flows.last_validation import keep_validation
from tests.unit.cli.quarantined_shop import write_source
from tests.unit.validation.scans import scan_source
from validation.summary import ValidationSummary


def put_aside(layout: Layout, *further: str) -> None:
    """Make the newest validation of a shop one that put two rows aside.

    Args:
        further: Lines of the source behind them.
    """
    with TemporaryDirectory() as folder:
        source = write_source(Path(folder) / "source")
        with (source / "interactions.csv").open("a", encoding="utf-8") as file:
            file.writelines(f"{line}\n" for line in further)
        found = scan_source(Path(folder), TablesSource(path=source), quarantine=True)
        copytree(found.quarantine, layout.clean("key") / QUARANTINE, dirs_exist_ok=True)
    summary = ValidationSummary(
        folder=layout.clean("key"),
        docs=layout.reports / "key" / "data-docs" / "index.html",
        gx_success=False,
        tables=found.tables,
    )
    keep_validation(layout, summary)
