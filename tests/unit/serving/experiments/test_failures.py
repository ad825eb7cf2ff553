"""What becomes of a list that an experiment's bundle cannot make: it is recorded and counted, and harms nobody else."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from core.experiments import Kind
from recommender.errors import NotFinite
from serving.api.recommend import Recommendations, RecommendationsList, RecommendRequest
from serving.errors import BadRequest, CapabilityMissing, TooBusy, is_failure
from serving.experiments.failures import FailureLog
from serving.experiments.plan import point_of
from serving.http.refusals import refusal_of
from tests.unit.serving.experiments.test_desk import CHAMPION, ENDPOINT, Desk, FakeEngine, desk

__all__ = ["desk"]
NOT_FINITE = NotFinite("Cannot rank", got="score=nan", expected="a number", do="Train again")
CLIENTS_FAULT = BadRequest("Cannot recommend", got="k=0", expected="at least 1", do="Ask for more")


class Failing(FakeEngine):
    """Fails for some users; or, without any, whatever it is asked."""

    error: BaseException = NOT_FINITE

    def __init__(self, model: str, *users: str) -> None:
        super().__init__(model, "c", "a", "x")
        self.users = users

    def recommend(self, request: RecommendRequest) -> Recommendations:
        if not self.users or request.user_id in self.users:
            raise self.error
        return super().recommend(request)

    def recommend_all(self, requests: Sequence[RecommendRequest]) -> list[Any]:
        if not self.users:
            raise self.error
        return [self.error if one.user_id in self.users else self.recommend(one) for one in requests]


def begin(desk: Desk, engine: FakeEngine, kind: Kind = "split", share: float = 1.0) -> None:
    desk.desk._follower._load = lambda *_: engine  # type: ignore[assignment, return-value]
    desk.begin(kind, share)


def test_a_list_that_fails_is_recorded_and_counted_by_its_variant(desk: Desk) -> None:
    begin(desk, Failing("m:v2", "u1"))
    desk.ask(user_id="u1", k=3)
    desk.ask(user_id="u2")
    failed, _, shown = desk.records()
    assert failed == {
        **failed,
        "role": "failed",
        "experiment": "try",
        "variant": "new",
        "unit": "user",
        "user_id": "u1",
        "model": "m:v2",
        "endpoint": ENDPOINT,
        "items": [],
        "k": 3,
        "failure": "NotFinite",
        "is_shadow": False,
    }
    assert datetime.fromisoformat(failed["at"]) <= datetime.now(UTC)
    assert (shown["role"], shown["failure"]) == ("shown", "")
    assert desk.counts.found["try", "new", "failed"] == desk.counts.found["try", "new"] == 1


def test_the_bundle_in_service_answers_where_a_variant_fails_and_nothing_of_that_counts_for_the_variant(
    desk: Desk,
) -> None:
    begin(desk, Failing("m:v2", "u1"))
    answer = desk.ask(user_id="u1")
    assert (answer.model, [item.item_id for item in answer.items]) == (CHAMPION.model, ["a", "b", "c"])
    failed, instead = desk.records()
    assert (failed["role"], failed["experiment"]) == ("failed", "try")
    assert (instead["role"], instead["experiment"], instead["variant"]) == ("shown", "", "champion")
    assert (failed["instead_of"], instead["instead_of"]) == ("", "try/new")
    assert (instead["recommendation_id"], instead["model"]) == (answer.recommendation_id, CHAMPION.model)
    assert desk.counts.found["try", "new"] == 0
    assert [passed[:2] for passed in desk.counts.passed] == [("", "champion")]


def test_where_the_bundle_in_service_fails_too_the_failure_is_told(desk: Desk) -> None:
    begin(desk, Failing("m:v2", "u1"))
    with pytest.raises(NotFinite):
        desk.desk.recommend(RecommendRequest(user_id="u1"), Failing("m:v1"), ENDPOINT)  # type: ignore[arg-type]
    (failed,) = desk.records()
    assert (failed["experiment"], failed["variant"], failed["role"]) == ("try", "new", "failed")
    assert desk.counts.found["try", "new", "failed"] == 1


def test_whatever_a_variant_raises_the_bundle_in_service_answers(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    class Panic(BaseException):
        """As of a library that is written in Rust."""

    monkeypatch.setattr(Failing, "error", Panic("index out of bounds"))
    begin(desk, Failing("m:v2"))
    assert desk.ask(user_id="u1").model == CHAMPION.model
    assert [record["failure"] for record in desk.records()] == ["RuntimeError", ""]


def test_what_is_only_looked_at_fails_for_nobody(desk: Desk) -> None:
    begin(desk, Failing("m:v2", "u1"))
    assert desk.ask(user_id="u1", preview=True).model == CHAMPION.model
    with pytest.raises(NotFinite):  # who names a variant asks to see that one
        desk.ask(user_id="u1", variant="try/new")
    assert [record["role"] for record in desk.records()] == ["preview"]
    assert desk.counts.found["try", "new", "failed"] == 0


def test_of_many_users_those_whose_variant_fails_fail_nobody(desk: Desk) -> None:
    begin(desk, Failing("m:v2", "u1"))
    many = RecommendRequest.model_validate({"users": [{"user_id": "u1"}, {"user_id": "u2"}]})
    answer = desk.desk.recommend(many, CHAMPION.value, ENDPOINT)
    assert isinstance(answer, RecommendationsList)
    assert [one.model for one in answer.answers] == [CHAMPION.model, "m:v2"]


def test_what_a_client_did_wrong_is_no_failure_of_the_variant(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Failing, "error", CLIENTS_FAULT)
    begin(desk, Failing("m:v2", "u1"))
    with pytest.raises(BadRequest):
        desk.ask(user_id="u1")
    assert desk.records() == []
    assert desk.counts.found["try", "new", "failed"] == 0


def test_a_bundle_that_fails_as_a_whole_leaves_those_whom_another_one_answers(desk: Desk) -> None:
    begin(desk, Failing("m:v2"), share=0.5)
    users = [f"user-{n}" for n in range(20)]
    theirs = [user for user in users if point_of("try", user) < 0.5]
    asked = [RecommendRequest.model_validate({"users": [{"user_id": user}]}).each() for user in users]
    requests = [one for each in asked for one in each]
    found = desk.desk._recommend_all(requests, CHAMPION.value, ENDPOINT)
    assert {one.model for one in found if isinstance(one, Recommendations)} == {CHAMPION.model}
    assert (len(found), 0 < len(theirs) < len(users)) == (len(users), True)
    records = desk.records()
    assert [record["user_id"] for record in records if record["role"] == "failed"] == theirs
    shown = {record["user_id"]: record["experiment"] for record in records if record["role"] == "shown"}
    assert shown == {user: "" if user in theirs else "try" for user in users}


class AllOrNone(Failing):
    """Fails for all that are asked together where one of them is of some users."""

    def recommend_all(self, requests: Sequence[RecommendRequest]) -> list[Any]:
        return [self.recommend(one) for one in requests]


@pytest.mark.parametrize("users", [("u2",), ()])
def test_of_those_that_fail_together_only_what_fails_alone_has_failed(
    desk: Desk, users: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    begin(desk, AllOrNone("m:v2", *users))
    asked = [RecommendRequest(user_id=f"u{n}") for n in range(4)]
    found = desk.desk._recommend_all(asked, CHAMPION.value, ENDPOINT)
    failed = users or ("u0", "u1", "u2", "u3")
    models = [CHAMPION.model if one.user_id in failed else "m:v2" for one in asked]
    assert [one.model for one in found if isinstance(one, Recommendations)] == models
    records = desk.records()
    assert [one["user_id"] for one in records if one["role"] == "failed"] == [*failed]
    assert desk.counts.found["try", "new", "failed"] == len(failed)
    assert desk.counts.found["try", "new"] == 4 - len(failed)
    assert "m:v2 fails on lists that are made together; each is made by itself (NotFinite)" in caplog.text


def test_what_fails_for_one_user_of_many_is_shown_to_none_of_them(desk: Desk) -> None:
    begin(desk, Failing("m:v2", "u1"))
    many = RecommendRequest.model_validate({"users": [{"user_id": "u1"}, {"user_id": "u2"}]})
    champion: Any = Failing("m:v1", "u1")
    alone = RecommendRequest(user_id="u3")
    refused, answered = desk.desk.recommend_together([many, alone], champion, ENDPOINT)
    assert (type(refused), type(answered)) == (NotFinite, Recommendations)
    assert [(one["role"], one["user_id"]) for one in desk.records()] == [("failed", "u1"), ("shown", "u3")]
    assert (desk.counts.found["try", "new"], desk.counts.found["try", "new", "failed"]) == (1, 1)
    assert [passed[:2] for passed in desk.counts.passed] == [("try", "new")]


def test_nothing_is_compared_with_lists_that_nobody_got(desk: Desk) -> None:
    begin(desk, FakeEngine("m:v2", "c"), "shadow")
    many = RecommendRequest.model_validate({"users": [{"user_id": "u1"}, {"user_id": "u2"}]})
    champion: Any = Failing("m:v1", "u1")
    (refused,) = desk.desk.recommend_together([many], champion, ENDPOINT)
    assert (type(refused), desk.records(), desk.counts.found["shadow compared"]) == (NotFinite, [], 0)


def test_the_log_says_why_a_variant_fails_and_names_nobody(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    begin(desk, Failing("m:v2", "person-1"))
    for _ in range(3):
        desk.ask(user_id="person-1")
    named = "variant new of experiment try, m:v2,"
    (told,) = caplog.records
    assert (told.levelname, told.message) == (
        "ERROR",
        f"A list that {named} fails to make is made by the bundle in service (NotFinite)",
    )
    assert told.exc_info is not None
    assert told.exc_info[1] is NOT_FINITE
    champion: Any = Failing("m:v1", "person-1")
    champion.error = KeyError("place")
    with pytest.raises(NotFinite):
        desk.desk.recommend(RecommendRequest(user_id="person-1"), champion, ENDPOINT)
    _, second = caplog.records
    assert second.message == f"In the place of {named} the bundle in service, m:v1, fails too (KeyError)"
    assert second.exc_info is not None
    assert second.exc_info[1] is champion.error
    assert "person-1" not in caplog.text


def test_the_log_has_each_kind_of_failure_once_and_then_hourly_with_their_number(
    caplog: pytest.LogCaptureFixture,
) -> None:
    now = [0.0]
    failures = FailureLog(clock=lambda: now[0])

    def tell(at: float, what: str, error: Exception) -> list[str]:
        caplog.clear()
        now[0] = at
        failures.tell(what, error)
        return [one.message for one in caplog.records]

    assert tell(0, "new fails", NOT_FINITE) == ["new fails (NotFinite)"]
    assert tell(1, "new fails", KeyError("a")) == ["new fails (KeyError)"]
    assert tell(2, "old fails", NOT_FINITE) == ["old fails (NotFinite)"]
    assert tell(3, "new fails", NOT_FINITE) == []
    assert tell(3599, "new fails", NOT_FINITE) == []
    assert tell(3600, "new fails", NOT_FINITE) == ["new fails (NotFinite, 3 more since this was logged)"]
    assert tell(7199, "new fails", NOT_FINITE) == []
    assert tell(9000, "new fails", KeyError("b")) == ["new fails (KeyError, 1 more since this was logged)"]


def test_a_shadow_that_fails_is_recorded_and_changes_nothing_of_what_is_shown(desk: Desk) -> None:
    begin(desk, Failing("m:v2", "u1"), "shadow")
    assert [item.item_id for item in desk.ask(user_id="u1").items] == ["a", "b", "c"]
    found = {record["role"]: (record["experiment"], record["variant"]) for record in desk.records()}
    assert found == {"shown": ("", "champion"), "failed": ("try", "new")}
    assert [record["is_shadow"] for record in desk.records() if record["role"] == "failed"] == [True]
    assert desk.counts.found["shadow failed"] == desk.counts.found["try", "new", "failed"] == 1


def test_nothing_is_recorded_of_failures_outside_of_an_experiment(desk: Desk, tmp_path: Path) -> None:
    with pytest.raises(NotFinite):
        desk.desk.recommend(RecommendRequest(user_id="u1"), Failing("m:v1", "u1"), ENDPOINT)  # type: ignore[arg-type]
    assert desk.records() == []


@pytest.mark.parametrize(
    "error",
    [
        NOT_FINITE,
        CLIENTS_FAULT,
        CapabilityMissing("Cannot recommend", got="by=generative", expected="a part", do="Train it"),
        TooBusy(9, 8, 1),
        TimeoutError(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_failure_is_what_is_answered_with_a_status_from_500_on(error: Exception) -> None:
    assert is_failure(error) == (refusal_of(error).status_code >= 500)


def test_what_is_a_bug_is_a_failure() -> None:
    assert is_failure(KeyError("place"))
    with pytest.raises(KeyError):
        refusal_of(KeyError("place"))
