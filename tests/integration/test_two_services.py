"""Two services of one work folder, as two pods of one node: what one is told the other knows, and nothing is lost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from core.logs.events import EventLog
from core.logs.predictions import read_predictions
from tests.integration.running_service import Running, start_service, stop
from tests.integration.serving_shop import ITEMS, TinyShop, copy_shop

pytestmark = pytest.mark.long

USER = "two-pods"
N_EACH = 20


@pytest.fixture(scope="module")
def shop(built_shop: Path, tmp_path_factory: pytest.TempPathFactory) -> TinyShop:
    return copy_shop(built_shop, tmp_path_factory.mktemp("shop"))


@pytest.fixture
def two(shop: TinyShop) -> Iterator[tuple[Running, Running]]:
    with start_service(shop, "first") as first, start_service(shop, "second") as second:
        model = first.put_in_service(shop.whole)
        second.wait_for(lambda: second.model()["model"] == model)
        yield first, second


def accepted_by(running: Running) -> float:
    lines = running.client.get("/metrics").text.splitlines()
    (line,) = [line for line in lines if line.startswith('sommelier_events_total{outcome="accepted"}')]
    return float(line.split()[-1])


def test_two_services_share_events_and_records_and_neither_needs_the_other(
    shop: TinyShop, two: tuple[Running, Running]
) -> None:
    first, second = two

    def send(place: int) -> int:
        running, item = two[place % 2], ITEMS[place % len(ITEMS)]
        event = {"event_id": f"e{place}", "user_id": USER, "item_id": item, "event": "purchase"}
        return running.post("/v1/events", events=[event]).status_code

    with ThreadPoolExecutor(4) as senders:
        assert set(senders.map(send, range(2 * N_EACH))) <= {200, 202}
    log = EventLog(shop.layout.events)
    assert log.count() == 2 * N_EACH
    log.close()
    assert [accepted_by(running) for running in two] == [N_EACH, N_EACH]

    # The other service's events too, of which each has seen half: together they are the whole catalogue.
    for running in two:
        running.wait_for(lambda running=running: running.recommend(user_id=USER, k=20)["items"] == [])
    shown = [running.recommend(k=3)["recommendation_id"] for running in two]

    first_pod, second_pod = first.process, second.process
    assert stop(first_pod) == []
    assert second_pod.poll() is None
    assert second.recommend(user_id=USER, k=20)["items"] == []
    assert second.model()["problem"] is None

    def recorded() -> bool:
        found = Counter(one["recommendation_id"] for one in read_predictions(shop.layout.predictions))
        return [found[one] for one in shown] == [1, 1]

    second.wait_for(recorded)
