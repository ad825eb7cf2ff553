"""What every request for a list of items may ask for: how many, which, where they stand, and how it was done."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import AwareDatetime, Field, StringConstraints, model_validator

from core.settings.features import EventKind
from serving.api.criteria import ItemCriteria, ItemMatch
from serving.api.message import Id, Ids, Message, no_items

MAX_RULES = 20
MAX_FACTOR = 10.0
MAX_EXPLORED = 100
MAX_DRAWN = 1000  # places of all lists of a request: a propensity is an integral over all candidates that are left
MAX_DAYS = 36_500
RuleKind = Literal["pin", "boost", "bury"]
RuleId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]{1,64}$")]
Factor = Annotated[float, Field(gt=1, le=MAX_FACTOR)]

_RULE_ID = Field(
    None,
    description="What the shop calls the rule: `applied`, the prediction log and lineage name it by this, or else by "
    "its number.",
)


class Pin(Message):
    """An item at a place of the list."""

    item_id: Id = Field(description="An unknown item is answered 404.")
    position: int = Field(ge=1, le=1000, description="1 is the first place. At most k.")
    even_if_seen: bool = Field(
        False, description="Show it although the user has seen it. The other filters hold for pinned items always."
    )
    id: RuleId | None = _RULE_ID


class Boost(ItemMatch):
    """Items that move up."""

    factor: Factor = Field(
        2.0, description="An item at place 10 of the ranking moves to place 5 by 2: its place is divided by it."
    )
    id: RuleId | None = _RULE_ID


class Bury(ItemMatch):
    """Items that move down."""

    factor: Factor = Field(
        2.0, description="An item at place 5 of the ranking moves to place 10 by 2: its place is multiplied by it."
    )
    id: RuleId | None = _RULE_ID


class ListOptions(ItemCriteria):
    """Which items a list may hold, and in which order."""

    preview: bool = Field(
        False,
        description="The list is looked at by those who run the shop: the prediction log says so, and neither figures "
        "of experiments nor monitoring count it as shown.",
    )
    k: int = Field(10, ge=1, description="How many items to return, at most the service's setting serving.max_k.")
    exclude_seen: bool = Field(
        True,
        description="Leave out every item that the user has seen. Which events make an item seen, and for how long, is "
        "set by recipe.features.seen in the bundle's recipe. The items of a visitor's history count as seen.",
    )
    exclude: Ids = no_items(
        "Item ids to leave out, for example out of stock or already shown. Unknown ids are ignored."
    )
    allow: Annotated[Ids, Field(min_length=1)] | None = Field(
        None, description="Only these items. Those that are not in the catalogue are listed in `unknown_items`."
    )
    pin: Annotated[list[Pin], Field(max_length=MAX_RULES)] = no_items(
        "Items at given places. One that the filters leave out is not shown, and `applied` says so."
    )
    boost: Annotated[list[Boost], Field(max_length=MAX_RULES)] = no_items(
        "Items that move up; the factors of several rules are multiplied, up to 10 in all."
    )
    bury: Annotated[list[Bury], Field(max_length=MAX_RULES)] = no_items(
        "Items that move down; the factors of several rules are multiplied, up to 10 in all."
    )

    @property
    def is_preview(self) -> bool:
        """Whether the list is looked at, and shown to no customer."""
        return self.preview

    @model_validator(mode="after")
    def _pins_apart(self) -> Self:
        if not self.pin:
            return self
        for what, values in (
            ("position", [pin.position for pin in self.pin]),
            ("item_id", [pin.item_id for pin in self.pin]),
        ):
            twice = next((value for place, value in enumerate(values) if value in values[:place]), None)
            if twice is not None:
                raise ValueError(f"pin.{what}={twice!r} is given twice, expected each once")
        if any(pin.position > self.k for pin in self.pin):
            last = max(pin.position for pin in self.pin)
            raise ValueError(f"pin.position={last}, expected at most k={self.k}")
        return self


class SeenRule(Message):
    """What counts as seen in this request, in place of the bundle's recipe.features.seen; of a known user alone."""

    within_days: float | None = Field(
        None, gt=0, le=MAX_DAYS, description="Only what the user has seen so many days ago or later."
    )
    at_least: EventKind | None = Field(
        None,
        description="Only items on which the user's strongest event is this kind or a stronger one (impression, view, "
        "click, cart, purchase, rating). Kinds are known of the items in the user's history, the newest "
        "recipe.features.max_history; older ones stay seen. The kind and the stronger ones have to be among those "
        "that make an item seen in the bundle's recipe.",
    )

    @model_validator(mode="after")
    def _something(self) -> Self:
        if self.within_days is None and self.at_least is None:
            raise ValueError("expected within_days or at_least")
        return self


