"""What follows from alarms: a full retraining, a warm one, a refresh of the features, or nothing, and why."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Literal

from core.alarms import Alarm
from core.settings.form import Frozen
from core.settings.loop import RetrainingSettings
from monitoring.answers.staleness import UNKNOWN_SHARE

# Deployments, and nothing.
Action = Literal["pipeline", "fine-tune", "refresh-features", "none"]
RETRAININGS: tuple[Action, ...] = ("pipeline", "fine-tune")
WEEK = timedelta(days=7)
# Beginnings of signals of what the text and item vectors are made of: learned again only by a full run.
_REPRESENTATION = ("text.", "embeddings.texts.")


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

    Nothing is learned from broken data, nor without alarms that last, nor without a reason to expect that what
    is learned again is better: a loss of quality, items that it cannot recommend, or enough events that the bundle in
    service does not know.
    """
    broken = [one.alarm for one in evidence.alarms if one.alarm.broken]
    if broken:
        told = f"No retraining until the data are repaired, as they are broken. {broken[0].says}"
        return _nothing("broken data", told, broken)
    seen = [one for one in evidence.alarms if one.is_seen]
    if not seen:
        return _nothing("quiet", "No retraining: no signal is outside its usual range.", [])
    about_data = [one for one in seen if one.alarm.family != "service"]
    if not about_data:
        told = f"No retraining: only the service has alarms, and a new model would not help it. {seen[0].alarm.says}"
        return _nothing("service", told, [one.alarm for one in seen])
    seen = about_data
    lasting = [one.alarm for one in seen if one.looks >= rules.looks]
    if not lasting:
        first = seen[0]
        told = (
            f"No retraining yet: an alarm counts once it was seen in {rules.looks} looks in a row, and this one was "
            f"seen in {first.looks}. {first.alarm.says}"
        )
        return _nothing("not yet", told, [one.alarm for one in seen])
    gain = _gain(evidence, rules, lasting)
    if not gain:
        return _without_gain(evidence, rules, lasting)
    for rule, stops in _STOPS.items():
        if told := stops(evidence, rules):
            return _nothing(rule, f"No retraining now: {told}. The reason to retrain remains: {gain}.", lasting)
    action, how = _choose(evidence, rules, lasting)
    signals = tuple(alarm.signal for alarm in lasting)
    return Decided(
        action=action,
        rule=f"retrain: {action}",
        reason=f"{lasting[0].says} A retraining is worth it, as {gain}: {how}.",
        signals=signals,
    )


def _gain(evidence: Evidence, rules: RetrainingSettings, lasting: list[Alarm]) -> str:
    """Why a bundle that is learned again may be better, one clause; empty where nothing speaks for it."""
    worse = next((alarm for alarm in lasting if alarm.family == "quality"), None)
    if evidence.new_events == 0:
        return ""  # it would learn what is known already
    if any(alarm.signal == UNKNOWN_SHARE for alarm in lasting):
        return f"it would know items that users take and that cannot be recommended yet ({UNKNOWN_SHARE})"
    if worse is not None:
        return f"quality has dropped ({worse.signal})"
    wanted = _wanted_events(evidence, rules)
    if evidence.new_events >= wanted:
        return f"{_new_events(evidence)}, and {wanted:,} are enough"
    return ""


def _new_events(evidence: Evidence) -> str:
    return f"{evidence.new_events:,} events are newer than what the bundle in service learned from"


def _wanted_events(evidence: Evidence, rules: RetrainingSettings) -> int:
    return max(rules.min_new_events, round(rules.min_new_share * evidence.known_events))


def _without_gain(evidence: Evidence, rules: RetrainingSettings, lasting: list[Alarm]) -> Decided:
    wanted = f"at least {_wanted_events(evidence, rules):,} are needed where quality has not dropped"
    if evidence.new_events == 0:
        wanted = "so it would learn nothing new"
    few = f"{lasting[0].says} No retraining: {_new_events(evidence)}; {wanted}"
    old = _older(evidence.now, evidence.features_at, rules.refresh_after_h)
    if rules.enabled and old and any(alarm.family in ("data", "predictions", "embeddings") for alarm in lasting):
        signals = tuple(alarm.signal for alarm in lasting)
        told = f"{few}. The features are refreshed instead, as they are older than {rules.refresh_after_h:g} h."
        return Decided(action="refresh-features", rule="refresh", reason=told, signals=signals)
    return _nothing("nothing to gain", f"{few}.", lasting)


def _choose(evidence: Evidence, rules: RetrainingSettings, lasting: list[Alarm]) -> tuple[Action, str]:
    """Full or warm, and why, one clause."""
    text = next((alarm for alarm in lasting if alarm.signal.startswith(_REPRESENTATION)), None)
    if text is not None:
        return "pipeline", f"everything is trained again, as texts have changed ({text.signal})"
    if evidence.refusals_in_row >= rules.full_after_refusals:
        return (
            "pipeline",
            f"everything is trained again, as the gate refused {evidence.refusals_in_row} fine-tuned bundles in a row",
        )
    if _older(evidence.now, evidence.last_full_at, rules.full_after_days * 24):
        return (
            "pipeline",
            f"everything is trained again, as the last full training is more than {rules.full_after_days:g} days ago",
        )
    return "fine-tune", "the bundle in service is fine-tuned on what is new"


def _older(now: datetime, moment: datetime | None, hours: float) -> bool:
    return moment is None or now - moment >= timedelta(hours=hours)


def _switched_off(_: Evidence, rules: RetrainingSettings) -> str:
    return "" if rules.enabled else "it is switched off (loop.retraining.enabled=false)"


def _is_busy(evidence: Evidence, _: RetrainingSettings) -> str:
    return evidence.busy


def _was_rolled_back(evidence: Evidence, rules: RetrainingSettings) -> str:
    if evidence.new_events >= rules.min_new_events:
        return ""
    whats = {"a rollback": evidence.rolled_back_at, "the end of a canary": evidence.canary_withdrawn_at}
    last = max(((moment, what) for what, moment in whats.items() if moment is not None), default=None)
    if last is None:
        return ""
    return (
        f"{last[1]} at {_minute(last[0])} withdrew the bundle that was trained last, and of the "
        f"{rules.min_new_events:,} newer events that another one needs there are {evidence.new_events:,}"
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
            wanted = f"{rules.cooldown_h:g} h have to pass (loop.retraining.cooldown_h)"
            return f"the last {what} at {_minute(moment)}, and {wanted}"
    return ""


def _is_spent(evidence: Evidence, rules: RetrainingSettings) -> str:
    if evidence.runs_in_week >= rules.runs_per_week:
        allowed = f"{rules.runs_per_week} are allowed (loop.retraining.runs_per_week)"
        return f"{evidence.runs_in_week} retrainings began in the last seven days, and {allowed}"
    if evidence.minutes_in_week >= rules.minutes_per_week:
        spent = evidence.minutes_in_week
        allowed = f"{rules.minutes_per_week:g} are allowed (loop.retraining.minutes_per_week)"
        return f"retrainings took {spent:.0f} minutes in the last seven days, and {allowed}"
    return ""


# What keeps a retraining back that may gain, in this order: each says why, or nothing.
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
