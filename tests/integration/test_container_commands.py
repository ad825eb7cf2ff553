"""Each command of the compose file, run as it stands with the environment that it sets, but at addresses of this test.

No container engine is needed for that. What the images of other makers run is left to their makers.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import httpx
import pytest

from tests.contract.composed import FOREIGN, services
from tests.contract.documents import ROOT
from tests.integration.features.servers import postgres_url, redis_client
from tests.integration.running_service import free_port, stop

pytestmark = pytest.mark.long

HERE = "127.0.0.1"
PLACE = "/var/lib/sommelier"
WAIT_S = 120
PATHS = {"prefect": "/api/health", "service": "/livez", "monitoring": "/", "reports": "/"}
PORTS = {"prefect": "4200", "service": "3000", "monitoring": "8000", "reports": "8010"}


class Stack:
    """Where the parts of the compose file are in this test."""

    def __init__(self, folder: Path, database: str, url: str) -> None:
        self.work, self.secrets = folder / "work", folder / "secrets"
        self.work.mkdir()
        self.secrets.mkdir()
        (self.secrets / "postgres_password").write_text("unused-here\n")
        self.ports = {name: str(free_port()) for name in PORTS}
        at = urlsplit(url)
        self.swaps = {
            "PREFECT_SERVER_DATABASE_HOST": at.hostname or HERE,
            "PREFECT_SERVER_DATABASE_PORT": str(at.port),
            "PREFECT_SERVER_DATABASE_USER": at.username or os.environ.get("USER", "root"),
            "PREFECT_SERVER_DATABASE_NAME": database,
            "SOMMELIER_PLATFORM__PREFECT_HOST": HERE,
            "SOMMELIER_FEATURE_STORE__POSTGRES": url,
            "SOMMELIER_FEATURE_STORE__REDIS": "127.0.0.1:6379",
        }

    def moved(self, text: str) -> str:
        """A path or an address as it is here."""
        text = text.replace(PLACE, str(self.work)).replace("/run/secrets", str(self.secrets)).replace("0.0.0.0", HERE)
        for name, port in PORTS.items():
            text = text.replace(f":{port}", f":{self.ports[name]}")
        return text

    def environment(self, service: dict[str, Any]) -> dict[str, str]:
        """What the image and the compose file set, on top of what a program needs anywhere."""
        kept = {name: os.environ[name] for name in ("HOME", "LANG", "LD_LIBRARY_PATH") if name in os.environ}
        given = {name: self.moved(str(value)) for name, value in service.get("environment", {}).items()}
        given |= {name: value for name, value in self.swaps.items() if name in given}
        given |= {"SOMMELIER_PLATFORM__PREFECT_PORT": self.ports["prefect"]}
        image = {"PREFECT_HOME": str(self.work / "prefect")}
        own = {"SOMMELIER_PLATFORM__SERVICE_PORT": self.ports["service"]}
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        return {**kept, **image, **given, **own, "PATH": path, "PYTHONPATH": str(ROOT)}

    @contextmanager
    def running(self, name: str, is_up: Callable[[], bool]) -> Iterator[None]:
        """A service of the compose file, from the moment that it is up."""
        service = services()[name]
        command = [self.moved(word) for word in service["command"]]
        command = [self.ports[name] if word == PORTS.get(name) else word for word in command]
        command = [word.replace(f"{PORTS.get(name)} ", f"{self.ports.get(name)} ") for word in command]
        if command[-1].endswith(f" {PORTS.get(name)}"):
            command[-1] = command[-1].removesuffix(PORTS[name]) + self.ports[name]
        log = self.work / f"{name}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [ROOT / "deployments" / "docker" / "with-secrets", *command],
                env=self.environment(service),
                cwd=self.work,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
            try:
                until = time.monotonic() + WAIT_S
                while not is_up():
                    assert process.poll() is None, log.read_text()[-3000:]
                    assert time.monotonic() < until, log.read_text()[-3000:]
                    time.sleep(0.2)
                yield
            finally:
                assert stop(process) == []

    def answers(self, name: str) -> bool:
        try:
            url = f"http://{HERE}:{self.ports[name]}{PATHS[name]}"
            return httpx.get(url, timeout=5, trust_env=False).status_code == 200
        except httpx.TransportError:
            return False

    def is_healthy(self, name: str) -> bool:
        """What the health check of the compose file says."""
        service = services()[name]
        kind, *words = service["healthcheck"]["test"]
        words = [self.moved(word) for word in words]
        command = ["sh", "-c", *words] if kind == "CMD-SHELL" else words
        ran = subprocess.run(command, check=False, env=self.environment(service), capture_output=True)
        return ran.returncode == 0


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    import psycopg

    url = postgres_url()
    if url is None or redis_client() is None:
        pytest.skip("no PostgreSQL or no Redis answers at its usual address")
    database = f"prefect_{uuid4().hex[:12]}"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{database}"')
    yield Stack(tmp_path, database, url)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f'DROP DATABASE "{database}" WITH (FORCE)')


def test_prefect_on_postgres_and_the_flows_beside_it(stack: Stack):
    assert not stack.is_healthy("flows")
    with stack.running("prefect", lambda: stack.answers("prefect")):
        assert stack.is_healthy("prefect")
        with stack.running("flows", lambda: stack.is_healthy("flows")):
            found = httpx.post(
                f"http://{HERE}:{stack.ports['prefect']}/api/deployments/filter", json={}, trust_env=False, timeout=30
            )
            until = time.monotonic() + WAIT_S
            while not found.json() and time.monotonic() < until:
                time.sleep(0.5)
                found = httpx.post(str(found.url), json={}, trust_env=False, timeout=30)
            assert "pipeline-simulated" in {one["name"] for one in found.json()}
        assert not stack.is_healthy("flows")
    assert not list(stack.work.glob("prefect/*.db"))


@pytest.mark.parametrize("name", ["service", "monitoring", "reports"])
def test_a_part_starts_with_an_empty_work_folder_and_is_healthy(stack: Stack, name: str):
    assert not stack.is_healthy(name)
    with stack.running(name, lambda: stack.answers(name)):
        assert stack.is_healthy(name)


def test_every_command_of_ours_was_run():
    assert services().keys() - FOREIGN == {*PATHS, "flows"}
