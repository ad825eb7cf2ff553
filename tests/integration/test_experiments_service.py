"""Experiments on the running service: who is answered by what, what overrules, and no request that fails meanwhile."""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from benchmarks.experiments import __main__ as benchmark
from core import experiments
from core.logs.predictions import read_predictions
from core.promotions import RECORD as IN_SERVICE
from core.promotions import model_folder
from flows.promotion.experiments import pin_version, start_experiment
from tests.integration.running_service import Running, start_service
from tests.integration.serving_shop import USERS, TinyShop, copy_shop

RECOMMEND = "/v1/recommend"


@pytest.fixture(scope="module")
def shop(built_shop: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TinyShop]:
    made = copy_shop(built_shop, tmp_path_factory.mktemp("shop"))
    before = os.environ.get("BENTOML_HOME")
    os.environ["BENTOML_HOME"] = str(made.layout.work_dir / "bentoml")
    yield made
    os.environ.pop("BENTOML_HOME")
    if before is not None:
        os.environ["BENTOML_HOME"] = before


@pytest.fixture(scope="module")
def running(shop: TinyShop) -> Iterator[Running]:
    with start_service(shop, "service", experiments={"figures_s": 1.0, "click_window_s": 10.0}) as started:
        started.put_in_service(shop.whole)
        yield started


@pytest.fixture
def service(running: Running) -> Iterator[Running]:
    """The running service with the whole bundle, and no experiment."""
    name = running.shop.layout.model_name
    yield running
    (model_folder(name) / experiments.RECORD).unlink(missing_ok=True)
    running.wait_for(lambda: told(running)["experiments"] == [] and told(running)["pinned"] is None)


def told(service: Running) -> dict[str, Any]:
    answer = service.client.get("/v1/experiments")
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def state_of(service: Running, name: str) -> str | None:
    return next((one["state"] for one in told(service)["experiments"] if one["name"] == name), None)


def begin(service: Running, name: str, kind: Any = "split", share: float = 0.5) -> None:
    start_experiment(service.shop.layout, name, kind, {"new": (str(service.shop.bare), share)})
    service.wait_for(lambda: state_of(service, name) == "running")


def models(service: Running) -> dict[str, str]:
    """The bundle that answers each user."""
    return {user: service.client.post(RECOMMEND, json={"user_id": user, "k": 3}).json()["model"] for user in USERS}


def test_a_split_shows_each_user_the_same_bundle_every_time(service: Running) -> None:
    begin(service, "spring")
    first = models(service)
    assert first == models(service)
    champion = service.model()["model"]
    others = [model for model in first.values() if model != champion]
    assert 15 < len(others) < 45
    assert all(":candidate-" in model for model in others)


def test_what_is_shown_is_logged_and_clicks_are_counted(service: Running) -> None:
    begin(service, "summer")
    clicked = 0
    for user in USERS:
        answer = service.client.post(RECOMMEND, json={"user_id": user, "k": 3}).json()
        if ":candidate-" in answer["model"]:
            event = {"user_id": user, "item_id": answer["items"][0]["item_id"], "event": "click"}
            event |= {"recommendation_id": answer["recommendation_id"], "position": 1}
            assert service.client.post("/v1/events", json={"events": [event]}).status_code == 200
            clicked += 1

    def variants() -> list[dict[str, Any]]:
        (one,) = [one for one in told(service)["experiments"] if one["name"] == "summer"]
        return one["figures"]["variants"] if one["figures"] else []

    # Rates are of lists that can no longer be clicked.
    service.wait_for(lambda: any(one["hit_rate"] for one in variants() if one["variant"] == "new"))
    champion, new = variants()
    assert champion["answers"] + new["answers"] == len(USERS)
    assert (new["answers"], new["clicks"], champion["clicks"]) == (clicked, clicked, 0)
    assert new["hit_rate"]["value"] == 1.0
    assert new["ctr"]["value"] == pytest.approx(1 / 3)
    records = [one for one in read_predictions(service.shop.layout.predictions) if one.get("experiment") == "summer"]
    assert {one["user_id"] for one in records} == {*USERS}
    metrics = service.client.get("/metrics").text
    assert 'sommelier_variant_duration_seconds_count{experiment="summer",variant="new"}' in metrics
    assert 'sommelier_predictions_total{outcome="written"}' in metrics


def test_a_shadow_is_never_shown(service: Running) -> None:
    begin(service, "beside", "shadow", 1.0)
    champion = service.model()["model"]
    assert {*models(service).values()} == {champion}

    def compared() -> list[dict[str, Any]]:
        return [one for one in read_predictions(service.shop.layout.predictions) if one.get("role") == "shadow"]

    service.wait_for(lambda: len(compared()) >= 20)
    shadow = compared()[0]
    assert (shadow["experiment"], shadow["variant"]) == ("beside", "new")
    assert ":candidate-" in shadow["model"]
    assert 0 <= shadow["overlap"] <= 1


