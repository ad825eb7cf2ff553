"""What is counted over customers, and that nobody of them is kept."""

from dataclasses import replace

import numpy as np
import pytest

from recommender.aspects.aspect import Aspect
from recommender.errors import BundleError
from recommender.explaining.counting import count_together, read_choices, shares_of
from recommender.explaining.item_facts import ItemFacts, paths_of
from tests.unit.recommender.explaining.explained_shop import catalogue_row, facts_of, write_shop
from tests.unit.recommender.tiny_shop import catalogue_of, write

ROWS = [catalogue_row(name) for name in ("kettle-0", "kettle-1", "tea-0", "tea-1")]


def test_pairs_are_counted_from_three_customers_on():
    catalogue = catalogue_of(ROWS)
    choices = [
        {"kettle-0": 5.0, "kettle-1": 4.0}, {"kettle-0": 1.0, "kettle-1": 5.0}, {"kettle-0": None, "kettle-1": 5.0},
        {"tea-0": 5.0, "kettle-0": 5.0}, {"tea-0": 5.0, "kettle-0": 5.0}, {"tea-1": None},
    ]  # fmt: skip
    counts, place = count_together(catalogue, choices), {item: n - 1 for n, item in enumerate(catalogue.ids, start=1)}
    assert counts.n_customers == 6
    assert [int(counts.n_chosen[place[item]]) for item in ("kettle-0", "kettle-1", "tea-0", "tea-1")] == [5, 3, 2, 1]
    rows = counts.rows(place["kettle-0"], np.array([place["kettle-1"], place["tea-0"]]))
    (row,) = rows  # two customers chose the tea
    assert (counts.others[row], counts.n_both[row]) == (place["kettle-1"], 3)
    assert (counts.n_rated[row], counts.n_liked[row]) == (2, 1)  # of the kettle-0, by those who rated both
    (row,) = counts.rows(place["kettle-1"], np.arange(4))
    assert (counts.n_rated[row], counts.n_liked[row]) == (2, 2)
    assert len(counts.rows(place["tea-1"], np.arange(4))) == 0


def test_nobody_chose_anything():
    counts = count_together(catalogue_of(ROWS), [])
    assert (counts.n_customers, counts.n_chosen.tolist(), len(counts.others)) == (0, [0, 0, 0, 0], 0)


def test_choices_are_read_before_the_cut_off_alone(tmp_path):
    choices = read_choices(write_shop(tmp_path / "shop"))
    assert len(choices) == 60
    assert all(len(chosen) == 4 and set(chosen.values()) == {5.0} for chosen in choices.values())
    unrated = read_choices(write_shop(tmp_path / "unrated", reviewed=False))
    assert all(len(chosen) == 4 and set(chosen.values()) == {None} for chosen in unrated.values())


def test_a_shop_in_which_no_three_customers_chose_the_same_is_counted_and_kept(tmp_path):
    facts = facts_of(ROWS)
    counts = count_together(facts.catalogue, [{ROWS[0]["item_id"]: 5.0, ROWS[1]["item_id"]: None}])
    assert (counts.n_customers, len(counts.others), counts.n_chosen.sum()) == (1, 0, 2)
    replace(facts, counts=counts).save(tmp_path)
    assert ItemFacts.load(tmp_path, facts.catalogue).counts.n_rated.dtype == np.int64


def test_who_reviews_an_item_has_chosen_it(tmp_path):
    shop = write_shop(tmp_path / "shop")
    for table in ("sequences", "pairs"):
        write(shop, table, [])
    assert {len(chosen) for chosen in read_choices(shop).values()} == {4}


def test_the_share_of_a_term_is_that_of_the_reviews_that_speak_of_it():
    lid, tone = Aspect("lid", "good", 0.7), Aspect("tone", "good", 0.7)
    assert shares_of([[lid, lid], [lid], [lid, tone], [tone]]) == {"lid": 0.75}


def test_paths_of_a_category_are_its_steps():
    assert paths_of("Tea > Green > Sencha") == ["Tea > Green > Sencha", "Tea > Green", "Tea"]
    assert paths_of(None) == []


def test_facts_are_loaded_as_they_were_saved(tmp_path):
    facts = facts_of(ROWS, {"kettle-0": [("lid", 4), ("spout", 3)]}, {("kettle-0", "tea-1"): (4, 3, 2)})
    facts.save(tmp_path)
    loaded = ItemFacts.load(tmp_path, facts.catalogue)
    assert (loaded.aspects, loaded.shares) == (facts.aspects, facts.shares)
    for name in ("starts", "others", "n_both", "n_rated", "n_liked", "n_chosen"):
        np.testing.assert_array_equal(getattr(loaded.counts, name), getattr(facts.counts, name))
    assert loaded.counts.n_customers == facts.counts.n_customers


def test_facts_of_another_catalogue_or_a_damaged_file_are_refused(tmp_path):
    facts = facts_of(ROWS)
    facts.save(tmp_path)
    with pytest.raises(BundleError, match="they are of 4 items in place of 2"):
        ItemFacts.load(tmp_path, catalogue_of(ROWS[:2]))
    (tmp_path / "aspects.parquet").write_bytes(b"PAR1")
    with pytest.raises(BundleError, match="Cannot load facts of reasons"):
        ItemFacts.load(tmp_path, facts.catalogue)
