"""The manifests for a cluster: valid by Kubernetes' own schemas, and the same commands and settings as compose's.

Those are run as they stand in `tests/integration/test_containers.py`.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from typing import Any

import httpx
import kubernetes_validate
import pytest
import yaml

from core.settings.loading import load_settings
from flows.platform.prefect_server import server_is_up
from tests.contract.composed import FOREIGN, services
from tests.contract.documents import ROOT

FOLDER = ROOT / "deployments" / "kubernetes"
VERSION = "1.31"
KUSTOMIZATION = yaml.safe_load((FOLDER / "kustomization.yaml").read_text(encoding="utf-8"))
# In a cluster these are the business of whoever runs it.
LEFT_OUT = {"prometheus", "grafana"}


def manifests() -> Iterator[dict[str, Any]]:
    for name in KUSTOMIZATION["resources"]:
        yield from yaml.safe_load_all((FOLDER / name).read_text(encoding="utf-8"))


def settings() -> dict[str, str]:
    lines = (FOLDER / "settings.env").read_text(encoding="utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines)


def pods() -> dict[str, dict[str, Any]]:
    """Name of a workload to what its pods are."""
    found = [one for one in manifests() if one["kind"] in ("Deployment", "StatefulSet")]
    return {one["metadata"]["name"]: one["spec"]["template"] for one in found}


def containers() -> dict[str, dict[str, Any]]:
    return {one["name"]: one for pod in pods().values() for one in pod["spec"]["containers"]}


def environment(container: dict[str, Any]) -> dict[str, str | None]:
    """Its variables; None for one that comes from a secret."""
    shared = settings() if container.get("envFrom") == [{"configMapRef": {"name": "sommelier-settings"}}] else {}
    return {**shared, **{one["name"]: one.get("value") for one in container.get("env", ())}}


@pytest.mark.parametrize("manifest", manifests(), ids=lambda one: f"{one['kind']}-{one['metadata']['name']}")
def test_a_manifest_holds_to_the_schema_of_its_kind(manifest: dict[str, Any]) -> None:
    kubernetes_validate.validate(manifest, VERSION, strict=True)


def test_a_manifest_with_a_misspelt_field_would_be_seen() -> None:
    manifest = next(one for one in manifests() if one["kind"] == "Deployment")
    manifest["spec"]["template"]["spec"]["containers"][0]["livenesProbe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError, match="livenesProbe"):
        kubernetes_validate.validate(manifest, VERSION, strict=True)


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="there is no kubectl here")
def test_kustomize_puts_them_together() -> None:
    built = subprocess.run(["kubectl", "kustomize", FOLDER], capture_output=True, text=True, check=True).stdout
    made = list(yaml.safe_load_all(built))
    assert {one["metadata"].get("namespace") for one in made} == {"sommelier"}
    images = {
        container["image"]
        for one in made
        if one["kind"] in ("Deployment", "StatefulSet")
        for container in one["spec"]["template"]["spec"]["containers"]
    }
    assert images == {"sommelier:0.1.0", "postgres:17-alpine", "redis:7.4-alpine"}


def test_every_part_of_compose_is_there_with_its_command() -> None:
    composed, there = services(), containers()
    assert set(composed) - LEFT_OUT == set(there)
    for name, container in there.items():
        if "command" in composed[name]:
            assert container["args"] == composed[name]["command"], name


@pytest.mark.parametrize("name", sorted(set(services()) - FOREIGN))
def test_its_environment_is_that_of_compose(name: str) -> None:
    composed = dict(services()[name]["environment"])
    secrets = {variable.removeprefix("FROM_FILE_") for variable in composed if variable.startswith("FROM_FILE_")}
    plain = {key: str(value) for key, value in composed.items() if not key.startswith("FROM_FILE_")}
    found = environment(containers()[name])
    if name == "prefect":  # Its database is elsewhere, so that it needs no volume.
        assert found.pop("PREFECT_HOME") == "/tmp/prefect"
        plain.pop("PREFECT_HOME")
    # Of the parts none is open to a browser of this machine.
    plain = {key: value for key, value in plain.items() if not key.endswith("_PAGE")}
    assert {key: value for key, value in found.items() if value is not None} == plain
    assert {key for key, value in found.items() if value is None} == secrets


def test_the_flows_take_the_prefect_server_beside_them(monkeypatch: pytest.MonkeyPatch) -> None:
    home = environment(containers()["prefect"])["PREFECT_HOME"]
    asked: list[str] = []

    def answer(url: str, **_: object) -> httpx.Response:
        asked.append(url)
        return httpx.Response(200, json={"home": home})

    monkeypatch.setattr("flows.platform.prefect_server.httpx.get", answer)
    given = {key: value for key, value in environment(containers()["flows"]).items() if value is not None}
    assert server_is_up(load_settings(variables=given))
    assert asked == ["http://prefect:4200/api/admin/settings"]


def test_databases_are_made_as_in_compose() -> None:
    made = (FOLDER / "databases.sql").read_text(encoding="utf-8")
    assert made == (ROOT / "deployments" / "compose" / "databases.sql").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", sorted(containers()))
def test_a_container_has_few_rights_and_limits_and_is_watched(name: str) -> None:
    container = containers()[name]
    assert container["securityContext"]["allowPrivilegeEscalation"] is False
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert {"cpu", "memory"} <= set(container["resources"]["requests"])
    assert "memory" in container["resources"]["limits"]
    assert "livenessProbe" in container
    ports = {port["name"] for port in container.get("ports", ())}
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        if asked := container.get(probe, {}).get("httpGet"):
            assert asked["port"] in ports


@pytest.mark.parametrize("name", sorted(pods()))
def test_a_pod_runs_as_nobody_in_particular_and_knows_nothing_of_the_cluster(name: str) -> None:
    spec = pods()[name]["spec"]
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["automountServiceAccountToken"] is False
    volumes = {volume["name"] for volume in spec.get("volumes", ())} | {"data"}
    mounted = {mount["name"] for one in spec["containers"] for mount in one["volumeMounts"]}
    assert mounted <= volumes


def test_whoever_mounts_the_work_folder_runs_on_the_node_of_the_flows() -> None:
    """The logs in it are SQLite files."""
    for name, pod in pods().items():
        volumes = pod["spec"].get("volumes", ())
        if name == "flows" or not any("persistentVolumeClaim" in volume for volume in volumes):
            continue
        (rule,) = pod["spec"]["affinity"]["podAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
        assert rule["topologyKey"] == "kubernetes.io/hostname"
        assert rule["labelSelector"]["matchLabels"] == {"app.kubernetes.io/name": "flows"}


def test_the_autoscaler_has_the_service_alone_grow_and_nothing_takes_that_back() -> None:
    scaler = yaml.safe_load((FOLDER / "autoscaling.yaml").read_text(encoding="utf-8"))
    kubernetes_validate.validate(scaler, VERSION, strict=True)
    assert "autoscaling.yaml" not in KUSTOMIZATION["resources"]  # a cluster without a metrics server has no use for it
    target = scaler["spec"]["scaleTargetRef"]
    (scaled,) = [
        one for one in manifests() if one["kind"] == "Deployment" and one["metadata"]["name"] == target["name"]
    ]
    assert target == {"apiVersion": scaled["apiVersion"], "kind": "Deployment", "name": "service"}
    assert "replicas" not in scaled["spec"]
    # Of a pod without a request for processor time no share can be told.
    assert "cpu" in containers()["service"]["resources"]["requests"]


def test_stores_are_reached_by_those_alone_who_need_them() -> None:
    policies = {one["metadata"]["name"]: one["spec"] for one in manifests() if one["kind"] == "NetworkPolicy"}
    assert policies["closed"] == {"podSelector": {}, "policyTypes": ["Ingress"]}
    assert policies["stores"]["egress"] == []
    needing = {name for name, pod in pods().items() if pod["metadata"]["labels"].get("sommelier.stores") == "true"}
    assert needing == {"prefect", "flows", "service"}


def test_no_secret_is_written_down() -> None:
    assert not [one for one in manifests() if one["kind"] == "Secret"]
    texts = "".join(file.read_text(encoding="utf-8") for file in FOLDER.iterdir())
    assert texts.count("secretKeyRef: {name: sommelier-secrets, key: postgres_password}") == 4
