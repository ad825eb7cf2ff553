"""The desk: what is recorded of an answer, and what is said of an experiment."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from core.experiments import BundlePlace, Experiment, Kind, Variant, start
from core.layout import Layout
from core.logs.events import EventLog
from core.logs.predictions import erase_predictions, read_predictions
from core.logs.requests import answering
from core.promotions import RECORD, model_folder
from core.settings.platform import ServingSettings
from core.stages import Stage, stage
from core.storage import write_json
from recommender.inputs.user import UserState
from serving.api.lists import Found, FoundItem, SearchRequest, SearchWeights, Similar, SimilarRequest, SimilarUser
from serving.api.options import AppliedExploration, AppliedRule, MovedItem
from serving.api.recommend import Recommendation, Recommendations, RecommendationsList, RecommendRequest
from serving.errors import NotAllowed, UnknownVariant
from serving.experiments.desk import ExperimentDesk
from serving.experiments.named import check_may_name
from serving.guard.caller import Caller
from serving.together import answer_of, each_or_error
from serving.watcher import Loaded
from tests.unit.serving.processes.slow_loads import loads_at_once

MODEL = "sommelier-tiny"
ENDPOINT = "/v1/recommend"


class FakeEngine:
    """Answers with items of its own."""

    def __init__(self, model: str, *items: str) -> None:
        self.model, self.items = model, items
        self.asked: list[RecommendRequest] = []
        self.explored: AppliedExploration | None = None

    def recommend(self, request: RecommendRequest) -> Recommendations:
        self.asked.append(request)
        propensity = None if self.explored is None else 0.5
        shown = [
            Recommendation(
                item_id=item, label=item, score=1 / n, part="text", because=[], matches=[], propensity=propensity
            )
            for n, item in enumerate(self.items, 1)
        ]
        return Recommendations(
            model=self.model,
            user_id=request.user_id,
            cold_start=True,
            reason="unknown user",
            items=shown,
            exploration=self.explored,
            applied=[self.pinned(pin.item_id) for pin in request.pin if pin.item_id in self.items],
        ).made_for(UserState(items=("read", "of", self.model)))

    def pinned(self, item_id: str) -> AppliedRule:
        place = self.items.index(item_id) + 1
        return AppliedRule(
            rule="pin", number=0, n_matched=1, items=[MovedItem(item_id=item_id, from_place=None, to_place=place)]
        )

    def recommend_all(self, requests: Sequence[RecommendRequest]) -> list[Recommendations]:
        with stage("rank"):
            return [self.recommend(request) for request in requests]

    def recommend_together(
        self,
        requests: Sequence[RecommendRequest],
        answer_all: Callable[[Any], Any],
        answer_users: Callable[[Any], Any],
    ) -> list[Any]:
        def answer(one: RecommendRequest) -> Any:
            if one.users is None:
                return answer_all([one])[0]
            answers = [answer_of(each) for each in answer_users(list(one.each()))]
            return RecommendationsList(model=self.model, answers=answers)

        return each_or_error(answer, requests)


class Counts:
    def __init__(self) -> None:
        self.found: Counter[Any] = Counter()
        self.passed: list[tuple[str, str, dict[Stage, float]]] = []

    def variant_answered(self, experiment: str, variant: str, seconds: float) -> None:
        self.found[experiment, variant] += 1

    def variant_failed(self, experiment: str, variant: str) -> None:
        self.found[experiment, variant, "failed"] += 1

    def stages_passed(self, experiment: str, variant: str, seconds: Mapping[Stage, float]) -> None:
        self.passed.append((experiment, variant, dict(seconds)))

    def predictions(self, outcome: str, number: int) -> None:
        self.found[outcome] += number

    def shadow(self, outcome: str) -> None:
        self.found[f"shadow {outcome}"] += 1

    def refused_experiments(self, number: int) -> None:
        self.found["refused"] = number


CHAMPION: Any = Loaded(f"{MODEL}:v1", FakeEngine(f"{MODEL}:v1", "a", "b", "c"), datetime(2026, 3, 1, tzinfo=UTC))


class Desk:
    """A desk over a store in which v1 is in service."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.layout = Layout(folder, "tiny")
        model_folder(MODEL).mkdir(parents=True, exist_ok=True)
        change = {"at": "2026-03-01T12:00:00+00:00", "action": "promoted", "version": "v1", "digest": "v1"}
        write_json(model_folder(MODEL) / RECORD, {"changes": [change]})
        self.counts = Counts()
        self.engines: list[FakeEngine] = []
        given = {"predictions": {"flush_s": 0.0}, "experiments": {"figures_s": 0.0}, **settings}
        self.desk = ExperimentDesk(
            self.layout,
            ServingSettings.model_validate(given),
            self.load,  # type: ignore[arg-type]
            EventLog(self.layout.events),
            lambda user: user == "gone",
            self.counts,
            loader=loads_at_once(),
        )
        self.desk.start()

    def load(self, promoted: Any, beside: Any) -> FakeEngine:
        self.engines.append(FakeEngine(promoted.model, "c", "a", "x"))
        return self.engines[-1]

    def begin(self, kind: Kind, share: float) -> None:
        variants = (Variant(name="new", bundle=BundlePlace(version="v2", digest="v2"), share=share),)
        at = datetime.now(UTC).isoformat()
        start(MODEL, Experiment(name="try", kind=kind, variants=variants, started_at=at, generation=1))
        self.desk.follow(CHAMPION)

    def ask(self, **who: Any) -> Recommendations:
        answer = self.desk.recommend(RecommendRequest(**who), CHAMPION.value, ENDPOINT)
        assert isinstance(answer, Recommendations)
        return answer

    def records(self) -> list[dict[str, Any]]:
        assert self.desk.flush(10)
        return list(read_predictions(self.layout.predictions))


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    monkeypatch.setenv("BENTOML_HOME", str(tmp_path / "bentoml"))
    made = Desk(tmp_path)
    yield made
    made.desk.close()


