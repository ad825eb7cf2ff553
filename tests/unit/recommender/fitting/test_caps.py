"""A cap that leaves something out says how many of how many, as it happens, in the summary and in the report."""

from pathlib import Path
from typing import Any

import pytest

from core.settings.models import BlendSettings, ItemKnnSettings, NeighbourSettings
from recommender.evaluation.evaluation import read_caps
from recommender.evaluation.report import render
from recommender.fitting.context import FitContext
from recommender.fitting.summary import FitSummary
from recommender.ranking.blend_training import fit_blend
from recommender.retrieval.generative.training import fit_generative
from recommender.retrieval.sequence.fit import fit_sequence
from recommender.writing.training import fit_writer
from tests.unit.recommender.evaluation.test_evaluation import QUERIES, Fixed
from tests.unit.recommender.evaluation.test_evaluation import evaluate_rankers as evaluate
from tests.unit.recommender.retrieval.generative.tiny_model import QUICK as GENERATIVE
from tests.unit.recommender.tiny_shop import N_ITEMS, QUICK, save_random_vectors, write_training_set
from tests.unit.recommender.written_shop import TINY, write_reviews

N_USERS = 40
SAMPLE = "a sample that is enough for a steady figure"


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    save_random_vectors(write_training_set(tmp_path / "training", N_USERS), tmp_path / "vectors")
    return tmp_path


def fit_all(shop: Path, max_items: int) -> list[str]:
    """Fit what ranks; what was said."""
    said: list[str] = []
    fit = FitContext(shop / "training", 1, 5, 1, said.append)
    once = {"max_epochs": 1}
    fit_sequence(fit, shop / "vectors", shop / "sequence", QUICK.model_copy(update=once), 6)
    parts = NeighbourSettings(max_items=max_items), ItemKnnSettings(max_items=max_items)
    fit_blend(fit, shop / "vectors", shop / "sequence", shop / "blend", parts, BlendSettings(profiles=False))
    fit_generative(fit, shop / "vectors", shop / "generative", GENERATIVE.model_copy(update=once), 6)
    return said


def test_nothing_is_said_where_nothing_is_left_out(shop: Path) -> None:
    said = fit_all(shop, max_items=N_ITEMS)
    assert read_caps(shop) == {}
    assert not any(" of 24, by " in line or SAMPLE in line for line in said)


def test_what_is_left_out_is_counted(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module, name, most in (
        ("retrieval.sequence.training", "MAX_VALIDATION_QUERIES", 7),
        ("retrieval.generative.training", "MAX_VALIDATION_QUERIES", 8),
        ("retrieval.generative.training", "MAX_FITTED", 9),
        ("ranking.blend_training", "MAX_QUERIES", 10),
    ):
        monkeypatch.setattr(f"recommender.{module}.{name}", most)
    said = fit_all(shop, max_items=11)
    left_out = {
        "sequence": [("validation users that the sequence model is chosen by", 7, N_USERS, SAMPLE)],
        "blend": [
            ("validation users that the blend is chosen by", 10, N_USERS, SAMPLE),
            ("items that neighbours learns", 11, N_ITEMS, "neighbours.max_items"),
            ("items that item_knn learns", 11, N_ITEMS, "item_knn.max_items"),
        ],
        "generative": [
            ("items that the semantic ids' codes are fitted on; all get one", 9, N_ITEMS, SAMPLE),
            ("validation users that the generative model is chosen by", 8, N_USERS, SAMPLE),
        ],
    }
    caps = read_caps(shop)
    assert {
        name: [tuple(cap[key] for key in ("what", "taken", "there", "by")) for cap in found]
        for name, found in caps.items()
    } == left_out
    assert [cap.taken for cap in FitSummary.read(shop / "blend").caps] == [10, 11, 11]
    for what, taken, there, by in (one for found in left_out.values() for one in found):
        assert f"{what}: {taken} of {there}, by {by}" in said
    metrics: dict[str, Any] = evaluate({"popularity": Fixed(), "blend": Fixed()}, QUERIES, k=2, seed=0)
    page = render({**metrics, "scorer": None, "curves": {}, "caps": caps}, "t", "s")
    assert "<h2>Left out</h2>" in page
    assert "neighbours.max_items" in page
    assert "<h2>Left out</h2>" not in render({**metrics, "scorer": None, "curves": {}, "caps": {}}, "t", "s")


def test_texts_that_a_short_training_never_shows_are_counted(tmp_path: Path) -> None:
    training = write_reviews(tmp_path / "reviews", n_train=110)
    settings = TINY.model_copy(update={"max_steps": 2})
    summary = fit_writer(FitContext(training, 1, threads=1), tmp_path / "writer", settings)
    assert summary is not None
    ((what, taken, there),) = [(cap.what, cap.taken, cap.there) for cap in summary.caps]
    assert what == "texts that the writer is shown"
    assert taken == 2 * settings.batch_size
    assert there > taken
