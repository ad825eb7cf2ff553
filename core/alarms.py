"""An alarm: what monitoring saw that is beyond noise, told so that a person and the loop can act on it."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

# What an alarm is about: the data that come in, what was shown, its quality once outcomes arrive, texts, vectors of
# items, users and texts, the service.
Family = Literal["data", "predictions", "quality", "text", "embeddings", "service"]


class Course(BaseModel):
    """How a signal went, day by day, up to the end of an alarm's window.

    Attributes:
        begins: Of the first day, ISO 8601, UTC.
        values: Of each day; None of one on which nothing was counted.
        low, high: Between them lay 95 % of the quiet days before.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    begins: str
    values: tuple[float | None, ...]
    low: float
    high: float


class Alarm(BaseModel):
    """One signal that left its calibrated range in one window.

    Attributes:
        signal: Dotted name, such as `data.price.null_share`; alarms of one cause at different times share it.
        family: What it is about.
        segment: Where it moved most, `column=value`; None where it moved everywhere alike.
        window_days: Length of the window that it was seen in.
        since: The first day that is beyond what is usual, as far as the newest 28 days tell; ISO 8601, UTC.
        until: The end of the window.
        value, reference: The signal in the window, and in the reference; None where there is no such number.
        p_value: How likely a quiet shop moves at least so far, after correction for the number of signals.
        broken: The data are broken and have not merely changed: a model must not learn from them.
        says: One sentence: what moved, from what to what, for whom.
        course: Of the signal by day; None where it is not watched by day.
        page: The look's report, below the shop's reports; empty where there is none.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    signal: str
    family: Family
    segment: str | None = None
    window_days: int = Field(ge=1)
    since: str
    until: str
    value: float | None = None
    reference: float | None = None
    p_value: float = Field(ge=0, le=1)
    broken: bool = False
    says: str
    course: Course | None = None
    page: str = ""
