"""Keep the work folder from growing for ever: of each stage's results the newest few stay, of what runs leave beside
them what is younger than `platform.history_days`, and in the table of the event log what is younger than
`platform.sealed_after_days`. Prefect prunes its database by itself (`flows.environment`).
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from functools import wraps
from inspect import signature
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import httpx
from prefect.exceptions import Pause, PrefectException
from prefect.runtime import flow_run as runtime

from core.experiments import ExperimentError
from core.layout import Layout
from core.logs.events import EventLog, EventLogError
from core.logs.timeline import Timeline, TimelineError
from core.promotions import PromotionRecordError, model_folder, version_in_service
from core.settings.loop import LoopSettings
from core.storage import (
    UNFINISHED,
    digest_of,
    is_disk_full,
    list_folder,
    newest_first,
    remove_folder,
    whole_folders,
)
from core.timing.clock import CLOCK
from flows.environment import current_settings, results_folder
from flows.errors import DiskFull
from flows.in_use import keeping_used, reading_uses
from flows.loop.prefect_runs import crashed_runs
from flows.loop.runs import record_end, shop_of_run
from flows.promotion.approvals import folders_waiting
from flows.promotion.experiments import candidates_in_use
from flows.promotion.model_store import prune_versions
from flows.reporting.gauges import publish_run
from flows.reporting.kept import prune_reports
from flows.reporting.measurement import steps_folder

logger = logging.getLogger(__name__)
P = ParamSpec("P")
R = TypeVar("R")
ABANDONED_AFTER_S = 24 * 3600
_DAY_S = 24 * 3600
_LOST_SINCE = timedelta(days=7)


def pruned(flow: Callable[P, R]) -> Callable[P, R]:
    """Have old results removed when a flow ends, however it ends, and its end known to Prometheus; for the function
    below Prefect's decorator. What the flow itself uses stays until then, whichever flow ends before it.

    Its parameters name the shop. What a full disk leads to is said in one sentence.
    """

    @wraps(flow)
    def run(*args: P.args, **named: P.kwargs) -> R:
        began, state = time.monotonic(), "failed"
        try:
            with saying_full(), ExitStack() as uses:
                for layout in _layouts(*args, *named.values()):
                    uses.enter_context(keeping_used(layout))
                result = flow(*args, **named)
            state = "completed"
            return result
        except Pause:  # it has not ended
            state = ""
            raise
        finally:
            settings = current_settings()
            for layout in _layouts(*args, *named.values()):
                _prune_results(layout)
                _prune_promoted(layout, settings.platform.kept_bundles)
                prune_searches(layout, settings.platform.history_days)
                _prune_timeline(layout, settings.loop)
                _seal_events(layout, settings.platform.sealed_after_days)
                if state:
                    publish_run(layout, flow.__name__.replace("_", "-"), state, time.monotonic() - began)
            if runtime.id:
                for layout in _layouts(*args, *named.values()):
                    publish_lost(layout)
            _prune_beside(settings.work_dir, settings.platform.history_days)

    # Prefect checks the parameters by it, and would look for the names of types in this module.
    run.__signature__ = signature(flow, eval_str=True)  # type: ignore[attr-defined]
    return run


def publish_end(flow: Any, flow_run: Any, state: Any) -> None:
    """Prefect's hook: have Prometheus know that a run was killed or cancelled, which may not have come to say so.

    Called in the runner, beside the process that is gone.
    """
    publish_run(Layout(current_settings().work_dir, shop_of_run(flow_run)), flow.name, "failed")


def publish_lost(layout: Layout) -> None:
    """Have Prometheus know of runs that the Prefect server alone knows to have crashed: their worker was killed too."""
    try:
        for flow, ended_at in crashed_runs(layout.shop, datetime.now(UTC) - _LOST_SINCE).items():
            publish_run(layout, flow, "failed", ended_at=ended_at.timestamp())
    except (httpx.HTTPError, PrefectException) as error:
        logger.warning("Whether runs of %s were lost is asked again by the next flow: %s", layout.shop, error)


# For Prefect's decorator of every flow that is `pruned`, and of those that are `recorded` too.
HOOKS: dict[str, Any] = {"on_crashed": [publish_end], "on_cancellation": [publish_end]}
RECORDED_HOOKS: dict[str, Any] = {when: [record_end, *hooks] for when, hooks in HOOKS.items()}


def _layouts(*given: object) -> list[Layout]:
    """Of the shops that a flow's parameters name."""
    settings = current_settings()
    return [Layout(settings.work_dir, getattr(params, "shop", settings.shop)) for params in given]


