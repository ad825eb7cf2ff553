"""A search for better settings: what was tried, and what to try next. It lives in SQLite, so that it can go on.

Every proposal follows from the seed, the trials finished before it and nothing else: a search that was killed and
went on proposes what an undisturbed one does.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from core.settings.search import Choices, SearchSettings
from core.settings.tree import Recipe
from core.storage import digest_of
from recommender.errors import RecommenderError
from recommender.tuning.space import (
    SEARCHABLE,
    Values,
    check_space,
    grid_of,
    holds,
    is_whole_number,
    n_steps,
    points_of,
    rounded,
    values_of,
    with_values,
)

if TYPE_CHECKING:
    import optuna

_VALUES, _NOTE, _SECONDS = "values", "note", "seconds"
_LOCKED_TIMEOUT_S = 60
# Epochs of a trial that the median pruner leaves alone, and finished trials before it stops one.
_WARM_UP_EPOCHS = 5
_MIN_TRIALS_TO_PRUNE = 3
# With fewer trials an importance is a guess.
_MIN_TRIALS_TO_RATE = 6

TrialState = Literal["running", "complete", "pruned", "failed"]


class NotPromising(RecommenderError):
    """A trial was stopped early; the search goes on."""


@dataclass(frozen=True)
class TrialRecord:
    """What came out of a trial.

    Attributes:
        number: From 0, which is the recipe as given.
        values: Setting to value.
        ndcg: On the validation window, the mean over seeds; None where it was not finished.
        seconds: Wall time; None where it runs.
        note: Why it stopped or failed.
    """

    number: int
    state: TrialState
    values: Values
    ndcg: float | None
    seconds: float | None
    note: str


@dataclass
class OpenTrial:
    """A trial that runs: its settings, and a way to say how it does."""

    number: int
    values: Values
    recipe: Recipe
    _trial: optuna.Trial
    _reported: set[int] = field(default_factory=set)

    def report(self, epoch: int, ndcg: float) -> None:
        """Say how the trial does after an epoch, from 1.

        Raises:
            NotPromising: the pruner gives it up.
        """
        # A killed trial that runs again says again what was said.
        if epoch not in self._reported:
            self._reported.add(epoch)
            self._trial.report(ndcg, epoch)
        if self._trial.should_prune():
            raise NotPromising(
                f"Stopped trial {self.number}",
                got=f"ndcg={ndcg:.4f} after epoch {epoch}",
                expected="to keep up with the trials before",
                do="Nothing needs to be done; search.pruner=none lets every trial run to its end",
            )


class Search:
    """One search of one recipe's settings.

    Args:
        study: Optuna's.
        recipe: As given.
        settings: Checked against the recipe.
    """

    def __init__(self, study: optuna.Study, recipe: Recipe, settings: SearchSettings) -> None:
        self._study, self._recipe, self._settings = study, recipe, settings
        self._grid = grid_of(recipe, settings) if settings.method == "grid" else []
        self._distributions = {path: self._distribution(path) for path in settings.space}

    @classmethod
    def open(cls, file: Path, data: str, recipe: Recipe, settings: SearchSettings) -> Search:
        """Go on with the search of these data and settings, or start it.

        A larger `n_trials` goes on with the same search; whatever would make two trials' figures incomparable, or
        propose otherwise, starts another one.

        Args:
            file: The SQLite file; several searches share it.
            data: Names all that decides a trial's figure beside its settings: the training set, the code, the files
                that settings name, the device.
        Raises:
            SettingsError: the space names an unknown setting, or a value that it may not have.
        """
        import optuna

        check_space(recipe, settings.space)
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        file.parent.mkdir(parents=True, exist_ok=True)
        lasting = settings.model_dump(mode="json", exclude={"n_trials", "timeout_s", "n_confirming_seeds"})
        ranks = recipe.model_dump(mode="json", include={*SEARCHABLE, "modality"})
        name = digest_of(data, ranks, recipe.evaluation.k, recipe.seed, lasting)
        study = optuna.create_study(
            storage=_storage(file), study_name=name, direction="maximize", load_if_exists=True, pruner=_pruner(settings)
        )
        return cls(study, recipe, settings)

    @staticmethod
    def last_trials(file: Path) -> dict[str, float | None]:
        """When each search of a file began or ended a trial for the last time, in Unix time; None before its first."""
        import optuna

        storage = _storage(file)
        found: dict[str, float | None] = {}
        for name in optuna.get_all_study_names(storage):
            trials = optuna.load_study(study_name=name, storage=storage).get_trials(deepcopy=False)
            times = [time for trial in trials for time in (trial.datetime_start, trial.datetime_complete) if time]
            found[name] = max(times).timestamp() if times else None
        return found

    @staticmethod
    def remove(file: Path, names: Iterable[str]) -> None:
        """Remove searches, with all their trials, from the file that several share; those that are there."""
        import optuna

        storage = _storage(file)
        for name in names:
            with suppress(KeyError):
                optuna.delete_study(study_name=name, storage=storage)

    @property
    def name(self) -> str:
        """The name that sets this search apart in its file."""
        return str(self._study.study_name)

    @property
    def n_trials(self) -> int:
        """How many there will be: the budget, or fewer where a grid has no more points."""
        if self._settings.method != "grid":
            return self._settings.n_trials
        given = values_of(self._recipe, self._settings.space)
        return min(self._settings.n_trials, 1 + sum(point != given for point in self._grid))

    def next_trial(self) -> OpenTrial | None:
        """The trial that a killed run left, or a new one; None where the budget is spent."""
        from optuna.trial import Trial, TrialState

        trials = self._study.get_trials(deepcopy=False)
        left = [trial for trial in trials if trial.state == TrialState.RUNNING]
        number = left[0].number if left else sum(trial.state.is_finished() for trial in trials)
        if number >= self.n_trials:
            return None
        self._study.sampler = self._sampler(number)
        if left:
            trial = Trial(self._study, left[0]._trial_id)
        else:
            fixed = self._fixed(number)
            if fixed is not None:
                self._study.enqueue_trial(fixed, skip_if_exists=True)
            trial = self._study.ask()
        values = self._values(trial, number)
        trial.set_user_attr(_VALUES, values)
        reported = set(left[0].intermediate_values) if left else set()
        return OpenTrial(number, values, with_values(self._recipe, values), trial, reported)

    def complete(self, trial: OpenTrial, ndcg: float, seconds: float) -> None:
        """Keep a finished trial's validation NDCG, and its wall time."""
        trial._trial.set_user_attr(_SECONDS, seconds)
        self._study.tell(trial._trial, ndcg)

    def stop(self, trial: OpenTrial, why: str, seconds: float) -> None:
        """Keep that a trial was given up early."""
        from optuna.trial import TrialState

        trial._trial.set_user_attr(_NOTE, why)
        trial._trial.set_user_attr(_SECONDS, seconds)
        self._study.tell(trial._trial, state=TrialState.PRUNED)

    def fail(self, trial: OpenTrial, why: str, seconds: float) -> None:
        """Keep that a trial could not be fitted; it is not tried again."""
        from optuna.trial import TrialState

        trial._trial.set_user_attr(_NOTE, why)
        trial._trial.set_user_attr(_SECONDS, seconds)
        self._study.tell(trial._trial, state=TrialState.FAIL)

    def records(self) -> list[TrialRecord]:
        """All trials that began, best first; those without a figure follow in their order."""
        trials = self._study.get_trials(deepcopy=False)
        records = [_record(trial) for trial in trials if _VALUES in trial.user_attrs]
        return sorted(records, key=lambda one: (one.ndcg is None, -(one.ndcg or 0.0), one.number))

    def best(self) -> TrialRecord | None:
        """The best finished trial; the earliest where several do equally well."""
        records = self.records()
        return records[0] if records and records[0].ndcg is not None else None

    def importances(self) -> dict[str, float]:
        """How much of the differences between trials each setting explains, largest first; they sum to 1.

        Empty where there are too few finished trials to say.

        Source: Hutter, Hoos & Leyton-Brown 2014, functional ANOVA over a random forest.
        """
        from optuna.importance import FanovaImportanceEvaluator, get_param_importances
        from optuna.trial import TrialState

        trials = self._study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        rated = [trial.value for trial in trials if trial.params.keys() == self._distributions.keys()]
        if len(rated) < _MIN_TRIALS_TO_RATE or len(set(rated)) < 2:
            return {}
        evaluator = FanovaImportanceEvaluator(seed=self._recipe.seed)
        rating = get_param_importances(self._study, evaluator=evaluator, params=list(self._distributions))
        return {path: float(share) for path, share in rating.items()}

    def _fixed(self, number: int) -> Values | None:
        """What the next trial has to be: the recipe as given, then the grid's points that were not tried."""
        given = values_of(self._recipe, self._settings.space)
        if number == 0:
            return given if self._holds(given) else None
        if self._settings.method != "grid":
            return None
        tried = [given, *(record.values for record in self.records())]
        return next(point for point in self._grid if point not in tried)

    def _values(self, trial: optuna.Trial, number: int) -> Values:
        """Draw the settings of a trial; one that was drawn before a kill stays as it was."""
        given = values_of(self._recipe, self._settings.space)
        # The recipe as given may lie outside the space: then the sampler learns its figure alone.
        if number == 0 and not self._holds(given):
            return given
        drawn = {path: _suggest(trial, path, one) for path, one in self._distributions.items()}
        if number == 0:
            return given
        return {path: rounded(value, self._settings.space[path]) for path, value in drawn.items()}

    def _holds(self, values: Values) -> bool:
        n_points = self._settings.n_points if self._settings.method == "grid" else None
        return all(
            holds(self._recipe, path, dimension, values[path], n_points)
            for path, dimension in self._settings.space.items()
        )

    def _distribution(self, path: str) -> Any:
        from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

        dimension = self._settings.space[path]
        if self._settings.method == "grid" or isinstance(dimension, Choices):
            return CategoricalDistribution(points_of(self._recipe, path, dimension, self._settings.n_points))
        step, high = dimension.step, dimension.high
        if step is not None:
            high = dimension.low + n_steps(dimension) * step
        if is_whole_number(self._recipe, path):
            return IntDistribution(int(dimension.low), int(high), log=dimension.log, step=int(step or 1))
        return FloatDistribution(dimension.low, high, log=dimension.log, step=step)

    def _sampler(self, number: int) -> Any:
        from optuna.samplers import RandomSampler, TPESampler

        seed = int(digest_of(self._recipe.seed, number)[:8], 16)
        if self._settings.method == "bayes":
            return TPESampler(seed=seed, n_startup_trials=self._settings.n_startup, multivariate=True)
        return RandomSampler(seed=seed)


