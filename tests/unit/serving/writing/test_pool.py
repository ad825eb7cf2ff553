"""The pool: bounded, by its own threads, in batches; what nobody waits for is not written on."""

from __future__ import annotations

import pickle
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import CancelledError
from typing import Any

import pytest

from recommender.writing.length import Length
from serving.errors import TooBusy
from serving.writing.pool import WritingPool
from tests.unit.serving.writing.slow_writer import WAIT_S, SlowWriter, text, wait_for

LONG_S = 60.0


@pytest.fixture
def writer() -> SlowWriter:
    return SlowWriter()


@pytest.fixture
def pool() -> Iterator[WritingPool]:
    made = WritingPool(threads=1, max_waiting=2, max_batch=3)
    yield made
    made.close()


def busy(pool: WritingPool, writer: SlowWriter) -> None:
    """Have every thread of the pool at work."""
    pool.submit(writer, [text("occupied")], LONG_S)
    wait_for(lambda: writer.batches)


def test_texts_come_back_in_their_order_and_cut(pool: WritingPool, writer: SlowWriter) -> None:
    writer.released.set()
    asked = [text("tea", 1), text("wine", 2, Length(sentences=1))]
    assert pool.submit(writer, asked, LONG_S).done.result(WAIT_S) == ["Of tea. By 1.", "Of wine."]


def test_requests_that_wait_together_are_written_in_one_batch_each_by_its_own_seed(
    pool: WritingPool, writer: SlowWriter
) -> None:
    busy(pool, writer)
    jobs = [pool.submit(writer, [text("tea", 5)], LONG_S), pool.submit(writer, [text("wine", 6)], LONG_S)]
    writer.released.set()
    assert [job.done.result(WAIT_S) for job in jobs] == [["Of tea. By 5."], ["Of wine. By 6."]]
    assert writer.batches == [[("occupied", 1)], [("tea", 5), ("wine", 6)]]


def test_only_texts_of_one_writer_and_as_many_tokens_share_a_batch(pool: WritingPool, writer: SlowWriter) -> None:
    busy(pool, writer)
    other = SlowWriter()
    jobs = [pool.submit(writer, [text("tea", length=Length(tokens=9))], LONG_S), pool.submit(other, [text("t")], 60)]
    writer.released.set()
    other.released.set()
    for job in jobs:
        job.done.result(WAIT_S)
    assert (writer.tokens, other.tokens) == ([Length().tokens, 9], [Length().tokens])


def test_a_request_of_many_texts_is_written_in_several_batches(pool: WritingPool, writer: SlowWriter) -> None:
    writer.released.set()
    asked = [text(f"i{number}") for number in range(7)]
    assert len(pool.submit(writer, asked, LONG_S).done.result(WAIT_S)) == 7
    assert [len(batch) for batch in writer.batches] == [3, 3, 1]


class StepByStep(SlowWriter):
    """Is let go for one batch at a time."""

    def write(self, *args: Any) -> list[str]:
        self.released.clear()
        return super().write(*args)


@pytest.mark.parametrize(("n_drafts", "at_once"), [(2, 3), (4, 1), (8, 1)])
def test_of_texts_with_several_drafts_fewer_share_a_batch_and_each_is_answered_when_it_is_done(
    n_drafts: int, at_once: int
) -> None:
    pool, occupied, writer = WritingPool(1, max_waiting=8, max_batch=7), SlowWriter(), StepByStep(n_drafts=n_drafts)
    busy(pool, occupied)
    jobs = [pool.submit(writer, [text("tea", number)], LONG_S) for number in range(6)]
    occupied.released.set()
    wait_for(lambda: writer.batches)
    wait_for(lambda: not writer.released.is_set())
    writer.released.set()
    # The rest is never written: nobody is kept waiting by what comes after.
    assert [job.done.result(WAIT_S) for job in jobs[:at_once]] == [[f"Of tea. By {n}."] for n in range(at_once)]
    wait_for(lambda: len(writer.batches) == 2)
    assert [len(batch) for batch in writer.batches] == [at_once, at_once]
    assert not any(job.done.done() for job in jobs[at_once:])
    pool.close()


