"""Two writers on the same reviews."""

from __future__ import annotations

from pathlib import Path

import pytest

from recommender.evaluation.feedback.comparison import compare_writers
from recommender.fitting.context import FitContext
from recommender.writing.batches import likelihood
from recommender.writing.examples import WritingExample, read_reviews
from recommender.writing.training import fit_writer
from recommender.writing.writer import FeedbackWriter
from tests.unit.recommender.written_shop import TINY, catalogue_of, write_reviews


@pytest.fixture(scope="module")
def training(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_reviews(tmp_path_factory.mktemp("shop"), n_train=120, n_later=60)


@pytest.fixture(scope="module")
def writers(training: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[FeedbackWriter, FeedbackWriter]:
    found = []
    for steps in (2, 40):
        folder = tmp_path_factory.mktemp(f"fit{steps}") / "writer"
        fit_writer(FitContext(training, 1, threads=1), folder, TINY.model_copy(update={"max_steps": steps}))
        found.append(FeedbackWriter.load(folder))
    return found[0], found[1]


def reviews_of(training: Path) -> list[WritingExample]:
    return read_reviews(training, "test", catalogue_of(training))


def test_the_figures_are_those_of_all_reviews_together(training, writers):
    reviews = reviews_of(training)
    found = compare_writers(*writers, reviews, seed=1)
    assert found.n_reviews == len(reviews) == 30
    for figure, writer in zip((found.first, found.second), writers, strict=True):
        assert figure == pytest.approx(likelihood(writer, reviews).bits_per_byte, rel=1e-4)


def test_the_one_that_learned_more_is_better_beyond_chance_and_nobody_is_better_than_itself(training, writers):
    reviews, (little, more) = reviews_of(training), writers
    found = compare_writers(little, more, reviews, seed=1)
    assert 0 < found.low < found.first - found.second < found.high
    turned = compare_writers(more, little, reviews, seed=1)
    assert (turned.low, turned.high) == (pytest.approx(-found.high), pytest.approx(-found.low))
    same = compare_writers(more, more, reviews, seed=1)
    assert (same.low, same.high) == (0, 0)
