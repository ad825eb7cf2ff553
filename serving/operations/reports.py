"""`python -m serving.operations.reports`: Data Docs, evaluations and drift reports, by the keys of the service."""

from __future__ import annotations

import argparse
import json
import logging
import os
import posixpath
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import uvicorn
import uvicorn.config
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Scope

from core.errors import SommelierError
from core.keys import KeyFile
from core.layout import Layout
from core.logs.lines import log_as_json
from core.settings.loading import load_settings
from core.settings.tree import Settings
from serving.guard.access import Need, Row, is_change
from serving.guard.changes import AuditRequests
from serving.guard.connections import limit_heads
from serving.guard.gate import KeyGate
from serving.http.headers import SecurityHeaders

_ALIVE = "/livez"
_FRONT = ("/", "/index.html")
# Below the folder of a validation: what has figures alone, and what names users. What is neither needs `admin` too.
_FIGURES = ("drift", "evaluation")
_NAMES = "data-docs"
_LOOKS = ("static", "docs.css", "docs.js")  # below the Data Docs: how they look
_NAMING = Row(("GET",), "/*", "admin", is_versioned=False, tells=True)
# The pages run scripts of their own, of Evidently and Great Expectations.
_POLICY = "frame-ancestors 'self'"
_NONE_YET = "<!doctype html><title>Reports</title><p>There are no reports yet: the first run writes some."


def main() -> None:
    """Serve the shop's reports until a signal comes."""
    try:
        settings = settle_address(sys.argv[1:], os.environ)
        settings.check_exposure(["reports"])
    except SommelierError as error:
        sys.exit(str(error))
    lines: dict[str, Any] | None = uvicorn.config.LOGGING_CONFIG
    if settings.logs.format == "json":
        log_as_json()
        logging.getLogger().setLevel(logging.INFO)
        lines = None
    limit_heads(settings.serving.header_s, settings.serving.max_header_bytes)
    host, port = settings.platform.host_of("reports"), settings.platform.reports_port
    # A line of each request would have its query.
    uvicorn.run(reports_app(settings), host=host, port=port, log_config=lines, access_log=False)


def settle_address(options: Sequence[str], variables: Mapping[str, str]) -> Settings:
    """The settings, with the host and the port that options name.

    Args:
        options: `--host` and `--port`, or neither.
        variables: The environment.
    """
    parser = argparse.ArgumentParser(prog="python -m serving.operations.reports", description=main.__doc__)
    parser.add_argument("--host", help="where it listens; platform.reports_host by default")
    parser.add_argument("--port", type=int, help="its port; platform.reports_port by default")
    given = {f"platform.reports_{name}": value for name, value in vars(parser.parse_args(options)).items() if value}
    return load_settings(
        variables=variables, overrides=[f"{name}={json.dumps(value)}" for name, value in given.items()]
    )


def reports_app(settings: Settings) -> ASGIApp:
    """The app: every page needs the scope `read` where keys are needed, and the Data Docs, which name users, `admin`:
    who looked at them is on record.

    Args:
        settings: Of the shop; its folder of reports is made where there is none.
    """
    layout = Layout(settings.work_dir, settings.shop)
    layout.reports.mkdir(parents=True, exist_ok=True)
    files = Mount("/", ReportFiles(directory=layout.reports, html=True))
    inner = Starlette(routes=[Route(_ALIVE, _say_alive), files])
    gate = KeyGate(
        AuditRequests(inner, layout.audit, layout.audit_reads, _find_naming),
        find=KeyFile(layout.api_keys).find,
        needs_keys=settings.needs_keys_at("reports"),
        by_address=not settings.is_open_to_all,
        rates=settings.serving.rates,
        pages="/",
        need=_need_of,
    )
    return SecurityHeaders(gate, _POLICY)


class ReportFiles(StaticFiles):
    """Files, and words in place of the first page as long as no run has written it."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        """The file at a path, or the `index.html` of a folder.

        Raises:
            HTTPException: 404, where there is none.
        """
        try:
            return await super().get_response(path, scope)
        except HTTPException as error:
            if error.status_code == 404 and scope["path"] == "/":
                return HTMLResponse(_NONE_YET)
            raise


def _need_of(method: str, path: str) -> Need:
    if is_change(method):
        return "admin"
    if path == _ALIVE:
        return "nothing"
    parts = _parts_of(path)
    has_figures = len(parts) > 1 and parts[1] in _FIGURES
    return "read" if path in _FRONT or has_figures else "admin"


def _find_naming(method: str, path: str) -> Row | None:
    """The row of a look at what names users; None of any other request."""
    parts = [part.casefold() for part in _parts_of(path)]  # some disks know no case
    is_naming = len(parts) > 1 and parts[1] == _NAMES and (len(parts) < 3 or parts[2] not in _LOOKS)
    return _NAMING if is_naming and not is_change(method) else None


def _parts_of(path: str) -> list[str]:
    """The folders and the file that `StaticFiles` looks for."""
    return posixpath.normpath("/".join(["", *path.split("/")])).strip("/").split("/")


async def _say_alive(_: Request) -> Response:
    return PlainTextResponse("ok")


if __name__ == "__main__":
    main()
