"""What `benchmarks.feedback_text` prints of each writer, and the bars that its figures are held to."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from recommender.evaluation.feedback.names import CONTENT, LIKENESS, MOST_FREQUENT, NEAREST, REAL, ROWS, SHARES

Figures = dict[str, float | None]
MEASURES = {
    **LIKENESS,
    **CONTENT,
    "n_statements": "statements",
    "steps": "steps",
    "minutes": "training min",
    "words_per_s": "words/s",
}
# Figures that are held to a bar of their own: how it reads, and when it is met.
BARS: dict[str, tuple[str, Callable[[float], bool]]] = {
    "rating_agreement_2": (">= .85", lambda value: value >= 0.85),
    "rating_agreement_3": (">= .70", lambda value: value >= 0.70),
    "statement_precision": (">= .40", lambda value: value >= 0.40),
    "unique_sentence_ratio": (">= .9", lambda value: value >= 0.9),
    "copied_share": ("<= .05", lambda value: value <= 0.05),
}
# Figures that have to be above those of both baselines.
ABOVE_BASELINES = ("bleu_4", "rouge_l")
# Of the fine-tuned language model: so many times the bits of another at most.
BITS = {"zero-shot": (0.92, "8 % below zero-shot"), "small": (0.75, "25 % below small")}
BASELINES = (ROWS[NEAREST], ROWS[MOST_FREQUENT])


def cell_of(measure: str, figures: Figures) -> str:
    """A figure as the table shows it."""
    value = figures.get(measure)
    if value is None:
        return "-"
    if measure in SHARES or measure == "bits_per_byte":
        return f"{value:.3f}"
    return f"{value:.0f}" if measure in ("n_statements", "steps", "words_per_s") else f"{value:.2f}"


def bar_of(measure: str, found: Mapping[str, Figures]) -> str:
    """The bar of a measure and which writers meet it; empty where there is none.

    Args:
        found: Figures by writer or baseline, as the table names them.
    """
    if measure == "bits_per_byte":
        return "; ".join(_bits(found, other, share, rule) for other, (share, rule) in BITS.items())
    writers = {name: figures for name, figures in found.items() if name not in (*BASELINES, ROWS[REAL])}
    if measure in BARS:
        rule, holds = BARS[measure]
    elif measure in ABOVE_BASELINES:
        most = max((found[name].get(measure) or 0.0 for name in BASELINES if name in found), default=0.0)
        rule, holds = "above both baselines", lambda value: value > most
    else:
        return ""
    return _met(rule, [name for name, figures in writers.items() if _holds(figures.get(measure), holds)])


def _holds(value: float | None, holds: Callable[[float], bool]) -> bool:
    return value is not None and holds(value)


def _bits(found: Mapping[str, Figures], other: str, share: float, rule: str) -> str:
    """Whether fine-tuned language models expect the texts so much better than another writer does."""
    tuned = {name: figures["bits_per_byte"] for name, figures in found.items() if name.startswith("language_model")}
    rivals = [figures["bits_per_byte"] for name, figures in found.items() if name.startswith(other)]
    least = min((bits for bits in rivals if bits is not None), default=None)
    if least is None or not tuned:
        return rule
    return _met(rule, [name for name, bits in tuned.items() if bits is not None and bits <= share * least])


def _met(rule: str, names: list[str]) -> str:
    return f"{rule}: {', '.join(names) or 'none'}"
