"""Which bundle answers whom: drawn by a hash, so that the same user always sees the same variant, in every worker."""

from __future__ import annotations

import random
from dataclasses import dataclass
from hashlib import blake2b
from typing import Generic, Literal, TypeVar

from core.experiments import CHAMPION
from core.logs.predictions import Unit

T = TypeVar("T")

# starting: its bundles are being loaded. refused: one of them cannot be. overruled: by a pin or a rollback.
State = Literal["starting", "running", "refused", "overruled", "stopped"]


@dataclass(frozen=True)
class Arm(Generic[T]):
    """A variant of a split.

    Attributes:
        below: Users whose point lies below this, and not below that of the arm before, are answered by it.
        engine: What answers; None for the bundle in service itself.
    """

    variant: str
    below: float
    engine: T | None


@dataclass(frozen=True)
class Split(Generic[T]):
    """A split or canary that is followed; whoever no arm takes is answered by the bundle in service."""

    experiment: str
    arms: tuple[Arm[T], ...]


@dataclass(frozen=True)
class Shadow(Generic[T]):
    """A bundle that answers beside the one in service.

    Attributes:
        share: Of the answers.
    """

    experiment: str
    variant: str
    share: float
    engine: T | None


@dataclass(frozen=True)
class Followed:
    """What became of an experiment.

    Attributes:
        problem: Why it is refused or overruled, one sentence; empty otherwise.
    """

    name: str
    state: State
    problem: str = ""


@dataclass(frozen=True)
class Plan(Generic[T]):
    """What is followed at this moment. It never changes: a new one takes its place.

    Attributes:
        states: Of every running experiment.
        problem: Why the record cannot be followed; empty where it can.
    """

    split: Split[T] | None = None
    shadows: tuple[Shadow[T], ...] = ()
    states: tuple[Followed, ...] = ()
    problem: str = ""


@dataclass(frozen=True)
class Choice(Generic[T]):
    """What answers a request, and why.

    Attributes:
        experiment: Empty where none decided.
        unit: What decided it.
        instead_of: What was to answer, experiment/variant, and failed; empty where nothing did.
    """

    engine: T
    experiment: str
    variant: str
    unit: Unit
    instead_of: str = ""


def choose(plan: Plan[T], champion: T, user_id: str | None, visitor_id: str | None) -> Choice[T]:
    """What answers a user, or a visitor; of somebody without an id each request is drawn anew."""
    who = user_id if user_id is not None else visitor_id
    unit: Unit = "request" if who is None else "visitor" if user_id is None else "user"
    split = plan.split
    if split is None:
        return Choice(champion, "", CHAMPION, unit)
    point = random.random() if who is None else point_of(split.experiment, who)
    for arm in split.arms:
        if point < arm.below:
            return Choice(champion if arm.engine is None else arm.engine, split.experiment, arm.variant, unit)
    return Choice(champion, split.experiment, CHAMPION, unit)


def point_of(experiment: str, who: str) -> float:
    """Where somebody lies in an experiment, from 0 up to 1: uniform over users, and independent between experiments."""
    digest = blake2b(f"{experiment}\x00{who}".encode(), digest_size=7).digest()
    return int.from_bytes(digest, "big") / 2.0**56
