"""Both clients send the same, read the same, and say what failed in the service's words."""

from __future__ import annotations

import asyncio
import json
import pickle
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from threading import Thread
from typing import Any

import httpx
import pytest

from core.errors import NotRunning
from serving.api.changes import ItemPatch
from serving.api.events import Event, EventsRequest
from serving.api.feedback import Feedback, FeedbackPair, FeedbackRequest, TextPiece
from serving.api.model import ModelInfo, ModelSummary
from serving.api.recommend import RecommendRequest
from serving.api.score import ScoreRequest, Scores
from serving.client import AsyncClient, Client, NoAnswer, RequestFailed, Retries
from serving.errors import BadRequest
from tests.unit.serving.answering_transport import QUICK, SCORES, URL, Answers, Pieces, refused

SCORE = ScoreRequest(user_id="u1", item_ids=["i1"])
RECEIPT = {"accepted": 1, "duplicates": 0, "left_out": 0, "pushed": True, "unknown_items": None}
SAID = {
    "item_id": "i1", "fields": {}, "attributes": {}, "available": True, "deleted": False,
    "changed_at": "2026-03-01", "in_catalogue": True,
}  # fmt: skip
ROOT = Path(__file__).parents[3]

Ask = Callable[[Answers, str, tuple[Any, ...]], Any]


def ask_and_wait(answers: Answers, method: str, asked: tuple[Any, ...]) -> Any:
    with answers.client() as client:
        return getattr(client, method)(*asked)


def ask_and_await(answers: Answers, method: str, asked: tuple[Any, ...]) -> Any:
    async def ask() -> Any:
        async with answers.async_client() as client:
            return await getattr(client, method)(*asked)

    return asyncio.run(ask())


def stream_and_wait(answers: Answers, request: FeedbackRequest) -> list[Any]:
    with answers.client() as client:
        return list(client.stream_feedback(request))


def stream_and_await(answers: Answers, request: FeedbackRequest) -> list[Any]:
    async def stream() -> list[Any]:
        async with answers.async_client() as client:
            return [message async for message in client.stream_feedback(request)]

    return asyncio.run(stream())


both = pytest.mark.parametrize("ask", [ask_and_wait, ask_and_await], ids=["sync", "async"])
both_stream = pytest.mark.parametrize("stream", [stream_and_wait, stream_and_await], ids=["sync", "async"])


@both
def test_what_was_given_is_sent_and_the_answer_is_a_message(ask: Ask) -> None:
    answers = Answers(SCORES)
    assert ask(answers, "score", (SCORE,)) == Scores.model_validate(SCORES)
    (request,) = answers.asked
    assert (request.method, str(request.url)) == ("POST", f"{URL}/v1/score")
    assert answers.bodies() == [{"user_id": "u1", "item_ids": ["i1"]}]
    assert request.headers["content-type"] == "application/json"
    assert "authorization" not in request.headers


@both
def test_null_takes_a_value_back_and_what_is_left_out_is_not_sent(ask: Ask) -> None:
    answers = Answers(SAID)
    ask(answers, "change_item", ("i1", ItemPatch(price=None, attributes={"in_stock": False})))
    assert answers.bodies() == [{"price": None, "attributes": {"in_stock": False}}]


@pytest.mark.parametrize(
    ("item_id", "path"),
    [("a/b", "a%2Fb"), ("..", "%2E%2E"), ("100% wine?#", "100%25%20wine%3F%23"), ("é", "%C3%A9"), ("v1.2", "v1.2")],
)
def test_an_id_is_one_part_of_the_path_whatever_stands_in_it(item_id: str, path: str) -> None:
    answers = Answers(SAID)
    answers.client().delete_item(item_id)
    assert answers.asked[0].url.raw_path.decode() == f"/v1/items/{path}"