def _prune_results(layout: Layout) -> None:
    """Remove old results; a disk too full to keep others from noting new ones does not hide how the flow ended."""
    try:
        prune(layout)
    except OSError as error:
        logger.warning("Not every old result is pruned: %s", error)


def _prune_beside(work_dir: Path, days: float) -> None:
    try:
        prune_history(work_dir, days)
    except OSError as error:
        logger.warning("Not all that old runs left is pruned: %s", error)


def _prune_promoted(layout: Layout, kept: int) -> None:
    """Remove the weights of promoted bundles past the newest; a record that cannot be read does not hide how the flow
    ended.
    """
    try:
        versions = prune_versions(layout.model_name, kept)
    except (PromotionRecordError, ExperimentError, OSError) as error:
        logger.warning("No promoted bundle is pruned: %s", error)
        return
    if versions:
        logger.info("pruned the weights of %d promoted bundles: %s", len(versions), ", ".join(versions))


def _prune_timeline(layout: Layout, bounds: LoopSettings) -> None:
    """Remove the oldest entries; a time line that cannot be written does not hide how the flow ended."""
    try:
        Timeline(layout.timeline).prune(bounds.timeline_entries, bounds.timeline_days)
    except TimelineError as error:
        logger.warning("%s", error)


def _seal_events(layout: Layout, days: float) -> None:
    """Move old events into files of their own; a log that cannot be written does not hide how the flow ended."""
    try:
        n_sealed = EventLog(layout.events).seal(CLOCK.now() - timedelta(days=days))
    except EventLogError as error:
        logger.warning("%s", error)
        return
    if n_sealed:
        logger.info("sealed %d events that are older than %g days", n_sealed, days)


def result_file(layout: Layout, key: str) -> Path:
    """Where Prefect keeps what a step of this key returned. It may name files, so each shop keeps its own."""
    return results_folder(layout.work_dir) / digest_of(str(layout.root), key)


def mark_used(result: Path) -> None:
    """Make a result that is used again count as new."""
    with contextlib.suppress(FileNotFoundError):
        os.utime(result)


def prune_history(work_dir: Path, days: float) -> list[Path]:
    """Remove what runs of every shop left beside their folders and nobody used for so long.

    Returns:
        The files that were removed.
    """
    oldest = time.time() - days * _DAY_S
    removed = []
    for folder in (results_folder(work_dir), steps_folder(work_dir)):
        for file in list_folder(folder):
            with contextlib.suppress(FileNotFoundError):  # another flow prunes too
                if file.is_file() and file.stat().st_mtime < oldest:
                    file.unlink()
                    removed.append(file)
    return removed


def prune_searches(layout: Layout, days: float) -> list[Path]:
    """Remove searches for better settings that nobody went on with for so long: their trials and the figures of each.

    Returns:
        The folders that were removed.
    """
    young, searches = days * _DAY_S, layout.searches.parent
    try:
        _keep_age_of_searches(layout)
        removed = [folder for folder in whole_folders(searches) if _age_s(folder) > young]
        if removed:
            from recommender.tuning.search import Search

            Search.remove(layout.searches, [folder.name for folder in removed])
    except Exception as error:  # whatever locks the file: the next flow tries again
        logger.warning("No search is pruned: %s", error)
        return []
    for folder in removed:
        remove_folder(folder)
    return removed


def _keep_age_of_searches(layout: Layout) -> None:
    """Make the folder of each search that has none, as old as its last trial: of that a search's age is told.

    A search has none whose first trial left no figures, and whose figures were removed for somebody who is forgotten.
    """
    if not layout.searches.exists():
        return
    from recommender.tuning.search import Search

    for name, last_at in Search.last_trials(layout.searches).items():
        folder = layout.search(name)
        if folder.exists():
            continue
        folder.mkdir()
        if last_at is not None:  # else it has begun just now, or never
            os.utime(folder, (last_at, last_at))


def prune(layout: Layout, kept: int | None = None) -> list[Path]:
    """Remove all but the newest results of every stage, and report pages that nothing points at; the model store, the
    feature store and events stay.

    So does the bundle that was judged in place of the one in service: the gate asks it when there are few newer events;
    and whatever a run uses that goes on, since nobody makes that again for it.

    What killed processes left unfinished long ago goes too, wherever in the shop it lies.

    Args:
        kept: Results of each stage that stay; by default `platform.kept_results`.
    Returns:
        What was removed.
    """
    bounds = current_settings().platform
    kept = bounds.kept_results if kept is None else kept
    with reading_uses(layout) as (used, wanted):
        removed = _remove_results(layout, max(kept, wanted), used)
    removed += _remove_reports(layout, bounds.kept_reports, bounds.kept_pages)
    abandoned = [path for place in (layout.root, model_folder(layout.model_name)) for path in _abandoned(place)]
    for path in abandoned:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
    return [*removed, *abandoned]


