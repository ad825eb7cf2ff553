"""Figures of the shop's flows for Prometheus: the service's `/metrics` shows them beside its own.

Flows end, and nothing could scrape them. Each leaves text files in Prometheus's format in the shop's folder instead, as
the node exporter's textfile collector has it; each file is replaced whole.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast, get_args

from core.alarms import Alarm, Family
from core.layout import Layout
from core.storage import atomic_file

if TYPE_CHECKING:
    from prometheus_client.core import GaugeMetricFamily

    from flows.promotion.gate import Decision
    from monitoring.answers.variants import VariantDay
    from monitoring.verdict import Signal
    from validation.summary import ValidationSummary

logger = logging.getLogger(__name__)

# Name to meaning and labels.
FAMILIES: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "sommelier_table_rows": (
        "Rows of the newest validation by table: clean, quarantined, duplicate.",
        ("table", "state"),
    ),
    "sommelier_rule_broken_rows": ("Rows of the newest validation that break a rule.", ("table", "rule")),
    "sommelier_validated_timestamp_seconds": ("When the data were validated last.", ()),
    "sommelier_gate_decided_timestamp_seconds": ("When the gate decided last.", ()),
    "sommelier_gate_promoted": ("1 where the gate let the candidate, or a baseline, into service, 0 where not.", ()),
    "sommelier_gate_quality": (
        "What the gate compared: the candidate, the bundle in service, the best baseline.",
        ("metric", "of"),
    ),
    "sommelier_alarm": (
        "1 for each alarm of the newest look at drift, of embeddings of the newest that embedded; broken: the data are "
        "broken, and nothing is trained on them.",
        ("family", "signal", "broken"),
    ),
    "sommelier_alarm_p_value": (
        "How likely a quiet shop moves so far, corrected for the number of signals.",
        ("family", "signal", "broken"),
    ),
    "sommelier_signal": ("What drift monitoring measured in its newest windows.", ("family", "signal", "window_days")),
    "sommelier_variant_figure": (
        "What an experiment's variants brought in their newest whole days: ctr, hit, ndcg, failed_share, users.",
        ("experiment", "variant", "figure", "window_days"),
    ),
    "sommelier_run_ended_timestamp_seconds": (
        "When a flow ended last, by how: completed, failed.",
        ("flow", "state"),
    ),
    "sommelier_run_duration_seconds": ("How long a flow's last run took, by how it ended.", ("flow", "state")),
}
_EMBEDDINGS: Family = "embeddings"
_EMBEDDINGS_LOOK = "look-embeddings"
_Rows = Iterable[tuple[tuple[str, ...], float]]


def publish_rows(layout: Layout, summary: ValidationSummary) -> None:
    """What a validation found."""
    tables = summary.tables.items()
    _write(
        layout,
        "validation",
        {
            "sommelier_table_rows": [
                ((name, state), float(rows))
                for name, table in tables
                for state, rows in (
                    ("clean", table.rows_clean),
                    ("quarantined", table.rows_quarantined),
                    ("duplicate", table.duplicates),
                )
            ],
            "sommelier_rule_broken_rows": [
                ((name, rule), float(rows)) for name, table in tables for rule, rows in sorted(table.rules.items())
            ],
            "sommelier_validated_timestamp_seconds": [((), time.time())],
        },
    )


def publish_look(layout: Layout, alarms: Sequence[Alarm], signals: Iterable[Signal] = (), *, embeds: bool) -> None:
    """The alarms of a look at drift, and what it measured of all, nothing where no data came in; segments stand in its
    report.

    Args:
        embeds: Whether the look did embed what was new. Of embeddings the others know less than the one before them
            that did: what that one said of them stays, in a file of its own.
    """
    signals, families = list(signals), set(get_args(Family))
    if embeds or _file(layout, _EMBEDDINGS_LOOK).exists():
        families -= {_EMBEDDINGS}
    _write(layout, "look", _of_look(alarms, signals, families))
    if embeds:
        _write(layout, _EMBEDDINGS_LOOK, _of_look(alarms, signals, {_EMBEDDINGS}))


def _of_look(alarms: Sequence[Alarm], signals: Iterable[Signal], families: Collection[str]) -> dict[str, _Rows]:
    shown = {
        (alarm.family, alarm.signal, str(alarm.broken).lower()): alarm.p_value
        for alarm in reversed(alarms)
        if alarm.family in families
    }
    return {
        "sommelier_alarm": [(labels, 1.0) for labels in sorted(shown)],
        "sommelier_alarm_p_value": sorted(shown.items()),
        "sommelier_signal": [
            ((one.family, one.name, str(one.window_days)), one.value)
            for one in signals
            if one.family in families and one.segment is None and not one.note
        ],
    }


def publish_variants(layout: Layout, days: Sequence[VariantDay], last: date) -> None:
    """What the variants of experiments brought.

    Args:
        days: That were summed up.
        last: The newest whole day.
    """
    from monitoring.answers.variants import window_figures
    from monitoring.calibration import WINDOWS

    rows = {
        (*own, figure, str(window)): value
        for window in WINDOWS
        for own, figures in window_figures(days, last, window).items()
        for figure, value in figures.items()
    }
    _write(layout, "variants", {"sommelier_variant_figure": sorted(rows.items())})


def publish_gate(layout: Layout, decision: Decision) -> None:
    """What the gate decided, and the figures that it read."""
    baseline = decision.baseline.value if decision.baseline else None
    compared = {"candidate": decision.candidate, "champion": decision.champion, "baseline": baseline}
    _write(
        layout,
        "gate",
        {
            "sommelier_gate_decided_timestamp_seconds": [((), time.time())],
            "sommelier_gate_promoted": [((), float(decision.promote or decision.promote_baseline))],
            "sommelier_gate_quality": [
                ((decision.metric, of), value) for of, value in compared.items() if value is not None
            ],
        },
    )


def publish_run(
    layout: Layout, flow: str, state: str, duration_s: float | None = None, ended_at: float | None = None
) -> None:
    """How a flow's run ended: each flow and state has a file, so that the last success is known after a failure.

    Of one that was killed it is not known how long it took.

    Args:
        ended_at: Unix time; None: now. What is known of a later end stays.

    What keeps it from being written is logged and no more: the run has ended as it did, and says so itself.
    """
    labels, name = (flow, state), f"run-{flow}-{state}"
    rows: dict[str, _Rows] = {
        "sommelier_run_ended_timestamp_seconds": [(labels, time.time() if ended_at is None else ended_at)],
        "sommelier_run_duration_seconds": [] if duration_s is None else [(labels, duration_s)],
    }
    try:
        if ended_at is None or not _is_newer(_file(layout, name), ended_at):
            _write(layout, name, rows)
    except OSError as error:
        logger.warning("The end of %s is not told to Prometheus: %s", flow, error)


def _write(layout: Layout, name: str, rows: Mapping[str, _Rows]) -> None:
    from prometheus_client import CollectorRegistry, generate_latest

    if not layout.root.is_dir():
        return  # nothing was ever run of this shop: what failed before leaves no folder
    registry = CollectorRegistry(auto_describe=False)
    registry.register(cast(Any, _Found(_family(family, values) for family, values in rows.items())))
    layout.gauges.mkdir(exist_ok=True)
    with atomic_file(_file(layout, name)) as temporary:
        temporary.write_bytes(generate_latest(registry))


def _file(layout: Layout, name: str) -> Path:
    return layout.gauges / f"{re.sub(r'[^a-z-]', '-', name)}.prom"


def _is_newer(file: Path, moment: float) -> bool:
    """Whether a file was written after a moment, Unix time."""
    try:
        return file.stat().st_mtime >= moment
    except FileNotFoundError:
        return False


def _family(name: str, values: _Rows) -> GaugeMetricFamily:
    from prometheus_client.core import GaugeMetricFamily

    meaning, labels = FAMILIES[name]
    family = GaugeMetricFamily(name, meaning, labels=labels)
    for label_values, value in values:
        family.add_metric(label_values, value)
    return family


class _Found:
    """What a registry collects: these families and nothing else."""

    def __init__(self, families: Iterable[GaugeMetricFamily]) -> None:
        self._families = list(families)

    def collect(self) -> list[GaugeMetricFamily]:
        return self._families
