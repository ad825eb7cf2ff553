"""Data without settings: what was guessed is shown, written down as settings, and asked for where it is unsafe."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from core.layout import Layout
from core.settings.command_line import free_shop_name, resolve_settings
from core.settings.loading import VARIABLE_PREFIX, load_settings
from core.settings.tree import Settings
from core.storage import atomic_file
from flows.errors import UnsafeGuess
from validation.profile.draft import line_number
from validation.profile.profiling import Profile, profile_source
from validation.profile.report import short_report
from validation.profile.settings import is_edited, sealed, settings_text

_SAID = ("columns", "files", "date_formats", "queries", "url")


def settle_or_resolve(
    file: Path | None, source: str | None, data: str | None, overrides: Sequence[str], show: Callable[[str], None]
) -> Settings:
    """The settings that a command line gives; for data that come without any, those that can be guessed.

    Args:
        file: `--settings`; the others as `resolve_settings` has them.
        show: Called with each line of what was guessed.
    Raises:
        SettingsError: a name is unknown, or a value is wrong.
        UnsafeGuess, SourceError: as `settle` has them.
    """
    if not data or not is_unsettled(source, data, file, overrides):
        return resolve_settings(file, source, data, overrides, os.environ)
    path = Path(data).resolve()
    shop = free_shop_name(path, _without_source(overrides, os.environ).work_dir)
    return settle(path, shop, overrides, os.environ, show)


def is_unsettled(source: str | None, data: str | None, settings: Path | None, overrides: Sequence[str]) -> bool:
    """Whether how to read the data has to be guessed: nothing says what its columns are."""
    if not data or settings is not None:
        return False
    said = {
        name.removeprefix(VARIABLE_PREFIX).lower().replace("__", "."): value
        for name, value in os.environ.items()
        if name.startswith(VARIABLE_PREFIX)
    }
    said |= {"recipe.source.kind": source} if source else {}
    said |= {name: value for name, _, value in (override.partition("=") for override in overrides)}
    is_known = any(name.startswith(f"recipe.source.{one}") for name in said for one in _SAID)
    return (
        "recipe.source" not in said and said.get("recipe.source.kind", "tables").strip('"') == "tables" and not is_known
    )


def settle(
    data: Path, shop: str, overrides: Sequence[str], variables: Mapping[str, str], show: Callable[[str], None]
) -> Settings:
    """The settings for data that came without any.

    Args:
        shop: The shop's name, unless the overrides or the variables give another.
        show: Called with each line of what was guessed.
    Raises:
        UnsafeGuess: something has to be answered first, in the file that the error names.
        SourceError: there is nothing that can be read.
    """
    profile = profile_source(data)
    if profile.kind == "tables" and profile.draft.is_plain:
        plain = [f"shop={shop}", "recipe.source.kind=tables", f"recipe.source.path={data}"]
        return load_settings(None, variables, [*plain, *overrides])
    place = _without_source([f"shop={shop}", *overrides], variables)
    file = Layout(place.work_dir, place.shop).guessed
    text = settings_text(profile, place.shop)
    for line in short_report(profile):
        show(line)
    if _is_answer(file, data):
        show(f"taken from {file}, which was edited; delete it to have everything guessed again")
    else:
        with atomic_file(file) as temporary:
            temporary.write_text(sealed(text), encoding="utf-8")
        again = "" if profile.draft.questions else f'; the same run again: make run ARGS="--settings {file}"'
        show(f"written to {file}{again}")
    _require_answers(profile, file, overrides)
    return load_settings(file, variables, overrides)


def _without_source(overrides: Sequence[str], variables: Mapping[str, str]) -> Settings:
    """The settings but for those of the source, which may be incomplete as yet."""
    elsewhere = [override for override in overrides if not override.startswith("recipe.source")]
    aside = {
        name: value for name, value in variables.items() if not name.startswith(f"{VARIABLE_PREFIX}RECIPE__SOURCE")
    }
    return load_settings(None, aside, elsewhere)


def _is_answer(file: Path, data: Path) -> bool:
    """Whether somebody edited what was guessed of these very data."""
    if not file.exists():
        return False
    text = file.read_text(encoding="utf-8")
    return is_edited(text) and str(data) in text


def _require_answers(profile: Profile, file: Path, overrides: Sequence[str]) -> None:
    """Stop where a question of the profile is answered neither in the file nor on the command line."""
    text = file.read_text(encoding="utf-8")
    try:
        tree = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return  # loading the settings says what is wrong with the file
    unanswered = profile.draft.open_questions(tree, overrides)
    if unanswered:
        first = unanswered[0]
        more = f"; {len(unanswered) - 1} more in this file" if len(unanswered) > 1 else ""
        raise UnsafeGuess(
            "Cannot guess how to read the data",
            got=first.text.rstrip(".") + more,
            expected="an answer",
            where=f"{file}:{line_number(text, first)}",
            do="Answer there, or correct the data, and run the same command again",
        )
