"""What a request says of places in a list: items that move up or down, and items that stand where they are pinned.

Rules look at places and not at scores, so they mean the same whatever ranks the items: sums of parts, probabilities,
counts or dates.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Unpack

import numpy as np

from recommender.inputs.ids import IdMap
from recommender.inputs.user import UserState
from recommender.metrics.top_k import ListFilters
from recommender.reranking.reranker import Ranks
from serving.api.options import MAX_FACTOR, AppliedRule, ListOptions, MovedItem, Pin, RuleKind
from serving.lists.selection import ItemSelection


@dataclass(frozen=True)
class Mover:
    """A boost or a bury: which items it means. `matched` is of shape (n_items,), bool."""

    kind: RuleKind
    number: int
    id: str | None
    matched: np.ndarray


@dataclass
class Rules:
    """The rules of one request.

    Attributes:
        pins: Those that are shown, by their positions.
        hidden: Those that are not, each with the reason.
        movers: Boosts and buries, in the request's order.
        factors: By how much each item moves up; below 1 it moves down. None without boosts and buries.
            Shape (n_items,), float64.
    """

    pins: list[Pin] = field(default_factory=list)
    hidden: dict[str, str] = field(default_factory=dict)
    movers: list[Mover] = field(default_factory=list)
    factors: np.ndarray | None = None

    @classmethod
    def of(
        cls, asked: ListOptions, selection: ItemSelection, ids: IdMap, user: UserState, allowed: np.ndarray | None
    ) -> Rules:
        """Resolve what is asked for.

        Args:
            user: Whose seen items are left out.
            allowed: What the filters let through; None all. Shape (n_items,), bool.
        Raises:
            BadRequest, CapabilityMissing: as `ItemSelection.of`.
        """
        rules = cls()
        seen = set(user.seen_places(ids).tolist()) if asked.exclude_seen and asked.pin else set()
        for pin in sorted(asked.pin, key=lambda one: one.position):
            place = ids.index(pin.item_id) - 1
            if pin.item_id in asked.exclude or (allowed is not None and not allowed[place]):
                rules.hidden[pin.item_id] = "left out by the filters"
            elif place in seen and not pin.even_if_seen:
                rules.hidden[pin.item_id] = "the user has seen it"
            else:
                rules.pins.append(pin)
        if asked.boost or asked.bury:
            factors = np.ones(len(ids))
            for number, boost in enumerate(asked.boost):
                rules.movers.append(Mover("boost", number, boost.id, selection.matched(boost)))
                factors[rules.movers[-1].matched] *= boost.factor
            for number, bury in enumerate(asked.bury):
                rules.movers.append(Mover("bury", number, bury.id, selection.matched(bury)))
                factors[rules.movers[-1].matched] /= bury.factor
            rules.factors = np.clip(factors, 1 / MAX_FACTOR, MAX_FACTOR)
        return rules

    def applied(
        self, asked: ListOptions, final: Sequence[str], ranking: Mapping[str, int], ids: IdMap, allowed: np.ndarray
    ) -> list[AppliedRule]:
        """What each rule did, in the order pin, boost, bury.

        Args:
            final: The list.
            ranking: From items to their places before any rule, from 1; as far as was looked.
            allowed: What the filters let through, left-out and seen items aside. Shape (n_items,), bool.
        """
        place_of = {item_id: place for place, item_id in enumerate(final, start=1)}

        def moved(item_id: str) -> MovedItem:
            return MovedItem(item_id=item_id, from_place=ranking.get(item_id), to_place=place_of.get(item_id))

        found = [
            AppliedRule(
                rule="pin",
                number=number,
                id=pin.id,
                n_matched=int(pin.item_id not in self.hidden),
                items=[moved(pin.item_id)],
                note=self.hidden.get(pin.item_id),
            )
            for number, pin in enumerate(asked.pin)
        ]
        without_rules = [item_id for item_id, place in ranking.items() if place <= asked.k]
        looked_at = list(dict.fromkeys([*final, *without_rules]))
        found += [
            AppliedRule(
                rule=mover.kind,
                number=mover.number,
                id=mover.id,
                n_matched=int((mover.matched & allowed).sum()),
                items=[moved(item_id) for item_id in looked_at if mover.matched[ids.index(item_id) - 1]],
            )
            for mover in self.movers
        ]
        return found


class RuledRanker:
    """A ranker whose lists are in the order that boosts and buries make of it, without the pinned items.

    The item at place p of the ranking, moved by a factor f, stands as one at place p / f; of two that stand alike the
    one that was moved up comes first. A list carries the ranking's scores by place, so that they fall from its first
    item to its last, as whatever re-ranks or explores it expects; `own_scores` has the items' own.

    Args:
        ranker: What ranks.
        rules: Of one request; it is for one thread.
    """

    def __init__(self, ranker: Ranks, rules: Rules) -> None:
        self._ranker, self._rules = ranker, rules
        self._pinned = {pin.item_id for pin in rules.pins}
        self.own_scores: dict[str, float] = {}
        # From items to their places before any rule, from 1, as the first list that was asked for has them.
        self.ranking: dict[str, int] = {}

    @property
    def ids(self) -> IdMap:
        return self._ranker.ids

    def top_k(
        self, users: Sequence[UserState], k: int, **filters: Unpack[ListFilters]
    ) -> list[list[tuple[str, float]]]:
        """See `Ranks`; of one user."""
        (pool,) = self._ranker.top_k(users, self._depth(k), **filters)
        self.own_scores |= pool
        if not self.ranking:
            self.ranking = {item_id: place for place, (item_id, _) in enumerate(pool, start=1)}
        kept = [pair for pair in pool if pair[0] not in self._pinned]
        factors = self._rules.factors
        if factors is None or not kept:
            return [kept[:k]]
        own = factors[[self.ids.index(item_id) - 1 for item_id, _ in kept]]
        places = np.arange(1, len(kept) + 1)
        order = np.lexsort((places, -own, places / own))[:k]
        return [[(kept[place][0], kept[rank][1]) for rank, place in enumerate(order)]]

    def _depth(self, k: int) -> int:
        """How far down the ranking an item may stand that is on a list of k.

        The first k of the ranking stand no lower than k times the largest factor down, and only what stands above that
        can pass them: no further below than the largest factor up.
        """
        depth = k
        if self._rules.factors is not None:
            up, down = float(self._rules.factors.max()), 1 / float(self._rules.factors.min())
            depth = math.ceil(k * max(up, 1.0) * max(down, 1.0))
        return min(depth + len(self._pinned), len(self.ids))


def with_pins(items: Sequence[str], pins: Collection[Pin], k: int) -> list[str]:
    """A list of at most k with the pinned items at their positions, or at its end where it is shorter.

    Args:
        items: Without the pinned ones, at least as many as are to stand beside them, if there are.
        pins: By position.
    """
    final = list(items[: k - len(pins)])
    for pin in pins:
        final.insert(pin.position - 1, pin.item_id)
    return final