def test_a_key_goes_along_and_one_that_cannot_be_is_not_shown() -> None:
    answers = Answers(SCORES)
    answers.client(key="som_1_2").score(SCORE)
    assert answers.asked[0].headers["authorization"] == "Bearer som_1_2"
    for wrong in ("som_1_2\n", "som_1_2 ", " som_1_2", "som_1 2", "som_1_é", ""):
        with pytest.raises(BadRequest, match="key=<hidden>, expected printable ASCII without blanks") as error:
            Client(URL, wrong)
        assert "som_1" not in str(error.value)


@both
def test_what_httpx_says_of_a_request_that_is_no_http_is_not_told_as_it_may_hold_the_key(ask: Ask) -> None:
    answers = Answers(*[httpx.LocalProtocolError("Illegal header value b'Bearer som_1_2'")] * QUICK.tries)
    with pytest.raises(NoAnswer, match="error=LocalProtocolError") as none:
        ask(answers, "score", (SCORE,))
    assert "som_1_2" not in str(none.value)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("127.0.0.1:3000", "127.0.0.1:3000"),
        ("http://host:port", "http://host:port"),
        ("http://", "http://"),
        ("ftp://me:secret@host", "host"),
        ("http://me:secret@host:port", "host:port"),
        ("http://shop\ud800", "http://shop\\ud800"),
    ],
)
def test_an_address_that_is_none_is_refused_at_once(url: str, shown: str) -> None:
    with pytest.raises(BadRequest, match=re.escape(f"url='{shown}', expected http:// or https:// before a host")):
        AsyncClient(url)


def test_a_password_in_the_address_is_not_told_and_does_not_take_the_place_of_a_key() -> None:
    address = "http://me:secret@shop"
    answers = Answers(httpx.ReadError("gone"), httpx.ReadError("gone"))
    client = Client(address, retries=Retries(tries=1), transport=httpx.MockTransport(answers))
    with pytest.raises(NoAnswer, match=r"\(http://shop\)") as none:
        client.score(SCORE)
    assert "secret" not in str(none.value)
    assert answers.asked[0].headers["authorization"].startswith("Basic ")
    with pytest.raises(
        BadRequest, match="url='shop', expected no name and password before the host beside a key"
    ) as no:
        Client(address, "som_1_2")
    assert "secret" not in str(no.value)


def test_what_cannot_be_written_is_refused_before_it_is_sent() -> None:
    client = Answers().client()
    half = "a\ud800"
    for call in (lambda: client.item(half), lambda: client.quarantine(rule=half)):
        with pytest.raises(BadRequest, match=r"a\\ud800.*, expected text that UTF-8 can write"):
            call()


def test_a_field_that_a_newer_service_adds_is_passed_over() -> None:
    newer = {**SCORES, "items": [{"item_id": "i", "p_like": 0.5, "rating": 3.0, "median_rating": 3.0, "x": 1}], "y": 2}
    assert Answers(newer).client().score(SCORE).items[0].item_id == "i"


def test_the_model_is_told_whole_or_by_name_alone() -> None:
    summary = {"ready": True, "model": "m:1"}
    whole = {**summary, "loaded_at": None, "promoted": None, "problem": None, "capabilities": {}, "n_items": 3}
    client = Answers(summary, {**whole, "manifest": None}).client()
    assert client.model() == ModelSummary(**summary)
    told = client.model()
    assert isinstance(told, ModelInfo)
    assert told.n_items == 3


@both
def test_a_refusal_carries_sentence_status_and_request_id(ask: Ask) -> None:
    answers = Answers(refused(404, "Cannot score: item_ids='i1'."))
    with pytest.raises(RequestFailed, match=r"^Cannot score: item_ids='i1'\.$") as failed:
        ask(answers, "score", (SCORE,))
    sent = answers.asked[0].headers["x-request-id"]
    for error in (failed.value, pickle.loads(pickle.dumps(failed.value))):
        assert (error.status, error.request_id, str(error)) == (404, sent, "Cannot score: item_ids='i1'.")
    assert not isinstance(failed.value, NotRunning)


