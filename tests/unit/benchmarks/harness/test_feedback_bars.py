"""The bars that feedback writers are held to: which figures meet them."""

from __future__ import annotations

import pytest

from benchmarks.harness.feedback_bars import MEASURES, bar_of, cell_of

FOUND = {
    "zero-shot": {"bits_per_byte": 1.50, "rating_agreement_2": 0.5, "bleu_4": 0.3, "copied_share": 0.0},
    "language_model": {"bits_per_byte": 1.38, "rating_agreement_2": 0.85, "bleu_4": 1.2, "copied_share": 0.051},
    "small": {"bits_per_byte": 1.90, "rating_agreement_2": None, "bleu_4": 0.9, "copied_share": 0.05},
    "nearest training review": {"rating_agreement_2": None, "bleu_4": 0.9, "copied_share": 1.0},
    "most frequent sentence": {"rating_agreement_2": 0.5, "bleu_4": 0.1, "copied_share": 0.0},
    "the real reviews": {"rating_agreement_2": 0.9, "copied_share": 0.0},
}


@pytest.mark.parametrize(
    ("measure", "bar"),
    [
        ("bits_per_byte", "8 % below zero-shot: language_model; 25 % below small: language_model"),
        ("rating_agreement_2", ">= .85: language_model"),
        ("bleu_4", "above both baselines: language_model"),
        ("copied_share", "<= .05: zero-shot, small"),
        ("unique_sentence_ratio", ">= .9: none"),
        ("perplexity", ""),
    ],
)
def test_a_bar_says_its_rule_and_which_writers_meet_it(measure: str, bar: str) -> None:
    assert bar_of(measure, FOUND) == bar


def test_bits_are_compared_with_the_best_seed_of_the_other() -> None:
    seeds = {"zero-shot": {"bits_per_byte": 1.0}, "small, seed 0": {"bits_per_byte": 2.0}}
    found = {**seeds, "small, seed 1": {"bits_per_byte": 1.2}, "language_model, seed 0": {"bits_per_byte": 0.91}}
    assert bar_of("bits_per_byte", found) == "8 % below zero-shot: language_model, seed 0; 25 % below small: none"
    assert bar_of("bits_per_byte", {"small": {"bits_per_byte": 2.0}}) == "8 % below zero-shot; 25 % below small"


def test_a_figure_that_there_is_not_is_a_dash() -> None:
    assert [cell_of(measure, {}) for measure in MEASURES] == ["-"] * len(MEASURES)
    assert cell_of("rouge_l", {"rouge_l": 11.376}) == "11.38"
    assert cell_of("copied_share", {"copied_share": 0.0514}) == "0.051"
    assert cell_of("steps", {"steps": 170.0}) == "170"
