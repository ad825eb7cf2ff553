"""A shop whose newest validation put two rows into quarantine."""

from __future__ import annotations

from pathlib import Path

from core.layout import Layout
from core.settings.source import TablesSource
from core.settings.validation import ValidationSettings
from flows.last_validation import keep_validation
from validation.gate import validate
from validation.sources.ingest import ingest
from validation.summary import ValidationSummary

HEADER = "user_id,item_id,event,value,timestamp\n"
GOOD = [f"u{n},i{n % 3},rating,4,2026-05-{n % 28 + 1:02}T10:00:00Z" for n in range(40)]
BAD = ["u1,i1,rating,seven,2026-05-01T10:00:00Z", "u2,i2,rating,5,never"]


def write_source(source: Path) -> Path:
    """Forty good rows and two bad ones."""
    source.mkdir()
    (source / "interactions.csv").write_text(HEADER + "\n".join([*GOOD, *BAD]) + "\n", encoding="utf-8")
    return source


def validate_source(layout: Layout, source: Path, key: str = "key") -> ValidationSummary:
    """Validate a source as the pipeline does, and make that the shop's newest validation."""
    raw = layout.raw(key)
    ingest(TablesSource(path=source), raw, layout.events, layout.readmitted)
    rules = ValidationSettings(min_interactions=10)
    summary = validate(raw, layout.clean(key), rules, layout.reports / "docs")
    keep_validation(layout, summary)
    return summary
