"""Profile a path: find the kind of source, its tables and forms, and draft the settings that read it."""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import duckdb

from core.settings.source import Amazon2014Source
from validation.errors import SourceError, cannot_read
from validation.profile.abilities import Abilities, assess
from validation.profile.databases import draft_queries, load_database, source_url
from validation.profile.draft import Draft
from validation.profile.drafting import SOURCE, draft_forms, draft_quarantine, draft_tables, draft_writer
from validation.profile.extracts.files import Extract, Workspace, data_files, ending, is_sqlite, load
from validation.profile.roles.tables import Assignment, assign
from validation.sources import amazon

_AMAZON_2014 = {"reviewerID", "asin", "overall", "unixReviewTime"}
_AMAZON_2023 = {"user_id", "parent_asin", "rating", "timestamp"}


@dataclass(frozen=True)
class Profile:
    """What was found at a path.

    Attributes:
        kind: Of source, and `why` it is that one.
        draft: The settings, with questions where a guess is unsafe.
        extracts: The files, or the tables of a database.
        left_out: Files that no table uses, each with why.
    """

    path: Path
    kind: str
    why: str
    draft: Draft
    abilities: Abilities
    extracts: tuple[Extract, ...]
    left_out: dict[str, str]


def profile_source(path: Path, now: datetime | None = None) -> Profile:
    """Read the first rows of what lies at a path, and guess the settings for it.

    Args:
        path: A folder, a file, or a SQLite database.
        now: No event is later.
    Raises:
        SourceError: there is nothing that can be read.
    """
    now = now or datetime.now(UTC)
    files = data_files(path)
    with duckdb.connect() as connection:
        workspace = Workspace(connection)
        draft = Draft()
        databases = [file for file in files if is_sqlite(file)]
        if databases:
            kind, why, found = "sql", "a SQLite database", _profile_database(draft, workspace, databases, now)
        else:
            kind, why, found = _profile_files(draft, workspace, path, files, now)
        draft_writer(draft, found)
        abilities = assess(draft, found)
        draft_quarantine(draft, abilities.bad_share, abilities.bad_why)
        left_out = {**workspace.left_out, **found.unused}
        return Profile(path, kind, why, draft, abilities, tuple(workspace.extracts), left_out)


def _profile_database(draft: Draft, workspace: Workspace, files: Sequence[Path], now: datetime) -> Assignment:
    if len(files) > 1:
        raise SourceError(
            "Cannot profile source",
            got=f"databases={[file.name for file in files]}",
            expected="one database",
            do="Name the right file itself",
        )
    database = load_database(workspace, files[0])
    found = assign(workspace, now)
    found.rivals = []
    draft.set(SOURCE, "kind", "sql")
    draft.set(SOURCE, "url", source_url(files[0]))
    draft_queries(draft, found, database)
    draft_forms(draft, found)
    return found


def _profile_files(
    draft: Draft, workspace: Workspace, path: Path, files: Sequence[Path], now: datetime
) -> tuple[str, str, Assignment]:
    atomic = [file for file in files if ending(file) in (".inter", ".user", ".item")]
    is_recbole = any(ending(file) == ".inter" for file in atomic)
    load(workspace, atomic if is_recbole else files)
    if not any(extract.n_rows for extract in workspace.extracts):
        raise cannot_read(
            got=f"files={[file.name for file in files][:10]}",
            expected="rows under a header",
            where=str(path),
            do="Check the files",
        )
    if is_recbole:
        folder = path if path.is_dir() else path.parent
        found = _draft_known(draft, workspace, "recbole", folder, now)
        return "recbole", "atomic files with typed headers", found
    for kind, keys in (("amazon-2014", _AMAZON_2014), ("amazon-2023", _AMAZON_2023)):
        reviews = [one for one in workspace.extracts if one.kind == "json" and keys <= set(one.columns)]
        if reviews:
            place = _amazon_path(path, reviews[0].name)
            found = _draft_known(draft, workspace, kind, place, now)
            return kind, f"its keys are {', '.join(sorted(keys))}", found
    found = assign(workspace, now)
    draft.set(SOURCE, "kind", "tables")
    draft.set(SOURCE, "path", str(path))
    draft_tables(draft, found)
    return "tables", "", found


def _draft_known(draft: Draft, workspace: Workspace, kind: str, path: Path, now: datetime) -> Assignment:
    """A kind whose reader knows the columns: only its forms are guessed."""
    found = assign(workspace, now)
    draft.set(SOURCE, "kind", kind)
    draft.set(SOURCE, "path", str(path))
    known = Draft()
    draft_forms(known, found)
    for section, lines in known.lines.items():
        if section.startswith("recipe.validation"):
            draft.lines[section] = lines
    draft.notes += known.notes
    return found


def _amazon_path(path: Path, reviews: str) -> Path:
    """The path itself where the reader finds the reviews there, else the file."""
    if path.is_file() or fnmatch.fnmatch(path.name, "*.json*"):
        return path
    try:
        amazon.locate(Amazon2014Source(path=path))
        return path
    except SourceError:
        return path / reviews
