"""The Dockerfile and the compose file: they hold to their schema, name what is there, and open no more than needed."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from core.settings.loading import VARIABLE_PREFIX, load_settings
from flows.environment import QUIET, child_environment
from serving.operations.reports import settle_address
from tests.contract.composed import COMPOSE, FOREIGN, services
from tests.contract.documents import ROOT
from tests.contract.test_wheel import PACKAGES

DOCKERFILE = (ROOT / "deployments" / "docker" / "Dockerfile").read_text()
OURS = sorted(services().keys() - FOREIGN)


def test_the_compose_file_holds_to_the_schema_of_compose(tmp_path: Path):
    check = [str(Path(sys.executable).with_name("check-jsonschema")), "--builtin-schema", "vendor.compose-spec"]
    assert subprocess.run([*check, COMPOSE], check=False, capture_output=True).returncode == 0
    wrong = tmp_path / "compose.yaml"
    wrong.write_text(COMPOSE.read_text().replace("depends_on:", "depend_on:"))
    assert subprocess.run([*check, wrong], check=False, capture_output=True).returncode == 1


def test_what_services_refer_to_is_declared_and_there():
    whole = yaml.safe_load(COMPOSE.read_text())
    for name, service in services().items():
        assert set(service["networks"]) <= whole["networks"].keys(), name
        assert set(service.get("secrets", ())) <= whole["secrets"].keys(), name
        assert set(service.get("depends_on", ())) <= whole["services"].keys(), name
        for volume in service["volumes"]:
            source = volume.split(":")[0]
            assert source in whole["volumes"] or (COMPOSE.parent / source).exists(), volume
        assert "healthcheck" in service, name


@pytest.mark.parametrize("name", OURS)
def test_a_service_of_ours_runs_with_as_little_as_it_needs(name: str):
    service = services()[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["command"]


@pytest.mark.parametrize("name", sorted(services()))
def test_ports_are_open_to_this_machine_alone_and_no_secret_is_written_down(name: str):
    service = services()[name]
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ()))
    assert not (FOREIGN & {"postgres", "redis"} & {name} and "ports" in service)
    for variable, value in service["environment"].items():
        if re.search("PASSWORD|SECRET|TOKEN", variable):
            assert str(value).startswith("/run/secrets/"), variable
    for path in (str(value) for value in service["environment"].values()):
        if path.startswith("/run/secrets/"):
            assert path.removeprefix("/run/secrets/") in service["secrets"]


@pytest.mark.parametrize("name", OURS)
def test_its_settings_are_taken(name: str):
    given = services()[name]["environment"]
    settings = load_settings(variables={key: str(value) for key, value in given.items()})
    if any(key.startswith(f"{VARIABLE_PREFIX}FEATURE_STORE") for key in given):
        assert settings.feature_store.online == "redis"
        assert settings.platform.url_of("prefect") == "http://prefect:4200"
        assert settings.feature_store.postgres == "postgresql://sommelier:${POSTGRES_PASSWORD}@postgres:5432/sommelier"


@pytest.mark.parametrize("name", OURS)
def test_what_the_user_says_counts_before_what_compose_says(name: str):
    ours = {key: value for key, value in services()[name]["environment"].items() if key.startswith(VARIABLE_PREFIX)}
    own = dict.fromkeys(ours, "own")
    given = services(own)[name]["environment"]
    assert {key: given[key] for key in ours} == own
    assert {"SOMMELIER_SHOP", "SOMMELIER_PLATFORM__REPORTS_PAGE"} <= ours.keys()


def test_the_prefect_server_keeps_what_runs_left_as_long_as_the_settings_say():
    given = services()["prefect"]["environment"]
    told = child_environment(load_settings(variables=given))
    names = [name for name in told if "_VACUUM_" in name or "_RETENTION_" in name]
    assert len(names) == 3
    assert {name: given[name] for name in names} == {name: told[name] for name in names}


def test_the_service_answers_those_beyond_its_container_with_a_key_alone():
    given = services()["service"]["environment"]
    settings = load_settings(variables={key: str(value) for key, value in given.items()})
    assert settings.needs_keys
    settings.check_exposure()


def test_the_reports_answer_those_beyond_their_container_with_a_key_alone():
    given = {key: str(value) for key, value in services()["reports"]["environment"].items()}
    program, *options = services()["reports"]["command"][2:]
    settings = settle_address(options, given)
    assert program == "serving.operations.reports"
    assert settings.needs_keys_at("reports")
    settings.check_exposure(["reports"])


def test_the_image_is_built_of_exact_versions_and_runs_as_nobody_in_particular():
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    weights = tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]["weights"]
    assert services()["service"]["image"] == f"sommelier:{version}"
    assert all(one in DOCKERFILE for one in weights)
    assert DOCKERFILE.index("USER 10001:10001") < DOCKERFILE.index("ENTRYPOINT")
    assert DOCKERFILE.count("\nFROM ") == 2
    for line in re.findall(r"^.*pip install .*$", DOCKERFILE, flags=re.MULTILINE):
        assert "--no-deps" in line, line
    for name in ("DO_NOT_TRACK", "PREFECT_SERVER_ANALYTICS_ENABLED", "BENTOML_DO_NOT_TRACK", "HF_HUB_OFFLINE"):
        assert f"{name}={QUIET[name]}" in DOCKERFILE
    for path in re.findall(r"^COPY (?:--chmod=\d+ )?(deployments/\S+)", DOCKERFILE, flags=re.MULTILINE):
        assert (ROOT / path).is_file(), path


def test_the_image_is_built_of_what_the_wheel_is_built_of():
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    assert "*" in lines
    assert {line[1:] for line in lines if line.startswith("!")} == {*PACKAGES, "LICENSE", "README.md", "pyproject.toml"}


def test_settings_of_whoever_runs_it_go_into_no_image():
    """The last line that a path matches counts."""
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    own = [
        file["path"]
        for file in yaml.safe_load(COMPOSE.read_text())["x-sommelier"]["env_file"]
        if not file.get("required", True)
    ]
    assert own == ["sommelier.env"]
    assert lines.index("deployments/sommelier.env") > max(lines.index(line) for line in lines if line.startswith("!"))


def test_secrets_come_from_files(tmp_path: Path):
    (tmp_path / "secret").write_text("a b'c\"$d\n")
    ran = subprocess.run(
        [ROOT / "deployments" / "docker" / "with-secrets", sys.executable, "-c", "import os; print(dict(os.environ))"],
        env={"FROM_FILE_NAME": str(tmp_path / "secret"), "PATH": "/usr/bin:/bin"},
        check=True,
        capture_output=True,
        text=True,
    )
    assert f"'NAME': {'a b' + chr(39) + 'c' + chr(34) + '$d'!r}" in ran.stdout
    assert "FROM_FILE_NAME" not in ran.stdout
