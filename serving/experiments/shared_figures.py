"""Figures that one worker computed, for the others too: a file beside the log, so that one of them reads it for all."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from datetime import datetime, timedelta
from pathlib import Path

from core.experiments import Experiment
from core.promotions import Standing
from core.settings.monitoring import ExperimentSettings
from core.storage import digest_of, exclusively, write_json
from core.timing.clock import CLOCK
from monitoring.online.figures import SHARED_FILE, SHARED_LOCK, ExperimentFigures
from serving.experiments.figures import Computed

logger = logging.getLogger(__name__)


class SharedFigures:
    """Computes figures, unless another worker did lately. Meant for a thread: it waits for one who is at it.

    Where nothing can be written, as on a disk that is full or may only be read, each worker computes its own.

    Args:
        log: The folder of the prediction log.
        settings: What figures count, and how old they may become.
        standing: Reads what is in service, and was.
        compute: Computes those of one experiment, given that; may take seconds.
    """

    def __init__(
        self,
        log: Path,
        settings: ExperimentSettings,
        standing: Callable[[], Standing],
        compute: Callable[[Experiment, Standing], ExperimentFigures],
    ) -> None:
        self._log, self._settings = log, settings
        self._standing, self._compute = standing, compute
        self._is_alone = False

    def compute(self, experiments: Sequence[Experiment]) -> Computed:
        """The figures of some experiments, in their order; computed less than `figures_s` ago, or now."""
        with ExitStack() as held:
            fault: OSError | None = None
            try:
                held.enter_context(exclusively(self._log / SHARED_LOCK))
            except OSError as error:
                fault = error
            standing = self._standing()
            keys = [self._key(one, standing) for one in experiments]
            if fault is None and (known := self._read(keys)) is not None:
                return known
            found = [self._compute(one, standing) for one in experiments]
            if fault is None:
                fault = self._write(keys, found)
            self._note(fault)
            return Computed(found, age_s=0.0)

    def _key(self, experiment: Experiment, standing: Standing) -> str:
        """Of what figures are made of, but for the logs: a promotion or a rollback has them count anew, or end."""
        return digest_of(
            experiment.model_dump(mode="json"), self._settings.model_dump(mode="json"), standing.generation
        )

    def _read(self, keys: Sequence[str]) -> Computed | None:
        """What is young enough; None where not all of it is there or can be read: it is computed then."""
        try:
            told = json.loads((self._log / SHARED_FILE).read_bytes())
            age = CLOCK.now() - datetime.fromisoformat(told["at"])
            if not timedelta(0) <= age < timedelta(seconds=self._settings.figures_s):
                return None
            if not all(key in told["figures"] for key in keys):
                return None
            found = [ExperimentFigures.model_validate(told["figures"][key]) for key in keys]
            return Computed(found, age_s=age.total_seconds())
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            logger.warning("Figures of experiments that another worker wrote cannot be read: %s", error)
            return None

    def _write(self, keys: Sequence[str], found: Sequence[ExperimentFigures]) -> OSError | None:
        """Write figures for the others; they age from now on, however long they took."""
        told = {key: one.model_dump(mode="json") for key, one in zip(keys, found, strict=True)}
        try:
            write_json(self._log / SHARED_FILE, {"at": CLOCK.now().isoformat(), "figures": told})
        except OSError as error:
            return error
        return None

    def _note(self, fault: OSError | None) -> None:
        """Log that figures cannot be shared, once until they can."""
        if fault is not None and not self._is_alone:
            logger.warning("Figures of experiments cannot be shared, so each worker computes its own: %s", fault)
        self._is_alone = fault is not None
