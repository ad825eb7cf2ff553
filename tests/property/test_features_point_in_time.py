"""Every feature, as of the moment of every event, is what a plain recount says; and merging arrivals gives the same."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from hypothesis import strategies as st

from core import schema
from features.counting.columns import Facts, ItemAttributes, Lists
from features.counting.derivation import ITEM_INPUTS, USER_INPUTS, derive_item, derive_user
from features.counting.item_facts import ItemFacts
from features.counting.seen import SeenFacts, new_seen, still_seen, take_into_seen
from features.counting.sketches import Arrival, Attributes, new_item, new_user, take_into_item, take_into_user
from features.counting.streams import DAY_US, PRICE_UNITS, order_events
from features.counting.user_facts import UserFacts
from recommender.inputs.seen import item_key
from tests.property.laws import law
from tests.unit.features.plain import IGNORED, LoggedEvent, clocks, item_features, same, seen_items, user_features

MAX_HISTORY, N_AFFINITIES, WINDOWS = 2, 2, (1, 3, 7)
CATALOGUE: dict[str, dict[str, Any]] = {
    "a": {"category": "Tools", "brand": "Acme", "price": 9.5, "created_us": None},
    "b": {"category": "Tools", "brand": None, "price": 0.333, "created_us": 5},
    "c": {"category": "Bells", "brand": "Acme", "price": None, "created_us": 3 * DAY_US},
    "d": {"category": None, "brand": "Zeta", "price": 120.0, "created_us": -9 * DAY_US},
}
KINDS = ("impression", "view", "click", "purchase", "rating", "cart")

event_rows = st.builds(
    dict,
    user=st.sampled_from("uuv"),
    item=st.sampled_from("abcde"),
    event=st.sampled_from(KINDS),
    # Few instants, so that many events are tied; next to each other, so that clocks run into each other; around
    # midnight, so that they do it over the end of a day; and days apart.
    us=st.builds(
        lambda day, us: day * DAY_US + us,
        st.integers(20_000, 20_009),
        st.sampled_from([0, 1, 2, 500, DAY_US - 2, DAY_US - 1]),
    ),
    position=st.none() | st.integers(0, 2),
    value=st.none() | st.sampled_from([1.0, 2.5, 3.33333, 4.0, 5.0]),
)
logs = st.lists(event_rows, min_size=1, max_size=22).map(
    lambda rows: [LoggedEvent(event_id=f"e{n}", tie=(n * 7919) % 31, **row) for n, row in enumerate(rows)]
)


def table_of(log: Sequence[LoggedEvent]) -> pa.Table:
    columns = {
        schema.USER_ID: pa.array([e.user for e in log]),
        schema.ITEM_ID: pa.array([e.item for e in log]),
        schema.EVENT: pa.array([e.event for e in log]),
        schema.VALUE: pa.array([e.value for e in log], pa.float64()),
        schema.TIMESTAMP: pa.array([e.us for e in log], pa.timestamp("us", tz="UTC")),
        schema.POSITION: pa.array([e.position for e in log], pa.int64()),
        "tie": pa.array([e.tie for e in log], pa.int64()),
    }
    return pa.table(columns)


def in_price_units(price: float | None) -> int | None:
    return None if price is None else round(price * PRICE_UNITS)


def facts_of(log: Sequence[LoggedEvent]) -> tuple[Any, UserFacts, ItemFacts]:
    events = order_events(table_of(log), IGNORED)
    rows = [{"item_id": item, **known} for item, known in CATALOGUE.items()]
    catalogue = pa.Table.from_pylist(
        rows,
        schema=pa.schema(
            [("item_id", pa.string()), ("category", pa.string()), ("brand", pa.string()), ("price", pa.float64())]
        ),
    )
    attributes = ItemAttributes.of(events.items, catalogue)
    return events, UserFacts(events, attributes, MAX_HISTORY), ItemFacts(events, max(WINDOWS))


def row_of(facts: Facts, n: int) -> dict[str, Any]:
    lists = {name: value.to_arrow()[n].as_py() for name, value in facts.items() if isinstance(value, Lists)}
    return {name: lists[name] if name in lists else value[n].item() for name, value in facts.items()}  # type: ignore[union-attr]


def catalogue_facts(facts: Facts, item: str) -> Facts:
    known = CATALOGUE.get(item, {})
    price, created = in_price_units(known.get("price")), known.get("created_us") or 0
    n = len(facts["item_n_events"])  # type: ignore[arg-type]
    return {
        **facts,
        "item_price": np.full(n, -1 if price is None else price),
        "item_created_us": np.full(n, created),
    }


@law(logs, few=200, many=1000)
def test_features_as_of_any_moment_are_a_plain_recount(log: list[LoggedEvent]) -> None:
    events, users, items = facts_of(log)
    # Just before each event, just after it, and long after all.
    clock = clocks(log)
    moments = sorted({clock[e.event_id] + off for e in log for off in (-1, 0)} | {max(clock.values()) + 9 * DAY_US})
    at = np.array(moments)
    for user in "uvw":
        code = np.full(len(at), events.users.to_pylist().index(user) if user in events.users.to_pylist() else -1)
        facts = users.as_of(
            code, at, [*USER_INPUTS, "history_items", "history_values", "history_events", "active_days"]
        )
        derived = {**facts, **derive_user(facts, at, N_AFFINITIES)}
        for n, moment in enumerate(moments):
            expected = user_features(
                log, user, moment, catalogue=CATALOGUE, max_history=MAX_HISTORY, n_affinities=N_AFFINITIES
            )
            assert_same(row_of(derived, n), expected, (user, moment))
    for item in "abdez":
        code = np.full(len(at), events.items.to_pylist().index(item) if item in events.items.to_pylist() else -1)
        names = [name for name in ITEM_INPUTS if name not in ("item_price", "item_created_us")]
        facts = catalogue_facts(items.as_of(code, at, names), item)
        derived = derive_item(facts, at, WINDOWS)
        for n, moment in enumerate(moments):
            expected = item_features(log, item, moment, catalogue=CATALOGUE, windows=WINDOWS)
            assert_same(row_of(derived, n), expected, (item, moment))


@law(logs, st.randoms(use_true_random=False), few=200, many=1000)
def test_arrivals_in_any_order_end_with_the_facts_of_a_recount(log: list[LoggedEvent], rng: random.Random) -> None:
    events, users, items = facts_of(log)
    late = np.array([2**60])
    arriving = list(log)
    rng.shuffle(arriving)
    user_rows = {user: new_user() for user in "uv"}
    item_rows = {item: new_item() for item in "abcde"}
    for e in arriving:
        known = CATALOGUE.get(e.item, {})
        attributes = Attributes(known.get("category"), known.get("brand"), in_price_units(known.get("price")))
        position = 1 << 62 if e.position is None else e.position
        arrival = Arrival(e.item, e.event, e.counts, e.value, e.us, position, e.tie)
        take_into_user(user_rows[e.user], arrival, attributes, MAX_HISTORY)
        take_into_item(item_rows[e.item], arrival, max(WINDOWS))
    for n, user in enumerate(events.users.to_pylist()):
        recounted = users.as_of(np.array([n]), late, list(users.facts()))
        assert repr(dict(sorted(user_rows[user].items()))) == repr(dict(sorted(row_of(recounted, 0).items())))
    for n, item in enumerate(events.items.to_pylist()):
        recounted = row_of(items.as_of(np.array([n]), late, list(items.facts())), 0)
        assert {name: item_rows[item][name] for name in recounted} == recounted


kinds = st.lists(st.sampled_from(KINDS), min_size=1, max_size=3, unique=True)


@law(logs, kinds, st.none() | st.sampled_from([0.5, 1.0, 3.0]), few=100, many=500)
def test_what_was_seen_as_of_any_moment_is_a_plain_recount(
    log: list[LoggedEvent], chosen: list[str], within_days: float | None
) -> None:
    events, _, _ = facts_of(log)
    seen, clock = SeenFacts(events, chosen), clocks(log)
    moments = sorted({clock[e.event_id] + off for e in log for off in (-1, 0)} | {max(clock.values()) + 2 * DAY_US})
    at = np.array(moments)
    for user in "uvw":
        code = np.full(len(at), events.users.to_pylist().index(user) if user in events.users.to_pylist() else -1)
        facts = seen.as_of(code, at, ["seen_n_events", "seen_last_us", "seen_keys", "seen_us"])
        for n, moment in enumerate(moments):
            row = row_of(facts, n)
            known = [e for e in log if e.user == user and e.event in chosen and clock[e.event_id] <= moment]
            assert row["seen_n_events"] == len(known)
            assert row["seen_last_us"] == max((e.us for e in known), default=0)
            kept = still_seen(np.array(row["seen_us"], dtype=np.int64), moment, within_days)
            expected = seen_items(log, user, moment, kinds=chosen, within_days=within_days)
            assert np.array(row["seen_keys"], dtype=np.int64)[kept].tolist() == sorted(map(item_key, expected))


@law(logs, kinds, st.randoms(use_true_random=False), few=100, many=500)
def test_arrivals_in_any_order_end_with_what_a_recount_says_was_seen(
    log: list[LoggedEvent], chosen: list[str], rng: random.Random
) -> None:
    events, _, _ = facts_of(log)
    arriving = [e for e in log if e.event in chosen]
    rng.shuffle(arriving)
    rows = {user: new_seen() for user in "uv"}
    for e in arriving:
        take_into_seen(rows[e.user], Arrival(e.item, e.event, e.counts, e.value, e.us, e.position or 0, e.tie))
    seen = SeenFacts(events, chosen)
    for n, user in enumerate(events.users.to_pylist()):
        assert row_of(seen.as_of(np.array([n]), np.array([2**60]), list(new_seen())), 0) == rows[user]


def assert_same(found: dict[str, Any], expected: dict[str, Any], where: object) -> None:
    different = {name: (found[name], value) for name, value in expected.items() if not same(found[name], value)}
    assert not different, (where, different)
