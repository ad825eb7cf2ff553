"""The service in its own process, with real bundles, a real feature store and a real model store."""

from __future__ import annotations

import json
import random
import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
import pytest

from core.logs.events import EventLog
from flows.promotion import model_store
from recommender.bundle.loading import load_bundle
from serving.http.versions import SINCE
from serving.lists.searching import Meaning
from tests.integration.running_service import (
    MAX_BODY_BYTES,
    MAX_K,
    Running,
    start_service,
    stop,
)
from tests.integration.serving_shop import ITEMS, KINDS, TinyShop, build_shop


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> TinyShop:
    return build_shop(tmp_path_factory.mktemp("shop"))


@pytest.fixture(scope="module")
def running(shop: TinyShop) -> Iterator[Running]:
    """Started before any bundle exists; its answers of that time are kept, then the whole bundle is promoted."""
    with start_service(shop, "service") as started:
        client = started.client
        started.before = {
            "livez": client.get("/livez"),
            "readyz": client.get("/readyz"),
            "model": client.get("/v1/model"),
            "recommend": started.post("/v1/recommend", k=3),
            "events": started.post(
                "/v1/events", events=[{"user_id": "early-bird", "item_id": ITEMS[0], "event": "purchase"}]
            ),
        }
        started.put_in_service(shop.whole)
        yield started


@pytest.fixture
def service(running: Running) -> Running:
    """The running service with the whole bundle, whatever the test before this one promoted."""
    if not all(running.model()["capabilities"].values()) or running.model()["problem"]:
        running.put_in_service(running.shop.whole)
    return running


def test_before_the_first_bundle_it_lives_and_says_why_it_is_not_ready(running: Running) -> None:
    before = running.before
    sentence = "Not ready: no bundle has been promoted yet: run the pipeline, and its bundle will be loaded."
    assert before["livez"].status_code == 200
    for name in ("readyz", "recommend"):
        assert (before[name].status_code, before[name].json()) == (503, {"error": sentence})
    assert before["model"].json()["ready"] is False
    assert "no bundle has been promoted yet" in before["model"].json()["problem"]


def test_it_recovers_by_itself_when_one_is_promoted(service: Running) -> None:
    assert service.client.get("/readyz").status_code == 200
    info = service.model()
    assert (info["ready"], info["problem"], info["n_items"]) == (True, None, len(ITEMS))
    assert info["capabilities"] == dict.fromkeys(
        ("recommend", "recommend_generative", "score", "feedback", "reasons", "similar", "search", "in_stock"), True
    )
    assert info["manifest"]["metrics"] == {"ndcg_at_10": 0.5}


def test_an_event_from_before_the_first_bundle_is_not_lost(service: Running) -> None:
    receipt = service.before["events"]
    assert receipt.status_code == 202
    assert receipt.json() == {"accepted": 1, "duplicates": 0, "left_out": 0, "pushed": False, "unknown_items": None}
    service.wait_for(lambda: service.recommend(user_id="early-bird")["cold_start"] is False)
    assert ITEMS[0] in service.recommend(user_id="early-bird", k=1)["items"][0]["because"]


def test_a_known_user_gets_items_with_reasons(service: Running) -> None:
    answer = service.recommend(user_id="u07", k=5)
    assert (answer["cold_start"], answer["reason"], len(answer["items"])) == (False, None, 5)
    assert answer["model"] == service.model()["model"]
    for item in answer["items"]:
        assert item["item_id"] in ITEMS
        assert item["label"].startswith("Number ")
        assert len(item["because"]) == 3


def test_an_unknown_user_and_nobody_at_all_get_a_marked_cold_answer(service: Running) -> None:
    unknown, nobody = service.recommend(user_id="who-is-this", k=4), service.recommend(k=4)
    assert (unknown["cold_start"], unknown["reason"]) == (True, "unknown user")
    assert (nobody["cold_start"], nobody["reason"]) == (True, "neither a user nor a history is given")
    assert unknown["items"] == nobody["items"]


def test_a_bare_history_is_answered_like_a_user(service: Running) -> None:
    answer = service.recommend(history=[ITEMS[0], ITEMS[1]], k=20)
    assert answer["cold_start"] is False
    assert not {ITEMS[0], ITEMS[1]} & {item["item_id"] for item in answer["items"]}


