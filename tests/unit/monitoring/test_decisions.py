"""What follows from alarms, as a table: evidence, and what is decided of it by which rule."""

from datetime import UTC, datetime, timedelta

import pytest

from core.alarms import Alarm
from core.settings.loop import RetrainingSettings
from monitoring.decisions import Evidence, OnAlarm, decide

NOW = datetime(2026, 3, 1, tzinfo=UTC)
RULES = RetrainingSettings()


def on(signal="data.price", looks=2, is_seen=True, **more):
    given = {"signal": signal, "family": signal.partition(".")[0], "window_days": 7, "p_value": 0.001}
    alarm = Alarm(**{**given, "since": "2026-02-22", "until": "2026-03-01", "says": f"{signal} moved.", **more})
    return OnAlarm(alarm=alarm, looks=looks, is_seen=is_seen)


def ago(**time):
    return NOW - timedelta(**time)


def evidence(*alarms, **more):
    """A shop that has learned in full a week ago, and has many new events since."""
    calm = {
        "alarms": alarms,
        "new_events": 2000,
        "known_events": 10_000,
        "last_retraining_at": ago(days=7),
        "last_full_at": ago(days=7),
        "features_at": ago(minutes=30),
    }
    return Evidence(now=NOW, **{**calm, **more})


QUALITY, DATA, TEXT, BROKEN = on("quality.ndcg"), on(), on("text.language"), on("data.gate", looks=1, broken=True)
TABLE = {
    "nothing moved": (evidence(), "none", "quiet"),
    "an alarm that was missed and is not over": (evidence(on(is_seen=False)), "none", "quiet"),
    "seen once": (evidence(on(looks=1)), "none", "not yet"),
    "drift and new events": (evidence(DATA), "fine-tune", "retrain: fine-tune"),
    "drift and few new events": (evidence(DATA, new_events=499), "none", "nothing to gain"),
    "drift and a small share of new events": (evidence(DATA, known_events=100_000), "none", "nothing to gain"),
    "quality loss and few new events": (evidence(QUALITY, new_events=10), "fine-tune", "retrain: fine-tune"),
    "quality loss and nothing new to learn": (evidence(QUALITY, new_events=0), "none", "nothing to gain"),
    "quality loss seen once beside lasting drift": (
        evidence(on("quality.ndcg", looks=1), DATA, new_events=10),
        "none",
        "nothing to gain",
    ),
    "nothing to gain and old features": (
        evidence(DATA, new_events=10, features_at=ago(hours=3)),
        "refresh-features",
        "refresh",
    ),
    "nothing to gain and features never made": (
        evidence(DATA, new_events=10, features_at=None),
        "refresh-features",
        "refresh",
    ),
    "nothing to gain in what features do not change": (
        evidence(TEXT, new_events=10, features_at=None),
        "none",
        "nothing to gain",
    ),
    "the service alone is slow": (evidence(on("service.latency.level", looks=9)), "none", "service"),
    "the service is slow beside drift": (
        evidence(on("service.latency.level"), DATA),
        "fine-tune",
        "retrain: fine-tune",
    ),
    "a stale bundle and few new events": (
        evidence(on("quality.model.stale"), new_events=10),
        "fine-tune",
        "retrain: fine-tune",
    ),
    "broken data seen once": (evidence(BROKEN), "none", "broken data"),
    "broken data beside all hope": (evidence(QUALITY, BROKEN), "none", "broken data"),
    "broken data that were missed once": (
        evidence(QUALITY, on(broken=True, is_seen=False)),
        "none",
        "broken data",
    ),
    "texts have changed": (evidence(DATA, TEXT), "pipeline", "retrain: pipeline"),
    "the last full training is long ago": (evidence(DATA, last_full_at=ago(days=30)), "pipeline", "retrain: pipeline"),
    "never trained in full": (evidence(DATA, last_full_at=None), "pipeline", "retrain: pipeline"),
    "warm starts were refused": (evidence(DATA, refusals_in_row=2), "pipeline", "retrain: pipeline"),
    "a retraining goes on": (evidence(QUALITY, busy="the run 7 goes on"), "none", "busy"),
    "one began yesterday": (evidence(QUALITY, last_retraining_at=ago(hours=23)), "none", "cool-down"),
    "the cool-down is over": (evidence(QUALITY, last_retraining_at=ago(hours=24)), "fine-tune", "retrain: fine-tune"),
    "as many runs as a week may have": (evidence(QUALITY, runs_in_week=3), "none", "budget"),
    "as many minutes as a week may have": (evidence(QUALITY, minutes_in_week=1440), "none", "budget"),
    "a rollback and little new": (
        evidence(QUALITY, new_events=499, rolled_back_at=ago(days=5)),
        "none",
        "rolled back",
    ),
    "a rollback just now and much new": (evidence(QUALITY, rolled_back_at=ago(hours=1)), "none", "cool-down"),
    "a rollback long ago and much new": (
        evidence(QUALITY, rolled_back_at=ago(days=5)),
        "fine-tune",
        "retrain: fine-tune",
    ),
}


