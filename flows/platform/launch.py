"""`sommelier up`: the whole platform on one machine, until Ctrl-C."""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import httpx

from core.layout import Layout
from core.settings.tree import Settings
from core.storage import write_json
from flows.artifacts import metric_rows
from flows.environment import enter_environment
from flows.errors import PartFailed
from flows.outcome import Outcome, read_outcome
from flows.platform.deployments import deployment_name, new_revision, read_topology
from flows.platform.parts import Part, Platform, check_ports, listens, wait_until_answers
from flows.platform.served_shops import check_no_other_server, check_not_served
from flows.tables import format_table

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
        SourceError: the source is not there, or not as the settings say; nothing was started then.
        ShopTaken: another platform serves this shop, or others of this work folder from another port.
        PortTaken, PartFailed, RunFailed: a part could not start, or the pipeline failed; everything is stopped by then.
    """
    from flows.platform.prefect_server import server_is_up
    from validation.sources.ingest import check_source

    settings = settings.model_copy(update={"work_dir": settings.work_dir.absolute()})
    check_source(settings.recipe.source)
    check_not_served(Layout(settings.work_dir, settings.shop).root)
    joins = server_is_up(settings)
    if not joins:
        check_no_other_server(settings.work_dir, settings.platform.prefect_port)
    names = ("service", "monitoring", "reports") if joins else ("prefect", "service", "monitoring", "reports")
    check_ports(settings.platform.host, {name: getattr(settings.platform, f"{name}_port") for name in names})
    with running_parts(settings, show, joins=joins) as (platform, asked):
        _start_all(settings, platform, show, asked)
        while stay and not asked.wait(1.0):
            check_parts(platform, asked)


@contextmanager
def running_parts(
    settings: Settings, show: Callable[[str], None], *, joins: bool = False
) -> Iterator[tuple[Platform, threading.Event]]:
    """A platform without parts yet, and an event that a signal sets; at the end every part is stopped.

    `Stopped` ends the block quietly.

    Args:
        settings: With an absolute work folder.
        show: Called with each line of progress.
        joins: Whether it uses the Prefect server that another platform runs, and leaves it running at the end.
    """
    platform = Platform(enter_environment(settings), settings.work_dir / "logs")
    if joins:
        # The other platform writes its parts' output one folder up.
        platform.logs /= settings.shop
        platform.joined = f"http://{settings.platform.host}:{settings.platform.prefect_port}"
    asked = threading.Event()
    with _setting_on_signals(asked):
        try:
            yield platform, asked
        except Stopped:
            pass
        finally:
            show("stopping ...")
            platform.stop()
            if platform.joined and listens(platform.joined):
                _leave_server(settings)
                show(f"stopped; the Prefect server at {platform.joined} is left to the platform that started it")
            else:
                show("stopped; nothing is left running")


def _leave_server(settings: Settings) -> None:
    """Take what this platform had in progress off a server that goes on without it."""
    from flows.platform.prefect_server import clear_stale_runs, pause_unserved

    clear_stale_runs(settings.shop)
    pause_unserved(settings.work_dir)


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
    if platform.joined and not listens(platform.joined):
        raise PartFailed(
            "The platform lost its Prefect server",
            got=f"server={platform.joined}, which another platform of this work folder ran",
            expected="it to run",
            do="Start again: it will run a server of its own",
        )


def _start_all(settings: Settings, platform: Platform, show: Callable[[str], None], asked: threading.Event) -> None:
    from flows.platform.prefect_server import run_deployment

    layout = Layout(settings.work_dir, settings.shop)
    started = time.monotonic()
    show(f"shop {settings.shop}, source {settings.recipe.source.kind}, everything below {settings.work_dir}")
    start_flows(settings, platform, show, asked)
    show("running the pipeline ...")
    name = deployment_name("pipeline", settings.shop)
    run_id = run_deployment(name, lambda line: show(f"  {line}"), lambda: check_parts(platform, asked))
    outcome = read_outcome(layout.root, str(run_id))
    _show_outcome(settings, outcome, show)
    show("starting the service and the monitoring pages ...")
    _start_pages(settings, layout, platform, asked, ready=outcome.in_service is not None)
    _show_places(settings, show)
    if outcome.in_service is None:
        show("no first answer: the service answers 503 until a bundle is promoted, and loads it by itself then")
    else:
        _show_first_answer(settings, outcome.example_user, show)
    show(f"up after {time.monotonic() - started:.0f} s; Ctrl-C stops everything")


def start_flows(settings: Settings, platform: Platform, show: Callable[[str], None], asked: threading.Event) -> None:
    """Start the Prefect server, unless one was joined, serve the deployments, and wait until they are this launch's."""
    from flows.platform.prefect_server import clear_stale_runs, pause_unserved, wait_for_deployments

    where = settings.platform
    if platform.joined:
        show(f"using the Prefect server of this work folder that is up, {platform.joined} ...")
    else:
        show("starting the Prefect server ...")
        server = platform.start(
            "prefect", ["-m", "prefect", "server", "start", "--host", where.host, "--port", str(where.prefect_port)]
        )
        _wait(server, f"http://{where.host}:{where.prefect_port}/api/health", asked)
    if cleared := clear_stale_runs(settings.shop):
        show(f"cleared {cleared} runs that an earlier platform left behind")
    pause_unserved(settings.work_dir)
    show("serving the deployments ...")
    recipe_file = Layout(settings.work_dir, settings.shop).root / "recipe.json"
    write_json(recipe_file, settings.recipe.model_dump(mode="json"))
    revision = new_revision(settings)
    platform.start("runner", ["-m", "cli", "serve-flows", str(recipe_file), "--revision", revision])
    names = [deployment_name(entry["name"], settings.shop) for entry in read_topology()]
    wait_for_deployments(names, revision, _START_TIMEOUT_S, lambda: check_parts(platform, asked))


