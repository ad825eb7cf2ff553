"""The lists beside recommendations: what is popular, what is new, what is similar, what a search finds."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from datetime import timedelta
from functools import cached_property
from typing import TypeVar

import numpy as np

from recommender.bundle.loading import Bundle
from recommender.inputs.item_moments import ItemColumns
from recommender.inputs.user import UserState
from recommender.metrics.top_k import ListFilters
from serving.api.lists import (
    CategoryList,
    Found,
    FoundItem,
    Latest,
    LatestItem,
    LatestRequest,
    ListedItem,
    ListRequest,
    Popular,
    PopularItem,
    PopularRequest,
    SearchRequest,
    SearchWeights,
    Similar,
    SimilarRequest,
    SimilarUser,
)
from serving.api.options import ListOptions
from serving.errors import BadRequest, CapabilityMissing, UnknownUser
from serving.lists.by_category import CategoryShelves
from serving.lists.cards import ItemCards
from serving.lists.checks import check_k, check_known
from serving.lists.making import ListMaker, MadeList
from serving.lists.orders import FixedScores, KeptOrders
from serving.lists.searching import CONSTANT, Meaning, Searcher
from serving.lists.shown import LiveCatalogue
from serving.online.learned import learned_items
from serving.online.reads import FeatureReader, Reads
from serving.visitor import Visitor, identify

Item = TypeVar("Item", bound=ListedItem)
NOBODY = UserState()


class ShopLists:
    """Answers with one bundle and the online store. Safe to share between threads.

    Args:
        model: The bundle's name and version.
        bundle: Loaded and checked.
        features: Reads the online store.
        live: The bundle's catalogue, as it is shown.
        max_k: The largest k that a request may ask for.
    """

    def __init__(self, model: str, bundle: Bundle, features: FeatureReader, live: LiveCatalogue, max_k: int) -> None:
        self._model, self._bundle, self._features = model, bundle, features
        self._live, self._max_k = live, max_k
        self._ids = bundle.catalogue.ids
        self._orders = KeptOrders(self._ids)
        self.searcher = Searcher(bundle.ranker.vectors, Meaning(bundle), model)

    @property
    def _cards(self) -> ItemCards:
        """As of this moment."""
        return self._live.now.cards

    @property
    def _maker(self) -> ListMaker:
        """As of this moment."""
        return self._live.now.maker

    def popular(self, request: PopularRequest) -> Popular:
        """The items with the most events, of all time or of the last days.

        Raises:
            BadRequest: k is too large, or the days are no window of the bundle; or as `ListMaker.make`.
            UnknownItem, CapabilityMissing: as `ListMaker.make`.
        """
        self._check("list popular items", request)
        self._check_window(request.days)
        visitor = self._visitor(request)
        order = self._order(("popular", request.days), lambda reads: self._counts(request.days, reads), visitor.reads)
        made = self._maker.make(request, order, visitor.state, unranked=0.0)
        return Popular(
            model=self._model,
            days=request.days,
            items=self._show(made, PopularItem),
            categories=self._by_category(request, order, visitor.state),
            applied=made.applied,
            unknown_items=made.unknown,
            skipped_history=list(visitor.skipped),
            degraded=visitor.reads.degraded,
        )

    def latest(self, request: LatestRequest) -> Latest:
        """The newest items, by the catalogue's date, else by their first event.

        Raises:
            BadRequest, UnknownItem, CapabilityMissing: as `popular`.
        """
        self._check("list new items", request)
        visitor = self._visitor(request)
        order = self._order("latest", self._youth, visitor.reads)
        made = self._maker.make(request, order, visitor.state)
        return Latest(
            model=self._model,
            items=[
                LatestItem(
                    **self._cards.of(one.item_id), score=one.score, since=order.made_at + timedelta(days=one.score)
                )
                for one in made.items
            ],
            applied=made.applied,
            unknown_items=made.unknown,
            skipped_history=list(visitor.skipped),
            degraded=visitor.reads.degraded,
        )

    def similar(self, request: SimilarRequest) -> Similar:
        """Items that are like an item, or users who are like a user.

        Raises:
            BadRequest: k is too large; or as `ListMaker.make`.
            UnknownItem: the item, or one that is pinned, is not in the catalogue.
            UnknownUser: the online store does not know the user, or no item of their history is in the catalogue.
            CapabilityMissing: the bundle ranks by what compares no items, or no users; or as `ListMaker.make`.
        """
        if request.item_id is None:
            assert request.user_id is not None
            return self._similar_users(request, request.user_id)
        self._check("find similar items", request)
        check_known("find similar items", "item_id", [request.item_id], self._ids, self._model)
        likeness = self.likeness(request.item_id)
        reads = Reads(self._features)
        user = NOBODY if request.user_id is None else reads.read_user(request.user_id) or NOBODY
        made = self._maker.make(request, FixedScores(self._ids, likeness), user, unranked=0.0)
        return Similar(
            model=self._model,
            items=self._show(made, ListedItem),
            applied=made.applied,
            unknown_items=made.unknown,
            degraded=reads.degraded,
        )

    @cached_property
    def compares_items(self) -> bool:
        """Whether the bundle ranks by what compares items."""
        return self._bundle.ranker.similarities(next(iter(self._ids))) is not None

    def likeness(self, item_id: str) -> np.ndarray:
        """How similar each item is to an item; -inf for itself and for what nothing connects with it.

        Returns:
            Shape (n_items,), float64.
        Raises:
            CapabilityMissing: the bundle ranks by what compares no items.
        """
        found = self._bundle.ranker.similarities(item_id)
        if found is None:
            raise CapabilityMissing(
                "Cannot find similar items",
                got=f"model={self._model}, to which no item is like {item_id}",
                expected="one that ranks by the items' vectors",
                do="Promote another bundle: sommelier models list",
            )
        likeness = found.astype(np.float64)
        likeness[self._cards.place(item_id)] = -np.inf
        return likeness

    def search(self, request: SearchRequest) -> Found:
        """The items that a text speaks of, by words, by meaning, and by what the user would like.

        Raises:
            BadRequest: k is too large; or as `ListMaker.make`.
            UnknownItem: a pinned item is not in the catalogue.
            CapabilityMissing: no item has words; or as `ListMaker.make`.
        """
        self._check("search", request)
        if not request.query:
            raise BadRequest("Cannot search", got="query=''", expected="a text", do="Say what to search for")
        visitor = identify(request, self._features, self._bundle)
        allowed = self._maker.allowed(request)
        relevance = self.searcher.relevance(request.query, allowed)
        weight = self._personal_weight(request, visitor)
        personal = self._preference(visitor.state, relevance.found) * weight if weight else np.zeros(len(self._ids))
        scores = relevance.lexical + relevance.semantic + personal
        ranked = np.where(relevance.found, scores, -np.inf)
        made = self._maker.make(request, FixedScores(self._ids, ranked), visitor.state, unranked=0.0)
        places = [self._cards.place(one.item_id) for one in made.items]
        return Found(
            model=self._model,
            ranked_by=SearchWeights(
                lexical=float(relevance.lexical.any()), semantic=float(relevance.semantic.any()), personal=weight
            ),
            user_id=request.user_id,
            cold_start=visitor.is_cold,
            items=[
                FoundItem(
                    **self._cards.of(one.item_id),
                    score=one.score,
                    lexical=float(relevance.lexical[place]),
                    semantic=float(relevance.semantic[place]),
                    personal=float(personal[place]),
                )
                for one, place in zip(made.items, places, strict=True)
            ],
            applied=made.applied,
            unknown_items=made.unknown,
            skipped_history=list(visitor.skipped),
            degraded=visitor.reads.degraded,
        )

    def _personal_weight(self, request: SearchRequest, visitor: Visitor) -> float:
        """0 where all that could rank is what everybody likes."""
        is_known = self._bundle.ranker.answered_by(visitor.state) != "popularity"
        return request.personal if is_known else 0.0

    def _preference(self, user: UserState, found: np.ndarray) -> np.ndarray:
        """1 / (60 + place) by the model's ranking of what was found. Shape (n_items,), float64."""
        filters: ListFilters = {"exclude_seen": False, "allowed": found}
        shares = np.zeros(len(self._ids))
        ranked = self._bundle.ranker.for_one(user).top_k([user], max(int(found.sum()), 1), **filters)[0]
        for place, (item_id, _) in enumerate(ranked, start=1):
            shares[self._cards.place(item_id)] = 1 / (CONSTANT + place)
        return shares

    def _similar_users(self, request: SimilarRequest, user_id: str) -> Similar:
        check_k("find similar users", request.k, self._max_k)
        ranker, reads = self._bundle.ranker, Reads(self._features)
        wanted = reads.read_user(user_id)
        if wanted is None and reads.error is not None:
            unread = [other for other in dict.fromkeys(request.among or ()) if other != user_id]
            return Similar(model=self._model, items=[], unknown_users=unread, degraded=reads.degraded)
        if wanted is None or not ranker.knows(wanted):
            raise UnknownUser(
                "Cannot find similar users",
                got=f"user_id={user_id!r}",
                expected="a user of the online store with an item of the catalogue in their history",
                do="Send their events first",
            )
        others, unknown = {}, []
        for other in dict.fromkeys(request.among or ()):
            if other == user_id:
                continue
            state = reads.read_user(other)
            if state is None or not ranker.knows(state):
                unknown.append(other)
            else:
                others[other] = state
        vectors = ranker.user_vectors([wanted, *others.values()])
        if vectors is None:
            raise CapabilityMissing(
                "Cannot find similar users",
                got=f"model={self._model}, which has no vectors of users",
                expected="one that ranks by the sequence model, or by texts",
                do="Promote another bundle: sommelier models list",
            )
        cosines = vectors[1:] @ vectors[0]
        order = np.argsort(-cosines, kind="stable")[: request.k]
        names = list(others)
        return Similar(
            model=self._model,
            items=[],
            users=[
                SimilarUser(user_id=names[place], score=float(np.clip(cosines[place], -1.0, 1.0))) for place in order
            ],
            unknown_users=unknown,
            degraded=reads.degraded,
        )

    def _check_window(self, days: int | None) -> None:
        windows = self._windows
        if days is not None and days not in windows:
            raise BadRequest(
                "Cannot list popular items",
                got=f"days={days}",
                expected=f"one of {', '.join(str(one) for one in windows)}: recipe.features.windows_days of the bundle",
                do="Ask for one of these, or leave it out for all time",
            )

    @property
    def _windows(self) -> list[int]:
        return sorted(self._bundle.manifest.recipe.features.windows_days)

    def _order(self, name: Hashable, count: Callable[[Reads], np.ndarray], reads: Reads) -> FixedScores:
        """The order of this name, noted where the store was away for it."""
        own = Reads(self._features)
        order = self._orders.of(name, lambda: count(own), lambda: own.error is None, is_away=reads.is_away)
        if not order.is_whole or reads.is_away:
            reads.rest_on_kept()
        return order

    def _counts(self, days: int | None, reads: Reads) -> np.ndarray:
        """Events of each item, -inf for none. Shape (n_items,), float64."""
        columns = self._items(reads)
        if days is not None:
            counts = columns.popularity[:, self._windows.index(days)].astype(np.float64)
        else:
            counts = columns.numbers(np.arange(len(self._ids)))["item_n_events"].astype(np.float64)
        return np.where(counts > 0, counts, -np.inf)

    def _youth(self, reads: Reads) -> np.ndarray:
        """The age of each item in days, negative; -inf where it is not known. Shape (n_items,), float64."""
        ages = self._items(reads).numbers(np.arange(len(self._ids)))["item_age_days"]
        return np.where(np.isfinite(ages), -ages, -np.inf)

    def _items(self, reads: Reads) -> ItemColumns:
        """The items now, or as they were read last; where nothing was read of a store that is away, as the bundle knows
        them.
        """
        columns = reads.items_at().of(self._ids)
        if reads.error is None or columns.numbers(np.arange(len(self._ids)))["item_n_events"].any():
            return columns
        return learned_items(self._bundle)

    def _by_category(self, request: PopularRequest, order: FixedScores, user: UserState) -> list[CategoryList]:
        """The best items of each category, the category with the best one first."""
        if request.per_category is None:
            return []
        shelves: CategoryShelves = order.derived("shelves", self._shelve, lambda kept: kept.cards is self._cards)
        hidden = [index - 1 for index in self._ids.known_indices(request.exclude)]
        if request.exclude_seen:
            hidden += user.seen_places(self._ids).tolist()
        return shelves.first(request.per_category, hidden, self._maker.allowed(request))

    def _shelve(self, order: FixedScores, before: CategoryShelves | None) -> CategoryShelves:
        return CategoryShelves(order, self._cards, before)

    def _check(self, doing: str, asked: ListOptions) -> None:
        check_k(doing, asked.k, self._max_k)
        check_known(doing, "pin.item_id", [pin.item_id for pin in asked.pin], self._ids, self._model)

    def _visitor(self, request: ListRequest) -> Visitor:
        """Whose seen items are left out."""
        return identify(request, self._features, self._bundle)

    def _show(self, made: MadeList, kind: type[Item]) -> list[Item]:
        return [kind(**self._cards.of(one.item_id), score=one.score) for one in made.items]
