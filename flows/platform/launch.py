"""`sommelier up`: the whole platform on one machine, until Ctrl-C."""

from __future__ import annotations

import contextlib
import json
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import get_args

import httpx

from core.keys import given_key, key_header
from core.layout import Layout
from core.promotions import version_in_service
from core.settings.command_line import changed_source
from core.settings.names import API_KEY_VARIABLE
from core.settings.platform import PartName, PlatformSettings
from core.settings.tree import Settings
from core.storage import write_json
from flows.environment import enter_environment
from flows.errors import PartFailed
from flows.platform.deployments import deployment_name, new_revision, read_topology
from flows.platform.parts import Part, Platform, check_ports, listens, wait_until_answers
from flows.platform.runs import waits_for_approval
from flows.platform.served_shops import check_no_other_server, check_not_served
from flows.reporting.artifacts import metric_rows
from flows.reporting.outcome import Outcome, read_outcome
from flows.reporting.tables import format_table

_START_TIMEOUT_S = 120.0
_ANSWER_TIMEOUT_S = 30.0


class Stopped(Exception):
    """Somebody asked the platform to stop."""


def run_platform(settings: Settings, show: Callable[[str], None], *, stay: bool = True, resume: bool = False) -> None:
    """Start every part, run the pipeline once, show where everything is, and stay until a signal comes.

    Args:
        settings: The resolved settings.
        show: Called with each line of progress.
        stay: Whether to stay up after the pipeline; otherwise stop once the first answer is there.
        resume: Whether to go on with what is in service: the pipeline runs only where nothing is.
    Raises:
        SettingsError: a part would be open to others without keys.
        SourceError: the source is not there, or not as the settings say; nothing was started then.
        ShopTaken: another platform serves this shop, or others of this work folder from another port.
        PortTaken, PartFailed, RunFailed: a part could not start, or the pipeline failed; everything is stopped by then.
    """
    from flows.platform.prefect_server import server_is_up
    from validation.sources.ingest import check_source

    settings = settings.model_copy(update={"work_dir": settings.work_dir.absolute()})
    show = _unfailing(show)
    joins = server_is_up(settings)
    starts = [name for name in get_args(PartName) if not (joins and name == "prefect")]
    settings.check_exposure(starts)
    check_source(settings.recipe.source)
    check_not_served(Layout(settings.work_dir, settings.shop).root)
    if not joins:
        check_no_other_server(settings.work_dir, settings.platform.prefect_port)
    check_ports(settings.platform, starts)
    with running_parts(settings, show, joins=joins) as (platform, asked):
        _start_all(settings, platform, show, asked, resume=resume)
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
    show = _unfailing(show)
    platform = Platform(enter_environment(settings), settings.work_dir / "logs", show=show)
    if joins:
        # The other platform writes its parts' output one folder up.
        platform.logs /= settings.shop
        platform.joined = settings.platform.url_of("prefect")
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
                _leave_server(settings, show)
                show(f"stopped; the Prefect server at {platform.joined} is left to the platform that started it")
            else:
                show("stopped; nothing is left running")


def _leave_server(settings: Settings, show: Callable[[str], None]) -> None:
    """Take what this platform had in progress off a server that goes on without it.

    A server that is too busy to be told keeps nobody from stopping: the next platform that starts there does the same.
    """
    from flows.platform.prefect_server import clear_stale_runs, pause_unserved

    try:
        clear_stale_runs(Layout(settings.work_dir, settings.shop))
        pause_unserved(settings)
    except httpx.HTTPError as error:
        why = str(error).partition("\n")[0]
        show(f"the Prefect server was not told that shop {settings.shop} is served no more; the next start does: {why}")


