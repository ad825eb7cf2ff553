"""What passes the gate waits for approval: a real run ends its process, and another one goes on with the answer."""

from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import psutil
import pytest
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId, ArtifactFilterKey
from prefect.settings import PREFECT_API_URL, temporary_settings

from core.promotions import read_standing
from flows.errors import NothingWaits
from flows.platform.approvals import answer_run
from flows.promotion.approvals import list_waiting, now
from flows.promotion.model_store import roll_back
from tests.faults.shop import START, USERS, event, recipe_of, write_source
from tests.integration.served_shop import ServedShop

SHOP = "approved"
# Nothing of the figures is tested: whatever is fitted passes.
GATE = {"undecided": "promote", "beat_baseline": "off", "tolerance": 1.0, "approval": "required"}
GUARDRAILS = {"coverage_loss": None, "latency_growth": None, "segment_loss": None, "gap_growth": None}


@pytest.fixture(scope="module")
def shop(tmp_path_factory, prefect_server, flow_environment):
    with temporary_settings({PREFECT_API_URL: prefect_server}):
        work_dir = tmp_path_factory.mktemp("approved")
        source = write_source(work_dir / "source")
        recipe = recipe_of(source, gate={**GATE, "guardrails": GUARDRAILS})
        served = ServedShop(work_dir, SHOP, recipe, flow_environment)
        try:
            assert served.end_of(served.start("pipeline")).type.value == "COMPLETED"
            yield served
        finally:
            served.close()


def begin_waiting(shop, number, **changes):
    """Something new is learned of, and waits."""
    day = START + timedelta(days=8 + number)
    more = [event(f"more-{number}-{user}", user, "tea-1", (day + timedelta(minutes=n)).isoformat(), "view")
            for n, user in enumerate(USERS)]  # fmt: skip
    write_source(Path(shop.recipe.source.path), more)
    run = shop.start("fine-tune", **changes)
    assert shop.wait(lambda: shop.state_of(run).name in ("Suspended", "Completed", "Failed", "Crashed"))
    assert shop.state_of(run).name == "Suspended", shop.state_of(run).message
    # Whoever serves the shop says so once the run's process has ended.
    assert shop.wait(lambda: shop.timeline.newest("run").state == "waiting")
    return run


@pytest.fixture(autouse=True)
def here(shop, prefect_server, monkeypatch):
    """This process finds the shop's model store and server."""
    monkeypatch.setenv("BENTOML_HOME", shop.environment["BENTOML_HOME"])
    monkeypatch.setenv("PREFECT_API_URL", prefect_server)


def standing(shop):
    return read_standing(shop.layout.model_name)


def processes_of(shop, run):
    """Those that do the work of a run."""
    found = []
    for process in psutil.Process(shop.runner.pid).children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            if str(run) in " ".join([*process.cmdline(), *process.environ().values()]):
                found.append(process)
    return found


def finish(shop, run):
    """Let it end; the gate's entry, and what the run left of its decision."""
    assert shop.end_of(run).type.value == "COMPLETED", shop.state_of(run).message
    assert list_waiting(shop.layout) == []
    assert shop.timeline.newest("run").state == "completed"
    found = shop.client.read_artifacts(
        artifact_filter=ArtifactFilter(
            flow_run_id=ArtifactFilterFlowRunId(any_=[run]), key=ArtifactFilterKey(any_=["promotion-decision"])
        )
    )
    return shop.timeline.newest("gate"), max(found, key=lambda one: one.created).data


@pytest.mark.long
def test_what_somebody_approves_goes_into_service_with_their_word(shop):
    before = standing(shop).generation
    run = begin_waiting(shop, 1)
    [waiting] = list_waiting(shop.layout)
    gate, told = shop.timeline.newest("gate"), shop.timeline.newest("run")
    assert (waiting.flow_run_id, gate.state, told.state) == (str(run), "waiting", "waiting")
    # It holds neither a process nor a slot of its deployment, of which there is one.
    assert shop.wait(lambda: not processes_of(shop, run))
    other = shop.start("fine-tune")
    assert shop.end_of(other).type.value == "COMPLETED"
    assert "waits for approval already" in shop.timeline.newest("gate").says
    assert standing(shop).generation == before

    answer_run(shop.settings, "", approve=True, comment="as agreed", by="ann")
    shop.end_of(run)
    after, said = shop.timeline.find(gate.id), standing(shop)
    assert (after.state, after.details["approval"]["by"]) == ("promoted", "ann")
    assert said.generation == before + 1
    assert said.changes[-1].reason.endswith("; approved by ann (as agreed)")
    assert said.in_service.digest == waiting.digest
    assert said.in_service.labels["approved_by"] == "ann"
    assert shop.timeline.newest("promotion").cause == gate.id
    # Nobody is asked again about what is in service.
    assert shop.end_of(shop.start("fine-tune")).type.value == "COMPLETED"
    assert shop.timeline.newest("gate").state == "unchanged"


@pytest.mark.slow
def test_what_somebody_refuses_in_the_form_leaves_what_is_in_service(shop):
    before = standing(shop).generation
    run = begin_waiting(shop, 2)
    [waiting] = list_waiting(shop.layout)
    keyset = shop.state_of(run).state_details.run_input_keyset
    form = shop.client.request(
        "GET", "/flow_runs/{id}/input/{key}", path_params={"id": run, "key": keyset["description"]}
    )
    assert "waits for approval" in form.text
    assert waiting.decision.reason in form.text
    # As the Prefect UI does it.
    answered = shop.client.resume_flow_run(run, {"approve": False, "by": "bob", "comment": "not before Easter"})
    assert answered.status.value == "ACCEPT"
    gate, left = finish(shop, run)
    assert (gate.state, standing(shop).generation) == ("refused", before)
    assert gate.says.endswith("; refused by bob (not before Easter).")
    assert "refused by bob (not before Easter)" in left


@pytest.mark.slow
def test_what_nobody_approves_in_time_ends_with_what_is_in_service(shop):
    before = standing(shop).generation
    recipe = shop.recipe.model_dump(mode="json")
    run = begin_waiting(shop, 3, recipe={**recipe, "gate": {**recipe["gate"], "approval_h": 0.0003}})
    shop.wait(lambda: list_waiting(shop.layout)[0].is_late(now()))
    assert shop.end_of(shop.start("follow-canary")).type.value == "COMPLETED"
    gate, left = finish(shop, run)
    assert (gate.state, standing(shop).generation) == ("refused", before)
    assert gate.says.endswith("; not approved in time.")
    assert "not approved in time" in left


@pytest.mark.slow
def test_an_approval_counts_only_against_what_the_candidate_was_compared_with(shop):
    run = begin_waiting(shop, 4)
    roll_back(shop.layout.model_name, reason="meanwhile")
    generation = standing(shop).generation
    answer_run(shop.settings, str(run), approve=True, comment="", by="ann")
    gate, _ = finish(shop, run)
    assert (gate.state, standing(shop).generation) == ("refused", generation)
    assert gate.says.endswith("approved by ann, but what is in service changed since: run the flow again.")
    with pytest.raises(NothingWaits, match="waiting: none"):
        answer_run(shop.settings, str(run), approve=True, comment="", by="ann")