def test_unknown_items_of_a_bare_history_are_skipped(service: Running) -> None:
    answer = service.recommend(history=["delisted", ITEMS[0]], k=3)
    assert (answer["cold_start"], answer["skipped_history"]) == (False, ["delisted"])
    scores = service.post("/v1/score", history=["delisted"], item_ids=[ITEMS[3]]).json()
    assert (scores["cold_start"], scores["skipped_history"]) == (True, ["delisted"])
    assert scores["reason"] == "no item of the history is in the catalogue of this model"


def test_who_has_seen_everything_gets_an_empty_list(service: Running) -> None:
    """More than once, and with events that come after: the history that models read holds the newest ones alone."""
    bought = [{"user_id": "regular", "item_id": item, "event": "Purchase"} for item in ITEMS]
    assert service.post("/v1/events", events=bought).json()["pushed"] is True
    for by in ("blend", "generative"):
        answer = service.recommend(user_id="regular", k=20, by=by)
        assert (answer["cold_start"], answer["items"]) == (False, [])
    assert len(service.recommend(user_id="regular", k=20, exclude_seen=False)["items"]) == 20


def test_generative_retrieval_answers_where_it_is_asked_for(service: Running) -> None:
    answer = service.recommend(user_id="u07", k=20, by="generative")
    assert {item["part"] for item in answer["items"]} == {"generative"}
    found = [item["item_id"] for item in answer["items"]]
    blended = [item["item_id"] for item in service.recommend(user_id="u07", k=20)["items"]]
    assert sorted(found) == sorted(blended)  # all that the user has not seen, each once
    few = service.recommend(user_id="u07", k=3, by="generative", exclude=found[3:])
    assert [item["item_id"] for item in few["items"]] == found[:3]
    assert service.recommend(user_id="u07", by="generative", categories=["nowhere"])["items"] == []


def test_scores_are_probabilities_and_ratings(service: Running) -> None:
    answer = service.post("/v1/score", user_id="u07", item_ids=[ITEMS[20], ITEMS[3]]).json()
    assert [item["item_id"] for item in answer["items"]] == [ITEMS[20], ITEMS[3]]
    assert all(0 <= item["p_like"] <= 1 and 1 <= item["rating"] <= 5 for item in answer["items"])


def test_feedback_text_repeats_with_its_seed(service: Running) -> None:
    asked = {"user_id": "u07", "item_id": ITEMS[5], "kind": "review", "seed": 5}
    first, second = service.post("/v1/feedback", **asked).json(), service.post("/v1/feedback", **asked).json()
    assert first == second
    assert first["text"]
    assert (first["kind"], first["rating_source"]) == ("review", "predicted")
    assert service.post("/v1/feedback", **asked, rating=2).json()["rating_source"] == "given"


def test_a_reason_comes_with_its_facts(service: Running) -> None:
    asked = {"user_id": "u07", "item_id": ITEMS[5], "kind": "reason", "seed": 5}
    first, second = service.post("/v1/feedback", **asked).json(), service.post("/v1/feedback", **asked).json()
    assert first == second
    assert (first["kind"], first["grounded"], first["rating_source"]) == ("reason", "template", "none")
    assert first["text"] == " ".join(fact["text"] for fact in first["facts"])
    assert all(fact["support"] > 0 for fact in first["facts"])


def test_texts_of_many_pairs_come_whole_or_in_pieces(service: Running) -> None:
    pairs = [{"user_id": "u07", "item_id": ITEMS[5]}, {"item_id": ITEMS[6], "rating": 1}]
    for kind in ("review", "reason"):
        asked = {"pairs": pairs, "kind": kind, "seed": 5, "max_words": 20}
        whole = service.post("/v1/feedback", **asked).json()["items"]
        assert [text["item_id"] for text in whole] == [ITEMS[5], ITEMS[6]]
        assert all(1 <= len(text["text"].split()) <= 20 for text in whole)
        streamed = service.post("/v1/feedback", **asked, stream=True)
        assert streamed.headers["content-type"].startswith("text/event-stream")
        blocks = [block.split("\n") for block in streamed.text.strip().split("\n\n")]
        said = [(name.removeprefix("event: "), json.loads(data.removeprefix("data: "))) for name, data in blocks]
        ends = [data for name, data in said if name == "feedback"]
        assert [end["item_id"] for end in ends] == [ITEMS[5], ITEMS[6]]
        for index, end in enumerate(ends):
            pieces = [data["text"] for name, data in said if name == "text" and data["index"] == index]
            assert end["text"] == "".join(pieces) != ""
    assert 'sommelier_texts_total{outcome="written"}' in service.client.get("/metrics").text


