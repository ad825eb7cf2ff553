"""What Evidently's UI shows of a look: one run of each family, a point for each of its signals, and a panel for each.

The alarm is ours, as its threshold is calibrated; Evidently displays it as a test of each signal.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, get_args

from core.alarms import Family
from monitoring.verdict import Signal

if TYPE_CHECKING:
    from evidently.core.report import Snapshot

FAMILIES: tuple[Family, ...] = get_args(Family)


def panels() -> list[Any]:
    """One of each family: the evidence of its signals over time."""
    from evidently.sdk.models import PanelMetric
    from evidently.sdk.panels import line_plot_panel

    return [
        line_plot_panel(
            title=f"{family.capitalize()}: evidence of a shift, an alarm from 1",
            values=[PanelMetric(legend="{{column}}", metric="MeanValue", tags=[family])],
            size="full",
        )
        for family in FAMILIES
    ]


def family_snapshots(signals: Sequence[Signal], at: datetime) -> list[tuple[Family, Snapshot]]:
    """A run for each family that has signals: of each signal, its strongest evidence over windows and segments."""
    import pandas as pd
    from evidently import DataDefinition, Dataset, Report
    from evidently.metrics import MeanValue
    from evidently.tests import lt

    found = []
    for family in FAMILIES:
        strongest: dict[str, float] = {}
        for one in signals:
            if one.family == family:
                strongest[one.name] = max(one.evidence, strongest.get(one.name, 0.0))
        if not strongest:
            continue
        definition = DataDefinition(numerical_columns=list(strongest))
        point = Dataset.from_pandas(pd.DataFrame([strongest]), data_definition=definition)
        metrics: list[Any] = [MeanValue(column=name, tests=[lt(1)]) for name in strongest]
        found.append((family, Report(metrics, tags=[family]).run(point, None, timestamp=at, tags=[family])))
    return found
