"""`python -m serving`: it listens where the settings say, or where an option does, and keys go by that."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from serving.__main__ import settle_address

HERE = {"SOMMELIER_PLATFORM__HOST": "10.0.0.8", "SOMMELIER_PLATFORM__SERVICE_PORT": "3100"}


@pytest.mark.parametrize(
    ("options", "variables", "said", "needs_keys"),
    [
        ([], {}, ["--host", "127.0.0.1", "--port", "3000"], False),
        ([], HERE, ["--host", "10.0.0.8", "--port", "3100"], True),
        (["--host", "0.0.0.0"], {}, ["--host", "0.0.0.0", "--port", "3000"], True),
        (["--host=::"], {}, ["--host=::", "--port", "3000"], True),
        (["--host", "127.0.0.1", "-p", "1"], HERE, ["--host", "127.0.0.1", "-p", "1"], False),
        (["--host", "127.0.0.1", "--host", "0.0.0.0", "--port=1"], {}, None, True),
        ([], {"BENTOML_HOST": "0.0.0.0", "BENTOML_PORT": "1"}, [], True),
    ],
)
def test_the_host_is_the_one_that_it_listens_on(
    options: list[str], variables: dict[str, str], said: list[str] | None, needs_keys: bool
) -> None:
    settings, given = settle_address(options, variables)
    assert given == (options if said is None else said)
    assert settings.needs_keys is needs_keys


def test_it_does_not_start_open_to_everybody_by_mistake(tmp_path: Path) -> None:
    environment = {
        **os.environ,
        "SOMMELIER_WORK_DIR": str(tmp_path),
        "BENTOML_HOME": str(tmp_path / "bentoml"),
        "SOMMELIER_SERVING__REQUIRE_KEYS": "never",
    }
    command = [sys.executable, "-m", "serving", "--host", "0.0.0.0"]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 1
    assert ended.stderr.startswith("Cannot start the service: serving.require_keys=never on host 0.0.0.0, expected API")
    assert ended.stderr.count("\n") == 1
