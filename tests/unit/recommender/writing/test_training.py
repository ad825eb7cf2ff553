"""Fitting the small feedback writer from scratch, and evaluating it."""

from __future__ import annotations

import itertools
import shutil
import string
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from core import schema
from core.settings.models import LanguageModelWriterSettings, SmallWriterSettings
from core.storage import file_digest
from recommender.errors import BundleError, NotFinite
from recommender.fitting.context import FitContext
from recommender.writing import small_model
from recommender.writing import training as training_module
from recommender.writing.batches import likelihood, perplexity
from recommender.writing.course import LEAST_GAIN, Course, Meter
from recommender.writing.examples import WritingExample, read_reviews, sample
from recommender.writing.small_model import train_tokenizer
from recommender.writing.training import can_learn_to_write, fit_writer
from recommender.writing.writer import FeedbackWriter
from tests.unit.recommender.written_shop import TINY, catalogue_of, write_reviews


@pytest.fixture(scope="module")
def training(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_reviews(tmp_path_factory.mktemp("shop"), n_train=120)


@pytest.fixture(scope="module")
def fitted(training: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fit") / "writer"
    settings = TINY.model_copy(update={"max_steps": 60, "max_epochs": 10})
    assert fit_writer(FitContext(training, 1, threads=1), folder, settings)
    return folder


def test_it_learns_to_expect_reviews_it_never_saw(training: Path, fitted: Path) -> None:
    writer = FeedbackWriter.load(fitted)
    later = read_reviews(training, "test", catalogue_of(training))
    assert likelihood(writer, later).perplexity < 0.2 * writer.perplexity_before["test"]


def test_how_far_ratings_are_pushed_is_kept_with_the_writer(training: Path, tmp_path: Path) -> None:
    settings = TINY.model_copy(update={"max_steps": 2, "guidance": 2.5})
    assert fit_writer(FitContext(training, 1, threads=1), tmp_path / "writer", settings)
    assert FeedbackWriter.load(tmp_path / "writer").guidance == 2.5


def test_the_writer_learns_from_what_low_ratings_are_repeated_in(
    training: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[float] = []

    def first_ten(examples: list[WritingExample], least_share: float, seed: int) -> list[WritingExample]:
        asked.append(least_share)
        return examples[:10]

    monkeypatch.setattr(training_module, "with_low_ratings", first_ten)
    lines: list[str] = []
    settings = TINY.model_copy(update={"max_steps": 1, "low_rating_share": 0.3})
    assert fit_writer(FitContext(training, 1, threads=1, progress=lines.append), tmp_path / "writer", settings)
    assert asked == [0.3]
    assert "feedback writer: 10 texts" in lines[0]


@pytest.mark.parametrize("n_who_say_the_same", [1, 2])
def test_copies_are_bounded_unless_reviewers_say_what_one_or_two_others_do(
    n_who_say_the_same: int, training: Path, tmp_path: Path
) -> None:
    folder, lines = tmp_path / "shop", list[str]()
    shutil.copytree(training, folder)
    table, random = pq.read_table(folder / "reviews.parquet"), np.random.default_rng(3)
    said = [" ".join(random.choice(list("abcdefgh"), 16)) for _ in range(len(table))]
    rows = [
        {**row, schema.USER_ID: f"u{n}", schema.TEXT: f"{said[n // n_who_say_the_same]} {n}."}
        for n, row in enumerate(table.to_pylist())
    ]
    pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), folder / "reviews.parquet")
    fit_writer(FitContext(folder, 1, threads=1, progress=lines.append), tmp_path / "writer", TINY)
    runs = FeedbackWriter.load(tmp_path / "writer").runs
    is_bounded = n_who_say_the_same == 1
    assert any("copies are not bounded" in line for line in lines) != is_bounded
    assert (runs is not None and runs.copied_share(said[0]) == 1.0) == is_bounded


def test_where_many_sentences_are_left_out_the_log_says_so(training: Path, tmp_path: Path) -> None:
    folder, lines = tmp_path / "named", list[str]()
    shutil.copytree(training, folder)
    table = pq.read_table(folder / "reviews.parquet")
    names = (f"Q{one}{other}" for one, other in itertools.product(string.ascii_lowercase, repeat=2))
    named = [f"{text} I asked {name} too." for text, name in zip(table.column("text").to_pylist(), names, strict=False)]
    pq.write_table(table.set_column(table.column_names.index("text"), "text", [named]), folder / "reviews.parquet")
    fit_writer(FitContext(folder, 1, threads=1, progress=lines.append), tmp_path / "writer", TINY)
    assert any("these are 25% of all sentences" in line for line in lines)
    fit_writer(FitContext(training, 1, threads=1, progress=lines.append), tmp_path / "plain", TINY)
    assert sum("of all sentences" in line for line in lines) == 1


def test_progress_tells_loss_speed_and_time_left(training: Path, tmp_path: Path) -> None:
    lines: list[str] = []
    summary = fit_writer(FitContext(training, 1, threads=1, progress=lines.append), tmp_path / "writer", TINY)
    assert summary is not None
    steps = [line for line in lines if "step" in line and "loss" in line]
    assert len(steps) >= 10
    assert "tokens/s" in steps[0]
    assert steps[-1].startswith("feedback writer step 12/12")
    assert steps[-1].endswith("0 s to go")
    assert "test perplexity" in lines[-1]
    assert summary.metrics["test_perplexity"] < summary.metrics["test_perplexity_before"]


def test_one_seed_gives_the_same_bytes_and_another_one_others(training: Path, tmp_path: Path) -> None:
    digests = []
    for seed, name in ((1, "a"), (1, "b"), (2, "c")):
        fit_writer(FitContext(training, seed, threads=1), tmp_path / name, TINY)
        files = sorted(path for path in (tmp_path / name).iterdir() if path.name != "summary.json")
        digests.append({path.name: file_digest(path) for path in files})
    assert digests[0] == digests[1]
    assert digests[0]["model.safetensors"] != digests[2]["model.safetensors"]


def test_later_reviews_are_never_trained_on(tmp_path: Path) -> None:
    """Weights and tokenizer are the same whatever later reviews say."""
    digests = []
    for n_later in (0, 20):
        training = write_reviews(tmp_path / f"shop{n_later}", n_train=110, n_later=n_later)
        fit_writer(FitContext(training, 1, threads=1), tmp_path / f"writer{n_later}", TINY)
        folder = tmp_path / f"writer{n_later}"
        digests.append([file_digest(folder / name) for name in ("model.safetensors", "tokenizer.json")])
    assert digests[0] == digests[1]


def test_too_few_reviews_make_no_writer_and_say_so(tmp_path: Path) -> None:
    training = write_reviews(tmp_path / "shop", n_train=99)
    lines: list[str] = []
    assert fit_writer(FitContext(training, 1, threads=1, progress=lines.append), tmp_path / "writer", TINY) is None
    assert not (tmp_path / "writer").exists()
    assert lines == ["feedback writer: none, for 99 reviews to learn from are fewer than 100"]


@pytest.mark.parametrize("settings", [TINY, LanguageModelWriterSettings(model="nowhere")], ids=["small", "language"])
def test_reviews_that_nothing_is_left_of_make_no_writer(
    tmp_path: Path, settings: SmallWriterSettings | LanguageModelWriterSettings
) -> None:
    training = write_reviews(tmp_path / "shop", n_train=110)
    file = training / "reviews.parquet"
    table = pq.read_table(file)
    names = (f"Quacken{one}bush{other}" for one, other in itertools.product(string.ascii_lowercase, "abcde"))
    texts = pa.array([f"Ask {name} about it." for name in itertools.islice(names, len(table))])
    place = table.schema.get_field_index(schema.TEXT)
    pq.write_table(table.set_column(place, table.schema.field(place), texts), file)
    lines: list[str] = []
    assert fit_writer(FitContext(training, 1, threads=1, progress=lines.append), tmp_path / "writer", settings) is None
    assert lines[-1] == "feedback writer: none, for 0 reviews to learn from are fewer than 100"
    assert not can_learn_to_write(training, 1)


def test_the_tokenizer_gives_back_every_text() -> None:
    tokenizer = train_tokenizer(["a fruity kettle", "a smoky teapot"] * 5, vocabulary=300)
    for text in (" a fruity teapot", " naïve — 茶 🫖", "It's  5\n❤️ cafe\u0301"):
        assert tokenizer.decode(tokenizer(text).input_ids) == text


def test_frequent_words_are_one_token_in_any_script() -> None:
    tokenizer = train_tokenizer(["बहुत अच्छा गिटार", "a fruity kettle"] * 50, vocabulary=500)
    assert [len(tokenizer(f" {word}").input_ids) for word in ("अच्छा", "गिटार", "kettle")] == [1, 1, 1]


def test_the_rate_rises_stays_and_descends_to_a_tenth() -> None:
    course = Course(100)
    shares = [course.rate_share(step) for step in range(101)]
    assert shares[0] == pytest.approx(1 / 5)
    assert shares[4:76] == [1.0] * 72
    assert shares[75:] == sorted(shares[75:], reverse=True)
    assert shares[88] == pytest.approx(1 - 0.9 * 13 / 25)
    assert shares[100] == pytest.approx(0.1)


def test_the_descent_begins_when_validation_gains_little() -> None:
    course = Course(2000)
    looks = [step for step in range(1, 2001) if course.looks_after(step)]
    assert looks[:2] == [100, 200]
    course.look(100, 5.0)
    course.look(200, 5.0 - 2 * LEAST_GAIN)
    assert course.n_steps == 2000
    course.look(400, 5.0 - 2.5 * LEAST_GAIN)
    assert course.n_steps == 500
    assert course.rate_share(399) == 1.0
    assert course.rate_share(500) == pytest.approx(0.1)
    assert not course.looks_after(500)


def test_the_descent_begins_when_three_quarters_of_the_time_are_spent() -> None:
    course = Course(1000, max_warm_up=10)
    assert course.rate_share(9) == 1.0
    course.spend(29, 0.7)
    assert course.n_steps == 1000
    course.spend(30, 0.76)
    assert course.as_taken == {"n_steps": 40, "warm_up": 10, "descent_at": 30}
    course.spend(31, 0.8)
    assert course.n_steps == 40
    course.spend(37, 1.0)
    assert course.n_steps == 37, "the machine is slower now, and the time is over"


def test_the_time_to_go_is_at_most_what_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, lines = itertools.count(), []
    monkeypatch.setattr("recommender.writing.course.time", SimpleNamespace(monotonic=lambda: float(next(clock))))
    for left_s in (None, 9.0):
        meter = Meter(Course(100), lines.append, done=4, left_s=left_s)
        meter.every = 5
        meter.count(5, 1.0, 10)
    assert [line.rsplit(", ", 1)[1] for line in lines] == ["95 s to go", "8 s to go"]


def test_a_course_that_was_cut_short_goes_on_as_it_was() -> None:
    course = Course(1000, max_warm_up=10)
    course.spend(30, 0.8)
    other = Course(1000, max_warm_up=10)
    other.go_on(**course.as_taken)
    assert [other.rate_share(step) for step in range(40)] == [course.rate_share(step) for step in range(40)]


def test_training_ends_with_its_time(training: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = itertools.count()
    monkeypatch.setattr(small_model, "time", SimpleNamespace(monotonic=lambda: float(next(clock))))
    settings = TINY.model_copy(update={"max_steps": 500, "max_epochs": 100, "minutes": 0.2})
    summary = fit_writer(FitContext(training, 1, threads=1), tmp_path / "writer", settings)
    assert summary is not None
    assert summary.choices["n_steps"] == 12
    longer = settings.model_copy(update={"minutes": 9})
    refit = fit_writer(FitContext(training, 1, threads=1, held=tmp_path / "writer"), tmp_path / "refit", longer)
    assert refit is not None
    assert refit.choices == summary.choices


def test_training_ends_early_on_a_plateau(training: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recommender.writing.course.LOOK_EVERY", 8)
    monkeypatch.setattr("recommender.writing.course.LEAST_GAIN", 100.0)
    lines: list[str] = []
    settings = TINY.model_copy(update={"max_steps": 60, "max_epochs": 10})
    fit_writer(FitContext(training, 1, threads=1, progress=lines.append), tmp_path / "writer", settings)
    # The first look has nothing to compare with; the second, after 16 steps, begins a descent of a quarter of them.
    assert any("step 20/20" in line for line in lines)


def test_a_sample_is_always_the_same(training: Path) -> None:
    reviews = read_reviews(training, "train", catalogue_of(training))
    assert sample(reviews, 5) == sample(reviews, 5)
    assert len(sample(reviews, 5)) == 5
    assert sample(reviews, 1000) == reviews


def test_a_fit_that_diverges_ends_at_once_and_leaves_no_component(training: Path, tmp_path: Path) -> None:
    with pytest.raises(NotFinite, match=r"Cannot fit feedback writer: (loss|length of the gradient)=(nan|inf).*\(step"):
        fit_writer(
            FitContext(training, 1, threads=1), tmp_path / "writer", TINY.model_copy(update={"learning_rate": 1e30})
        )
    assert not (tmp_path / "writer").exists()


def test_a_broken_writer_is_refused_when_it_writes_is_measured_saved_and_loaded(
    training: Path, fitted: Path, tmp_path: Path
) -> None:
    writer = FeedbackWriter.load(fitted)
    with torch.inference_mode():
        writer.model.transformer.ln_f.weight.fill_(torch.nan)
    examples = sample(read_reviews(training, "test", catalogue_of(training)), 2)
    with pytest.raises(NotFinite, match="scores of feedback writer: scores=nan"):
        writer.write([examples[0].request], seed=1)
    with pytest.raises(NotFinite, match="Cannot fit feedback writer: loss=nan"):
        perplexity(writer, examples)
    with pytest.raises(BundleError, match=r"Cannot save weights: feedback writer: transformer.ln_f.weight has 32"):
        writer.save(tmp_path)
    shutil.copytree(fitted, tmp_path / "copy")
    writer.model.save_pretrained(tmp_path / "copy")
    with pytest.raises(BundleError, match=r"Cannot load feedback writer: .*transformer.ln_f.weight has 32 numbers"):
        FeedbackWriter.load(tmp_path / "copy")
