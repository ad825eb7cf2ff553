"""The parameters of the deployments: one pydantic model each, which Prefect's form shows with its help."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from core.schema import TableName
from core.settings.form import Frozen
from core.settings.search import SearchSettings
from core.settings.tree import Recipe, ShopName
from recommender.inputs.texts import Strategy, WritingTask


class PipelineParams(Frozen):
    """Which shop, by which recipe."""

    shop: ShopName = Field("simulated", description="Names the shop: data, features and bundles are kept apart by it.")
    recipe: Recipe = Field(default_factory=Recipe, description="Source, models, evaluation, gate and drift.")
    refresh: bool = Field(False, description="Do every step again, even where its result is kept.")
    decision: int = Field(
        0,
        ge=0,
        description="Number of the decision on the time line that this run follows from; 0: by hand or by schedule.",
    )


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


class CanaryParams(Frozen):
    """Of which shop the canary is followed."""

    shop: ShopName = Field("simulated", description="Names the shop.")


class AudienceParams(Frozen):
    """For whom to write texts of their best items, and what."""

    shop: ShopName = Field("simulated", description="Names the shop.")
    users: tuple[str, ...] = Field((), description="Ids of users; empty, and without a file: those who come below.")
    users_file: Path | None = Field(None, description="A text file of further ids, one a line.")
    segment: str = Field(
        "", description="attribute=value of the users table: users with events who have it; empty: all with events."
    )
    n_users: int = Field(
        1000, ge=1, description="How many of a segment or of all at most, those first who were active last."
    )
    k: int = Field(1, ge=1, le=100, description="Items for each user, the best of the bundle in service.")
    kind: WritingTask = Field("reason", description="reason: why the item suits. review: what the user would write.")
    max_words: int | None = Field(None, ge=1, le=200, description="A text ends within so many words.")
    decoding: Strategy = Field("nucleus", description="How a review's words are found: nucleus, greedy or beam.")
    seed: int = Field(0, ge=0, lt=2**31, description="Equal seeds give equal texts.")
    users_per_part: int = Field(50, ge=1, description="Users whose texts share a file.")
    refresh: bool = Field(False, description="Write again what is written already.")


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
