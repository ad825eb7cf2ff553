"""Which facts may speak for an item to a user."""

from dataclasses import replace

import pytest

from core import schema
from recommender.aspects.agreement import Agreement
from recommender.explaining import item_facts
from recommender.explaining.candidates import Own, candidates
from recommender.inputs.ids import UnknownItem
from recommender.inputs.texts import item_text
from recommender.inputs.user import UserState
from recommender.metrics.texts import words
from tests.unit.recommender.explaining.explained_shop import catalogue_row, facts_of, nobody_near

ROWS = [catalogue_row(f"{kind}-{n}") for kind in ("kettle", "tea") for n in range(6)]
UNKNOWN = {"item_mean_rating": None, "item_n_ratings": 0, "item_n_events": 0}


def found(facts, user, item="kettle-0", nearest=nobody_near, own=None):
    return {one.fact.kind: one.fact for one in candidates(facts, user, item, nearest, own)}


def chose(*items, **more):
    return UserState(items, (None,) * len(items), events=("purchase",) * len(items), **more)


def test_an_aspect_comes_with_who_praises_it_and_whether_the_user_writes_of_it():
    facts = facts_of(ROWS, {"kettle-0": [("lid", 4)], "tea-1": [("lid", 3)]})
    fact = found(facts, chose("tea-1", own_words="lids, spout"))["aspect"]
    assert (fact.value, fact.support, fact.opinions, fact.items) == ("lid", 4, ("great",), ("tea-1",))
    assert fact.numbers == {"n_praise": 4, "n_blame": 0, "in_own_words": 1}
    assert found(facts, chose("tea-2", own_words="spout"))["aspect"].numbers["in_own_words"] == 0


def test_own_words_are_looked_for_in_the_texts_of_the_shop_alone():
    rows = [catalogue_row("kettle-0", item_text="A whistling kettle"), catalogue_row("kettle-1", title=None)]
    user = chose(own_words="whistling, table, it")
    assert found(facts_of(rows), user)["words"].value == "whistling"
    assert "words" not in found(facts_of(rows), user, "kettle-1")  # its text may be made of reviews


def test_of_a_catalogue_only_the_item_that_is_asked_of_is_read(monkeypatch):
    read = []
    monkeypatch.setattr(item_facts, "words", lambda text: read.append(text) or words(text))
    found(facts_of(ROWS), chose("tea-1"))
    assert read == []
    found(facts_of(ROWS), chose("tea-1", own_words="whistling"))
    assert len(read) == 1


@pytest.mark.parametrize("max_chars", [300, 45])
def test_own_words_that_only_brand_or_category_have_are_not_those_of_title_or_description(max_chars):
    said = ("EXL110 Nickel", "Daddario", "Guitar > Strings", "Bright daddario tone", [], max_chars)
    shop = dict(zip((schema.TITLE, schema.BRAND, schema.CATEGORY), said[:3], strict=True))
    facts = facts_of([catalogue_row("kettle-0", **shop, item_text=item_text(*said))])
    names = {word: "words" in found(facts, chose(own_words=word)) for word in ("strings", "guitar", "nickel", "bright")}
    assert names == {"strings": False, "guitar": False, "nickel": True, "bright": max_chars > 45}
    assert ("words" in found(facts, chose(own_words="daddario"))) == (max_chars > 45)


def test_the_words_of_a_title_are_those_that_stand_in_it_when_it_is_shown():
    title = "Caf&eacute;&nbsp;Strat"
    text = item_text(title, None, None, "Bright", [], 300)
    assert facts_of([catalogue_row("kettle-0", title=title, item_text=text)]).text_words(0) == {
        "café",
        "strat",
        "bright",
    }


def test_categories_and_brands_are_those_of_the_history():
    facts = facts_of(ROWS)
    same = found(facts, chose("kettle-4", "tea-5", "kettle-3"))
    assert (same["category"].value, same["category"].items) == ("Home > Kettles", ("kettle-3", "kettle-4"))
    assert same["category"].numbers == {"n_of_history": 2, "n_history": 3}
    assert "brand" not in same
    above = found(facts, chose("tea-0"))
    assert (above["category"].value, above["brand"].value) == ("Home", "Alba")


def test_the_nearest_item_of_the_history_is_named_first():
    def nearest(user, item_id, n):
        return [("kettle-4", 0.9), ("kettle-3", 0.1)]

    facts = found(facts_of(ROWS), chose("kettle-4", "kettle-3"), nearest=nearest)
    assert facts["category"].items == ("kettle-4", "kettle-3")
    assert (facts["similar"].items, facts["similar"].numbers) == (("kettle-4",), {"cosine": 0.9})
    far = found(facts_of(ROWS), chose("kettle-4"), nearest=lambda *_: [("kettle-4", 0.2)])
    assert "similar" not in far


@pytest.mark.parametrize(
    ("price", "value"), [(10.0, "less"), (13.0, "usual"), (15.0, "usual"), (16.0, None), (None, None), (0.0, None)]
)
def test_a_price_is_held_against_the_median_of_the_history(price, value):
    rows = [catalogue_row("kettle-0", price=price), *ROWS[1:]]
    fact = found(facts_of(rows), chose("kettle-1", "kettle-3", "kettle-5")).get("price")
    assert (fact.value if fact else None) == value
    assert fact is None or fact.numbers == {"price": price, "usual_price": 13.0}


