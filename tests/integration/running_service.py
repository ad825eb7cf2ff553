"""The service in its own process, for tests that ask it over HTTP."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from flows.promotion import model_store
from serving.client import Client
from tests.integration.serving_shop import SHOP, TinyShop

POLL_S = 0.2
MAX_BODY_BYTES = 50_000
MAX_K = 20
WAIT_S = 120


@dataclass
class Running:
    """The service's process, a client of it and plain HTTP, and what it answered before any bundle was promoted."""

    process: subprocess.Popen[bytes]
    client: httpx.Client
    shop: TinyShop
    log: Path
    ask: Client
    before: dict[str, httpx.Response] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return self.ask.url

    def post(self, path: str, **body: Any) -> httpx.Response:
        return self.client.post(path, json=body)

    def recommend(self, **body: Any) -> dict[str, Any]:
        answer = self.post("/v1/recommend", **body)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def model(self) -> dict[str, Any]:
        return dict(self.client.get("/v1/model").json())

    def promote(self, folder: Path) -> str:
        """Put a bundle into the model store, as the promotion task does; its name and version."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("BENTOML_HOME", str(self.shop.layout.work_dir / "bentoml"))
            return model_store.promote(folder, self.shop.layout.model_name, {}).tag

    def roll_back(self) -> str:
        """Go back to the bundle before; its name and version."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("BENTOML_HOME", str(self.shop.layout.work_dir / "bentoml"))
            return model_store.roll_back(self.shop.layout.model_name).tag

    def wait_for(self, condition: Callable[[], bool]) -> None:
        until = time.monotonic() + WAIT_S
        while time.monotonic() < until:
            assert self.process.poll() is None, self.log.read_text()
            if condition():
                return
            time.sleep(0.1)
        raise AssertionError(f"not within {WAIT_S} s: {self.log.read_text()[-3000:]}")

    def put_in_service(self, folder: Path) -> str:
        model = self.promote(folder)
        self.wait_for(lambda: self.model()["model"] == model)
        return model

    def answers(self) -> bool:
        try:
            return self.client.get("/livez").status_code == 200
        except httpx.TransportError:
            return False


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def start_service(shop: TinyShop, name: str, **serving: Any) -> Iterator[Running]:
    """The service of a shop in its own process, from the moment that it answers; with further settings of `serving`."""
    command, port, environment = service_command(shop, **serving)
    with start_command(shop, shop.layout.work_dir / f"{name}.log", command, port, environment) as started:
        yield started


def service_command(shop: TinyShop, **serving: Any) -> tuple[list[str], int, dict[str, str]]:
    """What starts the service of a shop, the port at which it listens then, and all of its environment."""
    port, work_dir = free_port(), shop.layout.work_dir
    environment = {
        **os.environ,
        "BENTOML_HOME": str(work_dir / "bentoml"),
        "SOMMELIER_SHOP": SHOP,
        "SOMMELIER_WORK_DIR": str(work_dir),
        "SOMMELIER_SERVING": json.dumps(
            {"poll_s": POLL_S, "max_body_bytes": MAX_BODY_BYTES, "max_k": MAX_K, "spares": 0, **serving}
        ),
    }
    return [sys.executable, "-m", "serving", "--host", "127.0.0.1", "--port", str(port)], port, environment


@contextmanager
def start_command(
    shop: TinyShop,
    log: Path,
    command: Sequence[str],
    port: int,
    environment: Mapping[str, str],
    folder: Path | None = None,
) -> Iterator[Running]:
    """What a command starts, from the moment that it answers.

    Args:
        log: Where its output goes.
        port: Where it listens.
        environment: All of it.
        folder: Where it is started; here, where none is named.
    """
    url = f"http://127.0.0.1:{port}"
    with log.open("wb") as output, httpx.Client(base_url=url, timeout=30) as client, Client(url) as ask:
        process = subprocess.Popen(
            command, env=environment, cwd=folder, stdout=output, stderr=output, start_new_session=True
        )
        started = Running(process, client, shop, log, ask)
        try:
            started.wait_for(started.answers)
            yield started
        finally:
            stop(process)


def stop(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    """End the service as its launcher does; what would not end within half a minute is killed, and given back."""
    if process.poll() is not None:
        return []
    family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    process.send_signal(signal.SIGTERM)
    _, alive = psutil.wait_procs(family, timeout=30)
    for survivor in alive:
        survivor.kill()
    return list(alive)


def check_refusal(answer: httpx.Response, status: int, said: str) -> None:
    """See that a request was refused with one sentence."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    assert list(answer.json()) == ["error", "request_id"]
    assert answer.json()["request_id"] == answer.headers["x-request-id"]
    assert said in answer.json()["error"]
    assert "\n" not in answer.json()["error"]