def test_a_request_of_many_texts_with_drafts_is_written_in_as_small_batches(pool: WritingPool) -> None:
    writer = SlowWriter(n_drafts=2)
    writer.released.set()
    assert len(pool.submit(writer, [text(f"i{number}") for number in range(3)], LONG_S).done.result(WAIT_S)) == 3
    assert [len(batch) for batch in writer.batches] == [1, 1, 1]


def test_a_writer_that_sees_fewer_tokens_is_asked_for_no_more(pool: WritingPool) -> None:
    writer = SlowWriter(max_tokens=20)
    writer.released.set()
    pool.submit(writer, [text("tea")], LONG_S).done.result(WAIT_S)
    assert writer.tokens == [20]


def test_one_more_than_may_wait_is_refused_at_once(pool: WritingPool, writer: SlowWriter) -> None:
    busy(pool, writer)
    waiting = [pool.submit(writer, [text("tea", length=Length(tokens=n))], LONG_S) for n in (1, 2)]
    assert pool.n_waiting == 2
    with pytest.raises(TooBusy, match=r"waiting=2 requests, expected fewer than serving.feedback_waiting=2") as caught:
        pool.submit(writer, [text("more")], LONG_S)
    assert caught.value.status == 429
    assert 1 <= caught.value.retry_after_s <= 60
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)
    # Somebody who waits no more makes room.
    waiting[0].stop()
    pool.submit(writer, [text("more")], LONG_S)


def test_nothing_may_wait_and_an_idle_thread_takes_a_request_all_the_same(writer: SlowWriter) -> None:
    pool = WritingPool(threads=1, max_waiting=0, max_batch=1)
    busy(pool, writer)
    with pytest.raises(TooBusy):
        pool.submit(writer, [text("more")], LONG_S)
    pool.close()


def test_who_waits_no_more_stops_the_writer(pool: WritingPool, writer: SlowWriter) -> None:
    job = pool.submit(writer, [text("tea")], LONG_S)
    wait_for(lambda: writer.batches)
    job.stop()
    wait_for(lambda: writer.n_stopped == 1)
    with pytest.raises(TimeoutError):
        job.done.result(WAIT_S)


def test_who_waits_no_more_before_it_began_is_never_written_for(pool: WritingPool, writer: SlowWriter) -> None:
    busy(pool, writer)
    job = pool.submit(writer, [text("tea")], LONG_S)
    job.stop()
    writer.released.set()
    with pytest.raises(CancelledError):
        job.done.result(WAIT_S)
    assert pool.submit(writer, [text("wine")], LONG_S).done.result(WAIT_S)
    assert writer.batches == [[("occupied", 1)], [("wine", 1)]]


def test_a_batch_is_written_on_while_anybody_waits_for_one_of_it(pool: WritingPool, writer: SlowWriter) -> None:
    busy(pool, writer)
    occupied = writer
    shared = SlowWriter()
    gone, stays = (pool.submit(shared, [text(item)], LONG_S) for item in ("tea", "wine"))
    occupied.released.set()
    wait_for(lambda: shared.batches)
    gone.stop()
    shared.released.set()
    assert stays.done.result(WAIT_S) == ["Of wine. By 1."]
    assert shared.n_stopped == 0
    with pytest.raises(TimeoutError):
        gone.done.result(WAIT_S)


@pytest.mark.parametrize("take", [None, lambda _: None], ids=["whole", "streamed"])
def test_past_its_time_a_text_is_not_written_on(pool: WritingPool, writer: SlowWriter, take: object) -> None:
    job = pool.submit(writer, [text("tea")], 0.05, take)  # type: ignore[arg-type]
    with pytest.raises(TimeoutError):
        job.done.result(WAIT_S)
    assert writer.n_stopped == 1


def test_time_spent_waiting_counts(pool: WritingPool, writer: SlowWriter) -> None:
    busy(pool, writer)
    job = pool.submit(writer, [text("tea")], 0.01)
    threading.Event().wait(0.03)
    writer.released.set()
    with pytest.raises(TimeoutError):
        job.done.result(WAIT_S)
    assert writer.batches == [[("occupied", 1)]]


