"""Whose server it is that answers: its home says so on this machine alone."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from core.settings.loading import load_settings
from core.settings.tree import Settings
from flows.errors import PortTaken
from flows.platform.prefect_server import is_here, pause_unserved, server_is_up

ELSEWHERE = "192.0.2.7"  # of RFC 5737: no machine has it


def answer(monkeypatch: pytest.MonkeyPatch, home: str) -> None:
    """Have any server that is asked answer as one with that home does."""
    asked = httpx.Response(200, json={"home": home})
    monkeypatch.setattr("flows.platform.prefect_server.httpx.get", lambda *_, **__: asked)


def settings(work_dir: Path, host: str) -> Settings:
    return load_settings(overrides=[f"work_dir={work_dir}", f"platform.prefect_host={host}"])


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "0.0.0.0"])
def test_on_this_machine_a_server_is_that_of_this_work_folder_or_refused(
    host: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer(monkeypatch, str(tmp_path / "prefect"))
    assert server_is_up(settings(tmp_path, host))
    answer(monkeypatch, "/elsewhere/prefect")
    with pytest.raises(PortTaken, match="where the Prefect server of /elsewhere/prefect answers"):
        server_is_up(settings(tmp_path, host))


@pytest.mark.parametrize("host", [ELSEWHERE, "prefect.invalid"])
def test_elsewhere_a_server_is_the_one_that_was_named_wherever_its_home_is(
    host: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not is_here(host)
    answer(monkeypatch, "/elsewhere/prefect")
    assert server_is_up(settings(tmp_path, host))


def test_shops_of_other_machines_stay_as_they_are_on_a_server_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(**_: object) -> None:
        raise AssertionError("asked")

    monkeypatch.setattr("prefect.client.orchestration.get_client", refuse)
    assert pause_unserved(settings(tmp_path, ELSEWHERE)) == []
    with pytest.raises(AssertionError, match="asked"):
        pause_unserved(settings(tmp_path, "127.0.0.1"))