def test_two_prices_are_no_usual_price():
    assert "price" not in found(facts_of(ROWS), chose("kettle-1", "kettle-3"))


def test_what_customers_chose_together_counts_from_three_and_above_chance():
    def together(n_both, n_chosen=10):
        facts = facts_of(ROWS, together={("kettle-0", "tea-1"): (n_both, 0, 0)}, n_chosen=n_chosen)
        return found(facts, chose("tea-1")).get("together")

    fact = together(3)
    assert (fact.items, fact.support, fact.numbers) == (("tea-1",), 3, {"n_both": 3, "n_chose": 10, "lift": 3.0})
    assert together(2) is None
    assert together(30, n_chosen=60) is None  # a third of them all: by chance there would be 36


def test_ratings_of_those_who_rated_both_count_from_three_and_four_in_five():
    def liked(n_rated, n_liked):
        facts = facts_of(ROWS, together={("kettle-0", "tea-1"): (n_rated, n_rated, n_liked)})
        return found(facts, chose("tea-1")).get("liked_together")

    assert liked(5, 4).numbers == {"n_liked": 4, "n_rated": 5}
    assert liked(2, 2) is None
    assert liked(5, 3) is None


def test_what_was_disliked_or_only_looked_at_is_no_choice():
    facts = facts_of(ROWS, together={("kettle-0", "kettle-1"): (9, 0, 0)})
    disliked = UserState(("kettle-1",), (2.0,), events=("rating",))
    assert not {"together", "category", "brand"} & set(found(facts, disliked))
    looked = UserState(("kettle-1",), (None,), events=("view",))
    assert "together" not in found(facts, looked)
    assert found(facts, looked)["category"].act == "looked at"
    both = UserState(("kettle-1", "kettle-2"), (None, None), events=("view", "purchase"))
    assert found(facts, both)["category"].items == ("kettle-2",)


def test_the_item_itself_and_unknown_items_are_no_history():
    assert set(found(facts_of(ROWS), chose("kettle-0", "gone"))) == set(found(facts_of(ROWS), UserState()))


def test_a_good_rating_needs_three_ratings():
    rows = [catalogue_row(f"kettle-{n}", **change) for n, change in enumerate(
        ({}, {"item_n_ratings": 2}, {"item_mean_rating": 3.9}, {"item_mean_rating": None, "item_n_ratings": 0})
    )]  # fmt: skip
    assert found(facts_of(rows), UserState())["rating"].numbers == {"mean_rating": 4.5, "n_ratings": 10}
    assert not [n for n in (1, 2, 3) if "rating" in found(facts_of(rows), UserState(), f"kettle-{n}")]


def test_popularity_is_a_rank_among_the_first_of_the_category():
    facts = facts_of(ROWS)
    first, second = (found(facts, UserState(), f"kettle-{n}")["popularity"] for n in (0, 1))
    assert (first.value, first.numbers) == ("Home > Kettles", {"n_events": 20, "rank": 1, "of": 6})
    assert (second.value, second.numbers) == ("", {"n_events": 19})


def test_there_is_always_a_fact():
    bare = catalogue_row("kettle-9", title=None, category=None, brand=None, price=None, item_text="", **UNKNOWN)
    rows = [*ROWS, bare, catalogue_row("kettle-8", **UNKNOWN)]
    assert set(found(facts_of(rows), chose("tea-1"), "kettle-9")) == {"new"}
    assert set(found(facts_of(rows), UserState(), "kettle-8")) == {"attribute"}
    with pytest.raises(UnknownItem, match="item_id='x'"):
        candidates(facts_of(rows), UserState(), "x", nobody_near)


def test_what_the_user_added_themself_is_taken_out():
    facts = facts_of(ROWS, {"kettle-0": [("lid", 4)]}, {("kettle-0", "tea-1"): (4, 4, 4)})
    user, ids = chose("tea-1"), facts.catalogue.ids
    places = frozenset(ids.index(item) - 1 for item in ("kettle-0", "tea-1"))
    own = Own((Agreement("lid", "lid", 3, 0, ("nice",)),), 5.0, places, places)
    without = found(facts, user, own=own)
    assert without["aspect"].numbers["n_praise"] == 3
    assert without["together"].numbers | {"lift": 0} == {"n_both": 3, "n_chose": 9, "lift": 0}
    assert without["liked_together"].numbers == {"n_liked": 3, "n_rated": 3}
    assert without["rating"].numbers == {"mean_rating": 4.44, "n_ratings": 9}  # 45 stars less 5
    assert without["popularity"].numbers["n_events"] == 19
    unrated = found(facts, user, own=replace(own, rating=None, rated=frozenset()))
    assert unrated["liked_together"].numbers == {"n_liked": 4, "n_rated": 4}
    assert unrated["rating"].numbers == {"mean_rating": 4.5, "n_ratings": 10}
