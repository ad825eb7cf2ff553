"""Search for better settings of the shop's recipe."""

from __future__ import annotations

from pathlib import Path

from prefect import flow, get_run_logger

from core.settings.file import write_settings_file
from core.settings.form import Frozen
from core.settings.search import Value
from core.settings.tree import Recipe
from flows.params import PipelineParams, TuneParams
from flows.pruning import HOOKS, mark_used, pruned
from flows.reporting.tables import format_table
from flows.reporting.traces import traced
from flows.steps.data import collect_training_set, prepare
from flows.steps.fits import fit_ranking
from flows.steps.preconditions import check_recipe, check_shop
from flows.steps.run import Run
from flows.tuning import board as trial_board
from flows.tuning import trials as tuning
from recommender.metrics.ranking import metric_key
from recommender.tuning.search import Search, TrialRecord
from recommender.tuning.space import check_space, with_values
from recommender.tuning.trial_evaluation import Gain


class Tuned(Frozen):
    """The end of a search.

    Attributes:
        file: The best settings, for `--settings`.
        values: The best trial's settings.
        before: NDCG of the recipe as given, on the validation window.
        after: The same of the best trial.
        is_beyond_noise: Whether the gain is more than chance; False where nothing was better.
        trials: How many there are by now, of this run and of those before it.
    """

    file: Path
    values: dict[str, Value]
    before: float
    after: float
    is_beyond_noise: bool
    trials: int


@flow(name="tune", log_prints=False, **HOOKS)
@traced
@pruned
def tune(params: TuneParams) -> Tuned:
    """Search the recipe's settings on the validation window, write the best as a settings file; nothing is promoted.

    Args:
        params: The shop, the recipe as given, and what to search. The same search continues where it was: after a kill,
            or with more trials.
    Raises:
        SettingsError: the space names an unknown setting, or a value that it may not have, or a model cannot be built.
        RecommenderError: the recipe asks for what cannot be had, or what the shop's data do not allow.
    """
    check_space(params.recipe, params.search.space)
    check_recipe(params.recipe)
    run = Run.of(PipelineParams(shop=params.shop, recipe=params.recipe))
    training = collect_training_set(run, clean=prepare(run).clean)
    with run.holding_data():
        check_shop(run.recipe, training.folder)
    search = tuning.open_search(run, training, params.search)
    figures = run.layout.search(search.name)
    figures.mkdir(parents=True, exist_ok=True)  # its age is the search's, from before the first figures
    mark_used(figures)
    tuning.run_trials(run, training, search, params.search)
    records = search.records()
    best, given = records[0], next(record for record in records if record.number == 0)
    gain = tuning.confirm(run, training, search, best, params.search)
    recipe = with_values(params.recipe, best.values)
    # What the pipeline needs for these settings is there when somebody runs it with them.
    fit_ranking(run.with_recipe(recipe), training)
    _report_end(run, search, best, given, gain, recipe)
    return Tuned(
        file=run.layout.tuned,
        values=best.values,
        before=given.ndcg or 0.0,
        after=best.ndcg or 0.0,
        is_beyond_noise=gain is not None and gain.is_beyond_noise,
        trials=len(records),
    )


def _report_end(
    run: Run, search: Search, best: TrialRecord, given: TrialRecord, gain: Gain | None, recipe: Recipe
) -> None:
    """Write the settings file, and say in the artifacts and the log what came out."""
    file, n_trials = run.layout.tuned, len(search.records())
    verdict = trial_board.describe_gain(best, given, gain, metric_key("ndcg", recipe.evaluation.k))
    comments = [f"The best of {n_trials} trials. {verdict}", "Where things run is not part of it."]
    text = write_settings_file(file, run.layout.shop, recipe, comments)
    command = f'make run ARGS="--settings {file}"'
    rows = trial_board.setting_rows(best, given, search.importances())
    trial_board.publish_end(trial_board.describe_end(rows, verdict, text, command))
    for line in (*format_table(rows), verdict, f"best settings in {file}; use them: {command}"):
        get_run_logger().info(line)
