"""Texts as `sommelier feedback` prints them: one or several, whole or sentence by sentence, as text or JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from cli.main import main
from serving.api.feedback import Feedback, FeedbackRequest, TextPiece

ASKED: list[FeedbackRequest] = []


class Answering:
    """Writes two sentences of each item, and keeps what it was asked."""

    def stream_feedback(self, request: FeedbackRequest) -> Iterator[TextPiece | Feedback]:
        ASKED.append(request)
        for index, one in enumerate(request.each()):
            sentences = [f"It is {one.item_id}.", " Good."]
            for sentence in sentences:
                yield TextPiece(index=index, text=sentence)
            yield Feedback(
                model="m:1",
                user_id=one.user_id,
                item_id=str(one.item_id),
                kind="review",
                text="".join(sentences),
                rating=one.rating,
                rating_source="given",
                seed=1,
            )


@pytest.fixture(autouse=True)
def answering(monkeypatch: pytest.MonkeyPatch) -> None:
    ASKED.clear()
    monkeypatch.setattr("serving.answering.connect", lambda settings, show: Answering())


def test_one_text_is_asked_for_and_printed_alone(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["feedback", "u1", "i1", "--rating", "4"]) == 0
    assert capsys.readouterr().out == "It is i1. Good.\n"
    assert (ASKED[0].item_id, ASKED[0].user_id, ASKED[0].rating, ASKED[0].pairs) == ("i1", "u1", 4, None)


@pytest.mark.parametrize("more", [[], ["--stream"]])
def test_several_texts_have_user_and_item_before_them(capsys: pytest.CaptureFixture[str], more: list[str]) -> None:
    assert main(["feedback", "u1", "i1", "i2", "--pair", "u2", "i3", "--rating", "2", *more]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "u1 i1: It is i1. Good.",
        "u1 i2: It is i2. Good.",
        "u2 i3: It is i3. Good.",
    ]
    assert [(pair.user_id, pair.item_id, pair.rating) for pair in ASKED[0].pairs or ()] == [
        ("u1", "i1", 2),
        ("u1", "i2", 2),
        ("u2", "i3", 2),
    ]


def test_as_json_one_text_is_an_object_and_several_are_a_list(capsys: pytest.CaptureFixture[str]) -> None:
    main(["feedback", "u1", "i1", "--json"])
    assert json.loads(capsys.readouterr().out)["text"] == "It is i1. Good."
    main(["feedback", "u1", "i1", "i2", "--json"])
    assert [text["item_id"] for text in json.loads(capsys.readouterr().out)] == ["i1", "i2"]


def test_streamed_json_is_a_message_on_each_line(capsys: pytest.CaptureFixture[str]) -> None:
    main(["feedback", "u1", "i1", "--stream", "--json"])
    *pieces, whole = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert pieces == [{"index": 0, "text": "It is i1."}, {"index": 0, "text": " Good."}]
    assert whole["text"] == "It is i1. Good."


def test_a_sentence_is_shown_before_the_next_is_written(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = []

    def watched(self: Answering, request: FeedbackRequest) -> Iterator[TextPiece | Feedback]:
        yield TextPiece(index=0, text="First.")
        shown.append(capsys.readouterr().out)

    monkeypatch.setattr(Answering, "stream_feedback", watched)
    main(["feedback", "u1", "i1", "--stream"])
    assert shown == ["First."]


@pytest.mark.parametrize("more", [[], ["--stream"]])
def test_no_text_is_a_command_to_the_terminal(capsys: pytest.CaptureFixture[str], more: list[str]) -> None:
    assert main(["feedback", "u1", "i\x1b[2J", *more]) == 0
    assert capsys.readouterr().out == "It is i\\x1b[2J. Good.\n"
