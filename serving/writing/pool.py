"""Threads that have texts written, apart from those that answer everything else, and a short queue before them.

Requests that wait together are written in one batch. Each has a time limit and may be stopped: the writer is told, and
does not write on for nobody.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Literal

from core.errors import as_exception
from core.logs.requests import answering, current_request_id
from recommender.writing.decoding import Decoding, WritingStopped
from recommender.writing.length import Kept
from serving.errors import TooBusy
from serving.writing.text import Text, Writer

logger = logging.getLogger("serving")

# refused: too many wait. stopped: nobody waits any more, or for too long.
Outcome = Literal["written", "refused", "stopped", "failed"]
_CLOSE_WAIT_S = 5.0
_FIRST_GUESS_S = 1.0  # of a job's time, before any was done
_NEW_SHARE = 0.2  # of the newest in the mean of the jobs' times
_LONGEST_RETRY_S = 60


@dataclass(eq=False)
class Job:
    """Texts that somebody waits for.

    Attributes:
        take: Called with each sentence as it comes, the white space before it with it, and with None behind each text,
            in the thread that has them written; None where whole texts are waited for.
        until: When to stop, by `time.monotonic`.
        done: The texts, whole. A job that ran out of time has a `TimeoutError`.
        request_id: For what is logged meanwhile.
    """

    writer: Writer
    texts: Sequence[Text]
    take: Callable[[str | None], None] | None
    until: float
    done: Future[list[str]] = field(default_factory=Future)
    request_id: str | None = field(default_factory=current_request_id)
    _stopped: threading.Event = field(default_factory=threading.Event)

    @property
    def decoding(self) -> Decoding:
        """How its texts, which one request asks for, are decoded."""
        return self.texts[0].decoding(self.writer.max_tokens)

    def at_once(self, max_batch: int) -> int:
        """How many texts such as its own one batch holds: the fewer, the more drafts of each are written."""
        return max(1, self.writer.texts_at_once(max_batch, self.decoding))

    def stop(self) -> None:
        """Nobody waits for it any more."""
        self._stopped.set()
        self.done.cancel()

    def is_over(self) -> bool:
        """Whether nobody waits any more, or for too long."""
        return self._stopped.is_set() or time.monotonic() >= self.until


class WritingPool:
    """Has texts written by a few threads.

    Args:
        threads: How many jobs, or batches of them, are written at once.
        max_waiting: How many jobs may wait; one more is refused at once.
        max_batch: How many texts are written together, or drafts of them where each has several; one text always.
        count: Called with an outcome, and how many texts had it.
    """

    def __init__(
        self, threads: int, max_waiting: int, max_batch: int, count: Callable[[Outcome, int], None] = lambda *_: None
    ) -> None:
        self._max_waiting, self._max_batch, self._count = max_waiting, max_batch, count
        self._changed = threading.Condition()
        self._waiting: deque[Job] = deque()
        self._running: list[Job] = []
        self._n_idle = threads
        self._closing = False
        self._mean_s = _FIRST_GUESS_S
        self._threads = [
            threading.Thread(target=self._work, name=f"feedback-writer-{number}", daemon=True)
            for number in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    def submit(
        self, writer: Writer, texts: Sequence[Text], limit_s: float, take: Callable[[str | None], None] | None = None
    ) -> Job:
        """Have texts written; returns at once.

        Args:
            limit_s: Within so many seconds from now, also those in the queue.
            take: See `Job`; texts that are taken by the sentence are written one after the other.
        Raises:
            TooBusy: as many jobs wait already as may.
        """
        job = Job(writer, texts, take, time.monotonic() + limit_s)
        with self._changed:
            self._drop_over()
            if self._closing or len(self._waiting) >= self._max_waiting + self._n_idle:
                self._count("refused", len(texts))
                raise TooBusy(len(self._waiting), self._max_waiting, self._retry_after_s())
            job.done.add_done_callback(lambda done: self._count(_outcome(done), len(texts)))
            self._waiting.append(job)
            self._changed.notify()
        return job

    @property
    def n_waiting(self) -> int:
        """Jobs that no thread has begun."""
        with self._changed:
            return len(self._waiting)

    def close(self) -> None:
        """Stop what is written, drop what waits, end the threads."""
        with self._changed:
            self._closing = True
            for job in (*self._waiting, *self._running):
                job.stop()
            self._waiting.clear()
            self._changed.notify_all()
        for thread in self._threads:
            thread.join(timeout=_CLOSE_WAIT_S)

    def _drop_over(self) -> None:
        """Let go of jobs that nobody waits for any more."""
        for job in [job for job in self._waiting if job.is_over()]:
            self._waiting.remove(job)
            _fail(job, TimeoutError())

    def _retry_after_s(self) -> int:
        n_ahead = len(self._waiting) + len(self._running)
        return min(max(1, math.ceil(n_ahead * self._mean_s / len(self._threads))), _LONGEST_RETRY_S)

    def _work(self) -> None:
        while True:
            with self._changed:
                while not (self._waiting or self._closing):
                    self._changed.wait()
                if self._closing:
                    return
                jobs = self._next_batch()
                self._running += jobs
                self._n_idle -= 1
            started = time.monotonic()
            try:
                with answering(job.request_id for job in jobs):
                    _run(jobs, self._max_batch)
            finally:
                with self._changed:
                    self._running = [job for job in self._running if job not in jobs]
                    self._n_idle += 1
                    spent_s = (time.monotonic() - started) / max(1, len(jobs))
                    self._mean_s += _NEW_SHARE * (spent_s - self._mean_s)

    def _next_batch(self) -> list[Job]:
        """The job that waits longest, and those behind it that fit into one batch with it."""
        first = self._waiting.popleft()
        jobs = [first]
        if first.take is not None:
            return jobs
        room = first.at_once(self._max_batch) - len(first.texts)
        for job in list(self._waiting):
            is_alike = job.take is None and job.writer is first.writer and job.decoding == first.decoding
            if is_alike and len(job.texts) <= room:
                self._waiting.remove(job)
                jobs.append(job)
                room -= len(job.texts)
        return jobs


def _run(jobs: Sequence[Job], max_batch: int) -> None:
    """Write the texts of jobs of one writer; whoever waits for them gets them, or the error. Never raises."""
    begun = []
    for job in jobs:
        if job.is_over():
            _fail(job, TimeoutError())
        elif job.done.set_running_or_notify_cancel():
            begun.append(job)
    if begun:
        _have_written(begun, max_batch)


def _have_written(begun: Sequence[Job], max_batch: int) -> None:
    """Jobs whose batch fails are written one by one: of them only those fail that do so alone."""
    first, others = begun[0], begun[1:]
    try:
        if first.take is None:
            _write(begun, max_batch)
        else:
            _stream(first, first.take)
    except BaseException as error:  # whatever it is, those who wait are told, and others wait for this thread
        if not others:
            _fail(first, as_exception(error))
            return
        logger.exception("A batch of texts failed; they are written one by one")
        for job in begun:
            _have_written([job], max_batch)


def _write(jobs: Sequence[Job], max_batch: int) -> None:
    """Whole texts, so many in a batch; a batch is written on as long as anybody waits for one of it."""
    writer, decoding = jobs[0].writer, jobs[0].decoding
    asked = [(job, text) for job in jobs for text in job.texts]
    written: list[str] = []
    at_once = jobs[0].at_once(max_batch)
    for start in range(0, len(asked), at_once):
        batch = asked[start : start + at_once]
        nobody_waits = partial(_are_over, [job for job, _ in batch])
        texts: list[str] = []
        if not nobody_waits():
            requests, seeds = [text.asked for _, text in batch], [text.seed for _, text in batch]
            with suppress(WritingStopped):
                texts = writer.write(requests, seeds, decoding, nobody_waits)
        if not texts:
            texts = [""] * len(batch)  # of jobs that fail below
        written += [text.length.cut(one) for (_, text), one in zip(batch, texts, strict=True)]
    for job in jobs:
        own, written = written[: len(job.texts)], written[len(job.texts) :]
        if job.is_over():
            _fail(job, TimeoutError())
        else:
            job.done.set_result(own)


def _stream(job: Job, take: Callable[[str | None], None]) -> None:
    """Texts one after the other, each by the sentence; one that is long enough is not written on."""
    texts = []
    for text in job.texts:
        kept = Kept(text.length)
        said: list[str] = []

        def emit(sentence: str, kept: Kept = kept, said: list[str] = said) -> None:
            if fitting := kept.take(sentence):
                said.append(fitting)
                take(fitting)

        with suppress(WritingStopped):
            job.writer.write_aloud(text.asked, text.seed, emit, job.decoding, partial(_is_enough, job, kept))
        if job.is_over():
            raise TimeoutError
        take(None)
        texts.append("".join(said))
    job.done.set_result(texts)


def _outcome(done: Future[list[str]]) -> Outcome:
    if done.cancelled() or isinstance(done.exception(), TimeoutError):
        return "stopped"
    return "written" if done.exception() is None else "failed"


def _are_over(jobs: Sequence[Job]) -> bool:
    return all(job.is_over() for job in jobs)


def _is_enough(job: Job, kept: Kept) -> bool:
    return kept.is_full or job.is_over()


def _fail(job: Job, error: Exception) -> None:
    """Tell whoever waits; nobody does where it was stopped."""
    with suppress(InvalidStateError):
        job.done.set_exception(error)