def test_the_services_own_name_of_a_request_comes_before_ours() -> None:
    with pytest.raises(RequestFailed) as failed:
        Answers(refused(404, x_request_id="theirs")).client().score(SCORE)
    assert failed.value.request_id == "theirs"


@both
@pytest.mark.parametrize(
    ("answer", "status", "said"),
    [(httpx.Response(404, text="<html>"), 404, "status 404"), ({"model": "m"}, 200, "validation errors"),
     (httpx.ReadTimeout("timed out"), 0, "timed out"), (httpx.Response(302), 302, "status 302")],
    ids=["html", "no-answer", "timeout", "redirect"],
)  # fmt: skip
def test_what_is_no_answer_of_the_service_says_where_it_was_looked_for(
    ask: Ask, answer: Any, status: int, said: str
) -> None:
    with pytest.raises(NoAnswer, match=rf"Cannot ask /v1/score: error=.*{said}.*, expected .* \(http://shop\)") as none:
        ask(Answers(*[answer] * QUICK.tries), "score", (SCORE,))
    assert none.value.status == status
    assert isinstance(none.value, NotRunning)


@both
def test_what_passes_is_asked_again_with_one_request_id(ask: Ask) -> None:
    answers = Answers(refused(503), httpx.ReadError("gone"), refused(429, retry_after="0"), SCORES)
    assert ask(answers, "score", (SCORE,)).model == "m"
    assert len({request.headers["x-request-id"] for request in answers.asked}) == 1
    assert len(answers.asked) == 4


@both
def test_after_the_last_try_its_refusal_is_told(ask: Ask) -> None:
    answers = Answers(*[refused(503, f"Not ready: {n}.") for n in range(9)])
    with pytest.raises(RequestFailed, match="Not ready: 3"):
        ask(answers, "score", (SCORE,))
    assert len(answers.asked) == QUICK.tries


@both
def test_an_event_has_its_id_before_the_first_try_and_the_same_at_every_other(ask: Ask) -> None:
    answers = Answers(httpx.ReadError("gone"), {**RECEIPT, "accepted": 0, "duplicates": 2})
    events = [
        Event(user_id="u", item_id="i", event="view"),
        Event(event_id="mine", user_id="u", item_id="i", event="cart"),
    ]
    assert ask(answers, "events", (EventsRequest(events=events),)).duplicates == 2
    first, again = answers.bodies()
    assert first == again
    given, mine = (event["event_id"] for event in first["events"])
    assert len(given) == 36
    assert mine == "mine"


def test_an_event_that_the_caller_sends_again_is_the_same_and_a_copy_is_another() -> None:
    answers = Answers(*[refused(400)] * 5)
    event = Event(user_id="u", item_id="i", event="purchase")
    assert event == Event(user_id="u", item_id="i", event="purchase")
    copies = [
        lambda: event,
        lambda: pickle.loads(pickle.dumps(event)),
        event.model_copy,
        lambda: event.model_copy(update={"item_id": "j"}, deep=True),
    ]
    with answers.client() as client:
        for copied in (lambda: event, *copies):
            with pytest.raises(RequestFailed):
                client.events(EventsRequest(events=[copied()]))
    first, again, kept, other, changed = (body["events"][0]["event_id"] for body in answers.bodies())
    assert first == again == kept
    assert len({first, other, changed}) == 3
    assert event == Event(user_id="u", item_id="i", event="purchase")


def _sent_ids(answers: Answers) -> list[list[str]]:
    return [[event["event_id"] for event in body["events"]] for body in answers.bodies()]


@both
def test_an_event_that_was_received_and_is_sent_once_more_is_another(ask: Ask) -> None:
    event = Event(user_id="u", item_id="i", event="view")
    request = EventsRequest(events=[event, Event(event_id="mine", user_id="u", item_id="i", event="view")])
    answers = Answers(httpx.ReadError("gone"), RECEIPT, RECEIPT)
    ask(answers, "events", (request,))
    ask(answers, "events", (request,))
    lost, received, other = _sent_ids(answers)
    assert lost == received
    assert received[0] != other[0]
    assert received[1] == other[1] == "mine"


