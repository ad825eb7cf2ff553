"""A search proposes by seed and history alone, goes on after a kill, and keeps what every trial came to."""

import pytest

from core.settings.evaluation import GateSettings
from core.settings.models import ModalitySettings
from core.settings.search import SearchSettings
from core.settings.tree import Recipe
from recommender.tuning.search import NotPromising, Search
from recommender.tuning.space import values_of

RECIPE = Recipe()
SPACE = {"sequence.dropout": {"low": 0.1, "high": 0.6}, "neighbours.recency": {"low": 0.4, "high": 1.0, "step": 0.2}}
GIVEN = {"sequence.dropout": 0.4, "neighbours.recency": 0.7}


def opened(folder, data="data", recipe=RECIPE, **settings):
    chosen = SearchSettings(**{"space": SPACE, "n_trials": 6, "n_startup": 2, "n_points": 2, **settings})
    return Search.open(folder / "searches.sqlite", data, recipe, chosen)


def quality(values):
    return 1 - abs(values["sequence.dropout"] - 0.3) - 0.1 * abs(values.get("neighbours.recency", 0.8) - 0.8)


def finish(search):
    while (trial := search.next_trial()) is not None:
        search.complete(trial, quality(trial.values), 1.0)
    return search


def in_order(search):
    return sorted(search.records(), key=lambda record: record.number)


@pytest.mark.parametrize("method", ["bayes", "random", "grid"])
def test_a_killed_search_goes_on_as_if_nothing_had_been(tmp_path, method):
    undisturbed = finish(opened(tmp_path / "undisturbed", method=method))

    killed = opened(tmp_path / "killed", method=method)
    for _ in range(3):
        trial = killed.next_trial()
        killed.complete(trial, quality(trial.values), 1.0)
    left = killed.next_trial()
    assert in_order(killed)[-1].state == "running"
    resumed = opened(tmp_path / "killed", method=method)
    taken_up = resumed.next_trial()
    assert (taken_up.number, taken_up.values) == (left.number, left.values)
    resumed.complete(taken_up, quality(taken_up.values), 1.0)
    finish(resumed)

    assert in_order(resumed) == in_order(undisturbed)
    assert len(in_order(resumed)) == 6


def test_the_recipe_as_given_comes_first_even_outside_the_space(tmp_path):
    first = finish(opened(tmp_path, n_trials=2, space={"sequence.dropout": {"low": 0.1, "high": 0.2}}))
    given, other = in_order(first)
    assert given.values == {"sequence.dropout": RECIPE.sequence.dropout}
    assert 0.1 <= other.values["sequence.dropout"] <= 0.2


def test_trials_change_the_recipe_only_where_they_search(tmp_path):
    search = opened(tmp_path, n_trials=3)
    search.complete(search.next_trial(), 0.5, 1.0)
    trial = search.next_trial()
    assert trial.values != GIVEN
    assert values_of(trial.recipe, SearchSettings(space=SPACE).space) == trial.values
    assert trial.recipe.model_copy(update={"sequence": RECIPE.sequence, "neighbours": RECIPE.neighbours}) == RECIPE
    # Steps are kept to, and no number has more digits than matter.
    assert trial.values["neighbours.recency"] in (0.4, 0.6, 0.8, 1.0)
    assert trial.values["sequence.dropout"] == float(f"{trial.values['sequence.dropout']:.4g}")


def test_a_grid_tries_every_point_once_and_then_ends(tmp_path):
    search = finish(opened(tmp_path, method="grid", n_trials=100))
    tried = [tuple(record.values.items()) for record in search.records()]
    # Two points of the dropout, four steps of the recency, and the recipe as given.
    assert len(tried) == len(set(tried)) == search.n_trials == 9


def test_a_grid_point_that_is_the_recipe_as_given_is_not_tried_again(tmp_path):
    search = finish(opened(tmp_path, method="grid", n_trials=100, space={"sequence.dropout": [0.2, 0.5]}))
    assert [record.values["sequence.dropout"] for record in in_order(search)] == [0.5, 0.2]


def test_more_trials_go_on_and_another_question_starts_anew(tmp_path):
    assert len(finish(opened(tmp_path, n_trials=3)).records()) == 3
    assert len(opened(tmp_path, n_trials=5).records()) == 3
    assert len(finish(opened(tmp_path, n_trials=5)).records()) == 5
    images = Recipe(modality=ModalitySettings(path="images.parquet"))
    assert opened(tmp_path, recipe=images).records() == []
    for other in ({"data": "newer"}, {"recipe": Recipe(seed=8)}, {"method": "random"}, {"n_seeds": 2}):
        assert opened(tmp_path, **other).records() == []
    # What has no say in the ranking does not start it anew.
    assert len(opened(tmp_path, recipe=Recipe(gate=GateSettings(tolerance=0.5))).records()) == 5


def test_records_come_best_first_and_say_why_a_trial_has_no_figure(tmp_path):
    search = opened(tmp_path, n_trials=4)
    search.complete(search.next_trial(), 0.1, 2.0)
    search.fail(search.next_trial(), "width=7, expected a multiple", 1.0)
    search.complete(search.next_trial(), 0.3, 3.0)
    search.stop(search.next_trial(), "fell behind", 0.5)
    assert search.next_trial() is None
    shown = [(r.number, r.state, r.ndcg, r.seconds, r.note) for r in search.records()]
    assert shown == [
        (2, "complete", 0.3, 3.0, ""),
        (0, "complete", 0.1, 2.0, ""),
        (1, "failed", None, 1.0, "width=7, expected a multiple"),
        (3, "pruned", None, 0.5, "fell behind"),
    ]


def report_epochs(trial, figure):
    for epoch in range(1, 8):
        trial.report(epoch, figure * epoch)


@pytest.mark.parametrize("pruner", ["median", "hyperband", "none"])
def test_a_pruner_gives_up_what_falls_behind(tmp_path, pruner):
    search = opened(tmp_path, pruner=pruner)
    for _ in range(4):
        trial = search.next_trial()
        report_epochs(trial, 0.1)
        search.complete(trial, 0.7, 1.0)
    trial = search.next_trial()
    if pruner == "none":
        report_epochs(trial, 0.01)
    else:
        with pytest.raises(NotPromising, match=r"Stopped trial 4: ndcg=0.0\d+ after epoch \d"):
            report_epochs(trial, 0.01)


def test_a_trial_that_runs_again_may_report_its_epochs_again(tmp_path, recwarn):
    opened(tmp_path).next_trial().report(1, 0.1)
    opened(tmp_path).next_trial().report(1, 0.1)
    assert not [warning for warning in recwarn if "already reported" in str(warning.message)]


def test_importances_name_the_setting_that_matters(tmp_path):
    search = opened(tmp_path, method="random", n_trials=12)
    assert search.importances() == {}
    importances = finish(search).importances()
    assert next(iter(importances)) == "sequence.dropout"
    assert sum(importances.values()) == pytest.approx(1.0)
