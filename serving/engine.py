"""Request to answer, without HTTP: one bundle, the online store, and what each request is answered.

An engine never changes: a new bundle comes in a new engine, and a request sees one engine from start to end.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from secrets import randbelow
from typing import Literal

from recommender.bundle.loading import Bundle
from recommender.explaining.explainer import Explainer
from recommender.inputs.seen import SeenItems
from recommender.inputs.texts import WritingTask
from recommender.inputs.user import UserState
from recommender.ranking.baseline_ranker import BaselineRanker
from recommender.ranking.ranker import Ranker
from recommender.reranking.reranker import Reranker
from recommender.retrieval.generative.ranker import GenerativeRanker
from recommender.scoring.input import ItemRatings
from recommender.writing.examples import WritingRequest
from serving.api.feedback import Feedback, FeedbackRequest
from serving.api.recommend import (
    AnsweringPart,
    Recommendation,
    Recommendations,
    RecommendationsList,
    RecommendRequest,
)
from serving.api.records import ItemRecord, UserRecord
from serving.api.score import Score, ScoreRequest, Scores
from serving.diversity import reranker_of
from serving.errors import BadRequest, CapabilityMissing
from serving.events.terms import EventTerms
from serving.lists.cards import ItemCards
from serving.lists.checks import check_k, check_known
from serving.lists.circumstances import visitor_of
from serving.lists.making import ListMaker, MadeItem, MadeList
from serving.lists.records import read_item, read_user
from serving.lists.rules import FixedScores
from serving.lists.selection import ItemSelection
from serving.lists.shop_lists import ShopLists
from serving.reasons import given_facts, reason_for
from serving.visitor import FeatureReader, Visitor, identify
from serving.writing.length import Length
from serving.writing.text import Text, Writer

N_REASONS = 3
MAX_USERS = 64
# The words of a larger catalogue are indexed when the first search comes: a start does not wait for them.
SEARCHED_AT_ONCE = 50_000
_MAX_SEED = 2**31


@dataclass(frozen=True)
class Draft:
    """A text to write, and the answer that it goes into.

    Attributes:
        answer: Without its text, unless that is known already.
        text: What to write; None where there is nothing to write any more.
    """

    answer: Feedback
    text: Text | None

    def finished(self, text: str) -> Feedback:
        """The answer, with its text."""
        return self.answer.model_copy(update={"text": text})


class Engine:
    """Answers with one bundle.

    Args:
        model: The bundle's name and version in the model store; goes into every answer.
        bundle: Loaded and checked.
        features: Reads the online store.
        max_k: The largest k that a request may ask for.
        max_users: For how many users a request may ask at once.
    """

    def __init__(
        self, *, model: str, bundle: Bundle, features: FeatureReader, max_k: int, max_users: int = MAX_USERS
    ) -> None:
        self.model = model
        self.bundle = bundle
        self.features = features
        self._max_k, self._max_users = max_k, max_users
        self._ids = bundle.catalogue.ids
        self._cards = ItemCards(bundle.catalogue)
        self._maker = ListMaker(self._ids, ItemSelection(bundle.catalogue, model), bundle.catalogue.n_events)
        self.lists = ShopLists(model, bundle, features, self._maker, self._cards, max_k)
        self._reranker = Reranker(bundle.ranker.vectors, bundle.manifest.recipe.rerank)

    @property
    def capabilities(self) -> dict[str, bool]:
        """What this bundle can answer."""
        return {
            "recommend": True,
            "recommend_generative": self.bundle.generative is not None,
            "score": self.bundle.scorer is not None,
            "feedback": self.bundle.writer is not None,
            "reasons": self.bundle.explainer is not None,
        }

    def recommend(self, request: RecommendRequest) -> Recommendations:
        """The k best items for a known user, for a visitor's history, or, with neither, for anybody; re-ranked where
        the recipe or the request says so.

        Fewer than k come back where fewer are left. An unknown user is answered as a cold start.

        Raises:
            BadRequest: k is larger than the service allows, or the re-ranking that is asked for contradicts itself.
            CapabilityMissing: generative retrieval is asked for, and the bundle has none; or the catalogue lacks what
                the re-ranking looks at.
        """
        self._check_k("recommend", request.k)
        self._check_known("recommend", "pin.item_id", [pin.item_id for pin in request.pin])
        visitor = visitor_of(request, self.features, self.bundle, self.model)
        ranker = self.bundle.ranker.for_one(visitor.state)
        made = self._list(request, visitor.state, ranker)
        ids = [item.item_id for item in made.items]
        parts: Sequence[AnsweringPart] = ["generative"] * len(ids)
        reason = visitor.reason
        if request.by == "blend":
            parts = ranker.parts_of(visitor.state, ids)
            if reason is not None and ranker.answered_by(visitor.state) == "profile":
                reason += "; answered by the user's attributes"
        return Recommendations(
            model=self.model,
            user_id=request.user_id,
            cold_start=visitor.is_cold,
            reason=reason,
            skipped_history=list(visitor.skipped),
            items=[self._show(visitor, item, part) for item, part in zip(made.items, parts, strict=True)],
            diversity=made.diversity,
            applied=made.applied,
            exploration=made.exploration,
            unknown_items=made.unknown,
        )

    def recommend_each(
        self, request: RecommendRequest, answer: Callable[[RecommendRequest], Recommendations] | None = None
    ) -> RecommendationsList:
        """The answer of `recommend` for each of many users, in their order.

        Args:
            request: Of many users.
            answer: Answers each of them, in place of `recommend`.
        Raises:
            BadRequest: more users than the service allows; or as `recommend`.
            CapabilityMissing, UnknownItem: as `recommend`.
        """
        n_users = len(request.users or ())
        if n_users > self._max_users:
            raise BadRequest(
                "Cannot recommend",
                got=f"users={n_users}",
                expected=f"at most serving.max_users={self._max_users}",
                do="Ask for fewer users at once",
            )
        answers = [(answer or self.recommend)(one) for one in request.each()]
        return RecommendationsList(model=self.model, answers=answers)

    def read_item(self, item_id: str) -> ItemRecord:
        """What is known of an item.

        Raises:
            UnknownItem: the catalogue does not have it.
        """
        return read_item(self.model, self.bundle, self.features, item_id)

    def read_user(self, user_id: str) -> UserRecord:
        """What is known of a user.

        Raises:
            UnknownUser: the online store does not know them.
        """
        return read_user(self.model, self.bundle, self.features, user_id)

    def score(self, request: ScoreRequest) -> Scores:
        """P(like) and rating of each item, in the order given.

        Raises:
            CapabilityMissing: the bundle has no scorer.
            UnknownItem: an item is not in the catalogue.
        """
        scorer = self.bundle.scorer
        if scorer is None:
            raise self._missing("score", "scorer", "ratings (interactions with a value of 1 to 5)")
        self._check_known("score", "item_ids", request.item_ids)
        visitor = identify(request, self.features, self.bundle)
        return Scores(
            model=self.model,
            user_id=request.user_id,
            cold_start=visitor.is_cold,
            reason=visitor.reason,
            skipped_history=list(visitor.skipped),
            items=[
                Score(**asdict(pair))
                for pair in scorer.score(visitor.state, request.item_ids, self._ratings_now(request.item_ids))
            ],
        )

    def feedback(self, request: FeedbackRequest) -> Feedback:
        """The review that the user would write of an item, or why the item suits them: written at once.

        Args:
            request: Of one text.
        Raises:
            CapabilityMissing: the bundle has no writer, or, for a reason, no explainer.
            UnknownItem: the item is not in the catalogue.
        """
        (draft,) = self.drafts(request)
        asked = draft.text
        if asked is None:
            return draft.answer
        writer = self.writer
        (text,) = writer.write([asked.asked], asked.seed, asked.decoding(writer.max_tokens))
        return draft.finished(asked.length.cut(text))

    def drafts(self, request: FeedbackRequest, max_pairs: int | None = None) -> list[Draft]:
        """What is to be written for each text that is asked for, in their order.

        Args:
            max_pairs: How many texts may be asked for; None for any number.
        Raises:
            BadRequest: more texts are asked for.
            CapabilityMissing: the bundle has no writer, or, for reasons, no explainer.
            UnknownItem: an item is not in the catalogue.
        """
        asked = list(request.each())
        if max_pairs is not None and len(asked) > max_pairs:
            raise BadRequest(
                "Cannot write feedback",
                got=f"pairs={len(asked)}",
                expected=f"at most serving.max_pairs={max_pairs}",
                do="Ask for fewer texts at once; for an audience run the deployment write-feedback",
            )
        doing = "give reasons" if request.kind == "reason" else "write feedback"
        field = "item_id" if request.pairs is None else "pairs.item_id"
        make = self._reason if request.kind == "reason" else self._draft
        self._require_part(request.kind)
        self._check_known(doing, field, [one.item_id for one in asked if one.item_id is not None])
        seed = randbelow(_MAX_SEED) if request.seed is None else request.seed
        return [make(one, one.item_id, seed) for one in asked if one.item_id is not None]

    def _require_part(self, kind: WritingTask) -> None:
        """See that the bundle has what a text of this kind comes from."""
        if kind == "reason":
            self._explainer()
        else:
            self.writer  # noqa: B018

    def _explainer(self) -> Explainer:
        if self.bundle.explainer is None:
            raise self._missing("give reasons", "explainer", "choices of users (purchases or ratings)")
        return self.bundle.explainer

    @property
    def writer(self) -> Writer:
        """What writes texts.

        Raises:
            CapabilityMissing: the bundle has none.
        """
        if self.bundle.writer is None:
            raise self._missing("write feedback", "writer", "review texts (the feedback table)")
        return self.bundle.writer

    def _draft(self, request: FeedbackRequest, item_id: str, seed: int) -> Draft:
        """The review that the user would write, but for its words."""
        visitor = identify(request, self.features, self.bundle)
        rating, source = self._rating_for(request.rating, item_id, visitor)
        asked = WritingRequest.of(rating, visitor.state, item_id, self.bundle.catalogue)
        answer = Feedback(
            model=self.model,
            user_id=request.user_id,
            item_id=item_id,
            kind=request.kind,
            text="",
            rating=rating,
            rating_source=source,
            seed=seed,
            skipped_history=list(visitor.skipped),
        )
        return Draft(answer, Text(asked, seed, Length.of(request.style, request.max_words), request.decoding))

    def _reason(self, request: FeedbackRequest, item_id: str, seed: int) -> Draft:
        """Why an item suits the user: known at once; a rating has no part in that."""
        visitor = identify(request, self.features, self.bundle)
        length = Length.of(request.style, request.max_words)
        reason = reason_for(self.bundle, self._explainer(), visitor.state, item_id, seed, length.words)
        text = length.cut(reason.text)
        answer = Feedback(
            model=self.model,
            user_id=request.user_id,
            item_id=item_id,
            kind="reason",
            text=text,
            rating=request.rating,
            rating_source="none" if request.rating is None else "given",
            seed=seed,
            facts=given_facts(reason, len(text)),
            grounded=reason.grounded,
            skipped_history=list(visitor.skipped),
        )
        return Draft(answer, None)

    def similar(self, item_id: str, k: int) -> list[tuple[str, float]]:
        """The k items that the model finds most similar to an item, most similar first, each with its similarity.

        It is the similarity by which an answer names the items of a history that an item is recommended for.

        Raises:
            BadRequest: k is out of range.
            UnknownItem: the item is not in the catalogue.
            CapabilityMissing: the bundle ranks by popularity, which compares no items.
        """
        self._check_k("find similar items", k)
        self._check_known("find similar items", "item_id", [item_id])
        return FixedScores(self._ids, self.lists.likeness(item_id)).top_k([UserState()], k)[0]

    @cached_property
    def event_terms(self) -> EventTerms:
        """The shop's names of events and its scale of ratings."""
        return EventTerms.of(self.bundle.manifest.recipe, self.model)

    def unknown_items(self, item_ids: Collection[str]) -> list[str]:
        """Those that the catalogue does not hold, each once, in the order given."""
        return self._ids.unknown(dict.fromkeys(item_ids))

    def warm(self) -> None:
        """Answer once with every part, so that the first client does not pay for first-time work."""
        first = next(iter(self._ids))
        UserState(seen=SeenItems()).seen_places(self._ids)  # the keys of the catalogue
        self.features.read_user(first)  # known or not: it opens the store
        self.recommend(RecommendRequest(history=[first], k=1))
        self.recommend(RecommendRequest(about="warm", k=1))  # may load the text encoder
        if len(self._ids) <= SEARCHED_AT_ONCE and any(self.bundle.catalogue.texts):
            self.lists.searcher.build()
        if self.bundle.generative is not None:
            self.recommend(RecommendRequest(history=[first], k=1, by="generative"))
        if self.bundle.scorer is not None:
            self.score(ScoreRequest(item_ids=[first]))
        if self.bundle.writer is not None:
            self.feedback(FeedbackRequest(item_id=first, seed=0))
        if self.bundle.explainer is not None:
            self.feedback(FeedbackRequest(item_id=first, kind="reason", history=[first], seed=0))

    def _list(self, request: RecommendRequest, user: UserState, own: Ranker | BaselineRanker) -> MadeList:
        """The list that is asked for.

        Args:
            own: The bundle's ranker, for this user.
        """
        ranker = own if request.by == "blend" else self._generative()
        reranker = reranker_of(request.diversity, self._reranker, self.model)
        return self._maker.make(request, ranker, user, reranker, request.exploration)

    def _generative(self) -> GenerativeRanker:
        if self.bundle.generative is None:
            raise CapabilityMissing(
                "Cannot recommend by generative retrieval",
                got=f"model={self.model} without a generative part",
                expected="one trained with recipe.generative.enabled=true",
                do="Leave 'by' out, or switch it on and run the pipeline again",
            )
        return self.bundle.generative

    def _show(self, visitor: Visitor, item: MadeItem, part: AnsweringPart) -> Recommendation:
        item_id = item.item_id
        row = self._ids.index(item_id) - 1
        nearest = [] if visitor.is_cold else self.bundle.ranker.nearest_history(visitor.state, item_id, N_REASONS)
        because = [near for near, _ in nearest]
        return Recommendation(
            **self._cards.of(item_id),
            score=item.score,
            part=part,
            because=because,
            matches=self._matches(row, because),
            propensity=item.propensity,
        )

    def _matches(self, row: int, others: Sequence[str]) -> list[Literal["category", "brand"]]:
        """The attributes that an item shares with one of the others."""
        rows = [self._ids.index(other) - 1 for other in others]
        columns: dict[Literal["category", "brand"], list[str | None]] = {
            "category": self._cards.categories,
            "brand": self._cards.brands,
        }
        return [
            name
            for name, values in columns.items()
            if values[row] is not None and values[row] in [values[other] for other in rows]
        ]

    def _rating_for(
        self, given: float | None, item_id: str, visitor: Visitor
    ) -> tuple[float | None, Literal["given", "predicted", "none"]]:
        """The rating that a text expresses: the request's, else the scorer's, if the bundle has one."""
        if given is not None:
            return given, "given"
        if self.bundle.scorer is None:
            return None, "none"
        (pair,) = self.bundle.scorer.score(visitor.state, [item_id], self._ratings_now([item_id]))
        return pair.rating, "predicted"

    def _ratings_now(self, item_ids: Sequence[str]) -> ItemRatings:
        """The items' ratings in the online store."""
        return ItemRatings.of_features(self.features.read_items(item_ids))

    def _check_k(self, doing: str, k: int) -> None:
        check_k(doing, k, self._max_k)

    def _check_known(self, doing: str, field: str, item_ids: Collection[str]) -> None:
        check_known(doing, field, item_ids, self._ids, self.model)

    def _missing(self, doing: str, part: str, data: str) -> CapabilityMissing:
        return CapabilityMissing(
            f"Cannot {doing}",
            got=f"model={self.model} without {'an' if part[0] in 'aeiou' else 'a'} {part}",
            expected=f"one trained on {data}",
            do=f"Add such data and run the pipeline again: the {part} is trained as soon as there is enough of it",
        )
