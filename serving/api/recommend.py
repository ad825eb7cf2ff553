"""POST /v1/recommend: the request and its answer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import ConfigDict, Field, PrivateAttr, model_validator

from core.ids import time_ordered_id
from core.settings.reranking import MAX_POOL, RerankKind, Similarity
from serving.api.message import MAX_IDS, Degraded, DescribedUserRequest, Id, Message, SkippedHistory, UnknownItems
from serving.api.options import (
    MAX_DRAWN,
    MAX_EXPLORED,
    AppliedExploration,
    AppliedRule,
    Context,
    Exploration,
    ListOptions,
    SeenRule,
)

if TYPE_CHECKING:
    from recommender.inputs.user import UserState

AnsweringPart = Literal["sequence", "neighbours", "item_knn", "text", "popularity", "profile", "generative"]


class Diversity(Message):
    """How this list is re-ranked, in place of the bundle's recipe.rerank; what is left out is as set there."""

    kind: RerankKind | None = Field(
        None,
        description="mmr: each next item is unlike the items before it. calibration: categories in the proportions of "
        "the user's history (without a history, of all users' events). none: neither of them.",
    )
    strength: float | None = Field(
        None, ge=0, le=1, description="Of kind: 0 keeps the model's order, 1 looks at nothing but variety."
    )
    similarity: Similarity | None = Field(
        None, description="Of mmr: text is the similarity of the items' texts, category is 1 within a category, or 0."
    )
    pool: int | None = Field(
        None, ge=1, le=MAX_POOL, description="The list is made of so many of the model's best items, at least k."
    )
    item_floor: float | None = Field(
        None, ge=0, le=1, description="Share of the list, at least, for under-exposed items, those with few events."
    )
    provider_floor: float | None = Field(
        None, ge=0, le=1, description="Share of the list, at least, for items of under-exposed brands."
    )


class RecommendUser(DescribedUserRequest):
    """One of several users."""

    visitor_id: Id | None = Field(
        None,
        description="A pseudonym of a visitor without a user id, such as a session's: an experiment shows the same "
        "visitor the same variant, and the prediction log keeps it. It says nothing of what they like.",
    )
    context: Context | None = Field(None, description="The moment that the list is made for.")


class RecommendRequest(ListOptions, RecommendUser):
    """The best items for a known user, for the history of a visitor, or for nobody in particular; or for many users."""

    model_config = ConfigDict(json_schema_extra={"example": {"user_id": "u0001", "k": 5}})

    users: Annotated[list[RecommendUser], Field(min_length=1, max_length=MAX_IDS)] | None = Field(
        None,
        description="Users to answer, each with a list of its own, in this order; at most the service's setting "
        "serving.max_users. In place of user_id, history, about, visitor_id and context beside it. The other "
        "fields hold for each.",
    )
    by: Literal["blend", "generative"] = Field(
        "blend",
        description="What ranks the items: the blend of models, or generative retrieval, which generates the items' "
        "semantic ids code by code.",
    )
    variant: Id | None = Field(
        None,
        description="Answer by this variant, whoever the list is for: `champion`, the bundle in service, or another "
        "name of `loaded` in `GET /v1/experiments`. The list is a preview. Needs a key of scope `admin`, where keys "
        "are needed.",
    )
    diversity: Diversity | None = Field(
        None,
        description="Re-rank the list: more varied, calibrated to the user's history, or with places for items and "
        "brands that are rarely shown.",
    )
    seen: SeenRule | None = Field(
        None, description="What counts as seen, by kind of event and by age, in place of the bundle's recipe."
    )
    exploration: Exploration | None = Field(None, description="Show other items now and then, with propensities.")

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.users is not None:
            for name in ("user_id", "history", "about", "visitor_id", "context"):
                if getattr(self, name):
                    raise ValueError(f"users and {name} are both given, expected what each user needs within it")
        if self.seen is not None and not self.exclude_seen:
            raise ValueError("seen is given and exclude_seen=false, expected exclude_seen=true")
        if self.exploration is not None and self.exploration.kind == "thompson":
            n_users = 1 if self.users is None else len(self.users)
            if self.k > MAX_EXPLORED or self.k * n_users > MAX_DRAWN:
                raise ValueError(
                    f"exploration.kind=thompson with k={self.k} for {n_users} users, expected k <= {MAX_EXPLORED} and "
                    f"at most {MAX_DRAWN} places in all"
                )
        return self

    @property
    def is_preview(self) -> bool:
        """Whether the list is looked at, and shown to no customer."""
        return self.preview or self.variant is not None

    def each(self) -> Iterator[RecommendRequest]:
        """One request per user; the seed of exploration is one more for each next one."""
        if self.users is None:
            yield self
        for number, user in enumerate(self.users or ()):
            exploration = self.exploration
            if exploration is not None and exploration.seed is not None:
                exploration = exploration.model_copy(update={"seed": (exploration.seed + number) % 2**31})
            yield self.model_copy(update={**_of_user(user), "users": None, "exploration": exploration})


