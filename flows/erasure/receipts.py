"""What was removed of a person, and what is still to be done: one file each, without the id."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from pydantic import Field

from core.layout import Layout
from core.settings.form import Frozen
from core.storage import write_json
from core.tombstones import Tombstone

State = Literal["removing", "retraining", "complete", "lifted"]


class Learned(Frozen):
    """A bundle that learned from the person.

    Attributes:
        place: `model store`, `candidate`, `baseline`, or `refit` for what was fitted again on everything.
        name: The version in the model store; else the folder's name.
        digest: Of the bundle.
        in_service: Whether it was in service when the person was forgotten.
        why: What shows it.
        state: `scheduled` to be replaced and removed; `removed`; or `unaffected`, where training without the person
            gave the very same bundle.
    """

    place: Literal["model store", "candidate", "baseline", "refit"]
    name: str
    digest: str
    in_service: bool
    why: str
    state: Literal["scheduled", "removed", "unaffected"] = "scheduled"


class Search(Frozen):
    """A search of everything for what is left, at its end.

    Attributes:
        at: When, ISO 8601, UTC.
        files: Files that were read, inside of archives and compressed columns too.
        tables: Tables of databases.
        keys: Keys of Redis and rows of online stores that were asked for.
        left: Where something was found all the same.
    """

    at: str
    files: int
    tables: int
    keys: int
    left: tuple[str, ...]


class Receipt(Frozen):
    """What became of one person's data.

    Attributes:
        number: Of the receipt.
        person: The salted hash of the id, as in `forgotten.json`.
        at: Since when the person is forgotten, ISO 8601, UTC.
        state: `removing` until nothing is left; `retraining` until no bundle is left that learned from the person;
            then `complete`. `lifted` where the person is back.
        seen: Whether any data of the person were found.
        seen_from: The time of the oldest of them; None where none has a time.
        held_at: When no step of a flow was at work for the first time since, as seconds since 1970: what was learned
            until then may have been learned from the person.
        removed: How much was removed, by place; what a process that was killed had removed is missing in it.
        bundles: Those that learned from the person; None until they are known.
        undetermined: Bundles of which nothing shows any more whether they did, as their data are gone.
        search: The last search for what is left; None before it.
        features: Whether the feature store was counted anew since.
        finished_at: When it was complete, or lifted.
    """

    number: int
    person: str
    at: str
    state: State = "removing"
    seen: bool = False
    seen_from: str | None = None
    held_at: float | None = None
    removed: dict[str, int] = Field(default_factory=dict)
    bundles: tuple[Learned, ...] | None = None
    undetermined: tuple[str, ...] = ()
    search: Search | None = None
    features: bool = False
    finished_at: str | None = None

    @property
    def is_open(self) -> bool:
        """Whether something is still to be done."""
        return self.state in ("removing", "retraining")

    @property
    def scheduled(self) -> tuple[Learned, ...]:
        """Bundles that are still to go."""
        return tuple(one for one in self.bundles or () if one.state == "scheduled")

    def counting(self, place: str, n: int) -> Receipt:
        """With more removed from a place."""
        if not n:
            return self
        return self.model_copy(
            update={"seen": True, "removed": {**self.removed, place: self.removed.get(place, 0) + n}}
        )

    def dating(self, *times: datetime) -> Receipt:
        """With data that were this old."""
        texts = [one.astimezone(UTC).isoformat(timespec="seconds") for one in times]
        return self.model_copy(update={"seen_from": min(filter(None, (self.seen_from, *texts)), default=None)})


def describe(receipt: Receipt) -> list[str]:
    """What a receipt says, line by line."""
    lines = [f"receipt {receipt.number}: {receipt.state}, forgotten since {receipt.at}"]
    if not receipt.seen:
        lines.append("no data of the person were found; whatever a source brings of them is left out from now on")
    lines += [f"removed from {place}: {count}" for place, count in sorted(receipt.removed.items())]
    for one in receipt.bundles or ():
        standing = ", in service then" if one.in_service else ""
        lines.append(f"bundle {one.digest} ({one.place} {one.name}{standing}) is {one.state}: {one.why}")
    if receipt.undetermined:
        lines.append(f"nothing shows any more whether these learned from the person: {', '.join(receipt.undetermined)}")
    if found := receipt.search:
        looked = f"searched {found.files} files, {found.tables} tables, {found.keys} online keys at {found.at}"
        lines.append(f"{looked}: {'nothing left' if not found.left else 'left in ' + ', '.join(found.left)}")
    return lines


def now() -> str:
    """The time, as receipts have it."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def receipt_file(layout: Layout, number: int) -> Path:
    """Where a receipt is kept."""
    return layout.receipts / f"{number}.json"


def open_receipt(layout: Layout, stone: Tombstone) -> Receipt:
    """The receipt of a tombstone, begun if there is none yet."""
    if (file := receipt_file(layout, stone.receipt)).exists():
        return Receipt.model_validate_json(file.read_text(encoding="utf-8"))
    return save(layout, Receipt(number=stone.receipt, person=stone.person, at=stone.at))


def save(layout: Layout, receipt: Receipt) -> Receipt:
    """Keep a receipt, durably."""
    write_json(receipt_file(layout, receipt.number), receipt.model_dump(mode="json"))
    return receipt


def read_receipts(layout: Layout) -> list[Receipt]:
    """Every receipt of the shop, oldest first."""
    found = [Receipt.model_validate_json(file.read_text("utf-8")) for file in layout.receipts.glob("*.json")]
    return sorted(found, key=lambda receipt: receipt.number)


def versions_to_go(layout: Layout) -> frozenset[str]:
    """Versions in the model store that learned from somebody who is forgotten."""
    return frozenset(
        one.name
        for receipt in read_receipts(layout)
        if receipt.is_open
        for one in receipt.scheduled
        if one.place == "model store"
    )
