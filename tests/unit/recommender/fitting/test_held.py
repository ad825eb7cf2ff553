"""Fits that hold the choices of another: on the same data they come to the same bits, and nothing is validated."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from core import schema
from core.settings.evaluation import BaselineKind
from core.settings.models import BlendSettings, EncoderSettings, ItemKnnSettings, NeighbourSettings
from core.settings.tree import Recipe
from core.storage import file_digest
from recommender.errors import BundleError
from recommender.evaluation.baselines import fit_baseline
from recommender.fitting.component import SUMMARY
from recommender.fitting.context import FitContext
from recommender.fitting.summary import FitSummary
from recommender.inputs.item_vectors import ItemVectors
from recommender.ranking.blend import Blend, ColdItems
from recommender.ranking.blend_training import fit_blend
from recommender.retrieval.generative.training import fit_generative
from recommender.retrieval.sequence.fit import fit_sequence
from recommender.retrieval.sequence.model import load_sequence_model
from recommender.retrieval.text.embedding import embed_catalogue
from recommender.scoring.training import fit_scorer
from recommender.writing.training import fit_writer
from tests.unit.recommender.retrieval.generative.tiny_model import QUICK as GENERATIVE
from tests.unit.recommender.scoring.test_training import SETTINGS as SCORER
from tests.unit.recommender.scoring.test_training import write_shop
from tests.unit.recommender.tiny_shop import (
    QUICK,
    catalogue_row,
    history,
    item,
    save_random_vectors,
    save_tiny_encoder,
    write,
    write_training_set,
)
from tests.unit.recommender.written_shop import TINY, write_reviews

K = 5


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training set, its twin without any window, and vectors."""
    folder = tmp_path_factory.mktemp("shop")
    training = write_training_set(folder / "training", n_users=100)
    save_random_vectors(training, folder / "vectors")
    without_windows(training, folder / "closed")
    return folder


def without_windows(training: Path, target: Path) -> Path:
    """The same training set with nothing in the validation and the test window."""
    shutil.copytree(training, target)
    for path in target.glob("*.parquet"):
        table = pq.read_table(path)
        if schema.SPLIT in table.column_names:
            pq.write_table(table.filter(pc.equal(table[schema.SPLIT], "train")), path)
    return target


def context(training: Path, held: Path | None = None) -> FitContext:
    return FitContext(training, 1, K, 1, held=held)


def fit_both(fit: Callable[[FitContext, Path], object], training: Path, closed: Path, folder: Path) -> FitSummary:
    """Fit with validation, then hold what was chosen where nothing could be: the files are the same.

    Returns:
        What the fit that held says of itself.
    """
    fit(context(training), folder / "judged")
    fit(context(closed, folder / "judged"), folder / "refit")
    judged, refit = digests(folder / "judged"), digests(folder / "refit")
    assert judged == refit
    before, after = FitSummary.read(folder / "judged"), FitSummary.read(folder / "refit")
    assert after.metrics == {}
    assert (after.best_epoch, after.choices) == (before.best_epoch, before.choices)
    return after


def digests(folder: Path) -> dict[str, str]:
    # The writer's settings say how perplexed it was before training: a figure of validation too.
    files = [path for path in folder.rglob("*") if path.is_file() and path.name not in (SUMMARY, "writer.json")]
    return {path.relative_to(folder).as_posix(): file_digest(path) for path in files}


def test_sequence_trains_the_best_number_of_epochs(shop: Path, tmp_path: Path) -> None:
    settings = QUICK.model_copy(update={"max_epochs": 60, "learning_rate": 0.05, "patience": 3})
    fitted = fit_both(
        lambda fit, target: fit_sequence(fit, shop / "vectors", target, settings, 6),
        shop / "training",
        shop / "closed",
        tmp_path,
    )
    assert fitted.epochs == fitted.best_epoch < FitSummary.read(tmp_path / "judged").epochs
    assert [sorted(point) for point in fitted.curve] == [["epoch", "loss"]] * fitted.epochs


def test_sequence_takes_the_popularity_weight_over(shop: Path, tmp_path: Path) -> None:
    settings = QUICK.model_copy(update={"max_epochs": 2})
    judged = tmp_path / "judged"
    summary = fit_sequence(context(shop / "training"), shop / "vectors", judged, settings, 6)
    other = 2.0 if summary.choices["popularity_weight"] != 2 else 3.0
    summary.model_copy(update={"choices": {**summary.choices, "popularity_weight": other}}).write(judged)
    fit_sequence(context(shop / "closed", judged), shop / "vectors", tmp_path / "refit", settings, 6)
    model = load_sequence_model(tmp_path / "refit", ItemVectors.load(shop / "vectors"))
    assert float(model.popularity_weight) == other


def test_what_is_new_is_learned_by_the_choices_of_before(shop: Path, tmp_path: Path) -> None:
    """An item that no event of the judged training had is learned where the refit's training has it."""
    training, closed = write_training_set(tmp_path / "training", n_users=60), tmp_path / "closed"
    rows = pq.read_table(training / "catalogue.parquet").to_pylist()
    write(training, "catalogue", [*rows, catalogue_row("new", 0)])
    without_windows(training, closed)
    walks = pq.read_table(closed / "sequences.parquet").to_pylist()
    write(closed, "sequences", [*walks, *({"user_id": f"n{n}", **history([item(3), "new"])} for n in range(30))])
    save_random_vectors(training, tmp_path / "vectors")
    settings, fitted = QUICK.model_copy(update={"max_epochs": 2}), {}
    for name, fit in (("judged", context(training)), ("refit", context(closed, tmp_path / "judged"))):
        fit_sequence(fit, tmp_path / "vectors", tmp_path / name, settings, 6)
        vectors = ItemVectors.load(tmp_path / "vectors")
        fitted[name] = bool(load_sequence_model(tmp_path / name, vectors).learned[vectors.ids.index("new")])
    assert fitted == {"judged": False, "refit": True}


