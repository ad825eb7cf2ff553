"""Answering `/v1/feedback` beside everything else: drafts are made in threads of their own, texts in the pool's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from contextvars import copy_context
from dataclasses import dataclass
from functools import partial

from serving.api.feedback import Feedback, FeedbackList, FeedbackRequest, TextPiece
from serving.api.message import Message
from serving.draft import Draft
from serving.engine import Engine
from serving.errors import TooSlow
from serving.writing.pool import Job, WritingPool
from serving.writing.text import Text


@dataclass(frozen=True)
class Limits:
    """Of one request.

    Attributes:
        answer_s: For a whole answer, seconds: `serving.timeout_s`.
        stream_s: For a streamed one: `serving.stream_s`.
        max_pairs: Texts.
    """

    answer_s: float
    stream_s: float
    max_pairs: int


class FeedbackDesk:
    """Answers requests for texts.

    Args:
        pool: Where they are written.
        threads: How many drafts are made at once: what is known of the user is read, and the rating predicted.
        limits: Of one request.
        count: Told of each answer, before its text is written.
    """

    def __init__(
        self, pool: WritingPool, threads: int, limits: Limits, count: Callable[[Feedback], None] = lambda _: None
    ) -> None:
        self._pool, self._limits, self._count = pool, limits, count
        self._drafting = ThreadPoolExecutor(threads, thread_name_prefix="feedback-draft")

    async def answer(self, engine: Engine, request: FeedbackRequest) -> Feedback | FeedbackList:
        """The text, or the texts; whoever cancels this stops their writing.

        Raises:
            ServingError: the request cannot be answered; `TooBusy` where too many wait, `TooSlow` past the time limit.
        """
        limit_s = self._limits.answer_s
        try:
            async with asyncio.timeout(limit_s):
                drafts = await self._drafts(engine, request)
                written = iter(await self._write(engine, drafts, limit_s))
        except TimeoutError as error:
            raise TooSlow("serving.timeout_s", limit_s) from error
        answers = [draft.answer if draft.text is None else draft.finished(next(written)) for draft in drafts]
        return answers[0] if request.pairs is None else FeedbackList(model=engine.model, items=answers)

    async def stream(self, engine: Engine, request: FeedbackRequest) -> Streamed:
        """The same in pieces.

        Raises:
            ServingError: the request cannot be answered.
        """
        drafts = await self._drafts(engine, request)
        return Streamed(self._pool, engine, drafts, self._limits.stream_s)

    def close(self) -> None:
        """Stop what is written."""
        self._drafting.shutdown(wait=False, cancel_futures=True)
        self._pool.close()

    async def _drafts(self, engine: Engine, request: FeedbackRequest) -> list[Draft]:
        make = partial(copy_context().run, engine.drafts, request, self._limits.max_pairs)
        drafts = await asyncio.get_running_loop().run_in_executor(self._drafting, make)
        for draft in drafts:
            self._count(draft.answer)
        return drafts

    async def _write(self, engine: Engine, drafts: Sequence[Draft], limit_s: float) -> list[str]:
        texts = _to_write(drafts)
        if not texts:
            return []
        job = self._pool.submit(engine.writer, texts, limit_s)
        try:
            return await asyncio.wrap_future(job.done)
        finally:
            job.stop()


class Streamed:
    """An answer in pieces, as they come from the pool's thread to the event loop's.

    Its job waits or is written from the moment that this is made; `stop` ends it.

    Raises:
        TooBusy: too many requests wait.
    """

    def __init__(self, pool: WritingPool, engine: Engine, drafts: Sequence[Draft], limit_s: float) -> None:
        self._drafts, self._limit_s = drafts, limit_s
        self._loop = asyncio.get_running_loop()
        self._until = self._loop.time() + limit_s
        # Sentences; None behind each text, and once more when the job is done.
        self._pieces: asyncio.Queue[str | None] = asyncio.Queue()
        self._job: Job | None = None
        texts = _to_write(drafts)
        if texts:
            self._job = pool.submit(engine.writer, texts, limit_s, self._put)
            self._job.done.add_done_callback(lambda _: self._put(None))

    def stop(self) -> None:
        """Nobody reads on."""
        if self._job is not None:
            self._job.stop()

    async def messages(self) -> AsyncIterator[Message]:
        """A `TextPiece` for each sentence, and a `Feedback` behind each text.

        Raises:
            TooSlow: the time limit has passed.
            Exception: what the writer raises.
        """
        try:
            for index, draft in enumerate(self._drafts):
                whole = draft.answer.text
                if draft.text is None:
                    yield TextPiece(index=index, text=whole)
                else:
                    while (sentence := await self._next()) is not None:
                        added = f" {sentence}" if whole else sentence
                        whole += added
                        yield TextPiece(index=index, text=added)
                yield draft.finished(whole)
        except TimeoutError as error:
            raise TooSlow("serving.stream_s", self._limit_s) from error
        finally:
            self.stop()

    async def _next(self) -> str | None:
        """The next sentence; None behind the last of a text. Raises what the job failed with."""
        async with asyncio.timeout_at(self._until):
            piece = await self._pieces.get()
        if piece is None and self._job is not None and self._job.done.done() and self._pieces.empty():
            await asyncio.wrap_future(self._job.done)
        return piece

    def _put(self, piece: str | None) -> None:
        with suppress(RuntimeError):  # of a loop that is closed
            self._loop.call_soon_threadsafe(self._pieces.put_nowait, piece)


def _to_write(drafts: Sequence[Draft]) -> list[Text]:
    return [draft.text for draft in drafts if draft.text is not None]
