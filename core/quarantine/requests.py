"""Which quarantined rows the service was asked to let in, and no flow has let in yet: a file per shop.

```
<shop>/to_readmit.json   {"waiting": [{"id": …, "table": "interactions", "rule": "value_in_range", "by": …, …}]}
```
Rows that are let in are masked and validated by the data gate, which flows run: whoever asks is answered at once, and
the next run that validates lets them in first.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from core.errors import SommelierError
from core.ids import time_ordered_id
from core.schema import TableName
from core.settings.form import Frozen
from core.storage import atomic_file, exclusively, sync_folder

MAX_WAITING = 100


class ReadmissionRequestError(SommelierError):
    """What was asked to be let in cannot be read or written, or too much waits."""


class NotWaiting(ReadmissionRequestError):
    """Nothing waits by that id: it was done, withdrawn, asked for anew, or never was."""


class ReadmissionBegun(ReadmissionRequestError):
    """A run lets the rows in already."""


class ReadmissionRequest(Frozen):
    """Rows that somebody asked to let in.

    Attributes:
        table: Only rows of this table; None: of all.
        rule: Only rows that break this rule; None: whichever.
        reason: In the words of whoever asked.
        by: Who asked, as `core.logs.audit.Act.who` says it.
        at: When, ISO 8601, UTC.
        begun: A run has begun to let them in.
    """

    id: str
    table: TableName | None
    rule: str | None
    reason: str
    by: str
    at: str
    begun: bool = False

    def what(self) -> str:
        """Which rows were asked for."""
        return f"rows of {self.table or 'all tables'} by {self.rule or 'any rule'}"

    def describe(self) -> str:
        """What waits, without its reason."""
        state = "are being let in" if self.begun else "wait for the next run to let them in"
        return f"{self.what()} {state}, asked for by {self.by} {self.at}, id {self.id}"


class _Queue(Frozen):
    waiting: tuple[ReadmissionRequest, ...] = ()


def request_readmission(
    file: Path, table: TableName | None, rule: str | None, reason: str, by: str
) -> ReadmissionRequest:
    """Have the next flow let rows in; it is on the disk when this returns. Who asks for the same again waits once.

    Args:
        file: The shop's, which may not exist yet.
    Raises:
        ReadmissionBegun: a run has begun to let the same in: what was asked before could not be told from this.
        ReadmissionRequestError: the file cannot be read or written, or too many wait.
    """
    asked = ReadmissionRequest(
        id=time_ordered_id(),
        table=table,
        rule=rule,
        reason=reason,
        by=by,
        at=datetime.now(UTC).isoformat(timespec="milliseconds"),
    )
    try:
        with exclusively(_lock(file)):
            found = _read(file).waiting
            begun = next((one for one in found if one.begun and (one.table, one.rule) == (table, rule)), None)
            if begun is not None:
                raise ReadmissionBegun(
                    "Cannot ask for these rows again",
                    got=f"id={begun.id}, which a run has begun with",
                    expected="rows that no run lets in now",
                    do="Ask again once that run has ended, if rows of these are in quarantine then",
                )
            waiting = [one for one in found if (one.table, one.rule) != (table, rule)]
            if len(waiting) >= MAX_WAITING:
                raise ReadmissionRequestError(
                    "Cannot ask for more rows",
                    got=f"waiting={len(waiting)}",
                    expected=f"fewer than {MAX_WAITING}",
                    do="Run the flow that lets them in: sommelier run pipeline",
                )
            _write(file, (*waiting, asked))
    except OSError as error:
        raise _failure(file, str(error), "a file that can be written", "Ask again later") from error
    return asked


def read_requests(file: Path) -> tuple[ReadmissionRequest, ...]:
    """What waits to be let in, first come first.

    Raises:
        ReadmissionRequestError: the file is there and cannot be read.
    """
    return _read(file).waiting


def begin_request(file: Path, request_id: str) -> bool:
    """Note that a run lets the rows in from now on; False where the request does not wait any more.

    What a run that was killed had begun is begun again by the next.
    """
    with exclusively(_lock(file)):
        waiting = _read(file).waiting
        if not any(one.id == request_id for one in waiting):
            return False
        _write(file, tuple(one.model_copy(update={"begun": True}) if one.id == request_id else one for one in waiting))
    return True


def end_request(file: Path, request_id: str) -> None:
    """Take a request away that was done, or whose rows are gone."""
    with exclusively(_lock(file)):
        _take_away(file, _read(file).waiting, (request_id,))


def withdraw_request(file: Path, request_id: str) -> ReadmissionRequest:
    """Take one request back, as `withdraw_requests` does."""
    return withdraw_requests(file, (request_id,))[0]


def withdraw_requests(file: Path, request_ids: Sequence[str]) -> tuple[ReadmissionRequest, ...]:
    """Take requests back before a run has begun with them: all of them, or, where one cannot be, none.

    Args:
        file: The shop's, which may not exist.
        request_ids: Of what waits; one that is named twice counts once.
    Returns:
        What was taken back, in the order of the ids.
    Raises:
        NotWaiting: nothing waits by one of the ids.
        ReadmissionBegun: a run has begun with one.
        ReadmissionRequestError: the file cannot be read or written.
    """
    asked = tuple(dict.fromkeys(request_ids))
    try:
        if not file.exists():  # no lock is left behind where nothing ever waited
            raise _not_waiting(asked[0])
        with exclusively(_lock(file)):
            waiting = _read(file).waiting
            found = tuple(_not_begun(waiting, one) for one in asked)
            _take_away(file, waiting, asked)
    except OSError as error:
        raise _failure(file, str(error), "a file that can be written", "Try again later") from error
    return found


def _not_begun(waiting: Sequence[ReadmissionRequest], request_id: str) -> ReadmissionRequest:
    """What waits by an id, and no run has begun with."""
    found = next((one for one in waiting if one.id == request_id), None)
    if found is None:
        raise _not_waiting(request_id)
    if found.begun:
        raise ReadmissionBegun(
            "Cannot withdraw",
            got=f"id={request_id}, which a run has begun with",
            expected="what waits for a run",
            do="Take the rows back once they are in: sommelier quarantine revoke",
        )
    return found


def _take_away(file: Path, waiting: Sequence[ReadmissionRequest], request_ids: Sequence[str]) -> None:
    left = tuple(one for one in waiting if one.id not in request_ids)
    if left:
        _write(file, left)
    else:
        file.unlink(missing_ok=True)
        sync_folder(file.parent)


def _not_waiting(request_id: str) -> NotWaiting:
    return NotWaiting(
        "Cannot withdraw",
        got=f"id={request_id}",
        expected="what waits for a run: this was done, or withdrawn, or asked for anew",
        do="See what waits: sommelier quarantine list, or GET /v1/quarantine",
    )


def _read(file: Path) -> _Queue:
    try:
        return _Queue.model_validate_json(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return _Queue()
    except (OSError, ValueError) as error:
        said = str(error).splitlines()[0]
        raise _failure(file, said, "JSON as the service writes it", "Move it away, and ask again") from error


def _write(file: Path, waiting: tuple[ReadmissionRequest, ...]) -> None:
    with atomic_file(file) as temporary:
        temporary.write_text(_Queue(waiting=waiting).model_dump_json(indent=2) + "\n", encoding="utf-8")


def _failure(file: Path, got: str, expected: str, do: str) -> ReadmissionRequestError:
    return ReadmissionRequestError(
        "Cannot keep which rows are to be let in", got=got, expected=expected, where=str(file), do=do
    )


def _lock(file: Path) -> Path:
    return file.with_name(f"{file.name}.lock")
