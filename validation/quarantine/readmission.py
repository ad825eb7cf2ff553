"""Readmission: choose quarantined rows, have a person correct them, let them in. The next ingest reads them as a part.

What is let in lies in files named by their content, so that letting the same rows in twice changes nothing.
"""

from __future__ import annotations

import collections
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict

from core.quarantine.rows import QuarantinedRow
from core.schema import TABLE_NAMES, TABLES, USER_ID, TableName
from core.settings.validation import CleaningSettings
from core.sql import literal
from core.storage import atomic_file, digest_of, sync_folder
from core.tombstones import IsForgotten, nobody
from validation.cleaning.steps import GROUPS, build_masks
from validation.cleaning.text_repair import MaskedGroup
from validation.errors import ReadmissionError
from validation.masking.attributes import mask_attributes
from validation.masking.mask import PersonalDataMask
from validation.raw.originals import read_originals
from validation.raw.writer import as_text
from validation.staging.layers import WORDS

_DO = "Correct the line, or export the rows again: sommelier quarantine export"
_FILE_SCHEMA = pa.schema(
    [
        pa.field("values", pa.string()),  # JSON text: contract column to text
        pa.field("attributes", pa.string()),  # JSON text: name to text; "" for none
        pa.field("source_file", pa.string()),
        pa.field("source_number", pa.int64()),
    ]
)


_AS_USUAL = CleaningSettings()
_MAX_CORRECTED = 2  # values in which two corrections of one row differ


class ReadmissionSummary(BaseModel):
    """What was let in.

    Attributes:
        folder: Holds the files.
        rows: Rows per table; tables without any are left out.
        files: Names of the files, those that were there before among them.
        forgotten: Rows that were not let in, since they are of people who are forgotten.
    """

    model_config = ConfigDict(frozen=True)

    folder: Path
    rows: dict[TableName, int]
    files: tuple[str, ...]
    forgotten: int = 0


def select(quarantine: Path, table: TableName | None = None, rules: Collection[str] = ()) -> list[QuarantinedRow]:
    """The rows of a quarantine folder, in the order of the tables and of the source.

    Args:
        table: Only rows of this table.
        rules: Only rows that break one of these; empty: whichever.
    Raises:
        ReadmissionError: there is no quarantine, its rows were removed, or a file of it cannot be read.
    """
    if not quarantine.is_dir():
        raise ReadmissionError(
            "Cannot read quarantine",
            got=f"folder={quarantine}",
            expected="the quarantine folder beside the clean tables",
            do="Run the pipeline first",
        )
    gone = read_originals(quarantine)
    if gone.removed_at is not None:
        raise ReadmissionError(
            f"The quarantined rows were removed {gone.kept_days:g} days after they were read",
            got=f"read_at={gone.read_at:%Y-%m-%d}, removed_at={gone.removed_at:%Y-%m-%d}",
            expected="rows that are kept, see platform.originals_days",
            where=str(quarantine),
            do="Read and validate the source anew: sommelier run pipeline refresh=true",
        )
    return [
        row
        for name in (TABLE_NAMES if table is None else (table,))
        for row in _read_table(quarantine / f"{name}.parquet", name, rules)
    ]


def count_by_rule(rows: Sequence[QuarantinedRow]) -> list[dict[str, Any]]:
    """Rows per table and rule, the most frequent first; a row that breaks several counts for each."""
    counted = collections.Counter((row.table, rule) for row in rows for rule in row.rules)
    return [{"table": table, "rule": rule, "rows": count} for (table, rule), count in counted.most_common()]


def export(rows: Sequence[QuarantinedRow], target: Path) -> None:
    """Write rows as JSON lines, for a person to correct: `values` and `attributes` are what to edit."""
    with atomic_file(target) as temporary, temporary.open("w", encoding="utf-8") as file:
        for row in rows:
            line = {
                "table": row.table,
                "rules": list(row.rules),
                "position": f"{row.source_file}:{row.source_number}",
                "values": dict(row.values),
                "attributes": dict(row.attributes),
            }
            file.write(json.dumps(line, ensure_ascii=False) + "\n")