def test_a_damaged_variant_is_refused_and_everybody_gets_the_bundle_in_service(service: Running) -> None:
    layout = service.shop.layout
    broken = layout.bundle("broken")
    shutil.copytree(service.shop.bare, broken)
    start_experiment(layout, "broken", "split", {"new": (str(broken), 1.0)})
    service.wait_for(lambda: state_of(service, "broken") == "running" and len({*models(service).values()}) == 1)
    experiments.stop(layout.model_name, "broken")
    service.wait_for(lambda: state_of(service, "broken") == "stopped")
    begun = experiments.read_experiments(layout.model_name).find("broken")
    assert begun is not None
    (broken / "vectors" / "ids.json").write_text("[]")
    experiments.start(layout.model_name, begun.model_copy(update={"name": "again", "stopped_at": None}))
    service.wait_for(lambda: state_of(service, "again") == "refused")
    (one,) = [one for one in told(service)["experiments"] if one["name"] == "again"]
    assert "Cannot load bundle: vectors/ids.json=" in one["problem"]
    assert service.model()["experiment_problems"] == [f"again: {one['problem']}"]
    assert {*models(service).values()} == {service.model()["model"]}
    assert "sommelier_experiments_refused 1.0" in service.client.get("/metrics").text
    shutil.rmtree(broken)


def test_a_pin_beats_an_experiment_and_what_is_promoted_and_a_rollback_lifts_it(service: Running) -> None:
    layout = service.shop.layout
    whole = service.model()["model"]
    begin(service, "autumn", share=1.0)
    bare = service.promote(service.shop.bare)
    service.wait_for(lambda: service.model()["model"] == bare)
    pin_version(layout, whole.rpartition(":")[2])
    service.wait_for(lambda: service.model()["model"] == whole)
    service.wait_for(lambda: state_of(service, "autumn") == "overruled")
    assert {*models(service).values()} == {whole}
    assert told(service)["pinned"] == whole.rpartition(":")[2]
    back = service.roll_back()
    service.wait_for(lambda: told(service)["pinned"] is None)
    assert back == whole
    service.wait_for(lambda: service.model()["model"] == back)

    def problem() -> str:
        return str(next(one for one in told(service)["experiments"] if one["name"] == "autumn")["problem"])

    service.wait_for(lambda: "a rollback at" in problem())
    assert state_of(service, "autumn") == "overruled"


@pytest.fixture
def load(running: Running) -> Iterator[Callable[[], tuple[list[int], list[float]]]]:
    """Two clients that ask without a pause; calling it ends them, and gives the statuses and the seconds."""
    statuses: list[int] = []
    seconds: list[float] = []
    stopping = threading.Event()

    def ask(number: int) -> None:
        with httpx.Client(base_url=running.client.base_url, timeout=30) as client:
            turn = number
            while not stopping.is_set():
                started = time.perf_counter()
                statuses.append(client.post(RECOMMEND, json={"user_id": USERS[turn % len(USERS)], "k": 5}).status_code)
                seconds.append(time.perf_counter() - started)
                turn += 1

    clients = [threading.Thread(target=ask, args=(number,)) for number in range(2)]
    for client in clients:
        client.start()

    def end() -> tuple[list[int], list[float]]:
        stopping.set()
        for client in clients:
            client.join()
        return statuses, seconds

    yield end
    end()


def test_experiments_start_and_stop_under_load_and_no_request_fails(
    service: Running, load: Callable[[], tuple[list[int], list[float]]]
) -> None:
    layout = service.shop.layout
    for number in range(3):
        begin(service, f"turn-{number}", share=0.5)
        service.wait_for(lambda: len({*models(service).values()}) == 2)
        experiments.stop(layout.model_name, f"turn-{number}")
        service.wait_for(lambda: len({*models(service).values()}) == 1)
    whole = service.model()["model"]
    service.put_in_service(service.shop.bare)
    service.roll_back()
    service.wait_for(lambda: service.model()["model"] == whole)
    statuses, seconds = load()
    assert {*statuses} == {200}
    assert len(statuses) > 200
    assert max(seconds) < 10  # a benchmark measures the pause


def test_what_experiments_cost_is_measured(service: Running, capsys: pytest.CaptureFixture[str]) -> None:
    layout = service.shop.layout
    benchmark.main(["--work-dir", str(layout.work_dir), "--shop", layout.shop, "--requests", "20", "--loads", "1"])
    said = capsys.readouterr().out
    assert "what choosing and recording add, until it is on the disk" in said
    assert "memory of a second bundle that shares nothing" in said


def test_the_record_of_what_is_in_service_was_never_copied(service: Running) -> None:
    """An experiment names bundles where they lie: the store holds what was promoted, and nothing more."""
    folder = model_folder(service.shop.layout.model_name)
    versions = [path for path in folder.iterdir() if path.is_dir()]
    changes = (folder / IN_SERVICE).read_text()
    assert all(path.name in changes for path in versions)
    assert Path(service.shop.bare).is_dir()
