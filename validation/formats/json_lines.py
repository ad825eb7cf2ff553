"""JSON lines into a part, block by block. A line that is no object is a bad row; a file without any is a bad file."""

from __future__ import annotations

import ast
import codecs
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from core.sql import json_pointer, literal
from validation.formats.files import Block, block_encoding, read_blocks, stop_at
from validation.raw.writer import PartWriter, field_names, struct_of

OTHERS = "other columns"  # the field of `source` that maps all keys beside the named ones to their values
_SURROGATE = re.compile("[\ud800-\udfff]")
_TRIAL_LINES = 100  # if none of the first lines is an object, the file is of another format


@dataclass
class _Lines:
    """Lines that are not blank.

    Attributes:
        numbers: Shape (n,), int64.
        texts: As they came, trimmed; bytes that are not in the file's encoding replaced. Shape (n,).
        objects: JSON text of the lines that are objects, null for the others. Shape (n,).
        errors: Why a line is none, else null. Shape (n,).
    """

    numbers: pa.Array
    texts: pa.Array
    objects: pa.Array
    errors: pa.Array


def object_type(names: Sequence[str], has_others: bool) -> pa.StructType:
    """Type of `source`: the named keys as text (lists and objects as JSON text), and perhaps a map of all others."""
    *fields, others = field_names((*names, OTHERS))
    kind = [pa.field(name, pa.string()) for name in fields]
    return pa.struct([*kind, pa.field(others, pa.map_(pa.string(), pa.string()))] if has_others else kind)


def json_names(path: Path, encoding: str = "utf-8") -> list[str]:
    """The keys of the first lines, those of the first one that is an object before the others.

    Lines leave out keys without a value, so that the first line alone does not show all keys of the file.

    Raises:
        SourceError: missing, empty, truncated, or none of the first lines is an object.
    """
    with duckdb.connect(config={"threads": 1}) as connection:
        for lines in _read(connection, path, encoding, python_literals=False):
            known = lines.objects.drop_null()
            if len(known):
                keys = _column(connection, "json_keys(line)", known)
                return list(dict.fromkeys(pc.list_flatten(keys).unique().to_pylist()))
    _stop(path, 1, "", "the file is blank")


def write_json_lines(
    path: Path, part: PartWriter, names: Sequence[str], *, encoding: str = "utf-8", python_literals: bool = False
) -> None:
    """Append the lines of a file to a part of `object_type`, blank ones left out; `source_text` is the line.

    Args:
        names: Keys, in the order of the part's fields.
        python_literals: Also take Python literals, as the Amazon 2014 metadata are written.
    Raises:
        SourceError: missing, empty, truncated, or not JSON lines at all.
    """
    with duckdb.connect(config={"threads": 1}) as connection:
        for lines in _read(connection, path, encoding, python_literals):
            valid = lines.objects.is_valid()
            columns = _columns(connection, lines, names, has_others=part.source.num_fields > len(names))
            part.write(struct_of(columns, part.source, valid), path.name, lines.numbers, lines.texts, lines.errors)


def _read(connection: duckdb.DuckDBPyConnection, path: Path, encoding: str, python_literals: bool) -> Iterator[_Lines]:
    own, seen, good = block_encoding(encoding), 0, False
    first = last = None
    for block in read_blocks(path, encoding):
        lines = _objects(connection, *_split(block, own), python_literals=python_literals)
        if not len(lines.numbers):
            continue
        first = first or (lines.numbers[0].as_py(), lines.texts[0].as_py(), lines.errors[0].as_py())
        good = good or lines.objects[: max(_TRIAL_LINES - seen, 0)].null_count < min(
            len(lines.numbers), _TRIAL_LINES - seen
        )
        seen += len(lines.numbers)
        if not good and seen >= _TRIAL_LINES:
            break
        last = None
        if not lines.objects[-1].is_valid and not block.data.endswith(b"\n"):
            last = (lines.numbers[-1].as_py(), lines.texts[-1].as_py())
        yield lines
    if not good:
        _stop(path, *(first or (1, "", "the file is blank")))
    if last is not None:
        stop_at(
            path,
            last[0],
            got=f"last line={last[1][-60:]!r}, cut off",
            expected="a file that ends with a whole line",
            do="The file is truncated; fetch it again",
        )


def _split(block: Block, encoding: str) -> tuple[pa.Array, pa.Array, dict[int, str]]:
    """Numbers and texts of the lines that are not blank, and by index why some are not in the encoding."""
    undecoded: dict[int, str] = {}
    try:
        if codecs.lookup(encoding).name == "utf-8":  # checked and split without a Python object per line
            whole = pa.array([block.data], pa.large_binary()).cast(pa.large_string())
        else:
            whole = pa.array([block.data.decode(encoding)], pa.large_string())
        texts = pc.split_pattern(whole, "\n").flatten()
    except (pa.ArrowInvalid, UnicodeDecodeError):
        decoded = [_decode(line, encoding) for line in block.data.split(b"\n")]
        undecoded = {index: error for index, (_, error) in enumerate(decoded) if error}
        texts = pa.array([text for text, _ in decoded], pa.large_string())
    texts = pc.utf8_trim_whitespace(texts)
    kept = np.flatnonzero(pc.not_equal(texts, "").to_numpy(zero_copy_only=False))
    places = {int(index): place for place, index in enumerate(kept)} if undecoded else {}
    errors = {places[index]: error for index, error in undecoded.items()}
    return pa.array(kept + block.begin, pa.int64()), texts.take(pa.array(kept)), errors