class Context(Message):
    """The moment that a list is made for."""

    items: Ids = Field(
        [],
        description="Items of this session, oldest first. They follow the known history as its newest entries, count "
        "as seen, and are not stored. Unknown ones are listed in `skipped_history`.",
    )
    time: AwareDatetime | None = Field(
        None,
        description="The moment of the answer, now or later: recent popularity, ages and what counts as seen are as of "
        "then. ISO 8601 with a time zone. Now, if missing.",
    )


class Exploration(Message):
    """Shows items that the model does not place first now and then, each with the probability that it was shown."""

    kind: Literal["epsilon", "thompson"] = Field(
        description="epsilon: each place is given to any of the candidates with probability epsilon, else to the best "
        "one left. thompson: each place is given to the candidate that is best by a draw of their scores, which are "
        "surer for items with many events; it fills at most 100 places of a list, and 1000 of all lists of a request."
    )
    epsilon: float | None = Field(None, ge=0, le=1, description="Of epsilon; 0.1 if missing.")
    scale: float | None = Field(
        None,
        gt=0,
        le=10,
        description="Of thompson: the standard deviation of the draws for the median candidate, in standard deviations "
        "of the candidates' scores; 0.5 if missing.",
    )
    pool: int = Field(
        50, ge=1, le=MAX_EXPLORED, description="Candidates: so many of the list's best items, at least k."
    )
    seed: int | None = Field(
        None,
        ge=0,
        lt=2**31,
        description="The same seed gives the same list. Drawn at random if missing, as it has to be for what users "
        "see: off-policy estimates leave out lists of a seed that was named.",
    )

    @model_validator(mode="after")
    def _read_by_its_kind(self) -> Self:
        for name, kind in (("epsilon", "epsilon"), ("scale", "thompson")):
            if getattr(self, name) is not None and self.kind != kind:
                raise ValueError(f"{name} with kind={self.kind}, expected kind={kind}")
        return self


class MovedItem(Message):
    """What a rule did to an item."""

    item_id: str
    from_place: int | None = Field(
        description="Its place in the ranking before any rule, with the same filters; null below what was looked at."
    )
    to_place: int | None = Field(description="Its place in this list; null if it is not on it.")


class AppliedRule(Message):
    """What a rule did."""

    rule: RuleKind
    number: int = Field(description="Which of the request's rules of this kind, from 0.")
    id: str | None = Field(None, description="As the request names it.")
    n_matched: int = Field(description="Items of the catalogue that it matches and the filters let through.")
    items: list[MovedItem] = Field(
        description="Of those, the ones that this list holds, or would hold without any rule."
    )
    note: str | None = Field(None, description="Why a pinned item is not shown; null if it is.")


class AppliedExploration(Message):
    """How the list was explored."""

    kind: Literal["epsilon", "thompson"]
    epsilon: float | None
    scale: float | None
    n_candidates: int
    seed: int
    propensity: Literal["exact", "integrated"] = Field(
        description="How the items' propensities were found: exact, or by numerical integration over the draws, with "
        "an error below 0.001."
    )
