"""Guardrails: what must not get worse for a better overall figure, each with what was found."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from core.settings.evaluation import GuardrailSettings
from core.settings.form import Frozen

if TYPE_CHECKING:
    from monitoring.online.challenger import Challenge
    from recommender.evaluation.differences import Judgement
    from recommender.evaluation.latency import Latency

_CHANCE = 0.05

Name = Literal["segments", "group_gap", "coverage", "latency", "groundedness", "clicks"]
State = Literal["held", "broken", "not measured"]
# What a baseline cannot be the measure of.
_OF_MODELS: frozenset[Name] = frozenset(("group_gap", "coverage", "latency"))


class Guardrail(Frozen):
    """One guardrail, as it was found.

    Attributes:
        found: A sentence with the figures, the limit, or why nothing was measured.
    """

    name: Name
    state: State
    found: str


def check_guardrails(
    settings: GuardrailSettings,
    judgement: Judgement | None,
    latency: Latency | None,
    writers: tuple[Mapping[str, Any] | None, Mapping[str, Any] | None],
    off_policy: Challenge | None = None,
    *,
    is_baseline: bool = False,
) -> tuple[Guardrail, ...]:
    """Every guardrail that is switched on.

    Where a baseline serves, its coverage, its latency and its gaps bind no fitted model: texts that are compared show
    the whole catalogue, in no time, and a model that is better for most would be kept out for good.

    Args:
        judgement: The candidate against the bundle in service; None where nobody chose anything that neither learned.
        latency: Of both.
        writers: The evaluations of the candidate's and the champion's writer.
        off_policy: What lists that explored say of clicks; None where none did since both learned, and then there is no
            such guardrail.
        is_baseline: Whether what is in service is a baseline, and the candidate is none.
    """
    nothing = "there are no choices of users that neither bundle has learned from"
    found: list[Guardrail] = []
    for name, limit, check in (
        ("segments", settings.segment_loss, _check_segments),
        ("group_gap", settings.gap_growth, _check_gaps),
        ("coverage", settings.coverage_loss, _check_coverage),
    ):
        if limit is not None:
            state, said = ("not measured", nothing) if judgement is None else check(judgement, limit)
            found.append(Guardrail.model_validate({"name": name, "state": state, "found": said}))
    if settings.latency_growth is not None:
        found.append(_check_latency(latency, settings.latency_growth, settings.latency_slack_ms))
    if settings.groundedness_loss is not None:
        found.append(_check_groundedness(*writers, settings.groundedness_loss))
    if settings.click_loss is not None and off_policy is not None:
        found.append(_check_clicks(off_policy, settings.click_loss))
    return tuple(_unless_baseline(one) if is_baseline else one for one in found)


def _unless_baseline(found: Guardrail) -> Guardrail:
    if found.state != "broken" or found.name not in _OF_MODELS:
        return found
    said = f"{found.found}; it does not count, as a baseline is in service, which is no measure of this"
    return Guardrail(name=found.name, state="not measured", found=said)


def say_broken(guardrails: tuple[Guardrail, ...]) -> str:
    """What the broken ones found, a sentence; empty where none is."""
    return "; ".join(f"the guardrail {one.name} is broken: {one.found}" for one in guardrails if one.state == "broken")


def _check_segments(judgement: Judgement, limit: float) -> tuple[State, str]:
    if not judgement.segments:
        return "not measured", "no segment has enough users (recipe.gate.segments.min_queries)"
    losing = [one for one in judgement.segments if one.loses(limit)]
    n = len(judgement.segments)
    if not losing:
        return "held", f"none of {n} segments loses significantly more than {limit:.0%}"
    said = _unless_ahead(judgement)
    lost = "; ".join(one.describe() for one in losing)
    return (
        ("not measured" if said else "broken"),
        f"{len(losing)} of {n} segments lose significantly more than {limit:.0%}: {lost}{said}",
    )


def _check_gaps(judgement: Judgement, limit: float) -> tuple[State, str]:
    if not judgement.gaps:
        return "not measured", "no grouping has two segments with enough users"
    most = limit * judgement.comparison.champion
    grown = [one for one in judgement.gaps if one.low > 0 and one.growth > most]
    if not grown:
        return "held", f"no gap between segments grows significantly by more than {most:.4f}"
    said = _unless_ahead(judgement)
    return (
        ("not measured" if said else "broken"),
        f"gaps grow significantly by more than {most:.4f}: {'; '.join(one.describe() for one in grown)}{said}",
    )


def _unless_ahead(judgement: Judgement) -> str:
    """What would go into service learns the newest events too: a loss for want of them says nothing of it."""
    ahead = "; it does not count, as the bundle in service has learned from newer events than this one had"
    return ahead if judgement.comparison.champion_is_ahead else ""


def _check_coverage(judgement: Judgement, limit: float) -> tuple[State, str]:
    ours, theirs = judgement.n_shown, judgement.n_shown_champion
    said = (
        f"its lists show {ours:,} different items, those of the bundle in service {theirs:,}; at least "
        f"{(1 - limit) * theirs:,.0f} are required"
    )
    return ("broken" if ours < (1 - limit) * theirs else "held"), said


def _check_latency(latency: Latency | None, growth: float, slack_ms: float) -> Guardrail:
    if latency is None:
        return Guardrail(name="latency", state="not measured", found="there was nobody to ask about")
    most = max(latency.champion_ms * (1 + growth), latency.champion_ms + slack_ms)
    state: State = "broken" if latency.candidate_ms > most else "held"
    return Guardrail(name="latency", state=state, found=f"{latency.describe()}; at most {most:.2f} ms are allowed")


def _check_groundedness(ours: Mapping[str, Any] | None, theirs: Mapping[str, Any] | None, limit: float) -> Guardrail:
    counts = [_supported(one) for one in (ours, theirs)]
    if None in counts:
        who = "the candidate" if counts[0] is None else "the bundle in service"
        said = f"{who} has no writer of texts whose statements were checked"
        return Guardrail(name="groundedness", state="not measured", found=said)
    (mine, n_mine), (other, n_other) = [one for one in counts if one is not None]
    p_value = _one_sided(mine, n_mine, other, n_other)
    falls = mine / n_mine < other / n_other - limit and p_value <= _CHANCE
    return Guardrail(
        name="groundedness",
        state="broken" if falls else "held",
        found=f"reviews or the items' texts support {mine / n_mine:.0%} of {n_mine} statements of its texts, and "
        f"{other / n_other:.0%} of {n_other} of the bundle in service (p = {p_value:.4f}); a fall of at most "
        f"{limit:.0%} is allowed",
    )


def _check_clicks(found: Challenge, limit: float) -> Guardrail:
    said = f"{found.describe()}; a sure loss of at most {limit:.0%} is allowed"
    if found.state != "estimated":
        return Guardrail(name="clicks", state="not measured", found=found.describe())
    if found.is_sure_loss(limit) and found.is_ahead:
        ahead = "it does not count, as the bundle in service has learned from newer events than this one had"
        return Guardrail(name="clicks", state="not measured", found=f"{said}; {ahead}")
    return Guardrail(name="clicks", state="broken" if found.is_sure_loss(limit) else "held", found=said)


def _supported(writer: Mapping[str, Any] | None) -> tuple[int, int] | None:
    """How many statements of a writer are supported, of how many; None where there is none."""
    share, n = (writer or {}).get("statement_precision"), int((writer or {}).get("n_statements") or 0)
    return None if share is None or not n else (round(share * n), n)


def _one_sided(mine: int, n_mine: int, other: int, n_other: int) -> float:
    """How often chance alone would make so few of ours (Fisher's exact test)."""
    from scipy.stats import fisher_exact

    return float(fisher_exact([[mine, n_mine - mine], [other, n_other - other]], alternative="less").pvalue)
