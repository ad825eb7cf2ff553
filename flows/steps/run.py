"""One flow run: its shop and recipe, where its files lie, where its pages are shown."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from core.layout import Layout
from core.settings.features import FeatureStoreSettings
from core.settings.platform import PlatformSettings
from core.settings.tree import Recipe
from core.storage import together
from core.tombstones import read_tombstones
from flows.environment import current_settings
from flows.errors import DataChanged
from flows.params import PipelineParams


@dataclass(frozen=True)
class Run:
    """What the steps of one flow run share.

    Attributes:
        recipe: Every step says which of its settings it reads.
        refresh: Whether steps are done again whose results are kept.
        is_refit: Whether its steps fit again what was judged: the table of steps says so behind their names.
        generation: Of the record of who is forgotten, at the run's begin: the data that the run reads are without them.
    """

    recipe: Recipe
    layout: Layout
    platform: PlatformSettings
    stores: FeatureStoreSettings
    refresh: bool = False
    is_refit: bool = False
    generation: int = 0

    @classmethod
    def of(cls, params: PipelineParams) -> Run:
        """The run of a shop below this process's work folder."""
        settings = current_settings()
        layout = Layout(settings.work_dir, params.shop)
        generation = read_tombstones(layout.forgotten).generation
        stores = settings.feature_store
        return cls(params.recipe, layout, settings.platform, stores, params.refresh, generation=generation)

    def for_refit(self) -> Run:
        """The same run, fitting again what was judged."""
        return replace(self, is_refit=True)

    def with_recipe(self, recipe: Recipe) -> Run:
        """The same run by another recipe."""
        return replace(self, recipe=recipe)

    @property
    def device(self) -> str:
        """Where models compute in this run, "cpu" or "cuda".

        Raises:
            SettingsError: the settings want a GPU, and there is none.
        """
        from recommender.fitting.device import resolve_device

        return resolve_device(self.platform.device)

    @contextmanager
    def holding_data(self) -> Iterator[None]:
        """Read and write the shop's data while nobody removes a person from them.

        Raises:
            DataChanged: somebody was forgotten, or is back, since the run began: what it read is not to be used.
        """
        with together(self.layout.data_lock):
            now = read_tombstones(self.layout.forgotten).generation
            if now != self.generation:
                raise DataChanged(
                    "The run does not go on",
                    got=f"forgotten={now} changes",
                    expected=f"{self.generation}, as when the run began: somebody was forgotten since, or is back",
                    where=str(self.layout.forgotten),
                    do="Run the flow again: it reads the data without them",
                )
            yield

    def page_url(self, page: Path) -> str:
        """Where one of the shop's report pages is shown."""
        below = page.relative_to(self.layout.reports)
        return f"{self.platform.link_to('reports')}/{below.as_posix()}"

    @property
    def monitoring_url(self) -> str:
        """Evidently's own UI."""
        return self.platform.link_to("monitoring")
