"""Experiments as the service sees them: what chooses the bundle of a request and records the answer."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from random import random
from typing import Any, Protocol, TypeVar

from core.errors import as_exception
from core.experiments import CHAMPION, Experiment
from core.layout import Layout
from core.logs.events import EventLog
from core.logs.predictions import Prediction, PredictionLog
from core.promotions import Standing, read_standing
from core.settings.platform import ServingSettings
from core.stages import Stage, stage, timed_stages
from core.timing.clock import CLOCK
from core.tombstones import IsForgotten
from monitoring.online.figures import ExperimentFigures, compute_figures, shares_of
from monitoring.online.kept import ExperimentKeeper
from serving.api.experiments import ExperimentInfo, ExperimentsInfo, LoadedVariant, VariantInfo
from serving.api.lists import Found, Latest, Popular, Similar
from serving.api.recommend import Recommendations, RecommendationsList, RecommendRequest
from serving.engine import Engine
from serving.errors import is_failure
from serving.experiments.failures import FailureLog
from serving.experiments.figures import FiguresCache
from serving.experiments.follower import Follower
from serving.experiments.named import choose_named, loaded_variants
from serving.experiments.plan import Choice, Followed, Shadow, choose
from serving.experiments.records import canonical, failure_of, prediction_of, ranked_items, rules_of
from serving.experiments.shadow import ShadowQueue, overlap, rank_correlation
from serving.experiments.shared_figures import SharedFigures
from serving.experiments.together import MadeTogether, make_together, note_stages
from serving.processes.loading import Loader
from serving.together import each_or_error
from serving.watcher import Loaded, Promoted

_SHOWN_STOPPED = 20

Listed = TypeVar("Listed")


class Counts(Protocol):
    """Where experiments are counted."""

    def variant_answered(self, experiment: str, variant: str, seconds: float) -> None:
        """Count an answer of an experiment, and its time."""
        ...

    def variant_failed(self, experiment: str, variant: str) -> None:
        """Count a list of an experiment that could not be made."""
        ...

    def stages_passed(self, experiment: str, variant: str, seconds: Mapping[Stage, float]) -> None:
        """Count what each stage of an answer took."""
        ...

    def predictions(self, outcome: str, number: int) -> None:
        """Count records of the prediction log."""
        ...

    def shadow(self, outcome: str) -> None:
        """Count a shadow's answer."""
        ...

    def refused_experiments(self, number: int) -> None:
        """Note how many experiments run and are not followed."""
        ...


