"""What follows from a look of `monitor`: alarms are recorded and told, it is decided, and what is wanted is started."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from prefect import get_run_logger
from prefect.runtime import flow_run as runtime

from core.alarms import Alarm
from core.layout import Layout
from core.logs.timeline import Entry, Timeline
from core.settings.loop import RetrainingSettings
from flows.loop.changes import record_changes
from flows.loop.events import EventName, emit
from flows.loop.evidence import gather_evidence
from flows.loop.judgements import settle_lost_canaries
from flows.loop.looks import record_look
from flows.loop.notices import tell
from flows.loop.runs import WANTED, settle_lost_runs
from flows.params import PipelineParams
from monitoring.decisions import Action, Decided, decide
from recommender.bundle.manifest import Manifest

_NOTHING = "nothing"  # the state of a decision after which nothing is started
_WANTED_EVENTS: dict[Action, EventName] = {
    "pipeline": "sommelier.wanted.pipeline",
    "fine-tune": "sommelier.wanted.fine-tune",
    "refresh-features": "sommelier.wanted.refresh-features",
}


def follow(
    layout: Layout,
    params: PipelineParams,
    alarms: Sequence[Alarm],
    served: Manifest,
    clean: Path | None,
    rules: RetrainingSettings,
) -> Decided:
    """Record what a look found, decide what follows, and have Prefect start it.

    Prefect's automations start what is wanted, when they see its event. One that was lost is given up after a while,
    and the next look decides again.

    Args:
        layout: Of the shop.
        params: Of the look; what is started takes its recipe.
        alarms: That were found, the strongest first.
        served: Of the bundle in service.
        clean: Folder of the clean tables; None where the data gate let none through.
        rules: When a retraining follows.
    Raises:
        TimelineError: the time line cannot be read or written.
        ExperimentError: the record of experiments cannot be read.
    """
    timeline = Timeline(layout.timeline)
    if runtime.id:
        settle_lost_runs(timeline)
    settle_lost_canaries(layout)
    record_changes(layout)
    look = record_look(timeline, alarms, rules.clear_looks)
    tell(layout)
    decided = decide(gather_evidence(layout, look.on, served, clean, rules), rules)
    entry = _record(timeline, decided)
    get_run_logger().info("decision %d, %s: %s", entry.id, decided.action, decided.reason)
    if decided.action != "none":
        started = params.model_copy(update={"decision": entry.id, "refresh": False}).model_dump(mode="json")
        more = {"entry": entry.id, "params": started, "signals": list(decided.signals)}
        emit(layout.shop, _WANTED_EVENTS[decided.action], decided.reason, f"{entry.id}/{entry.at}", more)
    return decided


def _record(timeline: Timeline, decided: Decided) -> Entry:
    """A decision as an entry; the same one again, that nothing is to be done, is counted."""
    details = {"rule": decided.rule, "signals": list(decided.signals)}
    cause = _cause(timeline, decided)
    if decided.action != "none":
        return timeline.add("decision", decided.action, WANTED, decided.reason, cause=cause, details=details)
    before = timeline.newest("decision")
    if before is not None and before.state == _NOTHING and before.details.get("rule") == decided.rule:
        return timeline.repeat(before, decided.reason, details=details)
    return timeline.add("decision", "none", _NOTHING, decided.reason, cause=cause, details=details)


def _cause(timeline: Timeline, decided: Decided) -> int | None:
    """The alarm that a decision is about, the strongest one."""
    on = {entry.subject: entry.id for entry in timeline.lasting("alarm")}
    return next((on[signal] for signal in decided.signals if signal in on), None)