def test_the_next_recommendation_knows_the_event(service: Running) -> None:
    before = service.recommend(user_id="u11", k=5)
    taken = before["items"][0]["item_id"]
    event = {"event_id": "bought-it", "user_id": "u11", "item_id": taken, "event": "purchase"}
    receipt = service.post("/v1/events", events=[event])
    assert receipt.status_code == 200
    assert receipt.json() == {"accepted": 1, "duplicates": 0, "left_out": 0, "pushed": True, "unknown_items": []}
    after = service.recommend(user_id="u11", k=5)
    assert taken not in [item["item_id"] for item in after["items"]]
    assert after["items"] != before["items"]
    assert taken in [b for i in service.recommend(user_id="u11", k=20)["items"] for b in i["because"]]
    again = service.post("/v1/events", events=[event, {**event, "event_id": "unheard", "item_id": "not-yet-listed"}])
    assert again.json() == {
        "accepted": 1,
        "duplicates": 1,
        "left_out": 0,
        "pushed": True,
        "unknown_items": ["not-yet-listed"],
    }


def test_the_shops_own_names_and_scale_are_kept_as_the_contracts(service: Running) -> None:
    about = {"user_id": "own-terms", "item_id": ITEMS[4]}
    sent = [
        {**about, "event_id": "own-1", "event": "Bought"},
        {**about, "event_id": "own-2", "event": "rating", "value": 7.5},
        {**about, "event_id": "own-3", "event": "hover"},
    ]
    receipt = service.post("/v1/events", events=sent)
    assert (receipt.status_code, receipt.json()["accepted"], receipt.json()["left_out"]) == (200, 2, 1)
    with closing(EventLog(service.shop.layout.events)) as log:
        kept = [(event.event, event.value) for _, event in log.read() if event.user_id == "own-terms"]
    assert kept == [("purchase", None), ("rating", 4.0)]
    too_much = service.post("/v1/events", events=[{**about, "event": "rating", "value": 10.5}])
    check_refusal(too_much, 400, "events.0.value=10.5, expected a rating from 0 to 10, the shop's scale")


def test_a_new_user_is_warm_after_one_event(service: Running) -> None:
    assert service.recommend(user_id="cold-start-user")["reason"] == "unknown user"
    service.post("/v1/events", events=[{"user_id": "cold-start-user", "item_id": ITEMS[9], "event": "view"}])
    assert service.recommend(user_id="cold-start-user", k=1)["items"][0]["because"] == [ITEMS[9]]


BAD = [
    ("/v1/recommend", {"k": 0}, 400, "k=0, input should be greater than or equal to 1"),
    ("/v1/recommend", {"k": MAX_K + 1}, 400, f"k={MAX_K + 1}, expected 1 to {MAX_K}"),
    ("/v1/recommend", {"k": "ten"}, 400, 'k="ten", input should be a valid integer'),
    ("/v1/recommend", {"user": "u07"}, 400, "user is not one of its fields"),
    ("/v1/recommend", {"user_id": "u07", "history": [ITEMS[0]]}, 400, "user_id and history are both given"),
    ("/v1/recommend", {"user_id": "u" * 2049}, 400, "string should have at most 2048 characters"),
    ("/v1/recommend", {"history": ["i"] * 1001}, 400, "list should have at most 1000 items"),
    ("/v1/score", {}, 400, "item_ids is missing"),
    ("/v1/score", {"user_id": "u07", "item_ids": ["ghost"]}, 404, "item_ids='ghost', expected items of the catalogue"),
    ("/v1/feedback", {"item_id": "ghost"}, 404, "item_id='ghost'"),
    ("/v1/feedback", {"item_id": ITEMS[0], "rating": 9}, 400, "rating=9, input should be less than or equal to 5"),
    ("/v1/feedback", {"item_id": ITEMS[0], "kind": "ode"}, 400, "expected 'review' or 'reason'"),
    ("/v1/events", {"events": [{"user_id": "u", "item_id": "i", "event": "ate"}]}, 400, "events.0.event='ate'"),
    ("/v1/events", {"events": [{"user_id": "u", "item_id": "i", "event": "rating"}]}, 400, "events.0.value=null"),
    ("/v1/events", {"events": [{"user_id": "u", "event": "view"}]}, 400, "events.0.item_id is missing"),
    (
        "/v1/events",
        {"events": [{"user_id": "u", "item_id": "i", "event": "view", "timestamp": "2100-01-01T00:00:00Z"}]},
        400,
        "not more than 5 minutes in the future",
    ),
    ("/nowhere", {}, 404, "Cannot find POST /nowhere"),
]


