"""What a comparison of two bundles says, overall and by segment. Light: the gate reads it without any model."""

from __future__ import annotations

from dataclasses import dataclass

from recommender.metrics.significance import CHANCE, Comparison


@dataclass(frozen=True)
class SegmentDifference:
    """Candidate and champion on one segment.

    Attributes:
        n_users: Who are of it, or wanted items of it.
        difference: Candidate minus champion; `low` and `high` bound it, at 95 % for all segments together.
        p_value: How often chance alone would set them as far apart in this segment.
        adjusted_p_value: The same corrected for the number of segments.
    """

    grouping: str
    segment: str
    n_users: int
    candidate: float
    champion: float
    difference: float
    low: float
    high: float
    p_value: float
    adjusted_p_value: float

    @property
    def is_beyond_noise(self) -> bool:
        """Whether the difference is more than chance."""
        return self.adjusted_p_value <= CHANCE

    def loses(self, tolerance: float) -> bool:
        """Whether the candidate is worse here beyond noise, by more than a share of the champion's figure."""
        return self.is_beyond_noise and self.difference < -tolerance * self.champion

    def describe(self) -> str:
        """Segment, figures, interval, p-value, number of users."""
        return (
            f"{self.grouping} {self.segment}: {self.candidate:.4f} against {self.champion:.4f} "
            f"(difference {self.difference:+.4f}, 95 % interval [{self.low:+.4f}, {self.high:+.4f}], corrected "
            f"p = {self.adjusted_p_value:.4f}, {self.n_users:,} users)"
        )


@dataclass(frozen=True)
class GapChange:
    """How far a grouping's best segment is above its worst, for both bundles.

    Attributes:
        growth: The candidate's gap minus the champion's; `low` and `high` bound it, at 95 % for all groupings together.
    """

    grouping: str
    candidate: float
    champion: float
    growth: float
    low: float
    high: float

    def describe(self) -> str:
        """Grouping, both gaps, the interval of the growth."""
        growth = f"growth {self.growth:+.4f}, 95 % interval [{self.low:+.4f}, {self.high:+.4f}]"
        return f"{self.grouping}: a gap of {self.candidate:.4f} against {self.champion:.4f} ({growth})"


@dataclass(frozen=True)
class Judgement:
    """Two bundles on the same queries.

    Attributes:
        segments: Of enough users each.
        gaps: Of groupings with at least two such segments.
        n_shown: How many different items the candidate's lists have.
        n_shown_champion: Likewise.
        absent: Attributes that segments were to be made of, and that users do not have.
    """

    comparison: Comparison
    segments: tuple[SegmentDifference, ...] = ()
    gaps: tuple[GapChange, ...] = ()
    n_shown: int = 0
    n_shown_champion: int = 0
    absent: tuple[str, ...] = ()