def _remove_results(layout: Layout, kept: int, used: set[Path]) -> list[Path]:
    """Remove the results of every stage but the newest, what is used, and what experiments and approvals need."""
    root = layout.root
    # Of these a run leaves two where it promotes: as it was judged, and of everything.
    twofold = [root / "training", *list_folder(root / "components")]
    removed = [folder for stage in twofold for folder in _older_than_newest(stage, 2 * kept)]
    for name in ("raw", "clean", "refits", "texts"):
        removed += _older_than_newest(root / name, kept)
    judged, needed = _judged_in_service(layout), _tried(layout) | used
    for name in ("candidates", "baselines"):
        removed += [folder for folder in _older_than_newest(root / name, kept) if _digest_of(folder) != judged]
    removed = [folder for folder in removed if folder not in needed]
    unused = [result_file(layout, folder.name) for folder in removed]
    for folder in removed:
        remove_folder(folder)
    for result in unused:
        result.unlink(missing_ok=True)
    return removed


def _remove_reports(layout: Layout, n_docs: int, n_pages: int) -> list[Path]:
    """Remove report pages; a record that cannot be read, of what points at them, does not hide how the flow ended."""
    try:
        return prune_reports(layout, n_docs, n_pages)
    except (TimelineError, ExperimentError) as error:
        logger.warning("No report is pruned: %s", error)
        return []


def require_room(layout: Layout, min_free_bytes: int) -> None:
    """Make sure that the disk has room for what a step writes: old results go first where it is short.

    Raises:
        DiskFull: that was not enough.
    """
    where = layout.root if layout.root.exists() else layout.work_dir
    where.mkdir(parents=True, exist_ok=True)
    if shutil.disk_usage(where).free >= min_free_bytes:
        return
    prune(layout)
    free = shutil.disk_usage(where).free
    if free < min_free_bytes:
        kept_free = f"at least {min_free_bytes / 1e6:,.0f} MB, which platform.min_free_bytes keeps free"
        raise _lack_of_room(where, f"free={free / 1e6:,.0f} MB", kept_free)


@contextmanager
def saying_full(where: Path | None = None) -> Iterator[None]:
    """Within the block, whatever a full disk leads to becomes the one error that says what to do.

    Args:
        where: What is written to; the work folder by default.
    Raises:
        DiskFull: the disk is full.
    """
    try:
        yield
    except DiskFull:
        raise
    except Exception as error:
        if not is_disk_full(error):
            raise
        words = str(error).splitlines()[0][:300]
        place = current_settings().work_dir.absolute() if where is None else where
        raise _lack_of_room(place, f"error={type(error).__name__}: {words}", "a disk with room to write to") from error


def _lack_of_room(where: Path, got: str, expected: str) -> DiskFull:
    return DiskFull(
        "The flow stops for lack of room",
        got=got,
        expected=expected,
        where=str(where),
        do="Free room on this disk and run the flow again: what was done is kept",
    )


def _judged_in_service(layout: Layout) -> str:
    """Digest of the bundle that was judged in place of the one in service; empty where that was judged itself."""
    try:
        version = version_in_service(layout.model_name)
    except PromotionRecordError:
        return ""  # it is for those to say who promote
    return version.judged if version else ""


def _tried(layout: Layout) -> set[Path]:
    """Bundles below the shop's folder that experiments answer with, and what waits for approval."""
    waiting = folders_waiting(layout)
    try:
        return candidates_in_use(layout) | waiting
    except ExperimentError:
        return waiting  # the service refuses the record, and says so


def _digest_of(bundle: Path) -> str | None:
    try:
        return str(json.loads((bundle / "manifest.json").read_text(encoding="utf-8"))["digest"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _abandoned(place: Path) -> list[Path]:
    """What killed processes left unfinished, long enough ago that nobody can still be writing it."""
    old = time.time() - ABANDONED_AFTER_S
    found = []
    for folder, names, files in os.walk(place):
        for name in (*names, *files):
            path = Path(folder) / name
            with contextlib.suppress(FileNotFoundError):  # who writes it has just ended
                if name.startswith(".") and name.endswith(UNFINISHED) and path.lstat().st_mtime < old:
                    found.append(path)
        names[:] = [name for name in names if not name.endswith(UNFINISHED)]
    return found


def _older_than_newest(stage: Path, keep: int) -> list[Path]:
    return list(newest_first(whole_folders(stage)))[keep:]


def _age_s(path: Path) -> float:
    """How long ago it was changed or marked as used; 0 where it is gone."""
    try:
        return time.time() - path.stat().st_mtime
    except FileNotFoundError:  # another flow prunes too
        return 0.0
