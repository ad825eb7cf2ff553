"""The shop's own names of events and its scale of ratings, as clients send them and as the log keeps them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any

import pytest

from core.schema import EVENTS
from core.settings.tree import Recipe
from serving.api.events import EventsRequest
from serving.errors import BadRequest
from serving.events.terms import PLAIN_TERMS, EventTerms

NAMES = {"AddToCart": "cart", "transaction": "Purchase", "noise": "", "view": "click"}


def terms(scale: list[float] | None = None, missing: str = "drop") -> EventTerms:
    recipe = {
        "source": {"kind": "tables", "path": "shop", "values": {"interactions": {"event": NAMES}}},
        "validation": {
            "cleaning": {
                "rating_scale": scale,
                "missing": [{"table": "interactions", "column": "value", "how": missing, "value": "3"}],
            }
        },
    }
    return EventTerms.of(Recipe.model_validate(recipe), "shop:1")


def kept(given: EventTerms, *events: dict[str, Any]) -> list[tuple[str, float | None]]:
    request = EventsRequest.model_validate({"events": [{"user_id": "u", "item_id": "i", **event} for event in events]})
    return [(event.event, event.value) for event in request.interactions(given)]


def test_the_log_keeps_the_contracts_names_case_aside() -> None:
    found = kept(
        terms(), {"event": "addtocart"}, {"event": " ADDTOCART "}, {"event": "transaction"}, {"event": "Click"}
    )
    assert [name for name, _ in found] == ["cart", "cart", "purchase", "click"]


@pytest.mark.parametrize("name", EVENTS)
def test_the_contracts_names_mean_themselves_unless_the_shop_maps_them(name: str) -> None:
    mapped = NAMES.get(name, name)
    value = 2.0 if name == "rating" else None  # that of another event is not stored
    assert kept(PLAIN_TERMS, {"event": name.upper(), "value": 2.0}) == [(name, value)]
    assert kept(terms(), {"event": name.upper(), "value": 2.0}) == [(mapped, value)]


@pytest.mark.parametrize("name", ["ate", "odd"])
def test_a_name_that_nobody_knows_is_refused_with_those_that_are_known(name: str) -> None:
    with pytest.raises(BadRequest) as caught:
        kept(terms(), {"event": "view"}, {"event": name})
    assert str(caught.value) == (
        f"Cannot take the events: events.1.event='{name}', expected one of impression, view, click, cart, purchase, "
        "rating, or the shop's own addtocart (cart), transaction (purchase), view (click). "
        "Send one of these, or map more names in "
        "the setting recipe.source.values.interactions.event, and train a bundle with it."
    )


@pytest.mark.parametrize("how", ["value", "mean", "median", "mode", "interpolate"])
def test_a_rating_without_a_value_is_taken_where_the_gate_fills_it_in(how: str) -> None:
    assert kept(terms(missing=how), {"event": "rating"}) == [("rating", None)]
    for refusing in (terms(), PLAIN_TERMS):
        with pytest.raises(BadRequest, match=r"value=null.*validation\.cleaning\.missing"):
            kept(refusing, {"event": "rating"})


def test_an_event_that_the_shop_maps_to_nothing_is_left_out_of_its_batch() -> None:
    assert kept(terms(), {"event": "view"}, {"event": "Noise"}, {"event": "cart"}) == [("click", None), ("cart", None)]
    assert kept(terms(), {"event": "noise"}) == []


def test_without_a_bundle_the_contracts_names_alone_are_known_and_it_says_so() -> None:
    with pytest.raises(
        BadRequest, match=r"'addtocart', expected one of impression, .* rating\. .*no bundle is loaded yet"
    ):
        kept(PLAIN_TERMS, {"event": "addtocart"})


def test_a_rating_without_a_value_is_refused() -> None:
    with pytest.raises(
        BadRequest, match=r"events\.0\.value=null, expected a rating from 1 to 5\. Send the value of every rating"
    ):
        kept(PLAIN_TERMS, {"event": "rating"})
    assert kept(PLAIN_TERMS, {"event": "view"}) == [("view", None)]


def test_a_rating_on_the_shops_scale_is_kept_as_1_to_5() -> None:
    rated = [{"event": "rating", "value": value} for value in (0.0, 5.0, 7.5, 10.0)]
    assert kept(terms([0, 10]), *rated) == [("rating", value) for value in (1.0, 3.0, 4.0, 5.0)]
    assert kept(terms(), *rated[1:2]) == [("rating", 5.0)]
    # Values of other events are on the contract's scale, and not stored.
    assert kept(terms([0, 10]), {"event": "purchase", "value": 4.0}) == [("purchase", None)]


@pytest.mark.parametrize(
    ("scale", "event", "said"),
    [
        (
            [0, 10],
            {"event": "rating", "value": 10.5},
            "from 0 to 10, the shop's scale (recipe.validation.cleaning.rating_scale)",
        ),
        ([0, 10], {"event": "purchase", "value": 6.0}, "from 1 to 5. Leave it out: purchase needs no value"),
        (None, {"event": "rating", "value": 0.5}, "from 1 to 5. Send a value within it"),
    ],
)
def test_a_value_out_of_range_is_refused_with_its_scale(
    scale: list[float] | None, event: dict[str, Any], said: str
) -> None:
    with pytest.raises(BadRequest) as caught:
        kept(terms(scale), event)
    assert f"events.0.value={event['value']:g}, expected a rating {said}" in str(caught.value)


def refusal(given: EventTerms, **event: Any) -> str:
    with pytest.raises(BadRequest) as caught:
        kept(given, {"event": "view"}, {"event": "view", **event})
    return str(caught.value)


def test_an_id_is_kept_as_the_clean_tables_have_it_and_a_blank_one_is_refused() -> None:
    request = EventsRequest.model_validate(
        {"events": [{"user_id": " 17850.0", "item_id": "\u00a0i ", "event": "view"}]}
    )
    (found,) = request.interactions(terms())
    assert (found.user_id, found.item_id) == ("17850", "i")
    for field in ("user_id", "item_id", "event_id"):
        assert f"events.1.{field}='  ', expected an id that is not blank" in refusal(terms(), **{field: "  "})


def test_a_time_before_the_shops_earliest_day_is_refused() -> None:
    at = datetime(1999, 12, 31, 23, tzinfo=UTC)
    kept(terms(), {"event": "view", "timestamp": at})
    later = replace(terms(), earliest=date(2000, 1, 1))
    assert "expected a time from 2000-01-01 on (recipe.validation.earliest)" in refusal(later, timestamp=at)
