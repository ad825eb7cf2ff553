"""What commands print: lines as they come, tables, JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from serving.api.feedback import Feedback, TextPiece
    from serving.api.lists import Found, Latest, Popular


def show(line: str) -> None:
    """Print a line of progress at once."""
    print(line, flush=True)


def show_aside(line: str) -> None:
    """Print a line that is no part of the answer."""
    print(line, file=sys.stderr, flush=True)


def print_rows(rows: list[dict[str, Any]], as_json: bool, *, none: str = "") -> None:
    """Print rows of equal keys, as a table or as a JSON list.

    Args:
        none: Said beside the answer where a table has no rows.
    """
    from flows.reporting.tables import format_table

    if as_json:
        print_json(rows)
        return
    if not rows and none:
        show_aside(none)
    for line in format_table(rows):
        print(line)


def print_json(value: Any) -> None:
    """Print plain values as JSON."""
    print(json.dumps(value, indent=2, ensure_ascii=False))


def print_items(answer: Found | Latest | Popular, as_json: bool) -> None:
    """Print a list of items."""
    if as_json:
        print_json(answer.model_dump(mode="json"))
        return
    rows = [{"item_id": i.item_id, "label": i.label, "score": f"{i.score:.4f}"} for i in answer.items]
    print_rows(rows, as_json=False, none="no items")


def print_texts(
    messages: Iterable[TextPiece | Feedback], names: Sequence[str], as_they_come: bool, as_json: bool
) -> None:
    """Print streamed texts, behind their names where there are several.

    Args:
        messages: As `Client.stream_feedback` gives them.
        names: Of the texts, in their order.
        as_they_come: Print a piece as soon as it is there.
        as_json: As one value; as they come, each message on a line.
    """
    from flows.reporting.tables import one_line
    from serving.api.feedback import Feedback

    before = [f"{name}: " if len(names) > 1 else "" for name in names]
    if as_they_come and as_json:
        for message in messages:
            show(message.model_dump_json())
    elif as_they_come:
        _print_pieces(messages, before)
    else:
        wholes = (message for message in messages if isinstance(message, Feedback))
        if as_json:
            answers = [whole.model_dump() for whole in wholes]
            print_json(answers if len(names) > 1 else answers[0])
            return
        for name, whole in zip(before, wholes, strict=True):
            show(one_line(f"{name}{whole.text}"))


def _print_pieces(messages: Iterable[TextPiece | Feedback], before: Sequence[str]) -> None:
    from flows.reporting.tables import one_line
    from serving.api.feedback import TextPiece

    begun = -1
    for message in messages:
        if not isinstance(message, TextPiece):
            show("")
            continue
        name = before[message.index] if message.index != begun else ""
        begun = message.index
        print(one_line(f"{name}{message.text}"), end="", flush=True)
