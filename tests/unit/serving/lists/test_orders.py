import threading
import time

import numpy as np
import pytest

from recommender.inputs.ids import IdMap
from recommender.inputs.seen import SeenItems
from recommender.inputs.user import UserState
from serving.lists import orders
from serving.lists.orders import FixedOrder, FixedScores, KeptOrders

N = 5000
IDS = IdMap(tuple(f"i{n}" for n in range(N)))


@pytest.fixture(autouse=True)
def _no_order_is_made_behind_the_next_test():
    """What a thread of one test logs is no record of the next."""
    yield
    for thread in threading.enumerate():
        if thread.name == "orders":
            thread.join(20)


@pytest.fixture(scope="module")
def scores() -> np.ndarray:
    generator = np.random.default_rng(3)
    found = generator.integers(0, 50, N).astype(np.float64)  # many ties
    found[generator.random(N) < 0.1] = -np.inf
    return found


@pytest.mark.parametrize("k", [1, 10, 700, N])
@pytest.mark.parametrize("share", [None, 0.5, 0.001])
def test_walking_down_an_order_finds_what_sorting_finds(scores, k, share):
    generator = np.random.default_rng(4)
    allowed = None if share is None else generator.random(N) < share
    seen = SeenItems.of_items(f"i{n}" for n in generator.integers(0, N, 300))
    users = [UserState(seen=seen), UserState()]
    exclude = [["i7", "unheard of"], []]
    walked, sorted_ = (
        kind(IDS, scores).top_k(users, k, exclude=exclude, allowed=allowed) for kind in (FixedOrder, FixedScores)
    )
    assert walked == sorted_
    unfiltered = [
        kind(IDS, scores).top_k(users, k, exclude_seen=False, allowed=allowed) for kind in (FixedOrder, FixedScores)
    ]
    assert unfiltered[0] == unfiltered[1]


def test_a_small_catalogue_is_counted_for_each_request():
    kept = KeptOrders(IDS, sorted_at_once=N)
    counted = []

    def count() -> np.ndarray:
        counted.append(1)
        return np.zeros(N)

    kept.of("popular", count)
    kept.of("popular", count)
    assert len(counted) == 2


def test_an_order_of_a_large_catalogue_is_made_again_behind_the_requests_once_it_is_old(monkeypatch):
    monkeypatch.setattr(orders, "_LEAST_AGE_S", 0.05)
    monkeypatch.setattr(orders, "_AGE_PER_SECOND", 0.0)
    kept = KeptOrders(IDS, sorted_at_once=N - 1)
    began, may_end, best = threading.Event(), threading.Event(), ["i1"]

    def count() -> np.ndarray:
        if best == ["i2"]:
            began.set()
            assert may_end.wait(5)
        values = np.zeros(N)
        values[IDS.index(best[0]) - 1] = 1.0
        return values

    def first() -> str:
        return kept.of("popular", count).top_k([UserState()], 1)[0][0][0]

    assert first() == "i1"
    best[0] = "i2"
    assert first() == "i1"  # young enough
    time.sleep(0.1)
    assert first() == "i1"
    assert began.wait(5)
    assert first() == "i1"  # nobody waits for it
    may_end.set()
    until = time.monotonic() + 5
    while first() != "i2" and time.monotonic() < until:
        time.sleep(0.01)
    assert first() == "i2"


def test_an_order_that_cannot_be_made_again_stays(monkeypatch):
    monkeypatch.setattr(orders, "_LEAST_AGE_S", 0.0)
    monkeypatch.setattr(orders, "_AGE_PER_SECOND", 0.0)
    kept = KeptOrders(IDS, sorted_at_once=1)
    failed = threading.Event()

    def fail() -> np.ndarray:
        failed.set()
        raise OSError("the store is gone")

    first = kept.of("popular", lambda: np.zeros(N))
    time.sleep(0.01)
    assert kept.of("popular", fail) is first
    assert failed.wait(5)
    with pytest.raises(OSError, match="gone"):
        kept.of("latest", fail)  # nothing is there to answer with


def test_where_the_system_gives_no_thread_an_order_answers_on_and_is_made_again_later(monkeypatch, caplog):
    monkeypatch.setattr(orders, "_LEAST_AGE_S", -1.0)
    monkeypatch.setattr(orders, "_AGE_PER_SECOND", 0.0)
    kept, again = KeptOrders(IDS, sorted_at_once=1), threading.Event()

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    def count() -> np.ndarray:
        again.set()
        return np.zeros(N)

    first = kept.of("popular", lambda: np.zeros(N))
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        for _ in range(3):
            assert kept.of("popular", count) is first
    assert len(caplog.records) == 1
    assert not again.is_set()
    assert kept.of("popular", count) is first
    assert again.wait(20)
