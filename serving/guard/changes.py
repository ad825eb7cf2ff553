"""The audit of requests that change something: on record before they begin, their outcome before the answer."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from core.logs.audit import Act, AuditError, begin, end
from serving.guard.access import Row, find_row, is_change
from serving.guard.caller import current_caller

logger = logging.getLogger(__name__)

_MAX_PATH_CHARS = 200
_DETAILS = "sommelier.audit"
_USERS = "/users/*"  # their paths hold a person's id, which no record may


def say_in_audit(scope: Scope, **details: str) -> None:
    """Add details to the record of the request that is being answered; no id of a person may be among them.

    Args:
        scope: Of the request; of one that is not recorded nothing is kept.
    """
    scope.get(_DETAILS, {}).update(details)


class AuditChanges:
    """Records every request that may change something and needs the scope `admin`. Stands within the gate.

    Args:
        app: The next app.
        file: The shop's audit log.
    """

    def __init__(self, app: ASGIApp, file: Path) -> None:
        self._app = app
        self._file = file

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        row = find_row(scope["method"], scope["path"]) if scope["type"] == "http" else None
        if row is None or row.need != "admin" or not is_change(scope["method"]):
            await self._app(scope, receive, send)
            return
        what = f"{scope['method']} {_shown(row, scope['path'])}"
        try:
            act = await asyncio.to_thread(begin, self._file, what, current_caller().name)
        except AuditError:
            logger.exception("A change was refused, as it cannot be recorded")
            sentence = f"Cannot answer {what}: the audit log cannot be written, and nothing is changed without it."
            await JSONResponse({"error": sentence}, status_code=503)(scope, receive, send)
            return
        await self._answer(act, scope, receive, send)

    async def _answer(self, act: Act, scope: Scope, receive: Receive, send: Send) -> None:
        has_ended = False
        # Shared with the copies of the scope that routers make.
        details: dict[str, str] = {}
        scope[_DETAILS] = details

        async def record(message: Message) -> None:
            nonlocal has_ended
            if message["type"] == "http.response.start" and not has_ended:
                has_ended = True
                await self._end(act, f"status {message['status']}", details)
            await send(message)

        try:
            await self._app(scope, receive, record)
        except BaseException as error:
            if not has_ended:
                await asyncio.shield(self._end(act, f"failed: {type(error).__name__}", details))
            raise

    async def _end(self, act: Act, outcome: str, details: dict[str, str]) -> None:
        try:
            await asyncio.to_thread(end, self._file, act, outcome, details)
        except AuditError:
            # It is done, and its beginning is on record.
            logger.exception("The outcome of %s, %s, could not be recorded", act.what, outcome)


def _shown(row: Row, path: str) -> str:
    return row.path if row.path == _USERS else path[:_MAX_PATH_CHARS]
