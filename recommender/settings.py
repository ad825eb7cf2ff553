"""One frozen tree of settings, read once at the edge: a TOML file, then SOMMELIER_ variables, then `--set a.b=c`.

A `Recipe` is what decides a bundle (data, models, gate); it goes into the bundle, and serving reads the model's from
there.
`Settings` adds where things run. Every Prefect deployment takes a `Recipe`, so its docstrings are the form's help.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, StringConstraints, Tag, ValidationError

from recommender.errors import SettingsError
from recommender.schema import TableName

VARIABLE_PREFIX = "SOMMELIER_"

EventName = Literal["view", "click", "cart", "purchase", "rating"]
Severity = Literal["row", "table", "warn"]
PersonalData = Literal["email", "phone", "card", "address"]
BlendKind = Literal["auto", "none", "mean", "weighted", "gate"]
Share = Annotated[float, Field(ge=0, le=1)]
Port = Annotated[int, Field(ge=1, le=65535)]
ShopName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$")]


class Frozen(BaseModel):
    """A settings model: immutable, and an unknown name is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class SimulatedSource(Frozen):
    """A shop that the project simulates: tastes, catalogue texts, sessions, ratings, reviews, some dirty rows."""

    kind: Literal["simulated"] = "simulated"
    n_users: int = Field(1500, ge=20, le=1_000_000, description="Users of the shop.")
    n_items: int = Field(400, ge=20, le=1_000_000, description="Items of the catalogue.")
    n_days: int = Field(365, ge=30, le=3650, description="Days of history.")
    dirty_share: Share = Field(0.01, description="Share of rows that are broken on purpose.")
    drift: Literal["none", "taste", "catalogue"] = Field(
        "none", description="What changes in the newest tenth of the time: nothing, the users' tastes, the catalogue."
    )
    seed: int = Field(11, description="Seed of the simulation; the same seed gives the same shop.")


class Amazon2014Source(Frozen):
    """Reviews in the format of the Amazon 2014 release: JSON lines, gzip or not."""

    kind: Literal["amazon-2014"] = "amazon-2014"
    path: Path = Field(description="A reviews file, or a folder that holds one (and perhaps a meta_ file).")


class Amazon2023Source(Frozen):
    """Reviews in the format of the Amazon 2023 release: JSON lines with millisecond times, gzip or not."""

    kind: Literal["amazon-2023"] = "amazon-2023"
    path: Path = Field(description="A reviews file, or a folder that holds one (and perhaps a meta_ file).")


class RecboleSource(Frozen):
    """RecBole's atomic files: tab-separated .inter, .user and .item with typed headers, gzip or not."""

    kind: Literal["recbole"] = "recbole"
    path: Path = Field(description="The folder of the atomic files.")


class TablesSource(Frozen):
    """A folder of Parquet, CSV or JSON-lines files named as the contract's tables, or mapped to them here."""

    kind: Literal["tables"] = "tables"
    path: Path = Field(description="The folder.")
    files: dict[TableName, str] = Field(
        default_factory=dict,
        description="Table to file name, where the file is not named as the table. Two tables may share a file.",
    )
    columns: dict[TableName, dict[str, str]] = Field(
        default_factory=dict, description="Table to {contract column: the file's column}, where the names differ."
    )
    default_event: EventName = Field("purchase", description="The event of interactions that name none.")
    date_formats: tuple[str, ...] = Field(
        (),
        description="Forms of dates, as strptime writes them, tried in order where a date is neither ISO 8601 nor a "
        "number: ['%m/%d/%Y %H:%M', '%m-%d-%Y %H:%M'].",
    )
    encoding: str = Field("utf-8", description="The text files' encoding, by Python's name for it.")
    delimiter: str = Field("", max_length=1, description="Of .csv files; empty: a comma.")


class SqlSource(Frozen):
    """Tables of a database, one query each, streamed as Arrow by the database's ADBC driver."""

    kind: Literal["sql"] = "sql"
    url: str = Field(
        description="postgresql://user@host/database, or sqlite:///file. ${NAME} is replaced from the environment, so "
        "that no password has to stand here."
    )
    queries: dict[TableName, str] = Field(
        min_length=1, description="Table to the query that gives it, with the contract's column names (AS …)."
    )
    default_event: EventName = Field("purchase", description="The event of interactions that name none.")
    date_formats: tuple[str, ...] = Field((), description="As in `tables`, for columns that hold dates as text.")


def _kind_or(default: str) -> Discriminator:
    """Choose a variant by its `kind`; where none is given, by `default`."""

    def kind_of(value: Any) -> str:
        return str(value.get("kind", default) if isinstance(value, Mapping) else getattr(value, "kind", default))

    return Discriminator(kind_of)