class ExperimentDesk:
    """Chooses, records, compares, and says what there is.

    Args:
        layout: Of the shop.
        settings: Of the service.
        load: Loads a bundle for an experiment, given the engines that there are.
        events: The service's event log.
        is_forgotten: Whether nothing of a user may be kept.
        counts: The metrics.
        on_change: Called when bundles were loaded or let go.
        loader: Has bundles loaded, also for others.
    """

    def __init__(
        self,
        layout: Layout,
        settings: ServingSettings,
        load: Callable[[Promoted, list[Engine]], Engine],
        events: EventLog,
        is_forgotten: IsForgotten,
        counts: Counts,
        on_change: Callable[[], None] = lambda: None,
        loader: Loader[Engine] | None = None,
    ) -> None:
        self._layout, self._settings, self._events, self._counts = layout, settings.experiments, events, counts
        self._follower: Follower[Engine] = Follower(layout, load, settings.poll_s, on_change, loader)
        predictions = settings.predictions
        self._log: PredictionLog | None = None
        self._keeps_features = predictions.enabled and predictions.features
        if predictions.enabled:
            self._log = PredictionLog(
                layout.predictions,
                max_bytes=predictions.max_bytes,
                days=predictions.days,
                max_waiting=predictions.max_waiting,
                flush_s=predictions.flush_s,
                is_forgotten=is_forgotten,
                count=counts.predictions,
                keeper=ExperimentKeeper(
                    layout.predictions,
                    layout.model_name,
                    max_bytes=predictions.experiments_max_bytes,
                    days=predictions.days,
                    window_s=self._settings.click_window_s,
                ),
            )
        self._failures = FailureLog()
        self._shadows = ShadowQueue(self._settings.shadow_waiting, counts.shadow, self._failures)
        standing = partial(read_standing, layout.model_name)
        shared = SharedFigures(layout.predictions, self._settings, standing, self._compute)
        self._figures = FiguresCache(shared.compute, self._settings.figures_s, standing)

    def start(self) -> None:
        """Begin to record."""
        if self._log is not None:
            self._log.start()

    def close(self) -> None:
        """Write what is still to be recorded, and end the threads."""
        self._shadows.close()
        if self._log is not None:
            self._log.close()

    def flush(self, timeout_s: float) -> bool:
        """Wait until shadows have answered and what was recorded is on the disk; False if that takes longer."""
        return self._shadows.wait(timeout_s) and (self._log is None or self._log.flush(timeout_s))

    @property
    def engines(self) -> list[Engine]:
        """Of the bundles that are loaded beside the one in service."""
        return [loaded.value for loaded in self._follower.loaded]

    def at_hand(self, model: str) -> Engine | None:
        """What is loaded of a bundle beside the one in service; None where nothing is."""
        return self._follower.at_hand(model)

    def follow(self, champion: Loaded[Engine] | None) -> None:
        """Follow the record of experiments; called at each check of the model store."""
        self._follower.follow(champion)
        self._counts.refused_experiments(sum(bool(one.problem) for one in self._follower.plan.states))

    def recommend(
        self, request: RecommendRequest, champion: Engine, endpoint: str
    ) -> Recommendations | RecommendationsList:
        """A list by whatever answers this user, or one for each of many; recorded.

        Args:
            request: What is asked.
            champion: Of the bundle in service.
            endpoint: Where it is asked.
        Raises:
            What the engine raises.
        """
        answered: Recommendations | RecommendationsList | Exception
        (answered,) = self.recommend_together([request], champion, endpoint)
        if isinstance(answered, Exception):
            raise answered
        return answered

    def recommend_together(
        self, requests: Sequence[RecommendRequest], champion: Engine, endpoint: str
    ) -> list[Recommendations | RecommendationsList | Exception]:
        """`recommend` of each of some requests that wait together, its answer or what it raises."""
        answer_all = partial(self._recommend_all, champion=champion, endpoint=endpoint)
        return champion.recommend_together(requests, answer_all, partial(answer_all, as_one=True))

    def recording(self, answer: Callable[[Any], Listed], endpoint: str) -> Callable[[Any], Listed]:
        """The same, whose lists are recorded; no experiment decides on them.

        Args:
            answer: Makes the list that is asked for; one without items, as of similar users, is not recorded.
            endpoint: Where it is asked.
        """
        return lambda request: self._listed(request, endpoint, answer)

    def _listed(self, request: Any, endpoint: str, answer: Callable[[Any], Listed]) -> Listed:
        started = time.perf_counter()
        given = answer(request)
        if self._log is not None and isinstance(given, Popular | Latest | Similar | Found) and given.items:
            seconds = time.perf_counter() - started
            self._log.add(
                Prediction(
                    recommendation_id=given.recommendation_id,
                    at=CLOCK.now().isoformat(),
                    endpoint=endpoint,
                    model=given.model,
                    items=[item.item_id for item in given.items],
                    scores=[item.score for item in given.items],
                    rules=rules_of(given.applied, len(given.items)),
                    user_id=canonical(getattr(request, "user_id", None)),
                    variant=CHAMPION,
                    unit="request" if getattr(request, "user_id", None) is None else "user",
                    role="preview" if request.is_preview else "shown",
                    k=getattr(request, "k", len(given.items)),
                    degraded=given.degraded,
                    took_ms=seconds * 1000.0,
                    request_id=request.request_id,
                )
            )
        return given

    def choose(self, request: RecommendRequest, champion: Engine) -> Choice[Engine]:
        """What answers a request for one list.

        Raises:
            UnknownVariant: the request names one that is not loaded.
        """
        # As the event log has them, and however a client writes them.
        user_id, visitor_id = canonical(request.user_id), canonical(request.visitor_id)
        choice = choose(self._follower.plan, champion, user_id, visitor_id)
        if request.variant is None:
            return choice
        return choose_named(self._follower.plan, champion, request.variant, choice.unit)

    def answered(
        self,
        choice: Choice[Engine],
        request: RecommendRequest,
        answer: Recommendations,
        endpoint: str,
        seconds: float,
        champion: Engine,
        together: int = 1,
    ) -> None:
        """Record a list that is given, and have shadows answer beside it.

        Args:
            choice: What answered.
            request: What was asked.
            answer: The list.
            endpoint: Where it was asked.
            seconds: That it took, with all that were made together.
            champion: Of the bundle in service.
            together: How many were.
        """
        if choice.experiment and not request.is_preview:
            self._counts.variant_answered(choice.experiment, choice.variant, seconds)
        plan = self._follower.plan
        if self._log is None and not plan.shadows:
            return
        given = prediction_of(choice, request, answer, endpoint, seconds, self._keeps_features, together)
        if self._log is not None:
            self._log.add(given)
        for shadow in () if request.is_preview else plan.shadows:
            if shadow.share >= 1.0 or random() < shadow.share:
                engine = champion if shadow.engine is None else shadow.engine
                named = f"variant {shadow.variant} of experiment {shadow.experiment}, {engine.model}"
                self._shadows.submit(partial(self._compare, shadow, engine, request, given), named, given.request_id)

    def failed(
        self,
        choice: Choice[Engine],
        request: RecommendRequest,
        error: Exception,
        endpoint: str,
        seconds: float,
        is_shadow: bool = False,
    ) -> None:
        """Record a list of an experiment that could not be made, through no fault of whoever asked.

        Args:
            choice: What was to answer.
            request: What was asked.
            error: Why there is no answer.
            endpoint: Where it was asked.
            seconds: Until it failed, with all that were to be made together.
            is_shadow: Whether nobody was to see it.
        """
        if not choice.experiment or request.is_preview or not is_failure(error):
            return
        self._counts.variant_failed(choice.experiment, choice.variant)
        if self._log is not None:
            self._log.add(failure_of(choice, request, error, endpoint, seconds, is_shadow))

    def info(self, champion: Engine | None = None) -> ExperimentsInfo:
        """What GET /v1/experiments answers: what is known now, without computing anything while somebody waits.

        Args:
            champion: Of the bundle in service; None where none is.
        """
        record, plan = self._follower.record, self._follower.plan
        stopped = [one for one in record.experiments if not one.runs][-_SHOWN_STOPPED:]
        shown = [*record.running, *reversed(stopped)]
        self._figures.refresh([*record.running, *stopped[-1:]])
        states = {one.name: one for one in plan.states}
        pin = record.pin
        if pin is not None:
            pin = record.pin_in_force(read_standing(self._layout.model_name))
        return ExperimentsInfo(
            problem=" ".join(filter(None, (plan.problem, self._figures.problem))) or None,
            pinned=None if pin is None else pin.version,
            experiments=[self._describe(one, states) for one in shown],
            loaded=[]
            if champion is None
            else [LoadedVariant(name=name, model=on.model) for name, _, _, on in loaded_variants(plan, champion)],
        )

    def problems(self) -> list[str]:
        """Why experiments are not followed, a sentence each, with their names."""
        plan = self._follower.plan
        found = [f"{one.name}: {one.problem}" for one in plan.states if one.problem]
        return [plan.problem, *found] if plan.problem else found

    def _describe(self, experiment: Experiment, states: dict[str, Followed]) -> ExperimentInfo:
        state = states.get(experiment.name) if experiment.runs else None
        bundles = {one.name: one.bundle for one in experiment.variants}
        return ExperimentInfo(
            name=experiment.name,
            kind=experiment.kind,
            state="stopped" if not experiment.runs else state.state if state else "starting",
            problem=state.problem or None if state else None,
            started_at=experiment.started_at,
            stopped_at=experiment.stopped_at,
            reason=experiment.reason,
            variants=[
                VariantInfo(
                    name=name,
                    share=share,
                    version=bundles[name].version or None if name in bundles else None,
                    digest=bundles[name].digest if name in bundles else None,
                )
                for name, share in shares_of(experiment).items()
            ],
            figures=self._figures.of(experiment),
        )

    def _recommend_all(
        self, requests: Sequence[RecommendRequest], champion: Engine, endpoint: str, as_one: bool = False
    ) -> list[Recommendations | Exception]:
        """Requests of one user each; those that one bundle answers are answered together. Where a variant fails, the
        bundle in service answers in its place.

        Args:
            as_one: Whether whoever asked gets either all of the lists or none.
        """
        choices: dict[int, Choice[Engine]] = {}
        found: dict[int, Recommendations | Exception] = {}
        of_engine: dict[int, dict[int, Choice[Engine]]] = {}
        for place, choice in enumerate(each_or_error(lambda one: self.choose(one, champion), requests)):
            if isinstance(choice, Exception):
                found[place] = choice
            else:
                choices[place] = choice
                of_engine.setdefault(id(choice.engine), {})[place] = choice
        made = [make_together(theirs, requests, self._failures) for theirs in of_engine.values()]
        for one in made:
            found |= one.answers
        # Whoever names a variant asks to see that one.
        instead = {
            place: Choice(champion, "", CHAMPION, choice.unit, f"{choice.experiment}/{choice.variant}")
            for place, choice in choices.items()
            if choice.engine is not champion and requests[place].variant is None and _has_failed(found[place])
        }
        if instead:
            made.append(make_together(instead, requests, self._failures))
            for place, answer in made[-1].answers.items():
                self._tell_failure(choices[place], found[place], champion, answer)
                if not isinstance(answer, Exception):
                    found[place] = answer
        is_given = not (as_one and any(isinstance(answer, Exception) for answer in found.values()))
        for one in made:
            self._record(one, requests, champion, endpoint, is_given)
        return [found[place] for place in range(len(requests))]

    def _tell_failure(self, choice: Choice[Engine], error: Any, champion: Engine, instead: Any) -> None:
        """Log why a variant made no list, and why the bundle in service made none in its place."""
        named = f"variant {choice.variant} of experiment {choice.experiment}, {choice.engine.model},"
        self._failures.tell(f"A list that {named} fails to make is made by the bundle in service", error)
        if _has_failed(instead):
            self._failures.tell(f"In the place of {named} the bundle in service, {champion.model}, fails too", instead)

    def _record(
        self, made: MadeTogether, requests: Sequence[RecommendRequest], champion: Engine, endpoint: str, is_given: bool
    ) -> None:
        """Record and count what one bundle made.

        Args:
            is_given: Whether whoever asked gets the lists; what could not be made counts in any case.
        """
        together = len(made.choices)
        with timed_stages(made.clock), stage("log"):
            for place, answer in made.answers.items():
                choice, asked = made.choices[place], requests[place]
                if isinstance(answer, Exception):
                    self.failed(choice, asked, answer, endpoint, made.seconds)
                elif is_given:
                    self.answered(choice, asked, answer, endpoint, made.seconds, champion, together)
        note_stages(made, requests)
        shares = {name: seconds / together for name, seconds in made.clock.seconds().items()}
        for place, answer in made.answers.items():
            if is_given and not isinstance(answer, Exception) and not requests[place].is_preview:
                self._counts.stages_passed(made.choices[place].experiment, made.choices[place].variant, shares)

    def _compare(self, shadow: Shadow[Engine], engine: Engine, request: RecommendRequest, given: Prediction) -> None:
        beside = Choice(engine, shadow.experiment, shadow.variant, given.unit)
        started = time.perf_counter()
        try:
            # Its own list, not one of chance: off-policy estimates ask whether what was shown agrees with it.
            answer = engine.recommend(request.model_copy(update={"exploration": None}))
        except BaseException as error:
            seconds, failure = time.perf_counter() - started, as_exception(error)
            self.failed(beside, request, failure, given.endpoint, seconds, is_shadow=True)
            raise
        seconds = time.perf_counter() - started
        if self._log is not None:
            record = prediction_of(beside, request, answer, given.endpoint, seconds)
            shown, items = ranked_items(given), ranked_items(record)
            compared = replace(
                record,
                recommendation_id=given.recommendation_id,
                role="shadow",
                overlap=overlap(shown, items),
                rank_correlation=rank_correlation(shown, items),
            )
            self._log.add(compared)

    def _compute(self, experiment: Experiment, standing: Standing) -> ExperimentFigures:
        return compute_figures(experiment, standing, self._layout.predictions, self._events, self._settings)


def _has_failed(answer: object) -> bool:
    return isinstance(answer, Exception) and is_failure(answer)
