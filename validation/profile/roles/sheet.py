"""A file's columns and the role that each plays, by its name, where its values agree."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime

from validation.profile.extracts.counts import dependence, describe
from validation.profile.extracts.files import Extract, Workspace
from validation.profile.values.column import Column, is_index
from validation.profile.values.dates import Reading, read_times
from validation.profile.values.events import share_known
from validation.profile.values.numbers import read_money, read_scale
from validation.profile.values.words import (
    Role,
    name_rank,
)

# What the contract calls a role; a column of this very name is taken before all others.
CONTRACT_NAMES: dict[Role, tuple[str, ...]] = {
    "user": ("user_id",), "item": ("item_id",), "event": ("event",), "value": ("value", "rating"),
    "time": ("timestamp",), "position": ("position",), "event_id": ("event_id",), "title": ("title",),
    "description": ("description",), "category": ("category",), "brand": ("brand",), "price": ("price",),
    "text": ("text",), "signup_at": ("signup_at",), "created_at": ("created_at",),
}  # fmt: skip
OF_EVENTS: tuple[Role, ...] = ("quantity", "order", "headline", "item", "text", "time")
LEAST_REPEATS = 20
_EXACT = 4.0
_CHECKED_TIMES = 300
MOST_EVENTS = 60
_LONGEST_ID = 200
OTHER_DATES = re.compile(r"birth|expir|updat|modif|regist|signup|releas|deliver|ship|publish|launch|join")


@dataclass
class Sheet:
    """A file's extract with its columns, and the role that each was found to play.

    Attributes:
        picks: Role to the column.
        ties: Role to the columns that are as good as the one picked.
    """

    workspace: Workspace
    extract: Extract
    columns: list[Column]
    now: datetime
    picks: dict[Role, Column] = field(default_factory=dict)
    ties: dict[Role, list[Column]] = field(default_factory=dict)
    times: dict[str, Reading] = field(default_factory=dict)

    @classmethod
    def of(cls, workspace: Workspace, extract: Extract, now: datetime) -> Sheet:
        """Count the columns; no role is given yet."""
        return cls(workspace, extract, describe(workspace, extract), now)

    @property
    def used(self) -> set[str]:
        return {column.name for column in self.picks.values()}

    def name(self, role: Role) -> str:
        """The column that plays a role, "" where none does."""
        return self.picks[role].name if role in self.picks else ""

    def ranked(self, role: Role, free: Collection[str] = ()) -> list[tuple[float, Column]]:
        """The columns whose names and values fit a role, the best first.

        Args:
            free: Names that may be taken though they play another role.
        """
        found: list[tuple[float, Column]] = []
        for column in self.columns:
            if (column.name in self.used and column.name not in free) or column.n_given == 0 or is_index(column):
                continue
            exact = column.name in CONTRACT_NAMES.get(role, ())
            rank = _EXACT if exact else name_rank(role, column.name)
            if rank > 0 and self._fits(role, column, rank):
                found.append((rank, column))
        return sorted(found, key=lambda one: -one[0])

    def pick(self, role: Role, least: float = 0.5, free: Collection[str] = ()) -> Column | None:
        """Give a role to the best column; as good ones are kept as ties."""
        ranked = [one for one in self.ranked(role, free) if one[0] >= least]
        if not ranked:
            return None
        best = [column for rank, column in ranked if rank == ranked[0][0]]
        self.picks[role] = best[0]
        if len(best) > 1:
            self.ties[role] = best[1:]
        return best[0]

    def reading(self, column: Column) -> Reading:
        """How a column's times read."""
        if column.name not in self.times:
            self.times[column.name] = read_times(column.samples, self.now)
        return self.times[column.name]

    def follows(self, key: str, column: str) -> tuple[float, int]:
        """How far a column follows from another, and on how many rows that was counted."""
        return dependence(self.workspace, self.extract, key, column)

    def _fits(self, role: Role, column: Column, rank: float) -> bool:
        match role:
            case "user" | "item":
                is_time = self._is_time(column) and not (rank >= 2 and column.share_numbers == 1)
                return column.mean_chars <= _LONGEST_ID and not is_time
            case "time":
                is_other = rank < 1 and OTHER_DATES.search(column.name.lower()) is not None
                return not is_other and self._is_time(column)
            case "signup_at" | "created_at":
                return self._is_time(column)
            case "event":
                known = share_known(column)
                named = rank >= 3 or (rank >= 2 and (known > 0 or column.share_numbers < 0.5))
                return column.n_distinct <= MOST_EVENTS and (known > 0.5 or named)
            case "value":
                return (rank >= 3 or not column.is_constant) and read_scale(column) is not None
            case "text":
                return column.mean_chars >= 8 and column.share_numbers < 0.5 and column.share_spaced > 0.3
            case "price":
                return read_money(column.samples).share >= 0.5 and not self._is_time(column)
            case "position":
                return column.share_whole == 1.0 and not column.is_constant
            case "event_id":
                return column.is_unique and column.n_given == column.n_rows
            case "title":
                return column.share_numbers < 0.5 and column.mean_chars <= _LONGEST_ID
            case "category" | "brand":
                return not self._is_time(column)
            case _:
                return True

    def _is_time(self, column: Column) -> bool:
        """Most of its values read as times."""
        some = column.samples[:: max(1, len(column.samples) // _CHECKED_TIMES)]
        return read_times(some, self.now).share >= 0.5