def test_every_list_is_recorded(desk: Desk) -> None:
    answer = desk.ask(user_id=" 17850.0 ", visitor_id="cookie", k=3)
    (record,) = desk.records()
    assert record == {
        **record,
        "recommendation_id": answer.recommendation_id,
        "endpoint": ENDPOINT,
        "model": f"{MODEL}:v1",
        "items": ["a", "b", "c"],
        "scores": [1.0, 0.5, pytest.approx(1 / 3)],
        "parts": ["text"] * 3,
        "propensities": None,
        "user_id": "17850",
        "visitor_id": "cookie",
        "experiment": "",
        "variant": "champion",
        "unit": "user",
        "role": "shown",
        "k": 3,
        "cold_start": True,
        "took_ms": pytest.approx(5.0, abs=5.0),
    }
    assert datetime.fromisoformat(record["at"]).tzinfo is not None
    assert desk.counts.found == {"written": 1}


def test_what_was_read_of_a_user_is_kept_with_the_list_that_they_are_shown(desk: Desk, tmp_path: Path) -> None:
    desk.begin("shadow", 1.0)
    desk.ask(user_id="u")
    desk.ask(user_id="u", preview=True)
    desk.ask(visitor_id="cookie")
    desk.ask(history=["a"])
    records = desk.records()
    kept = [(one["role"], one["user_id"], one["features"]) for one in records if one["features"] is not None]
    assert [pair[:2] for pair in kept] == [("shown", "u")]
    assert kept[0][2]["history"] == ["read", "of", f"{MODEL}:v1"]
    assert len(records) == 4 + 3, "three shadows"
    other = Desk(tmp_path / "off", predictions={"flush_s": 0.0, "features": False})
    other.ask(user_id="u")
    assert [one["features"] for one in other.records()] == [None]
    other.desk.close()


def test_of_a_person_who_is_forgotten_nothing_is_left_that_was_read(desk: Desk) -> None:
    desk.ask(user_id="leaves")
    desk.ask(user_id="stays", variant=None)
    assert len(desk.records()) == 2
    assert erase_predictions(desk.layout.predictions, lambda user: user == "leaves") == 1
    (left,) = desk.records()
    assert left["user_id"] == "stays"
    (segment,) = desk.layout.predictions.glob("*.jsonl")
    assert segment.read_bytes().count(b'"history"') == 1


def test_what_is_looked_at_is_recorded_as_that_and_counts_for_nothing(desk: Desk) -> None:
    desk.begin("split", 1.0)
    assert desk.ask(user_id="u", preview=True).model == f"{MODEL}:v2"
    items = [FoundItem(item_id="a", label="a", score=0.5, lexical=0.5, semantic=0.0, personal=0.0)]
    weights = SearchWeights(lexical=1.0, semantic=1.0, personal=0.0)
    made = Found(model=f"{MODEL}:v1", ranked_by=weights, user_id="u", cold_start=False, items=items)
    desk.desk.recording(lambda _: made, "/v1/search")(SearchRequest(query="tea", user_id="u", preview=True))
    assert [record["role"] for record in desk.records()] == ["preview", "preview"]
    assert desk.counts.found["try", "new"] == 0
    assert desk.counts.passed == []


