"""Who changed what of a shop that is served."""

from __future__ import annotations

from itertools import islice
from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from cli.options import NOT_CHOSEN, AsJson, Chosen
from cli.output import print_json, print_rows

Last = Annotated[int, Parameter(name=("-n", "--last"), show_default=True, validator=Number(gte=1))]


def audit(*, last: Last = 50, reads: bool = False, as_json: AsJson = False, chosen: Chosen = NOT_CHOSEN) -> None:
    """Show what was changed, by whom, and how it ended, oldest first: promotions, keys, people forgotten, admin calls.

    Args:
        last: How many, the newest.
        reads: Show who looked at lineage, rows of quarantine and this log, and what was exported, in place of changes.
    """
    from core.layout import Layout
    from core.logs.audit import newest_acts

    settings = chosen.resolve()
    layout = Layout(settings.work_dir, settings.shop)
    file = layout.audit_reads if reads else layout.audit
    acts = list(islice(newest_acts(file), last))[::-1]
    if as_json:
        print_json([act.model_dump() for act in acts])
        return
    rows = [
        {
            "at": act.at,
            "who": act.who,
            "what": act.what,
            "details": " ".join(f"{name}={value}" for name, value in act.details.items()),
            "outcome": act.outcome,
        }
        for act in acts
    ]
    print_rows(rows, as_json, none=f"nothing was recorded yet: {file}")