def _say_any_of(schema: dict[str, Any]) -> None:
    """Prefect's form draws anyOf as a choice, and does not know oneOf."""
    schema["anyOf"] = schema.pop("oneOf", schema.get("anyOf", []))


Source = Annotated[
    Annotated[SimulatedSource, Tag("simulated")]
    | Annotated[Amazon2014Source, Tag("amazon-2014")]
    | Annotated[Amazon2023Source, Tag("amazon-2023")]
    | Annotated[RecboleSource, Tag("recbole")]
    | Annotated[TablesSource, Tag("tables")]
    | Annotated[SqlSource, Tag("sql")],
    _kind_or("simulated"),
]
SOURCE_KINDS = ("simulated", "amazon-2014", "amazon-2023", "recbole", "tables", "sql")


class OwnRule(Frozen):
    """A rule of the shop's own, beside those of the contract."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]{0,60}$", description="Stands in quarantine, summary and Data Docs.")
    table: TableName
    severity: Severity = Field(
        "row", description="row: quarantine the rows that break it. table: stop the flow. warn: only count."
    )
    check: Literal["not_null", "unique", "between", "in_set", "matches", "length", "sql"] = Field(
        description="between and length use minimum and maximum; in_set uses values; matches uses pattern; sql uses "
        "expression."
    )
    column: str = Field("", description="A column of the contract; not needed by sql.")
    minimum: float | None = None
    maximum: float | None = None
    values: tuple[str, ...] = ()
    pattern: str = Field("", description="A regular expression that the whole value has to match.")
    expression: str = Field("", description="DuckDB's SQL over the contract's columns, true where the row is good.")
    max_share: Share = Field(0.0, description="For table and warn: the share of rows that may break it.")
    why: str = Field("", description="One sentence for the Data Docs.")


class ShareRules(Frozen):
    """Rules on a table as a whole."""

    severity: Literal["warn", "table"] = Field("warn", description="warn: report. table: stop the flow.")
    max_age_days: float | None = Field(None, gt=0, description="The newest event may be at most so old; empty: any.")
    max_volume_drop: Share = Field(0.5, description="Share of rows that may be missing against the run before.")
    max_volume_growth: float = Field(10.0, gt=0, description="How many times the rows of the run before there may be.")
    max_unknown_items: Share = Field(0.05, description="Share of events on items that the catalogue does not have.")
    max_unknown_users: Share = Field(0.05, description="Share of events of users that the source does not have.")


class MissingValues(Frozen):
    """What to do where a column is empty."""

    table: TableName
    column: str
    how: Literal["drop", "value", "mean", "median", "mode", "interpolate"] = Field(
        description="drop: quarantine the row. interpolate: linear in time between the neighbours of the same item "
        "(or user), for numbers of interactions and feedback."
    )
    value: str = Field("", description="What to fill in, for how=value.")


class Outliers(Frozen):
    """What to do with numbers far from the rest."""

    table: TableName
    column: str
    method: Literal["iqr", "z_score"] = "iqr"
    factor: float = Field(
        3.0, gt=0, description="Fences at so many interquartile ranges, or so many standard deviations."
    )
    action: Literal["quarantine", "clip", "empty", "warn"] = "quarantine"


class CleaningSettings(Frozen):
    """What is mended, and what is sorted out, before the rules are held against the rows."""

    mend_text: bool = Field(True, description="HTML entities, broken encodings and control characters in texts.")
    mask_pii: tuple[PersonalData, ...] = Field(
        ("email", "phone", "card", "address"),
        description="Personal data in reviews, replaced by marks such as <EMAIL>.",
    )
    phone_regions: tuple[str, ...] = Field(
        ("US", "GB", "IN"), description="Whose phone numbers are known without a country code."
    )
    repeated_within_s: float = Field(
        0.0, ge=0, description="The same event of a user on an item within so many seconds is a near duplicate; 0: off."
    )
    similar_texts: Share = Field(
        0.0,
        description="A review at least so similar (Jaccard of word pairs) to an earlier one of another user or item is "
        "a near duplicate; 0: off.",
    )
    missing: tuple[MissingValues, ...] = ()
    outliers: tuple[Outliers, ...] = ()
    rating_scale: tuple[float, float] | None = Field(
        None, description="Lowest and highest rating of the source, mapped to 1 and 5; empty: it is 1 to 5 already."
    )
    decimal_comma: bool = Field(False, description="Prices are written 1.299,00.")
    max_events_per_day: int = Field(0, ge=0, description="Users with more events on one day are bots; 0: off.")
    burst_events: int = Field(0, ge=0, description="Users with so many events within burst_s are bots; 0: off.")
    burst_s: float = Field(60.0, gt=0)
    bots: Literal["quarantine", "warn"] = Field("quarantine", description="What to do with all events of a bot.")
    min_user_events: int = Field(0, ge=0, description="Of a k-core: users with fewer clean events are left out.")
    min_item_events: int = Field(0, ge=0, description="Of a k-core: items with fewer clean events are left out.")


class ValidationSettings(Frozen):
    """The front door."""

    max_quarantined_share: Share = Field(0.2, description="A table with a larger share of bad rows stops the flow.")
    min_interactions: int = Field(100, ge=1, description="Fewer interactions than this stop the flow.")
    min_text_chars: int = Field(0, ge=0, description="A shorter review is counted as a warning.")
    max_text_chars: int = Field(20_000, ge=100, description="A longer text is a bad row.")
    min_letters_share: Share = Field(0.3, description="A review with fewer letters than this is counted as a warning.")
    earliest: date = Field(date(1995, 1, 1), description="No event can be older; the first web shops.")
    shares: ShareRules = Field(default_factory=ShareRules)
    rules: tuple[OwnRule, ...] = Field((), description="The shop's own rules.")
    cleaning: CleaningSettings = Field(default_factory=CleaningSettings)


class FeatureSettings(Frozen):
    """From clean tables to model inputs."""

    windows_days: tuple[int, ...] = Field((1, 7, 30), description="Windows of an item's popularity, whole days.")
    n_affinities: int = Field(3, ge=0, le=20, description="Categories and brands that a user's profile names.")
    max_history: int = Field(50, ge=2, le=1000, description="Entries of a user's history that models see.")
    max_item_chars: int = Field(400, ge=50, description="Characters of an item's text.")
    ignored_events: tuple[str, ...] = Field(("impression",), description="Events that say nothing of the user's taste.")


class EncoderSettings(Frozen):
    """The text encoder."""

    model: str = Field("minilm", description="'minilm' (comes as a package), or a Hugging Face name or path.")
    max_tokens: int = Field(64, ge=8, le=512, description="Tokens of a text that are read.")
    batch_size: int = Field(32, ge=1)
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto", description="auto: bfloat16 where the CPU has it."
    )


class SequenceSettings(Frozen):
    """The sequence model: a causal transformer over item vectors (learned id + projected whitened text)."""

    width: int = Field(64, ge=8, le=1024)
    n_blocks: int = Field(1, ge=1, le=8)
    n_heads: int = Field(2, ge=1, le=16)
    dropout: float = Field(0.4, ge=0, lt=1)
    id_dropout: float = Field(0.2, ge=0, lt=1, description="Share of id vectors dropped in training: the cold path.")
    use_ids: bool = Field(True, description="Learn a vector per item.")
    use_text: bool = Field(True, description="Project the item's whitened text vector.")
    n_negatives: int = Field(256, ge=0, description="Uniform negatives per batch; 0 is the full softmax.")
    learning_rate: float = Field(1e-3, gt=0)
    batch_size: int = Field(128, ge=1)
    max_epochs: int = Field(60, ge=1, le=1000)
    patience: int = Field(5, ge=1, description="Epochs without a better validation NDCG before training stops.")


class NeighbourSettings(Frozen):
    """The neighbourhood model: item-to-item weights in closed form."""

    n_neighbours: int = Field(100, ge=1, le=10_000, description="Weights kept of each item, the strongest ones.")
    regularisation: float = Field(50.0, gt=0, description="The larger, the more common co-occurrence has to be.")
    recency: float = Field(0.7, gt=0, le=1, description="How much an earlier entry of a history counts of the next.")
    max_items: int = Field(20_000, ge=1, description="Only so many of the most frequent items are learned.")


class BlendSettings(Frozen):
    """How the sequence model and the neighbourhood model rank together."""

    kind: BlendKind = Field(
        "auto",
        description="none: the sequence model alone. mean: both alike. weighted: one weight. gate: a weight by the "
        "length of the history. auto: whichever ranks best on the validation window.",
    )


class ScorerSettings(Frozen):
    """The pair scorer, light form: a small network over text vectors and counts gives P(like) and the rating."""

    hidden: int = Field(64, ge=4)
    dropout: float = Field(0.4, ge=0, lt=1)
    learning_rate: float = Field(3e-4, gt=0)
    weight_decay: float = Field(0.1, ge=0)
    batch_size: int = Field(256, ge=1)
    max_epochs: int = Field(30, ge=1)
    patience: int = Field(5, ge=1)
    like_from: float = Field(4.0, ge=1, le=5, description="A rating of at least this is a like.")


class SmallWriterSettings(Frozen):
    """A small causal language model with a tokenizer of its own, trained on the shop's reviews from scratch."""

    kind: Literal["small"] = "small"
    vocabulary: int = Field(4000, ge=300, le=60_000)
    width: int = Field(192, ge=16)
    n_layers: int = Field(3, ge=1)
    n_heads: int = Field(3, ge=1)
    max_tokens: int = Field(160, ge=32, le=1024, description="Tokens of prompt and review together.")
    batch_size: int = Field(16, ge=1)
    learning_rate: float = Field(3e-3, gt=0)
    max_epochs: int = Field(4, ge=1)
    max_steps: int = Field(2000, ge=1, description="Steps at most; fewer where validation shows no more gain.")