@contextmanager
def _setting_on_signals(event: threading.Event) -> Iterator[None]:
    """Set an event on SIGINT, SIGTERM and SIGHUP, and put the old handlers back afterwards.

    SIGHUP is a terminal that was closed; `nohup` has it ignored, and it stays so.
    """
    numbers = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
        numbers.append(signal.SIGHUP)
    before = {number: signal.signal(number, lambda *_: event.set()) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _unfailing(show: Callable[[str], None]) -> Callable[[str], None]:
    """The same, but silent where nobody can be shown anything any more: the terminal is closed, the pipe broken."""

    def say(line: str) -> None:
        with contextlib.suppress(OSError, ValueError):
            show(line)

    return say


def check_parts(platform: Platform, asked: threading.Event) -> None:
    """Tend the parts; raise when somebody asked to stop, or when an essential part has ended by itself."""
    if asked.is_set():
        raise Stopped
    platform.tend()
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
            got=f"server={platform.joined}, which this one did not start",
            expected="it to run",
            do="Start again: it will run a server of its own",
        )


def _start_all(
    settings: Settings,
    platform: Platform,
    show: Callable[[str], None],
    asked: threading.Event,
    *,
    resume: bool = False,
) -> None:
    layout = Layout(settings.work_dir, settings.shop)
    started = time.monotonic()
    show(f"shop {settings.shop}, source {settings.recipe.source.kind}, everything below {settings.work_dir}")
    start_flows(settings, platform, show, asked)
    outcome = None
    if resume and (version := version_in_service(layout.model_name)) is not None:
        show(f"going on with {version.tag}, without a run of the pipeline")
    else:
        outcome = _run_pipeline(settings, platform, show, asked)
    in_service = version_in_service(layout.model_name) if outcome is None else outcome.in_service
    show("starting the service and the monitoring pages ...")
    _start_pages(settings, layout, platform, asked, ready=in_service is not None)
    _show_places(settings, show)
    if in_service is None:
        show("no first answer: the service answers 503 until a bundle is promoted, and loads it by itself then")
    else:
        _show_first_answer(settings, outcome.example_user if outcome else "", show)
    show(f"up after {time.monotonic() - started:.0f} s; Ctrl-C stops everything")


def _run_pipeline(
    settings: Settings, platform: Platform, show: Callable[[str], None], asked: threading.Event
) -> Outcome | None:
    """Run the pipeline to its end, and show what came of it; None where it waits for somebody's approval."""
    from flows.platform.prefect_server import run_deployment

    show("running the pipeline ...")
    name = deployment_name("pipeline", settings.shop)
    run = run_deployment(name, lambda line: show(f"  {line}"), lambda: check_parts(platform, asked))
    if run.waits:
        show(f"{waits_for_approval(run.name)}; what is in service stays until then")
        return None
    outcome = read_outcome(Layout(settings.work_dir, settings.shop).root, str(run.id))
    _show_outcome(settings, outcome, show)
    return outcome


def start_flows(settings: Settings, platform: Platform, show: Callable[[str], None], asked: threading.Event) -> None:
    """Start the Prefect server, unless one was joined, serve the deployments, and wait until they are this launch's."""
    from flows.platform.notifications import apply_notifications
    from flows.platform.prefect_server import clear_stale_runs, pause_unserved, wait_for_deployments

    where = settings.platform
    if platform.joined:
        show(f"using the Prefect server that is up, {platform.joined} ...")
    else:
        show("starting the Prefect server ...")
        server = platform.start("prefect", ["-m", "prefect", "server", "start", *_binding(where, "prefect")])
        _wait(server, f"{where.url_of('prefect')}/api/health", asked)
    if cleared := clear_stale_runs(Layout(settings.work_dir, settings.shop)):
        show(f"cleared {cleared} runs that an earlier platform left behind")
    pause_unserved(settings)
    show("serving the deployments ...")
    layout = Layout(settings.work_dir, settings.shop)
    if warning := changed_source(layout, settings.recipe.source):
        show(warning)
    recipe_file = layout.recipe
    write_json(recipe_file, settings.recipe.model_dump(mode="json"))
    revision = new_revision(settings)
    platform.start("runner", ["-m", "cli", "serve-flows", str(recipe_file), "--revision", revision])
    names = [deployment_name(entry["name"], settings.shop) for entry in read_topology()]
    wait_for_deployments(names, revision, _START_TIMEOUT_S, lambda: check_parts(platform, asked))
    for name in apply_notifications(settings.shop, settings.loop.notifications):
        show(f"automation {name}")