@pytest.mark.parametrize(("path", "body", "status", "said"), BAD, ids=[f"{b[0][1:]}-{b[3][:24]}" for b in BAD])
def test_bad_input_gets_one_clear_sentence(
    service: Running, path: str, body: dict[str, Any], status: int, said: str
) -> None:
    check_refusal(service.post(path, **body), status, said)


@pytest.mark.parametrize(
    ("content", "media_type", "status", "said"),
    [
        (b'{"k": ', "application/json", 400, "the body is not JSON"),
        (b"\xff\xfe", "application/json", 400, "the body is not JSON"),
        (b"[]", "application/json", 400, "body=[], expected a JSON object"),
        (b'{"k": "' + b"x" * MAX_BODY_BYTES + b'"}', "application/json", 413, f"longer than {MAX_BODY_BYTES} bytes"),
        (b"k=3", "application/x-www-form-urlencoded", 415, "expected application/json"),
    ],
    ids=["malformed", "not-text", "a-list", "too-long", "a-form"],
)
def test_bad_bodies_get_one_clear_sentence(
    service: Running, content: bytes, media_type: str, status: int, said: str
) -> None:
    check_refusal(
        service.client.post("/v1/recommend", content=content, headers={"content-type": media_type}), status, said
    )


def check_refusal(answer: httpx.Response, status: int, said: str) -> None:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    assert list(answer.json()) == ["error"]
    assert said in answer.json()["error"]
    assert "\n" not in answer.json()["error"]


def test_the_page_and_the_metrics_are_there(service: Running) -> None:
    service.recommend(user_id="nobody-knows-me")
    assert "swagger-ui" in service.client.get("/").text
    for asset in ("swagger-ui.css", "swagger-ui-bundle.js"):
        assert service.client.get(f"/static_content/{asset}").status_code == 200
    assert service.client.get("/docs.json").json()["info"]["title"] == "Sommelier"
    metrics = service.client.get("/metrics").text
    assert 'sommelier_requests_total{endpoint="/v1/recommend",outcome="ok",status="200"}' in metrics
    assert 'sommelier_cold_starts_total{endpoint="/v1/recommend",reason="unknown user"}' in metrics
    assert "sommelier_request_duration_seconds_bucket" in metrics
    assert f'model="{service.model()["model"]}"}} 1.0' in metrics


BOTH = pytest.mark.parametrize("by", ["blend", "generative"])


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


def test_the_paths_of_earlier_releases_are_answered_the_same_and_marked(service: Running) -> None:
    before = answers_counted(service)
    answers = [service.post(path, user_id="u07", k=3) for path in ("/recommend", "/v1/recommend")]
    old, new = answers
    assert old.json()["items"] == new.json()["items"]
    assert old.headers["deprecation"] == SINCE
    assert old.headers["link"] == '</v1/recommend>; rel="successor-version"'
    assert "deprecation" not in new.headers
    assert answers_counted(service) == before + 2
    assert service.client.get("/model").json() == service.model()
    check_refusal(service.post("/score"), 400, "item_ids is missing")