class HuggingFaceWriterSettings(Frozen):
    """Any Hugging Face causal language model by name or path, fine-tuned on the shop's reviews."""

    kind: Literal["huggingface"] = "huggingface"
    model: str = Field(description="Name or path.")
    max_tokens: int = Field(128, ge=32, le=4096)
    batch_size: int = Field(8, ge=1)
    learning_rate: float = Field(5e-5, gt=0)
    max_epochs: int = Field(1, ge=1)
    max_steps: int = Field(200, ge=1)


Writer = Annotated[
    Annotated[SmallWriterSettings, Tag("small")] | Annotated[HuggingFaceWriterSettings, Tag("huggingface")],
    _kind_or("small"),
]


class AugmentationSettings(Frozen):
    """Training data made more varied; evaluation data never is. All off by default."""

    crop: Share = Field(0.0, description="Share of training sequences cut to a stretch of them, each epoch anew.")
    mask: Share = Field(0.0, description="Share of training sequences from which items are left out.")
    reorder: Share = Field(0.0, description="Share of training sequences of which a stretch is shuffled.")
    strength: float = Field(0.3, gt=0, le=0.8, description="Share of a sequence's items that such a change touches.")
    perturb_words: Share = Field(0.0, description="Share of words of the writer's prompts that are perturbed.")
    cold_oversampling: float = Field(1.0, ge=1, le=20, description="How many times cold items are seen in an epoch.")
    cold_below: int = Field(5, ge=1, description="An item with fewer training events is cold.")


