"""The best that any model can do on a simulated shop: a ranker that knows the users as the simulation does.

It knows tastes, what was bought last and ever, which items come and go, and when the window's visits may be; not what
chance will decide. A share of its NDCG tells models apart that the shop's own scale does not.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import numpy as np

from core.settings.source import SimulatedSource
from simulation.shop.behaviour import Row, User
from simulation.shop.log import read_log

# Futures that a user is followed into, and items that are looked at in each: about as many as in a visit.
_FUTURES, _STEPS = 8, 3


class Oracle:
    """Every user as they were at a moment.

    Args:
        source: The shop.
        at: The moment; what happened then or later is not known.
    """

    def __init__(self, source: SimulatedSource, at: datetime) -> None:
        self._at, self._seed = at, source.seed
        self._users: dict[str, User] = {}
        for _ in read_log(source, self._watch):
            pass
        shelves = next(iter(self._users.values())).crowd.shelves
        self.item_ids = [item.item_id for shelf in shelves for item in shelf.items]

    def _watch(self, user: User, row: Row | None) -> None:
        """Keep the user before the first item looked at from the moment on, or as they were in the end."""
        if user.user_id in self._users:
            return
        if row is None or (row[0] == "interactions" and row[1]["event"] == "view" and row[1]["timestamp"] >= self._at):
            self._users[user.user_id] = user.fork(np.random.default_rng(self._seed))

    def expected(self, user_ids: Sequence[str], until: datetime) -> np.ndarray:
        """How often each user is expected to look at each item between the moment and another, up to a factor.

        The exact chances of the next item, averaged over moments and over what may have been bought by then.

        Returns:
            In the order of `item_ids`. Shape (n_users, n_items), float32.
        """
        rows = np.zeros((len(user_ids), len(self.item_ids)), dtype=np.float32)
        for place, user_id in enumerate(user_ids):
            rng = np.random.default_rng([self._seed, place])
            for share in rng.random(_FUTURES):
                rows[place] += self._follow(
                    self._users[user_id].fork(rng), self._at + (until - self._at) * float(share)
                )
        return rows

    def _follow(self, user: User, now: datetime) -> np.ndarray:
        """The sum of the chances over one visit."""
        total = np.zeros(len(self.item_ids))
        places = [
            (section, place) for section, shelf in enumerate(user.crowd.shelves) for place in range(len(shelf.items))
        ]
        for _ in range(_STEPS):
            chances = np.concatenate(user.choice_probabilities(now))
            total += chances
            if not chances.any():
                break
            user.consider(*places[int(user.rng.choice(len(chances), p=chances / chances.sum()))], now)
        return total
