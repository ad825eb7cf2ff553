"""Sets of seen items by their keys, and finding them in a catalogue, against plain sets."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from recommender.inputs.ids import IdMap
from recommender.inputs.seen import KeyTable, SeenItems, item_key
from recommender.inputs.user import UserState

names = st.lists(st.text(max_size=6), unique=True, max_size=60)


def test_keys_are_64_bits_of_the_ids_hash() -> None:
    # A change would read every stored key as another item's.
    assert item_key("a") == 3405396810240292928
    assert item_key("ü") == 3976460501203677525


def test_a_set_is_the_same_whatever_the_order_and_the_repeats() -> None:
    assert SeenItems.of_items(["b", "a", "b"]) == SeenItems.of_keys(np.array([item_key("a"), item_key("b")]))
    assert len(SeenItems.of_items(["b", "a", "b"])) == 2
    assert SeenItems.of_keys([]) == SeenItems()
    keys = SeenItems.of_items(f"i{n}" for n in range(100)).keys
    assert (np.diff(keys) > 0).all()


@given(names, names)
def test_a_catalogue_finds_what_it_has_of_a_set(catalogue: list[str], seen: list[str]) -> None:
    ids = IdMap(tuple(catalogue))
    places = ids.places_of(SeenItems.of_items(seen)).tolist()
    assert sorted(places) == sorted(catalogue.index(name) for name in set(seen) & set(catalogue))


@given(st.lists(st.integers(-(2**63), 2**63 - 1) | st.integers(-5, 5), unique=True), st.data())
def test_keys_that_lie_close_together_are_found_too(known: list[int], data: st.DataObject) -> None:
    some = st.integers(-(2**63), 2**63 - 1) | (st.sampled_from(known) if known else st.nothing())
    asked = data.draw(st.lists(some, unique=True))
    found = KeyTable(np.array(known, dtype=np.int64)).find(np.array(asked, dtype=np.int64))
    assert sorted(found.tolist()) == sorted(known.index(key) for key in asked if key in known)


def test_a_large_catalogue_finds_all_of_a_large_set() -> None:
    ids = IdMap(tuple(f"i{n}" for n in range(30_000)))
    places = ids.places_of(SeenItems.of_items(f"i{n}" for n in range(20_000, 40_000)))
    assert sorted(places.tolist()) == list(range(20_000, 30_000))


def test_what_is_seen_masks_where_it_is_known_and_the_history_where_it_is_not() -> None:
    ids = IdMap(("a", "b", "c", "d"))
    bare = UserState.from_history(["c", "unheard of", "a"])
    assert sorted(bare.seen_places(ids).tolist()) == [0, 2]
    told = UserState(items=("c",), values=(None,), seen=SeenItems.of_items(["d", "b", "unheard of"]))
    assert sorted(told.seen_places(ids).tolist()) == [1, 3]
    assert UserState(items=("c",), values=(None,), seen=SeenItems()).seen_places(ids).tolist() == []