def read_corrections(path: Path, table: TableName | None = None, rules: Collection[str] = ()) -> list[QuarantinedRow]:
    """The rows of a file that `export` wrote and somebody corrected. Lines may be left out.

    Args:
        table, rules: As of `select`: only rows of this table, and that broke one of these rules.
    Raises:
        ReadmissionError: a line is no JSON object, or names an unknown table or column, or no position.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ReadmissionError(
            "Cannot read corrections", got=f"file={path}", expected=f"readable JSON lines, but {error}", do=_DO
        ) from error
    # Split at line feeds only: a text may hold other characters that Python takes for the end of a line.
    lines = enumerate(text.split("\n"), start=1)
    rows = [_read_line(line, f"{path.name}:{number}") for number, line in lines if line.strip()]
    return [row for row in rows if table in (None, row.table) and (not rules or not set(rules).isdisjoint(row.rules))]


def readmit(
    rows: Sequence[QuarantinedRow],
    folder: Path,
    is_forgotten: IsForgotten = nobody,
    cleaning: CleaningSettings = _AS_USUAL,
) -> ReadmissionSummary:
    """Readmit rows: one file per table, atomically; the next ingest reads them beside the source.

    A row that was readmitted before, and is corrected once more, takes the place of the former correction. These files
    stay for as long as the rows are let in, so personal data are masked already here.

    Args:
        is_forgotten: Whether a user is; nothing of theirs is let in.
        cleaning: Says what is masked.
    """
    given = len(rows)
    rows = [row for row in rows if not is_forgotten(row.values.get(USER_ID) or "")]
    masks = build_masks(cleaning)
    rows = [_masked(row, masks) for row in rows]
    counts: dict[TableName, int] = {}
    files = []
    for table in TABLE_NAMES:
        chosen: list[dict[str, Any]] = [
            {
                "values": _json(row.values),
                "attributes": _json(row.attributes) if any(row.attributes.values()) else "",
                "source_file": row.source_file,
                "source_number": row.source_number,
            }
            for row in rows
            if row.table == table
        ]
        if not chosen:
            continue
        name = _write(folder, table, chosen)
        _replace(folder, table, name, {(one["source_file"], one["source_number"]): one for one in chosen})
        counts[table] = len(chosen)
        files.append(name)
    return ReadmissionSummary(folder=folder.absolute(), rows=counts, files=tuple(files), forgotten=given - len(rows))


def revoke(folder: Path, rows: Sequence[QuarantinedRow] | None = None, table: TableName | None = None) -> int:
    """Take readmitted rows back; from the next ingest on only what the source has of them counts.

    Args:
        folder: Where `readmit` put them.
        rows: Those to take back, known by table and position; all by default.
        table: Only those of this table.
    Returns:
        How many were taken back.
    """
    places = None if rows is None else {(row.table, row.source_file, row.source_number) for row in rows}
    revoked = 0
    for path in sorted(folder.glob("*.parquet")):
        of_table = _table_of(path)
        if table is not None and of_table != table:
            continue
        held = pq.read_table(path, schema=_FILE_SCHEMA).to_pylist()
        kept = [
            row
            for row in held
            if places is not None and (of_table, row["source_file"], row["source_number"]) not in places
        ]
        revoked += len(held) - len(kept)
        if len(kept) < len(held):
            _rewrite(path, of_table, kept)
    return revoked


def erase(folder: Path, is_gone: IsForgotten) -> int:
    """Take the rows of users out of the files; how many there were."""
    erased = 0
    for path in sorted(folder.glob("*.parquet")):
        held = pq.read_table(path, schema=_FILE_SCHEMA).to_pylist()
        kept = [row for row in held if not is_gone(json.loads(row["values"]).get(USER_ID) or "")]
        erased += len(held) - len(kept)
        if len(kept) < len(held):
            _rewrite(path, _table_of(path), kept)
    return erased


def _replace(folder: Path, table: TableName, name: str, new: Mapping[tuple[str, int], Mapping[str, Any]]) -> None:
    """Take earlier corrections of the same rows out of the other files.

    A later export of the source may have another row at the same place: the same row differs in two values at most.
    """
    for path in sorted(folder.glob(f"{table}-*.parquet")):
        if path.name == name:
            continue
        held = pq.read_table(path, schema=_FILE_SCHEMA).to_pylist()
        kept = []
        for row in held:
            again = new.get((row["source_file"], row["source_number"]))
            if again is None or _n_differing(json.loads(row["values"]), json.loads(again["values"])) > _MAX_CORRECTED:
                kept.append(row)
        if len(kept) < len(held):
            _rewrite(path, table, kept)


def _rewrite(path: Path, table: TableName, rows: Sequence[Mapping[str, Any]]) -> None:
    """Put a file of these rows in a file's place. Killed in between, both are there, and copies count once."""
    if rows:
        _write(path.parent, table, rows)
    path.unlink()
    sync_folder(path.parent)