@pytest.mark.parametrize(("given", "action", "rule"), TABLE.values(), ids=TABLE)
def test_what_follows(given, action, rule):
    decided = decide(given, RULES)
    assert (decided.action, decided.rule) == (action, rule)


def test_where_it_is_switched_off_nothing_is_started():
    off = RetrainingSettings(enabled=False)
    assert decide(evidence(DATA), off).rule == "switched off"
    assert decide(evidence(DATA, new_events=1, features_at=None), off).action == "none"


def test_the_reason_says_what_moved_and_why_a_retraining_is_worth_it():
    decided = decide(evidence(DATA, on("predictions.coverage")), RULES)
    assert decided.reason == (
        "data.price moved. A retraining is worth it, as 2,000 events are newer than what the bundle in service learned "
        "from, and 500 are enough: the bundle in service is fine-tuned on what is new."
    )
    assert decided.signals == ("data.price", "predictions.coverage")


def test_a_stop_says_what_it_keeps_back():
    decided = decide(evidence(QUALITY, runs_in_week=3), RULES)
    assert decided.reason == (
        "No retraining now: 3 retrainings began in the last seven days, and 3 are allowed "
        "(loop.retraining.runs_per_week). The reason to retrain remains: quality has dropped (quality.ndcg)."
    )


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (evidence(), "No retraining: no signal is outside its usual range."),
        (evidence(BROKEN), f"No retraining until the data are repaired, as they are broken. {BROKEN.alarm.says}"),
        (
            evidence(on(looks=1)),
            "No retraining yet: an alarm counts once it was seen in 2 looks in a row, and this one was seen in 1. "
            "data.price moved.",
        ),
        (
            evidence(DATA, new_events=10),
            "data.price moved. No retraining: 10 events are newer than what the bundle in service learned from; at "
            "least 500 are needed where quality has not dropped.",
        ),
        (
            evidence(QUALITY, new_events=0),
            "quality.ndcg moved. No retraining: 0 events are newer than what the bundle in service learned from; so it "
            "would learn nothing new.",
        ),
        (
            evidence(QUALITY, busy="the run 7 goes on"),
            "No retraining now: the run 7 goes on. The reason to retrain remains: quality has dropped (quality.ndcg).",
        ),
    ],
    ids=str,
)
def test_the_reason_can_be_read_by_itself(given, reason):
    assert decide(given, RULES).reason == reason


@pytest.mark.parametrize(
    ("change", "given"),
    [
        ({"looks": 3}, evidence(DATA)),
        ({"min_new_events": 2001}, evidence(DATA)),
        ({"min_new_share": 0.21}, evidence(DATA)),
        ({"cooldown_h": 200}, evidence(DATA)),
        ({"runs_per_week": 0}, evidence(DATA)),
        ({"minutes_per_week": 0}, evidence(DATA)),
        ({"refresh_after_h": 0.6}, evidence(DATA, new_events=1, features_at=ago(hours=0.5))),
        ({"full_after_days": 6}, evidence(DATA)),
        ({"full_after_refusals": 1}, evidence(DATA, refusals_in_row=1)),
    ],
    ids=str,
)
def test_every_rule_is_a_setting(change, given):
    laxer = RULES.model_copy(update={"refresh_after_h": 0.1})
    assert decide(given, laxer).action != decide(given, laxer.model_copy(update=change)).action
