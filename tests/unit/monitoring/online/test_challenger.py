"""A candidate against the bundle in service by a log whose truth is known: what each item brings is drawn here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.logs.events import EventLog
from core.logs.predictions import Prediction
from core.settings.evaluation import GuardrailSettings, OffPolicySettings
from core.settings.reranking import RerankSettings
from flows.promotion.guardrails import check_guardrails
from monitoring.online.challenger import AskedBundle, AskedLog, Challenge, MakeLists, challenge
from recommender.inputs.user import UserState
from recommender.reranking.reranker import Reranker
from tests.unit.monitoring.online.test_shown import NOON, answer, event, write
from tests.unit.recommender.reranking.test_reranker import Ranks, vectors

BRINGS = {"a": 0.5, "b": 0.5, "c": 0.1, "d": 0.1}
SETTINGS = OffPolicySettings()


class States:
    """Users of whom the moment is known that they were asked about."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, int]] = []

    def __call__(self, user_ids: Sequence[str], before_us: Sequence[int]) -> list[UserState]:
        self.asked += [pair for pair in zip(user_ids, before_us, strict=True) if pair[0]]
        return [UserState(items=(user,)) for user in user_ids]


def write_log(folder: Path, n: int = 1200, seed: int = 1, **more: Any) -> AskedLog:
    """Each first place is drawn evenly out of four items, and clicked as often as its item brings clicks."""
    chance = np.random.default_rng(seed)
    answers: list[Prediction] = []
    clicks = []
    for number in range(n):
        item = "abcd"[chance.integers(4)]
        others = tuple(one for one in "abcd" if one != item)
        given = {"items": (item, *others), "scores": (1.0,) * 4, "parts": (), "propensities": (0.25, 0.3, 0.5, 1.0)}
        user = f"u{number % 400}"
        answers.append(answer(f"r{number}", number / 60, user_id=user, **{**given, **more}))
        if chance.random() < BRINGS[item]:
            clicks.append(event(number, item, number / 60 + 1, user=user, of=f"r{number}"))
    write(folder / "predictions", *answers)
    log = EventLog(folder / "events.sqlite")
    log.append(clicks)
    end = NOON + timedelta(days=10)
    return AskedLog(folder / "predictions", log, ("click",), 600.0, NOON, end, "sommelier-tiny:v1")


def always(item: str) -> MakeLists:
    return lambda users, places: [[item, "z"][:places] for _ in users]


def ask(log: AskedLog, ours: str, theirs: str, settings: OffPolicySettings = SETTINGS) -> Challenge | None:
    states = States()
    mine, other = (AskedBundle(lambda: states, always(item)) for item in (ours, theirs))
    return challenge(log, mine, other, settings)


def state_of(found: Challenge | None, **settings: Any) -> str:
    (one,) = [
        one
        for one in check_guardrails(GuardrailSettings(**settings), None, None, (None, None), found)
        if one.name == "clicks"
    ]
    return one.state


def test_a_candidate_that_is_surely_worse_is_found_and_refused_by_the_guardrail(tmp_path: Path) -> None:
    log = write_log(tmp_path)
    found = ask(log, ours="c", theirs="a")
    assert found is not None
    assert found.state == "estimated"
    assert found.candidate is not None
    assert found.in_service is not None
    for apart, ours, theirs in (
        (found.snips, found.candidate.snips, found.in_service.snips),
        (found.doubly_robust, found.candidate.doubly_robust, found.in_service.doubly_robust),
    ):
        assert apart is not None
        assert ours is not None
        assert theirs is not None
        assert apart.low < 0.1 - 0.5 < apart.high < 0
        assert apart.value == pytest.approx(ours.value - theirs.value)
        assert ours.low < 0.1 < ours.high
        assert theirs.low < 0.5 < theirs.high
    assert (found.found, found.candidate.lists, found.candidate.users) == (1200, 1200, 400)
    assert found.candidate.effective[0] == pytest.approx(300, abs=60)
    assert found.same_first == pytest.approx(0.25, abs=0.05)
    assert found.is_sure_loss(0.05)
    assert not found.is_sure_loss(0.9)
    assert state_of(found) == "broken"
    assert state_of(found, click_loss=0.9) == "held"
    # What was learned later by the other one is no fault of this one.
    assert state_of(found.model_copy(update={"is_ahead": True})) == "not measured"
    assert found.describe().startswith("by 1,200 lists of 400 users that explored, 2026-03-01T12:00 to ")
    assert Challenge.model_validate_json(found.model_dump_json()) == found


