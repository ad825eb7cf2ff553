"""A canary that the gate wants: started, grown, withdrawn or promoted by its live figures, all on the time line.

The record of experiments is changed first, and the time line is brought up to it: whoever is killed in between is
caught up with by the next run. Of a promotion the record of what is in service comes first.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from pathlib import Path

from core.experiments import (
    Experiment,
    ExperimentError,
    Experiments,
    Outcome,
    Variant,
    grow,
    now,
    place_of,
    read_experiments,
    start,
    stop,
)
from core.layout import Layout
from core.logs.events import EventLog
from core.logs.timeline import Entry, Timeline
from core.promotions import Standing, read_standing
from core.settings.loop import CanarySettings
from core.settings.monitoring import ExperimentSettings
from core.storage import together
from flows.environment import current_settings
from flows.errors import BundleRefused, ChampionChanged
from flows.loop.changes import record_changes
from flows.loop.events import EventName
from flows.loop.notices import tell, untold
from flows.promotion.experiments import find_place
from flows.promotion.model_store import promote
from flows.promotion.refits import labels_of
from monitoring.rollouts import OVERTAKEN, CanaryEvidence, Rollout, decide_rollout
from recommender.bundle.manifest import read_manifest, verify_files
from recommender.errors import BundleError

logger = logging.getLogger(__name__)
STARTED, GROWN, STOPPED, KEPT_OUT = "started", "grown", "stopped", "kept out"
_CANDIDATE = "candidate"  # the variant's name, as `sommelier models canary` has it
_SHOWN_DIGEST_CHARS = 12
_MIN_ANSWERS = 100  # of each, before a median's interval says anything
_EVENTS: dict[str, EventName] = {
    STARTED: "sommelier.canary.started",
    GROWN: "sommelier.canary.grown",
    "withdrawn": "sommelier.canary.withdrawn",
    OVERTAKEN: "sommelier.canary.withdrawn",
}


def begin_canary(layout: Layout, bundle: Path, gate: Entry, generation: int | None) -> Experiment | None:
    """Have what the gate wants to be tried answer the first share of the users.

    Args:
        layout: Of the shop.
        bundle: What was decided on, below the shop's folder.
        gate: The gate's entry on the time line.
        generation: Of the record of what is in service, as the gate saw it; None: as it is.
    Returns:
        The experiment; None where the settings say so, or another one is in the way, which the time line says.
    """
    rules = current_settings().loop.canary
    if not rules.enabled:
        return None
    place = find_place(layout, str(bundle))
    before = read_experiments(layout.model_name).followed
    if before is not None and before.runs and before.variants[0].bundle.digest == place.digest:
        record_canary(layout, before)  # a run that was killed got so far
        return before
    share = rules.steps[0]
    experiment = Experiment(
        name=f"canary-{place.digest[:_SHOWN_DIGEST_CHARS].lower()}",
        kind="canary",
        variants=(Variant(name=_CANDIDATE, bundle=place, share=share),),
        started_at=now(),
        generation=read_standing(layout.model_name).generation if generation is None else generation,
        reason=gate.says,
        followed=True,
        cause=gate.id,
        first_share=share,
    )
    try:
        start(layout.model_name, experiment)
    except ExperimentError as error:
        says = f"{experiment.name} is not started, beside {error.got}. {error.do}."
        Timeline(layout.timeline).add(
            "canary", experiment.name, KEPT_OUT, says, cause=gate.id, key=f"canary/{gate.id}/{KEPT_OUT}"
        )
        logger.warning("%s", error)
        return None
    record_canary(layout, experiment)
    return experiment


def follow_newest(
    layout: Layout, rules: CanarySettings, figures: ExperimentSettings, moment: datetime | None = None
) -> Rollout | None:
    """Decide what becomes of the canary that the loop started last, and do it.

    Args:
        layout: Of the shop.
        rules: When it grows and goes.
        figures: What counts as a click.
        moment: Now, by default.
    Returns:
        What was decided; None where none runs.
    Raises:
        ExperimentError: the record cannot be read, or was changed meanwhile.
        TimelineError: the time line cannot be written.
        PredictionLogError, EventLogError: what was shown or clicked cannot be read.
    """
    record, standing = read_experiments(layout.model_name), read_standing(layout.model_name)
    canary = record.followed
    if canary is None:
        return None
    if canary.runs and _was_promoted(canary, standing):
        canary = stop(layout.model_name, canary.name, "It was promoted.", outcome="promoted")
    record_canary(layout, canary)
    if not canary.runs or not rules.enabled:
        return None
    seen = _gather(layout, record, standing, figures, moment or datetime.now(UTC))
    decided = decide_rollout(seen, rules)
    if decided.action == "grow":
        after = grow(layout.model_name, canary.name, decided.share, decided.reason, generation=record.generation)
    elif decided.action == "withdraw":
        outcome: Outcome = "overtaken" if decided.rule == OVERTAKEN else "withdrawn"
        after = stop(layout.model_name, canary.name, decided.reason, outcome=outcome, generation=record.generation)
    elif decided.action == "promote":
        with together(layout.data_lock):  # nobody is removed meanwhile, whose bundles go
            after, decided = _promote(layout, canary, decided, record.generation)
    else:
        return decided
    record_canary(layout, after)
    return decided


def record_canary(layout: Layout, canary: Experiment) -> None:
    """Put what became of a canary on the time line, as far as it is not on it yet, and have it told.

    Raises:
        TimelineError: it cannot be written.
    """
    _record_steps(layout, canary)
    tell(layout)


def _record_steps(layout: Layout, canary: Experiment) -> None:
    first = canary.first_share or canary.variants[0].share
    begun = f"{canary.name} answers {first:.0%} of the users: {canary.reason}"
    cause = _record(layout, canary, STARTED, canary.started_at, begun, canary.cause).id
    for growth in canary.growths:
        told = f"{canary.name} answers {growth.share:.0%} of the users: {growth.reason}"
        cause = _record(layout, canary, GROWN, growth.at, told, cause).id
    if canary.stopped_at is None:
        return
    state = canary.outcome or STOPPED
    told = f"{canary.name} is {'stopped by hand' if canary.outcome is None else state}: {canary.stop_reason}"
    ended = _record(layout, canary, state, canary.stopped_at, told, cause)
    if canary.outcome == "promoted":
        record_changes(layout, cause=ended.id)


def _record(layout: Layout, canary: Experiment, state: str, at: str, says: str, cause: int | None) -> Entry:
    timeline, key = Timeline(layout.timeline), f"canary/{canary.name}/{state}/{at}"
    if (known := timeline.keyed(key)) is not None:
        return known
    variant, moment = canary.variants[0], datetime.fromisoformat(at)
    details = {"digest": variant.bundle.digest, "share": variant.share, **untold(_EVENTS.get(state))}
    return timeline.add("canary", canary.name, state, says.strip(), cause=cause, details=details, key=key, at=moment)


def _was_promoted(canary: Experiment, standing: Standing) -> bool:
    """Whether the change after the one that it began with put it into service: a run was killed right after."""
    since = standing.changes[canary.generation :]
    return bool(since) and (since[0].action, since[0].digest) == ("promoted", canary.variants[0].bundle.digest)


def _promote(layout: Layout, canary: Experiment, decided: Rollout, experiments: int) -> tuple[Experiment, Rollout]:
    """Put it into service for all, unless something else went into service since it began, or it may not answer.

    Args:
        experiments: The generation of the record that this was decided on.
    Raises:
        ExperimentError: it was stopped meanwhile, or a version pinned.
    """
    _, folder = place_of(canary.variants[0].bundle, layout.model_name, layout.root)
    standing = read_standing(layout.model_name)
    champion = standing.in_service
    gate = None if canary.cause is None else Timeline(layout.timeline).find(canary.cause)
    judged = {} if gate is None else gate.details
    labels = {
        **labels_of(read_manifest(folder)),
        "parent": champion.version if champion else "",
        "metric": str(judged.get("metric", "")),
        "value": f"{judged['candidate']:.4f}" if "candidate" in judged else "",
    }
    try:
        generations = {"generation": canary.generation, "experiments": experiments}
        promote(folder, layout.model_name, labels, reason=decided.reason, **generations)
    except (ChampionChanged, BundleRefused) as error:
        reason = f"What it was compared with is not in service any more: {error.got}."
        if isinstance(error, BundleRefused):
            reason = "It learned from somebody who was forgotten since."
        decided = Rollout(action="withdraw", rule=OVERTAKEN, reason=reason, share=decided.share)
        return stop(layout.model_name, canary.name, reason, outcome="overtaken"), decided
    return stop(layout.model_name, canary.name, decided.reason, outcome="promoted"), decided


def _gather(
    layout: Layout, record: Experiments, standing: Standing, settings: ExperimentSettings, moment: datetime
) -> CanaryEvidence:
    """What is known at this moment; the logs are read only where the record leaves it open."""
    canary = record.followed
    assert canary is not None
    pin = record.pin_in_force(standing)
    since = standing.changes[canary.generation :]
    known = CanaryEvidence(
        now=moment,
        since=datetime.fromisoformat(canary.shares_since),
        share=canary.variants[0].share,
        overtaken=f"version {since[-1].version} was {since[-1].action} at {since[-1].at[:16]}" if since else "",
        forgotten=standing.forbids(canary.variants[0].bundle.digest, canary.started_at),
        broken=_fault(layout, canary),
        pinned="" if pin is None else f"version {pin.version} is pinned",
    )
    if known.overtaken or known.forgotten or known.broken or known.pinned:
        return known
    return known.model_copy(update=_read_figures(layout, canary, standing, settings, moment))


def _fault(layout: Layout, canary: Experiment) -> str:
    """Why it cannot be loaded, as far as its files tell; empty where it can."""
    _, folder = place_of(canary.variants[0].bundle, layout.model_name, layout.root)
    try:
        verify_files(folder, read_manifest(folder))
    except BundleError as error:
        return f"{error.got}, expected {error.expected}"
    return ""


def _read_figures(
    layout: Layout, canary: Experiment, standing: Standing, settings: ExperimentSettings, moment: datetime
) -> dict[str, object]:
    from monitoring.online.figures import compute_figures

    found = compute_figures(canary, standing, layout.predictions, EventLog(layout.events), settings, moment)
    control, ours = found.variants
    [test] = found.tests
    # Of the same users as the difference, counted in the same way.
    read: dict[str, object] = {"users": ours.users, "hit_rate": test.control_hit_rate or 0.0}
    if (difference := test.difference) is not None:
        read |= {"difference": difference.value, "low": difference.low, "high": difference.high}
    if found.lost:
        read["untested"] = (
            f"its answers up to {found.since} are gone from the prediction log, and users' first lists with them; give "
            "what is kept of it for experiments more room (serving.predictions.experiments_max_bytes)"
        )
    theirs, mine = control.alone_p50_ms, ours.alone_p50_ms
    if min(control.alone, ours.alone) >= _MIN_ANSWERS and theirs is not None and mine is not None:
        read |= {"latency_low_ms": mine.low, "latency_high_ms": theirs.high}
    if control.failure_rate is not None and ours.failure_rate is not None:
        read |= {"failed_low": ours.failure_rate.low, "failed_high": control.failure_rate.high}
    return read
