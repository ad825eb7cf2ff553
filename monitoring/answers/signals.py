"""Signals of what the service answered: what was shown (predictions), what came of it (quality), and how quickly.

What is shown changes with the bundle that shows it, as it should. So signals of what is shown compare each bundle with
itself: its own mean is taken out. Quality is compared as it is: a bundle that is worse than those before is to be seen.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, timedelta

import numpy as np

from core.alarms import Family
from monitoring.answers.daily import TOOK_MS, AnswerDay
from monitoring.calibration import LAG, MIN_REFERENCE, MIN_REPLAYS
from monitoring.signals.activity import Span
from monitoring.signals.series import Series, Worse

NEEDED_DAYS = 2 * LAG + MIN_REFERENCE + MIN_REPLAYS
_SLOW = 0.99  # a quantile: what takes longer than the slowest answers of the quiet past
_ONE_BUNDLE = {
    "score": "predictions.scores.level",
    "novelty": "predictions.items.novelty",
    "popular": "predictions.items.popular_share",
    "propensity": "predictions.propensities.level",
}
_OUTCOMES = {"ctr": "quality.shown.ctr", "hit": "quality.shown.hit_rate", "ndcg": "quality.shown.ndcg"}


@dataclass(frozen=True)
class _Laid:
    """Days of a span from the first one on that has answers."""

    begins: int
    n_days: int
    rows: tuple[tuple[int, AnswerDay], ...]

    def series(self, name: str, family: Family, cells: np.ndarray, **more: object) -> Series:
        """A mean of users' days. Shape of the cells: (n_days, 3), as `AnswerDay.figures`."""
        sums, squares = cells[:, 1:2], cells[:, 2:]
        return Series(name, family, "mean", cells[:, 0], sums, squares, begins=self.begins, **more)  # type: ignore[arg-type]


def last_whole_day(span: Span) -> date:
    """The newest day (UTC) that is over where a span ends."""
    return span.end.astimezone(UTC).date() - timedelta(days=1)


def answers_note(days: Sequence[AnswerDay], span: Span) -> str:
    """Why answers are not watched, a sentence; empty where they are."""
    if not days:
        return "Not watched: predictions, their quality and latency. The prediction log has no whole day of answers."
    first, last = days[0].day, last_whole_day(span)
    if first > last:
        return f"Not watched: predictions, their quality and latency. All answers lie after {last}, the last day seen."
    n = (last - first).days + 1
    if n >= NEEDED_DAYS:
        return ""
    return (
        f"Not watched yet: predictions, their quality and latency. Answers are known for {n} days; a quiet past takes "
        f"{NEEDED_DAYS}."
    )


def answer_series(days: Sequence[AnswerDay], span: Span) -> list[Series]:
    """All of them; none where there are no answers within the span."""
    last = last_whole_day(span)
    placed = [(span.n_days - 1 - (last - one.day).days, one) for one in days]
    within = [(place, one) for place, one in placed if 0 <= place < span.n_days]
    if not within:
        return []
    begins = min(place for place, _ in within)
    laid = _Laid(begins, span.n_days - begins, tuple((place - begins, one) for place, one in within))
    return [*_predictions(laid), *_quality(laid), *_latency(laid)]


def _predictions(laid: _Laid) -> Iterator[Series]:
    for figure, name in _ONE_BUNDLE.items():
        cells = _of_one_bundle(laid, figure, is_scaled=figure == "score")
        if cells[:, 0].any():
            yield laid.series(name, "predictions", cells)
    yield laid.series("predictions.users.cold_share", "predictions", _cells(laid, "cold"))
    pairs = np.zeros((laid.n_days, 2))
    for place, one in laid.rows:
        pairs[place] += one.pairs
    name = "predictions.items.concentration"
    yield Series(name, "predictions", "rate", pairs[:, 0], pairs[:, 1:], least=10, begins=laid.begins)


def _quality(laid: _Laid) -> Iterator[Series]:
    for figure, name in _OUTCOMES.items():
        yield laid.series(name, "quality", _cells(laid, figure), worse="lower", consequence=3)
    kept = np.zeros((laid.n_days, 3))
    for place, one in laid.rows:
        if one.promise:
            n, total, squares = one.figures["ndcg"]
            kept[place] += n, total / one.promise, squares / one.promise**2
    if kept[:, 0].any():
        yield laid.series("quality.shown.kept_promise", "quality", kept, worse="lower", consequence=3)
    for segment in sorted({segment for _, one in laid.rows for segment in one.hits}):
        cells = np.zeros((laid.n_days, 3))
        for place, one in laid.rows:
            cells[place] += one.hits.get(segment, (0.0, 0.0, 0.0))
        name = _OUTCOMES["hit"]
        yield laid.series(name, "quality", cells, worse="lower", consequence=3, segment=segment)


def _latency(laid: _Laid) -> Iterator[Series]:
    counts = np.zeros((laid.n_days, len(TOOK_MS) + 1))
    for place, one in laid.rows:
        if one.took:
            counts[place] += one.took
    n = counts.sum(axis=1)
    if not n.any():
        return
    worse: Worse = "higher"
    middle = np.log(np.array([*TOOK_MS, TOOK_MS[-1] * 1.2])) - np.log(1.2) / 2
    cells = np.stack([n, counts @ middle, counts @ middle**2], axis=1)
    yield laid.series("service.latency.level", "service", cells, worse=worse, is_log=True, unit="ms")
    past = counts[: max(laid.n_days - LAG, 1)].sum(axis=0)
    slow = int(np.searchsorted(np.cumsum(past), _SLOW * past.sum())) + 1
    late = counts[:, slow:].sum(axis=1, keepdims=True)
    told = f"longer than {TOOK_MS[min(slow, len(TOOK_MS)) - 1]:.3g} ms"
    yield Series(
        "service.latency.slow_share", "service", "rate", n, late,
        is_share=True, worse=worse, begins=laid.begins, labels=(told,), consequence=3,
    )  # fmt: skip


def _cells(laid: _Laid, figure: str) -> np.ndarray:
    cells = np.zeros((laid.n_days, 3))
    for place, one in laid.rows:
        cells[place] += one.figures.get(figure, (0.0, 0.0, 0.0))
    return cells


def _of_one_bundle(laid: _Laid, figure: str, *, is_scaled: bool) -> np.ndarray:
    """Each bundle's own mean is taken out, that of all is put in; scaled: in standard deviations of each bundle."""
    whole: dict[str, np.ndarray] = {}
    for _, one in laid.rows:
        whole[one.model] = whole.get(one.model, np.zeros(3)) + one.figures.get(figure, (0.0, 0.0, 0.0))
    n_all, total_all, _ = sum(whole.values(), np.zeros(3))
    level = 0.0 if is_scaled or not n_all else total_all / n_all
    cells = np.zeros((laid.n_days, 3))
    for place, one in laid.rows:
        n, total, squares = one.figures.get(figure, (0.0, 0.0, 0.0))
        n_own, total_own, squares_own = whole[one.model]
        if not n:
            continue
        mean = total_own / n_own
        spread = np.sqrt(max(squares_own / n_own - mean**2, 1e-12)) if is_scaled else 1.0
        moved, squared = (total - n * mean) / spread, (squares - 2 * mean * total + n * mean**2) / spread**2
        cells[place] += n, moved + n * level, squared + 2 * level * moved + n * level**2
    return cells
