"""The audit of requests that change something, or show what is of people or of who did what: on record before they
begin, their outcome before the answer.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import parse_qsl

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from core.ids import moment_of_id
from core.logs.audit import Act, AuditError, begin, end
from serving.guard.access import Row, find_row, is_change
from serving.guard.caller import current_caller

logger = logging.getLogger(__name__)

_MAX_PATH_CHARS = 200
_DETAILS = "sommelier.audit"
_USERS = "/users/*"  # their paths hold a person's id, which no record may
_LINEAGE = "/lineage/*"
# Looks at the log itself: who polls it drives no other looks out of the file.
_OF_THE_LOG = ("/audit", "/app/audit")
_AGAIN_S = 60.0
# Of the address of what is looked at: none holds a person's id, nor does what is no word.
_ANSWER = "recommendation_id"
_ASKED = ("table", "rule", "after", "before", "limit", "of", _ANSWER)
_WORD = re.compile(r"[A-Za-z0-9_.:-]{1,64}")


def say_in_audit(scope: Scope, **details: str) -> None:
    """Add details to the record of the request that is being answered; no id of a person may be among them.

    Args:
        scope: Of the request; of one that is not recorded nothing is kept.
    """
    scope.get(_DETAILS, {}).update(details)


class AuditRequests:
    """Records every request that may change something and needs the scope `admin`, and, in a file of their own, looks
    at what is of people or of who did what (`Row.tells`); of looks at the audit log itself one per caller and minute.
    Stands within the gate.

    Args:
        app: The next app.
        changes: The shop's audit log.
        reads: The shop's log of looks.
        find: The row of a request, by its method and path; None of one that is not recorded.
    """

    def __init__(
        self, app: ASGIApp, changes: Path, reads: Path, find: Callable[[str, str], Row | None] = find_row
    ) -> None:
        self._app = app
        self._find = find
        self._changes, self._reads = changes, reads
        self._looked: dict[str, float] = {}  # when a look of a caller at the log was recorded last

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        row = self._find(scope["method"], scope["path"]) if scope["type"] == "http" else None
        if row is None:
            await self._app(scope, receive, send)
        elif row.need == "admin" and is_change(scope["method"]):
            await self._record(self._changes, row, {}, scope, receive, send)
        # Where there is no folder of the shop, there is nothing to look at.
        elif row.tells and current_caller().may("admin") and self._reads.parent.is_dir():
            asked = _asked(scope)
            if (row.where and row.where not in asked) or self._is_on_record(row):
                await self._app(scope, receive, send)
            else:
                await self._record(self._reads, row, asked, scope, receive, send)
        else:
            await self._app(scope, receive, send)

    def _is_on_record(self, row: Row) -> bool:
        looked = self._looked.get(current_caller().name)
        return row.path in _OF_THE_LOG and looked is not None and time.monotonic() < looked + _AGAIN_S

    async def _record(
        self, file: Path, row: Row, details: dict[str, str], scope: Scope, receive: Receive, send: Send
    ) -> None:
        what = f"{scope['method']} {_shown(row, scope['path'])}"
        try:
            act = await asyncio.to_thread(begin, file, what, current_caller().name, details)
        except AuditError:
            logger.exception("A request was refused, as it cannot be recorded")
            done = "changed" if file == self._changes else "shown"
            sentence = f"Cannot answer {what}: the audit log cannot be written, and nothing is {done} without it."
            await JSONResponse({"error": sentence}, status_code=503)(scope, receive, send)
            return
        if row.path in _OF_THE_LOG:
            self._looked[act.who] = time.monotonic()
        await self._answer(file, act, scope, receive, send)

    async def _answer(self, file: Path, act: Act, scope: Scope, receive: Receive, send: Send) -> None:
        has_ended = False
        # Shared with the copies of the scope that routers make.
        details: dict[str, str] = {}
        scope[_DETAILS] = details

        async def record(message: Message) -> None:
            nonlocal has_ended
            if message["type"] == "http.response.start" and not has_ended:
                has_ended = True
                await self._end(file, act, f"status {message['status']}", details)
            await send(message)

        try:
            await self._app(scope, receive, record)
        except BaseException as error:
            if not has_ended:
                await asyncio.shield(self._end(file, act, f"failed: {type(error).__name__}", details))
            raise

    async def _end(self, file: Path, act: Act, outcome: str, details: dict[str, str]) -> None:
        try:
            await asyncio.to_thread(end, file, act, outcome, details)
        except AuditError:
            # It is done, and its beginning is on record.
            logger.exception("The outcome of %s, %s, could not be recorded", act.what, outcome)


def _shown(row: Row, path: str) -> str:
    is_hidden = row.path == _USERS or (row.path == _LINEAGE and moment_of_id(path.rpartition("/")[2]) is None)
    return row.path if is_hidden else path[:_MAX_PATH_CHARS]


def _asked(scope: Scope) -> dict[str, str]:
    """What the address of a request asks for, as far as a record may say it; `*` for the rest."""
    given = parse_qsl(scope.get("query_string", b"").decode("latin-1"))
    return {name: value if _may_say(name, value) else "*" for name, value in given if name in _ASKED}


def _may_say(name: str, value: str) -> bool:
    return moment_of_id(value) is not None if name == _ANSWER else _WORD.fullmatch(value) is not None
