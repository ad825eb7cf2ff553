"""Copying from training texts: what counts as copied, and what becomes of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recommender.writing.copies import MAX_COPIED_SHARE, TrainingRuns
from recommender.writing.decoding import Decoding
from recommender.writing.examples import WritingRequest
from recommender.writing.writer import MAX_REDRAWS, FeedbackWriter

OWN = "My uncle Ned played this very fiddle at the county fair in the rain."
COMMON = "I would buy this again and tell all of my friends about it."
RUNS = TrainingRuns.of([OWN, *(f"{COMMON} Number {n} says so." for n in range(3))])
REQUESTS = [WritingRequest(5.0, "", "A fiddle"), WritingRequest(1.0, "", "A drum")]


def test_runs_of_one_text_are_copied_and_what_many_say_is_not() -> None:
    # 14 words have 7 runs of eight.
    assert RUNS.copied_share(OWN) == 1.0
    assert RUNS.copied_share(OWN.upper().replace(" ", ",  ")) == 1.0, "case and punctuation make nothing new"
    assert RUNS.copied_share(COMMON) == 0.0
    assert RUNS.copied_share("My uncle Ned played this very fiddle. And how!") == 0.0, "seven words are no run"
    assert RUNS.copied_share("My uncle Ned played this very fiddle at home") == pytest.approx(1 / 2)
    assert RUNS.copied_share("Good.") == TrainingRuns.of([]).copied_share(OWN) == 0.0


def test_a_text_that_is_there_several_times_is_one_text() -> None:
    assert TrainingRuns.of([OWN] * 9).copied_share(OWN) == 1.0


def test_sentences_that_are_copied_are_left_out() -> None:
    kept = RUNS.without_copies(f"It sounds sweet. {OWN} I play it every day, and it never lets me down at all.")
    assert kept == "It sounds sweet. I play it every day, and it never lets me down at all."
    assert RUNS.without_copies(OWN) == "My uncle Ned played this very fiddle."
    assert RUNS.copied_share(RUNS.without_copies(OWN)) <= MAX_COPIED_SHARE


def test_saved_and_loaded_they_are_the_same_and_hold_no_words(tmp_path: Path) -> None:
    RUNS.save(tmp_path)
    loaded = TrainingRuns.load(tmp_path)
    assert len(loaded) == len(RUNS) > 0
    assert loaded.copied_share(OWN) == 1.0
    (file,) = tmp_path.iterdir()
    assert b"uncle" not in file.read_bytes()


def test_no_hash_is_lost_at_either_end() -> None:
    hashes = np.sort(np.array([0, 1, 2**63, 2**64 - 1], dtype=np.uint64))
    assert np.array_equal(hashes.view(np.int64).view(np.uint64), hashes)


class Scripted(FeedbackWriter):
    """Draws texts from a script; of each draw it keeps which items were asked for."""

    def __init__(self, *draws: list[str]) -> None:
        self.max_tokens, self.runs = 100, RUNS
        self.draws, self.asked = iter(draws), []

    def _draw(self, requests: Any, seeds: Any, *_: Any) -> list[str]:
        self.asked.append(([request.item for request in requests], seeds[-1]))
        return next(self.draws)


def test_a_copied_text_is_drawn_again_and_the_others_stay() -> None:
    writer = Scripted(["All mine.", OWN], ["All mine too."])
    assert writer.write(REQUESTS, seed=1) == ["All mine.", "All mine too."]
    (first, seed), (again, other) = writer.asked
    assert (first, again) == (["A fiddle", "A drum"], ["A drum"])
    assert seed != other


def test_what_stays_copied_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    writer = Scripted(*[[f"So sweet. {OWN}"]] * (MAX_REDRAWS + 1))
    assert writer.write(REQUESTS[:1], seed=1) == ["So sweet."]
    assert len(writer.asked) == MAX_REDRAWS + 1


def test_the_likeliest_text_is_not_drawn_again() -> None:
    writer = Scripted([OWN])
    assert writer.write(REQUESTS[:1], seed=1, decoding=Decoding(temperature=0)) == [
        "My uncle Ned played this very fiddle."
    ]


def test_without_a_bound_a_text_stays_as_it_is() -> None:
    writer = Scripted([OWN])
    writer.runs = None
    assert writer.write(REQUESTS[:1], seed=1) == [OWN]
