"""Since when a signal is beyond what is usual, and how it went day by day: what an alarm tells and shows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from core.alarms import Course
from monitoring.calibration import LAG, MIN_REFERENCE, MIN_REPLAYS, compare
from monitoring.signals.activity import Span
from monitoring.signals.series import Series

SHOWN_DAYS = 2 * LAG
_USUAL = (0.025, 0.975)  # of the quiet days before


@dataclass(frozen=True)
class Days:
    """What is watched.

    Attributes:
        span: The watched days.
        end: Day before which the windows end.
        reference_days: Length of a reference at most.
        noisy: Days that are not quiet. Shape (n_days,).
    """

    span: Span
    end: int
    reference_days: int
    noisy: np.ndarray

    def since(self, series: Series) -> int | None:
        """The first day beyond what is usual; None of a signal that is not watched by day.

        Of the windows of 1 to 28 days that end with the newest one, it is the begin of that which stands out most from
        the reference: of a shift that lasts, the likeliest begin (Hinkley 1970).
        """
        if not self._is_by_day(series):
            return None
        quiet, end = self._of(series)
        found = {}
        for days in range(1, LAG + 1):
            compared = compare(series, np.array([end]), days, self.reference_days, quiet)
            if compared is not None:
                found[days] = float(compared.statistic[-1]) * compared.freedom
        return self.end - max(found, key=lambda days: found[days]) if found else None

    def course(self, series: Series) -> Course | None:
        """The newest days, and between what those of the quiet past lay; None where too few are known."""
        if not self._is_by_day(series):
            return None
        quiet, end = self._of(series)
        first = max(LAG + MIN_REFERENCE, end - LAG - self.reference_days)
        ends = np.arange(min(first, max(LAG + MIN_REFERENCE, end - SHOWN_DAYS + 1)), end + 1)
        compared = compare(series, ends, 1, self.reference_days, quiet) if len(ends) else None
        if compared is None:
            return None
        values = np.exp(compared.value) if series.is_log else compared.value
        is_known = compared.exposure > 0
        is_usual = is_known & quiet[ends - 1] & (ends >= first) & (ends <= end - LAG)
        if is_usual.sum() < MIN_REPLAYS:
            return None
        low, high = np.quantile(values[is_usual], _USUAL)
        shown = range(max(len(ends) - SHOWN_DAYS, 0), len(ends))
        return Course(
            begins=self.span.starts(int(ends[shown[0]]) - 1 + series.begins).isoformat(),
            values=tuple(_short(values[place]) if is_known[place] else None for place in shown),
            low=_short(low),
            high=_short(high),
        )

    def _is_by_day(self, series: Series) -> bool:
        return series.begins + series.n_days == self.span.n_days and bool(series.exposure.any())

    def _of(self, series: Series) -> tuple[np.ndarray, int]:
        """Quiet days and the end, counted from the first day of a series."""
        return ~self.noisy[series.begins :], self.end - series.begins


def _short(value: float) -> float:
    return float(f"{value:.5g}")
