"""How texts are measured side by side: with the results of each alone, within bounds of memory."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from recommender.encoders.language_model import read_language_model
from recommender.fitting.determinism import deterministic
from recommender.writing import batches
from recommender.writing.batches import Tokens, likelihood, likelihoods, side_by_side
from recommender.writing.examples import WritingExample, WritingRequest, read_reviews
from recommender.writing.small_model import new_small_writer
from recommender.writing.writer import FeedbackWriter
from tests.unit.recommender.tiny_language_models import write_gpt2, write_llama
from tests.unit.recommender.written_shop import TINY, catalogue_of, write_reviews


@pytest.fixture(scope="module")
def reviews(tmp_path_factory: pytest.TempPathFactory) -> list[WritingExample]:
    """Of many lengths, with short and long prompts."""
    training = write_reviews(tmp_path_factory.mktemp("shop"), n_train=24)
    found = read_reviews(training, "train", catalogue_of(training))
    short = WritingRequest(None, "", "")
    return [
        WritingExample(short if number % 3 == 0 else one.request, " ".join([one.text] * (1 + number % 4)))
        for number, one in enumerate(found)
    ]


@pytest.fixture(scope="module", params=["small", "llama", "gpt2"])
def writer(request: Any, reviews: list[WritingExample], tmp_path_factory: pytest.TempPathFactory) -> FeedbackWriter:
    if request.param == "small":
        with deterministic(0, 1):
            return new_small_writer(TINY, reviews)
    folder = tmp_path_factory.mktemp(request.param)
    folder = write_llama(folder) if request.param == "llama" else write_gpt2(folder)
    return FeedbackWriter(*read_language_model(str(folder), str(folder)), 128, style="plain")


def test_side_by_side_texts_are_as_likely_as_alone(writer: FeedbackWriter, reviews: list[WritingExample]) -> None:
    together = likelihoods(writer, reviews)
    for found, review in zip(together, reviews, strict=True):
        (alone,) = likelihoods(writer, [review])
        assert found.nats == pytest.approx(alone.nats, rel=1e-5)
        assert (found.n_tokens, found.n_bytes) == (alone.n_tokens, alone.n_bytes)
    whole = likelihood(writer, reviews)
    assert whole.nats == pytest.approx(sum(one.nats for one in together), rel=1e-9)
    assert whole.n_bytes == sum(one.n_bytes for one in together)


def test_as_many_texts_are_read_at_once_as_their_own_scores_have_room(
    writer: FeedbackWriter, reviews: list[WritingExample], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Room for two texts as long as the writer sees at most, and for many more as long as most are.
    monkeypatch.setattr(batches, "MAX_SCORES", 2 * writer.max_tokens * writer.model.config.vocab_size)
    n_reads = 0

    def count(*_: Any) -> None:
        nonlocal n_reads
        n_reads += 1

    head = writer.model.get_output_embeddings().register_forward_hook(count)
    likelihoods(writer, [WritingExample(one.request, "Good, and I love it.") for one in reviews])
    head.remove()
    assert n_reads <= len(reviews) / 4


def rows_of(*lengths: tuple[int, int]) -> list[Tokens]:
    return [Tokens([1] * prompt, [2] * text, text) for prompt, text in lengths]


def test_a_batch_holds_each_row_once_in_the_room_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = rows_of(*((prompt, text) for prompt in (3, 40, 90) for text in range(1, 160, 7)))
    bounds = {"MAX_SCORES": 16_000, "MAX_PLACES": 700, "MAX_TEXTS": 6}
    for name, most in bounds.items():
        monkeypatch.setattr(batches, name, most)
    found = list(side_by_side(rows, n_scores=20))
    assert sorted(place for places in found for place in places) == list(range(len(rows)))
    for places in found:
        batch = batches.collate([rows[place] for place in places], 0)
        sizes = (batch.targets.numel() * 20, batch.tokens.numel(), len(places))
        assert len(places) == 1 or all(size <= most for size, most in zip(sizes, bounds.values(), strict=True))
    assert max(len(places) for places in found) == 6


@pytest.mark.parametrize("bound", ["MAX_SCORES", "MAX_PLACES"])
def test_what_has_no_room_beside_others_is_read_alone(bound: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, bound, 1)
    assert list(side_by_side(rows_of((4, 40), (4, 4), (4, 4)), n_scores=20)) == [[1], [2], [0]]
    assert not list(side_by_side([], n_scores=20))


def test_a_model_that_knows_nothing_measures_every_text_by_its_length(writer: FeedbackWriter) -> None:
    rows = [batches.tokenize(WritingExample(WritingRequest(None, "", ""), "kettle " * n), writer) for n in (1, 5)]
    batch = batches.collate(rows, writer.end)
    with torch.inference_mode():
        of_each = batches.text_losses(writer.model, batch)
        assert of_each.shape == (2,)
        assert float(of_each.sum()) == pytest.approx(float(batches.text_loss(writer.model, batch)), rel=1e-5)
    assert float(of_each[1]) > float(of_each[0])
