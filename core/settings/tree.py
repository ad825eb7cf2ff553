"""One frozen tree of settings, read once at the edge: a TOML file, then SOMMELIER_ variables, then `--set a.b=c`.

A `Recipe` is what decides a bundle (data, models, gate); it goes into the bundle, and serving reads the model's from
there.
`Settings` adds where things run. Every Prefect deployment takes a `Recipe`, so its docstrings are the form's help.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, Field, WithJsonSchema, model_validator

from core.errors import SettingsError
from core.settings.evaluation import EvaluationSettings, GateSettings, RefitSettings, WarmStartSettings
from core.settings.features import FeatureSettings, FeatureStoreSettings
from core.settings.form import Frozen, say_any_of
from core.settings.loop import LoopSettings
from core.settings.models import (
    AugmentationSettings,
    BlendSettings,
    EncoderSettings,
    GenerativeSettings,
    ItemKnnSettings,
    ModalitySettings,
    NeighbourSettings,
    ReasonSettings,
    Scorer,
    ScorerSettings,
    SequenceSettings,
    SmallWriterSettings,
    Writer,
)
from core.settings.monitoring import DriftSettings
from core.settings.passwords import IN_ITS_PLACE, find_password
from core.settings.platform import LogSettings, PartName, PlatformSettings, ServingSettings, TracingSettings
from core.settings.reranking import RerankSettings
from core.settings.search import SearchSettings
from core.settings.source import SimulatedSource, Source
from core.settings.validation import ValidationSettings

# The model store takes names of 63 characters, that begin and end so; `Layout.model_name` takes ten of them.
MAX_SHOP_CHARS = 53
_SHOP_PATTERN = rf"^[a-z0-9]([a-z0-9._-]{{0,{MAX_SHOP_CHARS - 2}}}[a-z0-9])?$"


def _check_shop_name(name: str) -> str:
    if not re.fullmatch(_SHOP_PATTERN, name):
        raise ValueError(
            f"1 to {MAX_SHOP_CHARS} lower-case letters, digits, dots, dashes or underscores, "
            "the first and the last one a letter or a digit"
        )
    return name


ShopName = Annotated[
    str, AfterValidator(_check_shop_name), WithJsonSchema({"type": "string", "pattern": _SHOP_PATTERN})
]


class Recipe(Frozen):
    """What decides a bundle."""

    source: Source = Field(default_factory=SimulatedSource, json_schema_extra=say_any_of)
    validation: ValidationSettings = Field(default_factory=ValidationSettings)
    features: FeatureSettings = Field(default_factory=FeatureSettings)
    encoder: EncoderSettings = Field(default_factory=EncoderSettings)
    modality: ModalitySettings = Field(default_factory=ModalitySettings)
    sequence: SequenceSettings = Field(default_factory=SequenceSettings)
    neighbours: NeighbourSettings = Field(default_factory=NeighbourSettings)
    item_knn: ItemKnnSettings = Field(default_factory=ItemKnnSettings)
    blend: BlendSettings = Field(default_factory=BlendSettings)
    generative: GenerativeSettings = Field(default_factory=GenerativeSettings)
    rerank: RerankSettings = Field(default_factory=RerankSettings)
    scorer: Scorer = Field(default_factory=ScorerSettings, json_schema_extra=say_any_of)
    writer: Writer = Field(default_factory=SmallWriterSettings, json_schema_extra=say_any_of)
    reasons: ReasonSettings = Field(default_factory=ReasonSettings)
    augmentation: AugmentationSettings = Field(default_factory=AugmentationSettings)
    evaluation: EvaluationSettings = Field(default_factory=EvaluationSettings)
    gate: GateSettings = Field(default_factory=GateSettings)
    refit: RefitSettings = Field(default_factory=RefitSettings)
    warm_start: WarmStartSettings = Field(default_factory=WarmStartSettings)
    drift: DriftSettings = Field(default_factory=DriftSettings)
    seed: int = Field(7, ge=0, description="Seeds every generator of training.")

    @model_validator(mode="before")
    @classmethod
    def _without_password(cls, given: Any) -> Any:
        """Recipes go into runs, reports and bundles: a password in a query or a path would too."""
        if found := find_password(given):
            raise ValueError(f"{IN_ITS_PLACE}; not {'='.join(found)}")
        return given

    @model_validator(mode="after")
    def _modality_is_read(self) -> Recipe:
        light = self.scorer if isinstance(self.scorer, ScorerSettings) else self.scorer.light
        generative = self.generative.enabled and self.generative.use_modality
        if self.modality.path is not None and not (self.sequence.use_modality or generative or light.use_modality):
            raise ValueError(
                "recipe.modality.path is given and no model reads it: switch use_modality on, of sequence, "
                "generative or scorer"
            )
        return self


class Settings(Frozen):
    """The whole tree."""

    shop: ShopName = Field("simulated", description="Names the shop: its data, features and bundles are kept apart.")
    work_dir: Path = Field(Path(".sommelier"), description="Everything that runs write lies below it.")
    recipe: Recipe = Field(default_factory=Recipe)
    feature_store: FeatureStoreSettings = Field(default_factory=FeatureStoreSettings)
    serving: ServingSettings = Field(default_factory=ServingSettings)
    search: SearchSettings = Field(default_factory=SearchSettings)
    loop: LoopSettings = Field(default_factory=LoopSettings)
    platform: PlatformSettings = Field(default_factory=PlatformSettings)
    logs: LogSettings = Field(default_factory=LogSettings)

    @property
    def needs_keys(self) -> bool:
        """Whether every request of the service needs an API key, by the address that it listens on."""
        return self.needs_keys_at("service")

    def needs_keys_at(self, part: PartName) -> bool:
        """Whether every request of a part that has keys needs one, by the address that it listens on."""
        wanted = self.serving.require_keys
        return wanted == "always" or (wanted == "auto" and not self.platform.is_local(part))

    @property
    def is_open_to_all(self) -> bool:
        """Whether it is said outright that whoever reaches the service and the reports may do everything."""
        return self.serving.require_keys == "never" and self.serving.open_to_all

    @property
    def service_tracing(self) -> TracingSettings:
        """Where the service sends its spans, and how many: as its own settings say, else as the platform's."""
        own, shared = self.serving.tracing, self.platform.tracing
        share = shared.share if own.share is None else own.share
        return TracingSettings(endpoint=own.endpoint or shared.endpoint, share=share)

    def check_exposure(self, parts: Sequence[PartName] = ("service",)) -> None:
        """Refuse to open a part to others without keys, unless that is said outright.

        Args:
            parts: That are to be started.
        Raises:
            SettingsError: one would listen beyond this machine and answer everybody.
        """
        where, serving = self.platform, self.serving
        exposed = [part for part in parts if not where.is_local(part)]
        if bare := [part for part in exposed if not where.has_keys(part) and part not in where.guarded]:
            guarded = json.dumps([*where.guarded, *bare])
            raise SettingsError(
                f"Cannot start {' and '.join(bare)}",
                got=", ".join(f"host={where.host_of(part)}" for part in bare),
                expected="127.0.0.1 of what has no API keys: whoever reaches it may use it",
                do=f"Set {' and '.join(f'platform.{part}_host=127.0.0.1' for part in bare)}; or, where something in "
                f"front lets in only whom it should, say so: --set 'platform.guarded={guarded}'",
            )
        keyed = [part for part in exposed if where.has_keys(part)]
        if keyed and serving.require_keys == "never" and not serving.open_to_all:
            raise SettingsError(
                f"Cannot start the {' and the '.join(keyed)}",
                got=f"serving.require_keys=never on host {where.host_of(keyed[0])}",
                expected="API keys where others than this machine reach it",
                do="Leave serving.require_keys=auto and make keys: sommelier keys create; or say outright that whoever "
                "reaches it may do everything: serving.open_to_all=true",
            )