@pytest.mark.parametrize(("ours", "theirs"), [("a", "c"), ("b", "a"), ("c", "d")])
def test_one_that_is_surely_better_or_as_good_is_no_loss(tmp_path: Path, ours: str, theirs: str) -> None:
    found = ask(write_log(tmp_path), ours, theirs)
    assert found is not None
    assert found.doubly_robust is not None
    assert found.doubly_robust.low < BRINGS[ours] - BRINGS[theirs] < found.doubly_robust.high
    assert (found.doubly_robust.low > 0) == (BRINGS[ours] > BRINGS[theirs])
    assert state_of(found) == "held"


def test_of_too_few_lists_nothing_is_decided(tmp_path: Path) -> None:
    found = ask(write_log(tmp_path), "c", "a", OffPolicySettings(min_effective=400))
    assert found is not None
    assert found.state == "few"
    assert "too few to decide by: recipe.gate.off_policy.min_effective=400, of either bundle, and 2" in found.describe()
    assert not found.is_sure_loss(0.0)
    assert state_of(found) == "not measured"
    of_few_users = ask(write_log(tmp_path / "few", 90), "c", "a")
    assert of_few_users is not None
    assert of_few_users.why == "no estimate yet: lists that explored are of 90 users, expected 100 at least"
    assert state_of(of_few_users) == "not measured"


def test_lists_that_the_log_could_not_show_are_no_loss(tmp_path: Path) -> None:
    log = write_log(tmp_path)
    states = States()

    def half(users: Sequence[UserState], places: int) -> list[list[str]]:
        return [["new" if int(user.items[0][1:]) % 2 else "c"] for user in users]

    found = challenge(log, AskedBundle(lambda: states, half), AskedBundle(lambda: states, always("a")), SETTINGS)
    assert found is not None
    assert found.state == "unsupported"
    assert "could not show enough of the candidate's lists: their mean weight is 0." in found.why
    assert state_of(found) == "not measured"
    nowhere = ask(log, "new", "a")
    assert nowhere is not None
    assert nowhere.why == "none of 1,200 lists that explored agrees with its lists"


def test_where_no_list_explored_since_both_learned_nobody_is_asked(tmp_path: Path) -> None:
    def fail() -> States:
        raise AssertionError("users are read")

    log = write_log(tmp_path, 300)
    nobody = AskedBundle(fail, always("a"))
    for other in (
        replace(log, folder=tmp_path / "none"),
        replace(log, since=NOON + timedelta(days=1)),
        replace(log, until=NOON),
        replace(log, model="sommelier-tiny:v2"),
        write_log(tmp_path / "greedy", 300, propensities=None),
        write_log(tmp_path / "preview", 300, role="preview"),
        write_log(tmp_path / "filtered", 300, filtered=True),
        write_log(tmp_path / "boosted", 300, rules=("", "boost:0", "", "")),
    ):
        assert challenge(other, nobody, nobody, SETTINGS) is None
    named = write_log(tmp_path / "named", 300, seed_given=True)
    assert challenge(named, nobody, nobody, SETTINGS) is None


def test_users_are_asked_about_as_they_were_and_forgotten_ones_not_at_all(tmp_path: Path) -> None:
    log, states = replace(write_log(tmp_path, 300), is_forgotten=lambda user: user == "u7"), States()
    asked = AskedBundle(lambda: states, always("a"))
    assert challenge(log, asked, asked, SETTINGS) is not None
    moments = {f"u{n}": round((NOON + timedelta(seconds=n)).timestamp() * 1e6) for n in range(300) if n != 7}
    assert dict(states.asked) == moments


