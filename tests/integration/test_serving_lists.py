"""The lists of the running service over HTTP: options, what is popular, new and similar, search, and records."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recommender.bundle.loading import load_bundle
from recommender.bundle.manifest import read_manifest
from serving.lists.searching import Meaning
from tests.integration.running_service import (
    MAX_K,
    Running,
    check_refusal,
    start_service,
)
from tests.integration.serving_shop import ITEMS, KINDS, TinyShop, copy_shop

BOTH = pytest.mark.parametrize("by", ["blend", "generative"])


@pytest.fixture(scope="module")
def shop(built_shop: Path, tmp_path_factory: pytest.TempPathFactory) -> TinyShop:
    return copy_shop(built_shop, tmp_path_factory.mktemp("shop"))


@pytest.fixture(scope="module")
def service(shop: TinyShop) -> Iterator[Running]:
    with start_service(shop, "service") as running:
        running.put_in_service(shop.whole)
        yield running


@BOTH
def test_the_options_of_a_list_hold_for_every_way_of_ranking(service: Running, by: str) -> None:
    wanted = {"categories": [KINDS[0], KINDS[1]], "min_price": 6, "max_price": 13}
    wanted["attributes"] = [{"name": "item_n_events", "min": 1}]
    pins = [{"item_id": ITEMS[3], "position": 2, "even_if_seen": True}, {"item_id": ITEMS[9], "position": 1}]
    rules = {"pin": pins, "boost": [{"categories": [KINDS[1]], "factor": 10}], "bury": [{"items": ITEMS[:3]}]}
    answer = service.recommend(user_id="u07", k=6, by=by, exclude=[ITEMS[5]], **wanted, **rules)
    shown = [item["item_id"] for item in answer["items"]]
    assert shown[1] == ITEMS[3]
    assert not {ITEMS[5], ITEMS[9]} & set(shown)
    assert all(6 <= item["price"] <= 13 and item["category"] in KINDS[:2] for item in answer["items"])
    by_rule = {(one["rule"], one["number"]): one for one in answer["applied"]}
    assert list(by_rule) == [("pin", 0), ("pin", 1), ("boost", 0), ("bury", 0)]
    assert by_rule["pin", 1]["note"] == "left out by the filters"
    for one in answer["applied"]:
        for moved in one["items"]:
            place = moved["to_place"]
            assert place is None or shown[place - 1] == moved["item_id"]


@BOTH
def test_a_list_may_explore_with_propensities(service: Running, by: str) -> None:
    for kind in ("epsilon", "thompson"):
        asked = {"user_id": "u07", "k": 4, "by": by, "exploration": {"kind": kind, "seed": 11}}
        first, second = service.recommend(**asked), service.recommend(**asked)
        assert first["items"] == second["items"]
        assert all(0 < item["propensity"] <= 1 for item in first["items"])
        assert first["exploration"]["seed"] == 11


def test_an_answer_leads_back_to_its_bundle(service: Running, shop: TinyShop) -> None:
    answer = service.recommend(user_id="u07", k=3)
    path = f"/v1/lineage/{answer['recommendation_id']}"
    service.wait_for(lambda: service.client.get(path).status_code == 200)  # the log writes within a moment
    found = service.client.get(path).json()
    assert found["shown"]["items"] == [item["item_id"] for item in answer["items"]]
    assert found["bundle"]["digest"] == read_manifest(shop.whole).digest
    assert [one["action"] for one in found["promotions"]] == ["promoted"]
    check_refusal(service.client.get("/v1/lineage/made-up"), 404, "made-up")


def test_many_users_are_answered_in_their_order(service: Running) -> None:
    users = [
        {"user_id": "u07"},
        {"history": ["delisted", ITEMS[0]]},
        {"user_id": "u08", "context": {"items": [ITEMS[4]]}},
    ]
    answers = service.post("/v1/recommend", users=users, k=3).json()["answers"]
    assert [one["user_id"] for one in answers] == ["u07", None, "u08"]
    assert answers[1]["skipped_history"] == ["delisted"]
    assert answers[0]["items"] == service.recommend(user_id="u07", k=3)["items"]
    check_refusal(
        service.post("/v1/recommend", users=[{}] * 65), 400, "users=65, expected at most serving.max_users=64"
    )


def test_what_counts_as_seen_may_be_said_in_a_request(service: Running) -> None:
    def shown(**asked: Any) -> set[str]:
        return {item["item_id"] for item in service.recommend(user_id="u23", k=MAX_K, **asked)["items"]}

    # All of the user's events are ratings, long ago.
    assert len(shown(seen={"within_days": 1})) == MAX_K
    assert len(shown()) == len(ITEMS) - 12
    assert shown() == shown(seen={"within_days": 36500}) == shown(seen={"at_least": "rating"})
    check_refusal(service.post("/v1/recommend", seen={"within_days": 1}), 400, "seen, without a user_id")
    later = "2099-01-01T00:00:00+00:00"
    check_refusal(service.post("/v1/recommend", context={"time": later}), 400, "expected now or later, within 366 days")
    unknown = [{"name": "colour", "equals": "red"}]
    check_refusal(
        service.post("/v1/recommend", attributes=unknown), 400, "expected an attribute of the catalogue: brand"
    )
    check_refusal(service.post("/v1/recommend", pin=[{"item_id": "ghost", "position": 1}]), 404, "pin.item_id='ghost'")


def ask(service: Running, path: str, **body: Any) -> dict[str, Any]:
    answer = service.post(path, **body)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def test_popular_items_count_every_event_and_new_ones_have_a_date(service: Running) -> None:
    answer = ask(service, "/v1/popular", k=5, per_category=2)
    counts = [item["score"] for item in answer["items"]]
    assert counts == sorted(counts, reverse=True)
    assert {one["category"] for one in answer["categories"]} == set(KINDS)
    top = answer["items"][0]["item_id"]
    others = [item["item_id"] for item in answer["items"][1:]]
    before = next(item["score"] for item in answer["items"] if item["item_id"] == others[0])
    sent = [{"user_id": f"fan-{n}", "item_id": others[0], "event": "view"} for n in range(80)]
    assert ask(service, "/v1/events", events=sent)["pushed"] is True
    after = ask(service, "/v1/popular", k=5)["items"][0]
    assert (after["item_id"], after["score"]) == (others[0], before + 80)
    assert ask(service, "/v1/popular", k=1, days=1)["items"][0]["item_id"] == others[0], "what happened today"
    assert ask(service, "/v1/popular", k=1, user_id="fan-1")["items"][0]["item_id"] == top
    check_refusal(service.post("/v1/popular", days=3), 400, "days=3, expected one of 1, 7, 30")
    latest = ask(service, "/v1/latest", k=10, categories=[KINDS[1]])["items"]
    assert [item["since"] for item in latest] == sorted((item["since"] for item in latest), reverse=True)
    assert {item["category"] for item in latest} == {KINDS[1]}


def test_similar_items_and_users_are_found(service: Running) -> None:
    answer = ask(service, "/v1/similar", item_id=ITEMS[0], k=5, exclude=[ITEMS[1]])
    shown = [item["item_id"] for item in answer["items"]]
    assert len(shown) == 5
    assert not {ITEMS[0], ITEMS[1]} & set(shown)
    among = [f"u{n:02}" for n in range(30)]
    users = ask(service, "/v1/similar", user_id="u07", among=[*among, "stranger"], k=10)
    assert [user["user_id"] for user in users["users"]] != among[:10]
    assert users["unknown_users"] == ["stranger"]
    assert all(-1 <= user["score"] <= 1 for user in users["users"])
    check_refusal(service.post("/v1/similar", item_id="ghost"), 404, "item_id='ghost'")
    check_refusal(service.post("/v1/similar", user_id="ghost", among=["u01"]), 404, "user_id='ghost'")


def test_a_search_finds_words_and_meaning_for_a_user(service: Running) -> None:
    answer = ask(service, "/v1/search", query="number 3 of the tea shelf", k=6)
    assert answer["items"][0]["item_id"] == ITEMS[13]
    assert answer["items"][0]["lexical"] == pytest.approx(1 / 61)
    assert answer["ranked_by"] == {"lexical": 1, "semantic": 1, "personal": 0}
    own = ask(service, "/v1/search", query="a hot drink", user_id="u07", k=6, min_price=8.0)
    assert own["ranked_by"]["personal"] == 0.5
    assert own["items"]
    assert all(item["price"] >= 8 and item["lexical"] == 0 and item["semantic"] > 0 for item in own["items"])
    check_refusal(service.post("/v1/search", query=" "), 400, "at least 1 character")


def test_an_items_own_text_is_nearest_to_it_in_meaning(shop: TinyShop) -> None:
    bundle = load_bundle(shop.whole, parts=())
    nearness, catalogue = Meaning(bundle), bundle.catalogue
    for item_id in (ITEMS[3], ITEMS[14]):
        found = nearness(catalogue.text(item_id))
        assert int(np.argmax(found)) == catalogue.ids.index(item_id) - 1
        assert found.max() == pytest.approx(1, abs=1e-3)
        assert found.min() >= -1.001


def test_items_and_users_are_read(service: Running) -> None:
    item = service.client.get(f"/v1/items/{ITEMS[4]}").json()
    assert (item["item_id"], item["category"], item["price"]) == (ITEMS[4], KINDS[0], 9.0)
    assert item["now"]["item_n_events"] >= item["attributes"]["item_n_events"]
    user = service.client.get("/v1/users/u09").json()
    assert len(user["history"]) == 12
    assert {entry["event"] for entry in user["history"]} == {"rating"}
    assert user["features"]["n_ratings"] == 12
    assert user["n_seen"] == 12
    check_refusal(service.client.get("/v1/items/ghost/of%20a/path"), 404, "item_id='ghost/of a/path'")
    check_refusal(service.client.get("/v1/users/ghost"), 404, "user_id='ghost', expected a user of the online store")
    metrics = service.client.get("/metrics").text
    assert 'sommelier_requests_total{endpoint="/v1/items/{item_id}",outcome="ok",status="200"}' in metrics


def test_random_requests_are_answered_and_obey_their_filters(service: Running) -> None:
    chance = random.Random(11)
    number_of = {item_id: n for n, item_id in enumerate(ITEMS)}

    def some(values: Sequence[str], n: int) -> list[str]:
        return chance.sample(values, chance.randint(1, n))

    paths: dict[str, Callable[[], dict[str, Any]]] = {
        "/v1/recommend": lambda: chance.choice(
            [{"user_id": "u30", "by": "generative"}, {"user_id": "u31"}, {"history": some(ITEMS, 5)}, {}]
        ),
        "/v1/popular": lambda: {"days": chance.choice([1, 7, 30, None])},
        "/v1/latest": dict,
        "/v1/similar": lambda: {"item_id": chance.choice(ITEMS)},
        "/v1/search": lambda: {"query": chance.choice(["tea", "a shelf of cheese", "number 7"]), "user_id": "u30"},
    }
    n_shown = 0
    for path in [*paths] * 16:
        wanted: dict[str, Any] = {
            "categories": some(KINDS, 2), "min_price": chance.uniform(0, 14), "max_price": chance.uniform(15, 34),
            "in_stock": chance.random() < 0.8, "exclude": some(ITEMS, 6), "allow": some(ITEMS, 25),
            "attributes": [{"name": "country", "any_of": some(["FR", "IT", "ES"], 2)}],
        }  # fmt: skip
        asked = {name: value for name, value in wanted.items() if chance.random() < 0.4}
        moved = {name: [{"items": some(ITEMS, 9), "factor": chance.uniform(1.1, 10)}] for name in ("boost", "bury")}
        answer = ask(service, path, k=chance.randint(1, MAX_K), **asked, **moved, **paths[path]())
        for item in answer["items"]:
            number = number_of[item["item_id"]]
            assert item["category"] in asked.get("categories", KINDS)
            assert asked.get("min_price", 0) <= item["price"] <= asked.get("max_price", 99)
            assert "in_stock" not in asked or (number % 4 > 0) == asked["in_stock"]
            assert "attributes" not in asked or ("FR", "IT")[number % 2] in asked["attributes"][0]["any_of"]
            assert item["item_id"] not in asked.get("exclude", [])
            assert item["item_id"] in asked.get("allow", ITEMS)
            n_shown += 1
    assert n_shown > 100
