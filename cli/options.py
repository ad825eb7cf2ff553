"""Options that commands share: which settings, and how the answer is printed."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

if TYPE_CHECKING:
    from core.settings.tree import Settings

AsJson = Annotated[bool, Parameter(name="--json", help="Print JSON in place of a table.")]


@Parameter(name="*", group="Settings")
@dataclass(frozen=True)
class Chosen:
    """Which settings a command runs with; later ones win.

    Attributes:
        settings: A TOML file, as `sommelier profile` writes it.
        source: Kind of source: simulated, tables, sql, amazon-2014, amazon-2023 or recbole.
        data: The source's file or folder; a shop that is not named is called after it.
        overrides: One setting, `a.b=value`; give it again for more.
    """

    settings: Path | None = None
    source: str | None = None
    data: str | None = None
    overrides: Annotated[list[str], Parameter(name="--set", json_list=False)] = field(default_factory=list)

    def resolve(self, *more: str) -> Settings:
        """The settings; those of `more` give way to `--set`."""
        from core.settings.command_line import resolve_settings

        return _logged(resolve_settings(self.settings, self.source, self.data, [*more, *self.overrides], os.environ))

    def settle(self, show: Callable[[str], None], *more: str) -> Settings:
        """The same; for data that come without any, those that can be guessed."""
        from flows.platform.own_data import settle_or_resolve

        return _logged(settle_or_resolve(self.settings, self.source, self.data, [*more, *self.overrides], show))

    def enter(self) -> Settings:
        """The settings, in an environment that finds the model store of their work folder."""
        from flows.environment import enter_environment

        settings = self.resolve()
        enter_environment(settings)
        return settings


def _logged(settings: Settings) -> Settings:
    """The same; from here on this process logs as they say."""
    if settings.logs.format == "json":
        from core.logs.lines import log_as_json

        log_as_json()
    return settings


NOT_CHOSEN = Chosen()
