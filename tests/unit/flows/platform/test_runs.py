"""`sommelier run`: the deployment's own parameters, with those of this run, and a sentence where nothing runs."""

import pytest

from core.errors import NotRunning, SettingsError
from core.layout import Layout
from core.settings.loading import load_settings
from core.settings.tree import Recipe
from flows.params import ForgetParams, PipelineParams, RollbackParams
from flows.platform.prefect_server import FollowedRun
from flows.platform.runs import change_parameters, run_flow
from flows.platform.served_shops import serving
from tests.unit.flows.platform.test_parts import free_port

PIPELINE = {"params": PipelineParams(shop="corner", recipe=Recipe(seed=5)).model_dump(mode="json")}


@pytest.fixture
def settings(tmp_path):
    return load_settings(
        overrides=[f"work_dir={tmp_path}", "shop=corner", f"platform.prefect_port={free_port()}"],
    )


def test_what_a_run_does_not_change_stays_as_the_platform_was_started(monkeypatch):
    changed = change_parameters("pipeline", PIPELINE, ["refresh=true", "recipe.sequence.width=32"])
    params = PipelineParams.model_validate(changed["params"])
    assert (params.shop, params.refresh, params.recipe.seed, params.recipe.sequence.width) == ("corner", True, 5, 32)
    assert PIPELINE["params"]["refresh"] is False
    assert change_parameters("pipeline", PIPELINE, []) == PIPELINE


@pytest.mark.parametrize(
    ("flow", "change", "told"),
    [
        (
            "pipeline",
            "recipe.sequence.widht=32",
            "unknown name recipe.sequence.widht=32, expected a name that there is",
        ),
        ("pipeline", "refresh=perhaps", "refresh='perhaps'"),
        ("rollback", "recipe.seed=3", "unknown name recipe={'seed': 3}"),
        ("rollback", "version", "version, expected name=value"),
    ],
)
def test_an_unknown_parameter_is_named(flow, change, told):
    given = PIPELINE if flow == "pipeline" else {"params": RollbackParams(shop="corner").model_dump()}
    with pytest.raises(SettingsError) as error:
        change_parameters(flow, given, [change])
    assert f"Cannot run {flow}: {told}" in str(error.value)


def test_a_user_may_have_a_number_for_an_id():
    given = {"params": ForgetParams(shop="corner").model_dump(mode="json")}
    assert change_parameters("forget", given, ["user=12345"])["params"]["user"] == "12345"


def test_where_no_server_runs_the_sentence_names_its_port(settings):
    with pytest.raises(NotRunning, match=f"platform.prefect_port={settings.platform.prefect_port}.*sommelier up"):
        run_flow(settings, "pipeline", [], print)


def test_a_shop_that_nobody_serves_is_told(settings, monkeypatch):
    monkeypatch.setattr("flows.platform.prefect_server.server_is_up", lambda _: True)
    with pytest.raises(NotRunning, match=r"shop=corner, whose deployments nobody serves.*sommelier status"):
        run_flow(settings, "pipeline", [], print)


@pytest.mark.parametrize(
    ("waits", "ends"),
    [
        (False, "completed: run run-1"),
        (True, "run calm-owl waits for approval: answer in the Prefect UI, or by sommelier approve calm-owl"),
    ],
)
def test_a_run_of_the_shop_that_is_served(settings, monkeypatch, waits, ends):
    asked, lines = [], []

    def run_deployment(name, show, on_wait, parameters):
        show("ingest: 12 rows")
        asked.append((name, parameters["params"]["refresh"]))
        return FollowedRun("run-1", "calm-owl", waits)

    server = "flows.platform.prefect_server"
    monkeypatch.setattr("flows.platform.runs.enter_environment", lambda _: None)
    monkeypatch.setattr(f"{server}.server_is_up", lambda _: True)
    monkeypatch.setattr(f"{server}.wait_for_deployments", lambda names, revision, *_: asked.append((names, revision)))
    monkeypatch.setattr(f"{server}.read_parameters", lambda _: PIPELINE)
    monkeypatch.setattr(f"{server}.run_deployment", run_deployment)
    with serving(Layout(settings.work_dir, "corner").root, "r1"):
        run_flow(settings, "pipeline", ["refresh=true"], lines.append)
    assert asked == [(["pipeline/pipeline-corner"], "r1"), ("pipeline/pipeline-corner", True)]
    assert "running pipeline of shop corner" in lines[0]
    assert lines[1:] == ["  ingest: 12 rows", ends]


def test_a_password_among_the_parameters_is_refused_and_not_repeated():
    source = '{"kind": "sql", "url": "postgresql://bob:hush@db/shop", "queries": {"items": "SELECT 1"}}'
    with pytest.raises(SettingsError, match=r"\$\{NAME\} in the place of the password") as error:
        change_parameters("pipeline", PIPELINE, [f"recipe.source={source}"])
    assert "hush" not in str(error.value)
