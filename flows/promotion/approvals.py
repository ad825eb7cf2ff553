"""What passed the gate and waits for somebody's approval: a file for each run that waits. The run ends its process
meanwhile, and goes on with the same bundle and the same figures.

```
<shop>/approvals/<id of the flow run>.json
```
The folders that it names are not pruned while it lies there.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from core.layout import Layout
from core.settings.form import Frozen
from core.storage import write_json
from flows.errors import NothingWaits
from flows.promotion.gate import Decision

Part = Literal["candidate", "training", "clean"]


class Kept(Frozen):
    """What a step left, as a later process takes it up.

    Attributes:
        folder: Where it lies, below the shop's folder.
        key: Of the step.
        value: What the step returned.
    """

    folder: str
    key: str
    value: Any


class Waiting(Frozen):
    """A run that waits for somebody's approval.

    Attributes:
        flow_run_id: Prefect's id of the run.
        run: Its name.
        flow: Of which flow.
        asked_at: When somebody was asked, ISO 8601, UTC.
        until: Until when an approval counts.
        bundle: What goes into service if they approve, below the shop's folder.
        digest: Of that bundle.
        decision: The gate's.
        forgotten: Of the record of who is forgotten, its generation when the run began.
        parts: What the run goes on with.
    """

    flow_run_id: str
    run: str
    flow: str
    asked_at: str
    until: str
    bundle: str
    digest: str
    decision: Decision
    forgotten: int
    parts: dict[Part, Kept]

    def folders(self, layout: Layout) -> list[Path]:
        """What it needs of the shop's folder."""
        return [layout.root / place for place in (self.bundle, *(part.folder for part in self.parts.values()))]

    def is_late(self, moment: datetime) -> bool:
        """Whether an approval of this moment comes too late."""
        return moment > datetime.fromisoformat(self.until)

    @property
    def verdict(self) -> str:
        """What follows if somebody approves."""
        return "answers some users" if self.decision.canary else "goes into service"


def keep_waiting(layout: Layout, waiting: Waiting) -> None:
    """Keep what a run waits with; it is on the disk when this returns."""
    layout.approvals.mkdir(parents=True, exist_ok=True)
    write_json(_file(layout, waiting.flow_run_id), waiting.model_dump(mode="json"))


def drop_waiting(layout: Layout, flow_run_id: str) -> None:
    """The run waits no more."""
    _file(layout, flow_run_id).unlink(missing_ok=True)


def read_waiting(layout: Layout, flow_run_id: str) -> Waiting | None:
    """What a run waits with; None where it does not, or where that was written by another version of this code."""
    try:
        return Waiting.model_validate_json(_file(layout, flow_run_id).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None


def list_waiting(layout: Layout) -> list[Waiting]:
    """All that waits, what was asked first before the others."""
    files = layout.approvals.glob("*.json") if layout.approvals.is_dir() else ()
    found = (read_waiting(layout, file.stem) for file in files)
    return sorted((one for one in found if one is not None), key=lambda one: one.asked_at)


def find_waiting(layout: Layout, named: str = "") -> Waiting:
    """The run that somebody means.

    Args:
        named: Its name, or the beginning of its id; empty for the only one that waits.
    Raises:
        NothingWaits: none does, or several may be meant.
    """
    there = list_waiting(layout)
    found = [one for one in there if not named or named == one.run or one.flow_run_id.startswith(named)]
    if len(found) == 1:
        return found[0]
    names = ", ".join(one.run for one in there) or "none"
    raise NothingWaits(
        "Cannot answer for a run",
        got=f"run={named or 'not named'}, waiting: {names}",
        expected="the name, or the beginning of the id, of one run that waits for approval",
        where=str(layout.approvals),
        do="See what was asked: sommelier timeline --kind gate",
    )


def folders_waiting(layout: Layout) -> set[Path]:
    """The folders that runs which wait go on with: they are not to be pruned."""
    return {folder for one in list_waiting(layout) for folder in one.folders(layout)}


def now() -> datetime:
    """This moment."""
    return datetime.now(UTC)


def _file(layout: Layout, flow_run_id: str) -> Path:
    return layout.approvals / f"{flow_run_id}.json"