def _start_pages(
    settings: Settings, layout: Layout, platform: Platform, asked: threading.Event, *, ready: bool
) -> None:
    """Start the service, Evidently's UI and the reports' pages, all at once.

    Args:
        ready: Whether the service has a bundle to load, and is waited for until it has; otherwise until it runs.
    """
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
    _wait(service, f"http://{where.host}:{where.service_port}/{'readyz' if ready else 'livez'}", asked)
    _wait(monitoring, f"http://{where.host}:{where.monitoring_port}/", asked)
    _wait(reports, f"http://{where.host}:{where.reports_port}/", asked)


def _wait(part: Part, url: str, asked: threading.Event) -> None:
    wait_until_answers(part, url, _START_TIMEOUT_S, asked)
    if asked.is_set():
        raise Stopped


def _show_outcome(settings: Settings, outcome: Outcome, show: Callable[[str], None]) -> None:
    """The metric table, what is in service, and why."""
    for line in format_table(metric_rows(outcome.metrics, settings.recipe.evaluation.k)):
        show(f"  {line}")
    show(f"in service: {outcome.in_service or 'nothing'} ({outcome.reason})")


def _show_places(settings: Settings, show: Callable[[str], None]) -> None:
    """Where each part is."""
    where = settings.platform
    base = f"http://{where.host}"
    show(f"Prefect UI    {base}:{where.prefect_port}")
    show(f"service       {base}:{where.service_port}   (API page; metrics at /metrics)")
    show(f"Evidently UI  {base}:{where.monitoring_port}")
    show(f"reports       {base}:{where.reports_port}   (Data Docs, drift)")


def _show_first_answer(settings: Settings, user: str, show: Callable[[str], None]) -> None:
    """One request with its answer: for a user with a history, or for nobody where none is known.

    Raises:
        PartFailed: the service does not answer it.
    """
    url = f"http://{settings.platform.host}:{settings.platform.service_port}/recommend"
    body = {"user_id": user, "k": 3} if user else {"k": 3}
    show(f"curl -s {url} -H 'Content-Type: application/json' -d '{json.dumps(body)}'")
    try:
        answer = httpx.post(url, json=body, timeout=_ANSWER_TIMEOUT_S, trust_env=False)
        show(json.dumps(answer.json(), indent=2))
        answer.raise_for_status()
    except (httpx.HTTPError, ValueError) as error:
        raise PartFailed(
            "The service does not answer its first request",
            got=f"error={str(error) or type(error).__name__}",
            expected="200 with recommendations",
            do="Read service.log in the work folder's logs",
        ) from error