def test_nothing_is_compared_with_what_is_only_looked_at(desk: Desk) -> None:
    desk.begin("shadow", 1.0)
    desk.ask(user_id="u", preview=True)
    assert [record["role"] for record in desk.records()] == ["preview"]


@pytest.mark.parametrize("kind", ["split", "shadow"])
def test_what_is_loaded_is_asked_by_its_name_whoever_the_list_is_for(desk: Desk, kind: Kind) -> None:
    desk.begin(kind, 0.01)
    loaded = desk.desk.info(CHAMPION.value).loaded
    assert [(one.name, one.model) for one in loaded] == [("champion", f"{MODEL}:v1"), ("try/new", f"{MODEL}:v2")]
    for one in loaded:
        for user in range(5):
            assert desk.ask(user_id=f"user-{user}", variant=one.name).model == one.model
    found = [(record["role"], record["experiment"], record["variant"]) for record in desk.records()]
    assert found == [("preview", "", "champion")] * 5 + [("preview", "try", "new")] * 5
    assert desk.counts.found["try", "new"] == 0
    assert desk.counts.passed == []


def test_a_variant_that_is_not_loaded_fails_alone(desk: Desk) -> None:
    desk.begin("split", 0.5)
    asked = [RecommendRequest(user_id="u", variant=name) for name in ("try/old", "champion")]
    found = desk.desk.recommend_together(asked, CHAMPION.value, ENDPOINT)
    assert isinstance(found[0], UnknownVariant)
    assert "variant='try/old', expected one that is loaded: champion, try/new" in str(found[0])
    assert isinstance(found[1], Recommendations)
    assert len(desk.records()) == 1


def test_a_record_says_how_many_lists_were_made_in_its_time(desk: Desk) -> None:
    asked = RecommendRequest.model_validate({"users": [{"user_id": f"u{n}"} for n in range(3)]})
    assert len(desk.desk.recommend_together([asked], CHAMPION.value, ENDPOINT)) == 1
    assert [record["together"] for record in desk.records()] == [3, 3, 3]


def test_only_who_may_do_everything_names_a_variant() -> None:
    check_may_name(RecommendRequest(preview=True), Caller())
    check_may_name(RecommendRequest(variant="champion"), Caller(is_trusted=True))
    with pytest.raises(NotAllowed, match="variant='champion', expected an API key of scope admin"):
        check_may_name(RecommendRequest(variant="champion"), Caller())


def test_lists_that_no_experiment_decides_on_are_recorded_too(desk: Desk) -> None:
    items = [FoundItem(item_id="a", label="a", score=0.5, lexical=0.5, semantic=0.0, personal=0.0)]
    weights = SearchWeights(lexical=1.0, semantic=1.0, personal=0.0)
    made = Found(model=f"{MODEL}:v1", ranked_by=weights, user_id="u", cold_start=False, items=items)
    request = SearchRequest(query="tea", user_id="u", k=3)
    assert desk.desk.recording(lambda _: made, "/v1/search")(request) is made
    users = Similar(model=f"{MODEL}:v1", items=[], users=[SimilarUser(user_id="v", score=0.5)])
    desk.desk.recording(lambda _: users, "/v1/similar")(SimilarRequest(user_id="u", among=["v"]))
    (record,) = desk.records()
    assert record == {
        **record,
        "recommendation_id": made.recommendation_id,
        "endpoint": "/v1/search",
        "items": ["a"],
        "scores": [0.5],
        "user_id": "u",
        "experiment": "",
        "variant": "champion",
        "unit": "user",
        "k": 3,
    }


def test_nothing_of_the_forgotten_is_recorded(desk: Desk) -> None:
    desk.ask(user_id="gone")
    assert desk.records() == []
    assert desk.counts.found == {"forgotten": 1}


def test_a_variant_answers_and_is_recorded_and_counted(desk: Desk) -> None:
    desk.begin("split", 1.0)
    assert desk.ask(user_id="u").model == f"{MODEL}:v2"
    (record,) = desk.records()
    assert (record["experiment"], record["variant"], record["model"]) == ("try", "new", f"{MODEL}:v2")
    assert desk.counts.found["try", "new"] == 1


