"""The tables and samples of feedback text in the report."""

from __future__ import annotations

from typing import Any

import pytest

from recommender.evaluation.feedback.names import DEFINITIONS, without_samples
from recommender.evaluation.feedback.tables import feedback_samples, feedback_tables

FIGURES: dict[str, Any] = {"bleu_4": 1.25, "rouge_l": 11.4, "rating_agreement_2": 0.9, "copied_share": 0.0}
STATED = {"statement_precision": 0.25, "n_statements": 8.0}
SAMPLE = {"user_id": "u7", "item_id": "i1", "item": "A drum", "rating": 2.0, "real": "Real.", "written": "Written."}
METRICS: dict[str, Any] = {
    "split": "validation",
    "writer": {
        "n_reviews": 64,
        "n_there": 1032,
        "n_rated": 16,
        "n_expected": 24,
        "perplexity": 65.5,
        "bits_per_byte": 1.2345,
        "perplexity_before": 91.25,
        "bits_per_byte_before": 1.4567,
        **FIGURES,
        **STATED,
        "baselines": {
            "nearest_review": {**FIGURES, "rating_agreement_2": None, "bleu_4": 0.5},
            "most_frequent_sentence": FIGURES,
            "real_reviews": {"rating_agreement_2": 0.81},
        },
        "samples": [SAMPLE],
    },
}


def cells(table: dict[str, Any], row: str) -> dict[str, dict[str, str]]:
    (found,) = [one for one in table["rows"] if one["name"] == row]
    return dict(zip(table["columns"][1:], found["cells"], strict=True))


def test_writer_and_baselines_stand_in_one_table_of_likeness_and_one_of_what_is_said() -> None:
    likeness, content = feedback_tables(METRICS)
    assert [row["name"] for row in likeness["rows"]] == [
        "feedback writer",
        "the same before training",
        "nearest training review",
        "most frequent sentence",
    ], "real reviews are not compared with themselves"
    assert [row["served"] for row in content["rows"]] == [True, False, False, False]
    assert cells(likeness, "feedback writer")["bits per byte"]["text"] == "1.234"
    assert "bits per byte and perplexity are of 24" in likeness["note"]
    assert cells(likeness, "feedback writer")["BLEU-4"]["text"] == "1.2"
    assert cells(likeness, "most frequent sentence")["perplexity"]["text"] == "–"
    stated = cells(content, "feedback writer")["statement precision"]
    assert (stated["text"], stated["note"]) == ("0.250", "of 8")
    assert cells(content, "nearest training review")["rating agreement, low or high"]["text"] == "–"
    assert cells(content, "the real reviews")["rating agreement, low or high"]["text"] == "0.810"


def test_what_training_gained_is_shown() -> None:
    likeness, content = feedback_tables(METRICS)
    before = cells(likeness, "the same before training")
    assert (before["bits per byte"]["text"], before["perplexity"]["text"]) == ("1.457", "91.2")
    assert before["BLEU-4"]["text"] == "–"
    assert "the same before training" not in [row["name"] for row in content["rows"]]
    earlier = {key: value for key, value in METRICS["writer"].items() if not key.endswith("_before")}
    likeness, _ = feedback_tables({**METRICS, "writer": earlier})
    assert "the same before training" not in [row["name"] for row in likeness["rows"]]


def test_how_many_of_how_many_texts_were_looked_at_is_said() -> None:
    likeness, content = feedback_tables(METRICS)
    assert "64 of 1,032 reviews of the validation window" in likeness["note"]
    assert "16 of the reviews" in content["note"]


@pytest.mark.parametrize("writer", [None, {"n_reviews": 0}, {"n_reviews": 64, "perplexity": 5.0}])
def test_without_a_writer_or_reviews_or_in_the_figures_of_an_earlier_version_there_is_nothing(writer: Any) -> None:
    assert feedback_tables({"writer": writer}) == []
    assert feedback_samples({"writer": writer}) == []
    assert feedback_tables({}) == []


def test_every_measure_of_the_tables_is_explained() -> None:
    said = " ".join(DEFINITIONS).lower()
    columns = [name for table in feedback_tables(METRICS) for name in table["columns"][1:]]
    for name in columns:
        first = name.lower().split(",")[0].split("-")[0].split()[0]
        assert first in said or name == "low, middle or high"


def test_samples_are_taken_out_where_figures_are_kept() -> None:
    assert feedback_samples(METRICS) == [SAMPLE]
    kept = without_samples(METRICS)
    assert "samples" not in kept["writer"]
    assert kept["writer"]["bleu_4"] == 1.25
    assert METRICS["writer"]["samples"] == [SAMPLE]
