"""This shop's service is asked and no other, past any proxy; a loaded bundle answers what the service would."""

from __future__ import annotations

import json
import pickle
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from core.errors import NotRunning
from core.layout import Layout
from core.overrides import Overrides
from core.settings.loading import load_settings
from core.settings.tree import Settings
from serving.answering import Answering, LoadedBundle, connect, find_service, load_engine, read_request
from serving.api.feedback import FeedbackPair, FeedbackRequest, TextPiece
from serving.api.lists import SimilarRequest
from serving.api.recommend import RecommendRequest
from serving.api.score import ScoreRequest, Scores
from serving.errors import RequestFailed
from serving.watcher import Promoted
from tests.unit.serving.fake_engine import make

SCORES = {"model": "m", "user_id": "u1", "cold_start": False, "reason": None, "items": []}


class Service(HTTPServer):
    """Answers `/v1/model` with a model, everything else with one answer, and keeps what it was asked."""

    model: str | None = "sommelier-corner:v1"
    answer: tuple[int, Any] = (200, SCORES)

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked: list[tuple[str, Any]] = []
        self.keys: list[str | None] = []


class _Handler(BaseHTTPRequestHandler):
    server: Service

    def do_GET(self) -> None:
        self._send(200, {"model": self.server.model})

    def do_POST(self) -> None:
        self.server.keys.append(self.headers["Authorization"])
        self.server.asked.append((self.path, json.loads(self.rfile.read(int(self.headers["Content-Length"])))))
        self._send(*self.server.answer)

    def log_message(self, *_: Any) -> None:
        pass

    def _send(self, status: int, body: Any) -> None:
        self.send_response(status)
        self.end_headers()
        self.wfile.write(body if isinstance(body, bytes) else json.dumps(body).encode())


@pytest.fixture
def service() -> Iterator[Service]:
    server = Service()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def settings(tmp_path, service: Service) -> Settings:
    return load_settings(
        overrides=[f"work_dir={tmp_path}", "shop=corner", f"platform.service_port={service.server_port}"]
    )


def test_the_service_of_the_shop_is_asked_past_any_proxy(settings, service, monkeypatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "")
    said: list[str] = []
    client = connect(settings, said.append)
    answer = client.score(ScoreRequest(user_id="u1", item_ids=["i1", "i2"]))
    assert answer == Scores.model_validate(SCORES)
    assert service.asked == [("/v1/score", {"user_id": "u1", "item_ids": ["i1", "i2"]})]
    assert said == []


@pytest.mark.parametrize("model", ["sommelier-corner-2:v1", None])
def test_a_service_of_another_shop_or_without_a_bundle_is_not_asked(settings, service, model) -> None:
    service.model = model
    assert find_service(settings) is None


def test_the_key_of_the_environment_goes_along(settings, service, monkeypatch) -> None:
    monkeypatch.setenv("SOMMELIER_API_KEY", "som_1_2")
    connect(settings, print).score(ScoreRequest(user_id="u1", item_ids=["i1"]))
    monkeypatch.delenv("SOMMELIER_API_KEY")
    connect(settings, print).score(ScoreRequest(user_id="u1", item_ids=["i1"]))
    assert service.keys == ["Bearer som_1_2", None]


def test_a_refusal_keeps_the_words_of_the_service(settings, service) -> None:
    service.answer = (404, {"error": "Cannot score: item_ids='i9', expected items of the catalogue of m:1."})
    client = connect(settings, print)
    with pytest.raises(RequestFailed) as error:
        client.score(ScoreRequest(user_id="u1", item_ids=["i9"]))
    assert str(error.value) == service.answer[1]["error"]
    assert str(pickle.loads(pickle.dumps(error.value))) == str(error.value)


@pytest.mark.parametrize("answer", [(502, b"<html>"), (200, {"model": "m"}), (500, {"detail": "x"})])
def test_what_is_no_answer_is_told_with_the_address(settings, service, answer) -> None:
    service.answer = answer
    client = connect(settings, print)
    with pytest.raises(NotRunning, match=rf"Cannot ask /v1/score: error=.*127\.0\.0\.1:{service.server_port}"):
        client.score(ScoreRequest(user_id="u1", item_ids=["i9"]))


def test_without_a_service_and_without_a_bundle_both_are_named(settings, service) -> None:
    service.model = None
    with pytest.raises(
        NotRunning, match=rf"shop=corner, without a service at http://127\.0\.0\.1:{service.server_port}"
    ):
        load_engine(settings)


def test_a_bundle_that_is_loaded_shows_what_clients_said_of_its_items(settings, service, monkeypatch) -> None:
    service.model = None
    engine = make()
    monkeypatch.setattr("serving.answering.find_promoted", lambda _: [Promoted("m:1", settings.work_dir)])
    monkeypatch.setattr("recommender.bundle.loading.load_bundle", lambda *_: engine.bundle)
    monkeypatch.setattr("features.online.OnlineFeatures", lambda *_: engine.features)
    layout = Layout(settings.work_dir, settings.shop)
    overrides = Overrides(layout.overrides)
    overrides.delete("items", "i11")
    overrides.patch("items", "i10", {}, {}, is_available=False)
    overrides.patch("items", "i9", {"title": "A new title"}, {})
    listed = connect(settings, lambda _: None).recommend(RecommendRequest(user_id="known", k=2)).items
    assert (listed[0].item_id, listed[0].label) == ("i9", "A new title")
    assert not {"i10", "i11"} & {item.item_id for item in listed}


def test_a_loaded_bundle_answers_every_request_that_the_service_does() -> None:
    engine = make()
    loaded: Answering = LoadedBundle(engine)
    assert [i.item_id for i in loaded.recommend(RecommendRequest(user_id="known", k=2)).items] == ["i11", "i10"]
    assert [i.item_id for i in loaded.score(ScoreRequest(user_id="known", item_ids=["i3"])).items] == ["i3"]
    like = loaded.similar(SimilarRequest(item_id="i1", k=5)).items
    assert {item.item_id for item in like} == {"i3", "i5", "i7", "i9", "i11"}
    lists = engine.lists
    assert (loaded.search, loaded.popular, loaded.latest) == (lists.search, lists.popular, lists.latest)


def test_a_loaded_bundle_gives_texts_as_the_service_streams_them() -> None:
    loaded: Answering = LoadedBundle(make())
    request = FeedbackRequest(
        pairs=[FeedbackPair(item_id="i3", rating=2), FeedbackPair(item_id="i4", rating=5)], seed=4
    )
    first, whole, second, last = loaded.stream_feedback(request)
    assert (first, whole.text) == (TextPiece(index=0, text="review 2.0 4"), "review 2.0 4")
    assert (second, last.text) == (TextPiece(index=1, text="review 5.0 4"), "review 5.0 4")
    *_, reason = loaded.stream_feedback(FeedbackRequest(item_id="i3", kind="reason", seed=4))
    assert reason.facts


def test_a_request_that_does_not_fit_is_refused_in_the_words_of_the_service() -> None:
    with pytest.raises(
        RequestFailed, match=r"Cannot read the request: k=0, input should be greater than or equal to 1\."
    ):
        read_request(RecommendRequest, {"k": 0})
