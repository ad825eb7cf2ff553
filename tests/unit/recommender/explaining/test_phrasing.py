"""How facts are said."""

import pytest

from recommender.explaining.facts import KINDS, Fact
from recommender.explaining.phrasing import TEMPLATES, name_of_item, phrase

FACTS = [
    Fact("aspect", "strings", 4, {"n_praise": 4.0, "n_blame": 1.0, "in_own_words": 0.0}, (), ("great", "warm")),
    Fact("words", "crisp", 1),
    Fact("category", "Tea > Green tea", 2, {"n_of_history": 2.0, "n_history": 5.0}, ("i1", "i2")),
    Fact("brand", "Alba", 1, {"n_of_history": 1.0, "n_history": 5.0}, ("i1",), act="looked at"),
    Fact("price", "usual", 3, {"price": 12.5, "usual_price": 12.0}),
    Fact("price", "less", 3, {"price": 2.5, "usual_price": 12.0}),
    Fact("together", "", 7, {"n_both": 7.0, "n_chose": 20.0, "lift": 2.5}, ("i1",)),
    Fact("liked_together", "", 5, {"n_liked": 4.0, "n_rated": 5.0}, ("i1",)),
    Fact("similar", "", 1, {"cosine": 0.7}, ("i1",)),
    Fact("rating", "", 12, {"mean_rating": 4.5, "n_ratings": 12.0}),
    Fact("popularity", "Tea > Green tea", 90, {"n_events": 90.0, "rank": 2.0, "of": 40.0}),
    Fact("popularity", "", 90, {"n_events": 90.0, "rank": 2.0, "of": 40.0}),
    Fact("popularity", "", 1, {"n_events": 1.0}),
    Fact("attribute", "Tea > Green tea", 1),
    Fact("new", "", 0, {"n_events": 0.0}),
]


def said(fact, seed=0):
    ((*sentences,),) = phrase([fact], lambda item: f"Title of {item}", seed)
    return " ".join(sentences)


def every_form(fact):
    return {said(fact, seed) for seed in range(60)}


def test_every_kind_has_its_templates():
    assert set(TEMPLATES) == set(KINDS) == {fact.kind for fact in FACTS}
    assert all(len(TEMPLATES[kind]) > 1 for kind in KINDS if kind not in ("popularity", "new"))


@pytest.mark.parametrize("fact", FACTS, ids=lambda fact: fact.kind)
def test_every_form_is_a_sentence_that_says_the_fact(fact):
    forms = every_form(fact)
    assert len(forms) >= (1 if fact.kind in ("popularity", "new") else len(TEMPLATES[fact.kind]))
    for text in forms:
        assert text[0] == text[0].upper()
        assert text.endswith(".")
        assert not {"{", "}", "_"} & set(text)
        assert "  " not in text
        assert fact.kind in ("price", "popularity", "attribute") or fact.value in text or ">" in fact.value
        assert not fact.items or "Title of i1" in text


def test_the_seed_chooses_the_words():
    assert said(FACTS[0], 3) == said(FACTS[0], 3)
    assert len(every_form(FACTS[0])) == 3


def test_figures_stand_in_the_sentence():
    assert all("4 " in text and "“great”, “warm”" in text for text in every_form(FACTS[0]))
    assert all("12.50" in text and "12.00" in text for text in every_form(FACTS[4]))
    assert all("7 customers" in text for text in every_form(FACTS[6]))
    assert all("4" in text and "5" in text for text in every_form(FACTS[7]))
    assert every_form(FACTS[10]) == {"It is among the most popular of Green tea: number 2 of 40."}
    assert every_form(FACTS[11]) == {"It is among the most popular of the shop: number 2 of 40."}
    assert every_form(FACTS[12]) == {"Customers have looked at it or chosen it once so far."}


def test_an_aspect_of_the_users_own_words_and_history_says_so():
    fact = Fact("aspect", "lid", 3, {"n_praise": 3.0, "in_own_words": 1.0}, ("i1",), ("good",), "chose")
    for text in every_form(fact):
        assert text.endswith(" You write of that yourself. The same is said of Title of i1, which you chose.")


def test_what_the_user_did_is_said_as_it_was():
    assert all("which you looked at" in text or "You looked at" in text for text in every_form(FACTS[3]))


def test_an_item_is_called_by_its_title_and_never_by_a_review():
    assert name_of_item("A  fine\nkettle", "i1") == "A fine kettle"
    assert name_of_item(None, "i1") == "item i1"
    assert len(name_of_item("long " * 50, "i1")) <= 60


def test_braces_in_a_title_or_value_are_plain_text():
    fact = Fact("brand", "{Alba}", 1, {}, ("i1",))
    ((text,),) = phrase([fact], lambda _: "{0} {item}", 1)
    assert "{Alba}" in text
    assert "{0} {item}" in text