def _decode(line: bytes, encoding: str) -> tuple[str, str]:
    try:
        return line.decode(encoding), ""
    except UnicodeDecodeError as error:
        return line.decode(encoding, errors="replace"), f"not {encoding.upper()}: {error.reason} at byte {error.start}"


def _objects(
    connection: duckdb.DuckDBPyConnection,
    numbers: pa.Array,
    texts: pa.Array,
    undecoded: dict[int, str],
    *,
    python_literals: bool,
) -> _Lines:
    """Separate objects from other lines. Only lines that DuckDB does not take are parsed one by one."""
    # The texts are trimmed: one that is JSON and begins so is an object, without a second look by json_type.
    is_object = _column(connection, "starts_with(line, '{') AND json_valid(line)", texts).to_numpy(zero_copy_only=False)
    suspects = sorted({*np.flatnonzero(~is_object).tolist(), *undecoded})
    if not suspects:
        return _Lines(numbers, texts, texts, pa.nulls(len(texts), pa.string()))
    parsed: dict[int, str | None] = {}
    errors = dict(undecoded)
    for index in suspects:
        parsed[index] = None
        if index not in undecoded:
            parsed[index], error = _parse(texts[index].as_py(), python_literals)
            errors.update({index: error} if error else {})
    mask = np.zeros(len(texts), bool)
    mask[suspects] = True
    objects = pc.replace_with_mask(texts, pa.array(mask), pa.array(list(parsed.values()), texts.type))
    return _Lines(numbers, texts, objects, pa.array([errors.get(index) for index in range(len(texts))], pa.string()))


def _parse(text: str, python_literals: bool) -> tuple[str | None, str]:
    """JSON text of an object that DuckDB did not accept, or the reason why it is no object."""
    try:
        row = json.loads(text)
    except (ValueError, RecursionError) as error:
        row = _literal(text) if python_literals else None
        if row is None:
            return None, f"not JSON: {error}"
    if not isinstance(row, dict):
        return None, f"not an object but {type(row).__name__}"
    # A lone surrogate is no character: it becomes U+FFFD, as a byte does that is none.
    return _SURROGATE.sub("\ufffd", json.dumps(row, ensure_ascii=False, default=str)), ""


def _literal(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None


def _columns(
    connection: duckdb.DuckDBPyConnection, lines: _Lines, names: Sequence[str], *, has_others: bool
) -> list[pa.Array]:
    """The fields of `source`, as `object_type` has them."""
    pointers = ", ".join(json_pointer(name) for name in names)
    cells = _column(connection, f"json_extract_string(line, [{pointers}])", lines.objects)
    columns = [pc.list_element(cells, index).cast(pa.string()) for index in range(len(names))]
    if has_others:
        columns.append(_others(connection, lines.objects, names))
    return columns


def _others(connection: duckdb.DuckDBPyConnection, objects: pa.Array, names: Sequence[str]) -> pa.Array:
    """All keys but the named ones, with their values as text. Of a repeated key the last value counts."""
    own = ", ".join(map(literal, names))
    whole = """json_transform(line, '"MAP(VARCHAR, VARCHAR)"')"""
    others = f"map_from_entries(list_filter(map_entries({whole}), lambda entry: entry.key NOT IN ({own})))"
    found = _column(connection, others, objects)
    twice = pc.and_(objects.is_valid(), found.is_null())
    if pc.any(twice).as_py():
        once = [json.dumps(json.loads(text.as_py()), ensure_ascii=False) for text in objects.filter(twice)]
        found = _column(connection, others, pc.replace_with_mask(objects, twice, pa.array(once, objects.type)))
    return found.cast(pa.map_(pa.string(), pa.string()))


def _column(connection: duckdb.DuckDBPyConnection, expression: str, texts: pa.Array) -> pa.Array:
    """An expression over `line` for each text, in order."""
    connection.register("lines", pa.table({"line": texts}))
    column = connection.sql(f"SELECT {expression} AS result FROM lines").to_arrow_table()["result"]
    connection.unregister("lines")
    return column.combine_chunks()


def _stop(path: Path, line: int, text: str, error: str) -> NoReturn:
    do = "Check that the file is of the kind that the settings name"
    if text.startswith("["):
        do = "The file is one list: write each object on a line of its own, such as by: jq -c '.[]' FILE > FILE.jsonl"
    elif text in ("{", '{"'):
        do = "The objects stand on several lines: write each on one, such as by: jq -c . FILE > FILE.jsonl"
    stop_at(path, line, got=f"line={text[:60]!r} ({error})", expected="one JSON object per line", do=do)
