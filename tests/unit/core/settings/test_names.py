"""Every setting has a name, and a wrong name says which may be meant."""

from __future__ import annotations

import pytest

from core.settings.names import hint, setting_names, without_variants
from core.settings.tree import Settings


def test_the_names_are_those_of_every_group_and_variant() -> None:
    names = set(setting_names(Settings))
    assert {"shop", "recipe", "recipe.sequence.width", "recipe.source.n_users", "recipe.source.url"} <= names
    assert {"platform.history_days", "recipe.validation.cleaning.floods.factor", "recipe.writer.kind"} <= names


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("recipe.sequence.widht", "Did you mean recipe.sequence.width"),
        ("history_days", "Did you mean platform.history_days? "),
        ("platform.prefekt_port", "Did you mean platform.prefect_port"),
        ("source.n_user", "recipe.source.n_users"),
        ("recipe.source.url", "Another kind has it: set recipe.source.kind. "),
    ],
)
def test_a_wrong_name_leads_to_the_right_one(name: str, said: str) -> None:
    assert said in hint(Settings, name)


def test_there_is_no_hint_without_an_idea() -> None:
    assert hint(Settings, "xyzzy") == ""


def test_a_place_has_no_variants() -> None:
    tree = {"recipe": {"source": {"kind": "simulated", "n_user": 3}}}
    assert without_variants(("recipe", "source", "simulated", "n_user"), tree) == "recipe.source.n_user"
    assert without_variants(("recipe", "source", "sql", "url"), {"recipe": {"source": {}}}) == "recipe.source.url"
