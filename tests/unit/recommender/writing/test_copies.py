"""Copying from training texts: what counts as copied, and what becomes of it."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recommender.writing.copies import MAX_COPIED_SHARE, TrainingRuns
from recommender.writing.decoding import Decoding
from recommender.writing.examples import WritingExample, WritingRequest
from recommender.writing.writer import MAX_REDRAWS, FeedbackWriter

OWN = "My uncle Ned played this very fiddle at the county fair in the rain."
COMMON = "I would buy this again and tell all of my friends about it."
ASKED = WritingRequest(5.0, "", "")


def by(user_id: str, *texts: str) -> list[WritingExample]:
    """A reviewer's texts."""
    return [WritingExample(ASKED, text, user_id) for text in texts]


RUNS = TrainingRuns.of([*by("ned", OWN), *(by(f"u{n}", f"{COMMON} Number {n} says so.")[0] for n in range(3))])
REQUESTS = [WritingRequest(5.0, "", "A fiddle"), WritingRequest(1.0, "", "A drum")]


def test_runs_of_one_text_are_copied_and_what_many_say_is_not() -> None:
    # 14 words have 7 runs of eight.
    assert RUNS.copied_share(OWN) == 1.0
    assert RUNS.copied_share(OWN.upper().replace(" ", ",  ")) == 1.0, "case and punctuation make nothing new"
    assert RUNS.copied_share(COMMON) == 0.0
    assert RUNS.copied_share("My uncle Ned played this very fiddle. And how!") == 0.0, "seven words are no run"
    assert RUNS.copied_share("My uncle Ned played this very fiddle at home") == pytest.approx(1 / 2)
    assert RUNS.copied_share("Good.") == TrainingRuns.of(()).copied_share(OWN) == 0.0


def test_a_text_that_is_there_several_times_is_one_text() -> None:
    assert TrainingRuns.of(by("ned", OWN) * 9).copied_share(OWN) == 1.0
    assert TrainingRuns.of([by(f"u{n}", OWN)[0] for n in range(9)]).copied_share(OWN) == 1.0


def test_where_reviewers_say_what_few_others_say_no_copy_is_told() -> None:
    own = [by(f"u{n}", " ".join(f"word{n * 20 + place}" for place in range(20)))[0] for n in range(9)]
    telling = TrainingRuns.if_telling(own)
    assert telling is not None
    assert telling.copied_share(own[0].text) == 1.0
    # A run of two reviewers is one that each copies from the other, by chance; one of ten is how people talk.
    assert TrainingRuns.if_telling([*own, *by("other", own[0].text + " too")]) is None
    said = [WritingExample(ASKED, f"{COMMON} {one.text}", one.user_id) for one in own]
    assert TrainingRuns.if_telling(said) is not None


def test_what_three_say_is_common_also_where_each_says_it_twice() -> None:
    said = [one for n in range(3) for one in by(f"u{n}", f"{COMMON} Number {n} says so.", f"{COMMON} Again, {n}.")]
    assert TrainingRuns.of(said[:4]).copied_share(COMMON) == 1.0
    assert TrainingRuns.of(said).copied_share(COMMON) == 0.0


def test_of_all_reviews_little_more_is_held_than_the_hashes_of_their_runs() -> None:
    reviews = (by(f"u{n}", " ".join(f"word{n}x{place}" for place in range(67)))[0] for n in range(500))
    tracemalloc.start()
    try:
        runs = TrainingRuns.of(reviews)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(runs) == 500 * 60
    assert runs.n_bytes == 8 * len(runs)
    assert most < 100 * len(runs), "hashes, copies of them while they are counted, and texts of 13 bytes a run"
    assert len(TrainingRuns.of(())) == TrainingRuns.of(()).n_bytes == 0


def test_what_a_reviewer_says_in_each_review_is_their_own() -> None:
    texts = [f"{OWN} Part {n}." for n in range(3)]
    assert TrainingRuns.of(by("ned", *texts)).copied_share(OWN) == 1.0
    assert TrainingRuns.of([by(f"u{n}", text)[0] for n, text in enumerate(texts)]).copied_share(OWN) == 0.0


@pytest.mark.parametrize(
    ("own", "kept"),
    [
        ("这把吉他的声音非常温暖，我每天晚上都在客厅里弹它。", "这把吉他的声音非常温暖，我每天晚."),
        ("このギターの音はとても温かくて、毎晩弾いています。", "このギターの音はとても温かくて."),
        ("เสียงกีตาร์ตัวนี้อบอุ่นมากและเล่นง่าย", "เสียงกีตาร์ตัวนี้อบอุ่น."),
        ("इस गिटार की आवाज़ बहुत मीठी है और तार अच्छे हैं।", "इस गिटार की आवाज़ बहुत मीठी है."),
    ],
)
def test_copies_are_told_in_every_script(own: str, kept: str) -> None:
    runs = TrainingRuns.of(by("ned", own))
    assert runs.copied_share(own) == 1.0
    assert runs.without_copies(own) == kept
    assert not runs.holds_too_much(kept)
    assert runs.copied_share(f"{own[: len(own) // 4]} 123 {own[-len(own) // 4 :]}") == 0.0, "parts are no run"


def test_what_is_left_of_a_copied_text_is_no_run_whatever_stands_between_its_words() -> None:
    own = "Well-made, hand-rubbed, all-wood, old-style, one-of-a-kind fiddle from my uncle Ned."
    runs = TrainingRuns.of(by("ned", own))
    assert runs.without_copies(own) == "Well-made, hand-rubbed, all-wood, old."


def test_sentences_that_are_copied_are_left_out() -> None:
    kept = RUNS.without_copies(f"It sounds sweet. {OWN} I play it every day, and it never lets me down at all.")
    assert kept == "It sounds sweet. I play it every day, and it never lets me down at all."
    assert RUNS.without_copies(OWN) == "My uncle Ned played this very fiddle."
    assert RUNS.copied_share(RUNS.without_copies(OWN)) <= MAX_COPIED_SHARE


def test_what_is_left_of_scripts_without_spaces_gets_none() -> None:
    assert RUNS.without_copies(f"很好。{OWN}不错！「再买。」") == "很好。" + "「再买。」"
    assert RUNS.without_copies("很好。不错！") == "很好。不错！"


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
        self.max_tokens, self.runs, self.drafts = 100, RUNS, 1
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
