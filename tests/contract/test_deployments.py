"""The topology is a snapshot: a change of names, schedules or parameters shows in the diff of this file."""

from core.settings.loading import load_settings
from core.settings.tree import Recipe
from flows.platform.deployments import (
    RUNS_AT_ONCE,
    build_deployments,
    by_queue,
    deployment_name,
    new_revision,
    read_topology,
)

NAMES_AND_SCHEDULES = {
    "pipeline/pipeline-simulated": ["0 3 * * 0"],
    "refresh-features/refresh-features-simulated": ["15 * * * *"],
    "fine-tune/fine-tune-simulated": [],
    "tune/tune-simulated": [],
    "write-feedback/write-feedback-simulated": [],
    "monitor/monitor-simulated": ["30 4 * * *"],
    "follow-canary/follow-canary-simulated": ["*/30 * * * *"],
    "rollback/rollback-simulated": [],
    "readmit/readmit-simulated": [],
    "forget/forget-simulated": [],
}


def test_names_and_schedules():
    built = build_deployments("simulated", Recipe())
    shown = {f"{d.flow_name}/{d.name}": [s.schedule.cron for s in d.schedules] for d in built}
    assert shown == NAMES_AND_SCHEDULES
    assert list(shown) == [deployment_name(entry["name"], "simulated") for entry in read_topology()]


def test_each_carries_its_shop_and_the_revision_of_its_launch():
    for deployment in build_deployments("vineyard", Recipe(), revision="r1"):
        assert deployment.name.endswith("-vineyard")
        assert {"sommelier", "shop:vineyard"} <= set(deployment.tags)
        assert deployment.version == "r1"


def test_no_two_launches_share_a_revision_and_equal_settings_share_the_digest():
    given, other = load_settings(), load_settings(overrides=["recipe.seed=8"])
    first, again, changed = (new_revision(settings) for settings in (given, given, other))
    assert len({first, again, changed}) == 3
    assert first.partition("-")[0] == again.partition("-")[0] != changed.partition("-")[0]


def test_every_form_is_filled_in_with_the_shop_and_the_recipe():
    for deployment in build_deployments("vineyard", Recipe(seed=3)):
        params = deployment.parameters["params"]
        assert params["shop"] == "vineyard"
        if deployment.name not in ("rollback-vineyard", "write-feedback-vineyard", "follow-canary-vineyard"):
            assert params["recipe"]["seed"] == 3


def test_an_unknown_parameter_is_refused_by_the_schema():
    for deployment in build_deployments("simulated", Recipe()):
        definitions = deployment._parameter_openapi_schema.definitions
        closed = [d for d in definitions.values() if d.get("type") == "object"]
        assert closed
        assert all(d["additionalProperties"] is False for d in closed)


def test_every_deployment_says_what_it_is_for_and_runs_once_at_a_time():
    for entry in read_topology():
        assert entry["description"].endswith(".")
        assert entry["concurrency_limit"] == 1


def test_what_monitor_wants_starts_the_deployments_of_its_shop_alone():
    started = {}
    for deployment in build_deployments("vineyard", Recipe()):
        for trigger in deployment.triggers:
            assert trigger.match.model_dump() == {"prefect.resource.id": "sommelier.shop.vineyard"}
            started[deployment.flow_name] = trigger.expect
    assert started == {flow: {f"sommelier.wanted.{flow}"} for flow in ("pipeline", "refresh-features", "fine-tune")}


def test_a_rollback_forgetting_and_the_look_at_a_canary_have_slots_that_no_other_run_takes():
    queues = by_queue(build_deployments("simulated", Recipe()))
    for flow, queue in (("rollback", "rollback"), ("forget", "forget"), ("follow-canary", "canary")):
        assert [deployment.flow_name for deployment in queues[queue]] == [flow]
    assert queues.keys() == RUNS_AT_ONCE.keys()
    assert sum(len(built) for built in queues.values()) == len(NAMES_AND_SCHEDULES)
