"""From when until when the answers of an experiment say something about its bundles."""

from __future__ import annotations

from datetime import UTC, datetime

from core.experiments import Experiment
from core.promotions import Standing


def window_of(experiment: Experiment, standing: Standing, now: datetime) -> tuple[datetime, datetime]:
    """The first and the last moment of the answers that count.

    They count since its shares are what they are, and since the last promotion, which changed the control. They count
    until it was stopped or overruled by a rollback; and until its one bundle went into service itself, when nothing was
    left to compare it with. What goes into service after it was stopped changes nothing; before, a later promotion has
    answers count from there anew, also behind the one of its own bundle.

    Args:
        experiment: Running or stopped.
        standing: What is in service, and was.
        now: This moment.
    """
    until = now if experiment.stopped_at is None else min(now, moment_of(experiment.stopped_at))
    changes = []
    for change in standing.changes[experiment.generation :]:
        if moment_of(change.at) > until:
            break
        if change.action == "rolled back":
            until = moment_of(change.at)
            break
        changes.append(change)
    tried = {variant.bundle.digest for variant in experiment.variants}
    while changes and tried == {changes[-1].digest}:
        until = moment_of(changes.pop().at)
    since = max([moment_of(experiment.shares_since), *(moment_of(change.at) for change in changes)])
    return since, until


def moment_of(text: str) -> datetime:
    """A moment of a record, ISO 8601; UTC where it does not say."""
    found = datetime.fromisoformat(text)
    return found if found.tzinfo else found.replace(tzinfo=UTC)
