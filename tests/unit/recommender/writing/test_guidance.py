"""What makes the ratings of texts show: low ones are seen more often in training, and pushed from praise in writing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from recommender.encoders.next_token import PlainNextToken
from recommender.fitting.determinism import deterministic
from recommender.writing.decoding import Decoding
from recommender.writing.examples import (
    MAX_REPEATS,
    WritingExample,
    WritingRequest,
    read_reviews,
    training_examples,
    with_low_ratings,
)
from recommender.writing.guidance import Guided, contrast_of
from recommender.writing.small_model import new_small_writer
from recommender.writing.writer import FeedbackWriter, _Stop
from tests.unit.recommender.written_shop import TINY, catalogue_of, write_reviews

BAD, MIXED, GOOD, UNRATED = (
    WritingRequest(rating, "country France", item)
    for rating, item in ((1.0, "A kettle"), (3.0, "A smoky grinder of steel"), (5.0, "A teapot"), (None, "A cup"))
)


@pytest.fixture(scope="module")
def writer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FeedbackWriter]:
    training = write_reviews(tmp_path_factory.mktemp("shop"), n_train=60)
    examples = training_examples(read_reviews(training, "train", catalogue_of(training)))
    threads = torch.get_num_threads()
    with deterministic(0):
        made = new_small_writer(TINY, examples)
    torch.set_num_threads(1)
    yield made
    torch.set_num_threads(threads)


def guided(writer: FeedbackWriter, strength: float) -> FeedbackWriter:
    return FeedbackWriter(writer.model, writer.tokenizer, writer.max_tokens, guidance=strength)


def rated(*counts: tuple[float | None, int]) -> list[WritingExample]:
    return [
        WritingExample(replace(GOOD, rating=rating), f"{rating} {number}")
        for rating, count in counts
        for number in range(count)
    ]


def shares(examples: list[WritingExample]) -> dict[float | None, float]:
    counts = Counter(example.request.rating for example in examples)
    return {rating: count / len(examples) for rating, count in counts.items()}


def test_low_and_middling_ratings_get_their_share_and_nothing_is_left_out() -> None:
    examples = rated((1.0, 5), (2.0, 5), (3.0, 20), (4.0, 30), (5.0, 40))
    learned = with_low_ratings(examples, 0.25, seed=0)
    assert learned[: len(examples)] == examples
    found = shares(learned)
    assert found[1.0] + found[2.0] == pytest.approx(0.25, abs=0.01)
    assert found[3.0] == pytest.approx(0.25, abs=0.01)
    repeats = Counter(example.text for example in learned if example.request.rating in (1.0, 2.0))
    assert max(repeats.values()) - min(repeats.values()) <= 1, "each is repeated as often as any other"
    assert learned == with_low_ratings(examples, 0.25, seed=0)


def test_a_rare_review_is_repeated_eight_times_at_most() -> None:
    learned = with_low_ratings(rated((1.0, 2), (5.0, 1000)), 0.3, seed=0)
    assert Counter(example.request.rating for example in learned) == {1.0: 2 * MAX_REPEATS, 5.0: 1000}


@pytest.mark.parametrize(
    ("examples", "share"),
    [
        (rated((1.0, 1), (5.0, 9)), 0.0),
        (rated((1.0, 4), (3.0, 4), (5.0, 4)), 0.2),
        (rated((5.0, 4)), 0.2),
        (rated((None, 4)), 0.2),
        (rated((1.0, 4)), 0.2),
        ([], 0.2),
    ],
)
def test_where_nothing_is_rare_the_examples_stay(examples: list[WritingExample], share: float) -> None:
    assert with_low_ratings(examples, share, seed=0) == examples


def test_only_low_and_middling_ratings_are_pushed_from_praise() -> None:
    assert contrast_of(BAD) == replace(BAD, rating=5.0)
    assert contrast_of(MIXED) == replace(MIXED, rating=5.0)
    assert contrast_of(GOOD) is None
    assert contrast_of(UNRATED) is None


def test_guided_texts_are_others_and_those_that_need_no_guidance_are_the_same(writer: FeedbackWriter) -> None:
    requests = [BAD, MIXED, GOOD, UNRATED]
    plain = writer.write(requests, 3, Decoding(20))
    pushed = guided(writer, 3.0).write(requests, 3, Decoding(20))
    assert pushed[:2] != plain[:2]
    assert pushed[2:] == plain[2:]


def test_guidance_is_the_same_alone_and_in_a_batch(writer: FeedbackWriter) -> None:
    requests, by = [BAD, MIXED, GOOD], guided(writer, 2.0)
    assert [by.write([one], 3, Decoding(20))[0] for one in requests] == by.write(requests, 3, Decoding(20))


def test_scores_are_pushed_by_the_difference_to_the_contrast_at_every_step(writer: FeedbackWriter) -> None:
    """Step by step with what is kept of the steps before, against the whole read anew."""
    prompts = [writer.prompts.encode(one) for one in (BAD, GOOD, MIXED)]
    contrasts = [None if one is GOOD else writer.prompts.encode(contrast_of(one) or one) for one in (BAD, GOOD, MIXED)]

    def expected_behind(tokens: list[int]) -> torch.Tensor:
        return writer.model(torch.tensor([tokens])).logits[0, -1]

    with torch.inference_mode():
        texts = Guided(PlainNextToken(writer.model), contrasts, 2.0).begin(prompts, 4)
        said: list[list[int]] = [[], [], []]
        for new in ([7, 8, 9], [11, 6, 5], [6, 6, 8]):
            for row, (prompt, contrast) in enumerate(zip(prompts, contrasts, strict=True)):
                expected = expected_behind(prompt + said[row])
                if contrast is not None:
                    mine = expected.log_softmax(-1)
                    expected = mine + 2.0 * (mine - expected_behind(contrast + said[row]).log_softmax(-1))
                torch.testing.assert_close(texts.scores[row], expected, rtol=1e-4, atol=1e-4)
                said[row].append(new[row])
            texts.extend(torch.tensor(new))


def test_what_neither_prompt_expects_stays_impossible() -> None:
    class Expects:
        scores = torch.tensor([[0.0, -torch.inf], [0.0, -torch.inf]])

        def begin(self, prompts: object, room: int) -> Expects:
            return self

        def extend(self, tokens: torch.Tensor) -> None: ...

    assert Guided(Expects(), [[1]], 2.0).begin([[0]], 1).scores.tolist() == [[0.0, -torch.inf]]


def test_a_loaded_writer_guides_as_the_saved_one(writer: FeedbackWriter, tmp_path: Path) -> None:
    by = guided(writer, 3.0)
    by.save(tmp_path)
    loaded = FeedbackWriter.load(tmp_path)
    assert loaded.guidance == 3.0
    assert loaded.write([BAD], 3, Decoding(20)) == by.write([BAD], 3, Decoding(20))


def test_a_text_ends_where_its_contrast_has_no_room(writer: FeedbackWriter, monkeypatch: pytest.MonkeyPatch) -> None:
    pushing = guided(writer, 2.0)
    encode = pushing.prompts.encode

    def longer_at_five(request: WritingRequest, _: object = None) -> list[int]:
        tokens = encode(request)
        return tokens if request.rating == BAD.rating else (tokens * pushing.max_tokens)[: pushing.max_tokens - 3]

    monkeypatch.setattr(pushing.prompts, "encode", longer_at_five)
    (text,) = pushing.write([BAD], 1)
    # A text that was cut short is given its full stop.
    assert len(pushing.tokenizer.encode(text.removesuffix("."))) <= 3


def test_a_text_that_ends_early_does_not_let_others_go_on_for_ever(writer: FeedbackWriter) -> None:
    class EndsFirst:
        """The first text wants to end, the second to go on: each with words of its own."""

        def __init__(self) -> None:
            self.n_read = 0

        @property
        def scores(self) -> torch.Tensor:
            scores = torch.rand(2, len(writer.tokenizer), generator=torch.Generator().manual_seed(self.n_read))
            scores[0, writer.end], scores[1, writer.end] = 100.0, -100.0
            return scores

        def extend(self, tokens: torch.Tensor) -> None:
            self.n_read += 1
            assert self.n_read < 30

    texts, room = EndsFirst(), 20
    sampling = writer._sampler.start([1, 2], [room, room], 0.0, 1.0)
    first, second = writer._draw_words(texts, sampling, _Stop(lambda: False), None)
    assert len(first) < len(second) == room
    assert texts.n_read == room - 1
