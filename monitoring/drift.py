"""A look at a shop: its signals against their calibrated past, the alarms, and the reports that show them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict

from core.alarms import Alarm
from core.settings.monitoring import DriftSettings
from core.storage import atomic_file
from monitoring.answers.daily import read_answer_days
from monitoring.answers.rated import rated_series, read_rated_days
from monitoring.answers.replay import read_replay_days
from monitoring.answers.replayed import (
    below_promise,
    lacks_items,
    lost_lead,
    replay_note,
    replay_series,
    up_to_served,
)
from monitoring.answers.service import read_service_days, service_note, service_series
from monitoring.answers.signals import answer_series, answers_note
from monitoring.answers.staleness import Learned, with_staleness
from monitoring.calibration import LAG, MIN_REFERENCE, MIN_REPLAYS, WINDOWS, Moved, measure
from monitoring.course import Days
from monitoring.embeddings.items import read_items
from monitoring.embeddings.reviews import read_reviews
from monitoring.embeddings.series import item_and_user_series, items_note, review_series, reviews_note
from monitoring.extent import LONGEST_SILENCE_DAYS, Extent, find_extent
from monitoring.looks import Look, keep_look, noisy_days, read_looks, unquiet_windows, usual_lag
from monitoring.page import draw_page
from monitoring.points import family_snapshots, panels
from monitoring.signals.activity import FloodRule, Span, open_database, read_activity
from monitoring.signals.catalogue import STORE, read_catalogue
from monitoring.signals.data import data_series
from monitoring.signals.texts import text_series
from monitoring.structure import filled_shares, since_columns_began, structural_changes
from monitoring.verdict import Signal, judge
from monitoring.windows import Windows, read_windows
from monitoring.workspace import forget_old, keep_run, open_project

if TYPE_CHECKING:
    from evidently.core.report import Snapshot

KEPT_SNAPSHOTS = 200  # runs that Evidently's UI shows, one for each family of a look; each is up to a megabyte
COLUMNS = "columns"  # the folder of the drill-down reports, beside the pages
MEMORY_GIB = 2.0
_DESCRIPTION = "Signals of the shop against its own quiet past."


@dataclass(frozen=True)
class Places:
    """Where a look reads and writes.

    Attributes:
        clean: Folder of the clean tables.
        workspace: Evidently's workspace.
        looks: Folder of what earlier looks saw, and of what was summed up of answers.
        page: HTML file to write; its name is the look's.
    """

    clean: Path
    workspace: Path
    looks: Path
    page: Path


class DriftSummary(BaseModel):
    """What a look found.

    Attributes:
        alarms: The first is the named cause; none where nothing moved beyond noise.
        signals: Every signal in every window.
        windows: Begin and end of each window, ISO 8601, by its days.
        reference: Begin and end of the longest reference; None where nothing could be compared.
        flooded_users, flooded_days, flooded_events: Left out as floods or bots: users, their days, events.
        note: Why nothing was compared, one sentence; empty where something was.
        unwatched: Of each family of signals that is not watched, and of what else is left out, why, a sentence.
        page: The report, one HTML file that needs no network.
        columns_page: Evidently's report of single columns, the newest events against those before; None without one.
    """

    model_config = ConfigDict(frozen=True)

    alarms: tuple[Alarm, ...] = ()
    signals: tuple[Signal, ...] = ()
    windows: dict[int, tuple[str, str]] = {}
    reference: tuple[str, str] | None = None
    flooded_users: int = 0
    flooded_days: int = 0
    flooded_events: int = 0
    note: str = ""
    unwatched: tuple[str, ...] = ()
    page: Path
    columns_page: Path | None = None

    @property
    def drifted(self) -> bool:
        """Whether there is any alarm."""
        return bool(self.alarms)


def live_end(extent: Extent, now: datetime) -> datetime | None:
    """When a look at live data ends: the last full hour, or behind the newest event; None where the data are a past.

    A handful of events long after the others does not make a past live.
    """
    newest = extent.newest
    if newest is None or now - newest > timedelta(days=LONGEST_SILENCE_DAYS):
        return None
    return max(now.replace(minute=0, second=0, microsecond=0), newest + timedelta(microseconds=1))


def report_drift(
    places: Places,
    project: str,
    learned: Learned,
    settings: DriftSettings,
    floods: FloodRule,
    end: datetime | None = None,
    extent: Extent | None = None,
    not_embedded: str = "",
) -> DriftSummary:
    """Look at the newest days of a shop.

    Args:
        project: Name of the shop, and of its project in Evidently.
        learned: From what the model in service learned: the reference takes those days as they are, and of
            those after it only quiet ones.
        floods: What is left out of what is read.
        end: Where the newest day ends; None: behind the newest event that counts.
        extent: Of the events, where it was found already.
        not_embedded: What kept texts from being embedded, a sentence; empty where nothing did.
    """
    extent = extent or find_extent(places.clean)
    first, newest = extent.first, extent.newest
    if first is None or newest is None:
        return _write(places, project, DriftSummary(note="Nothing to compare: there is no event.", page=places.page))
    ends_at = end or newest + timedelta(microseconds=1)
    n_days = min(2 * settings.reference_days + LAG, (ends_at - first) // timedelta(days=1))
    needed = 2 * LAG + MIN_REFERENCE + MIN_REPLAYS
    if n_days < needed:
        note = f"Nothing to compare: the events span {n_days} days; a quiet past takes {needed} at least."
        return _write(places, project, DriftSummary(note=note, page=places.page))
    summary = _look(places, Span(ends_at, n_days), learned, settings, floods, newest, not_embedded)
    if extent.note and ends_at <= newest + timedelta(microseconds=1):
        summary = summary.model_copy(update={"unwatched": (extent.note, *summary.unwatched)})
    return _write(places, project, summary, settings, ends_at)


def _look(
    places: Places,
    span: Span,
    learned: Learned,
    settings: DriftSettings,
    floods: FloodRule,
    newest: datetime,
    not_embedded: str,
) -> DriftSummary:
    looks = read_looks(places.looks, span.end)
    noisy = noisy_days(looks, span, learned.cut_at)
    moved: list[Moved] = []
    with TemporaryDirectory() as spill, open_database(MEMORY_GIB, Path(spill)) as connection:
        flooded = read_activity(connection, places.clean, span, floods)
        last_us = int(looks[-1].end.timestamp() * 1e6) if looks else None
        columns = read_catalogue(connection, places.clean, places.looks / STORE, span, last_us)
        users, products = (filled_shares(connection, places.clean, table) for table in ("users", "items"))
        now = Look(
            end=span.end, filled=users, filled_items=products, age_h=max((span.end - newest) / timedelta(hours=1), 0.0)
        )
        told = data_series(connection, places.clean, span, columns, usual_lag(looks, span.end))
        data = [since_columns_began(one, looks, now, span) for one in told]
        texts = text_series(connection, places.clean, span)
        answers = read_answer_days(places.looks)
        replayed = [one for one in read_replay_days(places.looks) if one.figures]
        served = read_service_days(places.looks)
        told = [*answer_series(answers, span), *replay_series(replayed, span), *service_series(served, span)]
        told += rated_series(read_rated_days(places.looks), span)
        items, reviews = read_items(places.looks, learned.digest), read_reviews(places.looks)
        told += [*item_and_user_series(connection, items, span.n_days), *review_series(reviews, span)]
        for series in [*data, *texts, *told]:
            moved += measure(series, span.n_days, settings.reference_days, noisy)
        of_served = up_to_served(replayed, learned.digest)
        for has_moved in (below_promise, lost_lead, lacks_items):
            moved += has_moved(of_served, span, span.n_days)
        moved += structural_changes(connection, span, looks, now, columns, learned.until)
    days = Days(span, span.n_days, settings.reference_days, noisy)
    verdict = judge(moved, span, span.n_days, settings.false_alarms_per_week, days)
    keep_look(places.looks, looks, now.model_copy(update={"unquiet": unquiet_windows(verdict.alarms)}))
    notes = (
        answers_note(answers, span),
        replay_note(replayed, span),
        service_note(served, span),
        items_note(items, not_embedded),
        reviews_note(reviews, items, span, newest, not_embedded),
    )
    return DriftSummary(
        alarms=with_staleness(verdict.alarms, learned, span.end),
        unwatched=tuple(note for note in notes if note),
        signals=verdict.signals,
        windows={days: _times(span, span.n_days - days, span.n_days) for days in WINDOWS},
        reference=_times(span, max(span.n_days - LAG - settings.reference_days, 0), span.n_days - LAG),
        flooded_users=flooded.users,
        flooded_days=flooded.user_days,
        flooded_events=flooded.events,
        page=places.page.absolute(),
    )


def _times(span: Span, begin: int, end: int) -> tuple[str, str]:
    return span.starts(begin).isoformat(), span.starts(end).isoformat()


def _write(
    places: Places,
    project: str,
    summary: DriftSummary,
    settings: DriftSettings | None = None,
    end: datetime | None = None,
) -> DriftSummary:
    """Write the runs of Evidently's UI, the drill-down report, and the page last: who finds it finds the others."""
    opened, owner = open_project(places.workspace, project, _DESCRIPTION, panels)
    if settings is not None and end is not None:
        for family, snapshot in family_snapshots(summary.signals, end):
            keep_run(opened, owner, snapshot, f"{places.page.stem}-{family}")
        forget_old(opened, owner, KEPT_SNAPSHOTS)
        windows = read_windows(places.clean, end - timedelta(days=LAG))
        if all(windows.rows) and (windows.numbers or windows.words):
            columns_page = places.page.parent / COLUMNS / places.page.name
            summary = summary.model_copy(update={"columns_page": columns_page.absolute()})
            with atomic_file(columns_page) as temporary:
                _run(windows, settings).save_html(str(temporary))
    link = f"{COLUMNS}/{places.page.name}" if summary.columns_page else None
    text = draw_page(project, _about(summary), summary.alarms, summary.signals, link)
    with atomic_file(places.page) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return summary.model_copy(update={"page": places.page.absolute()})


