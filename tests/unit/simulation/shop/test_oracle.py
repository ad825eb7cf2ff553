"""The simulated shop's turnover, and the oracle that knows its users as the simulation does."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta

import numpy as np

from core.settings.source import SimulatedSource
from simulation.shop.behaviour import Row, User
from simulation.shop.log import CLOSES_AT, read_log
from simulation.shop.oracle import Oracle

SHOP = SimulatedSource(n_users=60, n_items=90, n_days=120, dirty_share=0.0)
FAST = SHOP.model_copy(update={"item_lifetime_days": 15.0, "n_items": 300})
AT = datetime(2026, 6, 1, tzinfo=UTC)


def users_of(source: SimulatedSource) -> dict[str, User]:
    found: dict[str, User] = {}

    def watch(user: User, row: Row | None) -> None:
        if row is None:
            found[user.user_id] = user.fork(np.random.default_rng(5))

    for _ in read_log(source, watch):
        pass
    return found


def test_a_shop_without_turnover_is_what_it_was_before_there_was_any() -> None:
    digest = hashlib.sha256()
    for source in (
        SimulatedSource(n_users=150, n_items=80),
        SimulatedSource(n_users=60, n_items=3000, drift="catalogue", seed=3),
        SimulatedSource(n_users=60, drift="taste", seed=4),
    ):
        for row in read_log(source):
            digest.update(repr(row).encode())
    assert digest.hexdigest() == "7ab348f8eda0210bb88d03758ccdd5e35a4820f778fd935be088b55e9f9b0b78"


def test_watching_a_shop_changes_nothing_in_it() -> None:
    assert list(read_log(SHOP, lambda user, row: None)) == list(read_log(SHOP))


def test_items_of_a_fast_shop_are_looked_at_while_they_are_there() -> None:
    (user, *_) = users_of(FAST).values()
    items = {item.item_id: item for shelf in user.crowd.shelves for item in shelf.items}
    views = [row for table, row in read_log(FAST) if table == "interactions" and row["event"] == "view"]
    assert len(views) > 300
    for row in views:
        item = items[row["item_id"]]
        assert item.gone_at is not None
        assert item.created_at <= row["timestamp"] < item.gone_at
    lives = [item.gone_at - item.created_at for item in items.values() if item.gone_at is not None]
    assert 12 < np.mean([life / timedelta(days=1) for life in lives]) < 18
    assert min(row["timestamp"] for row in views) < CLOSES_AT - timedelta(days=110)


def test_the_chances_are_what_users_do() -> None:
    user = next(user for user in users_of(SHOP).values() if user.last is not None)
    chances = np.concatenate(user.choice_probabilities(AT))
    places = {item.item_id: place for place, item in enumerate(i for shelf in user.crowd.shelves for i in shelf.items)}
    counts = np.zeros(len(chances))
    n_empty = 0
    for _ in range(4000):
        chosen = user._choose(AT)
        if chosen is None:  # a shelf without any item yet
            n_empty += 1
        else:
            counts[places[chosen[1].item_id]] += 1
    assert abs(n_empty / 4000 - (1 - chances.sum())) < 0.02
    # Four standard deviations of each count, and a little for those that are hardly ever chosen.
    assert (np.abs(counts / 4000 - chances) < 4 * np.sqrt(chances / 4000) + 2e-3).all()


def test_the_oracle_knows_what_was_before_its_moment_and_nothing_else() -> None:
    oracle = Oracle(SHOP, AT)
    log = [row for table, row in read_log(SHOP) if table == "interactions"]
    for user_id, user in oracle._users.items():
        own = [row for row in log if row["user_id"] == user_id and row["timestamp"] < AT]
        viewed = {row["item_id"] for row in own if row["event"] == "view"}
        paid = {row["item_id"] for row in own if row["event"] == "purchase"}
        assert paid <= user.bought <= viewed
    assert any(user.bought for user in oracle._users.values())


def test_the_oracle_ranks_what_comes_far_better_than_popularity() -> None:
    for shop in (SHOP, FAST):
        oracle, taken, counts = Oracle(shop, AT), dict[str, set[str]](), dict[str, int]()
        for table, row in read_log(shop):
            if table == "interactions" and row["event"] == "view":
                if row["timestamp"] >= AT:
                    taken.setdefault(row["user_id"], set()).add(row["item_id"])
                else:
                    counts[row["item_id"]] = counts.get(row["item_id"], 0) + 1
        scores = oracle.expected(list(taken), CLOSES_AT)
        popular = np.array([counts.get(item, 0) for item in oracle.item_ids], dtype=float)
        hits = np.zeros(2)
        for row, wanted in zip(scores, taken.values(), strict=True):
            for place, ranking in enumerate((row, popular)):
                best = np.argsort(-ranking, kind="stable")[:5]
                hits[place] += sum(oracle.item_ids[item] in wanted for item in best)
        assert hits[0] > 1.5 * hits[1]
        np.testing.assert_array_equal(scores, Oracle(shop, AT).expected(list(taken), CLOSES_AT))
