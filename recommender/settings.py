"""One frozen tree of settings, read once at the edge: a TOML file, then SOMMELIER_ variables, then `--set a.b=c`.

A `Recipe` is what decides a bundle (data, models, gate); it goes into the bundle, and serving reads the model's from
there.
`Settings` adds where things run. Every Prefect deployment takes a `Recipe`, so its docstrings are the form's help.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import Field, StringConstraints, ValidationError

from recommender.errors import SettingsError
from recommender.model_settings import (
    AugmentationSettings,
    BlendSettings,
    EncoderSettings,
    GenerativeSettings,
    ModalitySettings,
    NeighbourSettings,
    Scorer,
    ScorerSettings,
    SequenceSettings,
    SmallWriterSettings,
    Writer,
)
from recommender.schema import EVENTS
from recommender.settings_form import Frozen, Share, say_any_of
from recommender.source_settings import SimulatedSource, Source
from recommender.tuning.search_settings import SearchSettings
from recommender.validation_settings import ValidationSettings

VARIABLE_PREFIX = "SOMMELIER_"

Port = Annotated[int, Field(ge=1, le=65535)]
ShopName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$")]


EventKind = Literal["impression", "view", "click", "cart", "purchase", "rating"]


class SeenSettings(Frozen):
    """Which items a user has seen: they do not come back in recommendations, however many they are.

    The same rule masks in serving and in evaluation, and says what counts as new to a user in a test window.
    """

    events: tuple[EventKind, ...] = Field(
        (),
        description="Kinds of events that make an item seen, such as ['purchase', 'rating']; empty: all that count, "
        "which are those that ignored_events does not name (so not impressions, unless they are named here).",
    )
    within_days: float | None = Field(
        None, gt=0, description="An item is seen for so many days after the user's newest such event; empty: for ever."
    )


class FeatureSettings(Frozen):
    """From clean tables to model inputs."""

    windows_days: tuple[int, ...] = Field((1, 7, 30), description="Windows of an item's popularity, whole days.")
    n_affinities: int = Field(3, ge=0, le=20, description="Categories and brands that a user's profile names.")
    max_history: int = Field(50, ge=2, le=1000, description="Entries of a user's history that models see.")
    max_item_chars: int = Field(400, ge=50, description="Characters of an item's text.")
    ignored_events: tuple[str, ...] = Field(("impression",), description="Events that say nothing of the user's taste.")
    seen: SeenSettings = Field(default_factory=SeenSettings)

    @property
    def seen_events(self) -> tuple[str, ...]:
        """The kinds of events that make an item seen."""
        return self.seen.events or tuple(kind for kind in EVENTS if kind not in self.ignored_events)


# Fitted for the comparison alone; popularity, the untrained text encoder and the bundle's own parts are always judged.
BaselineName = Literal["popularity_recent", "item_knn", "als", "bm25", "sasrec"]
# Those of the judged that can serve in a candidate's place, in the order of the evaluation's table.
BaselineKind = Literal["popularity", "popularity_recent", "item_knn", "text_encoder"]
BASELINE_KINDS: tuple[BaselineKind, ...] = get_args(BaselineKind)


class EvaluationSettings(Frozen):
    """The global time split: one cut-off for everyone, no training event after it."""

    validation_share: float = Field(0.1, gt=0, lt=0.5, description="Share of events in the validation window.")
    test_share: float = Field(0.1, gt=0, lt=0.5, description="Share of events in the test window, the newest.")
    k: int = Field(10, ge=1, le=1000, description="Length of the judged list.")
    baselines: tuple[BaselineName, ...] = Field(
        ("popularity_recent", "item_knn", "bm25"),
        description="What a bundle is judged beside. als and sasrec take longer: they train.",
    )

    def windows(self) -> EvaluationSettings:
        """What decides the training set: the windows alone, so that judging otherwise trains nothing anew."""
        return EvaluationSettings(validation_share=self.validation_share, test_share=self.test_share)


class GateSettings(Frozen):
    """When a candidate replaces the bundle in service; both are judged on the same test events."""

    metric: Literal["ndcg", "recall", "hit_rate", "mrr", "map", "precision"] = Field("ndcg", description="At k.")
    tolerance: float = Field(0.0, ge=0, le=1, description="Share by which a candidate may be worse and still replace.")
    beat_champion: Literal["not_worse", "not_surely_worse", "surely_better"] = Field(
        "not_worse",
        description="Than the bundle in service less the tolerance: by the figures, or as far as the 95 % interval of "
        "the difference over users says; surely_better takes the bundle in service without the tolerance.",
    )
    beat_baseline: Literal["not_surely_worse", "surely_better", "off"] = Field(
        "not_surely_worse",
        description="Than the best baseline that can serve, by the 95 % interval of the difference over users. A "
        "candidate that is refused for it leaves its place to that baseline, a bundle of its own.",
    )
    baseline_tolerance: Share = Field(
        0.05, description="Share by which a candidate may fall short of that baseline where the interval cannot tell."
    )


class DriftSettings(Frozen):
    """The back door: is the newest window still like the training window?"""

    method: Literal["psi", "wasserstein", "jensenshannon"] = Field("psi", description="Evidently's drift measure.")
    threshold: float = Field(0.2, gt=0, description="A column above it has drifted.")
    share: Share = Field(0.5, description="Share of drifted columns from which the data set has drifted.")


class Recipe(Frozen):
    """What decides a bundle."""

    source: Source = Field(default_factory=SimulatedSource, json_schema_extra=say_any_of)
    validation: ValidationSettings = Field(default_factory=ValidationSettings)
    features: FeatureSettings = Field(default_factory=FeatureSettings)
    encoder: EncoderSettings = Field(default_factory=EncoderSettings)
    modality: ModalitySettings = Field(default_factory=ModalitySettings)
    sequence: SequenceSettings = Field(default_factory=SequenceSettings)
    neighbours: NeighbourSettings = Field(default_factory=NeighbourSettings)
    blend: BlendSettings = Field(default_factory=BlendSettings)
    generative: GenerativeSettings = Field(default_factory=GenerativeSettings)
    scorer: Scorer = Field(default_factory=ScorerSettings, json_schema_extra=say_any_of)
    writer: Writer = Field(default_factory=SmallWriterSettings, json_schema_extra=say_any_of)
    augmentation: AugmentationSettings = Field(default_factory=AugmentationSettings)
    evaluation: EvaluationSettings = Field(default_factory=EvaluationSettings)
    gate: GateSettings = Field(default_factory=GateSettings)
    drift: DriftSettings = Field(default_factory=DriftSettings)
    seed: int = Field(7, ge=0, description="Seeds every generator of training.")


class FeatureStoreSettings(Frozen):
    """Where Feast keeps what it knows. The embedded default needs no server."""

    online: Literal["sqlite", "redis"] = "sqlite"
    offline: Literal["duckdb", "postgres"] = "duckdb"
    registry: Literal["file", "postgres"] = "file"
    redis: str = Field("127.0.0.1:6379", description="host:port[,db=n][,password=${NAME}] of Redis.")
    postgres: str = Field(
        "postgresql://127.0.0.1:5432/postgres", description="The database of PostgreSQL; ${NAME} from the environment."
    )


class ServingSettings(Frozen):
    """The service."""

    poll_s: float = Field(1.0, gt=0, description="How often the watcher looks for a newly promoted bundle, seconds.")
    timeout_s: float = Field(10.0, gt=0, description="A request that takes longer is answered 504.")
    max_body_bytes: int = Field(1_000_000, ge=1000, description="A larger request body is answered 413.")
    max_k: int = Field(100, ge=1, le=1000, description="Largest k of a request.")
    threads: int = Field(4, ge=1)


class PlatformSettings(Frozen):
    """Where the parts listen; all of them on the same host."""

    host: str = "127.0.0.1"
    prefect_port: Port = 4200
    service_port: Port = 3000
    monitoring_port: Port = 8000
    reports_port: Port = 8010


class Settings(Frozen):
    """The whole tree."""

    shop: ShopName = Field("simulated", description="Names the shop: its data, features and bundles are kept apart.")
    work_dir: Path = Field(Path(".sommelier"), description="Everything that runs write lies below it.")
    recipe: Recipe = Field(default_factory=Recipe)
    feature_store: FeatureStoreSettings = Field(default_factory=FeatureStoreSettings)
    serving: ServingSettings = Field(default_factory=ServingSettings)
    search: SearchSettings = Field(default_factory=SearchSettings)
    platform: PlatformSettings = Field(default_factory=PlatformSettings)


def load_settings(
    file: Path | None = None, variables: Mapping[str, str] | None = None, overrides: Sequence[str] = ()
) -> Settings:
    """Resolve the settings: `file`, then `variables`, then `overrides`; later ones win.

    Args:
        file: TOML, shaped as `Settings`.
        variables: The environment; `SOMMELIER_RECIPE__SOURCE__N_USERS=50` sets `recipe.source.n_users`.
        overrides: `a.b=value` each, where value is JSON or else a plain string.
    Raises:
        SettingsError: a name is unknown, a value is of the wrong type or out of range, or the file cannot be read.
    """
    tree: dict[str, Any] = {}
    if file is not None:
        try:
            tree = tomllib.loads(file.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise SettingsError(
                "Cannot read settings", got=f"file={file}", expected=f"readable TOML, but {error}", do="Mend the file"
            ) from error
    for name, value in sorted((variables or {}).items()):
        if name.startswith(VARIABLE_PREFIX):
            _set(tree, name.removeprefix(VARIABLE_PREFIX).lower().split("__"), value)
    for override in overrides:
        dotted, equals, value = override.partition("=")
        if not equals:
            raise SettingsError("Cannot read settings", got=f"--set {override}", expected="a.b=value", do="Add a value")
        _set(tree, dotted.split("."), value)
    return parse_settings(tree)


def parse_settings(tree: Mapping[str, Any]) -> Settings:
    """Check a tree of plain values against `Settings`.

    Raises:
        SettingsError: names the first offending setting.
    """
    try:
        return Settings.model_validate(tree)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        raise SettingsError(
            "Cannot read settings",
            got=f"{name}={first.get('input')!r}",
            expected=first["msg"].removeprefix("Value error, "),
            do="See every setting: sommelier settings",
        ) from error


def _set(tree: dict[str, Any], path: Sequence[str], text: str) -> None:
    """Put `text`, read as JSON where it is JSON, at `path`."""
    node = tree
    for part in path[:-1]:
        node = node.setdefault(part, {})
        if not isinstance(node, dict):
            raise SettingsError(
                "Cannot read settings",
                got=".".join(path),
                expected=f"{part} to be a group of settings",
                do="Check the name",
            )
    try:
        node[path[-1]] = json.loads(text)
    except json.JSONDecodeError:
        node[path[-1]] = text
