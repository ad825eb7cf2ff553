"""A shop whose items are wanted for weeks only: what was popular recently is served where nothing learned is better."""

import random
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from core.layout import Layout
from recommender.bundle.loading import load_bundle
from recommender.ranking.baseline_ranker import BaselineRanker
from serving.api.recommend import RecommendRequest
from serving.engine import Engine
from tests.integration.conftest import table_settings, write_tables

pytestmark = pytest.mark.long

SHOP = "films"
N_ITEMS, N_DAYS, N_USERS = 100, 100, 300
DAYS_IN_CINEMAS = 30
RUN = """
import sys
from flows.params import PipelineParams
from flows.pipeline import pipeline
from core.settings.tree import Recipe
recipe = Recipe.model_validate_json(sys.argv[1])
for _ in range(2):
    print(pipeline(PipelineParams(shop="films", recipe=recipe)).model_dump_json())
"""


def write_films(folder: Path) -> None:
    """A film a day, each seen for a month and no longer, one in four by far more people than the others."""
    rng, start = random.Random(5), datetime(2025, 1, 1, tzinfo=UTC)
    draw = {f"i{n:03d}": rng.choice((1, 1, 1, 8)) for n in range(N_ITEMS)}
    released = {item: n * N_DAYS / N_ITEMS for n, item in enumerate(draw)}
    rows = []
    for user in range(N_USERS):
        seen: set[str] = set()
        first = rng.uniform(0, N_DAYS * 0.75)
        for _ in range(8):
            day = first + rng.uniform(0, 25)
            shown = [item for item in draw if 0 <= day - released[item] < DAYS_IN_CINEMAS and item not in seen]
            item = rng.choices(shown, [draw[one] for one in shown])[0]
            seen.add(item)
            rows.append((f"u{user:03d}", item, (start + timedelta(days=day)).isoformat()))
    write_tables(folder, rows, [(item, f"Film {item}", item[-1]) for item in draw])


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory, run_flows):
    """The pipeline, run twice over the shop: the work folder, and what each run came to."""
    root = tmp_path_factory.mktemp("films")
    write_films(root / "data")
    settings = table_settings(root, SHOP, **{"recipe.sequence.max_epochs": 1, "recipe.blend.kind": "none"})
    return root / "work", run_flows(RUN, settings, settings.recipe.model_dump_json())


def test_the_baseline_goes_into_service_once_and_the_run_says_so(outcomes):
    _, (first, again) = outcomes
    ndcg = {model: figures["ndcg_at_10"] for model, figures in first["metrics"]["ranking"].items()}
    assert (first["promoted"], first["served"]) == (True, "popularity_recent")
    assert first["metrics"]["served"] == "popularity_recent"
    assert first["baseline"]["value"] == ndcg["popularity_recent"] > ndcg["blend"]
    lost = (
        f"the candidate's ndcg_at_10 of {ndcg['blend']:.4f} is significantly worse than that of the best baseline "
        f"on validation, popularity, recent window, with {ndcg['popularity_recent']:.4f}"
    )
    assert first["reason"].startswith(f"{lost} (")
    assert first["reason"].endswith("that baseline is served instead")

    assert (again["promoted"], again["served"]) == (False, "popularity_recent")
    assert again["in_service"] == first["in_service"]
    assert again["reason"].endswith(f"that baseline is in service already: {first['in_service']}")
    done = [{step["step"] for step in outcome["steps"]} for outcome in (first, again)]
    for step in ("fit-baseline", "assemble-baseline", "promote"):
        assert step in done[0]
        assert step not in done[1]


def test_the_bundle_in_the_store_answers_with_what_is_popular_of_late(outcomes):
    from features.online import OnlineFeatures

    work_dir, (first, _) = outcomes
    [folder] = [path.parent for path in (work_dir / "bentoml" / "models").glob("*/*/manifest.json")]
    bundle = load_bundle(folder)
    assert isinstance(bundle.ranker, BaselineRanker)
    assert (bundle.manifest.kind, bundle.manifest.metrics["served"]) == ("popularity_recent", "popularity_recent")
    assert {name.partition("/")[0] for name in bundle.manifest.files} == {"vectors", "baseline", "explainer"}
    features = OnlineFeatures(Layout(work_dir, SHOP).feast, bundle.manifest.recipe.features)
    engine = Engine(model=first["in_service"], bundle=bundle, features=features, max_k=50)
    answer = engine.recommend(RecommendRequest(user_id=first["example_user"], k=5))
    assert (len(answer.items), answer.cold_start, answer.reason) == (5, False, None)
    assert {item.part for item in answer.items} == {"popularity"}
    assert not {item.item_id for item in answer.items} & set(features.read_user(first["example_user"]).items)
    assert engine.recommend(RecommendRequest(k=1)).cold_start
