"""What reviewers of an item mention, in the prompts of a pretrained writer: in training and when it writes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from core import schema
from core.settings.models import LanguageModelWriterSettings
from recommender.fitting.context import FitContext
from recommender.writing import training as fitting
from recommender.writing.decoding import Decoding
from recommender.writing.examples import WritingExample, WritingRequest, read_reviews
from recommender.writing.training import fit_writer
from recommender.writing.writer import FeedbackWriter
from tests.unit.recommender.tiny_language_models import write_llama
from tests.unit.recommender.written_shop import TINY, catalogue_of, write_reviews

LIKED = "The sound is great. "
SAID = "\nReviewers mention: sound (liked)\n"
LINE = f"{SAID}Customer: "


@pytest.fixture(scope="module")
def training(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Reviewers of the shop's first item like its sound, from the fourth of its reviews on."""
    folder = write_reviews(tmp_path_factory.mktemp("shop"), n_train=150)
    table = pq.read_table(folder / "reviews.parquet")
    rows, n_read = table.to_pylist(), 0
    for number, row in enumerate(rows):
        row[schema.USER_ID] = f"u{number}"
        if row[schema.ITEM_ID] == "i0":
            n_read += 1
            row[schema.TEXT] = (LIKED if n_read > 3 else "") + row[schema.TEXT]
    pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), folder / "reviews.parquet")
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_llama(tmp_path_factory.mktemp("llama"))


def settings_of(model: Path) -> LanguageModelWriterSettings:
    return LanguageModelWriterSettings(model=str(model), max_steps=1, minutes=None)


@pytest.fixture(scope="module")
def fitted(training: Path, model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("fit") / "writer"
    assert fit_writer(FitContext(training, 1, threads=1), target, settings_of(model))
    return target


def learned(training: Path, target: Path, settings: Any, patch: pytest.MonkeyPatch, **more: Any) -> list[str]:
    """The prompts that a fit learns from, in the order of the reviews."""
    seen = list[WritingExample]()

    def keep(examples: list[WritingExample], *_: Any) -> list[WritingExample]:
        seen.extend(examples)
        return examples

    patch.setattr(fitting, "with_low_ratings", keep)
    assert fit_writer(FitContext(training, 1, threads=1), target, settings, **more)
    writer = FeedbackWriter.load(target)
    return [writer.tokenizer.decode(writer.encode(one.request)) for one in seen if one.item_id == "i0"]


def test_a_review_is_learned_with_what_others_said_before_it_and_no_more(
    training: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompts = learned(training, tmp_path / "writer", settings_of(model), monkeypatch)
    assert len(prompts) > 8
    # Three say nothing of it, and the three that follow are not several before the last of them has spoken.
    assert [LINE in prompt for prompt in prompts] == [False] * 6 + [True] * (len(prompts) - 6)


def test_who_wrote_them_all_is_told_nothing_by_them(
    training: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "shop"
    shutil.copytree(training, folder)
    table = pq.read_table(folder / "reviews.parquet")
    # Three users review the item in turns: without oneself there are two.
    users = [
        f"v{number % 3}" if item == "i0" else f"u{number}"
        for number, item in enumerate(table.column(schema.ITEM_ID).to_pylist())
    ]
    place = table.column_names.index(schema.USER_ID)
    pq.write_table(table.set_column(place, table.schema.field(place), [users]), folder / "reviews.parquet")
    assert not any(LINE in prompt for prompt in learned(folder, tmp_path / "writer", settings_of(model), monkeypatch))


def test_texts_are_asked_for_with_what_all_reviewers_said(training: Path, fitted: Path) -> None:
    writer, catalogue = FeedbackWriter.load(fitted), catalogue_of(training)
    later = read_reviews(training, "test", catalogue)
    for example in later:
        said = writer.tokenizer.decode(writer.encode(example.request))
        assert (LINE in said) == (example.item_id == "i0")
    asked = WritingRequest(1.0, "", "A kettle", "i0")
    seen = list[list[int]]()
    begin = writer._next_token.begin

    def watched(prompts: Sequence[Sequence[int]], room: int) -> Any:
        seen.extend([*prompt] for prompt in prompts)
        return begin(prompts, room)

    writer._next_token.begin = watched  # type: ignore[method-assign]
    writer.write([asked], 1, Decoding(4))
    assert len(seen) == 2, "and the prompt that it is pushed away from"
    assert all(LINE in writer.tokenizer.decode(prompt) for prompt in seen)


def test_the_line_stands_in_chats_too_and_in_no_prompt_of_the_small_writer(
    training: Path, model: Path, tmp_path: Path
) -> None:
    chat = settings_of(model).model_copy(update={"prompt": "chat"})
    for name, settings in (("chat", chat), ("small", TINY)):
        assert fit_writer(FitContext(training, 1, threads=1), tmp_path / name, settings)
        writer = FeedbackWriter.load(tmp_path / name)
        said = writer.tokenizer.decode(writer.encode(WritingRequest(4.0, "", "A kettle", "i0")))
        assert (SAID in said) == (name == "chat")


@pytest.mark.parametrize("more", [{"language": "none"}, {"min_reviewers": 1000}])
def test_where_no_language_is_read_or_too_few_say_it_there_is_no_line(
    training: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: dict[str, Any]
) -> None:
    prompts = learned(training, tmp_path / "writer", settings_of(model), monkeypatch, **more)
    assert not any("Reviewers" in prompt for prompt in prompts)
    assert FeedbackWriter.load(tmp_path / "writer").mentions is None


def test_a_writer_of_before_is_loaded_and_writes_without_it(fitted: Path, tmp_path: Path) -> None:
    older = tmp_path / "older"
    shutil.copytree(fitted, older)
    (older / "mentions.json").unlink()
    config = json.loads((older / "writer.json").read_text())
    assert config.pop("knows_mentions")
    (older / "writer.json").write_text(json.dumps(config))
    writer = FeedbackWriter.load(older)
    asked = WritingRequest(4.0, "", "A kettle", "i0")
    assert writer.encode(asked) == writer.prompts.encode(asked)
    assert writer.write([asked], 1, Decoding(4))


def test_of_many_reviews_some_are_read_and_the_report_says_so(
    training: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fitting, "MAX_STATING", 20)
    summary = fit_writer(FitContext(training, 1, threads=1), tmp_path / "writer", settings_of(model))
    assert summary is not None
    (cap,) = [one for one in summary.caps if "statements stand in prompts" in one.what]
    assert (cap.taken, cap.there) == (20, 150)
