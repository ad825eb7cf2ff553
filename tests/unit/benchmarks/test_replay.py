"""A past is led through a platform in its order; what was shown before each event counts; a kill changes nothing."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks.replay import past, policies
from benchmarks.replay.__main__ import _alone
from benchmarks.replay.figures import Row, marks, ndcg, print_replays, recall
from benchmarks.replay.journal import Answer, Journal
from benchmarks.replay.leading import replay
from benchmarks.replay.policies import POLICIES, Policy, finish_period
from core.schema import TABLES

OPENS = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
EVENTS = [
    ("e1", "u1", "a", -3 * DAY),
    ("e2", "u2", "b", -1 * DAY),
    ("e3", "u1", "b", 0 * DAY),
    ("e4", "u1", "a", 1 * DAY),  # had it before
    ("e5", "u2", "c", 2 * DAY),
    ("e6", "u3", "a", 30 * DAY),
    ("e7", "u1", "c", 60 * DAY),  # after the replay
]


@pytest.fixture
def clean(tmp_path: Path) -> Path:
    folder = tmp_path / "clean"
    folder.mkdir()
    kind = TABLES["interactions"].arrow()
    rows = [
        {"event_id": event, "user_id": user, "item_id": item, "event": "purchase", "timestamp": OPENS + after}
        for event, user, item, after in reversed(EVENTS)
    ]
    pq.write_table(pa.Table.from_pylist(rows, schema=kind), folder / "interactions.parquet")
    pq.write_table(pa.table({"item_id": ["a", "b", "c"]}), folder / "items.parquet")
    return folder


def test_the_base_ends_where_the_replay_begins(clean: Path, tmp_path: Path) -> None:
    base = past.write_base(clean, tmp_path / "base", OPENS, 0)
    assert sorted(pq.read_table(base / "interactions.parquet")["event_id"].to_pylist()) == ["e1", "e2"]
    assert pq.read_table(base / "items.parquet").num_rows == 3


def test_periods_hold_what_happened_in_order(clean: Path) -> None:
    periods = list(past.read_periods(clean, OPENS, 2, 30 * DAY, 0))
    assert [[event.event_id for event in period.events] for period in periods] == [["e3", "e4", "e5"], ["e6"]]
    assert [event.asks for event in periods[0].events] == [True, False, True]


def test_the_same_users_are_drawn_for_both_parts(clean: Path, tmp_path: Path) -> None:
    base = past.write_base(clean, tmp_path / "base", OPENS, 2)
    before = set(pq.read_table(base / "interactions.parquet")["user_id"].to_pylist())
    after = {event.user_id for period in past.read_periods(clean, OPENS, 3, 30 * DAY, 2) for event in period.events}
    assert len(before | after) == 2


def test_some_users_are_asked_about_and_the_events_of_all_are_told(clean: Path) -> None:
    def asked(n_asked: int) -> set[str]:
        (period,) = past.read_periods(clean, OPENS, 1, 30 * DAY, 0, n_asked)
        assert len(period.events) == 3
        return {event.user_id for event in period.events if event.asks}

    assert len(asked(1)) == 1
    assert asked(1) == asked(1) < asked(0) == {"u1", "u2"}


def test_nobody_asks_in_a_batch_in_which_they_did_something_before(clean: Path) -> None:
    (period,) = past.read_periods(clean, OPENS, 1, 70 * DAY, 0)
    assert [[event.event_id for event in batch] for batch in period.batches()] == [["e3", "e4", "e5", "e6"], ["e7"]]


def test_a_base_without_a_past_is_refused(clean: Path, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="nothing happened before 2025-12-01"):
        past.write_base(clean, tmp_path / "base", datetime(2025, 12, 1, tzinfo=UTC), 0)
    assert not (tmp_path / "base").exists()


class Killed(BaseException):
    """The replay's process ends at once."""