def test_each_of_many_users_is_answered_by_their_own_variant(desk: Desk) -> None:
    desk.begin("split", 0.5)
    users = [{"user_id": f"user-{n}"} for n in range(20)]
    answer = desk.desk.recommend(RecommendRequest.model_validate({"users": users}), CHAMPION.value, ENDPOINT)
    assert isinstance(answer, RecommendationsList)
    alone = {user["user_id"]: desk.ask(**user).model for user in users}
    assert {one.user_id: one.model for one in answer.answers} == alone
    assert len({*alone.values()}) == 2
    assert len(desk.records()) == 40


def test_what_was_explored_is_recorded_with_its_propensities(desk: Desk) -> None:
    applied = AppliedExploration(kind="epsilon", epsilon=0.1, scale=None, n_candidates=10, seed=7, propensity="exact")
    CHAMPION.value.explored = applied
    try:
        desk.ask(user_id="u")
    finally:
        CHAMPION.value.explored = None
    (record,) = desk.records()
    assert (record["seed"], record["seed_given"], record["propensities"]) == (7, False, [0.5, 0.5, 0.5])


def test_a_seed_that_the_client_names_is_recorded_as_that(desk: Desk) -> None:
    applied = AppliedExploration(kind="epsilon", epsilon=0.1, scale=None, n_candidates=10, seed=7, propensity="exact")
    CHAMPION.value.explored = applied
    try:
        desk.ask(user_id="u", exploration={"kind": "epsilon", "seed": 7})
        desk.ask(user_id="u", exploration={"kind": "epsilon"})
    finally:
        CHAMPION.value.explored = None
    assert [record["seed_given"] for record in desk.records()] == [True, False]


@pytest.mark.parametrize(
    "said",
    [
        {"exclude": ["a"]},
        {"allow": ["a"]},
        {"categories": ["Tea"]},
        {"min_price": 0},
        {"in_stock": False},
        {"attributes": [{"name": "size", "equals": "L"}]},
        {"exclude_seen": False},
        {"seen": {"within_days": 3}},
    ],
)
def test_that_a_request_said_which_items_may_be_shown_is_recorded(desk: Desk, said: dict[str, Any]) -> None:
    desk.ask(user_id="u", **said)
    desk.ask(user_id="u", k=2, context={"items": ["a"]}, exploration={"kind": "epsilon"})
    assert [record["filtered"] for record in desk.records()] == [True, False]


def test_what_is_said_of_experiments(desk: Desk) -> None:
    desk.begin("canary", 0.25)
    desk.ask(user_id="u")
    desk.records()
    assert desk.desk.info().experiments[0].figures is None
    desk.desk._figures.wait(30)
    info = desk.desk.info()
    (told,) = info.experiments
    assert (info.problem, info.pinned, told.state, told.kind) == (None, None, "running", "canary")
    assert [(one.name, one.share, one.version) for one in told.variants] == [
        ("champion", 0.75, None),
        ("new", 0.25, "v2"),
    ]
    assert told.figures is not None
    assert sum(one.answers for one in told.figures.variants) == 1
    assert info.model_dump_json()


def test_an_experiment_that_cannot_be_followed_says_why_and_is_counted(desk: Desk) -> None:
    def fail(*_: Any) -> FakeEngine:
        raise ValueError("a file differs")

    desk.desk._follower._load = fail  # type: ignore[assignment]
    desk.begin("split", 1.0)
    assert desk.ask(user_id="u").model == f"{MODEL}:v1"
    (told,) = desk.desk.info().experiments
    assert told.state == "refused"
    assert told.problem == f"Refused: {MODEL}:v2 cannot be loaded: a file differs"
    assert desk.counts.found["refused"] == 1
    assert desk.desk.problems() == [f"try: {told.problem}"]


def test_the_log_may_be_switched_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENTOML_HOME", str(tmp_path / "bentoml"))
    made = Desk(tmp_path, predictions={"enabled": False})
    made.ask(user_id="u")
    made.desk.close()
    assert not made.layout.predictions.exists()


def test_a_record_names_the_http_request_whatever_is_answered_with_it(desk: Desk) -> None:
    desk.begin("shadow", 1.0)
    with answering(["first"]):
        many = RecommendRequest.model_validate({"users": [{"user_id": "a"}, {"user_id": "b"}]})
    with answering(["second"]):
        one = RecommendRequest(user_id="c")
    desk.desk.recommend_together([many, one], CHAMPION.value, ENDPOINT)
    found = [(record["role"], record["user_id"], record["request_id"]) for record in desk.records()]
    expected = [("a", "first"), ("b", "first"), ("c", "second")]
    assert sorted(found) == sorted((role, *pair) for role in ("shown", "shadow") for pair in expected)
