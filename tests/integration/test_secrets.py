"""Nothing secret reaches Prefect's database, its logs or the work folder, whoever typed it and wherever it is used."""

import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.sorting import LogSort
from prefect.exceptions import PrefectHTTPStatusError
from prefect.settings import PREFECT_API_URL, temporary_settings

from core.layout import Layout
from core.settings.loading import load_settings
from core.settings.source import SqlSource
from core.settings.tree import Recipe
from flows.params import PipelineParams
from flows.platform.deployments import build_deployments
from flows.refresh_features import refresh_features
from validation.errors import DataGateError

SECRET = "hush-7c1f2ab9"
QUERIES = {"interactions": "SELECT who AS user_id, what AS item_id, at AS timestamp FROM log"}


@pytest.fixture
def client(prefect_server):
    with temporary_settings({PREFECT_API_URL: prefect_server}), get_client(sync_client=True) as made:
        yield made


@pytest.fixture
def prefect_home(client):
    """The folder of Prefect's database, and beside it that of the server's log."""
    return Path(client.request("GET", "/admin/settings").json()["home"]).parent


def holding(folder):
    """The files below a folder that hold the secret."""
    return [file for file in folder.rglob("*") if file.is_file() and SECRET.encode() in file.read_bytes()]


def newest_logs(client):
    """The lines that the server has, the newest first."""
    return client.read_logs(sort=LogSort.TIMESTAMP_DESC)


def with_url(url):
    recipe = Recipe().model_dump(mode="json") | {"source": {"kind": "sql", "url": url, "queries": QUERIES}}
    return {"params": {"shop": "secret", "recipe": recipe}}


@pytest.mark.parametrize("url", [f"postgresql://bob:{SECRET}@db/shop", f"postgresql://db/shop?password={SECRET}"])
def test_a_password_typed_into_the_form_is_refused_before_it_is_stored(client, prefect_home, url):
    for found in build_deployments("secret", Recipe()):
        if found.flow_name not in ("pipeline", "tune", "readmit"):
            continue
        deployment = found.apply()
        assert client.create_flow_run_from_deployment(deployment, parameters=with_url("postgresql://bob:${PW}@db/shop"))
        with pytest.raises(PrefectHTTPStatusError, match="409"):
            client.create_flow_run_from_deployment(deployment, parameters=with_url(url))
        with pytest.raises(PrefectHTTPStatusError, match="409"):
            client._client.patch(f"/deployments/{deployment}", json={"parameters": with_url(url)})
    assert holding(prefect_home) == []


@pytest.mark.parametrize(
    "server", ["sqlite://bob:${SHOP_PASSWORD}@/", "postgresql://bob:${SHOP_PASSWORD}@127.0.0.1:1/"]
)
def test_the_value_of_a_variable_is_left_nowhere(client, prefect_home, tmp_path, monkeypatch, server):
    monkeypatch.setenv("SHOP_PASSWORD", SECRET)
    monkeypatch.setenv("SOMMELIER_WORK_DIR", str(tmp_path / "work"))
    database = tmp_path / "shop.sqlite"
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("CREATE TABLE log (who TEXT, what TEXT, at TEXT)")
        connection.execute("INSERT INTO log VALUES ('u', 'i', '2025-01-02')")
        connection.commit()
    recipe = Recipe(source=SqlSource(url=f"{server}{database}", queries=QUERIES))
    # Too few rows for the gate, or no server at all: both stop with an error that names the source.
    with pytest.raises(DataGateError):
        refresh_features(PipelineParams(shop="secret", recipe=recipe))
    deadline = time.monotonic() + 20
    # The newest: the server of all tests has the lines of other runs too, and gives two hundred at a time.
    while not any("127.0.0.1" in line.message or "rows" in line.message for line in newest_logs(client)):
        assert time.monotonic() < deadline, "the run's log did not arrive"
        time.sleep(0.2)
    assert holding(prefect_home) == []
    assert holding(tmp_path / "work") == []
    shop = Layout(tmp_path / "work", "secret")
    assert (shop.root / "raw").exists() == server.startswith("sqlite")
    assert SECRET not in load_settings().model_dump_json()
