"""The course of a training: how high the learning rate is at each step, and after how many steps it ends."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

from recommender.fitting.schedule import rate_share
from recommender.fitting.summary import Progress

PART = "feedback writer"
WARM_UP_SHARE = 0.05
DESCENT_SHARE = 0.25
FINAL_RATE_SHARE = 0.1
LOOK_EVERY = 100
LEAST_GAIN = 0.02
N_REPORTS = 10
REPORT_EVERY_S = 30.0


class Course:
    """The learning rate over a training: a warm-up, then constant, then a linear descent to a tenth at the last step.

    The descent begins in time for `n_steps`, or as soon as a look at validation shows that the constant rate gains
    little more, or as soon as the time that training may take is nearly spent; the training is the shorter then.

    Args:
        n_steps: Steps at most.
        max_warm_up: Steps of the warm-up at most.
    Source: warm-up, stable, decay of Hu et al. 2024 (MiniCPM), section 4.
    """

    def __init__(self, n_steps: int, max_warm_up: int | None = None) -> None:
        self.n_steps = n_steps
        warm_up = max(1, round(n_steps * WARM_UP_SHARE))
        self._warm_up = warm_up if max_warm_up is None else min(warm_up, max_warm_up)
        self._descent_at = n_steps - round(n_steps * DESCENT_SHARE)
        self._best = math.inf

    @classmethod
    def held(cls, n_steps: int, warm_up: int, descent_at: int) -> Course:
        """The course as another training took it."""
        course = cls(n_steps)
        course.go_on(n_steps, warm_up, descent_at)
        return course

    def go_on(self, n_steps: int, warm_up: int, descent_at: int) -> None:
        """Take over what `as_taken` said of a training that was cut short."""
        self.n_steps, self._warm_up, self._descent_at = n_steps, warm_up, descent_at

    @property
    def as_taken(self) -> dict[str, int]:
        """What `held` needs, once training is over."""
        return {"n_steps": self.n_steps, "warm_up": self._warm_up, "descent_at": self._descent_at}

    def rate_share(self, step: int) -> float:
        """Share of the learning rate at a step."""
        return rate_share(step, self._warm_up, self._descent_at, self.n_steps, FINAL_RATE_SHARE)

    def looks_after(self, step: int) -> bool:
        """Whether to look at validation after so many steps."""
        return step % LOOK_EVERY == 0 and self._warm_up <= step < self._descent_at

    def look(self, step: int, loss: float) -> None:
        """Take in the validation loss (nats a token) after so many steps; begin the descent if it gained too little."""
        if self._best - loss < LEAST_GAIN:
            self._descend_from(step, step * DESCENT_SHARE)
        self._best = min(self._best, loss)

    def spend(self, step: int, share: float) -> None:
        """Take in which share of the time is spent after so many steps; begin the descent if it needs the rest, and end
        where there is none.
        """
        if share >= 1:
            self.n_steps = min(self.n_steps, step)
        elif step < self._descent_at and share >= 1 - DESCENT_SHARE:
            self._descend_from(step, step * DESCENT_SHARE / (1 - DESCENT_SHARE))

    def _descend_from(self, step: int, n_more: float) -> None:
        self._descent_at = step
        self.n_steps = min(self.n_steps, step + max(1, round(n_more)))


class Meter:
    """Says how training goes, about every tenth of its steps, and twice a minute where these are long.

    Args:
        done: Steps that an earlier try took.
        left_s: Time that training may take from now; None: no limit.
    """

    def __init__(self, course: Course, progress: Progress, done: int = 0, left_s: float | None = None) -> None:
        self.course, self.progress, self.done = course, progress, done
        self.left_s = math.inf if left_s is None else left_s
        self.every = max(1, course.n_steps // N_REPORTS)
        self.started = self.said = time.monotonic()
        self.loss = self.n_losses = self.n_tokens = 0.0

    def count(self, step: int, loss: float, n_tokens: int) -> None:
        """Take in one step: its loss by token, and how many tokens it read."""
        self.loss += loss
        self.n_losses += 1
        self.n_tokens += n_tokens
        n_steps = self.course.n_steps
        now = time.monotonic()
        if step % self.every == 0 or step == n_steps or now - self.said > REPORT_EVERY_S:
            self.said, passed = now, now - self.started
            to_go = min(passed / (step - self.done) * (n_steps - step), max(0.0, self.left_s - passed))
            self.progress(
                f"feedback writer step {step}/{n_steps}: loss {self.loss / self.n_losses:.3f}, "
                f"{self.n_tokens / passed:.0f} tokens/s, {to_go:.0f} s to go"
            )
            self.loss = self.n_losses = 0.0


def _nothing() -> None:
    """Nothing was kept."""


@dataclass(frozen=True)
class Trained:
    """What a training came to.

    Attributes:
        epochs: That were begun.
        n_shown: Different texts that were read.
        shown_by: What said that it should be no more.
        shown: The examples that copying is bounded from, at least those that were read.
        forget: Takes away what a killed fit would go on from; to be called once what was learned is saved.
    """

    epochs: int
    course: Course
    n_shown: int
    shown_by: str
    shown: tuple[int, ...]
    forget: Callable[[], None] = _nothing
