"""The service in its own process, with real bundles, a real feature store and a real model store."""

from __future__ import annotations

import json
import re
import shutil
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from core.logs.answered import read_answered
from core.logs.events import EventLog
from core.logs.predictions import read_predictions
from flows.promotion import model_store
from serving.http.versions import SINCE
from tests.integration.running_service import (
    MAX_BODY_BYTES,
    MAX_K,
    Running,
    check_refusal,
    start_service,
    stop,
)
from tests.integration.serving_shop import ITEMS, TinyShop, copy_shop


@pytest.fixture(scope="module")
def shop(built_shop: Path, tmp_path_factory: pytest.TempPathFactory) -> TinyShop:
    return copy_shop(built_shop, tmp_path_factory.mktemp("shop"))


@pytest.fixture(scope="module")
def running(shop: TinyShop) -> Iterator[Running]:
    """Started before any bundle exists; its answers of that time are kept, then the whole bundle is promoted."""
    with start_service(shop, "service", spares=1) as started:
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
        assert (before[name].status_code, before[name].json()["error"]) == (503, sentence)
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


def test_an_answer_and_its_record_have_the_id_of_the_request(service: Running) -> None:
    asked = service.client.post("/v1/recommend", json={"user_id": "u07"}, headers={"x-request-id": "from-the-shop"})
    assert asked.headers["x-request-id"] == "from-the-shop"
    texts = service.client.post("/v1/feedback", json={"item_id": ITEMS[0], "stream": True, "seed": 1})
    assert (texts.status_code, len(texts.headers["x-request-id"])) == (200, 36)

    def is_recorded() -> bool:
        records = read_predictions(service.shop.layout.predictions)
        return ("from-the-shop", asked.json()["recommendation_id"]) in [
            (record["request_id"], record["recommendation_id"]) for record in records
        ]

    service.wait_for(is_recorded)


def test_how_requests_were_answered_is_counted_by_day_for_monitoring(service: Running) -> None:
    def counted(outcome: str) -> int:
        days = read_answered(service.shop.layout.answered).values()
        return sum(found.get("/v1/recommend", {}).get(outcome, 0) for found in days)

    service.wait_for(lambda: counted("failed") >= 1)  # it was asked before there was a bundle
    refused = counted("refused")
    service.post("/v1/recommend", k=-1)
    service.wait_for(lambda: counted("refused") > refused)


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
    counted = re.findall(
        r'^sommelier_stage_duration_seconds_count\{.*stage="(\w+)",variant="champion"\} [1-9]', metrics, re.M
    )
    assert {*counted} == {"features", "retrieve", "rank", "rerank", "reasons", "log"}
    assert f'model="{service.model()["model"]}"}} 1.0' in metrics


def test_no_id_of_anybody_stands_in_the_metrics(service: Running) -> None:
    assert service.client.get("/v1/users/u07").status_code == 200
    assert service.client.get("/a/made-up/path").status_code == 404
    metrics = service.client.get("/metrics").text
    counted = dict(
        re.findall(r'^bentoml_service_request_total\{endpoint="([^"]*)",http_response_code="(\d+)"', metrics, re.M)
    )
    assert {"/v1/users/{user_id}", "other"} <= set(counted)
    assert "u07" not in metrics
    assert "made-up" not in metrics


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


def test_a_spare_takes_the_place_of_a_killed_worker(service: Running) -> None:
    workers = psutil.Process(service.process.pid).children()
    seated = [one for one in workers if any(Path(file.path).name.startswith("seat-") for file in one.open_files())]
    assert (len(workers), len(seated)) == (2, 1)
    seated[0].kill()
    psutil.wait_procs(seated, timeout=5)
    service.wait_for(service.answers)
    service.wait_for(lambda: service.model()["ready"])
    assert service.post("/v1/recommend", user_id="u01", k=3).status_code == 200
    service.wait_for(lambda: len(psutil.Process(service.process.pid).children()) == 2)


def test_it_stops_when_told_and_leaves_nothing(running: Running) -> None:
    assert psutil.Process(running.process.pid).children(recursive=True)  # the supervisor has a worker
    assert stop(running.process) == []
    assert running.process.wait(5) == 0
    assert not running.answers()
