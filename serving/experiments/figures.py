"""Figures of experiments, computed beside the requests when somebody looks, and kept for a while."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from core.errors import as_exception
from core.experiments import Experiment
from core.promotions import PromotionRecordError, Standing
from monitoring.online.figures import ExperimentFigures

logger = logging.getLogger(__name__)

# An experiment as it is, and the generation of what is in service: figures of either before are of another window.
_Asked = tuple[Experiment, int]


@dataclass(frozen=True)
class Computed:
    """Figures of some experiments, in their order.

    Attributes:
        age_s: How long ago they were computed, seconds: another worker may have done it.
    """

    figures: list[ExperimentFigures]
    age_s: float


class FiguresCache:
    """Keeps the figures of experiments; whoever asks gets what there is, and has it made anew if it is old.

    Args:
        compute: Computes those of some experiments, in their order; may take seconds.
        keep_s: How old they may become.
        standing: Reads what is in service, and was.
    """

    def __init__(
        self,
        compute: Callable[[Sequence[Experiment]], Computed],
        keep_s: float,
        standing: Callable[[], Standing],
    ) -> None:
        self._compute, self._keep_s, self._standing = compute, keep_s, standing
        self._generation = 0
        self._figures: dict[tuple[str, str], ExperimentFigures] = {}
        self._problem = ""
        self._computed_at: float | None = None
        self._known: frozenset[_Asked] = frozenset()
        self._lock = threading.Lock()
        self._at_work: threading.Thread | None = None

    @property
    def problem(self) -> str:
        """Why the last figures could not be computed; empty where they could."""
        return self._problem

    def of(self, experiment: Experiment) -> ExperimentFigures | None:
        """The figures of an experiment, as they were last computed; None before that."""
        return self._figures.get(_key(experiment))

    def refresh(self, experiments: Sequence[Experiment]) -> None:
        """Have the figures of these computed in a thread, if they are old, or of before a change of one of them or of
        what is in service.
        """
        with suppress(PromotionRecordError):  # computing says so
            self._generation = self._standing().generation
        asked = frozenset((one, self._generation) for one in experiments)
        with self._lock:
            is_old = self._computed_at is None or time.monotonic() - self._computed_at > self._keep_s
            at_work = self._at_work is not None and self._at_work.is_alive()
            if at_work or not (is_old or asked - self._known) or not experiments:
                return
            thread = threading.Thread(
                target=self._run, args=(list(experiments), asked), name="experiment-figures", daemon=True
            )
            try:
                thread.start()
            except RuntimeError as error:  # where the system gives no more threads; who looks next tries it again
                self._note(error)
            else:
                self._at_work = thread

    def wait(self, timeout_s: float) -> None:
        """Wait for what is being computed."""
        thread = self._at_work
        if thread is not None:
            thread.join(timeout_s)

    def _run(self, experiments: list[Experiment], asked: frozenset[_Asked]) -> None:
        age_s = 0.0
        try:
            computed = self._compute(experiments)
            self._figures = dict(zip(map(_key, experiments), computed.figures, strict=True))
            age_s = computed.age_s
            self._problem = ""
        except BaseException as error:  # whatever it is, who looks is told
            self._note(as_exception(error))
        self._known, self._computed_at = asked, time.monotonic() - age_s

    def _note(self, error: Exception) -> None:
        if not self._problem:
            logger.error("The figures of experiments cannot be computed", exc_info=error)
        self._problem = f"The figures cannot be computed: {error}"


def _key(experiment: Experiment) -> tuple[str, str]:
    return experiment.name, experiment.started_at