class _Platform:
    """Shows each user the items that the newest bundle knows; retrains as it is told to; outlives a killed replay.

    Args:
        dies_at: The call before or after which the replay is killed.
        after: After it, and not before.
    """

    def __init__(self, dies_at: int | None = None, after: bool = False) -> None:
        self.events: dict[str, dict[str, Any]] = {}
        self.known_when_asked: list[tuple[str, int]] = []
        self.started: list[str] = []
        self.line: list[dict[str, Any]] = [_entry(1, "promotion", "shop:1", "done")]
        self.learned = 0
        self.served: list[str] = []
        self._calls, self._dies_at, self._after = 0, dies_at, after

    def ask(self, path: str, body: dict[str, Any] | None = None) -> Any:
        def answer() -> Any:
            assert body is not None
            if path == "/v1/events":
                self.events |= {one["event_id"]: one for one in body["events"]}
                return {}
            self.known_when_asked.append((body["user_id"], len(self.events)))
            # What was learned moves the first item to the end.
            order = "bac" if self.learned else "bca"
            return {"items": [{"item_id": item} for item in order], "recommendation_id": f"r-{len(self.events)}"}

        return self._call(answer)

    def entries(self, after: int) -> list[dict[str, Any]]:
        return self._call(lambda: [entry for entry in self.line if entry["id"] > after])

    def run(self, deployment: str) -> None:
        def work() -> None:
            self.started.append(deployment)
            known = self.learned == len(self.events)
            if deployment == "monitor":
                for decision in self.line:
                    decision["state"] = "lost" if decision["state"] == "wanted" else decision["state"]
                self._add("alarm", "data.x", "on")
                self._add("decision", "none" if known else "fine-tune", "nothing" if known else "wanted")
            elif deployment == "fine-tune" and not known:
                self._learn(None)

        self._call(work)

    def wait_until_idle(self) -> None:
        def work() -> None:
            wanted = [one for one in self.line if one["kind"] == "decision" and one["state"] == "wanted"]
            for decision in wanted:
                decision["state"] = "started"
                self._add("run", "fine-tune", "completed", cause=decision["id"])
                self._learn(self.line[-1]["id"])

        self._call(work)

    def wait_for_bundle(self, tag: str) -> None:
        self.served.append(tag)

    def cpu_s(self) -> float:
        return 10.0 * len(self.started)

    def _learn(self, cause: int | None) -> None:
        self.learned = len(self.events)
        self._add("gate", "digest", "promoted", cause=cause)
        self._add("promotion", f"shop:{self.learned}", "done", cause=cause)

    def _add(self, kind: str, subject: str, state: str, cause: int | None = None) -> None:
        self.line.append(_entry(len(self.line) + 1, kind, subject, state, cause))

    def _call(self, work: Any) -> Any:
        self._calls += 1
        if self._calls == self._dies_at and not self._after:
            raise Killed
        answer = work()
        if self._calls == self._dies_at:
            raise Killed
        return answer


def _entry(number: int, kind: str, subject: str, state: str, cause: int | None = None) -> dict[str, Any]:
    at = "2020-01-01T00:00:00+00:00"
    return {
        "id": number,
        "kind": kind,
        "subject": subject,
        "state": state,
        "cause": cause,
        "at": at,
        "until": at,
        "details": {},
    }


def _periods(clean: Path) -> Any:
    return past.read_periods(clean, OPENS, 2, 30 * DAY, 0)


@pytest.mark.parametrize(
    ("policy", "after_each"),
    [
        ("loop", ["refresh-features", "monitor"]),
        ("schedule", ["refresh-features", "fine-tune"]),
        ("frozen", ["refresh-features"]),
    ],
)
def test_users_are_asked_before_they_choose_and_the_end_of_a_period_is_the_policys(
    clean: Path, tmp_path: Path, policy: Policy, after_each: list[str]
) -> None:
    platform = _Platform()
    rows = list(replay(platform, policy, _periods(clean), Journal(tmp_path / "journal")))
    # u1 chose what stood first, u2 what stood second, u3 what stood last, or second once two more events are learned.
    assert [answer.place for answer in rows[0].answers] == [1, 2]
    assert [answer.place for answer in rows[1].answers] == [3 if policy == "frozen" else 2]
    assert list(platform.events) == ["e3", "e4", "e5", "e6"]
    assert [user for user, _ in platform.known_when_asked] == ["u1", "u2", "u3"]
    # With the event goes the list that it was shown by.
    assert [one["recommendation_id"] for one in platform.events.values()] == ["r-0", None, "r-0", "r-3"]
    assert platform.started == after_each * 2
    assert rows[0].cpu_s == pytest.approx(10.0 * len(after_each))
    told = [entry["kind"] for entry in rows[0].happened]
    assert (
        told
        == {
            "loop": ["alarm", "decision", "run", "gate", "promotion"],
            "schedule": ["gate", "promotion"],
            "frozen": [],
        }[policy]
    )
    assert platform.served == ([] if policy == "frozen" else ["shop:3", "shop:4"])


@pytest.mark.parametrize("policy", POLICIES)
def test_a_replay_that_is_killed_at_any_moment_goes_on_to_the_same_end(
    clean: Path, tmp_path: Path, policy: Policy
) -> None:
    undisturbed = _Platform()
    expected = list(replay(undisturbed, policy, _periods(clean), Journal(tmp_path / "journal")))
    for number in range(1, undisturbed._calls + 1):
        for after in (False, True):
            platform, journal = _Platform(number, after), Journal(tmp_path / f"journal-{number}-{after}")
            with pytest.raises(Killed):
                list(replay(platform, policy, _periods(clean), journal))
            rows = list(replay(platform, policy, _periods(clean), journal))
            assert [row.answers for row in rows] == [row.answers for row in expected], (number, after)
            assert [_promoted(row) for row in rows] == [_promoted(row) for row in expected], (number, after)
            assert platform.events == undisturbed.events


def _promoted(row: Row) -> list[str]:
    return [entry["subject"] for entry in row.happened if entry["kind"] == "promotion"]


