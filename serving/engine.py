"""Request to answer, without HTTP: one bundle, the online store, and what each request is answered.

An engine never changes: a new bundle comes in a new engine, and a request sees one engine from start to end.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import asdict
from functools import cached_property
from secrets import randbelow
from typing import Literal

from core.stages import stage
from features.errors import FeastFailure
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
from recommender.writing.length import Length
from serving.api.feedback import Feedback, FeedbackRequest
from serving.api.recommend import (
    AnsweringPart,
    Recommendations,
    RecommendationsList,
    RecommendRequest,
)
from serving.api.records import ItemRecord, UserRecord
from serving.api.score import Score, ScoreRequest, Scores
from serving.diversity import reranker_of
from serving.draft import Draft
from serving.errors import BadRequest, CapabilityMissing
from serving.events.terms import EventTerms
from serving.lists.checks import check_k, check_known
from serving.lists.circumstances import visitor_of
from serving.lists.making import MadeList
from serving.lists.records import read_item, read_user
from serving.lists.said import NOTHING_SAID, Said
from serving.lists.selection import STOCK
from serving.lists.shop_lists import ShopLists
from serving.lists.showing import show_items
from serving.lists.shown import LiveCatalogue
from serving.online.reads import FeatureReader
from serving.reasons import given_facts, reason_for
from serving.together import all_or_each, answer_of, each_or_error
from serving.visitor import Visitor, identify
from serving.writing.text import Text, Writer

logger = logging.getLogger("serving")

MAX_USERS = 64
# The words of a larger catalogue are indexed when the first search comes: a start does not wait for them.
SEARCHED_AT_ONCE = 50_000
# From requests of one user each to the answer of each, or what it is refused with.
AnswerAll = Callable[[Sequence[RecommendRequest]], Sequence[Recommendations | Exception]]
_MAX_SEED = 2**31
# Scores of one part, for all users of a pass.
_NUMBERS_PER_PASS = 1 << 22


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
        self.live = LiveCatalogue(bundle.catalogue, model)
        self.lists = ShopLists(model, bundle, features, self.live, max_k)
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
            "similar": self.lists.compares_items,
            "search": any(self.bundle.catalogue.texts),
            "in_stock": STOCK in self.live.now.catalogue.attributes,
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
        return answer_of(self.recommend_all([request])[0])

    def recommend_each(self, request: RecommendRequest, answer_all: AnswerAll | None = None) -> RecommendationsList:
        """The answer of `recommend` for each of many users, in their order.

        Args:
            request: Of many users.
            answer_all: Answers them, in place of `recommend_all`.
        Raises:
            BadRequest: more users than the service allows; or as `recommend`.
            CapabilityMissing, UnknownItem: as `recommend`.
        """
        self._check_users(request)
        found = (answer_all or self.recommend_all)(list(request.each()))
        return RecommendationsList(model=self.model, answers=[answer_of(one) for one in found])

    def recommend_together(
        self,
        requests: Sequence[RecommendRequest],
        answer_all: AnswerAll | None = None,
        answer_users: AnswerAll | None = None,
    ) -> list[Recommendations | RecommendationsList | Exception]:
        """The answer of each of some requests that wait together, as `recommend` or `recommend_each`, or why not.

        Args:
            requests: Each of one user or of many.
            answer_all, answer_users: Answer those of one user, and the users of one request, for `recommend_all`.
        """
        of_one = iter((answer_all or self.recommend_all)([one for one in requests if one.users is None]))
        many = [one for one in requests if one.users is not None]
        of_many = iter(each_or_error(lambda one: self.recommend_each(one, answer_users or answer_all), many))
        return [next(of_one) if one.users is None else next(of_many) for one in requests]

    def recommend_all(self, requests: Sequence[RecommendRequest]) -> list[Recommendations | Exception]:
        """The answer of `recommend` to each of some requests of one user, or what it raises; the users are ranked in
        one pass.
        """
        with stage("features"):
            visitors = each_or_error(self._visitor, requests)
        rankers = self._rankers([visitor.state for visitor in visitors if isinstance(visitor, Visitor)])

        def recommend(one: tuple[RecommendRequest, Visitor | Exception]) -> Recommendations:
            visitor = answer_of(one[1])
            ranker = next(rankers)
            if isinstance(ranker, Exception):
                raise ranker
            return self._recommend(one[0], visitor, ranker)

        return each_or_error(recommend, list(zip(requests, visitors, strict=True)))

    def _visitor(self, request: RecommendRequest) -> Visitor:
        """Who a list is for, where such a list may be asked for."""
        check_k("recommend", request.k, self._max_k)
        self._check_known("recommend", "pin.item_id", [pin.item_id for pin in request.pin])
        return visitor_of(request, self.features, self.bundle, self.model)

    def _rankers(self, users: Sequence[UserState]) -> Iterator[Ranker | BaselineRanker | Exception]:
        """The bundle's ranker for each user, or why there is none; scores of those ranked at once fit into memory."""
        size = max(1, _NUMBERS_PER_PASS // len(self._ids))
        for start in range(0, len(users), size):
            together = users[start : start + size]
            rankers: Sequence[Ranker | BaselineRanker | Exception]
            rankers = all_or_each(self.bundle.ranker.for_each, self.bundle.ranker.for_one, together)
            yield from rankers

    def _recommend(
        self, request: RecommendRequest, visitor: Visitor, ranker: Ranker | BaselineRanker
    ) -> Recommendations:
        with stage("rerank"):
            made = self._list(request, visitor.state, ranker)
        with stage("reasons"):
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
                items=show_items(self.live.now.cards, self.bundle.ranker, visitor, made.items, parts),
                diversity=made.diversity,
                applied=made.applied,
                exploration=made.exploration,
                unknown_items=made.unknown,
                degraded=visitor.reads.degraded,
            ).made_for(visitor.state)

    def _check_users(self, request: RecommendRequest) -> None:
        n_users = len(request.users or ())
        if n_users > self._max_users:
            raise BadRequest(
                "Cannot recommend",
                got=f"users={n_users}",
                expected=f"at most serving.max_users={self._max_users}",
                do="Ask for fewer users at once",
            )

    def read_item(self, item_id: str, said: Said = NOTHING_SAID) -> ItemRecord:
        """What is known of an item, and `said` of it by clients; raises UnknownItem where that is nothing."""
        return read_item(self.model, self.live.catalogue, self.features, item_id, said)

    def read_user(self, user_id: str, said: Said = NOTHING_SAID) -> UserRecord:
        """What is known of a user, and `said` of them by clients; raises UnknownUser where that is nothing."""
        return read_user(self.model, self.bundle, self.features, user_id, said)

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
        ratings = ItemRatings.of_features(visitor.reads.read_items(request.item_ids))
        scored = scorer.score(visitor.state, request.item_ids, ratings)
        return Scores(
            model=self.model,
            user_id=request.user_id,
            cold_start=visitor.is_cold,
            reason=visitor.reason,
            skipped_history=list(visitor.skipped),
            items=[Score(**asdict(pair)) for pair in scored],
            degraded=visitor.reads.degraded,
        )

    def score_together(self, requests: Sequence[ScoreRequest]) -> list[Scores | Exception]:
        """`score` of each of some requests, its answer or what it raises."""
        return each_or_error(self.score, requests)

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
            degraded=visitor.reads.degraded,
        )
        return Draft(answer, Text(asked, seed, Length.of(request.style, request.max_words), request.decoding))

    def _reason(self, request: FeedbackRequest, item_id: str, seed: int) -> Draft:
        """Why an item suits the user: known at once; a rating has no part in that."""
        visitor = identify(request, self.features, self.bundle)
        length = Length.of(request.style, request.max_words)
        reason = reason_for(self.bundle, self._explainer(), visitor.state, item_id, seed, length.words)
        text = length.join(reason.sentences)
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
            degraded=visitor.reads.degraded,
        )
        return Draft(answer, None)

    @cached_property
    def event_terms(self) -> EventTerms:
        """The shop's names of events and its scale of ratings."""
        return EventTerms.of(self.bundle.manifest.recipe, self.model)

    def unknown_items(self, item_ids: Collection[str]) -> list[str]:
        """Those that the catalogue does not hold, each once, in the order given."""
        return self._ids.unknown(dict.fromkeys(item_ids))

    def warm(self) -> None:
        """Answer once with every part, so that the first client does not pay for first-time work; `warm_encoder` has
        the rest.
        """
        first = next(iter(self._ids))
        UserState(seen=SeenItems()).seen_places(self._ids)  # the keys of the catalogue
        try:
            self.features.read_user(first)  # known or not: it opens the store
        except FeastFailure:
            # A worker that starts while the store is away answers without it, as those that were there before do.
            logger.exception("The online store cannot be read as %s is loaded", self.model)
        self.recommend(RecommendRequest(history=[first], k=1))
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

    def warm_encoder(self) -> None:
        """Load the text encoder, which takes seconds and which only users with nothing but attributes need."""
        self.recommend(RecommendRequest(about="warm", k=1))

    def _list(self, request: RecommendRequest, user: UserState, own: Ranker | BaselineRanker) -> MadeList:
        """The list that is asked for.

        Args:
            own: The bundle's ranker, for this user.
        """
        ranker = own if request.by == "blend" else self._generative()
        reranker = reranker_of(request.diversity, self._reranker, self.model)
        return self.live.now.maker.make(request, ranker, user, reranker, request.exploration)

    def _generative(self) -> GenerativeRanker:
        if self.bundle.generative is None:
            raise CapabilityMissing(
                "Cannot recommend by generative retrieval",
                got=f"model={self.model} without a generative part",
                expected="one trained with recipe.generative.enabled=true",
                do="Leave 'by' out, or switch it on and run the pipeline again",
            )
        return self.bundle.generative

    def _rating_for(
        self, given: float | None, item_id: str, visitor: Visitor
    ) -> tuple[float | None, Literal["given", "predicted", "none"]]:
        """The rating that a text expresses: the request's, else the scorer's, if the bundle has one."""
        if given is not None:
            return given, "given"
        if self.bundle.scorer is None:
            return None, "none"
        ratings = ItemRatings.of_features(visitor.reads.read_items([item_id]))
        (pair,) = self.bundle.scorer.score(visitor.state, [item_id], ratings)
        return pair.rating, "predicted"

    def _check_known(self, doing: str, field: str, item_ids: Collection[str]) -> None:
        check_known(doing, field, item_ids, self._ids, self.model)

    def _missing(self, doing: str, part: str, data: str) -> CapabilityMissing:
        return CapabilityMissing(
            f"Cannot {doing}",
            got=f"model={self.model} without {'an' if part[0] in 'aeiou' else 'a'} {part}",
            expected=f"one trained on {data}",
            do=f"Add such data and run the pipeline again: the {part} is trained as soon as there is enough of it",
        )
