"""The client against the service in its own process, and the examples of the documents as a reader would run them."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from cli.main import main
from core.logs.events import EventLog
from serving.api.changes import ItemPatch, UserPatch
from serving.api.events import Event, EventsRequest
from serving.api.feedback import Feedback, FeedbackPair, FeedbackRequest, TextPiece
from serving.api.lists import LatestRequest, PopularRequest, SearchRequest, SimilarRequest
from serving.api.recommend import RecommendRequest, RecommendUser
from serving.api.score import ScoreRequest
from serving.client import AsyncClient, Client, NoAnswer, RequestFailed, Retries
from tests.contract.documents import DOCS, ROOT, fenced, read
from tests.integration.running_service import Running, free_port, start_service
from tests.integration.serving_shop import ITEMS, SHOP, TinyShop, copy_shop
from tests.unit.serving.operations.put_aside import put_aside

# What the documents call the simulated shop's users and items, and what those of the shop here are called.
NAMES = {"u11103": "u07", "u11104": "u08", "u11105": "u09", "i10007": "tea-7", "i10042": "wine-4"}
# What the examples in Python print, in the order of the page.
SHOWN = r"(?:\S+ Number \d of the \w+ shelf [-\d.e]+\n){3}"
PRINTED = [
    rf"{SHOWN}[-\d.e]+ [\d.]+\n1\n",
    r"interactions.csv:42 .*\ninteractions.csv:43 .*\n",
    r"\['Number .*'\] \['Number .*'\]\n",
    r"0 .*\nwhole: tea-7 .*\n1 .*\nwhole: wine-4 2.0 .*\n",
    r"404 Cannot score: .*no-such-item.* [-0-9a-f]{36}\n",
]


@pytest.fixture(scope="module")
def shop(built_shop: Path, tmp_path_factory: pytest.TempPathFactory) -> TinyShop:
    made = copy_shop(built_shop, tmp_path_factory.mktemp("shop"))
    put_aside(made.layout)
    return made


@pytest.fixture(scope="module")
def service(shop: TinyShop) -> Iterator[Running]:
    with start_service(shop, "client") as started:
        started.put_in_service(shop.whole)
        yield started


@pytest.fixture(scope="module")
def client(service: Running) -> Client:
    return service.ask


def knows(client: Client, recommendation_id: str, traced: list[Any]) -> bool:
    """Whether the prediction log has an answer yet; it is written beside the answers."""
    try:
        traced.append(client.lineage(recommendation_id))
    except RequestFailed as error:
        if error.status != 404:
            raise
    return bool(traced)


def test_a_list_is_recommended_scored_and_clicked(service: Running, client: Client) -> None:
    shown = client.recommend(RecommendRequest(user_id="u07", k=3))
    ids = [item.item_id for item in shown.items]
    assert len(ids) == 3
    assert [score.item_id for score in client.score(ScoreRequest(user_id="u07", item_ids=ids)).items] == ids
    click = Event(user_id="u07", item_id=ids[0], event="click", recommendation_id=shown.recommendation_id, position=1)
    assert client.events(EventsRequest(events=[click])).accepted == 1
    traced: list[Any] = []
    service.wait_for(lambda: knows(client, shown.recommendation_id, traced))
    assert traced[0].shown["items"] == ids
    users = [RecommendUser(user_id="u07"), RecommendUser(user_id="u08")]
    each = client.recommend_each(RecommendRequest(users=users, k=2))
    assert [answer.user_id for answer in each.answers] == ["u07", "u08"]


def test_lists_records_and_what_is_told_of_the_service(client: Client) -> None:
    assert len(client.similar(SimilarRequest(item_id="tea-1", k=3)).items) == 3
    assert client.search(SearchRequest(query="cheese", k=3)).items[0].item_id.startswith("cheese")
    assert len(client.popular(PopularRequest(k=3, per_category=1)).categories) == 3
    assert len(client.latest(LatestRequest(k=3)).items) == 3
    assert client.item("tea-1").label == "Number 1 of the tea shelf"
    assert client.user("u07").history
    assert client.model().ready
    assert client.experiments().experiments == []
    assert client.timeline().problem is None


def test_what_awaits_is_answered_as_what_waits(service: Running, client: Client) -> None:
    async def ask() -> Any:
        async with AsyncClient(service.url) as other:
            return await asyncio.gather(
                other.score(ScoreRequest(user_id="u07", item_ids=ITEMS)),
                other.search(SearchRequest(query="green tea", k=5)),
                other.item("wine-3"),
            )

    scores, found, item = asyncio.run(ask())
    assert scores == client.score(ScoreRequest(user_id="u07", item_ids=ITEMS))
    assert found.items == client.search(SearchRequest(query="green tea", k=5)).items
    assert item.attributes == client.item("wine-3").attributes


def test_streamed_sentences_make_the_whole_text(service: Running, client: Client) -> None:
    pairs = [FeedbackPair(user_id="u07", item_id="tea-1", rating=5), FeedbackPair(item_id="wine-2", rating=1)]
    request = FeedbackRequest(pairs=pairs, seed=3)

    async def stream() -> list[TextPiece | Feedback]:
        async with AsyncClient(service.url) as other:
            return [message async for message in other.stream_feedback(request)]

    messages = list(client.stream_feedback(request))
    assert messages == asyncio.run(stream())
    wholes = [message for message in messages if isinstance(message, Feedback)]
    assert wholes == client.feedback_each(request).items
    for index, whole in enumerate(wholes):
        pieces = [message.text for message in messages if isinstance(message, TextPiece) and message.index == index]
        assert "".join(pieces) == whole.text
    one = FeedbackRequest(user_id="u07", item_id="tea-1", rating=5, seed=3)
    assert client.feedback(one).text == wholes[0].text


class Losing(httpx.HTTPTransport):
    """Passes requests on, and loses the first answers."""

    n_left = 2

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        response = super().handle_request(request)
        if self.n_left:
            self.n_left -= 1
            response.read()
            response.close()
            raise httpx.ReadError("the answer was lost")
        return response


def test_events_whose_answers_were_lost_are_stored_once(service: Running) -> None:
    log = EventLog(service.shop.layout.events)
    before = log.last()
    events = [Event(user_id="u30", item_id=item, event="view") for item in ITEMS[:3]]
    with Client(service.url, transport=Losing()) as client:
        receipt = client.events(EventsRequest(events=events))
    assert (receipt.accepted, receipt.duplicates) == (0, 3)
    assert [event.item_id for _, event in log.read(after=before)] == ITEMS[:3]


def test_a_change_whose_answer_was_lost_is_told_and_not_sent_again(service: Running, client: Client) -> None:
    with Client(service.url, transport=Losing()) as losing, pytest.raises(NoAnswer, match="the answer was lost"):
        losing.change_item("wine-9", ItemPatch(price=1.5))
    service.wait_for(lambda: client.item("wine-9").price == 1.5)


@pytest.mark.parametrize("item_id", ["red/wine 1?", "..", "100%"])
def test_an_id_is_what_it_is_whatever_stands_in_it(client: Client, item_id: str) -> None:
    said = client.change_item(item_id, ItemPatch(title="Odd", attributes={"in_stock": True}))
    assert (said.item_id, said.fields, said.attributes) == (item_id, {"title": "Odd"}, {"in_stock": "true"})
    taken_back = client.change_item(item_id, ItemPatch(title=None))
    assert taken_back.fields == {}
    assert client.delete_item(item_id).deleted


def test_users_are_changed_and_forgotten(client: Client) -> None:
    assert client.change_user("u50", UserPatch(attributes={"occupation": "cook"})).attributes == {"occupation": "cook"}
    assert client.forget_user("u50").receipt >= 1
    with pytest.raises(RequestFailed, match="user_id='u50'") as failed:
        client.user("u50")
    assert failed.value.status == 404
    with pytest.raises(RequestFailed, match=r"events\.0\.user_id='u50'"):
        client.events(EventsRequest(events=[Event(user_id="u50", item_id="tea-1", event="view")]))


def test_where_nothing_listens_the_address_is_told() -> None:
    url = f"http://127.0.0.1:{free_port()}"
    with Client(url, retries=Retries(tries=2, first_wait_s=0.01)) as client, pytest.raises(NoAnswer, match=url) as none:
        client.model()
    assert (none.value.status, none.value.was_sent) == (0, False)


@pytest.mark.parametrize(
    ("words", "prints"),
    [
        ("recommend u07 -k 3", "shelf"),
        ("score u07 tea-1", "p_like"),
        ("similar tea-1 -k 3", "of the tea shelf"),
        ("search cheese --user u07 -k 3", "of the cheese shelf"),
        ("popular --days 7 -k 3 --json", '"days": 7'),
        ("latest -k 3", "shelf"),
        ("feedback u07 tea-1 --pair u08 wine-2 --task reason --stream", "\nu08 wine-2: "),
    ],
)
def test_commands_ask_the_service_that_runs(
    service: Running, capsys: pytest.CaptureFixture[str], words: str, prints: str
) -> None:
    place = {
        "work_dir": service.shop.layout.work_dir,
        "shop": SHOP,
        "platform.service_port": service.url.split(":")[-1],
    }
    options = [word for name, value in place.items() for word in ("--set", f"{name}={value}")]
    before = dict(os.environ)
    try:
        assert main([*words.split(), *options]) == 0
    finally:
        os.environ.clear()
        os.environ.update(before)
    said = capsys.readouterr()
    assert prints in said.out
    assert "no service" not in said.err


def as_here(example: str, service: Running) -> str:
    """An example of a document, for the service and the shop here."""
    example = example.replace("http://127.0.0.1:3000", service.url)
    for name, here in NAMES.items():
        example = example.replace(name, here)
    assert not re.search(r"\b[ui]1\d{4}\b", example), "a name of the simulated shop that NAMES lacks"
    return example


def output_of(command: list[str], said: str) -> str:
    """What a program prints that reads its text from the standard input."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "NO_PROXY": "*"}
    done = subprocess.run(command, input=said, capture_output=True, text=True, env=environment, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, ""), f"{said}\n{done.stderr}"
    return done.stdout


