"""What a replay prints: each period of each policy, and the policies as wholes, users paired."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.harness.by_user import ByUser
from benchmarks.harness.tables import print_table
from benchmarks.replay.journal import Answer

K = 10
_MARKED = ("decision", "gate", "promotion", "rollback", "canary")


@dataclass(frozen=True)
class Row:
    """A period of a replay.

    Attributes:
        opens: Its first day.
        answers: What was shown, against what was chosen next.
        happened: Entries of the time line that are of its end: what was seen, decided and done.
        cpu_s: Processor time of the runs at its end, seconds.
        wall_s: How long they took, seconds.
    """

    policy: str
    opens: str
    answers: tuple[Answer, ...]
    happened: tuple[dict[str, Any], ...]
    cpu_s: float
    wall_s: float


def ndcg(answer: Answer) -> float:
    """Of one wanted item: 1 / log2(1 + its place), 0 where it was not shown."""
    return 0.0 if answer.place is None else 1 / math.log2(1 + answer.place)


def recall(answer: Answer) -> float:
    """Whether the item was shown."""
    return 0.0 if answer.place is None else 1.0


def marks(row: Row) -> str:
    """What was decided at the end of a period, and what came of it, in a few words."""
    told = []
    for entry in row.happened:
        if entry["kind"] == "decision":
            told.append(f"{entry['details'].get('rule', entry['subject'])}")
        elif entry["kind"] in _MARKED:
            told.append(f"{entry['kind']} {entry['state']}")
        elif entry["kind"] == "run" and entry["state"] != "completed":
            told.append(f"{entry['subject']} {entry['state']}")
    signals = [entry["subject"] for entry in row.happened if entry["kind"] == "alarm"]
    return "; ".join([*(["alarm " + ", ".join(signals)] if signals else []), *told]) or "-"


def print_period(row: Row) -> None:
    """A period as soon as it is done."""
    asked, shown, gain, cpu_s, wall_s = _cells([row])
    figures = f"{asked} asked, R@{K} {shown}, N@{K} {gain}; runs {cpu_s} CPU s, {wall_s} s"
    print(f"{row.policy} {row.opens}: {figures}; {marks(row)}", flush=True)


def print_replays(rows: Sequence[Row]) -> None:
    """A table of periods, the policies as wholes, and the differences between them."""
    policies = list(dict.fromkeys(row.policy for row in rows))
    head = ["policy, period from", "asked", f"R@{K}", f"N@{K}", "CPU s", "wall s", "at its end"]
    print_table(head, [[f"{row.policy} {row.opens}", *_cells([row]), marks(row)] for row in rows])
    print()
    wholes = {policy: [row for row in rows if row.policy == policy] for policy in policies}
    print_table(head[:-1], [[policy, *_cells(wholes[policy])] for policy in policies])
    for policy in policies[1:]:
        print(_compared(policies[0], policy, wholes))


def _cells(rows: Sequence[Row]) -> list[str]:
    answers = [answer for row in rows for answer in row.answers]
    means = [f"{np.mean([figure(one) for one in answers]):.4f}" if answers else "-" for figure in (recall, ndcg)]
    return [
        str(len(answers)),
        *means,
        f"{sum(row.cpu_s for row in rows):.0f}",
        f"{sum(row.wall_s for row in rows):.0f}",
    ]


def _compared(first: str, second: str, wholes: dict[str, list[Row]]) -> str:
    """One policy less another on the same questions; users are drawn, each with all of their questions."""
    found = [{one.event_id: one for row in wholes[name] for one in row.answers} for name in (first, second)]
    both = [event for event in found[0] if event in found[1]]
    if not both:
        return f"{first} less {second}: no question was asked of both"
    less = ByUser.of(
        [found[0][event].user_id for event in both],
        np.array([ndcg(found[0][event]) - ndcg(found[1][event]) for event in both]),
    )
    low, high = less.interval()
    return f"{first} less {second}: N@{K} {less.means[0]:+.4f} [{low:+.4f}, {high:+.4f}] over {len(both)} questions"
