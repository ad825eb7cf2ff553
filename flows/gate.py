"""The gate: does a candidate replace the bundle in service?"""

from __future__ import annotations

from recommender.judging.significance import Comparison
from recommender.settings import GateSettings
from recommender.settings_form import Frozen


class Decision(Frozen):
    """What the gate decided, with the figures it read; `comparison` says how sure the difference is."""

    promote: bool
    reason: str
    metric: str
    candidate: float
    champion: float | None = None
    popularity: float | None = None
    comparison: Comparison | None = None


def decide(
    settings: GateSettings, *, metric: str, candidate: float, champion: float | None, popularity: float | None
) -> Decision:
    """Promote a candidate that is not worse than the bundle in service on the same test events.

    Args:
        settings: Tolerance, and whether popularity has to be beaten.
        metric: The metric's key, such as `ndcg_at_10`; higher is better.
        candidate: The candidate's figure.
        champion: The figure of the bundle in service; None where there is none.
        popularity: The figure of the popularity baseline; None where it was not measured.
    """
    figures = {"metric": metric, "candidate": candidate, "champion": champion, "popularity": popularity}
    if settings.beat_popularity and popularity is not None and candidate <= popularity:
        reason = f"{metric} {candidate:.4f} does not beat popularity's {popularity:.4f}"
        return Decision(promote=False, reason=reason, **figures)
    if champion is None:
        return Decision(promote=True, reason="no bundle was in service", **figures)
    floor = champion * (1 - settings.tolerance)
    if candidate < floor:
        reason = f"{metric} {candidate:.4f} is below {floor:.4f} (in service {champion:.4f} less the tolerance)"
        return Decision(promote=False, reason=reason, **figures)
    return Decision(promote=True, reason=f"{metric} {candidate:.4f} is not below {floor:.4f}", **figures)