def _start_pages(
    settings: Settings, layout: Layout, platform: Platform, asked: threading.Event, *, ready: bool
) -> None:
    """Start the service, Evidently's UI and the reports' pages, all at once.

    Args:
        ready: Whether the service has a bundle to load, and is waited for until it has; otherwise until it runs.
    """
    where = settings.platform
    service = platform.start("service", ["-m", "serving", *_binding(where, "service")])
    evidently = ["-c", "from evidently.cli import app; app()", "ui", "--workspace", str(layout.monitoring)]
    evidently += _binding(where, "monitoring")
    monitoring = platform.start("monitoring", evidently, essential=False)
    pages = ["-m", "serving.operations.reports", *_binding(where, "reports")]
    reports = platform.start("reports", pages, essential=False)
    _wait(service, f"{where.url_of('service')}/{'readyz' if ready else 'livez'}", asked)
    _wait_for_page(platform, monitoring, f"{where.url_of('monitoring')}/", asked)
    _wait_for_page(platform, reports, f"{where.url_of('reports')}/livez", asked)


def _binding(where: PlatformSettings, name: PartName) -> list[str]:
    return ["--host", where.host_of(name), "--port", str(where.port_of(name))]


def _wait(part: Part, url: str, asked: threading.Event) -> None:
    wait_until_answers(part, url, _START_TIMEOUT_S, asked)
    if asked.is_set():
        raise Stopped


def _wait_for_page(platform: Platform, part: Part, url: str, asked: threading.Event) -> None:
    """As `_wait`, but a part that only shows does not keep the platform from serving."""
    try:
        _wait(part, url, asked)
    except PartFailed as error:
        platform.show(f"{error}; going on without it, and trying again")


def _show_outcome(settings: Settings, outcome: Outcome, show: Callable[[str], None]) -> None:
    """The metric table, what is in service, and why."""
    for line in format_table(metric_rows(outcome.metrics, settings.recipe.evaluation.k)):
        show(f"  {line}")
    show(f"in service: {outcome.in_service or 'nothing'} ({outcome.reason})")


def _show_places(settings: Settings, show: Callable[[str], None]) -> None:
    """Where each part is."""
    where = settings.platform
    show(f"start here    {where.url_of('service')}/app   (every page and part is reached from there)")
    show(f"Prefect UI    {where.url_of('prefect')}")
    show(f"service       {where.url_of('service')}   (API page; metrics at /metrics)")
    show(f"Evidently UI  {where.url_of('monitoring')}")
    show(f"reports       {where.url_of('reports')}   (Data Docs, drift)")
    for name in get_args(PartName):
        if not where.has_keys(name) and not where.is_local(name):
            host = where.host_of(name)
            show(f"warning: {name} listens on {host} and has no keys: whoever what guards it lets in may use it")


def _show_first_answer(settings: Settings, user: str, show: Callable[[str], None]) -> None:
    """One request with its answer: for a user with a history, or for nobody where none is known.

    Raises:
        PartFailed: the service does not answer it.
    """
    url = f"{settings.platform.url_of('service')}/v1/recommend"
    body = {"user_id": user, "k": 3} if user else {"k": 3}
    key = given_key()
    if settings.needs_keys and key is None:
        show(f"the service needs an API key: make one with sommelier keys create, and set {API_KEY_VARIABLE} to it")
        return
    sent = f' -H "Authorization: Bearer ${API_KEY_VARIABLE}"' if key else ""
    show(f"curl -s {url} -H 'Content-Type: application/json'{sent} -d '{json.dumps(body)}'")
    try:
        answer = httpx.post(url, json=body, headers=key_header(key), timeout=_ANSWER_TIMEOUT_S, trust_env=False)
        show(json.dumps(answer.json(), indent=2))
        answer.raise_for_status()
    except (httpx.HTTPError, ValueError) as error:
        raise PartFailed(
            "The service does not answer its first request",
            got=f"error={str(error) or type(error).__name__}",
            expected="200 with recommendations",
            do="Read service.log in the work folder's logs",
        ) from error