def test_what_a_bundle_lacks_is_said_with_the_data_it_needs(service: Running) -> None:
    service.put_in_service(service.shop.bare)
    can = service.model()["capabilities"]
    lacking = dict.fromkeys(("recommend_generative", "score", "feedback", "reasons"), False)
    assert can == {**dict.fromkeys(("recommend", "similar", "search", "in_stock"), True), **lacking}
    check_refusal(service.post("/v1/score", item_ids=[ITEMS[0]]), 501, "expected one trained on ratings")
    check_refusal(service.post("/v1/feedback", item_id=ITEMS[0]), 501, "expected one trained on review texts")
    check_refusal(service.post("/v1/feedback", item_id=ITEMS[0], kind="reason"), 501, "without an explainer")
    check_refusal(service.post("/v1/recommend", by="generative"), 501, "without a generative part")
    assert service.recommend(user_id="u07")["cold_start"] is False


def fallback(service: Running) -> str:
    lines = service.client.get("/metrics").text.splitlines()
    return next(line.rpartition(" ")[2] for line in lines if line.startswith("sommelier_bundle_fallback"))


def answers_counted(service: Running) -> float:
    lines = service.client.get("/metrics").text.splitlines()
    return sum(
        float(line.rpartition(" ")[2])
        for line in lines
        if line.startswith('sommelier_requests_total{endpoint="/v1/recommend"')
    )


def test_a_damaged_bundle_is_reported_and_the_one_before_serves_also_after_a_restart(
    service: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = service.model()["model"]
    damaged = tmp_path / "damaged"
    # The one in service is not to be this very one: its digest would be the same.
    shutil.copytree(service.shop.bare, damaged)
    weights = damaged / "sequence" / "sequence.safetensors"
    weights.write_bytes(weights.read_bytes()[:-8])
    monkeypatch.setattr(model_store, "verify_files", lambda *_: None)  # the damage comes after the copying
    new = service.promote(damaged)
    service.wait_for(lambda: service.model()["problem"] is not None)
    told = service.model()
    assert f"{new} cannot be loaded" in told["problem"]
    assert "sequence/sequence.safetensors" in told["problem"]
    assert told["problem"].endswith(f"in service in its place: {old}")
    assert (told["promoted"], told["model"], service.recommend(k=1)["model"]) == (new, old, old)
    assert service.client.get("/readyz").status_code == 200
    service.wait_for(lambda: fallback(service) == "1.0")
    counted = answers_counted(service)
    with start_service(service.shop, "second") as second:
        second.wait_for(lambda: second.client.get("/readyz").status_code == 200)
        # Services of one model store count each by itself.
        assert answers_counted(second) == 0
        assert counted > 0
        told = second.model()
        assert (told["promoted"], told["model"]) == (new, old)
        assert f"in service in its place: {old}" in told["problem"]
        assert f"in service in its place: {old}" in second.log.read_text()
    assert answers_counted(service) >= counted
    assert service.roll_back() == old
    service.wait_for(lambda: service.model()["problem"] is None)
    assert service.model()["promoted"] == service.model()["model"] == old
    service.wait_for(lambda: fallback(service) == "0.0")


def test_two_promotions_under_load_fail_no_request(service: Running) -> None:
    seen: list[tuple[int, str]] = []
    done = threading.Event()

    def ask(number: int) -> None:
        with httpx.Client(base_url=service.client.base_url, timeout=30) as client:
            while not done.is_set():
                answer = client.post("/v1/recommend", json={"user_id": f"u{number:02}", "k": 5})
                seen.append((answer.status_code, answer.json().get("model", answer.text)))

    def answered_by(model: str) -> bool:
        return any(one == model for _, one in list(seen))

    first = service.model()["model"]
    askers = [threading.Thread(target=ask, args=(number,)) for number in range(4)]
    for asker in askers:
        asker.start()
    promoted: list[str] = []
    try:
        service.wait_for(lambda: answered_by(first))
        for bundle in (service.shop.bare, service.shop.whole):
            promoted.append(service.put_in_service(bundle))
            service.wait_for(lambda: answered_by(promoted[-1]))
    finally:
        done.set()
        for asker in askers:
            asker.join()
    assert {status for status, _ in seen} == {200}
    assert {model for _, model in seen} == {first, *promoted}


def test_it_stops_when_told_and_leaves_nothing(running: Running) -> None:
    assert psutil.Process(running.process.pid).children(recursive=True)  # the supervisor has a worker
    assert stop(running.process) == []
    assert running.process.wait(5) == 0
    assert not running.answers()
