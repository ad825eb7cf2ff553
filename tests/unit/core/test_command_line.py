"""A shop that is not named is called after its data; a name that the model store refuses is no shop's name."""

from pathlib import Path

import pytest
from bentoml import Tag
from hypothesis import given
from hypothesis import strategies as st

from core.errors import SettingsError
from core.layout import Layout
from core.settings.command_line import changed_source, free_shop_name, resolve_settings, shop_name
from core.settings.loading import load_settings
from core.settings.source import RecboleSource, SimulatedSource, TablesSource
from core.storage import write_json


def claim(work_dir, shop, path):
    """Leave behind what a shop has that was served."""
    write_json(Layout(work_dir, shop).recipe, {"source": {"path": path}})


@pytest.mark.parametrize(
    ("path", "name"),
    [("a/Reviews_5.json.gz", "reviews_5"), ("amazon-beauty-2014", "amazon-beauty-2014"), ("x/__.csv", "shop")],
)
def test_a_shop_is_called_after_its_data(path, name):
    assert shop_name(Path(path)) == name


@given(st.text(alphabet="ab1.-_", min_size=1, max_size=70))
def test_a_shop_has_a_name_exactly_where_the_model_store_takes_it(name):
    try:
        Tag(Layout(Path(), name).model_name)
        is_taken = name[0].isalnum()
    except ValueError:
        is_taken = False
    if is_taken:
        assert load_settings(overrides=[f'shop="{name}"']).shop == name
    else:
        with pytest.raises(SettingsError, match=r"^Cannot read settings: shop=.*expected 1 to 53 lower-case letters"):
            load_settings(overrides=[f'shop="{name}"'])


@given(st.text(min_size=1, max_size=120).filter(lambda name: not set(name) & {"/", "\0"}))
def test_every_name_of_data_gives_a_name_that_the_model_store_takes(name):
    shop = shop_name(Path("/data") / name)
    assert load_settings(overrides=[f'shop="{shop}"']).shop == shop


def test_two_long_names_that_begin_alike_are_two_shops():
    one, two = (shop_name(Path(f"/data/{'a' * 60}{end}")) for end in "xy")
    assert one != two
    assert len(one) == 53


def test_two_paths_of_one_name_are_two_shops_and_each_keeps_its_name(tmp_path):
    first, second = tmp_path / "a" / "reviews", tmp_path / "b" / "reviews"
    assert free_shop_name(first, tmp_path) == free_shop_name(second, tmp_path) == "reviews"
    claim(tmp_path, "reviews", str(first))
    assert free_shop_name(first, tmp_path) == "reviews"
    other = free_shop_name(second, tmp_path)
    assert other.startswith("reviews-")
    assert len(other) == len("reviews-") + 8
    claim(tmp_path, other, str(second))
    assert (free_shop_name(first, tmp_path), free_shop_name(second, tmp_path)) == ("reviews", other)


def test_a_shop_without_data_of_a_path_and_one_that_was_only_guessed_hold_their_names_too(tmp_path):
    claim(tmp_path, "simulated", None)
    assert free_shop_name(tmp_path / "simulated", tmp_path) != "simulated"
    guessed = Layout(tmp_path, "mine").guessed
    guessed.parent.mkdir()
    guessed.write_text(f'[recipe.source]\npath = "{tmp_path / "mine"}"\n')
    assert free_shop_name(tmp_path / "mine", tmp_path) == "mine"
    assert free_shop_name(tmp_path / "elsewhere" / "mine", tmp_path) != "mine"


def test_the_command_line_names_the_shop_unless_it_is_named(tmp_path):
    claim(tmp_path, "reviews", "/somewhere/else/reviews")
    data, where = str(tmp_path / "reviews"), f"work_dir={tmp_path}"
    assert resolve_settings(None, None, data, [where], {}).shop.startswith("reviews-")
    assert resolve_settings(None, None, data, [where, "shop=reviews"], {}).shop == "reviews"


def test_a_shop_that_had_other_data_is_told_once_it_is_served_with_new_ones(tmp_path):
    layout = Layout(tmp_path, "corner")
    mine, other = TablesSource(path=tmp_path / "mine"), TablesSource(path=tmp_path / "other")
    assert changed_source(layout, mine) is None
    write_json(layout.recipe, {"source": mine.model_dump(mode="json")})
    assert changed_source(layout, mine.model_copy(update={"delimiter": ";"})) is None
    for source in (other, RecboleSource(path=tmp_path / "mine"), SimulatedSource()):
        assert f"shop corner had its data from tables {tmp_path / 'mine'}" in changed_source(layout, source)
    assert f"from tables {tmp_path / 'other'} now" in changed_source(layout, other)
    layout.recipe.write_text("{", encoding="utf-8")
    assert changed_source(layout, mine) is None
