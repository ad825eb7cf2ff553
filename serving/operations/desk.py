"""What operators ask the service, answered out of the files of the shop that flows and people left."""

from __future__ import annotations

from itertools import islice
from typing import Any

from core.layout import Layout
from core.logs.audit import newest_acts
from core.logs.timeline import Timeline, TimelineError
from core.settings.tree import Settings
from core.tombstones import IsForgotten, TombstoneError
from monitoring.lineage import TraceTooLong, UnknownRecommendation, trace
from serving.api.quarantine import QuarantineInfo, QuarantineQuery, Readmission, ReadmissionAsked, ReadmitRequest
from serving.api.timeline import AuditInfo, AuditQuery, TimelineInfo, TimelineQuery
from serving.http.refusals import refusal_of
from serving.operations.quarantine import ask_to_readmit, look, withdraw

# Of the time for an answer, what the search for a recommendation may take; the rest is for what else is read of it.
_SEARCHING = 0.5
ALL_ENTRIES = TimelineQuery()
FIRST_ACTS = AuditQuery()


class OperationsDesk:
    """Answers without any bundle. Safe to share between threads; each answer reads files, so it is asked in one.

    Args:
        layout: Of the shop.
        settings: Of the shop.
        is_forgotten: Whether nothing of a user may be shown.
    """

    def __init__(self, layout: Layout, settings: Settings, is_forgotten: IsForgotten) -> None:
        self._layout, self._is_forgotten = layout, is_forgotten
        self._days = settings.serving.predictions.days
        self._search_s = _SEARCHING * settings.serving.timeout_s
        self._reports_page = settings.platform.page_of("reports")

    def timeline(self, query: TimelineQuery = ALL_ENTRIES) -> TimelineInfo:
        """What GET /v1/timeline answers."""
        try:
            found = Timeline(self._layout.timeline).read(before=query.before, limit=query.limit + 1)
        except TimelineError as error:
            return TimelineInfo(problem=str(error), entries=[])
        entries = found[-query.limit :]
        return TimelineInfo(problem=None, entries=entries, next=entries[0].id if len(found) > len(entries) else None)

    def audit(self, query: AuditQuery = FIRST_ACTS) -> AuditInfo:
        """What GET /v1/audit answers."""
        try:
            newest = newest_acts(self._layout.audit if query.of == "changes" else self._layout.audit_reads)
            if query.before is not None:
                # An act that its file took along when it went has none before it.
                any(act.id == query.before for act in newest)
            found = list(islice(newest, query.limit + 1))
        except OSError as error:
            said = f"Cannot read the audit log: {error.strerror or error}. See that the service may read it."
            return AuditInfo(problem=said, acts=[], next=None)
        acts = found[: query.limit]
        return AuditInfo(problem=None, acts=acts, next=acts[-1].id if len(found) > len(acts) else None)

    def lineage(self, recommendation_id: str) -> Any:
        """What GET /v1/lineage/{recommendation_id} answers."""
        try:
            return trace(self._layout, recommendation_id, self._days, self._search_s)
        except (TraceTooLong, UnknownRecommendation, TombstoneError, TimelineError) as error:
            return refusal_of(error)

    def quarantine(self, query: QuarantineQuery, *, shows_rows: bool) -> QuarantineInfo | Any:
        """What GET /v1/quarantine answers.

        Args:
            shows_rows: Whether whoever asks may see rows, which are of people.
        """
        try:
            return look(self._layout, query, self._is_forgotten, self._reports_page, shows_rows=shows_rows)
        except Exception as error:
            return refusal_of(error)

    def readmit(self, request: ReadmitRequest, by: str) -> ReadmissionAsked | Any:
        """What POST /v1/quarantine/readmissions answers.

        Args:
            by: Who asks, for the records.
        """
        try:
            return ask_to_readmit(self._layout, request, by)
        except Exception as error:
            return refusal_of(error)

    def withdraw(self, request_id: str) -> Readmission | Any:
        """What DELETE /v1/quarantine/readmissions/{id} answers."""
        try:
            return withdraw(self._layout, request_id)
        except Exception as error:
            return refusal_of(error)
