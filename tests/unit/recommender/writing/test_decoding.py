"""What is said aloud is what is written whole, and beams draw by the same rules."""

from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from transformers import GenerationConfig

from recommender.fitting.determinism import deterministic
from recommender.writing.batches import collate, text_loss, tokenize
from recommender.writing.contacts import mask_contacts, settled
from recommender.writing.decoding import Decoding, Released, finish_sentence
from recommender.writing.examples import WritingExample, WritingRequest
from recommender.writing.small_model import new_small_writer
from recommender.writing.writer import FeedbackWriter
from tests.unit.recommender.written_shop import TINY

PARTS = [
    "Good tone.", 'It says "wow!" and I agree.', "(really!) and so do I.", 'He said "fine." Then', "Call me!", "call",
    "5550109", "555. 010. 9999", "5. ", "7", "+1 (555)", "is mine.", "www.shop.com/5.", "joe@shop.com", "--", "?", "…",
    "很好。", "「不错！」", "）再买", "看www.shop.com，很好。不", "2014. 5 stars",
]  # fmt: skip

TITLE = "The Kyser capo is fine"
KNOWN = WritingExample(WritingRequest(5.0, "", TITLE), f"{TITLE}, buy it.")


@pytest.fixture(scope="module")
def writer() -> FeedbackWriter:
    """One that has learned to say a title that stands in its prompt."""
    with deterministic(0, 1):
        made = new_small_writer(TINY, [KNOWN])
        optimiser = torch.optim.AdamW(made.model.parameters(), lr=1e-2)
        batch = collate([tokenize(KNOWN, made)], made.end)
        for _ in range(60):
            optimiser.zero_grad()
            text_loss(made.model, batch).backward()
            optimiser.step()
    return made


def test_beams_may_say_the_title_as_drawn_words_may(writer: FeedbackWriter) -> None:
    for decoding in (Decoding(40, temperature=0.0), Decoding(40, n_beams=4)):
        assert writer.write([KNOWN.request], 1, decoding) == [KNOWN.text]


def test_what_a_models_makers_advise_counts_in_no_search(writer: FeedbackWriter) -> None:
    advised = copy.copy(writer.model)
    advised.generation_config = GenerationConfig(repetition_penalty=9.0, no_repeat_ngram_size=1, suppress_tokens=[40])
    other = FeedbackWriter(advised, writer.tokenizer, writer.max_tokens)
    assert other.write([KNOWN.request], 1, Decoding(40, n_beams=4)) == [KNOWN.text]


def said_aloud(text: str, ended: bool, decoding: Decoding) -> tuple[list[str], str]:
    """The pieces of a text that comes by the character, and the text as it is written whole."""
    said: list[str] = []
    released = Released(said.append, None, decoding)
    for n in range(1, len(text) + 1):
        so_far = " ".join(text[:n].split())
        if released.look(so_far):
            ended = False
            break
    else:
        so_far = " ".join(text.split())
    whole = decoding.fit(finish_sentence(so_far, ended))
    assert "".join(said) == released.text
    assert released.end(whole) == "".join(said)
    return said, mask_contacts(whole)


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(PARTS), st.sampled_from([" ", "", " "])), min_size=1, max_size=7).map(
        lambda parts: "".join(part + gap for part, gap in parts)
    ),
    st.booleans(),
    st.sampled_from([None, 1, 3, 6]),
)
@example("Good. --", True, None)
def test_pieces_said_aloud_are_the_whole_text(text: str, ended: bool, max_words: int | None) -> None:
    said, whole = said_aloud(text, ended, Decoding(max_words=max_words))
    assert "".join(said) == whole


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('It says "wow!" and I agree. Good tone.', ['It says "wow!" and I agree.', " Good tone."]),
        ("It is (really!) and so do I. Fine.", ["It is (really!) and so do I.", " Fine."]),
        ('He said "fine." Then it broke. Bad.', ['He said "fine." Then it broke.', " Bad."]),
        ("Call me! 5550109 is mine.", ["Call me!", " <PHONE> is mine."]),
        ("Fine. It is 555. 010. 9999, so call. Bye.", ["Fine.", " It is <PHONE>, so call.", " Bye."]),
        ("看www.shop.com。不错", ["看<URL>。", "不错."]),
        ("很好。「不错！」再买。", ["很好。", "「不错！」", "再买。"]),
    ],
)
def test_what_reaches_over_a_sentences_end_is_said_with_it(text: str, said: list[str]) -> None:
    assert said_aloud(text, True, Decoding())[0] == said


def test_what_may_become_a_number_is_not_settled() -> None:
    assert settled("It is good. Call 555. 010") == "It is good."
    assert settled("It is good. Call me. 010") == "It is good. Call me."
    assert settled("It is good.") == settled("") == ""
