"""Items that clients change while the service runs, and two workers' worth of processes that follow."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from core.logs.audit import read_acts
from core.overrides import Overrides
from core.removals import read_waiting
from serving.api.changes import ItemPatch, UserPatch
from serving.api.lists import LatestRequest, PopularRequest, SearchRequest
from tests.integration.running_service import Running, start_service
from tests.integration.serving_shop import ITEMS, USERS, TinyShop, copy_shop


@pytest.fixture(scope="module")
def shop(built_shop: Path, tmp_path_factory: pytest.TempPathFactory) -> TinyShop:
    return copy_shop(built_shop, tmp_path_factory.mktemp("shop"))


@pytest.fixture(scope="module")
def service(shop: TinyShop) -> Iterator[Running]:
    with start_service(shop, "service") as running:
        running.put_in_service(shop.whole)
        yield running


def listed(service: Running, **asked: Any) -> dict[str, dict[str, Any]]:
    items = service.recommend(history=[ITEMS[0]], k=20, exclude_seen=False, **asked)["items"]
    return {item["item_id"]: item for item in items}


def test_a_price_shows_in_every_process_within_the_poll(service: Running, shop: TinyShop) -> None:
    wanted = next(iter(listed(service)))
    with start_service(shop, "second") as second:
        second.wait_for(lambda: bool(second.model()["ready"]))
        said = service.ask.change_item(wanted, ItemPatch(price=0.01, attributes={"colour": "blue"}))
        assert said.in_catalogue
        for one in (service, second):
            one.wait_for(lambda one=one: listed(one)[wanted]["price"] == 0.01)
            assert list(listed(one, max_price=0.01)) == [wanted]
            assert list(listed(one, attributes=[{"name": "colour", "equals": "blue"}])) == [wanted]
            assert one.ask.item(wanted).price == 0.01


def test_a_deleted_item_is_gone_also_for_a_bundle_that_comes_later(service: Running, shop: TinyShop) -> None:
    gone, paused, *_ = listed(service)
    ask = service.ask
    assert ask.delete_item(gone).deleted
    assert ask.change_item(paused, ItemPatch(available=False)).available is False
    service.wait_for(lambda: not {gone, paused} & listed(service).keys())
    searched = SearchRequest(query=gone.split("-")[0], k=20)
    for answer in (ask.popular(PopularRequest(k=20)), ask.latest(LatestRequest(k=20)), ask.search(searched)):
        assert not {gone, paused} & {item.item_id for item in answer.items}, answer
    service.put_in_service(shop.bare)
    assert not {gone, paused} & listed(service).keys()
    service.put_in_service(shop.whole)
    ask.change_item(paused, ItemPatch(available=True))
    service.wait_for(lambda: paused in listed(service))


def test_what_is_refused_says_why_and_keeps_nothing(service: Running, shop: TinyShop) -> None:
    before = Overrides(shop.layout.overrides).newest()
    for answer, said in (
        (service.client.patch("/v1/items/x", json={"price": -1}), "price=-1"),
        (service.client.patch("/v1/items/x", json={"colour": "red"}), "colour is not one of its fields"),
        (service.client.patch("/v1/items/x", content=b"{", headers={"content-type": "application/json"}), "not JSON"),
        (service.client.patch("/v1/users/%00", json={}), "an id without a NUL"),
    ):
        assert answer.status_code == 400
        assert said in answer.json()["error"]
    assert Overrides(shop.layout.overrides).newest() == before


def test_changes_stand_in_the_audit_log_without_ids_of_people(service: Running, shop: TinyShop) -> None:
    service.ask.change_user("zora-4711", UserPatch(attributes={"job": "cook"}))
    acts = [act.what for act in read_acts(shop.layout.audit)]
    assert any(what.startswith("PATCH /v1/items/") or what.startswith("PATCH /items/") for what in acts)
    assert not any("zora" in what for what in acts)


def test_a_user_is_forgotten_from_the_answer_on(service: Running, shop: TinyShop) -> None:
    user = USERS[9]
    assert service.recommend(user_id=user, k=1)["cold_start"] is False
    first = service.client.delete(f"/v1/users/{user}")
    assert first.status_code == 202, first.text
    assert first.json()["receipt"] == 1
    assert user not in first.text
    assert service.recommend(user_id=user, k=1)["cold_start"] is True
    assert service.client.get(f"/v1/users/{user}").status_code == 404
    event = {"event_id": "late", "user_id": user, "item_id": ITEMS[0], "event": "view"}
    assert service.post("/v1/events", events=[event]).status_code == 400
    assert service.client.delete(f"/v1/users/{user}").json() == first.json()
    assert service.client.delete("/v1/users/ghost").status_code == 202
    assert service.client.delete("/v1/users/%00").status_code == 400
    assert read_waiting(shop.layout.to_forget) == (user, "ghost")
    assert {act.what for act in read_acts(shop.layout.audit) if act.what.startswith("DELETE")} >= {"DELETE /users/*"}
    assert not any(user in act.what for act in read_acts(shop.layout.audit))