@pytest.mark.parametrize("place", range(len(PRINTED)))
def test_the_examples_in_python_print_what_they_should(service: Running, place: int) -> None:
    examples = fenced(read(DOCS / "client.md"), "python")
    assert len(examples) == len(PRINTED)
    printed = output_of([sys.executable, "-"], as_here(examples[place], service))
    assert re.fullmatch(PRINTED[place], printed, flags=re.DOTALL), printed


@pytest.mark.skipif(shutil.which("node") is None, reason="Node.js is not installed")
def test_the_example_in_javascript_prints_what_it_should(service: Running) -> None:
    (example,) = fenced(read(DOCS / "client.md"), "js")
    printed = output_of(["node", "--input-type=module", "-"], as_here(example, service))
    assert re.fullmatch(rf"{SHOWN}1\ntext .*\nfeedback .*\n", printed, flags=re.DOTALL), printed


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
@pytest.mark.parametrize("page", ["client.md", "service.md"])
def test_the_examples_of_curl_are_answered(service: Running, page: str) -> None:
    examples = [line for block in fenced(read(DOCS / page)) for line in block.splitlines() if line.startswith("curl ")]
    assert len(examples) >= 4
    for example in examples:
        printed = output_of(["bash"], as_here(example, service))
        answers = re.findall(r"^data: (.*)$", printed, flags=re.MULTILINE) if '"stream": true' in example else [printed]
        assert answers
        for answer in answers:
            assert "error" not in json.loads(answer), f"{example}\n{answer}"
