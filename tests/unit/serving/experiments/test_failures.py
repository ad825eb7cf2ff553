"""What becomes of a list that an experiment's bundle cannot make: it is recorded and counted, and harms nobody else."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from core.experiments import Kind
from recommender.errors import NotFinite
from serving.api.recommend import Recommendations, RecommendRequest
from serving.errors import BadRequest, CapabilityMissing, TooBusy, is_failure
from serving.experiments.plan import point_of
from serving.http.refusals import refusal_of
from tests.unit.serving.experiments.test_desk import CHAMPION, ENDPOINT, Desk, FakeEngine, desk

__all__ = ["desk"]
NOT_FINITE = NotFinite("Cannot rank", got="score=nan", expected="a number", do="Train again")
CLIENTS_FAULT = BadRequest("Cannot recommend", got="k=0", expected="at least 1", do="Ask for more")


class Failing(FakeEngine):
    """Fails for some users; or, without any, whatever it is asked."""

    error: Exception = NOT_FINITE

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
    with pytest.raises(NotFinite):
        desk.ask(user_id="u1", k=3)
    desk.ask(user_id="u2")
    failed, shown = desk.records()
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
    }
    assert datetime.fromisoformat(failed["at"]) <= datetime.now(UTC)
    assert (shown["role"], shown["failure"]) == ("shown", "")
    assert desk.counts.found["try", "new", "failed"] == desk.counts.found["try", "new"] == 1


@pytest.mark.parametrize("asked", [{"user_id": "u1", "preview": True}, {"user_id": "u1", "variant": "try/new"}])
def test_what_is_only_looked_at_fails_for_nobody(desk: Desk, asked: dict[str, Any]) -> None:
    begin(desk, Failing("m:v2", "u1"))
    with pytest.raises(NotFinite):
        desk.ask(**asked)
    assert desk.records() == []
    assert desk.counts.found["try", "new", "failed"] == 0


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
    assert [one.user_id for one in requests if isinstance(found[requests.index(one)], NotFinite)] == theirs
    assert 0 < len(theirs) < len(users)
    roles = {record["user_id"]: (record["role"], record["variant"]) for record in desk.records()}
    assert roles == {user: ("failed", "new") if user in theirs else ("shown", "champion") for user in users}


def test_a_shadow_that_fails_is_recorded_and_changes_nothing_of_what_is_shown(desk: Desk) -> None:
    begin(desk, Failing("m:v2", "u1"), "shadow")
    assert [item.item_id for item in desk.ask(user_id="u1").items] == ["a", "b", "c"]
    found = {record["role"]: (record["experiment"], record["variant"]) for record in desk.records()}
    assert found == {"shown": ("", "champion"), "failed": ("try", "new")}
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
