"""Asking a bundle that is loaded by its name, whoever the list is for: to look at it, not to show it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar

from core.experiments import CHAMPION
from core.logs.predictions import Unit
from serving.api.recommend import RecommendRequest
from serving.errors import NotAllowed, UnknownVariant
from serving.experiments.plan import Choice, Plan
from serving.guard.caller import Caller

T = TypeVar("T")


def check_may_name(request: RecommendRequest, caller: Caller) -> None:
    """See that whoever names a variant may.

    Raises:
        NotAllowed: it takes the scope `admin`: customers see what the experiment shows them.
    """
    if request.variant is not None and not caller.may("admin"):
        raise NotAllowed(
            "Cannot recommend by a variant of choice",
            got=f"variant={request.variant!r}",
            expected="an API key of scope admin",
            do="Leave variant out, or use such a key",
        )


def loaded_variants(plan: Plan[T], champion: T) -> Iterator[tuple[str, str, str, T]]:
    """What may be named: its name, the experiment and the variant, and what answers.

    Args:
        plan: That is followed.
        champion: Of the bundle in service, which is named as itself.
    """
    yield CHAMPION, "", CHAMPION, champion
    split = plan.split
    arms = () if split is None else tuple((split.experiment, arm.variant, arm.engine) for arm in split.arms)
    shadows = tuple((shadow.experiment, shadow.variant, shadow.engine) for shadow in plan.shadows)
    for experiment, variant, engine in (*arms, *shadows):
        yield f"{experiment}/{variant}", experiment, variant, champion if engine is None else engine


def choose_named(plan: Plan[T], champion: T, name: str, unit: Unit) -> Choice[T]:
    """What a name stands for.

    Raises:
        UnknownVariant: nothing that is loaded is called so.
    """
    known = {
        called: Choice(engine, experiment, variant, unit)
        for called, experiment, variant, engine in loaded_variants(plan, champion)
    }
    if name not in known:
        raise UnknownVariant(
            "Cannot recommend by a variant of choice",
            got=f"variant={name[:80]!r}",
            expected=f"one that is loaded: {', '.join(known)}",
            do="Look at /v1/experiments; have another bundle loaded unseen: sommelier experiments start NAME "
            "--kind shadow --variant new=BUNDLE:1",
        )
    return known[name]
