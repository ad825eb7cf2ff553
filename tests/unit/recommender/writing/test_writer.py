"""What the writer is asked, how it draws words, and what it hands out."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from core import schema
from recommender.errors import BundleError
from recommender.fitting.determinism import deterministic
from recommender.inputs.catalogue import Catalogue
from recommender.inputs.ids import UnknownItem
from recommender.inputs.user import UserState
from recommender.writing.batches import IGNORED, collate, perplexity, shuffled_batches, text_loss, tokenize
from recommender.writing.contacts import EMAIL, PHONE, URL
from recommender.writing.copies import TrainingRuns
from recommender.writing.decoding import Decoding, Released, WriterError, WritingStopped, finish_sentence
from recommender.writing.examples import (
    WritingExample,
    WritingRequest,
    read_reviews,
    training_examples,
)
from recommender.writing.sampling import NO_REPEAT_LENGTH, likeliest, sampling_seed
from recommender.writing.small_model import new_small_writer
from recommender.writing.writer import FeedbackWriter, never
from tests.unit.recommender.written_shop import TINY, catalogue_of, write_reviews

REQUESTS = [
    WritingRequest(rating, "country France. lately A malty whisk", item)
    for rating in (5.0, 1.0, None)
    for item in ("A fruity kettle. For every kitchen", "A smoky grinder", "")
]


@pytest.fixture(scope="module")
def training(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_reviews(tmp_path_factory.mktemp("shop"), n_train=60)


@pytest.fixture(scope="module")
def writer(training: Path) -> Iterator[FeedbackWriter]:
    """A writer that has learned nothing: what it writes is noise, which is the hardest case for clean texts."""
    examples = training_examples(read_reviews(training, "train", catalogue_of(training)))
    threads = torch.get_num_threads()
    with deterministic(0):
        made = new_small_writer(TINY, examples)
    torch.set_num_threads(1)
    yield made
    torch.set_num_threads(threads)


def test_a_request_describes_user_and_item(training: Path) -> None:
    user = UserState(
        items=("i0", "i1", "i2", "i3"), values=(None,) * 4, own_words="lovely", attributes="country France"
    )
    request = WritingRequest.of(4.0, user, "i4", catalogue_of(training))
    assert request.profile == (
        "country France\noften says lovely\nlately A fruity teapot; A malty kettle; A smoky kettle"
    )
    assert request.item == "A smoky teapot. For every kitchen"
    assert request.prompt.startswith("review good, 4 stars | item: A smoky teapot")
    with pytest.raises(UnknownItem, match="item_id='zebra'"):
        WritingRequest.of(4.0, user, "zebra", catalogue_of(training))


def test_a_profile_sums_up_what_the_user_comes_back_to_and_did_not_like(training: Path) -> None:
    table = catalogue_of(training).table
    place = table.schema.get_field_index(schema.BRAND)
    brands = pa.array([None if number == 1 else "Tea &amp; Co" for number in range(len(table))])
    catalogue = Catalogue.from_table(table.set_column(place, schema.BRAND, brands), 0)
    items = ("i0", "i1", "i2", "i3", "i5", "gone")
    user = UserState(items=items, values=(5.0, None, 1.0, 2.0, 3.0, 4.0), mean_rating=1.25, own_words="lovely")
    labels = [catalogue.label(item) for item in items]
    parts = WritingRequest.of(4.0, user, "i4", catalogue).profile.split("\n")
    assert (
        parts
        == [
            "gives 3.0 stars",  # of the history: training knows no others
            "often says lovely",
            "likes Tea & Co",
            f"disliked {labels[3]}; {labels[2]}",
            f"lately {'; '.join(labels[:2:-1])}",
        ]
    )


def test_only_the_window_asked_for_is_read(training: Path) -> None:
    catalogue = catalogue_of(training)
    train, later = read_reviews(training, "train", catalogue), read_reviews(training, "test", catalogue)
    assert (len(train), len(later)) == (60, 10)
    assert not {example.text for example in train} & {example.text for example in later}


def test_reviews_are_learned_whole(training: Path) -> None:
    reviews = read_reviews(training, "train", catalogue_of(training))
    assert training_examples(reviews) == reviews


def test_a_review_that_stands_in_its_own_prompt_is_not_learned() -> None:
    text = "I bought this kettle for my mother and she uses it every single day of the week."
    shown = WritingRequest(5.0, "", f"{text} Another review")
    assert training_examples([WritingExample(shown, text)]) == []


@pytest.mark.parametrize(
    ("text", "ended", "finished"),
    [
        ("Good. Very go", False, "Good."),
        ('He said "good!" and le', False, 'He said "good!"'),
        ("Good. Very good", True, "Good. Very good."),
        ("Good.", False, "Good."),
        ("So very go", False, "So very."),
        ("Version 2.0 is", False, "Version 2.0."),
        ("Good,", True, "Good."),
    ],
)
def test_texts_end_with_a_sentence(text: str, ended: bool, finished: str) -> None:
    assert finish_sentence(text, ended) == finished


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 2**31), st.sampled_from([0.0, 0.7, 1.5]), st.sampled_from([0.3, 1.0]), st.integers(1, 40))
@example(1345343432, 0.7, 1.0, 4)  # noise that looks like an address, and is masked
def test_even_an_untrained_writer_writes_clean_texts(
    writer: FeedbackWriter, seed: int, temperature: float, top_p: float, n: int
) -> None:
    for text in writer.write(REQUESTS[:4], seed, Decoding(n, temperature, top_p)):
        assert text[0].isalpha() or text.startswith((EMAIL, URL, PHONE))
        assert text[-1] in ".!?\"'”’)"
        assert "\ufffd" not in text
        assert "<|" not in text
        assert text == text.strip()


def test_one_seed_writes_the_same_alone_in_a_batch_and_among_threads(writer: FeedbackWriter) -> None:
    together = writer.write(REQUESTS, seed=5, decoding=Decoding(20))
    assert together == writer.write(REQUESTS, seed=5, decoding=Decoding(20))
    assert [writer.write([request], 5, Decoding(20))[0] for request in REQUESTS] == together
    with ThreadPoolExecutor(4) as pool:
        assert [
            texts[0] for texts in pool.map(lambda request: writer.write([request], 5, Decoding(20)), REQUESTS)
        ] == together
    assert writer.write(REQUESTS, seed=6, decoding=Decoding(20)) != together


@pytest.mark.parametrize(
    "decoding", [Decoding(90, 1.0, 1.0), Decoding(90, temperature=0.0), Decoding(90, n_beams=2)], ids=str
)
def test_a_long_prompt_beside_it_takes_a_text_no_room(
    writer: FeedbackWriter, decoding: Decoding, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("sampling", "decoding"):
        monkeypatch.setattr(f"recommender.writing.{module}.MIN_NEW_TOKENS", 90)  # none ends by itself
    asked = [WritingRequest(5.0, "", "A kettle"), WritingRequest(5.0, "word " * 60, "A fruity kettle")]

    def tokens_of(*requests: WritingRequest) -> list[list[int]]:
        return writer._generate(requests, [3] * len(requests), decoding, never, None)

    alone = [tokens_of(one)[0] for one in asked]
    rooms = [min(90, writer.max_tokens - len(writer.prompts.encode(one))) for one in asked]
    assert rooms[1] < rooms[0]
    for together in (tokens_of(*asked), tokens_of(*reversed(asked))[::-1]):
        assert [len(one) for one in together] == [len(one) for one in alone] == rooms
        # Noise is drawn by the order of words that are all but equally likely, which the last bit of a sum may change.
        assert decoding.draws or together == alone


def test_the_global_generator_is_not_touched(writer: FeedbackWriter) -> None:
    torch.manual_seed(1)
    expected = torch.rand(1)
    torch.manual_seed(1)
    writer.write(REQUESTS[:2], seed=5, decoding=Decoding(8))
    assert torch.equal(torch.rand(1), expected)


def test_nothing_asked_is_nothing_written(writer: FeedbackWriter) -> None:
    assert writer.write([], seed=1) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"max_new_tokens": 0}, "max_new_tokens=0, expected at least 1"),
        ({"temperature": -1.0}, "temperature=-1.0, expected at least 0"),
        ({"top_p": 0.0}, "top_p=0.0, expected above 0"),
        ({"n_beams": 9}, "n_beams=9, expected 1 to 8"),
        ({"max_words": 0}, "max_words=0, expected at least 1"),
    ],
)
def test_arguments_out_of_range_are_named(writer: FeedbackWriter, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(WriterError, match=message):
        writer.write(REQUESTS[:1], seed=1, decoding=Decoding(**arguments))


def test_a_writer_that_sees_little_writes_as_much_as_it_sees(writer: FeedbackWriter) -> None:
    small = FeedbackWriter(writer.model, writer.tokenizer, Decoding().max_new_tokens // 2)
    texts = small.write(REQUESTS, seed=1)
    assert all(len(small.prompts.follow(text)) < small.max_tokens for text in texts)


def test_each_request_may_have_a_seed_of_its_own(writer: FeedbackWriter) -> None:
    (first, second) = writer.write([REQUESTS[0]] * 2, seed=[5, 6], decoding=Decoding(12))
    assert first != second
    assert [second] == writer.write(REQUESTS[:1], seed=6, decoding=Decoding(12))
    with pytest.raises(WriterError, match="1 seeds, expected one for each of 2 requests"):
        writer.write(REQUESTS[:2], seed=[5])


def test_beams_draw_nothing(writer: FeedbackWriter) -> None:
    beams = Decoding(12, n_beams=4)
    (found,) = writer.write(REQUESTS[:1], seed=1, decoding=beams)
    assert [found] == writer.write(REQUESTS[:1], seed=2, decoding=beams)
    assert Decoding.by("beam", 12) == beams
    assert found[0].isalpha()
    assert found[-1] in ".!?"


def test_a_text_ends_within_its_words(writer: FeedbackWriter) -> None:
    for limit in (1, 3, 7):
        texts = writer.write(REQUESTS, seed=2, decoding=Decoding(40, max_words=limit))
        assert all(1 <= len(text.split()) <= limit for text in texts), texts
        assert all(text[-1] in ".!?" for text in texts), texts


def test_who_hangs_up_stops_the_writing_at_the_next_token(writer: FeedbackWriter) -> None:
    asked: list[None] = []

    def after_three() -> bool:
        asked.append(None)
        return len(asked) == 3

    with pytest.raises(WritingStopped, match="2 texts"):
        writer.write(REQUESTS[:2], seed=1, decoding=Decoding(40), should_stop=after_three)
    assert len(asked) == 3


def test_a_text_written_aloud_is_the_same_text_sentence_by_sentence(writer: FeedbackWriter) -> None:
    for request in REQUESTS:
        said: list[str] = []
        whole = writer.write_aloud(request, 5, said.append, Decoding(40))
        assert "".join(said) == whole
        assert [whole] == writer.write([request], seed=5, decoding=Decoding(40))


def test_who_hangs_up_stops_a_text_written_aloud(writer: FeedbackWriter) -> None:
    with pytest.raises(WritingStopped):
        writer.write_aloud(REQUESTS[0], 5, lambda _: None, Decoding(40), lambda: True)


SO_FAR = [
    ("Loud and", []),
    ("Loud and clear. My", ["Loud and clear."]),
    ("Loud and clear. My uncle Ned played this very fiddle all his life. Mail", ["Loud and clear."]),
    ("Loud and clear. My uncle Ned played this very fiddle all his life. Mail joe@shop.com now! So", 2),
]


def bound_to(text: str) -> TrainingRuns:
    return TrainingRuns.of([WritingExample(REQUESTS[0], text)])


def test_only_what_cannot_change_any_more_is_said_aloud() -> None:
    said: list[str] = []
    released = Released(said.append, bound_to("my uncle ned played this very fiddle all his life"), Decoding())
    for text, expected in SO_FAR:
        assert not released.look(text)
        assert said == expected or len(said) == expected
    assert released.end(f"{SO_FAR[-1][0]} good.") == "Loud and clear. Mail <EMAIL> now! So good."
    assert said == ["Loud and clear.", " Mail <EMAIL> now!", " So good."]


def test_a_copied_text_said_aloud_keeps_its_first_words() -> None:
    said: list[str] = []
    copied = "My uncle Ned played this very fiddle all his life."
    assert Released(said.append, bound_to(copied), Decoding()).end(copied) == said[0]
    assert said == ["My uncle Ned played this very fiddle."]


def test_sentences_of_scripts_without_spaces_are_said_one_by_one() -> None:
    said: list[str] = []
    released = Released(said.append, None, Decoding())
    for text in ("很好", "很好。不", "很好。不错！再"):
        released.look(text)
    assert said == ["很好。", "不错！"]
    assert released.end("很好。不错！再买。") == "很好。不错！再买。"


def test_runs_of_tokens_are_not_repeated(writer: FeedbackWriter) -> None:
    sampling = writer._sampler.start([1], [30], temperature=0.0, top_p=1.0)
    likely = torch.arange(writer.model.config.vocab_size, 0, -1).float()[None]
    for _ in range(30):
        sampling.choose(likely)
    (written,) = sampling.written
    runs = [tuple(written[start : start + NO_REPEAT_LENGTH]) for start in range(len(written) - NO_REPEAT_LENGTH + 1)]
    before_end = [run for run in runs if writer.end not in run]
    assert len(before_end) == len(set(before_end)) > 0


def test_draws_follow_the_probabilities(writer: FeedbackWriter) -> None:
    scores = torch.full((1000, writer.model.config.vocab_size), -torch.inf)
    first, second = (~writer._sampler.no_start).nonzero()[:2, 0].tolist()
    scores[:, first], scores[:, second] = torch.tensor(0.8).log(), torch.tensor(0.2).log()
    seeds = [sampling_seed(1, str(number)) for number in range(1000)]
    draws = writer._sampler.start(seeds, [1] * 1000, temperature=1.0, top_p=1.0).choose(scores).tolist()
    assert draws.count(first) + draws.count(second) == 1000
    assert draws.count(first) == pytest.approx(800, abs=50)


def test_top_p_keeps_the_fewest_that_reach_it() -> None:
    scores = torch.tensor([0.5, 0.1, 0.3, 0.1]).log()
    assert likeliest(scores, 0.7)[1].tolist() == [0, 2]
    assert likeliest(scores, 0.01)[1].tolist() == [0]
    assert len(likeliest(torch.zeros(1000), 0.5)[1]) == pytest.approx(500, abs=1), "more than it looks at first"


def test_a_long_prompt_loses_its_profile_and_keeps_its_end(writer: FeedbackWriter) -> None:
    tokens = writer.prompts.encode(WritingRequest(5.0, "word " * 60, "A fruity kettle " * 20))
    assert len(tokens) == 48
    decoded = writer.tokenizer.decode(tokens)
    assert decoded.startswith("review good, 5 stars | item:")
    assert decoded.endswith(" | text:")


def test_texts_are_cut_at_a_sentence_that_fits(writer: FeedbackWriter) -> None:
    request = WritingRequest(5.0, "", "A kettle")
    sentence = "This kettle is good."
    cut = tokenize(WritingExample(request, " ".join([sentence] * 40)), writer)
    assert len(cut.prompt) + len(cut.text) <= writer.max_tokens
    assert cut.text[-1] == writer.end
    assert writer.tokenizer.decode(cut.text[:-1]).endswith("kettle is good.")
    endless = tokenize(WritingExample(request, "kettle " * 200), writer)
    assert len(endless.prompt) + len(endless.text) == writer.max_tokens
    assert writer.end not in endless.text


def test_padding_changes_no_loss(writer: FeedbackWriter) -> None:
    short = tokenize(WritingExample(REQUESTS[1], "Good."), writer)
    long = tokenize(WritingExample(REQUESTS[0], "A very fruity kettle, and I love it. Do buy."), writer)
    with torch.inference_mode():
        alone = sum(float(text_loss(writer.model, collate([row], writer.end))) for row in (short, long))
        together = float(text_loss(writer.model, collate([short, long], writer.end)))
    assert together == pytest.approx(alone, rel=1e-4)


def test_the_loss_is_of_the_texts_tokens_alone(writer: FeedbackWriter) -> None:
    row = tokenize(WritingExample(REQUESTS[0], "Good kettle."), writer)
    batch = collate([row], writer.end)
    assert batch.targets[batch.targets != IGNORED].tolist() == row.text
    with torch.inference_mode():
        logits = writer.model(torch.tensor([row.prompt + row.text])).logits[0].log_softmax(dim=-1)
        expected = -sum(float(logits[len(row.prompt) - 1 + place, token]) for place, token in enumerate(row.text))
        assert float(text_loss(writer.model, batch)) == pytest.approx(expected, rel=1e-4)


def test_an_untrained_model_is_as_perplexed_as_its_vocabulary_is_large(writer: FeedbackWriter, training: Path) -> None:
    reviews = read_reviews(training, "test", catalogue_of(training))
    vocabulary = len(writer.tokenizer)
    assert perplexity(writer, reviews) == pytest.approx(vocabulary, rel=0.3)


def test_batches_hold_every_row_once(writer: FeedbackWriter) -> None:
    rows = [tokenize(WritingExample(REQUESTS[0], "kettle " * n + "."), writer) for n in range(1, 23)]
    order = torch.Generator().manual_seed(1)
    texts = [
        tuple(token for token in text if token != IGNORED)
        for batch in shuffled_batches(rows, 4, writer.end, order)
        for text in batch.targets.tolist()
    ]
    assert sorted(texts) == sorted(tuple(row.text) for row in rows)


def test_saved_and_loaded_it_writes_the_same(writer: FeedbackWriter, tmp_path: Path) -> None:
    writer.perplexity_before, writer.measured_on = {"test": 12.5}, {"test": 8}
    writer.save(tmp_path)
    names = {path.name for path in tmp_path.iterdir()}
    assert {"model.safetensors", "tokenizer.json", "config.json", "writer.json"} <= names
    loaded = FeedbackWriter.load(tmp_path)
    assert (loaded.perplexity_before, loaded.measured_on) == ({"test": 12.5}, {"test": 8})
    assert loaded.write(REQUESTS, seed=3, decoding=Decoding(12)) == writer.write(
        REQUESTS, seed=3, decoding=Decoding(12)
    )


def test_a_damaged_folder_is_named(writer: FeedbackWriter, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"file=.*writer\.json"):
        FeedbackWriter.load(tmp_path)
    writer.save(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(BundleError, match=f"folder={tmp_path}"):
        FeedbackWriter.load(tmp_path)


def test_a_model_that_sees_too_little_is_refused(writer: FeedbackWriter) -> None:
    with pytest.raises(WriterError, match="max_tokens=200, expected at most the 96 positions"):
        FeedbackWriter(writer.model, writer.tokenizer, max_tokens=200)
