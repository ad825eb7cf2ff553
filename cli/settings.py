"""Settings: draft them from data, see what they come to."""

from __future__ import annotations

import os
from pathlib import Path

from cli.options import NOT_CHOSEN, Chosen
from cli.output import show, show_aside


def profile(path: Path, /, *, out: Path | None = None, shop: str | None = None, force: bool = False) -> None:
    """Look at a folder, a file or a database, and draft the settings for it.

    Args:
        path: The data.
        out: The settings file to write; NAME.toml here where it is not given.
        shop: The shop's name; that of the data where it is not given.
        force: Overwrite a settings file that says something else.
    """
    from core.settings.command_line import free_shop_name
    from core.settings.loading import load_settings
    from validation.profile.profiling import profile_source
    from validation.profile.report import full_report
    from validation.profile.settings import settings_text, write_settings

    found = profile_source(path)
    name = shop or free_shop_name(path.resolve(), load_settings(variables=os.environ).work_dir)
    for line in full_report(found):
        show(line)
    file = out or Path(f"{name}.toml")
    write_settings(settings_text(found, name), file, force=force)
    answer = "answer its questions, " if found.draft.questions else ""
    show(f'written to {file}; {answer}then: make run ARGS="--settings {file}"')


def print_settings(*, chosen: Chosen = NOT_CHOSEN) -> None:
    """Print the resolved settings as JSON."""
    print(chosen.settle(show_aside).model_dump_json(indent=2))
