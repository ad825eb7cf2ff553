"""The parameters of the deployments: one pydantic model each, which Prefect's form shows with its help."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from core.schema import TableName
from core.settings.form import Frozen
from core.settings.search import SearchSettings
from core.settings.tree import Recipe, ShopName


class PipelineParams(Frozen):
    """Which shop, by which recipe."""

    shop: ShopName = Field("simulated", description="Names the shop: data, features and bundles are kept apart by it.")
    recipe: Recipe = Field(default_factory=Recipe, description="Source, models, evaluation, gate and drift.")
    refresh: bool = Field(False, description="Do every step again, even where its result is kept.")


class TuneParams(Frozen):
    """Which shop, which settings to search, and for how long."""

    shop: ShopName = Field("simulated", description="Names the shop.")
    recipe: Recipe = Field(
        default_factory=Recipe, description="The recipe as given: the first trial, and what the others change."
    )
    search: SearchSettings = Field(default_factory=SearchSettings, description="Method, budget and space.")


class RollbackParams(Frozen):
    """Which shop, back to which bundle."""

    shop: ShopName = Field("simulated", description="Names the shop.")
    version: str = Field("", description="The version to put back in service; empty: as many steps back as said below.")
    steps: int = Field(1, ge=1, description="How many good bundles to go back; those that were withdrawn do not count.")
    reason: str = Field("", max_length=500, description="Kept with the bundle, for whoever looks later.")


class ReadmitParams(Frozen):
    """Which quarantined rows to let in again."""

    shop: ShopName = Field("simulated", description="Names the shop.")
    recipe: Recipe = Field(
        default_factory=Recipe, description="Its source and its rules, corrected where they were wrong."
    )
    corrections: Path | None = Field(
        None,
        description="A file that `sommelier quarantine export` wrote and somebody corrected; empty: rows as they are.",
    )
    table: TableName | None = Field(None, description="Only rows of this table; empty: of all.")
    rules: tuple[str, ...] = Field((), description="Only rows that broke one of these rules; empty: any.")


class ForgetParams(Frozen):
    """Who is to be forgotten in which shop."""

    shop: ShopName = Field("simulated", description="Names the shop.")
    recipe: Recipe = Field(
        default_factory=Recipe, description="By which a bundle is trained in place of one that learned from the person."
    )
    user: str = Field(
        "",
        description="The shop's id of the user. It is taken out of the run's parameters as soon as the run begins. "
        "Empty: finish what earlier runs left to do.",
    )