def _storage(file: Path) -> Any:
    import optuna

    engine = {"connect_args": {"timeout": _LOCKED_TIMEOUT_S}}
    return optuna.storages.RDBStorage(f"sqlite:///{file}", engine_kwargs=engine)


def _pruner(settings: SearchSettings) -> Any:
    from optuna.pruners import HyperbandPruner, MedianPruner, NopPruner

    if settings.pruner == "median":
        return MedianPruner(n_startup_trials=_MIN_TRIALS_TO_PRUNE, n_warmup_steps=_WARM_UP_EPOCHS)
    return HyperbandPruner(min_resource=_WARM_UP_EPOCHS) if settings.pruner == "hyperband" else NopPruner()


def _suggest(trial: optuna.Trial, path: str, distribution: Any) -> Any:
    from optuna.distributions import CategoricalDistribution, IntDistribution

    one = distribution
    if isinstance(one, CategoricalDistribution):
        return trial.suggest_categorical(path, one.choices)
    suggest = trial.suggest_int if isinstance(one, IntDistribution) else trial.suggest_float
    return suggest(path, one.low, one.high, step=one.step, log=one.log)


def _record(trial: optuna.trial.FrozenTrial) -> TrialRecord:
    states: dict[str, TrialState] = {"COMPLETE": "complete", "PRUNED": "pruned", "FAIL": "failed"}
    state = states.get(trial.state.name, "running")
    return TrialRecord(
        number=trial.number,
        state=state,
        values=trial.user_attrs[_VALUES],
        ndcg=trial.value if state == "complete" else None,
        seconds=trial.user_attrs.get(_SECONDS),
        note=trial.user_attrs.get(_NOTE, ""),
    )