@pytest.mark.parametrize("kind", ["auto", "gate"])
def test_blend_takes_kind_weights_and_strength_over(shop: Path, tmp_path: Path, kind: str) -> None:
    settings = QUICK.model_copy(update={"max_epochs": 1, "learning_rate": 1e-6})
    fit_sequence(context(shop / "training"), shop / "vectors", tmp_path / "sequence", settings, 6)
    neighbours = NeighbourSettings(regularisation=500.0, try_regularisations=(1.0, 5.0))

    def fit(fit: FitContext, target: Path) -> None:
        sequence, blend = tmp_path / "sequence", BlendSettings(kind=kind)
        fit_blend(fit, shop / "vectors", sequence, target, (neighbours, ItemKnnSettings()), blend)

    fitted = fit_both(fit, shop / "training", shop / "closed", tmp_path)
    assert fitted.choices["regularisation"] in (1.0, 5.0)
    assert Blend.load(tmp_path / "refit") == Blend.load(tmp_path / "judged")
    assert Blend.load(tmp_path / "refit").kind != "none"
    ColdItems(2.0, -0.5).save(tmp_path / "judged")
    fit(context(shop / "closed", tmp_path / "judged"), tmp_path / "again")
    assert ColdItems.load(tmp_path / "again") == ColdItems(2.0, -0.5)


def test_generative_trains_the_best_number_of_epochs(shop: Path, tmp_path: Path) -> None:
    settings = GENERATIVE.model_copy(update={"max_epochs": 40, "patience": 2, "learning_rate": 0.05})
    fitted = fit_both(
        lambda fit, target: fit_generative(fit, shop / "vectors", target, settings, 6),
        shop / "training",
        shop / "closed",
        tmp_path,
    )
    assert fitted.epochs == fitted.best_epoch < FitSummary.read(tmp_path / "judged").epochs


def test_scorer_takes_epochs_and_calibration_over(tmp_path: Path) -> None:
    training, vectors = write_shop(tmp_path, n_train=300)
    closed = without_windows(training, tmp_path / "closed")
    settings = SCORER.model_copy(update={"learning_rate": 1e-3, "max_epochs": 3, "patience": 2})
    fitted = fit_both(lambda fit, target: fit_scorer(fit, vectors, target, settings), training, closed, tmp_path)
    assert fitted.best_epoch
    assert fitted.choices["calibration"] != {"slope": 1.0, "offset": 0.0}
    assert len(fitted.choices["median"]["levels"]) > 1


def test_writer_takes_its_course_over(tmp_path: Path) -> None:
    training = write_reviews(tmp_path / "training", n_train=120)
    closed, settings = without_windows(training, tmp_path / "closed"), TINY.model_copy(update={"max_steps": 9})
    fit_writer(context(training), tmp_path / "judged", settings)
    # As validation would have cut it.
    short = {"n_steps": 7, "warm_up": 2, "descent_at": 4}
    FitSummary.read(tmp_path / "judged").model_copy(update={"choices": short}).write(tmp_path / "judged")
    said: list[str] = []
    refit = FitContext(closed, 1, K, 1, said.append, tmp_path / "judged")
    summary = fit_writer(refit, tmp_path / "refit", settings)
    assert summary is not None
    assert (summary.choices, summary.metrics) == (short, {})
    assert any("step 7/7" in line for line in said)
    fit_both(lambda fit, target: fit_writer(fit, target, settings), training, closed, tmp_path / "alike")


def test_encoder_is_tuned_for_as_many_steps_or_not_at_all(shop: Path, tmp_path: Path) -> None:
    model = save_tiny_encoder(tmp_path / "models" / "tiny")
    settings = EncoderSettings(
        model=str(model), max_tokens=16, precision="float32", fine_tune="full", learning_rate=5e-3, max_steps=12,
        checks=3, step_texts=16, temperature=0.1,
    )  # fmt: skip
    fitted = fit_both(
        lambda fit, target: embed_catalogue(fit, target, settings), shop / "training", shop / "closed", tmp_path
    )
    assert fitted.choices["steps"] in (4, 8, 12)
    still = settings.model_copy(update={"learning_rate": 1e-12})
    dropped = fit_both(
        lambda fit, target: embed_catalogue(fit, target, still), shop / "training", shop / "closed", tmp_path / "still"
    )
    assert dropped.choices["steps"] == 0
    assert not (tmp_path / "still" / "refit" / "encoder.safetensors").exists()


@pytest.mark.parametrize("kind", ["item_knn", "text_encoder", "popularity"])
def test_baseline_takes_its_settings_over(shop: Path, tmp_path: Path, kind: BaselineKind) -> None:
    def fit(fit: FitContext, target: Path) -> None:
        fit_baseline(fit, kind, shop / "vectors", target, Recipe())

    fitted = fit_both(fit, shop / "training", shop / "closed", tmp_path)
    assert set(fitted.choices) == ({"n_neighbours"} if kind == "item_knn" else set())


def test_a_component_without_a_summary_cannot_be_held(shop: Path, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"summary\.json"):
        fit_sequence(context(shop / "closed", tmp_path), shop / "vectors", tmp_path / "refit", QUICK, 6)
