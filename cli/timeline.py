"""What monitoring saw, what was decided of it, and what came of that."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from cli.options import NOT_CHOSEN, AsJson, Chosen
from cli.output import print_json, print_rows
from core.logs.timeline import Kind

Last = Annotated[int, Parameter(name=("-n", "--last"), show_default=True, validator=Number(gte=1))]


def timeline(
    *,
    kind: Annotated[list[Kind] | None, Parameter(json_list=False)] = None,
    last: Last = 50,
    as_json: AsJson = False,
    chosen: Chosen = NOT_CHOSEN,
) -> None:
    """Show what monitoring saw and what the platform did about it, oldest first: alarms, decisions, runs, promotions.

    Args:
        kind: Only entries of this kind; give it again for more.
        last: How many, the newest.
    """
    from core.layout import Layout
    from core.logs.timeline import Timeline

    settings = chosen.resolve()
    file = Layout(settings.work_dir, settings.shop).timeline
    entries = Timeline(file).read(tuple(kind or ()), limit=last)
    if as_json:
        print_json([entry.model_dump() for entry in entries])
        return
    rows = [
        {
            "id": entry.id,
            "at": f"{entry.at[:19]}Z",
            "until": f"{entry.until[:19]}Z" if entry.until != entry.at else "",
            "kind": entry.kind,
            "subject": entry.subject,
            "state": entry.state,
            "seen": entry.count,
            "after": "" if entry.cause is None else entry.cause,
            "says": entry.says,
        }
        for entry in entries
    ]
    print_rows(rows, as_json, none=f"nothing was recorded yet: {file}")
