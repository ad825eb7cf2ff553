"""A worker answers, follows and stops while a bundle is loaded for as long as somebody likes."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from core.storage import exclusively
from tests.integration.running_service import Running, service_command, start_service, stop
from tests.integration.serving_shop import TinyShop, copy_shop


@pytest.fixture(scope="module")
def shop(built_shop: Path, tmp_path_factory: pytest.TempPathFactory) -> TinyShop:
    return copy_shop(built_shop, tmp_path_factory.mktemp("shop"))


@pytest.fixture
def service(shop: TinyShop) -> Iterator[Running]:
    """With a bundle in service, and indexes of it alone."""
    with start_service(shop, "service", exact_items=1) as started:
        started.put_in_service(shop.whole)
        yield started


def lock_of(shop: TinyShop) -> Path:
    """Who holds it keeps bundles from being loaded whose indexes are not there."""
    return shop.layout.indexes / "making.lock"


def popular(service: Running) -> list[str]:
    return [one["item_id"] for one in service.post("/v1/popular", k=20).json()["items"]]


def test_a_load_holds_up_nothing_and_what_is_rolled_back_meanwhile_never_serves(service: Running) -> None:
    first = service.model()["model"]
    with exclusively(lock_of(service.shop)):
        new = service.promote(service.shop.bare)
        service.wait_for(lambda: service.model()["promoted"] == new)
        gone = popular(service)[0]
        assert service.client.delete(f"/v1/items/{gone}").status_code == 200
        service.wait_for(lambda: gone not in popular(service))
        told = service.model()
        assert (told["model"], told["problem"]) == (first, None)
        assert service.roll_back() == first
        service.wait_for(lambda: service.model()["promoted"] == first)
    service.wait_for(lambda: f"Loaded in vain, as it is not asked for any more: {new}" in service.log.read_text())
    again = service.promote(service.shop.bare)
    service.wait_for(lambda: service.model()["model"] == again)
    assert f"Bundle in service: {new}" not in service.log.read_text()
    assert gone not in popular(service)


def test_a_worker_stops_without_waiting_for_a_load_also_where_it_is_its_first(service: Running, tmp_path: Path) -> None:
    for made in lock_of(service.shop).parent.iterdir():
        if made.is_dir():
            shutil.rmtree(made)
    with exclusively(lock_of(service.shop)):
        new = service.promote(service.shop.bare)
        service.wait_for(lambda: service.model()["promoted"] == new)
        assert stop(service.process) == []
        command, _, environment = service_command(service.shop, exact_items=1)
        log = tmp_path / "starting.log"
        with log.open("wb") as output:
            starting = subprocess.Popen(command, env=environment, stdout=output, stderr=output, start_new_session=True)
        try:
            replace(service, process=starting, log=log).wait_for(lambda: f"Loading: {new}" in log.read_text())
        finally:
            assert stop(starting) == []