def test_one_event_that_stands_in_a_request_twice_happened_twice_and_is_known_when_sent_again() -> None:
    answers = Answers(refused(400), RECEIPT)
    event = Event(user_id="u", item_id="i", event="view")
    request = EventsRequest(events=[event, event, event])
    with answers.client() as client:
        with pytest.raises(RequestFailed):
            client.events(request)
        client.events(request)
    first, again = _sent_ids(answers)
    assert len(set(first)) == 3
    assert first == again


def test_one_event_in_two_requests_at_the_same_time_has_one_id_and_a_later_one_keeps_its_own() -> None:
    """What the one request knows to be received is no word on what was sent since, and may have been lost."""
    event = Event(user_id="u", item_id="i", event="view")
    request = EventsRequest(events=[event])
    sent: list[str] = []

    def handle(asked: httpx.Request) -> httpx.Response:
        sent.append(json.loads(asked.content)["events"][0]["event_id"])
        nth = len(sent)
        if nth == 1:  # while it is on its way: the same again, and, that one received, another, which is lost
            client.events(request)
            with pytest.raises(NoAnswer):
                client.events(request)
        if nth == 3:
            raise httpx.ReadError("gone")
        return httpx.Response(200, json=RECEIPT)

    with Client(URL, retries=Retries(tries=1), transport=httpx.MockTransport(handle)) as client:
        client.events(request)
        client.events(request)
    first, beside, lost, again = sent
    assert first == beside
    assert lost == again != first


def test_threads_that_ask_for_the_id_of_an_event_at_once_get_one(monkeypatch: pytest.MonkeyPatch) -> None:
    event = Event(user_id="u", item_id="i", event="view")
    made = iter(["first", "second", "third"])
    besides: list[str] = []

    def make() -> str:
        mine = next(made)
        if mine == "first":  # before it is kept, another thread asks
            other = Thread(target=lambda: besides.append(event.sent_id))
            other.start()
            other.join(timeout=10)
        return mine

    monkeypatch.setattr("serving.api.events.time_ordered_id", make)
    assert event.sent_id == event.sent_id == "second"
    assert besides == ["second"]


def test_what_a_caller_adds_to_a_request_on_its_way_is_no_part_of_it() -> None:
    events = [Event(user_id="u", item_id="i", event="view")]
    request = EventsRequest(events=events)

    def handle(asked: httpx.Request) -> httpx.Response:
        request.events.append(Event(user_id="u", item_id="j", event="view"))
        return httpx.Response(200, json=RECEIPT)

    with Client(URL, transport=httpx.MockTransport(handle)) as client:
        assert client.events(request).accepted == 1


@both
def test_events_that_took_too_long_are_sent_again_and_what_only_reads_is_not(ask: Ask) -> None:
    answers = Answers(refused(504), {**RECEIPT, "accepted": 0, "duplicates": 1})
    event = Event(user_id="u", item_id="i", event="view")
    assert ask(answers, "events", (EventsRequest(events=[event]),)).duplicates == 1
    first, again = answers.bodies()
    assert first == again
    answers = Answers(refused(504), SCORES)
    with pytest.raises(RequestFailed) as late:
        ask(answers, "score", (SCORE,))
    assert late.value.status == 504


@both
def test_a_change_that_the_service_may_have_had_is_not_sent_again(ask: Ask) -> None:
    answers = Answers(httpx.ReadError("gone"), SAID)
    with pytest.raises(NoAnswer, match="gone"):
        ask(answers, "delete_item", ("i1",))
    assert len(answers.asked) == 1


@both
@pytest.mark.parametrize(
    "failure", [httpx.ConnectError("refused"), refused(429, retry_after="0")], ids=["down", "busy"]
)
def test_a_change_that_was_not_begun_is_sent_again(ask: Ask, failure: Any) -> None:
    answers = Answers(failure, SAID)
    assert ask(answers, "delete_item", ("i1",)).item_id == "i1"


