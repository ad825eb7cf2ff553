"""One flow run: its shop and recipe, where its files lie, where its pages are shown."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from core.layout import Layout
from core.settings.features import FeatureStoreSettings
from core.settings.platform import PlatformSettings
from core.settings.tree import Recipe
from flows.environment import current_settings
from flows.params import PipelineParams


@dataclass(frozen=True)
class Run:
    """What the steps of one flow run share.

    Attributes:
        recipe: Every step says which of its settings it reads.
        refresh: Whether steps are done again whose results are kept.
    """

    recipe: Recipe
    layout: Layout
    platform: PlatformSettings
    stores: FeatureStoreSettings
    refresh: bool = False

    @classmethod
    def of(cls, params: PipelineParams) -> Run:
        """The run of a shop below this process's work folder."""
        settings = current_settings()
        layout = Layout(settings.work_dir, params.shop)
        return cls(params.recipe, layout, settings.platform, settings.feature_store, params.refresh)

    def with_recipe(self, recipe: Recipe) -> Run:
        """The same run by another recipe."""
        return replace(self, recipe=recipe)

    def page_url(self, page: Path) -> str:
        """Where one of the shop's report pages is shown."""
        below = page.relative_to(self.layout.reports)
        return f"{self.platform.url_of('reports')}/{below.as_posix()}"

    @property
    def monitoring_url(self) -> str:
        """Evidently's own UI."""
        return self.platform.url_of("monitoring")