def test_what_is_seen_and_decided_again_stands_in_each_period(clean: Path, tmp_path: Path) -> None:
    class Quiet(_Platform):
        def run(self, deployment: str) -> None:
            if deployment == "monitor":
                if self.line[-1]["kind"] != "decision":
                    self._add("decision", "none", "nothing")
                self.line[-1]["until"] = datetime.now(UTC).isoformat()

    rows = list(replay(Quiet(), "loop", _periods(clean), Journal(tmp_path / "journal")))
    assert [[entry["id"] for entry in row.happened] for row in rows] == [[2], [2]]


def test_a_period_that_is_done_asks_nothing(clean: Path, tmp_path: Path) -> None:
    platform, journal = _Platform(), Journal(tmp_path / "journal")
    rows = list(replay(platform, "loop", _periods(clean), journal))
    asked = platform._calls
    assert list(replay(platform, "loop", _periods(clean), journal)) == rows
    assert platform._calls == asked


def test_a_journal_goes_on_with_the_options_that_it_began_with_alone(tmp_path: Path) -> None:
    Journal(tmp_path / "journal").check_options({"users": 5})
    Journal(tmp_path / "journal").check_options({"users": 5})
    with pytest.raises(SystemExit, match="users: 5 before"):
        Journal(tmp_path / "journal").check_options({"users": 6})


def test_two_replays_of_a_policy_do_not_share_a_folder(tmp_path: Path) -> None:
    with _alone(tmp_path / "loop.lock"):
        with pytest.raises(SystemExit, match=r"Another replay holds .*loop\.lock"), _alone(tmp_path / "loop.lock"):
            pass
        with _alone(tmp_path / "frozen.lock"):
            pass
    with _alone(tmp_path / "loop.lock"):
        pass


class _Crashing(_Platform):
    """Its first retrainings are cut off, in the given states."""

    def __init__(self, *states: str) -> None:
        super().__init__()
        self._states = list(states)

    def wait_until_idle(self) -> None:
        decision = self.line[-1]
        if self._states and decision["kind"] == "decision":
            state = self._states.pop(0)
            decision["state"] = state if state == "wanted" else "started"
            if state != "wanted":
                self._add("run", "fine-tune", state, cause=decision["id"])
            return
        super().wait_until_idle()


def test_what_was_wanted_is_waited_for_although_nothing_goes_on_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    class Slow(_Crashing):
        def entries(self, after: int) -> list[dict[str, Any]]:
            for entry in self.line:
                entry["at"] = datetime.now(UTC).isoformat()
            return super().entries(after)

    monkeypatch.setattr(policies.time, "sleep", lambda _: None)
    platform = Slow("wanted", "wanted")
    platform.events = {"e1": {}}
    finish_period(platform, "loop", 1)
    assert platform.started == ["monitor"]
    assert platform.line[-1]["subject"] == "shop:1"


@pytest.mark.parametrize("states", [("crashed",), ("running", "failed"), ("wanted",)])
def test_a_retraining_that_was_cut_off_is_looked_for_again(states: tuple[str, ...]) -> None:
    platform = _Crashing(*states)
    platform.events = {"e1": {}}
    finish_period(platform, "loop", 1)
    assert platform.started == ["monitor"] * (1 + len(states))
    assert [entry["subject"] for entry in platform.line if entry["kind"] == "promotion"] == ["shop:1", "shop:1"]


def test_a_retraining_that_fails_each_time_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    platform = _Crashing(*["failed"] * 20)
    platform.events = {"e1": {}}
    finish_period(platform, "loop", 1)
    assert platform.started == ["monitor"] * policies._LOOKS


def _answers(*places: int | None, user: str = "u") -> tuple[Answer, ...]:
    return tuple(Answer(f"{user}{n}", f"{user}{n % 2}", place, "r") for n, place in enumerate(places))


def test_the_figures_are_those_of_one_wanted_item() -> None:
    first, third, missed = _answers(1, 3, None)
    assert [ndcg(one) for one in (first, third, missed)] == pytest.approx([1.0, 0.5, 0.0])
    assert [recall(one) for one in (first, third, missed)] == [1.0, 1.0, 0.0]


def test_the_table_has_periods_wholes_and_differences(capsys: pytest.CaptureFixture[str]) -> None:
    happened = (
        {**_entry(2, "alarm", "data.items.brand.mix", "on")},
        {**_entry(3, "decision", "fine-tune", "started"), "details": {"rule": "retrain: fine-tune"}},
        {**_entry(4, "gate", "digest", "refused")},
    )
    rows = [
        Row("loop", "2013-01-01", _answers(1, None), happened, 12.0, 20.0),
        Row("frozen", "2013-01-01", _answers(3, None), (), 1.0, 2.0),
    ]
    assert marks(rows[0]) == "alarm data.items.brand.mix; retrain: fine-tune; gate refused"
    print_replays(rows)
    shown = capsys.readouterr().out.splitlines()
    assert shown[1].split()[:7] == ["loop", "2013-01-01", "2", "0.5000", "0.5000", "12", "20"]
    assert shown[2].split()[-1] == "-"
    assert shown[-1].startswith("loop less frozen: N@10 +0.2500 [")
