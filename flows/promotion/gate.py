"""The gate: does a candidate go into service, does the best baseline in its place, or does what is in service stay?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from core.schema import Split
from core.settings.evaluation import BASELINE_KINDS, BaselineKind, GateSettings
from core.settings.form import Frozen
from flows.promotion.guardrails import Guardrail, say_broken
from monitoring.online.challenger import Challenge
from recommender.evaluation.differences import SegmentDifference
from recommender.evaluation.names import MODEL_NAMES, SERVED
from recommender.metrics.significance import Comparison

NO_CHAMPION = "no bundle was in service"
_STAND_IN = (
    "a baseline that stands in for a refused candidate replaces another kind of bundle only where its figure is better"
)

Verdict = Literal["refuse", "canary", "promote"]


@dataclass(frozen=True)
class AgainstChampion:
    """What is evaluated against the bundle in service.

    Attributes:
        comparison: On events that neither learned from; None where there is no such event, or no bundle to compare.
        tag: Of the bundle in service; None where none is, or it is to be replaced whatever the figures say.
        no_champion: Why there is no tag.
        segments: The same comparison, parted.
        guardrails: What was found of each.
        off_policy: Clicks on lists that explored; None where none did since both learned.
    """

    comparison: Comparison | None = None
    tag: str | None = None
    no_champion: str = NO_CHAMPION
    segments: tuple[SegmentDifference, ...] = ()
    guardrails: tuple[Guardrail, ...] = ()
    off_policy: Challenge | None = None


class BestBaseline(Frozen):
    """The baseline that a candidate has to hold its own against, and that serves where it does not.

    Attributes:
        kind: Which one.
        chosen_on: The window on whose users it is the best one. Of several the best on the test window would have its
            luck there in its figure; where validation asks nobody, there is no other.
        value: Its figure, on the test window.
        difference: Candidate minus baseline, the mean over users.
        low: Lower end of the 95 % interval of the difference.
        high: Its upper end.
        p_value: How often chance alone would set the two as far apart.
    """

    kind: BaselineKind
    value: float
    difference: float
    low: float
    high: float
    p_value: float
    chosen_on: Split = "test"

    def describe(self) -> str:
        """Name, figure, and the difference with its interval."""
        interval = _interval(self.difference, self.low, self.high)
        return f"the best baseline on {self.chosen_on}, {MODEL_NAMES[self.kind]}, with {self.value:.4f} {interval}"


class Approval(Frozen):
    """What became of a decision that waited for somebody's approval.

    Attributes:
        state: What was said; `late`: nothing, in time; `overtaken`: something else went into service meanwhile;
            `asked already`: the same bundle waits in another run.
        by: Who said it, as they named themselves.
        comment: Theirs.
        at: When, ISO 8601, UTC.
    """

    state: Literal["approved", "refused", "late", "overtaken", "asked already"]
    by: str = ""
    comment: str = ""
    at: str = ""

    def describe(self) -> str:
        """One clause."""
        said = {"late": "not approved in time", "asked already": "the same waits for approval already"}
        told = said.get(self.state, "refused" if self.state == "refused" else "approved")
        who = f" by {self.by}" if self.by else ""
        comment = f" ({self.comment})" if self.comment else ""
        overtaken = ", but what is in service changed since: run the flow again" if self.state == "overtaken" else ""
        return f"{told}{who}{comment}{overtaken}"


class Decision(Frozen):
    """What the gate decided, with the figures it read.

    Attributes:
        promote: Whether the candidate goes into service.
        canary: Whether what was decided on, the candidate or the baseline in its place, passes, and is to answer some
            users first, beside what is in service.
        reason: Why, a sentence that can be read alone.
        metric: The key of the figures, such as `ndcg_at_10`.
        candidate: The candidate's figure.
        champion: The figure of the bundle in service; None where none was compared.
        baseline: The best baseline that can serve; None where the evaluation had none.
        lost_to_baseline: Whether the candidate is refused for the baseline, which then may serve in its place.
        promote_baseline: Whether the baseline goes into service.
        served: Which ranker of this evaluation is in service afterwards; None where it is another bundle, or none.
        comparison: How sure the difference is between the bundle in service and what was held against it: the
            candidate, or the baseline in its place.
        refit: What goes into service in place of what was judged, a sentence; empty where it is what was judged.
        generation: How often what is in service had changed when this was decided; the promotion holds only while
            nothing else was promoted or rolled back. None where the model store was not asked.
        segments: The comparison with the bundle in service, by segment.
        guardrails: Those that were looked at.
        off_policy: What its lists would have brought, and those of the bundle in service, by lists that explored; None
            where none did since both learned.
        needs_approval: Whether what passed is to be approved by somebody first.
        approval: What they said; None where nobody was asked, or has answered yet.
    """

    promote: bool
    reason: str
    metric: str
    candidate: float
    champion: float | None = None
    baseline: BestBaseline | None = None
    lost_to_baseline: bool = False
    promote_baseline: bool = False
    served: str | None = None
    comparison: Comparison | None = None
    refit: str = ""
    generation: int | None = None
    canary: bool = False
    segments: tuple[SegmentDifference, ...] = ()
    guardrails: tuple[Guardrail, ...] = ()
    off_policy: Challenge | None = None
    needs_approval: bool = False
    approval: Approval | None = None

    @property
    def waits(self) -> bool:
        """Whether it passed and somebody has to approve it yet."""
        return self.needs_approval and self.approval is None and self.verdict != "refuse"

    @property
    def verdict(self) -> Verdict:
        """What becomes of what was decided on: the candidate, or the best baseline in its place."""
        if self.canary:
            return "canary"
        return "promote" if self.promote or self.promote_baseline else "refuse"


def find_best_baseline(metrics: Mapping[str, Any], metric: str) -> BestBaseline | None:
    """The best on validation of the evaluated baselines that can serve, the first of equals; None where there is none.

    Its figure and its difference are those of the test window, which had no part in choosing it.

    Args:
        metrics: What `evaluate_bundle` returned of the candidate.
        metric: The metric's key, such as `ndcg_at_10`; higher is better.
    """
    there = [kind for kind in BASELINE_KINDS if kind in metrics["ranking"]]
    if not there:
        return None
    chosen_on: Split = "validation" if metrics["validation"] else "test"
    figures = metrics["validation"] or metrics["ranking"]
    best = max(there, key=lambda kind: figures[kind][metric])
    found = metrics["differences"][best][metric]
    return BestBaseline(
        kind=best,
        value=metrics["ranking"][best][metric],
        difference=found["mean"],
        low=found["low"],
        high=found["high"],
        p_value=found["p_value"],
        chosen_on=chosen_on,
    )


def decide(
    settings: GateSettings,
    *,
    metric: str,
    candidate: float,
    baseline: BestBaseline | None,
    champion: AgainstChampion,
) -> Decision:
    """Promote a candidate that holds its own against the best baseline and against the bundle in service.

    Args:
        settings: The rules.
        metric: The metric's key, such as `ndcg_at_10`; higher is better.
        candidate: The candidate's figure.
        baseline: The best baseline that can serve.
        champion: The candidate against the bundle in service.
    """
    compared = champion.comparison
    figures: dict[str, Any] = {"metric": metric, "candidate": candidate, "baseline": baseline, "comparison": compared}
    figures["champion"] = None if compared is None else compared.champion
    figures |= {"segments": champion.segments, "guardrails": champion.guardrails, "off_policy": champion.off_policy}
    is_lost, by_baseline = hold_against_baseline(settings, metric, candidate, baseline)
    if is_lost:
        return Decision(promote=False, reason=by_baseline, lost_to_baseline=True, **figures)
    if champion.tag is None:
        reason = "; ".join(filter(None, (champion.no_champion, by_baseline)))
        return Decision(promote=True, reason=reason, served=SERVED, **figures)
    is_held, by_champion = _hold_against_champion(settings, metric, champion)
    # A candidate that the bundle in service keeps out is refused for that alone.
    reason = "; ".join(filter(None, (by_champion, by_baseline))) if is_held else by_champion
    canary = is_held and _is_tried_first(settings, compared)
    promote = is_held and not canary
    reason = f"{reason}; the candidate {_canary_in_words(settings)}" if canary else reason
    figures["needs_approval"] = is_held and settings.approval == "required"
    return Decision(promote=promote, canary=canary, reason=reason, served=SERVED if promote else None, **figures)


def decide_baseline(
    settings: GateSettings, refused: Decision, champion: AgainstChampion, *, is_renewal: bool = False
) -> Decision:
    """Promote the baseline that a candidate lost to, where it holds its own against the bundle in service.

    `undecided=promote` takes a candidate because it has held its own against the baselines. A baseline cannot say that
    of itself, and a bundle of another kind in service can: it stays where the baseline's figure is not better.

    Args:
        settings: The rules.
        refused: What was decided of the candidate.
        champion: The baseline against the bundle in service.
        is_renewal: Whether the same baseline is in service, and this one knows newer events.
    """
    assert refused.baseline is not None
    is_held, by_champion = True, "" if champion.no_champion == NO_CHAMPION else champion.no_champion
    if champion.tag is not None:
        is_held, by_champion = _hold_against_champion(settings, refused.metric, champion, is_stand_in=not is_renewal)
    canary = is_held and champion.tag is not None and _is_tried_first(settings, champion.comparison)
    verdict = "that baseline is served instead" if is_held else "that baseline is not served either"
    verdict = f"that baseline {_canary_in_words(settings)}" if canary else verdict
    return refused.model_copy(
        update={
            "promote_baseline": is_held and not canary,
            "canary": canary,
            "needs_approval": is_held and champion.tag is not None and settings.approval == "required",
            "served": refused.baseline.kind if is_held and not canary else None,
            "reason": f"{refused.reason}; {verdict}{': ' if by_champion else ''}{by_champion}",
            "champion": None if champion.comparison is None else champion.comparison.champion,
            "comparison": champion.comparison,
            "segments": champion.segments,
            "guardrails": champion.guardrails,
            "off_policy": champion.off_policy,
        }
    )


def hold_against_baseline(
    settings: GateSettings, metric: str, candidate: float, baseline: BestBaseline | None
) -> tuple[bool, str]:
    """Whether a candidate is refused for the best baseline, and how the two compare."""
    if baseline is None or settings.beat_baseline == "off":
        return False, ""
    value, than = f"the candidate's {metric} of {candidate:.4f}", baseline.describe()
    if baseline.high < 0:
        return True, f"{value} is significantly worse than that of {than}"
    if baseline.low > 0:
        return False, f"{value} is significantly better than that of {than}"
    if settings.beat_baseline == "surely_better":
        wanted = "recipe.gate.beat_baseline=surely_better requires it to be"
        return True, f"{value} is not significantly better than that of {than}; {wanted}"
    if candidate < baseline.value * (1 - settings.baseline_tolerance):
        most = f"recipe.gate.baseline_tolerance={settings.baseline_tolerance:g}"
        return True, f"{value} is below that of {than} by more than {most} allows, though not significantly"
    return False, f"{value} does not differ significantly from that of {than}"


def _hold_against_champion(
    settings: GateSettings, metric: str, against: AgainstChampion, is_stand_in: bool = False
) -> tuple[bool, str]:
    """Whether what is evaluated may replace the bundle in service, and how the two compare.

    Args:
        is_stand_in: Whether it is a baseline in a candidate's place, against a bundle of another kind.
    """
    is_held, found = _hold_overall(settings, metric, against, is_stand_in)
    broken = say_broken(against.guardrails) if is_held else ""
    return is_held and not broken, "; ".join(filter(None, (found, broken)))


def _is_tried_first(settings: GateSettings, compared: Comparison | None) -> bool:
    """Whether what passes is to answer some users before it goes into service."""
    is_sure = compared is not None and compared.low > 0 and compared.n_queries >= settings.min_queries
    return settings.rollout == "canary" or (settings.rollout == "canary_undecided" and not is_sure)


def _canary_in_words(settings: GateSettings) -> str:
    return f"starts as a canary, which answers some of the users first (recipe.gate.rollout={settings.rollout})"


def _hold_overall(settings: GateSettings, metric: str, against: AgainstChampion, is_stand_in: bool) -> tuple[bool, str]:
    """The same by the overall figure alone."""
    champion = against.comparison
    if champion is None:
        rule = settings.undecided
        none = (
            f"it cannot be compared with the bundle in service, {against.tag}: there are no choices of users that "
            "neither has learned from"
        )
        if is_stand_in and rule != "keep":
            return False, f"{none}; {_STAND_IN}"
        return rule != "keep", f"{none}; {_settled_by(rule)}"
    margin = champion.champion * settings.tolerance
    value = f"its {metric} of {champion.candidate:.4f}"
    interval = _interval(champion.difference, champion.low, champion.high)
    than = f"the {champion.champion:.4f} of the bundle in service {interval}, measured on {champion.evidence}"
    if champion.n_queries < settings.min_queries:
        few = f"{value} stands against {than}, which is fewer than recipe.gate.min_queries={settings.min_queries}"
        return _settle(settings, few, champion, margin, is_stand_in)
    if champion.low > 0:
        return True, f"{value} is significantly better than {than}"
    if champion.high < -margin:
        worse = f"{value} is significantly worse, by more than recipe.gate.tolerance allows, than {than}"
        if not champion.champion_is_ahead:
            return False, worse
        # What would go in learns those events too: a loss for want of them says nothing of it.
        ahead = "the one in service has learned from newer events than this one had when it was evaluated"
        return _settle(settings, f"{worse}, but {ahead}", champion, margin, is_stand_in)
    return _settle(settings, f"{value} does not differ significantly from {than}", champion, margin, is_stand_in)


def _settle(
    settings: GateSettings, found: str, champion: Comparison, margin: float, is_stand_in: bool
) -> tuple[bool, str]:
    """What becomes of a bundle where the interval cannot tell."""
    rule, floor = settings.undecided, champion.champion - margin
    if is_stand_in and rule != "keep":
        return champion.candidate > champion.champion, f"{found}; {_STAND_IN}"
    if rule != "figures":
        return rule == "promote", f"{found}; {_settled_by(rule)}"
    is_held = champion.candidate >= floor
    below = "not below" if is_held else "below"
    return is_held, f"{found}; {_settled_by(rule)}, and the figure is {below} the limit of {floor:.4f}"


def _settled_by(rule: str) -> str:
    takes = {
        "promote": "takes the newer one",
        "keep": "keeps the one in service",
        "figures": "goes by the figure alone",
    }
    return f"in such a case recipe.gate.undecided={rule} {takes[rule]}"


def _interval(difference: float, low: float, high: float) -> str:
    return f"(difference {difference:+.4f}, 95 % interval [{low:+.4f}, {high:+.4f}])"
