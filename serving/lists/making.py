"""Makes a list as a request asks for it: filtered, ranked, moved by rules, re-ranked, explored, pinned; in that order.

What ranks is a parameter, so that every option means the same of recommendations, of what is popular or new, and of
what was searched for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from recommender.inputs.ids import IdMap
from recommender.inputs.user import UserState
from recommender.metrics.top_k import ListFilters, leave_out
from recommender.reranking.reranker import Ranks, Reranked, Reranker
from serving.api.options import AppliedExploration, AppliedRule, Exploration, ListOptions
from serving.api.recommend import AppliedDiversity
from serving.diversity import applied as said
from serving.lists.exploration import explore
from serving.lists.rules import RuledRanker, Rules, with_pins
from serving.lists.selection import ItemSelection

PINNED = 1.0
_NOT_RANKED = "this list does not rank it"


@dataclass(frozen=True)
class MadeItem:
    """An item of a list: the ranker's own score of it, and with exploration the probability that it stands here."""

    item_id: str
    score: float
    propensity: float | None = None


@dataclass(frozen=True)
class MadeList:
    """A list, and how it was made.

    Attributes:
        items: In their order.
        diversity: How it was re-ranked; None if it was not.
        exploration: How it was explored; None if it was not.
        applied: What each rule did.
        unknown: Items that the request names and the catalogue does not have.
    """

    items: list[MadeItem]
    diversity: AppliedDiversity | None = None
    exploration: AppliedExploration | None = None
    applied: list[AppliedRule] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)


class ListMaker:
    """Makes lists of one catalogue. Safe to share between threads.

    Args:
        ids: Of the catalogue.
        selection: Its columns.
        n_events: How many events taught each item. Shape (n_items,).
        hidden: Items that no list may hold. Shape (n_items,), bool; None where all may be shown.
    """

    def __init__(
        self, ids: IdMap, selection: ItemSelection, n_events: np.ndarray, hidden: np.ndarray | None = None
    ) -> None:
        self._ids, self.selection, self._n_events, self._hidden = ids, selection, n_events, hidden

    def allowed(self, asked: ListOptions) -> np.ndarray | None:
        """What may be shown, and the filters let through. Shape (n_items,), bool; None is all.

        Raises:
            BadRequest, CapabilityMissing: as `ItemSelection.of`.
        """
        masks = [self.selection.of(asked), None if self._hidden is None else ~self._hidden]
        masks.append(None if asked.allow is None else self.selection.listed(asked.allow))
        given = [mask for mask in masks if mask is not None]
        return np.logical_and.reduce(given) if given else None

    def unknown(self, asked: ListOptions) -> list[str]:
        """Items of the allow list and of rules that the catalogue does not have, each once."""
        named = [*(asked.allow or ()), *(item for rule in (*asked.boost, *asked.bury) for item in rule.items or ())]
        return self._ids.unknown(dict.fromkeys(named))

    def make(
        self,
        asked: ListOptions,
        ranker: Ranks,
        user: UserState,
        reranker: Reranker | None = None,
        exploration: Exploration | None = None,
        unranked: float | None = None,
    ) -> MadeList:
        """Make the list of one user.

        Args:
            ranker: What ranks the items.
            reranker: None leaves its order.
            unranked: The score of a pinned item that the ranker does not rank; None leaves it out.
        Raises:
            BadRequest, CapabilityMissing: as `ItemSelection.of`.
        """
        allowed = self.allowed(asked)
        filters: ListFilters = {"exclude": [asked.exclude], "exclude_seen": asked.exclude_seen, "allowed": allowed}
        is_reranked = reranker is not None and not reranker.settings.changes_nothing
        if exploration is None and not (asked.pin or asked.boost or asked.bury):
            if reranker is not None and is_reranked:
                found = reranker.top_k(ranker, user, asked.k, **filters)
                listed, diversity = found.items, said(reranker.settings, found)
            else:
                listed, diversity = ranker.top_k([user], asked.k, **filters)[0], None
            return MadeList([MadeItem(*pair) for pair in listed], diversity, unknown=self.unknown(asked))

        rules = Rules.of(asked, self.selection, self._ids, user, allowed)
        own = self._score_pins(rules, ranker, user, unranked)
        ruled = RuledRanker(ranker, rules)
        n_free = asked.k - len(rules.pins)
        n_wanted = max(n_free, 1 if exploration is None else exploration.pool)
        if reranker is not None and is_reranked:
            listed = reranker.top_k(ruled, user, n_wanted, **filters).items
        else:
            listed = ruled.top_k([user], n_wanted, **filters)[0]
        explored, propensity = None, dict[str, float]()
        if exploration is not None:
            listed, explored, propensity = self._explore(exploration, listed, n_free)
            propensity |= dict.fromkeys((pin.item_id for pin in rules.pins), PINNED)
        final = with_pins([item_id for item_id, _ in listed], rules.pins, asked.k)
        own |= ruled.own_scores
        return MadeList(
            items=[MadeItem(item_id, own[item_id], propensity.get(item_id)) for item_id in final],
            diversity=self._diversity(reranker, final, ruled.ranking, asked.k)
            if reranker is not None and is_reranked
            else None,
            exploration=explored,
            applied=rules.applied(asked, final, ruled.ranking, self._ids, self._let_through(user, filters)),
            unknown=self.unknown(asked),
        )

    def _score_pins(self, rules: Rules, ranker: Ranks, user: UserState, unranked: float | None) -> dict[str, float]:
        """The ranker's scores of the pinned items; those that it does not rank are hidden, or get `unranked`."""
        if not rules.pins:
            return {}
        pinned = self.selection.listed([pin.item_id for pin in rules.pins])
        filters: ListFilters = {"exclude_seen": False, "allowed": pinned}
        found = dict(ranker.top_k([user], len(rules.pins), **filters)[0])
        for pin in list(rules.pins):
            if pin.item_id not in found and unranked is None:
                rules.pins.remove(pin)
                rules.hidden[pin.item_id] = _NOT_RANKED
            elif pin.item_id not in found:
                found[pin.item_id] = float(unranked or 0.0)
        return found

    def _explore(
        self, asked: Exploration, candidates: Sequence[tuple[str, float]], k: int
    ) -> tuple[list[tuple[str, float]], AppliedExploration, dict[str, float]]:
        places = [self._ids.index(item_id) - 1 for item_id, _ in candidates]
        # A re-ranked list is explored by its order: its best score belongs to its first item.
        scores = sorted((score for _, score in candidates), reverse=True)
        found = explore(asked, scores, self._n_events[places], max(k, 0))
        listed = [candidates[place] for place in found.places]
        shares = zip((item_id for item_id, _ in listed), found.propensities, strict=True)
        return listed, found.applied, dict(shares)

    def _diversity(self, reranker: Reranker, final: Sequence[str], ranking: dict[str, int], k: int) -> AppliedDiversity:
        """What an answer says of its re-ranking, counted on the list that rules and exploration made of it."""
        places = [self._ids.index(item_id) - 1 for item_id in final]
        n_changed = sum(ranking.get(item_id, k + 1) > k for item_id in final)
        floors_met = all(floor.holds(places) for floor in reranker.floors(k))
        return said(reranker.settings, Reranked([], n_changed=n_changed, floors_met=floors_met))

    def _let_through(self, user: UserState, filters: ListFilters) -> np.ndarray:
        rows = np.ones((1, len(self._ids)), dtype=bool)
        let: np.ndarray = leave_out(rows, False, [user], self._ids, **filters)[0]
        return let
