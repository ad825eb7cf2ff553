"""Lists that one bundle makes together, for whatever experiments and variants asked it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from core.errors import as_exception
from core.stages import StageClock, timed_stages
from serving.api.recommend import Recommendations, RecommendRequest
from serving.engine import Engine
from serving.experiments.failures import FailureLog
from serving.experiments.plan import Choice
from serving.together import each_or_error


@dataclass(frozen=True)
class MadeTogether:
    """What one bundle made of some requests.

    Attributes:
        choices: What answers each, by the place of its request; all with the same bundle.
        answers: Likewise: the list, or why there is none.
        seconds: That they took, all of them together.
        clock: The stages of that.
    """

    choices: Mapping[int, Choice[Engine]]
    answers: Mapping[int, Recommendations | Exception]
    seconds: float
    clock: StageClock


def make_together(
    choices: Mapping[int, Choice[Engine]], requests: Sequence[RecommendRequest], failures: FailureLog
) -> MadeTogether:
    """Have one bundle answer requests of one user each.

    Args:
        choices: What answers, by the places of the requests that are meant; all with the same bundle.
        requests: These and others.
        failures: Told of what fails for all at once.
    """
    asked = [requests[place] for place in choices]
    (engine,) = {id(choice.engine): choice.engine for choice in choices.values()}.values()
    with timed_stages() as clock:
        started = time.perf_counter()
        answers = _answers_of(engine, asked, failures)
        seconds = time.perf_counter() - started
    return MadeTogether(choices, dict(zip(choices, answers, strict=True)), seconds, clock)


def note_stages(made: MadeTogether, requests: Sequence[RecommendRequest]) -> None:
    """Note in the requests' traces, where there are any, what answered them and the stages of that.

    Many users may come with one request: what was passed for all of them at once is noted once.
    """
    stages = made.clock.passed
    for place, choice in made.choices.items():
        trace = requests[place].trace
        if trace is not None:
            trace.note(experiment=choice.experiment, variant=choice.variant, model=choice.engine.model)
            if stages and stages[-1] not in trace.stages:
                trace.passed(stages, len(made.choices))


def _answers_of(
    engine: Engine, requests: Sequence[RecommendRequest], failures: FailureLog
) -> Sequence[Recommendations | Exception]:
    """What a bundle answers to each. Where it fails as a whole, each is asked by itself: one may be at fault, or
    their number, and only what fails alone has failed.
    """
    try:
        return engine.recommend_all(requests)
    except BaseException as error:
        if len(requests) == 1:
            return [as_exception(error)]
        failures.tell(f"{engine.model} fails on lists that are made together; each is made by itself", error)
    return each_or_error(engine.recommend, requests)