def test_the_sample_and_the_time_are_bounded_and_said(tmp_path: Path) -> None:
    log, states = write_log(tmp_path), States()
    asked = AskedBundle(lambda: states, always("a"))
    sample = challenge(log, asked, asked, OffPolicySettings(lists=500))
    assert sample is not None
    assert sample.candidate is not None
    assert (sample.found, sample.candidate.lists, sample.is_cut_short) == (1200, 500, False)
    first = set(states.asked)
    states.asked.clear()
    challenge(log, asked, asked, OffPolicySettings(lists=500))
    assert set(states.asked) == first  # the same sample each time

    def clock() -> Iterator[float]:
        yield from (0.0, 1.0, 2.0)  # the beginning, and two pages
        while True:
            yield 200.0

    times = clock()
    short = challenge(log, asked, asked, SETTINGS, lambda: next(times))
    assert short is not None
    assert short.candidate is not None
    assert (short.candidate.lists, short.is_cut_short) == (512, True)
    assert "the time was over before all of 1,200 were asked" in short.describe()


def test_the_time_counts_from_when_users_can_be_asked_about(tmp_path: Path) -> None:
    log, at = write_log(tmp_path), [0.0]

    def read() -> States:
        at[0] += 1000.0
        return States()

    asked = AskedBundle(read, always("a"))
    found = challenge(log, asked, asked, SETTINGS, lambda: at[0])
    assert found is not None
    assert (found.state, found.is_cut_short) == ("estimated", False)


def test_whatever_it_says_it_says_that_the_time_was_over_and_which_lists_were_asked_about(tmp_path: Path) -> None:
    log, states = write_log(tmp_path), States()
    asked = AskedBundle(lambda: states, always("a"))

    def cut_after(n: int) -> Challenge:
        times = iter([0.0] * (n + 1) + [200.0] * 20)
        found = challenge(log, asked, asked, SETTINGS, lambda: next(times))
        assert found is not None
        return found

    none = cut_after(0)
    why = "the time was over before any of 1,200 lists that explored was asked about: recipe.gate.off_policy.time_s=120"
    assert (none.state, none.describe(), none.is_cut_short, none.since) == ("few", why, True, "")
    assert state_of(none) == "not measured"
    few = cut_after(1)
    moments = [datetime.fromtimestamp(us / 1e6, UTC).isoformat() for _, us in states.asked]
    assert (few.since, few.until) == (min(moments), max(moments))
    nowhere = challenge(
        log, AskedBundle(lambda: states, always("new")), asked, SETTINGS, iter([0.0] * 2 + [200.0]).__next__
    )
    assert nowhere is not None
    assert nowhere.describe() == (
        "none of 256 lists that explored agrees with its lists; the time was over before all of 1,200 were asked, "
        f"those asked are of {nowhere.since[:16]} to {nowhere.until[:16]}"
    )


def test_each_list_is_made_as_long_as_it_was_wanted_since_a_floor_looks_at_all_of_it(tmp_path: Path) -> None:
    floor = Reranker(vectors(), RerankSettings(provider_floor=0.1))
    ranker = Ranks(vectors())

    def lists(users: Sequence[UserState], places: int) -> list[list[str]]:
        stranger = UserState()
        return [[item for item, _ in floor.top_k(ranker, stranger, places).items] for _ in users]

    first = {k: lists([UserState()], k)[0][0] for k in (1, 5)}
    assert first[1] != first[5]
    states = States()
    answers = [
        answer(f"r{n}", n / 60, user_id=f"u{n}", k=k, items=(first[k], "x"), propensities=(0.5, 1.0))
        for n, k in enumerate([1, 5] * 150)
    ]
    write(tmp_path / "predictions", *answers)
    events = EventLog(tmp_path / "events.sqlite")
    end = NOON + timedelta(days=10)
    log = AskedLog(tmp_path / "predictions", events, ("click",), 600.0, NOON, end, "sommelier-tiny:v1")
    asked = AskedBundle(lambda: states, lists)
    found = challenge(log, asked, asked, SETTINGS)
    assert found is not None
    assert found.same_first == 1.0
