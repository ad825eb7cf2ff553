"""What follows from alarms: a full retraining, a warm one, a refresh of the features, or nothing, and why."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Literal

from core.alarms import Alarm
from core.settings.form import Frozen
from core.settings.loop import RetrainingSettings

# Deployments, and nothing.
Action = Literal["pipeline", "fine-tune", "refresh-features", "none"]
RETRAININGS: tuple[Action, ...] = ("pipeline", "fine-tune")
WEEK = timedelta(days=7)
# Of what the text and item vectors are made of: learned again only by a full run.
_REPRESENTATION = ("text",)


class OnAlarm(Frozen):
    """An alarm, and for how long it has been on.

    Attributes:
        looks: In how many looks it was seen since it was raised.
        is_seen: Whether it was seen in the newest look; otherwise it is not over yet.
    """

    alarm: Alarm
    looks: int
    is_seen: bool = True


class Evidence(Frozen):
    """What a decision is made of.

    Attributes:
        now: When.
        alarms: That are on, the strongest first.
        new_events: Events that neither the bundle in service nor one that was withdrawn has learned from.
        known_events: Events that the bundle in service learned from.
        busy: A retraining that was wanted and waits, or goes on, one clause; empty where there is none.
        last_retraining_at: When the last one began; None before the first.
        last_full_at: When the last full one ended well.
        runs_in_week, minutes_in_week: How many began in seven days, and how long they took.
        refusals_in_row: Fine-tuned bundles that the gate refused since it last let one through.
        rolled_back_at: When the last rollback was; None where something was promoted since.
        canary_withdrawn_at: When the last canary was withdrawn; likewise.
        features_at: When the features were refreshed last.
    """

    now: datetime
    alarms: tuple[OnAlarm, ...] = ()
    new_events: int = 0
    known_events: int = 0
    busy: str = ""
    last_retraining_at: datetime | None = None
    last_full_at: datetime | None = None
    runs_in_week: int = 0
    minutes_in_week: float = 0.0
    refusals_in_row: int = 0
    rolled_back_at: datetime | None = None
    canary_withdrawn_at: datetime | None = None
    features_at: datetime | None = None


class Decided(Frozen):
    """What follows.

    Attributes:
        action: The deployment to run; `none` where nothing is to be done.
        rule: The name of the rule that decided: equal ones in a row are one and the same decision.
        reason: One sentence with figures.
        signals: Of the alarms that it is about, the strongest first.
    """

    action: Action
    rule: str
    reason: str
    signals: tuple[str, ...] = ()


def decide(evidence: Evidence, rules: RetrainingSettings) -> Decided:
    """What follows from what is seen.

    Nothing is learned from broken data, nor without alarms that last, nor without a reason to hope that what is
    learned again is better: a loss of quality, or enough events that the bundle in service does not know.
    """
    broken = [one.alarm for one in evidence.alarms if one.alarm.broken]
    if broken:
        told = f"The data are broken, and nothing is learned from them until they are whole again: {broken[0].says}"
        return _nothing("broken data", told, broken)
    seen = [one for one in evidence.alarms if one.is_seen]
    if not seen:
        return _nothing("quiet", "Nothing is beyond noise.", [])
    about_data = [one for one in seen if one.alarm.family != "service"]
    if not about_data:
        told = (
            f"It is told, and nothing that is learned again makes the service quicker or sounder: {seen[0].alarm.says}"
        )
        return _nothing("service", told, [one.alarm for one in seen])
    seen = about_data
    lasting = [one.alarm for one in seen if one.looks >= rules.looks]
    if not lasting:
        first = seen[0]
        told = f"Seen in {first.looks} of {rules.looks} looks that make an alarm count: {first.alarm.says}"
        return _nothing("not yet", told, [one.alarm for one in seen])
    hope = _hope(evidence, rules, lasting)
    if not hope:
        return _without_hope(evidence, rules, lasting)
    for rule, stops in _STOPS.items():
        if told := stops(evidence, rules):
            return _nothing(rule, f"{told}; otherwise: {hope}.", lasting)
    action, how = _choose(evidence, rules, lasting)
    signals = tuple(alarm.signal for alarm in lasting)
    return Decided(
        action=action, rule=f"retrain: {action}", reason=f"{lasting[0].says} {hope}; {how}.", signals=signals
    )


def _hope(evidence: Evidence, rules: RetrainingSettings, lasting: list[Alarm]) -> str:
    """Why a bundle that is learned again may be better, one clause; empty where nothing speaks for it."""
    worse = next((alarm for alarm in lasting if alarm.family == "quality"), None)
    if evidence.new_events == 0:
        return ""  # it would learn what is known already
    if worse is not None:
        return f"Quality is lost ({worse.signal})"
    wanted = _wanted_events(evidence, rules)
    if evidence.new_events >= wanted:
        return f"{evidence.new_events} events are new, of {wanted} that give hope"
    return ""


def _wanted_events(evidence: Evidence, rules: RetrainingSettings) -> int:
    return max(rules.min_new_events, round(rules.min_new_share * evidence.known_events))


def _without_hope(evidence: Evidence, rules: RetrainingSettings, lasting: list[Alarm]) -> Decided:
    few = (
        f"{lasting[0].says} No quality is lost, and {evidence.new_events} events are new, of "
        f"{_wanted_events(evidence, rules)} that give hope"
    )
    old = _older(evidence.now, evidence.features_at, rules.refresh_after_h)
    if rules.enabled and old and any(alarm.family in ("data", "predictions") for alarm in lasting):
        signals = tuple(alarm.signal for alarm in lasting)
        told = f"{few}; the features are older than {rules.refresh_after_h:g} h and are refreshed."
        return Decided(action="refresh-features", rule="refresh", reason=told, signals=signals)
    return _nothing("no hope", f"{few}.", lasting)


def _choose(evidence: Evidence, rules: RetrainingSettings, lasting: list[Alarm]) -> tuple[Action, str]:
    """Full or warm, and why, one clause."""
    text = next((alarm for alarm in lasting if alarm.family in _REPRESENTATION), None)
    if text is not None:
        return "pipeline", f"all is trained again, as texts have changed ({text.signal})"
    if evidence.refusals_in_row >= rules.full_after_refusals:
        return "pipeline", f"all is trained again, as the gate refused {evidence.refusals_in_row} fine-tuned bundles"
    if _older(evidence.now, evidence.last_full_at, rules.full_after_days * 24):
        return "pipeline", f"all is trained again, as the last full training is {rules.full_after_days:g} days ago"
    return "fine-tune", "the bundle in service is fine-tuned"


def _older(now: datetime, moment: datetime | None, hours: float) -> bool:
    return moment is None or now - moment >= timedelta(hours=hours)


def _switched_off(_: Evidence, rules: RetrainingSettings) -> str:
    return "" if rules.enabled else "loop.retraining.enabled is false"


def _is_busy(evidence: Evidence, _: RetrainingSettings) -> str:
    return evidence.busy


def _was_rolled_back(evidence: Evidence, rules: RetrainingSettings) -> str:
    if evidence.new_events >= rules.min_new_events:
        return ""
    whats = {"A rollback": evidence.rolled_back_at, "The end of a canary": evidence.canary_withdrawn_at}
    last = max(((moment, what) for what, moment in whats.items() if moment is not None), default=None)
    if last is None:
        return ""
    return (
        f"{last[1]} at {_minute(last[0])} withdrew what was learned last, and only {evidence.new_events} events are "
        f"new since, of {rules.min_new_events}"
    )


def _last_times(evidence: Evidence) -> tuple[tuple[str, datetime | None], ...]:
    return (
        ("retraining began", evidence.last_retraining_at),
        ("rollback was", evidence.rolled_back_at),
        ("canary was withdrawn", evidence.canary_withdrawn_at),
    )


def _cools_down(evidence: Evidence, rules: RetrainingSettings) -> str:
    for what, moment in _last_times(evidence):
        if moment is not None and not _older(evidence.now, moment, rules.cooldown_h):
            return f"The last {what} at {_minute(moment)}, within the {rules.cooldown_h:g} h of cool-down"
    return ""


def _is_spent(evidence: Evidence, rules: RetrainingSettings) -> str:
    if evidence.runs_in_week >= rules.runs_per_week:
        return f"{evidence.runs_in_week} retrainings began in seven days, of {rules.runs_per_week} at most"
    if evidence.minutes_in_week >= rules.minutes_per_week:
        spent, most = evidence.minutes_in_week, rules.minutes_per_week
        return f"Retrainings took {spent:.0f} minutes in seven days, of {most:g} at most"
    return ""


# What keeps a retraining back for which there is hope, in this order: each says why, or nothing.
_STOPS: dict[str, Callable[[Evidence, RetrainingSettings], str]] = {
    "switched off": _switched_off,
    "busy": _is_busy,
    "rolled back": _was_rolled_back,
    "cool-down": _cools_down,
    "budget": _is_spent,
}


def _nothing(rule: str, reason: str, alarms: list[Alarm]) -> Decided:
    return Decided(action="none", rule=rule, reason=reason, signals=tuple(alarm.signal for alarm in alarms))


def _minute(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M}"
