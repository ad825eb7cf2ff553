"""The examples of docs/your-data.md, from file to answer, with nothing but the settings that profile wrote."""

import pytest

from core.layout import Layout
from core.settings.loading import parse_settings
from recommender.bundle.loading import load_bundle
from serving.api.feedback import FeedbackRequest
from serving.api.recommend import RecommendRequest
from serving.api.score import ScoreRequest
from serving.engine import Engine
from tests.integration.conftest import SMALL
from tests.own_data import EXAMPLES
from tests.unit.recommender.tiny_language_models import write_llama

pytestmark = pytest.mark.long

RUN = """
import sys
from flows.params import PipelineParams
from flows.pipeline import pipeline
from core.settings.tree import Recipe
for shop, recipe in zip(sys.argv[1::2], sys.argv[2::2], strict=True):
    print(pipeline(PipelineParams(shop=shop, recipe=Recipe.model_validate_json(recipe))).model_dump_json())
"""
CAN = {  # what each shop's data allow: scores, feedback texts
    "orders.csv": (False, False),
    "reviews.csv": (True, True),
    "clicks.csv": (False, False),
    "shop.db": (False, False),
}


def quick(settings, work_dir, writer=None):
    """The settings with models that learn in a second or two, and with another writer where one is given."""
    tree = settings.model_dump(mode="json")
    if writer is not None:
        tree["recipe"]["writer"] = writer
    for name, value in SMALL.items():
        *path, last = name.split(".")
        if "source" not in path and (writer is None or "writer" not in path):
            node = tree
            for part in path:
                node = node[part]
            node[last] = value
    return parse_settings({**tree, "work_dir": str(work_dir)})


@pytest.fixture(scope="module")
def shops(tmp_path_factory, run_flows):
    """The pipeline over every example, one after another in one work folder: settings and outcome by file.

    The reviews teach a language model that lies in a folder of its own, as one of a user's choice would.
    """
    root = tmp_path_factory.mktemp("own-data")
    llama = write_llama(root / "llama")
    settings = {}
    for example in EXAMPLES:
        folder = root / example.file.replace(".", "-")
        folder.mkdir()
        guessed = example.settings(folder)
        taught = guessed.recipe.writer.kind == "language_model"
        writer = {"kind": "language_model", "model": str(llama), "max_steps": 3, "trained_layers": 2}
        settings[example.file] = quick(guessed, root / "work", writer if taught else None)
    arguments = [part for one in settings.values() for part in (one.shop, one.recipe.model_dump_json())]
    outcomes = run_flows(RUN, next(iter(settings.values())), *arguments)
    return {file: (one, outcome) for (file, one), outcome in zip(settings.items(), outcomes, strict=True)}


@pytest.fixture(params=sorted(CAN))
def answering(request, shops):
    """An engine of the shop's bundle, what the shop can, and the outcome of its run."""
    from features.online import OnlineFeatures

    settings, outcome = shops[request.param]
    layout = Layout(settings.work_dir, settings.shop)
    name, _, version = outcome["in_service"].partition(":")
    bundle = load_bundle(settings.work_dir / "bentoml" / "models" / name / version)
    features = OnlineFeatures(layout.feast, bundle.manifest.recipe.features)
    return Engine(model=outcome["in_service"], bundle=bundle, features=features, max_k=50), CAN[request.param], outcome


def test_every_example_ends_in_an_answer(answering):
    engine, (scores, writes), outcome = answering
    user = outcome["example_user"]
    answer = engine.recommend(RecommendRequest(user_id=user, k=5))
    assert (len(answer.items), answer.cold_start) == (5, False)
    assert not {item.item_id for item in answer.items} & set(engine.features.read_user(user).items)
    assert all(item.label for item in answer.items)
    assert (engine.capabilities["score"], engine.capabilities["feedback"]) == (scores, writes)


def test_a_list_of_unknown_and_known_items_is_answered(answering):
    engine, _, outcome = answering
    known = outcome["example_item"]
    answer = engine.recommend(RecommendRequest(history=["gone", known], k=3))
    assert (answer.skipped_history, answer.cold_start) == (["gone"], False)
    assert known not in {item.item_id for item in answer.items}


def test_the_film_reviews_are_scored_on_one_to_five_and_written(shops):
    from features.online import OnlineFeatures

    settings, outcome = shops["reviews.csv"]
    name, _, version = outcome["in_service"].partition(":")
    bundle = load_bundle(settings.work_dir / "bentoml" / "models" / name / version)
    features = OnlineFeatures(Layout(settings.work_dir, settings.shop).feast, bundle.manifest.recipe.features)
    engine = Engine(model="films", bundle=bundle, features=features, max_k=50)
    (score,) = engine.score(ScoreRequest(item_ids=[outcome["example_item"]], user_id=outcome["example_user"])).items
    assert 1 <= score.rating <= 5
    asked = FeedbackRequest(item_id=outcome["example_item"], user_id=outcome["example_user"], seed=1)
    assert engine.feedback(asked).text
    assert (bundle.writer.adapter, bundle.writer.decodes_in) == (None, "auto"), "read, and not to be fine-tuned on"
    assert bundle.manifest.recipe.writer.kind == "language_model"
    assert bundle.manifest.recipe.validation.cleaning.rating_scale == (0.5, 5.0)
