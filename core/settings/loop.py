"""Settings of the loop: when what is seen leads to a retraining, who is told, how a canary grows."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StringConstraints, field_validator

from core.settings.form import Frozen, Share


class RetrainingSettings(Frozen):
    """When an alarm leads to a run that learns again.

    It wants drift and a reason to expect something of it: a loss of quality, items that users take and the bundle in
    service does not know, or enough events that it does not know.
    """

    enabled: bool = Field(True, description="Start runs. Otherwise alarms are recorded and told, and nothing follows.")
    looks: int = Field(2, ge=1, description="An alarm counts that was seen in so many looks of `monitor` in a row.")
    clear_looks: int = Field(2, ge=1, description="An alarm is over once it was not seen in so many looks in a row.")
    min_new_events: int = Field(
        500, ge=1, description="So many events that the bundle in service does not know are reason enough,"
    )
    min_new_share: Share = Field(0.05, description="if they are this share of those that it knows, too.")
    cooldown_h: float = Field(
        24.0, ge=0, description="No retraining begins so long after the last one began, or after a rollback; hours."
    )
    runs_per_week: int = Field(3, ge=0, description="Retrainings in seven days, at most.")
    minutes_per_week: float = Field(
        1440.0, ge=0, description="Time that they may have taken in seven days, until another one begins; minutes."
    )
    full_after_days: float = Field(
        30.0, ge=0, description="Train in full, and not from the weights in service, so long after the last full one."
    )
    full_after_refusals: int = Field(
        2, ge=1, description="Likewise where the gate has refused so many fine-tuned bundles in a row."
    )
    refresh_after_h: float = Field(
        2.0,
        ge=0,
        description="Where a retraining has nothing to gain from drift, features that are so old are refreshed; hours.",
    )
    give_up_h: float = Field(
        6.0, gt=0, description="A run that was wanted and has not begun so long after is not waited for; hours."
    )


_BLOCK = r"^[a-z0-9-]+/[a-z0-9-]+$"


class NotificationSettings(Frozen):
    """Who is told what happens: by notification blocks of the Prefect server, which hold what is secret."""

    blocks: tuple[Annotated[str, StringConstraints(pattern=_BLOCK)], ...] = Field(
        (), description="Their kinds and names, such as slack-webhook/ops or custom-webhook/pager."
    )
    quiet_h: float = Field(
        6.0, gt=0, description="That a deployment's runs fail or are late is told once in this time, hours."
    )


class CanarySettings(Frozen):
    """How a candidate that the gate lets answer some users first gets to all of them, or goes.

    Each step counts its own users, and is taken once it is sure that the candidate loses no more than `max_loss`.
    """

    enabled: bool = Field(
        True, description="Start a canary where the gate says so, and follow it. Otherwise somebody starts and ends it."
    )
    steps: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = Field(
        (0.05, 0.2, 0.5), min_length=1, description="Shares of the users, one after the other; then it is promoted."
    )
    min_users: int = Field(200, ge=1, description="Users whom the candidate has answered in a step, before the next.")
    max_loss: Share = Field(
        0.2, description="The next step wants it ruled out that more of the hit rate is lost, of that in service."
    )
    max_days: float = Field(
        14.0, gt=0, description="A step that has not shown that in so many days ends the canary: it is withdrawn."
    )
    latency_growth: float = Field(
        1.0, ge=0, description="It is withdrawn where the median answer surely takes longer by more than this share,"
    )
    latency_slack_ms: float = Field(5.0, ge=0, description="and by more than these milliseconds.")
    max_failures: Share = Field(
        0.01,
        description="It is withdrawn where the share of lists that it fails to make is surely larger by more than this "
        "than that of the bundle in service.",
    )

    @field_validator("steps")
    @classmethod
    def _grow(cls, steps: tuple[float, ...]) -> tuple[float, ...]:
        if list(steps) != sorted(set(steps)):
            raise ValueError("each step is larger than the one before")
        return steps


class LoopSettings(Frozen):
    """What follows from what monitoring sees."""

    retraining: RetrainingSettings = Field(default_factory=RetrainingSettings)
    canary: CanarySettings = Field(default_factory=CanarySettings)
    notifications: NotificationSettings = Field(default_factory=NotificationSettings)
    timeline_entries: int = Field(10_000, ge=100, description="Entries of the time line that are kept, the newest.")
    timeline_days: float = Field(400.0, gt=0, description="An entry goes so long after what it is about ended, days.")
