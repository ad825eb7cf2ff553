"""What becomes of a canary, as a table: evidence, and what is decided of it by which rule."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from pydantic import ValidationError

from core.settings.loop import CanarySettings
from monitoring.online.intervals import ratio
from monitoring.rollouts import CanaryEvidence, decide_rollout

NOW = datetime(2026, 3, 1, tzinfo=UTC)
RULES = CanarySettings()
# A loss of 0.04, 20 % of 0.2, is ruled out.
GOOD = {"users": 200, "hit_rate": 0.2, "difference": 0.0, "low": -0.039, "high": 0.04}


def seen(days=1.0, **more):
    return CanaryEvidence(now=NOW, since=NOW - timedelta(days=days), **{"share": 0.05, **GOOD, **more})


UNKNOWN = {"difference": None, "low": None, "high": None}
WORSE = {"difference": -0.05, "low": -0.09, "high": -0.01}
TABLE = {
    "a loss that matters is ruled out": (seen(), "grow", "grow", 0.2),
    "at the second share": (seen(share=0.2), "grow", "grow", 0.5),
    "at the last share": (seen(share=0.5), "promote", "promote", 1.0),
    "at a share of older settings": (seen(share=0.1), "grow", "grow", 0.2),
    "better for sure, and still step by step": (seen(low=0.01, difference=0.05, high=0.09), "grow", "grow", 0.2),
    "one user too few": (seen(users=199), "hold", "few users", 0.05),
    "nobody known to the end": (seen(**UNKNOWN), "hold", "few users", 0.05),
    "a loss that matters is possible": (seen(low=-0.041), "hold", "unsure", 0.05),
    "still possible on the last day": (seen(low=-0.041, days=13.9), "hold", "unsure", 0.05),
    "still possible when its time is over": (seen(low=-0.041, days=14), "withdraw", "undecided", 0.05),
    "no users when its time is over": (seen(users=0, days=14, **UNKNOWN), "withdraw", "undecided", 0.05),
    "sure when its time is over": (seen(days=14), "grow", "grow", 0.2),
    "without the beginning of its test": (seen(untested="its answers are gone"), "hold", "untested", 0.05),
    "still without it when its time is over": (seen(untested="gone", days=14), "withdraw", "undecided", 0.05),
    "surely worse": (seen(**WORSE), "withdraw", "worse", 0.05),
    "surely worse with few users": (seen(users=120, **WORSE), "withdraw", "worse", 0.05),
    "failing beyond what is allowed": (seen(failed_low=0.0131, failed_high=0.003), "withdraw", "failing", 0.05),
    "failing within what is allowed": (seen(failed_low=0.0129, failed_high=0.003), "grow", "grow", 0.2),
    "failing for the first few who ask": (
        seen(users=0, failed_low=0.2, failed_high=0.1, **UNKNOWN),
        "withdraw",
        "failing",
        0.05,
    ),
    "failing as often as what is in service": (seen(failed_low=0.4, failed_high=0.6), "grow", "grow", 0.2),
    "slower than twice as slow": (seen(latency_low_ms=41.0, latency_high_ms=20.0), "withdraw", "slow", 0.05),
    "twice as slow": (seen(latency_low_ms=40.0, latency_high_ms=20.0), "grow", "grow", 0.2),
    "slower within the slack": (seen(latency_low_ms=5.9, latency_high_ms=1.0), "grow", "grow", 0.2),
    "slower beyond the slack": (seen(latency_low_ms=6.1, latency_high_ms=1.0), "withdraw", "slow", 0.05),
    "something else in service, though it is worse": (
        seen(overtaken="version v2 was promoted", **WORSE),
        "withdraw",
        "overtaken",
        0.05,
    ),
    "a damaged bundle": (seen(broken="content differs"), "withdraw", "broken", 0.05),
    "pinned, for however long": (seen(pinned="version v1 is pinned", days=99, **UNKNOWN), "hold", "pinned", 0.05),
}


@pytest.mark.parametrize("case", TABLE)
def test_what_becomes_of_a_canary(case):
    evidence, action, rule, share = TABLE[case]
    decided = decide_rollout(evidence, RULES)
    assert (decided.action, decided.rule, decided.share) == (action, rule, share)
    assert decided.reason.endswith(".")


def test_the_reason_has_the_shares_of_lists_that_failed():
    assert decide_rollout(seen(failed_low=0.0432, failed_high=0.002), RULES).reason == (
        "The canary fails: at least 4.3% of its lists cannot be made, of those of the bundle in service at most 0.2%; "
        "1.2% are allowed."
    )


def failing_after(rng, control, canary, users=1500, share=0.2):
    """Users whom the canary was to answer when it went, of looks after every hundred users; None where it stays.

    Args:
        control, canary: The share of lists that each fails to make; a tenth of the users have all of them.
    """
    treated, asked = rng.random(users) < share, rng.geometric(0.4, users)
    own = np.where(rng.random(users) < 0.1, 10 * np.where(treated, canary, control), 0.0)
    failed = rng.binomial(asked, np.minimum(own, 1.0)).astype(float)
    for n in range(100, users + 1, 100):
        arms = [np.flatnonzero(treated[:n] == which) for which in (True, False)]
        ours, theirs = (ratio(failed[arm], asked[arm].astype(float), np.arange(len(arm))) for arm in arms)
        evidence = seen(users=0, failed_low=ours.low, failed_high=theirs.high, **UNKNOWN)
        if decide_rollout(evidence, RULES).rule == "failing":
            return len(arms[0])
    return None


@pytest.mark.parametrize("rate", [0.0, 0.01, 0.05])
def test_one_that_fails_as_often_as_what_is_in_service_hardly_ever_goes_for_it(rate):
    rng = np.random.default_rng(1)
    assert sum(failing_after(rng, rate, rate) is not None for _ in range(40)) <= 2


def test_one_that_fails_surely_more_often_goes():
    rng = np.random.default_rng(1)
    assert all(failing_after(rng, 0.002, 0.09) for _ in range(40))


def test_the_reason_has_the_figures():
    assert decide_rollout(seen(low=-0.041), RULES).reason == (
        "Its hit rate differs from that of the bundle in service by +0.0000 (95 % interval [-0.0410, +0.0400]), and a "
        "loss of more than 20% of the hit rate in service (0.2000) is not ruled out."
    )


@pytest.mark.parametrize("steps", [(), (0.2, 0.05), (0.2, 0.2), (0.5, 1.0), (0.0,)])
def test_steps_grow_and_leave_somebody_to_compare_with(steps):
    with pytest.raises(ValidationError):
        CanarySettings(steps=steps)
