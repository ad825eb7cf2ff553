"""What people read of an evaluation of reasons: how many facts of each kind are true."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from recommender.explaining.facts import FactKind

REASONS = "reasons"
KINDS: Mapping[FactKind, str] = {
    "aspect": "what reviewers praise",
    "words": "the user's own words",
    "category": "category, as in the history",
    "brand": "brand, as in the history",
    "price": "price against the usual one",
    "together": "chosen beside an item of the history",
    "liked_together": "liked by those who liked one of the history",
    "similar": "like an item of the history",
    "rating": "mean rating",
    "popularity": "popularity",
    "attribute": "what it is",
    "new": "new in the shop",
}
DEFINITIONS = {
    "factuality of reasons": "Of the facts that reasons say (of items that users of the window then took) the share "
    "that the shop's clean tables support, looked up by code that shares nothing with what made them. Of another item: "
    "the same facts, had they been said of another item, to show that the check can fail.",
}


def reasons_tables(metrics: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Factuality by kind of fact; nothing where no reason was asked for."""
    found = metrics.get(REASONS) or {}
    if not found.get("n_facts"):
        return []
    rows = [{"name": "all", "served": True, "cells": _cells(found["n_facts"], found["factuality"], found["of_others"])}]
    for kind, figures in found["by_kind"].items():
        cells = _cells(figures["n_facts"], figures["factuality"], None)
        rows.append({"name": KINDS[kind], "served": False, "cells": cells})
    note = f"{found['n_reasons']:,} reasons, for what users of the {metrics.get('split', 'test')} window then took."
    columns = ["kind of fact", "said", "factuality", "of another item"]
    return [{"title": "Reasons: whether they are true", "note": note, "columns": columns, "rows": rows}]


def _cells(n_facts: int, factuality: float, of_others: float | None) -> list[dict[str, str]]:
    texts = [f"{n_facts:,}", f"{factuality:.3f}", "–" if of_others is None else f"{of_others:.3f}"]
    return [{"text": text, "note": "", "mark": ""} for text in texts]
