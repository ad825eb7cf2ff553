"""What a page of recommendations is asked for can be written into an address and read back."""

from __future__ import annotations

from urllib.parse import urlencode

import pytest
from pydantic import ValidationError
from starlette.datastructures import QueryParams

from serving.api.recommend import RecommendRequest
from serving.web.view import View

VIEW = View(user_id="a b&c", by="generative", k=5, pin=("x", "y:1"), bury=("z",), boost_category=("A > B",))


def test_an_address_has_what_differs_and_reads_back_the_same() -> None:
    address = urlencode(VIEW.asks, doseq=True)
    assert View.of(QueryParams(address)) == VIEW
    assert View().asks == {}
    assert View.of(QueryParams("other=1&user_id=+&query=%20tea%20")) == View(query="tea")


def test_a_number_that_is_none_is_refused() -> None:
    with pytest.raises(ValidationError, match="k"):
        View.of(QueryParams("k=many"))


def test_an_item_has_one_rule_at_most() -> None:
    assert View.model_validate(VIEW.adding("pin", "z")) == VIEW.model_copy(
        update={"pin": ("x", "y:1", "z"), "bury": ()}
    )
    assert View.model_validate(VIEW.adding("pin", "x")).pin == ("y:1", "x")
    assert View.model_validate(VIEW.dropping("pin", "x")).pin == ("y:1",)
    assert View.model_validate(VIEW.adding("bury_category", "A > B")).boost_category == ("A > B",)


def test_rules_are_those_of_a_request() -> None:
    request = RecommendRequest.model_validate({**VIEW.who, "k": VIEW.k, **VIEW.rules})
    assert [(one.item_id, one.position) for one in request.pin] == [("x", 1), ("y:1", 2)]
    assert [(one.items, one.categories) for one in (*request.boost, *request.bury)] == [
        (None, ["A > B"]),
        (["z"], None),
    ]
    assert View(history=("i", "j")).who == {"history": ["i", "j"]}
