"""What people read of an evaluation of feedback text: tables beside the baselines, and samples."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from recommender.evaluation.feedback.names import CONTENT, LIKENESS, ROWS, SAMPLES, SHARES, UNTRAINED, WRITER


def feedback_tables(metrics: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The writer's figures and the baselines'; none where there is no writer, or no review to judge it by."""
    found = metrics.get(WRITER) or {}
    if not found.get("baselines"):
        return []
    untrained = {measure: found.get(f"{measure}_before") for measure in ("bits_per_byte", "perplexity")}
    rows = {WRITER: found, UNTRAINED: untrained, **found["baselines"]}
    of = f"{found['n_reviews']:,} of {found['n_there']:,} reviews of the {metrics.get('split', 'test')} window"
    notes = {
        "Feedback text: likeness to the real reviews": f"{of}, written anew{_expected(found)}.",
        "Feedback text: what it says": f"Of the same texts; agreement of texts for each rating from 1 to 5, asked for "
        f"{found['n_rated']:,} of the reviews.",
    }
    tables = zip(notes.items(), (LIKENESS, CONTENT), strict=True)
    return [_table(title, note, measures, rows) for (title, note), measures in tables]


def _expected(found: Mapping[str, Any]) -> str:
    n_expected = found.get("n_expected")
    return "" if n_expected is None else f"; bits per byte and perplexity are of {n_expected:,}"


def feedback_samples(metrics: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Written texts beside the real ones, as `evaluate_writer` returns them."""
    return list((metrics.get(WRITER) or {}).get(SAMPLES, []))


def _table(title: str, note: str, measures: Mapping[str, str], rows: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    shown = [
        {
            "name": name,
            "served": row == WRITER,
            "cells": [_cell(rows[row], measure) for measure in measures],
        }
        for row, name in ROWS.items()
        if row in rows and any(rows[row].get(measure) is not None for measure in measures)
    ]
    return {"title": title, "note": note, "columns": ["text", *measures.values()], "rows": shown}


def _cell(figures: Mapping[str, Any], measure: str) -> dict[str, str]:
    value = figures.get(measure)
    note = ""
    if measure == "statement_precision" and figures.get("n_statements") is not None:
        note = f"of {figures['n_statements']:.0f}"
    return {"text": "–" if value is None else _shown(value, measure), "note": note, "mark": ""}


def _shown(value: float, measure: str) -> str:
    return f"{value:.3f}" if measure in SHARES or measure == "bits_per_byte" else f"{value:.1f}"
