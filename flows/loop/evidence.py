"""What a decision is made of: what is new to learn, what was learned when, and what that has cost."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
from prefect.runtime import flow_run as runtime

from core.experiments import Experiment, Experiments, read_experiments
from core.layout import Layout
from core.logs.timeline import RUNNING, WAITING, Entry, Timeline
from core.promotions import Change, Standing, known_versions, read_standing
from core.schema import TIMESTAMP
from core.settings.loop import RetrainingSettings
from core.sql import literal
from features.archive.publication import PUBLISHED_FILE
from flows.loop.judgements import REFUSED
from flows.loop.prefect_runs import waiting_runs
from flows.loop.runs import LOST, WAITED_S, WANTED
from monitoring.decisions import RETRAININGS, WEEK, Evidence, OnAlarm
from recommender.bundle.manifest import Manifest

_COUNT = "SELECT count(*) FILTER (WHERE {time} > $new), count(*) FILTER (WHERE {time} <= $known) FROM {table}"


def gather_evidence(
    layout: Layout,
    alarms: tuple[OnAlarm, ...],
    served: Manifest,
    clean: Path | None,
    rules: RetrainingSettings,
    now: datetime | None = None,
) -> Evidence:
    """Gather what is known at this moment.

    Args:
        layout: Of the shop.
        alarms: That are on, the strongest first.
        served: Of the bundle in service.
        clean: Folder of the clean tables; None where the data gate let none through.
        rules: How long a run is waited for that was wanted.
        now: This moment, by default.
    Raises:
        TimelineError: the time line cannot be read.
        ExperimentError: the record of experiments cannot be read.
    """
    moment = now or datetime.now(UTC)
    timeline, standing = Timeline(layout.timeline), read_standing(layout.model_name)
    experiments = read_experiments(layout.model_name)
    canary = experiments.followed
    new, known = (0, 0) if clean is None else _count_events(clean, served, standing, experiments)
    runs = [run for run in timeline.read(["run"]) if run.subject in RETRAININGS]
    full = [run for run in runs if run.subject == "pipeline" and run.state == "completed"]
    of_week = [run for run in runs if run.cause is not None and moment - _time(run.at) < WEEK]
    last = standing.changes[-1] if standing.changes else None
    return Evidence(
        now=moment,
        alarms=alarms,
        new_events=new,
        known_events=known,
        busy=_canary(canary) or _busy(timeline, layout.shop, rules, moment),
        last_retraining_at=_time(runs[-1].at) if runs else None,
        last_full_at=_time(full[-1].at) if full else None,
        runs_in_week=len(of_week),
        minutes_in_week=sum((_took(run, moment) for run in of_week), timedelta()) / timedelta(minutes=1),
        refusals_in_row=_refusals(timeline),
        rolled_back_at=_time(last.at) if last is not None and last.action == "rolled back" else None,
        canary_withdrawn_at=_withdrawn_at(canary, last),
        features_at=_refreshed_at(layout, timeline),
    )


def _count_events(clean: Path, served: Manifest, standing: Standing, experiments: Experiments) -> tuple[int, int]:
    """Events that nothing has learned from which was promoted or a canary, and those that what is in service knows."""
    known = served.data.learned_until_at
    withdrawn = [
        datetime.fromisoformat(until)
        for version in known_versions(standing.folder.name)
        if version.digest in standing.withdrawn and (until := version.labels.get("learned_until"))
    ]
    withdrawn += [
        datetime.fromisoformat(variant.bundle.learned_until)
        for experiment in experiments.experiments
        if experiment.outcome == "withdrawn"
        for variant in experiment.variants
        if variant.bundle.learned_until
    ]
    table = f"read_parquet({literal(str(clean / 'interactions.parquet'))})"
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        asked = {"new": max([known, *withdrawn]), "known": known}
        found = connection.execute(_COUNT.format(time=TIMESTAMP, table=table), asked).fetchone()
    assert found is not None
    return int(found[0]), int(found[1])


def _canary(canary: Experiment | None) -> str:
    """A canary that goes on, one clause: what would be learned meanwhile is not known to be wanted."""
    if canary is None or not canary.runs:
        return ""
    return (
        f"the canary {canary.name} answers {canary.variants[0].share:.0%} of the users since {canary.shares_since[:16]}"
    )


def _withdrawn_at(canary: Experiment | None, last: Change | None) -> datetime | None:
    """When the last canary was withdrawn; None where something was promoted since."""
    if canary is None or canary.stopped_at is None or canary.outcome != "withdrawn":
        return None
    ended = _time(canary.stopped_at)
    return None if last is not None and last.action == "promoted" and _time(last.at) > ended else ended


def _busy(timeline: Timeline, shop: str, rules: RetrainingSettings, now: datetime) -> str:
    """A retraining that waits or goes on, one clause; what was wanted long ago and never began is given up."""
    for run in timeline.lasting("run"):
        if run.subject in RETRAININGS:
            doing = "waits for approval" if run.state == WAITING else "goes on"
            return f"the run {run.details['run']} of {run.subject} {doing} since {run.at[:16]}"
    for decision in timeline.read(["decision"]):
        if decision.state != WANTED:
            continue
        if now - _time(decision.at) < timedelta(hours=rules.give_up_h):
            return f"decision {decision.id} wants {decision.subject}, and its run has not begun yet"
        if waiting := _waiting(shop):
            return f"the run {waiting} waits for its turn"
        if timeline.settle(decision, LOST, only=[WANTED]).state != LOST:
            return f"the run of {decision.subject} that decision {decision.id} wants has just begun"
    waiting = _waiting(shop)
    return f"the run {waiting} waits for its turn" if waiting else ""


def _waiting(shop: str) -> str:
    """A retraining that Prefect has and that has not begun; empty outside of Prefect."""
    if not runtime.id:
        return ""
    return next(iter(waiting_runs(shop, RETRAININGS)), "")


def _refusals(timeline: Timeline) -> int:
    """How many fine-tuned bundles the gate refused since it last let one through, or all was trained again."""
    count = 0
    for entry in reversed(timeline.read(["gate"])):
        if entry.state != REFUSED or entry.details.get("flow") != "fine-tune":
            break
        count += 1
    return count


def _refreshed_at(layout: Layout, timeline: Timeline) -> datetime | None:
    """When the feature store was published last, or a refresh that was wanted began: it may have found nothing new."""
    found = []
    with suppress(FileNotFoundError):
        found.append(datetime.fromtimestamp((layout.feast / PUBLISHED_FILE).stat().st_mtime, UTC))
    if (run := timeline.newest("run", "refresh-features")) is not None:
        found.append(_time(run.at))
    return max(found, default=None)


def _took(run: Entry, now: datetime) -> timedelta:
    waited = timedelta(seconds=run.details.get(WAITED_S, 0.0))
    return (now if run.state == RUNNING else _time(run.until)) - _time(run.at) - waited


def _time(moment: str) -> datetime:
    found = datetime.fromisoformat(moment)
    return found if found.tzinfo else found.replace(tzinfo=UTC)
