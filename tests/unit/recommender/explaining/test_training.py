"""The explainer, fitted on a small shop, and what it says there."""

import pytest

from core.settings.models import ReasonSettings
from core.storage import file_digest
from recommender.explaining.examples import speaks_of
from recommender.explaining.explainer import Explainer, one_of_each_sort
from recommender.explaining.facts import Fact
from recommender.explaining.training import fit_explainer, nearest_by_text
from recommender.fitting.context import FitContext
from recommender.inputs.item_vectors import ItemVectors
from recommender.inputs.user import UserState
from tests.unit.recommender.explaining.explained_shop import N_USERS, nobody_near, write_shop

FILES = ("aspects.parquet", "terms.parquet", "counts.safetensors", "relevance.json")
FRIEND_OF_KETTLES = UserState(("kettle-1", "kettle-2"), (5.0, 5.0), own_words="lid", events=("purchase", "purchase"))


ENGLISH = ReasonSettings()


def fit(shop, target, settings=ENGLISH, **more):
    lines = []
    context = FitContext(shop, 1, threads=1, progress=lines.append, **more)
    summary = fit_explainer(context, shop / "vectors", target, settings)
    return summary, lines


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("explainer")
    shop = write_shop(folder / "shop")
    summary, lines = fit(shop, folder / "explainer")
    items = ItemVectors.load(shop / "vectors")
    return shop, summary, lines, Explainer.load(folder / "explainer", items.catalogue), nearest_by_text(items)


def test_reviewers_agree_on_the_sides_that_they_praise(fitted):
    *_, explainer, _ = fitted
    ids, aspects = explainer.facts.catalogue.ids, explainer.facts.aspects
    assert [one.term for one in aspects[ids.index("kettle-0") - 1]] == ["lid"]
    assert [one.term for one in aspects[ids.index("tea-3") - 1]] == ["taste"]


def test_what_reviews_speak_of_is_said_first_and_again_with_the_same_seed(fitted):
    *_, explainer, nearest = fitted
    reason = explainer.explain(FRIEND_OF_KETTLES, "kettle-0", nearest, seed=3)
    first = reason.statements[0].fact
    assert (reason.grounded, first.kind, first.value) == ("template", "aspect", "lid")
    assert reason.text.startswith(reason.statements[0].text)
    assert explainer.explain(FRIEND_OF_KETTLES, "kettle-0", nearest, seed=3) == reason
    other = [explainer.explain(FRIEND_OF_KETTLES, "kettle-0", nearest, seed) for seed in range(20)]
    assert len({one.text for one in other}) > 3
    facts = [[statement.fact for statement in one.statements] for one in (reason, *other)]
    assert all(one == facts[0] for one in facts)


def test_a_reason_says_one_thing_of_each_sort(fitted):
    *_, explainer, nearest = fitted
    ranked = explainer.ranked(FRIEND_OF_KETTLES, "kettle-0", nearest)
    scores = [score for _, score in ranked]
    assert scores == sorted(scores, reverse=True)
    assert len(one_of_each_sort(ranked)) < len(ranked)
    sorts = [fact.kind for fact, _ in one_of_each_sort([(Fact("brand", "a", 1), 1.0), (Fact("category", "b", 1), 0.5)])]
    assert sorts == ["brand"]


def test_a_second_statement_gives_way_to_a_limit_and_to_irrelevance(fitted, monkeypatch):
    *_, explainer, nearest = fitted
    whole = explainer.explain(FRIEND_OF_KETTLES, "kettle-0", nearest, seed=3)
    assert len(whole.statements) == 2
    short = explainer.explain(FRIEND_OF_KETTLES, "kettle-0", nearest, seed=3, max_words=len(whole.text.split()) - 1)
    assert short.statements == whole.statements[:1]
    assert explainer.explain(FRIEND_OF_KETTLES, "kettle-0", nearest, seed=3, max_words=len(whole.text.split())) == whole
    monkeypatch.setattr("recommender.explaining.explainer.LEAST_RELEVANT", 1e9)
    assert len(explainer.explain(FRIEND_OF_KETTLES, "kettle-0", nearest, seed=3).statements) == 1


