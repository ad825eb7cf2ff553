"""What a page of recommendations is asked for can be written into an address and read back."""

from __future__ import annotations

from urllib.parse import urlencode

import pytest
from pydantic import ValidationError
from starlette.datastructures import QueryParams

from serving.api.options import MAX_RULES
from serving.api.recommend import RecommendRequest
from serving.web.view import MAX_VISITED, View

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


def test_of_a_long_visit_the_newest_items_count_and_one_more_changes_it() -> None:
    visit = [f"i{n}" for n in range(MAX_VISITED + 5)]
    view = View.of(QueryParams(urlencode({"history": visit}, doseq=True)))
    assert view.history == tuple(visit[-MAX_VISITED:])
    then = View.of(QueryParams(urlencode(view.adding("history", "new"), doseq=True)))
    assert then.history == (*visit[-MAX_VISITED + 1 :], "new")
    assert view.adding("history", "new")["history"] == then.history


@pytest.mark.parametrize("name", ["pin", "boost", "bury", "boost_category", "bury_category"])
def test_one_rule_too_many_is_said_by_the_answer_and_more_are_cut(name: str) -> None:
    address = urlencode({name: [f"x{n}" for n in range(5 * MAX_RULES)]}, doseq=True)
    view = View.of(QueryParams(address))
    assert len(getattr(view, name)) == MAX_RULES + 1
    with pytest.raises(ValidationError, match="at most 20"):
        RecommendRequest.model_validate({**view.who, **view.rules})
    first = getattr(view, name)[0]
    fewer = View.model_validate(view.dropping(name, first))
    assert RecommendRequest.model_validate({**fewer.who, "k": MAX_RULES, **fewer.rules})


def test_items_and_categories_are_rules_of_one_kind() -> None:
    view = View(boost=tuple(map(str, range(19))), boost_category=("a", "b"))
    with pytest.raises(ValidationError, match="at most 20"):
        RecommendRequest.model_validate({**view.who, **view.rules})