def test_a_streamed_text_comes_by_the_sentence_and_each_text_has_an_end(pool: WritingPool, writer: SlowWriter) -> None:
    said: list[str | None] = []
    writer.released.set()
    job = pool.submit(writer, [text("tea"), text("wine", length=Length(sentences=1))], LONG_S, said.append)
    whole = ["Sentence 0 of tea. Sentence 1 of tea. The last one.", "Sentence 0 of wine."]
    assert job.done.result(WAIT_S) == whole
    assert said == ["Sentence 0 of tea.", " Sentence 1 of tea.", " The last one.", None, "Sentence 0 of wine.", None]


def test_a_reader_who_hangs_up_stops_the_stream(pool: WritingPool, writer: SlowWriter) -> None:
    said: list[str | None] = []
    job = pool.submit(writer, [text("tea"), text("wine")], LONG_S, said.append)
    wait_for(lambda: len(said) == 2)
    job.stop()
    with pytest.raises(TimeoutError):
        job.done.result(WAIT_S)
    assert (writer.n_stopped, len(writer.batches), len(said)) == (1, 1, 2)


class Panic(BaseException):
    """As of a library that is written in Rust."""


@pytest.mark.parametrize(("error", "told"), [(ValueError, ValueError), (Panic, RuntimeError)])
def test_an_error_of_the_writer_reaches_who_waits_and_the_thread_lives_on(
    pool: WritingPool,
    writer: SlowWriter,
    monkeypatch: pytest.MonkeyPatch,
    error: type[BaseException],
    told: type[Exception],
) -> None:
    def fail(*_: object, **__: object) -> list[str]:
        raise error("out of words")

    monkeypatch.setattr(writer, "write", fail)
    with pytest.raises(told, match="out of words"):
        pool.submit(writer, [text("tea")], LONG_S).done.result(WAIT_S)
    monkeypatch.undo()
    writer.released.set()
    assert pool.submit(writer, [text("tea")], LONG_S).done.result(WAIT_S)


def test_a_request_that_fails_fails_alone(
    pool: WritingPool, writer: SlowWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    busy(pool, writer)
    write = writer.write

    def fail(requests: Sequence[Any], *args: Any) -> list[str]:
        if any(request.item == "mud" for request in requests):
            raise ValueError("out of words")
        return write(requests, *args)

    monkeypatch.setattr(writer, "write", fail)
    jobs = [pool.submit(writer, [text(item)], LONG_S) for item in ("tea", "mud")]
    writer.released.set()
    assert jobs[0].done.result(WAIT_S) == ["Of tea. By 1."]
    with pytest.raises(ValueError, match="out of words"):
        jobs[1].done.result(WAIT_S)


def test_closing_stops_what_is_written_and_drops_what_waits(writer: SlowWriter) -> None:
    pool = WritingPool(threads=1, max_waiting=2, max_batch=3)
    busy(pool, writer)
    job = pool.submit(writer, [text("tea")], LONG_S)
    pool.close()
    assert (writer.n_stopped, job.done.cancelled()) == (1, True)
    with pytest.raises(TooBusy):
        pool.submit(writer, [text("tea")], LONG_S)


def test_texts_are_counted_by_what_became_of_them(writer: SlowWriter) -> None:
    counted: list[tuple[str, int]] = []
    pool = WritingPool(threads=1, max_waiting=1, max_batch=3, count=lambda *one: counted.append(one))
    busy(pool, writer)
    waiting = pool.submit(writer, [text("tea"), text("wine")], LONG_S)
    with pytest.raises(TooBusy):
        pool.submit(writer, [text("more")] * 3, LONG_S)
    waiting.stop()
    writer.released.set()
    wait_for(lambda: len(counted) == 3)
    with pytest.raises(AssertionError):
        pool.submit(writer, [text("tea")], LONG_S, _refuse_sentence).done.result(WAIT_S)
    pool.close()
    assert counted == [("refused", 3), ("stopped", 2), ("written", 1), ("failed", 1)]


def _refuse_sentence(_: str | None) -> None:
    raise AssertionError
