"""Figures that one worker computed, for the others too: a file beside the log, so that one of them reads it for all."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from pathlib import Path

from core.experiments import Experiment
from core.settings.monitoring import ExperimentSettings
from core.storage import digest_of, exclusively, write_json
from core.timing.clock import CLOCK
from monitoring.online.figures import ExperimentFigures

logger = logging.getLogger(__name__)

_FILE, _LOCK = "figures.json", ".figures.lock"


class SharedFigures:
    """Computes figures, unless another worker did lately. Meant for a thread: it waits for one who is at it.

    Args:
        log: The folder of the prediction log.
        settings: What figures count, and how old they may become.
        compute: Computes those of one experiment; may take seconds.
    """

    def __init__(
        self, log: Path, settings: ExperimentSettings, compute: Callable[[Experiment], ExperimentFigures]
    ) -> None:
        self._log, self._settings, self._compute = log, settings, compute

    def compute(self, experiments: Sequence[Experiment]) -> list[ExperimentFigures]:
        """The figures of some experiments, in their order; none is older than `figures_s`."""
        keys = [digest_of(one.model_dump(mode="json"), self._settings.model_dump(mode="json")) for one in experiments]
        with exclusively(self._log / _LOCK):
            known = self._read()
            if all(key in known for key in keys):
                return [known[key] for key in keys]
            at, found = CLOCK.now(), [self._compute(one) for one in experiments]
            told = {key: one.model_dump(mode="json") for key, one in zip(keys, found, strict=True)}
            try:
                write_json(self._log / _FILE, {"at": at.isoformat(), "figures": told})
            except OSError:
                logger.exception("Figures of experiments cannot be written for other workers, which compute their own")
            return found

    def _read(self) -> dict[str, ExperimentFigures]:
        """What is young enough; nothing where that cannot be read: it is computed then."""
        try:
            told = json.loads((self._log / _FILE).read_bytes())
            age = CLOCK.now() - datetime.fromisoformat(told["at"])
            if not timedelta(0) <= age < timedelta(seconds=self._settings.figures_s):
                return {}
            return {key: ExperimentFigures.model_validate(one) for key, one in told["figures"].items()}
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            logger.warning("Figures of experiments that another worker wrote cannot be read: %s", error)
            return {}