def _write(folder: Path, table: TableName, rows: Sequence[Mapping[str, Any]]) -> str:
    """Write rows into the file that their content names; its name."""
    name = f"{table}-{digest_of(table, rows)}.parquet"
    with atomic_file(folder / name) as temporary:
        pq.write_table(pa.Table.from_pylist(list(rows), schema=_FILE_SCHEMA), temporary, compression="zstd")
    return name


def _n_differing(one: Mapping[str, str], other: Mapping[str, str]) -> int:
    return sum(one.get(name) != other.get(name) for name in one.keys() | other.keys())


def _table_of(path: Path) -> TableName:
    return next(table for table in TABLE_NAMES if path.stem.split("-")[0] == table)


def _read_table(path: Path, table: TableName, rules: Collection[str]) -> list[QuarantinedRow]:
    chosen = f"list_has_any(rules, [{', '.join(map(literal, sorted(rules)))}]::VARCHAR[])" if rules else "true"
    columns = 'rules, source_file, source_number, "values", attributes'
    with duckdb.connect(config={"threads": 2}) as connection:
        try:
            rows = connection.execute(
                f"SELECT {columns} FROM read_parquet({literal(str(path))}) WHERE {chosen}"
            ).fetchall()
        except duckdb.Error as error:
            raise ReadmissionError(
                "Cannot read quarantine",
                got=f"file={path}",
                expected=f"a quarantine file, but {str(error).splitlines()[0]}",
                do="Run the pipeline again",
            ) from error
    return [
        QuarantinedRow(
            table, tuple(broken), file, number, json.loads(values), json.loads(attributes) if attributes else {}
        )
        for broken, file, number, values, attributes in rows
    ]


def _read_line(line: str, where: str) -> QuarantinedRow:
    try:
        read = json.loads(line)
        json.dumps(read, ensure_ascii=False).encode()  # half a character, which JSON may escape, cannot be written
    except ValueError as error:
        raise _bad(f"line={line[:80]!r}", f"a JSON object, but {error}", where) from error
    if not isinstance(read, dict):
        raise _bad(f"line={line[:80]!r}", "a JSON object", where)
    table = read.get("table")
    if table not in TABLE_NAMES:
        raise _bad(f"table={table!r}", f"one of {', '.join(TABLE_NAMES)}", where)
    values, attributes = read.get("values"), read.get("attributes") or {}
    if not isinstance(values, dict) or not isinstance(attributes, dict):
        raise _bad(f"values={values!r}, attributes={attributes!r}", "objects", where)
    known = [column.name for column in TABLES[table].columns]
    unknown = sorted(set(values) - set(known))
    if unknown:
        raise _bad(f"column={unknown[0]!r}", f"one of {', '.join(known)}", where)
    file, _, number = str(read.get("position", "")).rpartition(":")
    if not file or not number.isdecimal():
        raise _bad(f"position={read.get('position')!r}", "the file and line it had when it was exported", where)
    own, further = ({name: as_text(value) for name, value in given.items()} for given in (values, attributes))
    return QuarantinedRow(table, tuple(read.get("rules") or ()), file, int(number), own, further)


def _bad(got: str, expected: str, where: str) -> ReadmissionError:
    return ReadmissionError("Cannot readmit", got=got, expected=expected, where=where, do=_DO)


def _masked(row: QuarantinedRow, masks: Mapping[MaskedGroup, PersonalDataMask]) -> QuarantinedRow:
    """A row without personal data in its texts and attributes."""
    values = {
        name: masks[GROUPS.get(name, "titles")].apply(text)[0] if text and name in WORDS else text
        for name, text in row.values.items()
    }
    attributes = row.attributes
    if any(attributes.values()) and (row.table == "users" or row.table == "items"):
        text, found = mask_attributes(_json(attributes), masks[row.table], of_person=row.table == "users")
        attributes = json.loads(text) if found else attributes
    return replace(row, values=values, attributes=attributes)


def _json(texts: Mapping[str, str | None]) -> str:
    return json.dumps({name: text for name, text in texts.items() if text is not None}, ensure_ascii=False)
