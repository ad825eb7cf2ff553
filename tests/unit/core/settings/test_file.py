"""A recipe that was written as a settings file is read again as it was."""

import pytest

from core.settings.evaluation import EvaluationSettings
from core.settings.file import write_settings_file
from core.settings.loading import load_settings
from core.settings.source import Amazon2014Source
from core.settings.tree import Recipe
from core.settings.validation import OwnRule, ValidationSettings
from recommender.tuning.space import with_values


@pytest.mark.parametrize(
    "recipe",
    [
        Recipe(),
        with_values(Recipe(seed=3), {"sequence.dropout": 0.25, "blend.kind": "gate", "sequence.use_ids": False}),
        Recipe(source=Amazon2014Source(path="reviews.json.gz")),
        Recipe(evaluation=EvaluationSettings(validation_from="2026-05-01", test_from="14d")),
        # A rule has fields without a value, which TOML cannot say.
        Recipe(validation=ValidationSettings(rules=(OwnRule(name="cheap", table="items", check="not_null"),))),
    ],
)
def test_what_was_written_is_read_again(tmp_path, recipe):
    file = tmp_path / "deep" / "tuned.toml"
    text = write_settings_file(file, "vineyard", recipe, ["Why it is so."])
    assert file.read_text(encoding="utf-8") == text
    settings = load_settings(file)
    assert (settings.shop, settings.recipe) == ("vineyard", recipe)


def test_only_what_differs_from_the_defaults_is_written(tmp_path):
    recipe = with_values(Recipe(), {"sequence.dropout": 0.25})
    text = write_settings_file(tmp_path / "tuned.toml", "vineyard", recipe, ["Why it is so."])
    assert text.splitlines() == ["# Why it is so.", 'shop = "vineyard"', "", "[recipe.sequence]", "dropout = 0.25"]
