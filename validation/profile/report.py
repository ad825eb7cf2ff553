"""A profile as text: the files, the guessed settings with their evidence, what the shop can do, and warnings."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator

from core.schema import TABLE_NAMES
from validation.profile.draft import Line
from validation.profile.profiling import Profile

_WIDTH = 118


def full_report(profile: Profile) -> list[str]:
    """Everything, one line each."""
    lines = [f"source: {profile.path} (kind {profile.kind}{f': {profile.why}' if profile.why else ''})"]
    lines += list(_file_lines(profile))
    for section, settings in profile.draft.lines.items():
        lines.append(f"[{section}]")
        for line in settings:
            if not line.is_open:
                lines += _indented(_setting_line(line))
    lines += [*_headed("able to", profile.abilities.lines), *_headed("to know", _known(profile))]
    lines += _headed("to be answered", [question.text for question in profile.draft.questions])
    return lines


def short_report(profile: Profile) -> list[str]:
    """What was guessed, a table a line, and what the shop can do."""
    lines = [f"guessed of {profile.path.name} (kind {profile.kind}{f': {profile.why}' if profile.why else ''}):"]
    for table in TABLE_NAMES:
        files = profile.draft.get("recipe.source.files", table, "")
        columns = profile.draft.lines.get(f"recipe.source.columns.{table}", [])
        pairs = ", ".join(f"{line.key} = {line.value}" for line in columns if not line.is_open)
        if files or pairs:
            lines += _indented(f"{table}{f' from {files}' if files else ''}{f': {pairs}' if pairs else ''}")
    for section, settings in profile.draft.lines.items():
        if ".files" in section or ".columns" in section:
            continue
        for line in settings:
            if not line.is_open and line.key not in ("kind", "path"):
                lines += _indented(_setting_line(line))
    return [*lines, *_headed("able to", profile.abilities.lines), *_headed("to know", _known(profile))]


def _file_lines(profile: Profile) -> Iterator[str]:
    for extract in profile.extracts:
        n = f"{extract.n_total:,}" if extract.is_whole else f"about {extract.n_total:,}"
        yield from _indented(f"{extract.name}: {n} rows, columns {', '.join(extract.columns)}")
    for name, why in profile.left_out.items():
        yield from _indented(f"{name}: not used, {why}")


def _setting_line(line: Line) -> str:
    return f"{line.key} = {line.value!r}{f'   ({line.why})' if line.why else ''}"


def _known(profile: Profile) -> list[str]:
    return [*profile.abilities.warnings, *profile.draft.notes]


def _headed(head: str, lines: Iterable[str]) -> list[str]:
    wrapped = [part for line in lines for part in _indented(line)]
    return [f"{head}:", *wrapped] if wrapped else []


def _indented(line: str) -> list[str]:
    return textwrap.wrap(
        line, _WIDTH, initial_indent="  ", subsequent_indent="      ", break_long_words=False, break_on_hyphens=False
    )
