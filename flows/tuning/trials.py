"""The trials of a search as tasks: each fits what ranks by the pipeline's own steps, and is evaluated on validation."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from httpx import TransportError
from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.exceptions import PrefectHTTPStatusError

from core.settings.models import BlendSettings
from core.settings.search import Choices, SearchSettings, Value
from core.settings.tree import Recipe
from core.storage import digest_of, is_disk_full
from flows.errors import DataChanged, DiskFull
from flows.in_use import keeping_used
from flows.pruning import prune
from flows.steps.fits import Ranking, fit_ranking, modality_digest, model_digest
from flows.steps.run import Run
from flows.steps.step import Output, StepContext, action
from flows.tuning.board import TrialBoard, trial_name
from recommender.tuning.search import NotPromising
from recommender.tuning.space import with_values

if TYPE_CHECKING:
    from features.training import TrainingSummary
    from recommender.retrieval.sequence.training import Epoch
    from recommender.tuning.search import OpenTrial, Search, TrialRecord
    from recommender.tuning.trial_evaluation import Gain

# Trials often share a component; so many of each stay while a search runs.
KEPT_WHILE_SEARCHING = 12
ENCODER = "encoder.model"


def open_search(run: Run, training: Output[TrainingSummary], settings: SearchSettings) -> Search:
    """Go on with the search of this recipe, or start it: another one where anything that a figure hangs on differs.

    Beside the training set and the settings these are the files of the language models and the further vectors, and
    the device.

    Raises:
        SettingsError: the space names an unknown setting, or a value that it may not have; or there is no such device.
    """
    from recommender.tuning.search import Search

    encoders = [with_values(run.recipe, {ENCODER: name}).encoder for name in _encoders(run.recipe, settings)]
    files = (*map(model_digest, encoders), modality_digest(run.recipe.modality))
    data = digest_of(training.key, files, run.device)
    return Search.open(run.layout.searches, data, run.recipe, settings)


@task(name="trial", task_run_name="{name}", cache_policy=NO_CACHE)
def fit_and_evaluate(
    name: str,
    run: Run,
    training: Output[TrainingSummary],
    recipe: Recipe,
    files: Mapping[int, Path],
    on_epoch: Callable[[Epoch], None] | None = None,
) -> float | str:
    """Fit what ranks once per seed, and keep what each fit reaches on every query that judges.

    Components that an earlier trial or run made of the same settings are not fitted again.

    Args:
        name: Of the task run.
        files: Seed to the file for its figures.
        on_epoch: Called with the first seed's epochs.
    Returns:
        The mean NDCG over queries and seeds; or, where `on_epoch` gave the trial up, why.
    """
    figures: list[float] = []
    for seed, file in files.items():
        seeded = recipe.model_copy(update={"seed": seed})
        try:
            ranking = fit_ranking(run.with_recipe(seeded), training, None if figures else on_epoch)
        except NotPromising as stopped:
            return str(stopped)
        # All trials are asked about the same queries, whichever seed they were fitted under.
        ndcg = evaluate_trial(run, training=training.folder, ranking=ranking, blend=seeded.blend, file=file)
        figures.append(ndcg)
    return sum(figures) / len(figures)


@action("evaluate-trial", reads=("evaluation.k", "seed"), computes=True)
def evaluate_trial(step: StepContext, training: Path, ranking: Ranking, blend: BlendSettings, file: Path) -> float:
    """Evaluate what ranks within the validation window, and keep what it reaches on every query; the mean NDCG.

    Args:
        blend: What the trial's blend was fitted with.
    """
    from recommender.tuning.trial_evaluation import evaluate_on_validation, write_ndcg

    parts = (ranking.vectors.folder, ranking.sequence.folder, ranking.blend.folder)
    ndcg = evaluate_on_validation(step.fit(training), *parts, blend)
    write_ndcg(file, ndcg)
    return float(ndcg.mean())


def run_trials(run: Run, training: Output[TrainingSummary], search: Search, settings: SearchSettings) -> None:
    """Run trials until the budget of trials or of time is spent; whatever a killed run left is taken up first."""
    logger, board = get_run_logger(), TrialBoard(search, run.recipe.evaluation.k)
    deadline = time.monotonic() + (settings.timeout_s or float("inf"))
    board.show()
    with keeping_used(run.layout, KEPT_WHILE_SEARCHING):
        while (trial := search.next_trial()) is not None:
            board.show()
            with keeping_used(run.layout):
                _run_trial(run, training, search, trial, settings.n_seeds)
            board.show()
            prune(run.layout, KEPT_WHILE_SEARCHING)
            if time.monotonic() > deadline:
                logger.info("search: its %g s are over; run it again to go on", settings.timeout_s)
                return


def confirm(
    run: Run, training: Output[TrainingSummary], search: Search, best: TrialRecord, settings: SearchSettings
) -> Gain | None:
    """Compare the best settings with those as given: under seeds that the search did not see, where it may take some.

    Returns:
        None where the recipe as given is the best.
    """
    from recommender.tuning.trial_evaluation import measure_gain, read_ndcg

    if best.number == 0:
        return None
    recipe = run.recipe
    seeds = _seeds(recipe, settings.n_seeds)
    if settings.n_confirming_seeds:
        first = recipe.seed + settings.n_seeds
        seeds = list(range(first, first + settings.n_confirming_seeds))
    if settings.n_confirming_seeds:
        get_run_logger().info("fitting trial-000 and %s again under fresh seeds %s", trial_name(best.number), seeds)
    figures = []
    for number, chosen in ((0, recipe), (best.number, with_values(recipe, best.values))):
        files = _files(run, search, number, seeds)
        if settings.n_confirming_seeds:
            fit_and_evaluate(f"confirm-{trial_name(number)}", run, training, chosen, files)
        figures.append([read_ndcg(file) for file in files.values()])
    before, after = figures
    return measure_gain(before, after, recipe.seed, confirmed=bool(settings.n_confirming_seeds))


def _run_trial(run: Run, training: Output[TrainingSummary], search: Search, trial: OpenTrial, n_seeds: int) -> None:
    name, started = trial_name(trial.number), time.monotonic()
    files = _files(run, search, trial.number, _seeds(run.recipe, n_seeds))
    get_run_logger().info("%s: %s", name, _shown(trial.values))

    def on_epoch(epoch: Epoch) -> None:
        assert epoch.ndcg is not None  # a trial holds no choices
        trial.report(epoch.number, epoch.ndcg)

    try:
        outcome = fit_and_evaluate(name, run, training, trial.recipe, files, on_epoch)
    except Exception as error:
        # Without the recipe as given nothing can be compared.
        if trial.number == 0 or not _is_of_settings(error):
            raise
        search.fail(trial, str(error), time.monotonic() - started)
        get_run_logger().warning("%s: failed: %s", name, error)
        return
    seconds = time.monotonic() - started
    if isinstance(outcome, str):
        search.stop(trial, outcome, seconds)
        get_run_logger().info("%s: %s", name, outcome)
        return
    search.complete(trial, outcome, seconds)
    best = search.best()
    leader = f"; best {best.ndcg:.4f} ({trial_name(best.number)})" if best else ""
    get_run_logger().info("%s: ndcg %.4f, %.1f s%s", name, outcome, seconds, leader)


def _is_of_settings(error: BaseException | None) -> bool:
    """Whether other settings may fare better: not on a full disk, without Prefect, or after somebody was forgotten."""
    if is_disk_full(error):
        return False
    while error is not None:
        if isinstance(error, DataChanged | DiskFull | TransportError | PrefectHTTPStatusError):
            return False
        error = error.__cause__
    return True


def _seeds(recipe: Recipe, n_seeds: int) -> list[int]:
    return list(range(recipe.seed, recipe.seed + n_seeds))


def _files(run: Run, search: Search, number: int, seeds: list[int]) -> dict[int, Path]:
    return {seed: run.layout.trial_ndcg(search.name, number, seed) for seed in seeds}


def _encoders(recipe: Recipe, settings: SearchSettings) -> list[Value]:
    """The recipe's text encoder, and those that are searched."""
    searched = settings.space.get(ENCODER)
    return [recipe.encoder.model, *(searched.choices if isinstance(searched, Choices) else ())]


def _shown(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{path} {value}" for path, value in values.items())
