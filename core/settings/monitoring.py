"""Settings of monitoring: drift of data, the log of what was shown, experiments."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from core.settings.form import Frozen, Share

EventName = Literal["impression", "view", "click", "cart", "purchase", "rating"]


class DriftSettings(Frozen):
    """Drift: are the newest days like the shop's own quiet past?"""

    false_alarms_per_week: Share = Field(
        0.05,
        description="Share of quiet weeks in which there may be an alarm; thresholds are calibrated for it. 0: never.",
    )
    reference_days: int = Field(
        168, ge=28, le=730, description="Days of a reference at most; as many again before it are the quiet past."
    )
    filter_floods: bool = Field(
        True,
        description="Leave out days of a user that break the limits of recipe.validation.cleaning.floods, as bots and "
        "floods; they are counted.",
    )
    method: Literal["psi", "wasserstein", "jensenshannon"] = Field(
        "psi", description="Evidently's measure in the report of single columns; no alarm hangs on it."
    )
    threshold: float = Field(0.2, gt=0, description="A column above it is shown as drifted in that report.")
    share: Share = Field(0.5, description="Share of such columns from which that report shows the data as drifted.")


class PredictionLogSettings(Frozen):
    """The log of what was shown to whom."""

    enabled: bool = Field(True, description="Keep it. Without it experiments have no figures.")
    max_bytes: int = Field(
        2_000_000_000, ge=1_000_000, description="Room that it takes at most, about; the oldest records go. Bytes."
    )
    days: float = Field(30.0, gt=0, description="Records go this many days after the last one of their file.")
    experiments_max_bytes: int = Field(
        200_000_000,
        ge=0,
        description="Room for what is kept of records that went, for experiments that run or ended at most `days` ago: "
        "about 50 bytes for a list of ten items. Bytes.",
    )
    features: bool = Field(
        True,
        description="Keep with each list that a user is shown what the ranker read of their online features: counts, "
        "attributes and the newest ten items of the history.",
    )
    max_waiting: int = Field(
        10_000,
        ge=1,
        description="Records that may wait to be written, in each worker; one more is dropped, and counted.",
    )
    flush_s: float = Field(
        0.2, ge=0, le=60, description="A record waits so long for others, to share one fsync, seconds."
    )


class AnswerCountSettings(Frozen):
    """How many requests were answered, refused or failed: counted by day, for monitoring."""

    days: float = Field(30.0, ge=2, description="Counts of days that are longer ago go; monitoring keeps its own sums.")
    every_s: float = Field(
        10.0,
        gt=0,
        le=300,
        description="A kill of the service loses the counts of so many seconds. At most 300: a day's counts are taken "
        "as whole ten minutes after its end.",
    )


class ExperimentSettings(Frozen):
    """Experiments on bundles: what their figures count."""

    clicks: tuple[EventName, ...] = Field(
        ("view", "click", "cart", "purchase"), min_length=1, description="Events that count as a click on a shown item."
    )
    click_window_s: float = Field(
        1800.0, gt=0, description="An event counts for an answer that is at most so old, seconds."
    )
    observe_s: float = Field(
        86_400.0,
        gt=0,
        description="The sequential test takes each user's lists of so long after their first one, seconds; a user "
        "counts once that is over.",
    )
    figures_s: float = Field(
        60.0, ge=0, description="The service computes figures again when they are so old, seconds."
    )
    shadow_waiting: int = Field(
        32, ge=1, description="Answers that wait for a shadow's; one more is answered without, and counted."
    )
