"""`sommelier status`: what runs of a work folder, what is in service, and how the last run and validation ended."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx

from core.layout import Layout
from core.quarantine.requests import ReadmissionRequest, ReadmissionRequestError, read_requests
from core.removals import read_waiting
from core.settings.form import Frozen
from core.settings.platform import PartName
from core.settings.tree import Settings
from core.tombstones import read_tombstones
from flows.erasure.receipts import read_receipts
from flows.errors import PortTaken
from flows.last_validation import read_last_validation
from flows.platform.parts import listens
from flows.platform.served_shops import is_served, lock_file, serving_process
from flows.promotion.bundles import row_in_service
from flows.reporting.outcome import Outcome, outcome_file

_PROBE_TIMEOUT_S = 5.0


class Part(Frozen):
    """One part of the platform, at the address that the settings give it.

    Attributes:
        state: `up`, `down`, or what else is there.
    """

    part: str
    address: str
    state: str


class Shop(Frozen):
    """One shop of the work folder.

    Attributes:
        process: Serves its deployments; None where none does.
    """

    shop: str
    served: bool
    process: int | None


class LastOutcome(Frozen):
    """How the last run of the pipeline ended."""

    at: str
    in_service: str | None
    promoted: bool
    drifted: bool
    reason: str


class LastValidation(Frozen):
    """Rows that the last validation found, by table."""

    at: str
    clean: dict[str, int]
    quarantined: dict[str, int]


class OpenReceipt(Frozen):
    """Of a person who is not forgotten everywhere yet.

    Attributes:
        state: `removing`, where the command was stopped and has to be given again; or `retraining`.
        bundles: How many bundles are still to go.
    """

    receipt: int
    state: str
    since: str
    bundles: int


class Status(Frozen):
    """What runs of a work folder, and what a shop of it has.

    Attributes:
        in_service: The row of `models list`; None where nothing was promoted yet.
        open_receipts: Of people who are being forgotten.
        readmissions: Rows of quarantine that the service was asked to let in.
        readmissions_problem: Why that cannot be read; None where it can.
    """

    work_dir: Path
    shop: str
    parts: tuple[Part, ...]
    shops: tuple[Shop, ...]
    in_service: dict[str, Any] | None
    last_outcome: LastOutcome | None
    last_validation: LastValidation | None
    open_receipts: tuple[OpenReceipt, ...] = ()
    readmissions: tuple[ReadmissionRequest, ...] = ()
    readmissions_problem: str | None = None


def read_status(settings: Settings) -> Status:
    """Look at every part; nothing has to run. BENTOML_HOME says where the model store lies."""
    layout = Layout(settings.work_dir, settings.shop)
    readmissions, problem = _readmissions(layout)
    return Status(
        work_dir=settings.work_dir.absolute(),
        shop=settings.shop,
        parts=tuple(_parts(settings, layout)),
        shops=tuple(_shops(settings.work_dir)),
        in_service=row_in_service(layout.model_name),
        last_outcome=_last_outcome(layout),
        last_validation=_last_validation(layout),
        open_receipts=tuple(_open_receipts(layout)),
        readmissions=readmissions,
        readmissions_problem=problem,
    )


def describe_status(status: Status) -> list[str]:
    """What is known beside the two tables, a line each."""
    version, outcome, validation = status.in_service, status.last_outcome, status.last_validation
    lines = [f"in service: {_describe_version(version) if version else 'nothing'}"]
    if outcome is None:
        lines.append("last pipeline: none that ended")
    else:
        verdict = ("promoted" if outcome.promoted else "not promoted") + (", drift" if outcome.drifted else "")
        lines.append(f"last pipeline: {outcome.at}, {verdict}: {outcome.reason}")
    if validation is None:
        lines.append("last validation: none")
    else:
        counts = ", ".join(
            f"{table} {clean} clean and {validation.quarantined[table]} quarantined"
            for table, clean in validation.clean.items()
        )
        lines.append(f"last validation: {validation.at}, {counts}")
    lines += [f"quarantine: {one.describe()}" for one in status.readmissions]
    if status.readmissions_problem is not None:
        lines.append(f"quarantine: {status.readmissions_problem}")
    for one in status.open_receipts:
        todo = f"{one.bundles} bundles to go: run the pipeline"
        if one.state == "removing":
            todo = "give the command again: sommelier forget USER"
        elif one.state == "waiting":
            todo = "the next run of forget, pipeline, fine-tune or refresh-features removes them"
        lines.append(f"forgetting, receipt {one.receipt}: {one.state} since {one.since}, {todo}")
    return lines


def _describe_version(version: dict[str, Any]) -> str:
    said = f"{version['version']}, {version['kind']}, digest {version['digest']}, since {version['promoted_at']}"
    if version["learned_until"]:
        said += f", learned until {version['learned_until']}"
    return f"{said} by the choices of {version['judged']}, whose figures it has" if version["judged"] else said


def _parts(settings: Settings, layout: Layout) -> Iterator[Part]:
    where = settings.platform
    prefect, service = where.url_of("prefect"), where.url_of("service")
    yield Part(part="prefect", address=prefect, state=_prefect_state(settings))
    yield Part(part="service", address=service, state=_service_state(service, layout.model_name))
    pages: tuple[PartName, ...] = ("monitoring", "reports")
    for name in pages:
        address = where.url_of(name)
        yield Part(part=name, address=address, state="up" if listens(address) else "down")


def _prefect_state(settings: Settings) -> str:
    from flows.platform.prefect_server import server_is_up

    try:
        return "up" if server_is_up(settings) else "down"
    except PortTaken:
        return "another work folder's"


def _service_state(address: str, model_name: str) -> str:
    """Whose bundle the service has loaded, if there is a service at all."""
    try:
        answer = httpx.get(f"{address}/v1/model", timeout=_PROBE_TIMEOUT_S, trust_env=False).json()
        model = answer["model"]
    except httpx.TransportError:
        return "down"
    except (ValueError, KeyError, TypeError):
        return "something else listens there"
    if model is None:
        return "up, without a bundle"
    return f"up, {model}" if model.rpartition(":")[0] == model_name else f"another shop's, {model}"


def _shops(work_dir: Path) -> Iterator[Shop]:
    """Every shop that left something behind in the work folder."""
    marks = (lock_file(work_dir).name, outcome_file(work_dir).name, Layout(work_dir, "any").last_validation.name)
    for root in sorted({file.parent for mark in marks for file in work_dir.glob(f"*/{mark}")}):
        yield Shop(shop=root.name, served=is_served(root), process=serving_process(root))


def _last_outcome(layout: Layout) -> LastOutcome | None:
    file = outcome_file(layout.root)
    try:
        outcome = Outcome.model_validate_json(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None  # none yet, or one that another version of this code left
    kept = outcome.model_dump(include={"in_service", "promoted", "drifted", "reason"})
    return LastOutcome(at=_changed_at(file), **kept)


def _last_validation(layout: Layout) -> LastValidation | None:
    try:
        summary = read_last_validation(layout)
    except ValueError:
        return None
    if summary is None:
        return None
    return LastValidation(
        at=_changed_at(layout.last_validation),
        clean={name: table.rows_clean for name, table in summary.tables.items()},
        quarantined={name: table.rows_quarantined for name, table in summary.tables.items()},
    )


def _readmissions(layout: Layout) -> tuple[tuple[ReadmissionRequest, ...], str | None]:
    """What waits to be let in, or why that is not known: the rest is told all the same."""
    try:
        return read_requests(layout.to_readmit), None
    except ReadmissionRequestError as error:
        return (), str(error)


def _open_receipts(layout: Layout) -> Iterator[OpenReceipt]:
    tombstones = read_tombstones(layout.forgotten)
    stones = (tombstones.find(user_id) for user_id in read_waiting(layout.to_forget))
    waiting = {stone.receipt: stone for stone in stones if stone is not None}
    for stone in waiting.values():
        yield OpenReceipt(receipt=stone.receipt, state="waiting", since=stone.at, bundles=0)
    for one in read_receipts(layout):
        if one.is_open and one.number not in waiting:
            yield OpenReceipt(receipt=one.number, state=one.state, since=one.at, bundles=len(one.scheduled))


def _changed_at(file: Path) -> str:
    return f"{datetime.fromtimestamp(file.stat().st_mtime, UTC):%Y-%m-%dT%H:%M:%SZ}"
