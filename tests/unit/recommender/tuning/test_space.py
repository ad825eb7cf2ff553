"""A space is checked against the recipe before anything runs, and a grid has every point once."""

import pytest
from pydantic import ValidationError

from core.errors import SettingsError
from core.settings.loading import load_settings
from core.settings.search import DEFAULT_SPACE, Choices, Range, SearchSettings
from core.settings.tree import Recipe
from recommender.tuning.space import check_space, grid_of, points_of, rounded, values_of, with_values

RECIPE = Recipe()


def space(**dimensions):
    return SearchSettings(space=dimensions).space


def test_the_default_space_fits_the_default_recipe():
    check_space(RECIPE, SearchSettings().space)
    assert SearchSettings().space == DEFAULT_SPACE


@pytest.mark.parametrize(
    ("dimensions", "told"),
    [
        ({"sequence": {"widht": [32]}}, r"search.space=sequence.widht, expected one of width"),
        ({"sequence": {"width": {"x": [1]}}}, r"search.space=sequence.width.x, expected nothing below 'x'"),
        ({"sequence": {"dropout": [0.2, 1.2]}}, r"search.space.sequence.dropout.choices=1.2, expected .*less than 1"),
        ({"sequence": {"dropout": {"low": 0.0, "high": 1.0}}}, r"sequence.dropout.high=1.0"),
        ({"sequence": {"width": {"low": 8.5, "high": 64}}}, r"sequence.width.low=8.5, expected a whole number"),
        ({"sequence": {"width": ["64"]}}, r"sequence.width.choices='64'"),
        ({"sequence": {"use_ids": [1, 0]}}, r"sequence.use_ids.choices=1, expected the type bool"),
        ({"blend": {"kind": {"low": 1, "high": 2}}}, r"blend.kind.low=1, expected choices"),
        ({"blend": {"kind": ["mean", "median"]}}, r"blend.kind.choices='median'"),
        # What would change the questions, or has no say in the answer.
        ({"evaluation": {"k": [5, 10]}}, r"search.space=evaluation.k, expected a setting that the ranking hangs on"),
        ({"writer": {"width": [32]}}, r"search.space=writer.width"),
        ({"seed": [1, 2]}, r"search.space=seed"),
        ({"augmentation": {"perturb_words": [0.1]}}, r"search.space=augmentation.perturb_words"),
    ],
)
def test_what_cannot_be_searched_is_named(dimensions, told):
    with pytest.raises(SettingsError, match=told):
        check_space(RECIPE, space(**dimensions))


@pytest.mark.parametrize(
    "dimension",
    [{"low": 2, "high": 1}, {"low": 0, "high": 1, "log": True}, {"low": 1, "high": 9, "log": True, "step": 2}, []],
)
def test_what_is_no_range_is_refused(dimension):
    with pytest.raises(ValidationError):
        space(**{"sequence.dropout": dimension})


def test_the_command_line_and_toml_nest_what_the_space_dots(tmp_path):
    file = tmp_path / "search.toml"
    file.write_text("[search.space.sequence]\nwidth = [32, 64]\ndropout = {low = 0.1, high = 0.5}\n")
    searched = load_settings(file, overrides=['search.space.blend.kind=["mean", "gate"]']).search.space
    assert searched == {
        "sequence.width": Choices(choices=(32, 64)),
        "sequence.dropout": Range(low=0.1, high=0.5),
        "blend.kind": Choices(choices=("mean", "gate")),
    }


def test_values_go_into_the_recipe_and_come_out_again():
    values = {"sequence.width": 32, "neighbours.recency": 0.5}
    changed = with_values(RECIPE, values)
    assert values_of(changed, dict.fromkeys(values, Choices(choices=(1,)))) == values
    assert changed.model_copy(update={"sequence": RECIPE.sequence, "neighbours": RECIPE.neighbours}) == RECIPE


def test_points_are_spread_over_a_range():
    assert points_of(RECIPE, "sequence.dropout", Range(low=0.1, high=0.5), 3) == [0.1, 0.3, 0.5]
    assert points_of(RECIPE, "sequence.dropout", Range(low=0.1, high=0.45, step=0.1), 9) == [0.1, 0.2, 0.3, 0.4]
    assert points_of(RECIPE, "sequence.learning_rate", Range(low=1e-4, high=1e-2, log=True), 3) == [1e-4, 1e-3, 1e-2]
    assert points_of(RECIPE, "sequence.width", Range(low=16, high=64, step=16), 2) == [16, 32, 48, 64]
    # So few whole numbers that several points fall on one.
    assert points_of(RECIPE, "sequence.n_blocks", Range(low=1, high=2), 5) == [1, 2]


def test_a_rounded_number_stays_in_its_range():
    assert rounded(0.123456, Range(low=0.1, high=0.5)) == 0.1235
    assert rounded(0.499999, Range(low=0.1, high=0.499999)) == 0.499999
    assert rounded(0.123441, Range(low=0.123441, high=1.0)) == 0.123441
    assert rounded(64, Range(low=16, high=128)) == 64


def test_a_grid_that_the_budget_holds_changes_late_stages_fastest():
    settings = SearchSettings(
        method="grid", n_trials=20, space={"neighbours.recency": [0.5, 0.9], "sequence.width": [16, 32]}
    )
    assert [tuple(point.values()) for point in grid_of(RECIPE, settings)] == [
        (16, 0.5),
        (16, 0.9),
        (32, 0.5),
        (32, 0.9),
    ]


def test_a_grid_beyond_the_budget_comes_in_an_order_of_the_seed():
    settings = SearchSettings(method="grid", n_trials=5, n_points=3)
    grid = grid_of(RECIPE, settings)
    assert len(grid) == 81 == len({tuple(point.items()) for point in grid})
    assert grid == grid_of(RECIPE, settings)
    assert grid != grid_of(Recipe(seed=RECIPE.seed + 1), settings)
    # Its beginning already has every value of every setting.
    assert all(len({point[path] for point in grid[:20]}) == 3 for path in settings.space)


def test_a_strength_that_is_searched_is_not_overruled_by_those_that_a_fit_would_try():
    recipe = Recipe.model_validate({"neighbours": {"regularisation": 50.0, "try_regularisations": [500.0, 5.0]}})
    changed = with_values(recipe, {"neighbours.regularisation": 7.0, "neighbours.recency": 0.5})
    assert changed.neighbours.regularisation == 7.0
    assert changed.neighbours.try_regularisations == ()
    assert with_values(recipe, {"item_knn.recency": 0.6}).item_knn.try_recencies == ()
    # What is searched beside them leaves them, and the recipe as given is the recipe as given.
    assert with_values(recipe, {"neighbours.recency": 0.5}).neighbours.try_regularisations == (500.0, 5.0)
    assert with_values(recipe, {"neighbours.regularisation": 50.0}) == recipe
