"""What `prefect deploy` fills in: whatever the topology names is there, from the file and the environment."""

import re

import pytest

from core.settings.loading import load_settings
from flows.platform.deployments import TOPOLOGY, read_topology
from flows.platform.work_pool import fill_in


@pytest.fixture
def filled(tmp_path, monkeypatch):
    settings = tmp_path / "orders.toml"
    settings.write_text(f'shop = "orders"\nwork_dir = "{tmp_path}"\n[recipe]\nseed = 3\n')
    monkeypatch.setenv("SOMMELIER_SETTINGS", str(settings))
    monkeypatch.setenv("SOMMELIER_LOOP__RETRAINING__LOOKS", "4")
    return fill_in()


def test_every_placeholder_of_the_topology_is_filled_in(filled):
    named = set(re.findall(r"{{ sommelier\.(\w+) }}", TOPOLOGY.read_text()))
    assert named == filled.keys()
    for entry in read_topology():
        assert entry["parameters"] == {"params": f"{{{{ sommelier.{entry['name'].replace('-', '_')} }}}}"}
        assert entry["work_pool"]["job_variables"] == {"env": "{{ sommelier.environment }}"}


def test_the_file_and_the_environment_say_what_runs_take_and_workers_know(filled, tmp_path):
    assert (filled["shop"], filled["pipeline"]["shop"], filled["pipeline"]["recipe"]["seed"]) == ("orders", "orders", 3)
    again = load_settings(variables=filled["environment"])
    assert (again.shop, again.work_dir, again.loop.retraining.looks) == ("orders", tmp_path, 4)
    assert filled["environment"]["BENTOML_HOME"] == str(tmp_path / "bentoml")
    # The worker belongs to a Prefect server of its own.
    assert not {"PREFECT_API_URL", "PREFECT_HOME"} & filled["environment"].keys()
