"""The topology is a snapshot: a change of names, schedules or parameters shows in the diff of this file."""

from flows.deployments import build_deployments, read_topology
from recommender.settings import Recipe

NAMES_AND_SCHEDULES = {
    "pipeline/pipeline": ["0 3 * * 0"],
    "refresh-features/refresh-features": ["15 * * * *"],
    "fine-tune/fine-tune": [],
    "tune/tune": [],
    "monitor/monitor": ["30 4 * * *"],
    "rollback/rollback": [],
    "readmit/readmit": [],
}


def test_names_and_schedules():
    built = build_deployments("simulated", Recipe())
    shown = {f"{d.flow_name}/{d.name}": [s.schedule.cron for s in d.schedules] for d in built}
    assert shown == NAMES_AND_SCHEDULES


def test_every_form_is_filled_in_with_the_shop_and_the_recipe():
    for deployment in build_deployments("vineyard", Recipe(seed=3)):
        params = deployment.parameters["params"]
        assert params["shop"] == "vineyard"
        if deployment.name != "rollback":
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
