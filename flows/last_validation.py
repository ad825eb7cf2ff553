"""What the newest validation of a shop found: where its quarantine lies, and what the next one compares itself with."""

from __future__ import annotations

from pydantic import ValidationError

from core.layout import Layout
from core.storage import write_json
from flows.errors import NothingValidated
from validation.summary import ValidationSummary


def keep_validation(layout: Layout, summary: ValidationSummary) -> None:
    """Make this the newest validation."""
    write_json(layout.last_validation, summary.model_dump(mode="json"))


def read_last_validation(layout: Layout) -> ValidationSummary | None:
    """What the newest validation of the shop found; None before the first, or where another version wrote it down."""
    try:
        found = ValidationSummary.model_validate_json(layout.last_validation.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValidationError):
        return None
    # The work folder may lie elsewhere here than for the flow that wrote it.
    here = layout.clean(found.folder.name)
    return found.model_copy(update={"folder": here}) if here.is_dir() and not found.folder.is_dir() else found


def require_validation(layout: Layout) -> ValidationSummary:
    """What the newest validation of the shop found.

    Raises:
        NothingValidated: there was none, or its folder is gone.
    """
    summary = read_last_validation(layout)
    if summary is None or not summary.folder.is_dir():
        raise NothingValidated(
            "Cannot look into the quarantine",
            got=f"shop={layout.shop}",
            expected="a shop whose data were validated, and not removed since",
            where=str(layout.root),
            do="Run the pipeline: sommelier run pipeline; or name another shop: --set shop=<name>",
        )
    return summary
