"""Answering `/v1/feedback` beside everything else: drafts are made in threads of their own, texts in the pool's."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from contextvars import copy_context
from dataclasses import dataclass
from functools import partial

from serving.api.feedback import Feedback, FeedbackList, FeedbackRequest, TextPiece
from serving.api.message import Message
from serving.draft import Draft
from serving.engine import Engine
from serving.errors import TooSlow
from serving.reasons import supported_praise_in
from serving.writing.pool import Job, WritingPool
from serving.writing.text import Text

logger = logging.getLogger("serving")


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
        count_praise: Told of how much of what a written review praises is supported, and how much it praises.
    """

    def __init__(
        self,
        pool: WritingPool,
        threads: int,
        limits: Limits,
        count: Callable[[Feedback], None] = lambda _: None,
        count_praise: Callable[[int, int], None] = lambda *_: None,
    ) -> None:
        self._pool, self._limits, self._count, self._count_praise = pool, limits, count, count_praise
        self._drafting = ThreadPoolExecutor(threads, thread_name_prefix="feedback-draft")

    async def answer(self, engine: Engine, request: FeedbackRequest) -> Feedback | FeedbackList:
        """The text, or the texts; whoever cancels this stops their writing.

        Raises:
            ServingError: the request cannot be answered; `TooBusy` where too many wait, `TooSlow` past the time limit.
        """
        async with self._in_time():
            drafts = await self._drafts(engine, request)
            written = iter(await self._write(engine, drafts, self._limits.answer_s))
        answers = [draft.answer if draft.text is None else draft.finished(next(written)) for draft in drafts]
        for draft, answer in zip(drafts, answers, strict=True):
            if draft.text is not None:
                self._read(engine, answer)
        return answers[0] if request.pairs is None else FeedbackList(model=engine.model, items=answers)

    async def stream(self, engine: Engine, request: FeedbackRequest) -> Streamed:
        """The same in pieces.

        Raises:
            ServingError: the request cannot be answered; `TooBusy` where too many wait, `TooSlow` where it cannot begin
                within the time limit of a whole answer.
        """
        async with self._in_time():
            drafts = await self._drafts(engine, request)
        return Streamed(self._pool, engine, drafts, self._limits.stream_s, partial(self._read, engine))

    def close(self) -> None:
        """Stop what is written."""
        self._drafting.shutdown(wait=False, cancel_futures=True)
        self._pool.close()

    def _read(self, engine: Engine, answer: Feedback) -> None:
        """Count what a written review praises, behind the drafts that wait; no answer waits for it or fails by it."""

        def count() -> None:
            try:
                self._count_praise(*supported_praise_in(engine.bundle, answer))
            except Exception:
                logger.exception("What a written review praises is not counted")

        with suppress(RuntimeError):  # of what is closed
            self._drafting.submit(count)

    @asynccontextmanager
    async def _in_time(self) -> AsyncIterator[None]:
        limit_s = self._limits.answer_s
        try:
            async with asyncio.timeout(limit_s):
                yield
        except TimeoutError as error:
            raise TooSlow("serving.timeout_s", limit_s) from error

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

    Its job waits or is written from the moment that this is made; `stop` ends it. `read` is told of each text that was
    written whole.

    Raises:
        TooBusy: too many requests wait.
    """

    def __init__(
        self,
        pool: WritingPool,
        engine: Engine,
        drafts: Sequence[Draft],
        limit_s: float,
        read: Callable[[Feedback], None] = lambda _: None,
    ) -> None:
        self._drafts, self._limit_s, self._read = drafts, limit_s, read
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
                        whole += sentence
                        yield TextPiece(index=index, text=sentence)
                answer = draft.finished(whole)
                if draft.text is not None:
                    self._read(answer)
                yield answer
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
