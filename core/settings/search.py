"""Settings of the hyper-parameter search: the method, its budget, and the space that it searches."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, field_validator, model_validator

from core.settings.form import Frozen

SearchMethod = Literal["bayes", "random", "grid"]
Value = bool | int | float | str


class Range(Frozen):
    """Numbers from `low` to `high`, both included."""

    low: int | float
    high: int | float
    log: bool = Field(False, description="Search evenly on a logarithmic scale.")
    step: int | float | None = Field(None, gt=0, description="Only low, low + step, and so on.")

    @model_validator(mode="after")
    def _is_a_range(self) -> Range:
        if self.low >= self.high:
            raise ValueError(f"low={self.low} should be less than high={self.high}")
        if self.log and (self.low <= 0 or self.step is not None):
            raise ValueError("a logarithmic range starts above 0 and has no step")
        return self


class Choices(Frozen):
    """One of these values."""

    choices: tuple[Value, ...] = Field(min_length=1)


def _kind_of(value: Any) -> str:
    is_choices = "choices" in value if isinstance(value, Mapping) else isinstance(value, Choices)
    return "choices" if is_choices else "range"


Dimension = Annotated[
    Annotated[Range, Tag("range")] | Annotated[Choices, Tag("choices")],
    Discriminator(_kind_of),
]

DEFAULT_SPACE: dict[str, Dimension] = {
    "sequence.learning_rate": Range(low=3e-4, high=3e-3, log=True),
    "sequence.dropout": Range(low=0.1, high=0.6),
    "neighbours.regularisation": Range(low=5.0, high=500.0, log=True),
    "neighbours.recency": Range(low=0.4, high=1.0),
}


class SearchSettings(Frozen):
    """How the recipe's settings are searched; a trial is evaluated on the validation window, never on the test's."""

    method: SearchMethod = Field(
        "bayes",
        description="bayes: a tree-structured Parzen estimator. random: evenly over the space. grid: every point once.",
    )
    n_trials: int = Field(20, ge=1, le=10_000, description="Trials in all; the first one is the recipe as given.")
    timeout_s: float | None = Field(None, gt=0, description="No trial starts after so many seconds of a run.")
    space: dict[str, Dimension] = Field(
        DEFAULT_SPACE,
        min_length=1,
        description="What is searched: a setting of the recipe (sequence.dropout) to {low, high, log, step} or "
        "{choices}; a list is short for choices.",
    )
    n_startup: int = Field(5, ge=1, description="Random trials before bayes follows what it has seen.")
    n_points: int = Field(3, ge=2, le=100, description="Points of a grid over a range that has no step.")
    n_seeds: int = Field(1, ge=1, le=20, description="Fits of each trial, under as many seeds; their mean counts.")
    n_confirming_seeds: int = Field(
        2, ge=0, le=20, description="Fresh seeds under which the best and the recipe as given are fitted at the end."
    )
    pruner: Literal["none", "median", "hyperband"] = Field(
        "none",
        description="median, hyperband: stop a trial whose epochs fall behind those before. They see the sequence "
        "model alone, so they may stop what would have blended well.",
    )

    @field_validator("space", mode="before")
    @classmethod
    def _flatten(cls, space: Any) -> Any:
        """`{"sequence": {"dropout": [0.2, 0.4]}}` is `{"sequence.dropout": {"choices": [0.2, 0.4]}}`."""
        return dict(_flat(space, "")) if isinstance(space, Mapping) else space


def _flat(node: Mapping[str, Any], prefix: str) -> list[tuple[str, Any]]:
    flat: list[tuple[str, Any]] = []
    for name, value in node.items():
        if isinstance(value, list | tuple):
            flat.append((prefix + name, {"choices": value}))
        elif isinstance(value, Mapping) and not value.keys() & {*Range.model_fields, *Choices.model_fields}:
            flat += _flat(value, f"{prefix}{name}.")
        else:
            flat.append((prefix + name, value))
    return flat