class Recommendation(Message):
    """One recommended item, with what a page needs to show it."""

    item_id: str
    label: str = Field(description="The item's title, or the beginning of its text if it has no title.")
    score: float = Field(
        description="The model's own. Higher is better. Scores are comparable within one answer only; a list that is "
        "re-ranked, explored, or moved by rules is not in their order."
    )
    category: str | None = None
    brand: str | None = None
    price: float | None = None
    part: AnsweringPart = Field(
        description="The model that contributed most to this item: sequence (the user's history), neighbours and "
        "item_knn (items that go together), text (similar text), popularity (of all time or of late), profile (similar "
        "users, for a user without a history), or generative (generative retrieval, if requested)."
    )
    because: list[str] = Field(
        description="The items of the user's history that are most similar to this one. Empty at a cold start, and "
        "where popularity ranks."
    )
    matches: list[Literal["category", "brand"]] = Field(
        description="Attributes that this item shares with an item in `because`."
    )
    propensity: float | None = Field(
        None,
        description="With exploration: the probability that this item was shown at this place, given the items above "
        "it; 1 for a pinned item. null without exploration.",
    )


class AppliedDiversity(Message):
    """How the list was re-ranked."""

    kind: RerankKind
    strength: float = Field(description="Of kind; 0 if kind is none.")
    item_floor: float
    provider_floor: float
    n_changed: int = Field(description="How many of the items the model's own list does not contain.")
    floors_met: bool = Field(
        description="Whether the list has as many under-exposed items, and items of under-exposed brands, as the "
        "floors ask for; false if too few are left after exclusions and filters."
    )


class _MadeFor:
    """Whom a list was made for; no part of what is answered, so answers are alike whoever made them."""

    __slots__ = ("user",)

    def __init__(self, user: UserState | None = None) -> None:
        self.user = user

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _MadeFor)

    __hash__ = None  # type: ignore[assignment]


class Recommendations(Message):
    """The recommended items, best first."""

    _made_for: _MadeFor = PrivateAttr(default_factory=_MadeFor)

    recommendation_id: str = Field(
        default_factory=time_ordered_id,
        description="Of this answer; an event on one of its items may name it. Ids sort by time (UUID version 7).",
    )
    model: str = Field(description="The bundle that answered, as name:version.")
    user_id: str | None
    cold_start: bool = Field(
        description="True if there is no history to use. The answer is then what is popular, and what similar users "
        "choose if attributes of the user are known."
    )
    reason: str | None = Field(description="Why this is a cold start; null if it is not.")
    items: list[Recommendation]
    diversity: AppliedDiversity | None = Field(
        None, description="How the list was re-ranked; null if it is the model's own."
    )
    skipped_history: SkippedHistory = Field([])
    applied: list[AppliedRule] = Field([], description="What each pin, boost and bury of the request did.")
    exploration: AppliedExploration | None = Field(None, description="How the list was explored; null if it was not.")
    unknown_items: UnknownItems = Field([])
    degraded: Degraded = Field([])

    def made_for(self, user: UserState) -> Self:
        """This answer, which knows whom it was made for."""
        self._made_for.user = user
        return self

    @property
    def user(self) -> UserState | None:
        """As the list was made; None of an answer that came from elsewhere."""
        return self._made_for.user


class RecommendationsList(Message):
    """The answers for many users, in the order of the request."""

    model: str = Field(description="The bundle that answered, as name:version.")
    answers: list[Recommendations]


def _of_user(user: RecommendUser) -> dict[str, Any]:
    return {name: getattr(user, name) for name in RecommendUser.model_fields}
