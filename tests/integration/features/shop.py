"""One small shop for the integration tests of features."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from core.logs.events import Interaction
from core.settings.evaluation import EvaluationSettings
from core.settings.features import FeatureSettings
from tests.unit.features.shops import START, Row

SETTINGS = FeatureSettings(max_history=3)
LATER = START + timedelta(days=2)
EVALUATION = EvaluationSettings(validation_share=0.2, test_share=0.2)
USERS = {"u": {"country": "FR"}, "v": {"country": "NL"}, "quiet": {"country": None}}
ITEMS: list[dict[str, Any]] = [
    {"item_id": "a", "title": "Anvil", "brand": "Acme", "category": "Tools > Heavy", "price": 9.5, "colour": "black"},
    {"item_id": "b", "description": "A bell", "colour": "brass", "in_stock": "0"},
    *({"item_id": item} for item in "cdefg"),
]
# Seconds 0 to 9; the shares put the cuts at 6 and 8.
LOG = [
    Row("u", "a", 0, 5.0), Row("u", "b", 1), Row("u", "c", 2, 2.0), Row("v", "c", 3, 4.0), Row("u", "d", 4),
    Row("u", "a", 5), Row("u", "e", 6, 3.0), Row("w", "c", 7, 1.0), Row("u", "a", 8, 1.0), Row("v", "f", 9, 5.0),
]  # fmt: skip
REVIEWS = [
    ("u", "a", 0, "twang and more"), ("w", "g", 1, "plain"), ("u", "c", 2, "twang once again"),
    ("v", "c", 3, "a longer text about it"), ("u", "e", 6, "too late to count"),
    ("w", "c", 7, "the longest text of them all, but after the cut"),
]  # fmt: skip


def event(item: str, at: float, *, user: str = "u", value: float | None = None, kind: str = "view") -> Interaction:
    return Interaction(f"{user}-{item}-{at}", user, item, kind, START + timedelta(seconds=at), value)
