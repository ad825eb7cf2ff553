"""Settings of the evaluation and of the gate that it feeds."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from core.settings.form import Frozen, Share

# Fitted for the comparison alone; popularity, the untrained text encoder and the bundle's own parts always take part.
BaselineName = Literal["popularity_recent", "item_knn", "als", "bm25", "sasrec"]
# Those rankers that can serve in a candidate's place, in the order of the evaluation's table.
BaselineKind = Literal["popularity", "popularity_recent", "item_knn", "text_encoder"]
BASELINE_KINDS: tuple[BaselineKind, ...] = get_args(BaselineKind)


def _no_number(value: Any) -> Any:
    if isinstance(value, int | float) or (isinstance(value, str) and value.strip().replace(".", "", 1).isdecimal()):
        raise ValueError(f"a date, such as 2026-05-01, or a duration, such as 14d or PT6H; not {value}")
    return value


def _aware_or_positive(value: timedelta | datetime) -> timedelta | datetime:
    if isinstance(value, timedelta):
        if value <= timedelta(0):
            raise ValueError("a duration above zero")
        return value
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


WindowStart = Annotated[timedelta | datetime, BeforeValidator(_no_number), AfterValidator(_aware_or_positive)]
"""Where a window opens: a moment (UTC where it names no zone), or how long before the window closes."""


class EvaluationSettings(Frozen):
    """The global time split: one cut-off for everyone, no training event after it."""

    validation_share: float = Field(
        0.1,
        gt=0,
        lt=0.5,
        description="Share of events in the validation window. In shares, a user with more than ten times the median "
        "user's events counts as one with ten times as many.",
    )
    test_share: float = Field(
        0.1, gt=0, lt=0.5, description="Share of events in the test window, the newest, counted in the same way."
    )
    validation_from: WindowStart | None = Field(
        None,
        description="In the place of validation_share: a date (2026-05-01), or for how long before the test window "
        "(14d, PT6H).",
    )
    test_from: WindowStart | None = Field(
        None,
        description="In the place of test_share: a date (2026-05-29), or for how long up to the newest event (14d, "
        "PT6H).",
    )
    k: int = Field(10, ge=1, le=1000, description="Length of the evaluated list.")
    baselines: tuple[BaselineName, ...] = Field(
        ("popularity_recent", "item_knn", "bm25"),
        description="What a bundle is compared with. als and sasrec take longer: they train.",
    )


class RefitSettings(Frozen):
    """What is promoted: the bundle as it was judged, or fitted again on everything up to now with its choices held."""

    enabled: bool = Field(
        True,
        description="Fit again on everything before a promotion: epochs, weights and settings as they were chosen on "
        "validation. false promotes the judged bundle, which knows nothing of the validation and the test window.",
    )


class WarmStartSettings(Frozen):
    """How `fine-tune` learns: from the weights of the bundle in service, what is new since; `pipeline` never does."""

    enabled: bool = Field(
        True, description="Start from the weights in service where they fit. false: every fit starts from nothing."
    )
    replay_share: float = Field(
        0.5,
        ge=0,
        lt=1,
        description="Share of an epoch's examples that are older than what is new, drawn anew for each epoch, so that "
        "what was learned before is not forgotten.",
    )
    max_chain: int = Field(
        10, ge=1, description="After so many warm starts in a row, each from the one before, fit from nothing."
    )


# The rules of `undecided` by the names that they had before: recipes and bundles of then are read as they were.
_UNDECIDED_BEFORE = {"not_worse": "figures", "not_surely_worse": "promote", "surely_better": "keep"}


class SegmentSettings(Frozen):
    """Into which segments the comparison with the bundle in service is parted."""

    light_until: int = Field(
        5, ge=1, description="Up to so many items of a history a user is light, with more heavy, with none cold."
    )
    attributes: tuple[str, ...] = Field(
        ("country",), description="Columns of the users table; one that users do not have makes no segments."
    )
    categories: int = Field(
        5, ge=0, le=50, description="So many categories of wanted items, those that most users wanted something of."
    )
    min_queries: int = Field(30, ge=2, description="Segments of fewer users are not looked at.")


class GuardrailSettings(Frozen):
    """What refuses a candidate that holds its own against the bundle in service. Each is switched off by null.

    They bind where a bundle is in service. A share is of that bundle's figure, unless it says otherwise.
    """

    segment_loss: Share | None = Field(
        0.05,
        description="By which a segment may lose. Only what is beyond noise counts, corrected for how many segments "
        "are looked at.",
    )
    gap_growth: Share | None = Field(
        0.1,
        description="By which the gap between the best and the worst segment of a grouping may grow, as a share of the "
        "overall figure. Only what is beyond noise counts.",
    )
    coverage_loss: Share | None = Field(
        0.5, description="By which the number of different items may fall that are shown to the same users."
    )
    latency_growth: float | None = Field(
        1.0, ge=0, description="By which an answer may take longer, measured side by side; 1 is twice as long."
    )
    latency_slack_ms: float = Field(5.0, ge=0, description="An answer may always take so much longer, milliseconds.")
    groundedness_loss: Share | None = Field(
        0.1,
        description="By which the share of the writer's statements that a review or the item's text supports may fall, "
        "in points. Only what is beyond noise counts.",
    )
    click_loss: Share | None = Field(
        0.05,
        description="By which clicks per list may fall, as the lists that explored say (off_policy). Only what is "
        "beyond noise by both estimators counts; where too few lists explored, nothing does.",
    )


class OffPolicySettings(Frozen):
    """What users clicked on lists that explored, asked of a candidate and of the bundle in service.

    Nothing is asked where no list explored since both learned.
    """

    enabled: bool = Field(True, description="Ask. The guardrail click_loss reads what is found.")
    places: int = Field(
        1, ge=1, le=20, description="Clicks on so many of a list's first places count; more take far more lists."
    )
    lists: int = Field(20_000, ge=100, description="At most so many lists are asked about, a seeded sample.")
    time_s: float = Field(
        120.0, gt=0, description="No further lists are asked about after so long; the decision says so. Seconds."
    )
    events: int = Field(
        4_000_000,
        ge=1,
        description="Where the clean tables have more events, nobody is asked, and the decision says so: to read who "
        "users were takes half a gigabyte of memory for a million. They count twice where the features of the two "
        "bundles differ.",
    )
    min_effective: int = Field(
        100, ge=2, description="Of a smaller effective sample size, of either bundle, nothing is decided."
    )


class GateSettings(Frozen):
    """When a candidate replaces the bundle in service; both are evaluated on test events that neither learned from.

    One that is surely better, by the paired 95 % interval over users, replaces it; one that is surely worse does not.
    """

    metric: Literal["ndcg", "recall", "hit_rate", "mrr", "map", "precision"] = Field("ndcg", description="At k.")
    tolerance: float = Field(0.0, ge=0, le=1, description="Share by which a candidate may be worse and still replace.")
    min_queries: int = Field(
        50,
        ge=1,
        description="Users who chose something that neither bundle learned from. With fewer of them the interval says "
        "nothing, and undecided settles it.",
    )
    undecided: Literal["promote", "keep", "figures"] = Field(
        "promote",
        description="Where the interval cannot tell a candidate from the bundle in service, or too few users chose "
        "what neither learned from. promote: the candidate, for it knows newer events and has held its own against the "
        "baselines (a baseline in its place only by a better figure); keep: what is in service; figures: whichever has "
        "the better figure, the tolerance allowed for, and the candidate where there is none.",
    )
    beat_baseline: Literal["not_surely_worse", "surely_better", "off"] = Field(
        "not_surely_worse",
        description="Than the best baseline that can serve, by the 95 % interval of the difference over users. A "
        "candidate that is refused for it leaves its place to that baseline, a bundle of its own.",
    )
    baseline_tolerance: Share = Field(
        0.05, description="Share by which a candidate may fall short of that baseline where the interval is undecided."
    )
    segments: SegmentSettings = Field(
        default_factory=SegmentSettings, description="Whose losses are looked for, beside the overall figure."
    )
    guardrails: GuardrailSettings = Field(
        default_factory=GuardrailSettings, description="What must not get worse for a better overall figure."
    )
    off_policy: OffPolicySettings = Field(
        default_factory=OffPolicySettings, description="Clicks on lists that explored, as further evidence."
    )
    rollout: Literal["promote", "canary_undecided", "canary"] = Field(
        "promote",
        description="What becomes of a candidate that passes. promote: it goes into service; canary: it answers some "
        "users beside what is in service; canary_undecided: that only where it is not surely better. The first bundle "
        "of a shop is promoted.",
    )
    approval: Literal["none", "required"] = Field(
        "none",
        description="required: what passes waits until somebody approves it, in the Prefect UI or by "
        "`sommelier approve`, before it replaces the bundle in service or answers some users. What is not compared "
        "with a bundle in service, as the first one of a shop, needs no approval.",
    )
    approval_h: float = Field(48.0, gt=0, description="It waits so long; then the bundle in service stays. Hours.")

    @model_validator(mode="before")
    @classmethod
    def _read_former_name(cls, values: Any) -> Any:
        if not isinstance(values, dict) or "beat_champion" not in values:
            return values
        rest = {name: value for name, value in values.items() if name != "beat_champion"}
        return {"undecided": _UNDECIDED_BEFORE.get(values["beat_champion"], values["beat_champion"]), **rest}
