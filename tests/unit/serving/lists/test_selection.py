"""Which items filters let through, by every kind of column, and what is said of one that does not exist."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from core import schema
from recommender.inputs.catalogue import Catalogue
from serving.api.criteria import ItemCriteria, ItemMatch
from serving.errors import BadRequest, CapabilityMissing
from serving.lists.selection import ItemSelection
from tests.unit.recommender.tiny_shop import catalogue_of

OWN = {
    "brie": {"country": "FR", "fat": "45.5", "in_stock": "3"},
    "gouda": {"country": "NL", "fat": "48", "in_stock": "0"},
    "port": {"country": "PT", "in_stock": "yes"},
}
ROWS: dict[str, dict[str, Any]] = {
    "brie": {"category": "Cheese > Soft", "brand": "Alp", "price": 4.0, "item_n_events": 5, "item_mean_rating": 4.5},
    "gouda": {"category": "Cheese > Hard", "brand": "Dike", "price": 9.0, "item_n_events": 2},
    "port": {"category": "Wine", "brand": "Alp", "price": None, "item_n_events": 0, "item_mean_rating": 2.0},
    "salt": {"category": None, "brand": None, "price": 1.0, "item_n_events": 1},
}


def catalogue() -> Catalogue:
    rows = [
        {schema.ITEM_ID: name, schema.TITLE: name.title(), schema.ITEM_TEXT: name, "item_n_ratings": 0, **row}
        for name, row in ROWS.items()
    ]
    return catalogue_of(rows, seed=2)


def with_own() -> Catalogue:
    rows = [
        {schema.ITEM_ID: name, schema.ITEM_TEXT: name, "item_n_ratings": 0, **row}
        | {schema.ITEM_ATTRIBUTES: list(OWN[name].items()) if name in OWN else None}
        for name, row in ROWS.items()
    ]
    return catalogue_of(rows, seed=5)


@pytest.fixture
def selection() -> ItemSelection:
    return ItemSelection(catalogue(), "m:1")


def names(selection: ItemSelection, **wanted: Any) -> set[str]:
    mask = selection.of(ItemCriteria.model_validate(wanted))
    assert mask is not None
    return {item_id for item_id, is_in in zip(catalogue().ids, mask, strict=True) if is_in}


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({"categories": ["Cheese"]}, {"brie", "gouda"}),
        ({"brands": ["Alp"]}, {"brie", "port"}),
        ({"brands": ["Alp"], "categories": ["Cheese", "Wine"], "max_price": 5.0}, {"brie"}),
        ({"min_price": 2.0}, {"brie", "gouda"}),
        ({"min_price": 1.0, "max_price": 4.0}, {"brie", "salt"}),
        ({"attributes": [{"name": "title", "equals": "Port"}]}, {"port"}),
        ({"attributes": [{"name": "title", "any_of": ["Port", "Salt", "Ghost"]}]}, {"port", "salt"}),
        ({"attributes": [{"name": "item_n_events", "min": 1}]}, {"brie", "gouda", "salt"}),
        ({"attributes": [{"name": "item_n_events", "equals": 2.0}]}, {"gouda"}),
        ({"attributes": [{"name": "item_n_events", "any_of": [0, 5]}]}, {"brie", "port"}),
        ({"attributes": [{"name": "item_mean_rating", "max": 5.0}]}, {"brie", "port"}),
        ({"attributes": [{"name": "item_mean_rating", "min": 3}, {"name": "price", "max": 4}]}, {"brie"}),
    ],
)
def test_items_that_meet_everything_pass(selection: ItemSelection, wanted: Any, expected: set[str]) -> None:
    assert names(selection, **wanted) == expected


def test_nothing_wanted_is_no_mask(selection: ItemSelection) -> None:
    assert selection.of(ItemCriteria()) is None


def test_a_rule_means_ids_and_what_items_are(selection: ItemSelection) -> None:
    ids = catalogue().ids

    def matched(**wanted: Any) -> set[str]:
        mask = selection.matched(ItemMatch.model_validate(wanted))
        return {item_id for item_id, is_in in zip(ids, mask, strict=True) if is_in}

    assert matched(items=["port", "ghost"]) == {"port"}
    assert matched(items=["port", "gouda"], brands=["Alp"]) == {"port"}
    assert matched(brands=["Alp"]) == {"brie", "port"}


def test_an_unknown_attribute_is_answered_with_the_known_ones(selection: ItemSelection) -> None:
    wanted = ItemCriteria.model_validate({"attributes": [{"name": "colour", "equals": "red"}]})
    with pytest.raises(BadRequest, match=r"attributes\.0\.name='colour', expected an attribute .*: brand, category"):
        selection.of(wanted)
    assert set(selection.names) >= {"brand", "category", "price", "title", "item_n_events", "item_mean_rating"}
    assert schema.ITEM_TEXT not in selection.names


def test_a_range_of_what_is_no_number_is_refused(selection: ItemSelection) -> None:
    wanted = ItemCriteria.model_validate({"attributes": [{"name": "title", "min": 1.0}]})
    with pytest.raises(BadRequest, match=r"'title', of which no value is a number.*expected an attribute of"):
        selection.of(wanted)


def test_without_a_column_of_the_stock_nothing_is_said_of_it(selection: ItemSelection) -> None:
    with pytest.raises(CapabilityMissing, match=r"catalogue has no attribute in_stock, expected a column in_stock"):
        selection.of(ItemCriteria(in_stock=True))


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ({"min_price": 3.0, "max_price": 2.0}, "min_price=3 and max_price=2"),
        ({"attributes": [{"name": "price"}]}, "expected equals, any_of, or min and max"),
        ({"attributes": [{"name": "price", "equals": 1.0, "min": 0.0}]}, "expected equals, any_of, or min and max"),
        ({"attributes": [{"name": "price", "min": 2.0, "max": 1.0}]}, "min=2 and max=1"),
    ],
)
def test_contradictions_are_refused(wanted: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        ItemCriteria.model_validate(wanted)


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({"attributes": [{"name": "country", "any_of": ["FR", "PT"]}]}, {"brie", "port"}),
        ({"attributes": [{"name": "fat", "min": 46}]}, {"gouda"}),
        ({"attributes": [{"name": "fat", "equals": 48}]}, {"gouda"}),
        ({"attributes": [{"name": "fat", "equals": "45.5"}]}, {"brie"}),
        ({"in_stock": True}, {"brie", "port"}),
        ({"in_stock": False}, {"gouda"}),
    ],
)
def test_the_shops_own_attributes_are_asked_as_any_other(wanted: Any, expected: set[str]) -> None:
    found = with_own()
    mask = ItemSelection(found, "m:1").of(ItemCriteria.model_validate(wanted))
    assert mask is not None
    assert {item_id for item_id, is_in in zip(found.ids, mask, strict=True) if is_in} == expected


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({"in_stock": True}, {"brie", "port"}),
        ({"in_stock": False}, {"gouda", "salt"}),
        ({"attributes": [{"name": "in_stock", "min": 1}]}, {"brie"}),
        ({"attributes": [{"name": "in_stock", "equals": 12}]}, {"brie"}),
        ({"attributes": [{"name": "size", "equals": 38}]}, {"gouda"}),
        ({"attributes": [{"name": "size", "max": 40}]}, {"gouda"}),
        ({"attributes": [{"name": "size", "equals": "one size"}]}, {"brie"}),
    ],
)
def test_a_value_that_is_no_number_leaves_the_numbers_of_the_others(wanted: Any, expected: set[str]) -> None:
    stock = {"brie": "12.0", "gouda": "0.0", "port": "true", "salt": "-1"}
    sizes = {"brie": "one size", "gouda": " 38.0", "port": "infinity"}
    rows = [
        {schema.ITEM_ID: name, schema.ITEM_TEXT: name, "item_n_ratings": 0, **row}
        | {
            schema.ITEM_ATTRIBUTES: [
                (column, values[name]) for column, values in (("in_stock", stock), ("size", sizes)) if name in values
            ]
        }
        for name, row in ROWS.items()
    ]
    found = catalogue_of(rows, seed=5)
    mask = ItemSelection(found, "m:1").of(ItemCriteria.model_validate(wanted))
    assert mask is not None
    assert {item_id for item_id, is_in in zip(found.ids, mask, strict=True) if is_in} == expected


@pytest.mark.parametrize(
    ("text", "number"),
    [("12", 12), ("-1.5", -1.5), ("+.5", 0.5), ("7.", 7), ("1e3", 1000), ("2.5E-1", 0.25), (" 4 ", 4)]
    + [(text, None) for text in ("1_000", "12_34", "٣", "nan", "inf", "1e999", "1,5", "0x10", ".", "1 2", "")],
)
def test_a_number_is_written_as_files_have_them_and_not_as_python_reads_them(text: str, number: float | None) -> None:
    values = {"brie": "7000", "gouda": text}
    rows = [
        {schema.ITEM_ID: name, schema.ITEM_TEXT: name, "item_n_ratings": 0, **row}
        | {schema.ITEM_ATTRIBUTES: [("size", values[name])] if name in values else None}
        for name, row in ROWS.items()
    ]
    found = catalogue_of(rows, seed=5)
    bounds = {"min": -5, "max": 6000} if number is None else {"min": number, "max": number}
    mask = ItemSelection(found, "m:1").of(ItemCriteria.model_validate({"attributes": [{"name": "size", **bounds}]}))
    assert mask is not None
    names = [item_id for item_id, is_in in zip(found.ids, mask, strict=True) if is_in]
    assert names == ([] if number is None else ["gouda"])


def test_own_attributes_are_known_by_name_and_survive_saving(tmp_path: Path) -> None:
    found = with_own()
    found.save(tmp_path / "catalogue.parquet")
    loaded = Catalogue.load(tmp_path / "catalogue.parquet")
    for one in (found, loaded):
        assert {"country", "fat", "in_stock"} <= set(ItemSelection(one, "m:1").names)
        assert one.attributes["country"].to_pylist() == [OWN.get(item_id, {}).get("country") for item_id in one.ids]
