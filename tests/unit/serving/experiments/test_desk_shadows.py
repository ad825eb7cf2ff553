"""What a shadow does beside an answer, and what is recorded of both."""

from __future__ import annotations

import pytest

from serving.api.options import Pin
from tests.unit.serving.experiments.test_desk import CHAMPION, MODEL, Desk, desk

__all__ = ["desk"]


def test_a_shadow_is_compared_and_never_shown(desk: Desk) -> None:
    desk.begin("shadow", 1.0)
    answer = desk.ask(user_id="u")
    assert [item.item_id for item in answer.items] == ["a", "b", "c"]
    shown, shadow = sorted(desk.records(), key=lambda record: record["role"], reverse=True)
    assert (shown["role"], shown["experiment"]) == ("shown", "")
    assert shadow == {
        **shadow,
        "recommendation_id": answer.recommendation_id,
        "role": "shadow",
        "experiment": "try",
        "variant": "new",
        "model": f"{MODEL}:v2",
        "items": ["c", "a", "x"],
        "overlap": pytest.approx(2 / 3),
        "rank_correlation": -1.0,
    }
    assert desk.counts.found["shadow compared"] == 1


def test_what_is_pinned_makes_a_shadow_no_more_like_what_is_shown(desk: Desk) -> None:
    desk.begin("shadow", 1.0)
    desk.ask(user_id="u", pin=[Pin(item_id="a", position=1)])
    shown, shadow = sorted(desk.records(), key=lambda record: record["role"], reverse=True)
    assert (shown["rules"], shadow["rules"]) == (["pin:0", "", ""], ["", "pin:0", ""])
    assert (shadow["overlap"], shadow["rank_correlation"]) == (0.5, None), "of b, c and c, x"


def test_a_list_of_pinned_items_alone_tells_nothing_of_a_shadow(desk: Desk) -> None:
    desk.begin("shadow", 1.0)
    desk.ask(user_id="u", pin=[Pin(item_id=item, position=n) for n, item in enumerate("abc", 1)])
    (shadow,) = (record for record in desk.records() if record["role"] == "shadow")
    assert shadow.get("overlap") is None


def test_a_shadow_answers_with_its_own_list_where_what_is_shown_explores(desk: Desk) -> None:
    desk.begin("shadow", 1.0)
    desk.ask(user_id="u", exploration={"kind": "epsilon", "seed": 7})
    desk.records()
    (shadow,) = (engine for engine in desk.engines if engine.asked)
    assert [one.exploration for one in shadow.asked] == [None]
    assert CHAMPION.value.asked[-1].exploration is not None


def test_a_shadow_takes_its_share_of_the_answers(desk: Desk) -> None:
    desk.begin("shadow", 0.25)
    for _ in range(200):
        desk.ask(user_id="u")
        assert desk.desk._shadows.wait(10)
    assert 25 < desk.counts.found["shadow compared"] < 80
