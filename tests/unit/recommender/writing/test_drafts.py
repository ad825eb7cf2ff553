"""Several drafts of a text, and the one that is taken."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from core.settings.models import LanguageModelWriterSettings
from recommender.aspects.statements import KnownStatements
from recommender.encoders.next_token import PlainNextToken
from recommender.evaluation.feedback.evaluation import writes
from recommender.evaluation.feedback.sample import Asked
from recommender.fitting.context import FitContext
from recommender.writing import training as fitting
from recommender.writing import writer as writing
from recommender.writing.decoding import Decoding, choose_draft
from recommender.writing.examples import WritingRequest, read_reviews
from recommender.writing.training import fit_writer
from recommender.writing.writer import FeedbackWriter
from tests.unit.recommender.tiny_language_models import write_llama
from tests.unit.recommender.written_shop import catalogue_of, write_reviews

DRUM = WritingRequest(None, "", "A drum", "drum")
KNOWN = KnownStatements({"drum": [("string", True)]})
SHORT = Decoding(14)


def test_the_draft_is_taken_that_the_items_reviewers_support():
    drafts = ["The tone is great.", "The strings are great.", "The price is great."]
    assert choose_draft(DRUM, drafts, KNOWN) == drafts[1]
    assert choose_draft(WritingRequest(None, "", "With great tone", "lute"), drafts, KNOWN) == drafts[0]


def test_the_draft_is_taken_that_sounds_like_its_rating():
    drafts = ["It is a box.", "It is terrible.", "It is wonderful."]
    for rating, place in ((1.0, 1), (5.0, 2)):
        assert choose_draft(WritingRequest(rating, "", "A drum"), drafts, None) == drafts[place]


def test_the_draft_is_taken_that_says_what_the_others_say():
    drafts = ["Bought in May for a friend.", "My son plays it each day.", "My son plays it at home each day."]
    assert choose_draft(DRUM, drafts, None) == drafts[1]
    assert choose_draft(DRUM, ["alone."], None) == "alone."
    assert choose_draft(DRUM, ["same.", "same."], KNOWN) == "same."


@pytest.mark.parametrize(
    ("drafts", "place"),
    [
        (
            [
                "Mein Kind hat die Gitarre leider nach einer Woche kaputt gemacht.",
                "Sie klingt voll und liegt gut in der Hand.",
                "Der Hals liegt gut, die Saiten nicht.",
            ],
            2,
        ),
        (["Mein Kind hat sie leider kaputt gemacht.", "Sie klingt recht voll.", "Der Hals klingt gut."], 1),
        (
            [
                "It is great, and that is all I have to say of it.",
                "Sie klingt recht voll, aber nicht zu laut und zu hell.",
                "Der Hals liegt gut, aber einer der Wirbel klemmt.",
            ],
            1,
        ),
    ],
    ids=["long", "too short to tell alone", "mixed"],
)
def test_english_words_judge_no_drafts_in_another_language(drafts: list[str], place: int):
    # "Kind" praises in English.
    assert choose_draft(WritingRequest(5.0, "", "Gitarre"), drafts, None) == drafts[place]


def test_where_no_language_is_read_only_the_other_drafts_count():
    drafts = ["The strings are great.", "The box was big.", "The box came in May."]
    assert choose_draft(WritingRequest(5.0, "", "A drum", "drum"), drafts, KNOWN) == drafts[0]
    assert choose_draft(WritingRequest(5.0, "", "A drum", "drum"), drafts, KNOWN, "none") == drafts[1]


@pytest.fixture(scope="module")
def training(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_reviews(tmp_path_factory.mktemp("shop"), n_train=120)


@pytest.fixture(scope="module")
def fitted(training: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    settings = LanguageModelWriterSettings(
        model=str(write_llama(tmp_path_factory.mktemp("llama"))), max_steps=2, minutes=None, drafts=3, max_tokens=128
    )
    target = tmp_path_factory.mktemp("fit") / "writer"
    assert fit_writer(FitContext(training, 1, threads=1), target, settings) is not None
    return target


@pytest.fixture
def writer(fitted: Path) -> FeedbackWriter:
    return FeedbackWriter.load(fitted)


@pytest.fixture
def requests(training: Path) -> list[WritingRequest]:
    return [one.request for one in read_reviews(training, "test", catalogue_of(training))][:7]


def of_one_draft(writer: FeedbackWriter, fitted: Path) -> FeedbackWriter:
    one = FeedbackWriter.load(fitted)
    one.drafts = 1
    return one


def test_a_fit_keeps_how_many_and_what_reviewers_state(training: Path, writer: FeedbackWriter) -> None:
    assert writer.drafts == 3
    assert writer.statements is not None
    request = read_reviews(training, "test", catalogue_of(training))[0].request
    assert request.item_id, "what is known of the item is found by it"


def test_where_no_review_is_read_a_fit_keeps_nothing_of_what_reviewers_state(training: Path, tmp_path: Path) -> None:
    (tmp_path / "llama").mkdir()
    settings = LanguageModelWriterSettings(
        model=str(write_llama(tmp_path / "llama")), max_steps=1, minutes=None, drafts=2, max_tokens=64
    )
    assert fit_writer(FitContext(training, 1, threads=1), tmp_path / "writer", settings, language="none")
    writer = FeedbackWriter.load(tmp_path / "writer")
    assert (writer.drafts, writer.language, writer.statements) == (2, "none", None)


def test_of_many_reviews_those_of_a_sample_say_what_reviewers_state(
    training: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fitting, "MAX_STATING", 30, raising=False)
    (tmp_path / "llama").mkdir()
    model = str(write_llama(tmp_path / "llama"))
    settings = LanguageModelWriterSettings(model=model, max_steps=1, minutes=None, drafts=2, max_tokens=64)
    lines: list[str] = []
    fit = FitContext(training, 1, threads=1, progress=lines.append)
    counted: list[int] = []

    def count(reviews: Iterable[Any]) -> KnownStatements:
        counted.append(len(list(reviews)))
        return KnownStatements({})

    monkeypatch.setattr(KnownStatements, "of", count)
    summary = fit_writer(fit, tmp_path / "writer", settings)
    assert summary is not None
    assert counted == [30]
    (cap,) = [cap for cap in summary.caps if cap.what.startswith("reviews whose statements choose")]
    assert (cap.taken, cap.there > 100) == (30, True)
    assert "feedback writer: reads what 30 reviews state, to choose among drafts" in lines
    # With one draft nothing is chosen, and nothing read.
    assert fit_writer(fit, tmp_path / "single", settings.model_copy(update={"drafts": 1}))
    assert counted == [30]


def test_each_text_is_the_best_of_its_drafts_and_the_first_is_what_there_was_without(
    writer: FeedbackWriter, fitted: Path, requests: list[WritingRequest], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[WritingRequest, list[str]]] = []

    def last(request: WritingRequest, drafts: Any, known: Any, language: str) -> str:
        assert known is writer.statements
        assert language == writer.language
        seen.append((request, list(drafts)))
        return seen[-1][1][-1]

    monkeypatch.setattr(writing, "choose_draft", last)
    texts = writer.write(requests, seed=5, decoding=SHORT)
    assert [request for request, _ in seen] == requests
    assert texts == [drafts[2] for _, drafts in seen]
    assert [drafts[0] for _, drafts in seen] == of_one_draft(writer, fitted).write(requests, 5, SHORT)
    assert any(len(set(drafts)) > 1 for _, drafts in seen)


def test_a_text_is_the_same_alone_and_beside_others(writer: FeedbackWriter, requests: list[WritingRequest]) -> None:
    # Eight bits, or sixteen, make a step of what sums in another order differ by.
    writer._next_token = PlainNextToken(writer.model.float())
    together = writer.write(requests, seed=5, decoding=SHORT)
    assert together == [writer.write([one], 5, SHORT)[0] for one in requests]
    asked = [Asked(one, one.item_id) for one in requests]
    assert [len(texts) for texts in (together, writes(writer, 5, 3)(asked))] == [7, 7]


def test_no_more_drafts_than_there_is_room_for_are_written_at_once(
    writer: FeedbackWriter, requests: list[WritingRequest], monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    draw = FeedbackWriter._draw

    def counted(self: FeedbackWriter, asked: Any, *more: Any) -> list[str]:
        sizes.append(len(asked))
        return draw(self, asked, *more)

    monkeypatch.setattr(FeedbackWriter, "_draw", counted)
    writer.runs = None
    writer.write(requests, 5, SHORT)
    assert sizes == [15, 6]
    sizes.clear()
    monkeypatch.setattr(writing, "MAX_DRAFTS_AT_ONCE", 2)
    writer.write(requests[:2], 5, SHORT)
    assert sizes == [3, 3]
    assert [writer.texts_at_once(n) for n in (1, 8, 64)] == [1, 1, 1]
    monkeypatch.setattr(writing, "MAX_DRAFTS_AT_ONCE", 16)
    # Each batch that has room is one of `write`, so that nothing waits in it for what comes after.
    assert [writer.texts_at_once(n, SHORT) for n in (1, 8, 64)] == [1, 2, 5]
    assert writer.texts_at_once(64, Decoding.by("greedy", 14)) == 64
    # Where nothing is drawn all drafts would be the same.
    sizes.clear()
    writer.write(requests, 5, Decoding.by("greedy", 14))
    assert sizes == [7]
    assert writer.write([], 5) == []


def test_whoever_reads_along_gets_the_first_draft(
    writer: FeedbackWriter, fitted: Path, requests: list[WritingRequest]
) -> None:
    said: list[str] = []
    writer.runs = None
    (expected,) = of_one_draft(writer, fitted).write(requests[:1], 5, SHORT)
    assert writer.write_aloud(requests[0], 5, said.append, SHORT) == expected == "".join(said)
