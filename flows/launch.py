"""`sommelier up`: the whole platform on one machine, until Ctrl-C."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from flows.artifacts import metric_rows
from flows.deployments import read_topology
from flows.edge import child_environment
from flows.errors import PartFailed
from flows.outcome import Outcome, read_outcome
from flows.parts import Part, Platform, check_ports, wait_until_answers
from recommender.layout import Layout
from recommender.settings import Settings
from recommender.storage import write_json

_START_TIMEOUT_S = 120.0
_ANSWER_TIMEOUT_S = 30.0


class Stopped(Exception):
    """Somebody asked the platform to stop."""


def run_platform(settings: Settings, show: Callable[[str], None], *, stay: bool = True) -> None:
    """Start every part, run the pipeline once, show where everything is, and stay until a signal comes.

    Args:
        settings: The resolved settings.
        show: Called with each line of progress.
        stay: Whether to stay up after the pipeline; otherwise stop once the first answer is there.
    Raises:
        PortTaken, PartFailed, RunFailed: a part could not start, or the pipeline failed; everything is stopped by then.
    """
    settings = settings.model_copy(update={"work_dir": settings.work_dir.absolute()})
    ports = settings.platform.model_dump(include={"prefect_port", "service_port", "monitoring_port", "reports_port"})
    check_ports(settings.platform.host, {name.removesuffix("_port"): port for name, port in ports.items()})
    with running_parts(settings, show) as (platform, asked):
        _start_all(settings, platform, show, asked)
        while stay and not asked.wait(1.0):
            check_parts(platform, asked)


@contextmanager
def running_parts(settings: Settings, show: Callable[[str], None]) -> Iterator[tuple[Platform, threading.Event]]:
    """A platform without parts yet, and an event that a signal sets; at the end every part is stopped.

    `Stopped` ends the block quietly.

    Args:
        settings: With an absolute work folder.
        show: Called with each line of progress.
    """
    environment = child_environment(settings)
    # This process talks to the same server and store as its parts: from here on their environment is its own.
    os.environ.update(environment)
    platform = Platform(environment, settings.work_dir / "logs")
    asked = threading.Event()
    with _setting_on_signals(asked):
        try:
            yield platform, asked
        except Stopped:
            pass
        finally:
            show("stopping ...")
            platform.stop()
            show("stopped; nothing is left running")


@contextmanager
def _setting_on_signals(event: threading.Event) -> Iterator[None]:
    """Set an event on SIGINT and SIGTERM, and put the old handlers back afterwards."""
    before = {n: signal.signal(n, lambda *_: event.set()) for n in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def check_parts(platform: Platform, asked: threading.Event) -> None:
    """Raise when somebody asked to stop, or when a part has ended by itself."""
    if asked.is_set():
        raise Stopped
    part = platform.first_stopped()
    if part is not None:
        raise PartFailed(
            "The platform lost a part",
            got=f"{part.name} ended with exit code {part.process.returncode}",
            expected="it to run",
            where=str(part.log),
            do="Read the log and start again",
        )


def _start_all(settings: Settings, platform: Platform, show: Callable[[str], None], asked: threading.Event) -> None:
    from flows.prefect_server import run_deployment

    layout = Layout(settings.work_dir, settings.shop)
    started = time.monotonic()
    show(f"shop {settings.shop}, source {settings.recipe.source.kind}, everything below {settings.work_dir}")
    start_flows(settings, platform, show, asked)
    show("running the pipeline ...")
    run_deployment("pipeline/pipeline", lambda line: show(f"  {line}"), lambda: check_parts(platform, asked))
    outcome = read_outcome(layout.root)
    show("starting the service and the monitoring pages ...")
    _start_pages(settings, layout, platform, asked)
    _show_outcome(settings, outcome, show)
    show(f"up after {time.monotonic() - started:.0f} s; Ctrl-C stops everything")


def start_flows(settings: Settings, platform: Platform, show: Callable[[str], None], asked: threading.Event) -> None:
    """Start the Prefect server and serve the deployments, and wait until both are there."""
    from flows.prefect_server import clear_stale_runs, wait_for_deployment

    where = settings.platform
    show("starting the Prefect server ...")
    server = platform.start(
        "prefect", ["-m", "prefect", "server", "start", "--host", where.host, "--port", str(where.prefect_port)]
    )
    _wait(server, f"http://{where.host}:{where.prefect_port}/api/health", asked)
    if cleared := clear_stale_runs():
        show(f"cleared {cleared} runs that an earlier platform left behind")
    show("serving the deployments ...")
    recipe_file = Layout(settings.work_dir, settings.shop).root / "recipe.json"
    write_json(recipe_file, settings.recipe.model_dump(mode="json"))
    platform.start("runner", ["-m", "flows.command", "serve", str(recipe_file)])
    for entry in read_topology():
        wait_for_deployment(f"{entry['name']}/{entry['name']}", _START_TIMEOUT_S)


def _start_pages(settings: Settings, layout: Layout, platform: Platform, asked: threading.Event) -> None:
    """Start the service, Evidently's UI and the reports' pages, all at once."""
    where = settings.platform
    service = platform.start(
        "service",
        [
            "-m",
            "bentoml",
            "serve",
            "serving.service:Sommelier",
            "--host",
            where.host,
            "--port",
            str(where.service_port),
        ],
    )
    evidently = ["-c", "from evidently.cli import app; app()", "ui", "--workspace", str(layout.monitoring)]
    monitoring = platform.start("monitoring", [*evidently, "--host", where.host, "--port", str(where.monitoring_port)])
    pages = ["-m", "http.server", str(where.reports_port), "--bind", where.host]
    reports = platform.start("reports", [*pages, "--directory", str(layout.reports)])
    _wait(service, f"http://{where.host}:{where.service_port}/readyz", asked)
    _wait(monitoring, f"http://{where.host}:{where.monitoring_port}/", asked)
    _wait(reports, f"http://{where.host}:{where.reports_port}/", asked)


def _wait(part: Part, url: str, asked: threading.Event) -> None:
    wait_until_answers(part, url, _START_TIMEOUT_S, asked)
    if asked.is_set():
        raise Stopped


def _show_outcome(settings: Settings, outcome: Outcome, show: Callable[[str], None]) -> None:
    """The metric table, where each part is, and one request with its answer."""
    where = settings.platform
    base = f"http://{where.host}"
    for line in format_table(metric_rows(outcome.metrics, settings.recipe.evaluation.k)):
        show(f"  {line}")
    show(f"in service: {outcome.in_service} ({outcome.reason})")
    show(f"Prefect UI    {base}:{where.prefect_port}")
    show(f"service       {base}:{where.service_port}   (API page; metrics at /metrics)")
    show(f"Evidently UI  {base}:{where.monitoring_port}")
    show(f"reports       {base}:{where.reports_port}   (Data Docs, drift)")
    url, body = f"{base}:{where.service_port}/recommend", {"user_id": outcome.example_user, "k": 3}
    show(f"curl -s {url} -H 'Content-Type: application/json' -d '{json.dumps(body)}'")
    answer = httpx.post(url, json=body, timeout=_ANSWER_TIMEOUT_S)
    show(json.dumps(answer.json(), indent=2))
    answer.raise_for_status()


def format_table(rows: list[dict[str, Any]]) -> list[str]:
    """Align rows of equal keys as plain text, one line each, the header first."""
    cells = [list(rows[0]), *([str(value) for value in row.values()] for row in rows)] if rows else []
    widths = [max(len(row[column]) for row in cells) for column in range(len(cells[0]))] if cells else []
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]
