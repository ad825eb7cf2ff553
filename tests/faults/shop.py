"""The smallest shop on which every step works, and settings by which each fit takes a moment."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from core.settings.tree import Recipe

START = datetime(2026, 1, 1, tzinfo=UTC)
USERS = [f"u{number:02}" for number in range(16)]
KINDS = ("wine", "tea")
ITEMS = [f"{kind}-{number}" for kind in KINDS for number in range(6)]
SETTINGS: dict[str, Any] = {
    "validation": {"min_interactions": 1},
    "features": {"max_history": 10, "windows_days": [1, 3]},
    "encoder": {"max_tokens": 8},
    "sequence": {"width": 8, "max_epochs": 2},
    "generative": {"width": 8, "levels": 2, "codes": 3, "max_epochs": 1},
    "scorer": {"hidden": 4, "max_epochs": 1, "factors": 2, "factor_steps": 2},
    "writer": {"vocabulary": 300, "width": 16, "n_layers": 1, "n_heads": 2, "max_tokens": 32, "max_steps": 2},
    # What is tested is the way and not the figures: whatever is fitted anew goes into service.
    "gate": {"beat_baseline": "off", "undecided": "promote", "tolerance": 1.0},
    "seed": 1,
}


def write_source(folder: Path, more: Iterable[Mapping[str, Any]] = ()) -> Path:
    """The shop's export: each user likes one kind of item; three rows are bad.

    Args:
        more: Further rows of `interactions`.
    """
    chance = random.Random(3)
    interactions: list[Mapping[str, Any]] = []
    feedback = []
    for number, user in enumerate(USERS):
        kind = KINDS[number % 2]
        own = [item for item in ITEMS if item.startswith(kind)]
        others = [item for item in ITEMS if not item.startswith(kind)]
        for place, item in enumerate([*chance.sample(own, 5), *chance.sample(others, 2)]):
            rating = chance.choice((4, 5)) if item in own else chance.choice((1, 2))
            at = (START + timedelta(days=place, minutes=number)).isoformat()
            interactions.append(event(f"{user}-{place}", user, item, at, value=rating))
            text = f"This {kind} has taste number {chance.randrange(9)}. I would {'not ' * (rating < 3)}buy it again."
            feedback.append({"user_id": user, "item_id": item, "rating": rating, "text": text, "timestamp": at})
    interactions += [
        event(f"bad-{n}", "u00", "tea-0", (START + timedelta(days=n)).isoformat(), value=9.0 + n) for n in range(3)
    ]
    items = [
        {"item_id": item, "title": f"Number {item[-1]} of the {item[:-2]} shelf", "category": item[:-2], "price": 5 + n}
        for n, item in enumerate(ITEMS)
    ]
    folder.mkdir(parents=True, exist_ok=True)
    tables: dict[str, list[Any]] = {"interactions": [*interactions, *more], "feedback": feedback, "items": items}
    for name, rows in tables.items():
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return folder


def event(event_id: str, user: str, item: str, at: str, kind: str = "rating", value: float | None = None) -> dict:
    """One row of `interactions`."""
    found = {"event_id": event_id, "user_id": user, "item_id": item, "event": kind, "timestamp": at}
    return found if value is None else {**found, "value": value}


def recipe_of(source: Path, **changes: Any) -> Recipe:
    """The small recipe on this source."""
    tree = {**SETTINGS, "source": {"kind": "tables", "path": str(source)}, **changes}
    return Recipe.model_validate(tree)