@pytest.mark.parametrize("user", [UserState(), UserState(("gone",), (None,)), UserState(own_words="忽略, \x00, 好茶")])
def test_everybody_gets_a_reason(fitted, user):
    *_, explainer, _ = fitted
    assert explainer.explain(user, "tea-5", nobody_near, seed=1).text.endswith(".")


def test_how_cautious_it_is_is_chosen_and_held(fitted, tmp_path):
    shop, summary, lines, *_ = fitted
    assert summary.choices["strength"] in (0.01, 0.1, 1.0, 10.0)
    assert set(summary.metrics) == {"validation_auc_by_reviews", "validation_auc_by_choices"}
    assert "12 of 12 items have aspects that reviewers agree on" in lines[-1]
    (tmp_path / "held").mkdir()
    replace_strength = summary.model_copy(update={"choices": {"strength": 0.01}})
    replace_strength.write(tmp_path / "held")
    again, _ = fit(shop, tmp_path / "again", held=tmp_path / "held")
    assert (again.choices, again.metrics) == ({"strength": 0.01}, {})


def test_the_same_seed_gives_the_same_files(fitted, tmp_path):
    shop, *_ = fitted
    for name in ("one", "two"):
        fit(shop, tmp_path / name)
    assert [file_digest(tmp_path / "one" / name) for name in FILES] == [
        file_digest(tmp_path / "two" / name) for name in FILES
    ]


def test_no_user_and_no_sentence_of_a_review_is_kept(fitted):
    _, summary, *_ = fitted
    kept = b"".join((summary.folder / name).read_bytes() for name in FILES)
    assert b"lid" in kept
    assert b"since then" not in kept
    assert b"I have used it" not in kept
    assert not [number for number in range(N_USERS) if b"u%d\x00" % number in kept or b'"u%d"' % number in kept]


def test_without_a_language_reviews_give_no_aspects(fitted, tmp_path):
    shop, *_ = fitted
    summary, lines = fit(shop, tmp_path / "explainer", ReasonSettings(language="none"))
    assert summary is not None
    assert "0 of 12 items have aspects" in lines[-1]


def test_without_reviews_choices_teach(tmp_path):
    shop = write_shop(tmp_path / "shop", reviewed=False)
    summary, _ = fit(shop, tmp_path / "explainer")
    assert set(summary.metrics) == {"validation_auc_by_choices"}
    items = ItemVectors.load(shop / "vectors")
    explainer = Explainer.load(tmp_path / "explainer", items.catalogue)
    # Everybody stays with one kind, so what is chosen together tells a choice from another item.
    tea, kettle = (explainer.ranked(FRIEND_OF_KETTLES, item, nobody_near) for item in ("tea-5", "kettle-5"))
    assert kettle[0][1] > 0
    (above,), (same,) = ([score for fact, score in ranked if fact.kind == "category"] for ranked in (tea, kettle))
    assert above < same


def test_with_few_choices_there_is_no_component(tmp_path, monkeypatch):
    shop = write_shop(tmp_path / "shop")
    monkeypatch.setattr("recommender.explaining.training.MIN_CHOICES", 1000)
    summary, lines = fit(shop, tmp_path / "explainer")
    assert summary is None
    assert lines[-1] == "reasons: none, for 240 choices are fewer than 1000"
    assert not (tmp_path / "explainer").exists()


@pytest.mark.parametrize(
    ("fact", "text", "spoken"),
    [
        (Fact("aspect", "battery life", 3), "the battery has a life", True),
        (Fact("aspect", "battery life", 3), "the battery", False),
        (Fact("aspect", "strings", 3), "a string", True),
        (Fact("price", "less", 3), "worth the money", True),
        (Fact("price", "less", 3), "a fine tone", False),
        (Fact("category", "Tea > Green tea", 3), "so green", True),
        (Fact("brand", "Alba Home", 3), "from alba", False),
        (Fact("words", "crisp", 1), "crisp", True),
        (Fact("brand", "", 3), "from alba", False),
    ],
)
def test_a_review_speaks_of_a_fact_by_its_words(fact, text, spoken):
    assert speaks_of(frozenset(text.split()), fact, "en") is spoken
