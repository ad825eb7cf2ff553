"""Who is answered by which bundle: the same users always, in the shares that were asked for."""

from __future__ import annotations

from collections import Counter

import pytest

from core.experiments import CHAMPION
from serving.experiments.plan import Arm, Plan, Split, choose, point_of

CHAMP, NEW, OLD = "champ", "new-engine", "old-engine"
PLAN: Plan[str] = Plan(Split("try", (Arm("new", 0.3, NEW), Arm("old", 0.4, OLD))))


def test_a_user_sees_the_same_variant_every_time_and_everywhere() -> None:
    for user in map(str, range(200)):
        assert {choose(PLAN, CHAMP, user, visitor).variant for visitor in (None, "v", "w")} == {
            choose(PLAN, CHAMP, user, None).variant
        }


def test_the_point_of_a_user_does_not_change_between_releases() -> None:
    """Were it to, users of a running experiment would see another variant from one day to the next."""
    assert point_of("try", "u10001") == pytest.approx(0.11945451775071995)


def test_shares_are_those_that_were_asked_for() -> None:
    counts = Counter(choose(PLAN, CHAMP, f"user-{n}", None).variant for n in range(20_000))
    assert counts["new"] / 20_000 == pytest.approx(0.3, abs=0.015)
    assert counts["old"] / 20_000 == pytest.approx(0.1, abs=0.01)
    assert counts[CHAMPION] / 20_000 == pytest.approx(0.6, abs=0.015)


def test_who_is_in_one_experiment_says_nothing_about_another() -> None:
    users = [f"user-{n}" for n in range(10_000)]
    both = sum(point_of("try", user) < 0.5 and point_of("again", user) < 0.5 for user in users)
    assert both / len(users) == pytest.approx(0.25, abs=0.02)


def test_the_bundle_that_answers_is_that_of_the_variant() -> None:
    by_variant = {choose(PLAN, CHAMP, f"user-{n}", None).variant: n for n in range(200)}
    for variant, engine in (("new", NEW), ("old", OLD), (CHAMPION, CHAMP)):
        choice = choose(PLAN, CHAMP, f"user-{by_variant[variant]}", None)
        assert (choice.engine, choice.experiment, choice.unit) == (engine, "try", "user")


def test_visitors_stick_and_requests_of_nobody_are_drawn_anew_and_marked() -> None:
    assert {choose(PLAN, CHAMP, None, "cookie").variant for _ in range(50)} == {
        choose(PLAN, CHAMP, None, "cookie").variant
    }
    assert choose(PLAN, CHAMP, None, "cookie").unit == "visitor"
    drawn = [choose(PLAN, CHAMP, None, None) for _ in range(500)]
    assert {choice.unit for choice in drawn} == {"request"}
    assert len({choice.variant for choice in drawn}) == 3


def test_a_visitor_who_logs_in_is_drawn_once_more_and_from_then_on_as_on_every_other_device() -> None:
    plan: Plan[str] = Plan(Split("try", (Arm("new", 0.5, NEW),)))
    moved = 0
    for n in range(4000):
        before, after = (choose(plan, CHAMP, user, f"cookie-{n}") for user in (None, f"user-{n}"))
        moved += before.variant != after.variant
        assert (before.unit, after.unit) == ("visitor", "user")
        assert after.variant == choose(plan, CHAMP, f"user-{n}", None).variant
    assert moved / 4000 == pytest.approx(0.5, abs=0.03)


def test_without_an_experiment_the_bundle_in_service_answers() -> None:
    choice = choose(Plan(), CHAMP, "u", None)
    assert (choice.engine, choice.experiment, choice.variant, choice.unit) == (CHAMP, "", CHAMPION, "user")


def test_a_variant_may_be_the_bundle_in_service_itself() -> None:
    plan: Plan[str] = Plan(Split("same", (Arm("a", 1.0, None),)))
    choice = choose(plan, CHAMP, "u", None)
    assert (choice.engine, choice.variant) == (CHAMP, "a")
