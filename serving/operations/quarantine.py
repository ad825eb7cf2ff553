"""What the data gate put aside, for whoever looks, and letting rows in again, for whoever may."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import regex

from core.events import canonical_id
from core.layout import Layout
from core.quarantine.requests import (
    NotWaiting,
    ReadmissionBegun,
    read_requests,
    request_readmission,
    withdraw_request,
)
from core.quarantine.rows import (
    QUARANTINE,
    Page,
    QuarantinedRow,
    QuarantineError,
    Validated,
    count_matching,
    count_rows,
    newest_validation,
    read_note,
    read_page,
)
from core.removals import RemovalError, read_waiting
from core.schema import TABLE_NAMES, USER_ID
from core.tombstones import IsForgotten, TombstoneError
from core.words.escapes import alone, escaped, hints, is_distinct
from serving.api.quarantine import (
    QuarantineGroup,
    QuarantineInfo,
    QuarantineQuery,
    QuarantineRow,
    QuarantineTable,
    Readmission,
    ReadmissionAsked,
    ReadmitRequest,
)
from serving.errors import BadRequest, NoReadmission, RecordUnreadable, TooLate


def look(
    layout: Layout, query: QuarantineQuery, is_forgotten: IsForgotten, reports_page: str, *, shows_rows: bool
) -> QuarantineInfo:
    """What the newest validation put aside.

    Args:
        reports_page: Where browsers find the shop's reports; empty where that is not known.
        shows_rows: Whether whoever asks may see rows.
    Raises:
        BadRequest: `after` of the query is none.
        RecordUnreadable: it cannot be read who is forgotten; no row is shown then.
        ReadmissionRequestError: it cannot be read what waits.
    """
    info = QuarantineInfo(
        problem=None,
        validation=None,
        read_at=None,
        docs=None,
        tables=[],
        groups=[],
        rows=[] if shows_rows else None,
        next=None,
        waiting=[Readmission.of(one) for one in read_requests(layout.to_readmit)] if shows_rows else None,
    )
    try:
        found = newest_validation(layout)
        folder = layout.clean(found.key) / QUARANTINE
        groups = _groups(folder)
    except QuarantineError as error:
        return info.model_copy(update={"problem": str(error)})
    page = _page(layout, folder, query, is_forgotten) if shows_rows else Page((), None)
    read_at = read_note(folder).read_at
    return info.model_copy(
        update={
            "validation": found.key,
            "read_at": None if read_at is None else read_at.isoformat(timespec="seconds"),
            "docs": _docs(layout, found, reports_page),
            "tables": [
                QuarantineTable(table=table, rows_in=counts.rows_in, rows_quarantined=counts.rows_quarantined)
                for table in TABLE_NAMES
                if (counts := found.tables.get(table)) is not None
            ],
            "groups": groups,
            "rows": [QuarantineRow.of(row) for row in page.rows] if shows_rows else None,
            "next": page.next,
        }
    )


def ask_to_readmit(layout: Layout, request: ReadmitRequest, by: str) -> ReadmissionAsked:
    """Have the next run let rows in.

    Args:
        by: Who asks, for the records.
    Raises:
        BadRequest: there is no quarantine, or no such row in it.
        TooLate: a run lets these rows in already.
        ReadmissionRequestError: it cannot be kept; then nothing was.
    """
    try:
        found = newest_validation(layout)
        rows = count_matching(layout.clean(found.key) / QUARANTINE, request.table, request.rule)
    except QuarantineError as error:
        raise BadRequest("Cannot readmit", got=error.got, expected=error.expected, do=error.do) from error
    if not rows:
        raise BadRequest(
            "Cannot readmit",
            got=f"table={request.table or 'any'}, rule={request.rule or 'any'}",
            expected="rows that are in quarantine: there are none of these",
            do="Look at GET /v1/quarantine",
        )
    try:
        asked = request_readmission(layout.to_readmit, request.table, request.rule, request.reason, by)
    except ReadmissionBegun as error:
        raise TooLate(error.failed, got=error.got, expected=error.expected, do=error.do) from error
    return ReadmissionAsked(**asked.model_dump(), rows=rows)


def withdraw(layout: Layout, request_id: str) -> Readmission:
    """Take back what was asked to be let in, before a run has begun with it; what it was.

    Raises:
        NoReadmission: nothing waits by that id.
        TooLate: a run has begun with it.
        ReadmissionRequestError: it cannot be kept; then it still waits.
    """
    try:
        return Readmission.of(withdraw_request(layout.to_readmit, request_id))
    except (NotWaiting, ReadmissionBegun) as error:
        kind = NoReadmission if isinstance(error, NotWaiting) else TooLate
        raise kind(error.failed, got=error.got, expected=error.expected, do=error.do) from error


def _groups(folder: Path) -> list[QuarantineGroup]:
    note = read_note(folder)
    groups = []
    for table, rule, rows in count_rows(folder):
        words = note.words_of(table, rule)
        groups.append(
            QuarantineGroup(
                table=table,
                rule=rule,
                rows=rows,
                column=words.column or None if words is not None else None,
                expectation=None if words is None else words.expectation,
                why=None if words is None else words.why,
            )
        )
    return groups


def _page(layout: Layout, folder: Path, query: QuarantineQuery, is_forgotten: IsForgotten) -> Page:
    try:
        return read_page(
            folder, query.table, query.rule, query.after, query.limit, _kept_back(layout.to_forget, is_forgotten)
        )
    except QuarantineError as error:
        raise BadRequest("Cannot show rows", got=error.got, expected=error.expected, do=error.do) from error
    except (RemovalError, TombstoneError) as error:
        raise RecordUnreadable(
            "Cannot show rows",
            got=f"error={type(error).__name__}",
            expected="a record of who is forgotten that can be read",
            do="Correct its file, which the log names; nobody's rows are shown without it",
        ) from error


def _kept_back(to_forget: Path, is_forgotten: IsForgotten) -> Callable[[QuarantinedRow], bool]:
    """Whether a row is of somebody who is forgotten; also one that could not be read, and names somebody whose data
    wait to be removed.
    """
    names_waiting = _naming(read_waiting(to_forget))

    def is_kept_back(row: QuarantinedRow) -> bool:
        if is_forgotten(row.values.get(USER_ID) or ""):
            return True
        return any(map(names_waiting, filter(None, (row.source_row, *row.values.values(), *row.attributes.values()))))

    return is_kept_back


def _naming(user_ids: Sequence[str]) -> Callable[[str], bool]:
    """Whether a text names one of some users, by itself and not within a longer word, however it is escaped: as
    forgetting finds them, and beside that short ones and those in other case, whose rows are hidden by a guess and not
    removed.
    """
    ids = sorted(filter(None, {*user_ids, *map(canonical_id, user_ids)}))
    known = [
        (
            {hint.casefold() for hint in hints([one, one.lower(), one.upper()])},
            regex.compile(_pattern(one), regex.IGNORECASE | regex.V1),
        )
        for one in ids
    ]

    def names(text: str) -> bool:
        folded = text.casefold()
        return any(
            any(hint in folded for hint in found) and any(True for _ in alone(pattern, text))
            for found, pattern in known
        )

    return names


def _pattern(user_id: str) -> str:
    """Of a short id none that is part of a name such as `item_1`."""
    written = f"(?P<id>{''.join(map(_in_any_case, user_id))})"
    return written if is_distinct(user_id) else f"(?<!_){written}(?!_)"


def _in_any_case(char: str) -> str:
    """A capital letter beyond ASCII is escaped as another number."""
    ways = dict.fromkeys((char,) if char.isascii() else (char, char.lower(), char.upper()))
    return f"(?:{'|'.join(map(escaped, ways))})"


def _docs(layout: Layout, found: Validated, reports_page: str) -> str | None:
    """The page of the Data Docs; None where nothing here shows them, or they lie elsewhere than this service's."""
    if not reports_page or not found.docs.is_relative_to(layout.reports):
        return None
    return f"{reports_page}/{found.docs.relative_to(layout.reports).as_posix()}"
