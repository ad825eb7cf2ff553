"""A profile as a settings file: comments with the evidence, checked by reading it back."""

from __future__ import annotations

import hashlib
import tomllib
from pathlib import Path

from core.errors import SettingsError
from core.settings.loading import parse_settings
from core.storage import atomic_file
from validation.profile.databases import QUERIES
from validation.profile.draft import render
from validation.profile.profiling import Profile

_MARK = "# As guessed: "


def settings_text(profile: Profile, shop: str) -> str:
    """The settings file of a profile.

    Raises:
        SettingsError: what was guessed is no valid setting.
    """
    head = [
        f"Guessed from {profile.path.name} by sommelier profile. The comment above a setting is what speaks for it.",
    ]
    if profile.draft.questions:
        head.append("Answer each QUESTION: remove the # from the line below it that is right, or write your own.")
    text = render(profile.draft, shop, head)
    # Without its queries a database cannot be read at all: they are asked for, whole.
    if not any(question.section == QUERIES for question in profile.draft.questions):
        parse_settings(tomllib.loads(text))
    return text


def write_settings(text: str, file: Path, *, force: bool = False) -> None:
    """Write a settings file, atomically.

    Raises:
        SettingsError: the file is there and says something else.
    """
    if file.exists() and not force and file.read_text(encoding="utf-8") != text:
        raise SettingsError(
            "Cannot write settings",
            got=f"file={file}",
            expected="no file, or one that says the same",
            do="Name another with --out, or overwrite it with --force",
        )
    with atomic_file(file) as temporary:
        temporary.write_text(text, encoding="utf-8")


def sealed(text: str) -> str:
    """The text with a last line that shows whether somebody edited it since."""
    return f"{text}{_MARK}{_digest(text)}\n"


def is_edited(text: str) -> bool:
    """Whether a sealed text was edited."""
    body, mark, digest = text.rpartition(_MARK)
    return not mark or digest.strip() != _digest(body)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
