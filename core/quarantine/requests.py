"""Which quarantined rows the service was asked to let in, and no flow has let in yet: a file per shop.

```
<shop>/to_readmit.json   {"waiting": [{"id": …, "table": "interactions", "rule": "value_in_range", "by": …, …}]}
```
Rows that are let in are masked and validated by the data gate, which flows run: whoever asks is answered at once, and
the next run that validates lets them in first.
"""

from __future__ import annotations

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


class ReadmissionRequest(Frozen):
    """Rows that somebody asked to let in.

    Attributes:
        table: Only rows of this table; None: of all.
        rule: Only rows that break this rule; None: whichever.
        reason: In the words of whoever asked.
        by: Who asked, as `core.logs.audit.Act.who` says it.
        at: When, ISO 8601, UTC.
    """

    id: str
    table: TableName | None
    rule: str | None
    reason: str
    by: str
    at: str


class _Queue(Frozen):
    waiting: tuple[ReadmissionRequest, ...] = ()


def request_readmission(
    file: Path, table: TableName | None, rule: str | None, reason: str, by: str
) -> ReadmissionRequest:
    """Have the next flow let rows in; it is on the disk when this returns. Who asks for the same again waits once.

    Args:
        file: The shop's, which may not exist yet.
    Raises:
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
            waiting = [one for one in _read(file).waiting if (one.table, one.rule) != (table, rule)]
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


def end_request(file: Path, request_id: str) -> None:
    """Take a request away that was done, or whose rows are gone."""
    with exclusively(_lock(file)):
        waiting = tuple(one for one in _read(file).waiting if one.id != request_id)
        if waiting:
            _write(file, waiting)
        else:
            file.unlink(missing_ok=True)
            sync_folder(file.parent)


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