class EvaluationSettings(Frozen):
    """The global time split: one cut-off for everyone, no training event after it."""

    validation_share: float = Field(0.1, gt=0, lt=0.5, description="Share of events in the validation window.")
    test_share: float = Field(0.1, gt=0, lt=0.5, description="Share of events in the test window, the newest.")
    k: int = Field(10, ge=1, le=1000, description="Length of the judged list.")


class GateSettings(Frozen):
    """When a candidate replaces the bundle in service; both are judged on the same test events."""

    metric: Literal["ndcg", "recall", "hit_rate", "mrr", "map", "precision"] = Field("ndcg", description="At k.")
    tolerance: float = Field(0.0, ge=0, le=1, description="Share by which a candidate may be worse and still replace.")
    beat_popularity: bool = Field(True, description="A candidate below popularity never replaces.")


class DriftSettings(Frozen):
    """The back door: is the newest window still like the training window?"""

    method: Literal["psi", "wasserstein", "jensenshannon"] = Field("psi", description="Evidently's drift measure.")
    threshold: float = Field(0.2, gt=0, description="A column above it has drifted.")
    share: Share = Field(0.5, description="Share of drifted columns from which the data set has drifted.")


class Recipe(Frozen):
    """What decides a bundle."""

    source: Source = Field(default_factory=SimulatedSource, json_schema_extra=_say_any_of)
    validation: ValidationSettings = Field(default_factory=ValidationSettings)
    features: FeatureSettings = Field(default_factory=FeatureSettings)
    encoder: EncoderSettings = Field(default_factory=EncoderSettings)
    sequence: SequenceSettings = Field(default_factory=SequenceSettings)
    neighbours: NeighbourSettings = Field(default_factory=NeighbourSettings)
    blend: BlendSettings = Field(default_factory=BlendSettings)
    scorer: ScorerSettings = Field(default_factory=ScorerSettings)
    writer: Writer = Field(default_factory=SmallWriterSettings, json_schema_extra=_say_any_of)
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
            expected=first["msg"],
            do="See recommender/settings.py for every setting, or run: sommelier settings",
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
