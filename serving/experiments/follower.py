"""Follows the record of experiments: has its bundles loaded beside the one in service, and makes the plan.

What cannot be followed is refused as a whole: everybody is then answered by the bundle in service, and the state says
why. It works in the watcher's thread, at each of its checks, and never waits for a load: an experiment begins once all
its bundles are there.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from typing import Generic, TypeVar

from core.experiments import Experiment, Experiments, Variant, place_of, read_experiments
from core.layout import Layout
from core.promotions import Standing, read_standing
from serving.experiments.plan import Arm, Followed, Plan, Shadow, Split
from serving.processes.loading import Loader, Wishes
from serving.watcher import MAX_WAIT_S, Loaded, Promoted

logger = logging.getLogger(__name__)

T = TypeVar("T")


@dataclass(frozen=True)
class _Failure:
    sentence: str
    wait_s: float
    retry_at: float


class _OnItsWay(Enum):
    """In the place of a bundle that is being loaded, or waits to be."""

    AWAITED = 0


class Follower(Generic[T]):
    """Keeps `plan` at what the record says, and the bundles that it needs loaded.

    Args:
        layout: Of the shop.
        load: Loads and warms a bundle, given those that are loaded already, in a thread that only loads.
        poll_s: A bundle that cannot be loaded is tried again after so long, then ever more rarely.
        on_change: Called when bundles were loaded or let go.
        loader: Has bundles loaded, also for others; one for this alone by default.
    """

    def __init__(
        self,
        layout: Layout,
        load: Callable[[Promoted, list[T]], T],
        poll_s: float,
        on_change: Callable[[], None] = lambda: None,
        loader: Loader[T] | None = None,
    ) -> None:
        self._layout, self._load, self._poll_s, self._on_change = layout, load, poll_s, on_change
        self._wishes: Wishes[T] = Wishes(loader or Loader(), serves=False)
        # Read by requests without a lock: assigning a reference is atomic.
        self._plan: Plan[T] = Plan()
        self._record = Experiments()
        self._loaded: dict[str, Loaded[T]] = {}
        self._failures: dict[str, _Failure] = {}

    @property
    def plan(self) -> Plan[T]:
        """What is followed now."""
        return self._plan

    @property
    def loaded(self) -> list[Loaded[T]]:
        """What is loaded beside the champion."""
        return list(self._loaded.values())

    def at_hand(self, model: str) -> T | None:
        """What is loaded of a bundle; None where nothing is."""
        found = self._loaded.get(model)
        return None if found is None else found.value

    @property
    def record(self) -> Experiments:
        """The record as it was last read."""
        return self._record

    def follow(self, champion: Loaded[T] | None) -> None:
        """Read the record, and make the plan. Never raises: what goes wrong is said in the plan.

        Args:
            champion: The bundle in service; None before the first.
        """
        try:
            standing = read_standing(self._layout.model_name)
            self._record = read_experiments(self._layout.model_name)
        except Exception as error:
            self._record = Experiments()
            # Nothing of it answers, and it is there as soon as the record can be read again.
            # So what is loaded or on its way is kept, and what could not be loaded is not tried again at once.
            self._set(Plan(problem=f"the experiments cannot be followed: {error}"))
            return
        if champion is None:
            self._adopt(Plan(states=tuple(Followed(one.name, "starting") for one in self._record.running)), set())
            return
        needed: set[str] = set()
        states: list[Followed] = []
        split: Split[T] | None = None
        shadows: list[Shadow[T]] = []
        for experiment in self._record.running:
            if overruled := self._record.overruled(experiment, standing):
                states.append(Followed(experiment.name, "overruled", f"Overruled: {overruled}."))
                continue
            arms = {one.name: self._obtain(one, experiment, standing, champion, needed) for one in experiment.variants}
            problems = [found for found in arms.values() if isinstance(found, str)]
            if problems:
                states.append(Followed(experiment.name, "refused", f"Refused: {problems[0]}"))
                continue
            if any(found is _OnItsWay.AWAITED for found in arms.values()):
                states.append(Followed(experiment.name, "starting"))
                continue
            states.append(Followed(experiment.name, "running"))
            engines = {name: found.value if isinstance(found, Loaded) else None for name, found in arms.items()}
            if experiment.kind == "shadow":
                shadows += [
                    Shadow(experiment.name, one.name, one.share, engines[one.name]) for one in experiment.variants
                ]
            else:
                split = Split(experiment.name, _arms(experiment, engines))
        self._adopt(Plan(split, tuple(shadows), tuple(states)), needed)

    def _obtain(
        self, variant: Variant, experiment: Experiment, standing: Standing, champion: Loaded[T], needed: set[str]
    ) -> Loaded[T] | _OnItsWay | str | None:
        """A variant's bundle; None for the one in service itself, a sentence for one that cannot be had.

        What was loaded of a bundle that may not answer any more, or is gone, is let go.
        """
        place = variant.bundle
        model, folder = place_of(place, self._layout.model_name, self._layout.root)
        is_erased = place.version and any(one.version == place.version for one in standing.erased)
        if is_erased or standing.forbids(place.digest, experiment.started_at):
            return f"{model} learned from a person who was forgotten since."
        if model in self._loaded and not folder.is_dir():
            return f"{model} is gone."
        needed.add(model)
        if model == champion.model:
            return None
        return self._loaded.get(model) or self._try(Promoted(model, folder), champion)

    def _try(self, promoted: Promoted, champion: Loaded[T]) -> Loaded[T] | _OnItsWay | str:
        """A bundle if it is loaded; otherwise it is to be, and where it cannot be, the sentence."""
        model, failed = promoted.model, self._failures.get(promoted.model)
        if failed is not None and time.monotonic() < failed.retry_at:
            return failed.sentence
        beside = [champion.value, *(one.value for one in self._loaded.values())]
        ended = self._wishes.ask(model, lambda: self._load(promoted, beside))
        if ended is None:
            return _OnItsWay.AWAITED if failed is None else failed.sentence
        try:
            value = ended.result()
        except Exception as error:
            wait_s = self._poll_s if failed is None else min(failed.wait_s * 2, MAX_WAIT_S)
            sentence = f"{model} cannot be loaded: {error}"
            self._failures[model] = _Failure(sentence, wait_s, time.monotonic() + wait_s)
            if failed is None or failed.sentence != sentence:
                logger.warning("An experiment is refused: %s", sentence, exc_info=error)
            return sentence
        self._failures.pop(model, None)
        loaded = self._loaded[model] = Loaded(model, value, datetime.now(UTC))
        logger.info("Loaded for an experiment: %s (in %.1f s)", model, ended.seconds)
        self._on_change()
        return loaded

    def _set(self, plan: Plan[T]) -> None:
        if plan.problem and plan.problem != self._plan.problem:
            logger.warning("%s", plan.problem)
        self._plan = plan

    def _adopt(self, plan: Plan[T], needed: set[str]) -> None:
        self._set(plan)
        self._wishes.end_check()
        gone = self._loaded.keys() - needed
        self._failures = {model: failure for model, failure in self._failures.items() if model in needed}
        if gone:
            # Requests that are under way keep what they were given.
            self._loaded = {model: one for model, one in self._loaded.items() if model in needed}
            logger.info("Not needed by an experiment any more: %s", ", ".join(sorted(gone)))
            self._on_change()


def _arms(experiment: Experiment, engines: dict[str, T | None]) -> tuple[Arm[T], ...]:
    below, arms = 0.0, []
    for one in experiment.variants:
        below += one.share
        arms.append(Arm(one.name, below, engines[one.name]))
    # Shares that are 1 together take everybody, whatever their sum is in floating point.
    return tuple(arms if below < 1.0 - 1e-9 else [*arms[:-1], Arm(arms[-1].variant, 1.0, arms[-1].engine)])
