"""Fitting the generative model on users who walk round the catalogue."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from core.settings.models import AugmentationSettings, GenerativeSettings
from core.storage import file_digest
from recommender.errors import BundleError, NotFinite, TrainingDataError
from recommender.fitting.context import FitContext
from recommender.inputs.item_vectors import ItemVectors
from recommender.inputs.queries import read_queries
from recommender.inputs.user import UserState
from recommender.metrics.ranking_evaluation import evaluate_ranker
from recommender.retrieval.generative.ranker import GenerativeRanker
from recommender.retrieval.generative.training import fit_generative, next_code_losses
from recommender.retrieval.popularity import PopularityRanker
from tests.unit.recommender.retrieval.generative.tiny_model import QUICK, random_model, tiny_vectors
from tests.unit.recommender.tiny_shop import (
    history,
    item,
    save_random_vectors,
    write,
    write_training_set,
)


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    training, vectors = write_training_set(tmp_path / "training", n_users=100), tmp_path / "vectors"
    save_random_vectors(training, vectors)
    return tmp_path


def fit(shop: Path, settings: GenerativeSettings = QUICK, name: str = "generative"):
    said: list[str] = []
    context = FitContext(shop / "training", 1, 5, 1, said.append)
    return fit_generative(context, shop / "vectors", shop / name, settings, max_history=6), said


@pytest.mark.parametrize("softmax", ["trie", "codes"])
def test_the_next_item_is_learned(shop: Path, softmax: str) -> None:
    settings = QUICK.model_copy(update={"softmax": softmax, "max_epochs": 8})
    summary, said = fit(shop, settings)
    vectors = ItemVectors.load(shop / "vectors")
    queries = read_queries(shop / "training", "validation")
    ranker = GenerativeRanker.load(shop / "generative", vectors)
    ndcg = evaluate_ranker(ranker.at_least(5), queries, 5).per_query["ndcg"].mean()
    assert ndcg == pytest.approx(summary.metrics["ndcg_at_5"])
    assert ndcg > 2 * evaluate_ranker(PopularityRanker(vectors), queries, 5).per_query["ndcg"].mean()
    assert [point["epoch"] for point in summary.curve] == list(range(1, summary.epochs + 1))
    assert any("semantic ids of 4 x 4 x" in line for line in said)


def test_context_is_read_and_not_predicted(tmp_path: Path) -> None:
    model, batch = random_model(tiny_vectors(tmp_path)), torch.tensor([[1, 2, 3, 4], [5, 6, 7, 0]])
    whole = next_code_losses(model, batch, torch.tensor([0, 0]))  # of 1, 2, 3, 4, 5, 6, 7
    torch.testing.assert_close(next_code_losses(model, batch, torch.tensor([2, 0])), whole[2:])
    torch.testing.assert_close(next_code_losses(model, batch, torch.tensor([3, 2])), whole[[3, 6]])


def test_the_best_epoch_is_kept_and_patience_ends_the_rest(shop: Path) -> None:
    summary, _ = fit(shop, QUICK.model_copy(update={"max_epochs": 40, "patience": 2, "learning_rate": 0.05}))
    ndcg = [point["ndcg"] for point in summary.curve]
    assert summary.best_epoch == 1 + ndcg.index(max(ndcg))
    assert summary.epochs == summary.best_epoch + 2


def test_equal_input_gives_equal_files(shop: Path) -> None:
    quick = QUICK.model_copy(update={"max_epochs": 2})
    fit(shop, quick, "one")
    fit(shop, quick, "two")
    for file in ("generative.safetensors", "generative.json"):
        assert file_digest(shop / "one" / file) == file_digest(shop / "two" / file)


def test_switched_off_it_writes_nothing(shop: Path) -> None:
    assert fit(shop, GenerativeSettings(enabled=False))[0] is None
    assert not (shop / "generative").exists()


def test_without_a_validation_user_there_is_nothing_to_choose_by(shop: Path) -> None:
    write(shop / "training", "queries", [{"user_id": "u", "split": "test", **history([]), "targets": [item(1)]}])
    with pytest.raises(TrainingDataError, match="validation queries=0"):
        fit(shop)


def test_a_fit_that_diverges_ends_at_once_and_leaves_no_component(shop: Path) -> None:
    with pytest.raises(NotFinite, match=r"Cannot fit generative model: loss=(nan|inf), .* \(epoch 1\)"):
        fit(shop, QUICK.model_copy(update={"learning_rate": 1e30}))
    assert not (shop / "generative").exists()


def test_a_broken_model_is_refused_when_it_answers_and_when_it_is_loaded(shop: Path) -> None:
    fit(shop, QUICK.model_copy(update={"max_epochs": 1}))
    vectors = ItemVectors.load(shop / "vectors")
    ranker = GenerativeRanker.load(shop / "generative", vectors)
    with torch.inference_mode():
        ranker.model.start.fill_(torch.nan)
    for ask in (lambda: ranker.scores([UserState()]), lambda: ranker.top_k([UserState.from_history([item(3)])], 2)):
        with pytest.raises(NotFinite, match="scores of generative model: scores=nan"):
            ask()
    with pytest.raises(BundleError, match=r"Cannot save weights: generative.safetensors: start has 16 numbers"):
        ranker.model.save(shop / "generative")
    file = shop / "generative" / "generative.safetensors"
    save_file({**load_file(file), "start": torch.full((16,), torch.nan)}, file)
    with pytest.raises(BundleError, match=r"Cannot load generative model: .*start has 16 numbers that are not finite"):
        GenerativeRanker.load(shop / "generative", vectors)


def test_augmentation_and_modality_are_read(shop: Path) -> None:
    settings = QUICK.model_copy(update={"max_epochs": 1})
    vectors = ItemVectors.load(shop / "vectors")
    pictures = torch.nn.functional.normalize(torch.randn(len(vectors.text), 5, generator=torch.Generator()), dim=1)
    pictures[0] = 0.0
    shutil.copytree(shop / "vectors", shop / "pictured")
    replace(vectors, modality=pictures).save(shop / "pictured")

    def digest(vectors: str, augmentation: AugmentationSettings, **changes: object) -> str:
        context = FitContext(shop / "training", 1, 5, 1)
        fit_generative(context, shop / vectors, shop / "out", settings.model_copy(update=changes), 6, augmentation)
        return file_digest(shop / "out" / "generative.safetensors")

    plain, cropped = AugmentationSettings(), AugmentationSettings(crop=1.0)
    assert digest("vectors", plain) == digest("pictured", plain, use_modality=False)
    assert digest("vectors", plain) != digest("vectors", cropped)
    assert digest("vectors", plain) != digest("pictured", plain)
    ranker = GenerativeRanker.load(shop / "out", ItemVectors.load(shop / "pictured"))
    assert len(ranker.top_k([UserState.from_history([item(3)])], 5)[0]) == 5
    with pytest.raises(BundleError, match="the item vectors are"):
        GenerativeRanker.load(shop / "out", vectors)