def test_one_answer_and_many_are_two_methods() -> None:
    client = Answers().client()
    pairs = FeedbackRequest(pairs=[FeedbackPair(item_id="i")])
    with pytest.raises(BadRequest, match=r"pairs=1, expected no pairs\. Call feedback_each"):
        client.feedback(pairs)
    with pytest.raises(BadRequest, match=r"users=None, expected users\. Call recommend\."):
        client.recommend_each(RecommendRequest())


def sent(name: str, message: Any) -> bytes:
    return f"event: {name}\ndata: {message.model_dump_json()}\n\n".encode()


# Characters that Python takes for line ends and the protocol does not.
TEXT = "Good\u2028wine\x85."
PIECE = TextPiece(index=0, text=TEXT)
WHOLE = Feedback(
    model="m", user_id=None, item_id="i", kind="review", text=TEXT, rating=None, rating_source="none", seed=1
)
STREAMED = FeedbackRequest(item_id="i", seed=1)


def stream_of(*pieces: Any) -> httpx.Response:
    return httpx.Response(200, headers={"content-type": "text/event-stream"}, stream=Pieces(list(pieces)))


@both_stream
@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_a_stream_is_read_however_its_bytes_are_cut(stream: Callable[..., list[Any]], size: int) -> None:
    whole = sent("text", PIECE) + sent("feedback", WHOLE)
    answers = Answers(
        refused(429, retry_after="0"), stream_of(*(whole[i : i + size] for i in range(0, len(whole), size)))
    )
    assert stream(answers, STREAMED) == [PIECE, WHOLE]
    assert answers.bodies() == [{"item_id": "i", "seed": 1, "stream": True}] * 2


@both_stream
def test_a_stream_that_breaks_off_is_an_error_behind_what_came(stream: Callable[..., list[Any]]) -> None:
    for end in ([], [httpx.ReadError("cut")]):
        with pytest.raises(NoAnswer, match=r"unfinished texts=1|cut"):
            stream(Answers(stream_of(sent("text", PIECE), *end)), STREAMED)
    error = b'event: error\ndata: {"error": "Cannot write the text in time."}\n\n'
    with pytest.raises(RequestFailed, match=r"^Cannot write the text in time\.$") as failed:
        stream(Answers(stream_of(sent("text", PIECE), error)), STREAMED)
    assert not isinstance(failed.value, NoAnswer)


def test_a_stream_that_is_left_early_is_closed() -> None:
    answer = stream_of(sent("text", PIECE), sent("feedback", WHOLE))
    messages = Answers(answer).client().stream_feedback(STREAMED)
    assert next(messages) == PIECE
    messages.close()
    assert answer.is_closed


# What the client and its answers are built on: a slow machine imports this slowly, too.
BUILT_ON = "import asyncio, httpx, pyarrow.compute, pyarrow.parquet, pydantic, rich.console, sqlite3, tenacity"
COMPUTES = ("torch", "bentoml", "pandas", "transformers", "feast", "duckdb", "scipy", "core.settings.tree")


def test_importing_the_client_is_quick_and_loads_nothing_that_computes() -> None:
    code = (
        f"import sys, time; began = time.process_time(); {BUILT_ON}; there = time.process_time()\n"
        "import serving.client; ended = time.process_time()\n"
        f"print([name for name in {COMPUTES} if name in sys.modules])\n"
        "assert ended - there <= 2 * (there - began), (there - began, ended - there)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_waits_are_those_that_the_service_asks_for() -> None:
    waits: list[float] = []
    retries = Retries(tries=2, first_wait_s=0.0, longest_wait_s=1.5)
    answers = Answers(refused(429, retry_after="1.2"), SCORES, refused(429, retry_after="9"))
    client = answers.client(retries)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tenacity.nap.time.sleep", waits.append)
        client.score(SCORE)
    assert waits == [1.2]
    with pytest.raises(RequestFailed) as failed:  # it would have to wait for longer than it may
        client.score(SCORE)
    assert failed.value.retry_after_s == 9