def _about(summary: DriftSummary) -> Sequence[str]:
    if summary.note or summary.reference is None:
        return [summary.note]
    begin, end = summary.windows[LAG]
    told = [
        f"Windows of {', '.join(str(days) for days in WINDOWS)} days that end at {end}, the longest from {begin}, "
        f"against a reference from {summary.reference[0]} to {summary.reference[1]}."
    ]
    if summary.flooded_events:
        told.append(
            f"Left out as floods or bots: {summary.flooded_events} events on {summary.flooded_days} days of "
            f"{summary.flooded_users} users."
        )
    return [*told, *summary.unwatched]


def _run(windows: Windows, settings: DriftSettings) -> Snapshot:
    from evidently import DataDefinition, Dataset, Report
    from evidently.presets import DataDriftPreset

    definition = DataDefinition(numerical_columns=list(windows.numbers), categorical_columns=list(windows.words))
    reference, current = (
        Dataset.from_pandas(frame, data_definition=definition) for frame in (windows.reference, windows.current)
    )
    # The Wasserstein distance is defined for numbers only.
    words_method = "jensenshannon" if settings.method == "wasserstein" else settings.method
    preset = DataDriftPreset(
        drift_share=settings.share,
        num_method=settings.method,
        cat_method=words_method,
        num_threshold=settings.threshold,
        cat_threshold=settings.threshold,
    )
    return Report([preset]).run(current, reference, timestamp=windows.spans[3])
