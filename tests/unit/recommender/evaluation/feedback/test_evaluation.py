"""The whole evaluation of a writer: of a model that learned a small shop, beside the baselines."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from core import schema
from core.settings.models import EncoderSettings
from recommender.encoders.encoder import TextEncoder
from recommender.evaluation.feedback.evaluation import N_SHOWN, Sizes, evaluate_writer
from recommender.evaluation.feedback.names import CONTENT, LIKENESS, without_samples
from recommender.fitting.context import FitContext
from recommender.writing.training import fit_writer
from recommender.writing.writer import FeedbackWriter
from tests.unit.recommender.tiny_shop import random_vectors, save_tiny_encoder
from tests.unit.recommender.written_shop import TINY, write_reviews

SIZES = Sizes(n_reviews=12, n_rated=4)


@pytest.fixture(scope="module")
def training(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_reviews(tmp_path_factory.mktemp("shop"), n_train=120, n_later=40)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> TextEncoder:
    folder = save_tiny_encoder(tmp_path_factory.mktemp("models") / "tiny")
    return TextEncoder.load(EncoderSettings(model=str(folder), precision="float32"), print)


@pytest.fixture(scope="module")
def writer(training: Path, tmp_path_factory: pytest.TempPathFactory) -> FeedbackWriter:
    folder = tmp_path_factory.mktemp("fit") / "writer"
    fit_writer(FitContext(training, 1, threads=1), folder, TINY.model_copy(update={"max_steps": 60, "max_epochs": 10}))
    return FeedbackWriter.load(folder)


@pytest.fixture(scope="module")
def evaluated(writer: FeedbackWriter, training: Path, encoder: TextEncoder) -> dict[str, Any]:
    return evaluate_writer(writer, training, random_vectors(training), encoder, sizes=SIZES)


def test_every_measure_is_there_for_writer_and_baselines(evaluated: dict[str, Any]) -> None:
    measures = [name for name in (*LIKENESS, *CONTENT) if name not in ("perplexity", "bits_per_byte")]
    baselines = evaluated["baselines"]
    assert list(baselines) == ["nearest_review", "most_frequent_sentence", "real_reviews"]
    for name in measures:
        assert name in evaluated
        assert name in baselines["nearest_review"]
        assert name in baselines["most_frequent_sentence"]
    assert set(CONTENT) <= set(baselines["real_reviews"])
    for name in CONTENT:
        for figures in (evaluated, *baselines.values()):
            assert figures[name] is None or 0 <= figures[name] <= 1
    assert (evaluated["n_reviews"], evaluated["n_there"], evaluated["n_rated"]) == (12, 20, 4)
    assert json.loads(json.dumps(evaluated)) == evaluated


def test_the_baselines_are_what_they_are_called(evaluated: dict[str, Any]) -> None:
    nearest, frequent, real = evaluated["baselines"].values()
    assert nearest["copied_share"] == 1.0, "it is a training review"
    assert nearest["rating_agreement_2"] is None, "the reader knows it by heart"
    assert frequent["unique_sentence_ratio"] == pytest.approx(1 / 12)
    assert frequent["rating_agreement_2"] == 0.5, "whatever it says, it is right for one of two classes"
    assert real["rating_agreement_2"] == 1.0, "low ratings have words of their own in this shop"
    assert real["copied_share"] < nearest["copied_share"]
    assert nearest["rouge_1"] > frequent["rouge_1"]


def test_it_writes_words_of_the_shop(evaluated: dict[str, Any], writer: FeedbackWriter) -> None:
    assert evaluated["perplexity"] < 0.2 * evaluated["perplexity_before"]
    assert evaluated["perplexity_before"] == writer.perplexity_before["test"]
    assert evaluated["bits_per_byte"] < 0.7 * evaluated["bits_per_byte_before"]
    assert evaluated["rouge_1"] > 10


def test_samples_stand_beside_the_real_reviews_of_their_users(evaluated: dict[str, Any], training: Path) -> None:
    assert len(evaluated["samples"]) == N_SHOWN
    table = pq.read_table(training / "reviews.parquet")
    rows = table.filter(pc.equal(table.column(schema.SPLIT), "test")).to_pylist()
    real = {(row[schema.USER_ID], row[schema.ITEM_ID], row[schema.RATING], row[schema.TEXT]) for row in rows}
    for sample in evaluated["samples"]:
        assert (sample["user_id"], sample["item_id"], sample["rating"], sample["real"]) in real
        assert sample["written"]
    # These texts are people's: what is kept in bundles holds none.
    kept = json.dumps(without_samples({"k": 10, "writer": evaluated}))
    assert "Posted on day" not in kept
    assert '"rouge_1"' in kept
    assert without_samples({"k": 10, "writer": None}) == {"k": 10, "writer": None}


def test_evaluation_repeats_itself(
    evaluated: dict[str, Any], writer: FeedbackWriter, training: Path, encoder: TextEncoder
) -> None:
    vectors = random_vectors(training)
    assert evaluate_writer(writer, training, vectors, encoder, sizes=SIZES) == evaluated
    other = evaluate_writer(writer, training, vectors, encoder, sizes=SIZES, seed=5)
    assert other["samples"] != evaluated["samples"]


def test_what_users_wrote_later_changes_no_baseline_and_no_judge(
    evaluated: dict[str, Any], writer: FeedbackWriter, training: Path, encoder: TextEncoder, tmp_path: Path
) -> None:
    """Later texts are replaced, but for those of the window that is looked at."""
    table = pq.read_table(training / "reviews.parquet")
    for name in ("catalogue.parquet",):
        (tmp_path / name).write_bytes((training / name).read_bytes())
    is_later = pc.equal(table.column(schema.SPLIT), "validation")
    texts = pc.if_else(is_later, "Love love love. Love love love.", table.column(schema.TEXT))
    pq.write_table(
        table.set_column(table.schema.get_field_index(schema.TEXT), schema.TEXT, texts), tmp_path / "reviews.parquet"
    )
    assert evaluate_writer(writer, tmp_path, random_vectors(tmp_path), encoder, sizes=SIZES) == evaluated


def test_a_window_without_reviews_is_not_evaluated(
    tmp_path: Path, writer: FeedbackWriter, encoder: TextEncoder
) -> None:
    training = write_reviews(tmp_path / "shop", n_train=100, n_later=0)
    assert evaluate_writer(writer, training, random_vectors(training), encoder) == {"n_reviews": 0}
