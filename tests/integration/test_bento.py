"""The Bento that `bentoml build` makes of the repository, served elsewhere, beside a copy of a shop."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from flows.environment import QUIET
from tests.contract.documents import DOCS, ROOT, fenced, read
from tests.integration.running_service import Running, free_port, start_command, start_service
from tests.integration.serving_shop import SHOP, TinyShop, copy_shop

pytestmark = pytest.mark.long

BENTOML = str(Path(sys.executable).with_name("bentoml"))
MARK = "<!-- of the Bento -->"
PAGE = "src/serving/web/assets/base.html.j2"


@pytest.fixture(scope="module")
def shop(built_shop: Path, tmp_path_factory: pytest.TempPathFactory) -> TinyShop:
    return copy_shop(built_shop, tmp_path_factory.mktemp("origin"))


@pytest.fixture(scope="module")
def bento(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the Bento, with a mark on one of its pages."""
    home = tmp_path_factory.mktemp("bentos")
    ran = subprocess.run(
        [BENTOML, "build", "-o", "tag"],
        cwd=ROOT,
        env=plain(BENTOML_HOME=home),
        check=False,
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr[-3000:]
    _, name, version = ran.stdout.split()[-1].split(":")
    folder = home / "bentos" / name / version
    page = folder / PAGE
    page.write_text(page.read_text() + MARK)
    return folder


def plain(**more: object) -> dict[str, str]:
    """This process's environment without what leads Python or BentoML to this repository or this test run."""
    kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "BENTOML_HOME")}
    return {**kept, **QUIET, **{name: str(value) for name, value in more.items()}}


@contextmanager
def served(bento: Path, shop: TinyShop, work_dir: Path, command: list[str]) -> Iterator[Running]:
    """What a command of the Bento serves of a work folder, started in an empty folder."""
    empty = work_dir / "empty"
    empty.mkdir()
    port = free_port()
    environment = plain(
        BENTOML_HOME=work_dir / "bentoml",
        SOMMELIER_SHOP=SHOP,
        SOMMELIER_WORK_DIR=work_dir,
        SOMMELIER_SERVING__POLL_S=0.2,
        SOMMELIER_SERVING__WORKERS=2,
    )
    command = [*command, "--host", "127.0.0.1", "--port", str(port)]
    with start_command(shop, work_dir / "bento.log", command, port, environment, empty) as running:
        running.wait_for(lambda: running.client.get("/readyz").status_code == 200)
        yield running


def workers_of(running: Running) -> list[psutil.Process]:
    family = psutil.Process(running.process.pid).children(recursive=True)
    return [process for process in family if "--worker-id" in process.cmdline()]


def copied(shop: TinyShop, target: Path) -> Path:
    """A work folder that has what the page on deployment says to copy of another one."""
    (block,) = [block for block in fenced(read(DOCS / "deployment.md")) if "tar -C .sommelier " in block]
    block = block.replace(".sommelier", shlex.quote(str(shop.layout.work_dir))).replace("=simulated", f"={SHOP}")
    ran = subprocess.run(
        ["bash", "-o", "pipefail", "-c", block], cwd=target, check=False, capture_output=True, text=True
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    return target / "elsewhere"


def test_a_copy_has_the_language_models_where_there_are_some(shop: TinyShop, tmp_path: Path) -> None:
    """A writer that was fine-tuned from one is loaded on top of them: without them only the package helps."""
    (tmp_path / "without").mkdir()
    assert not (copied(shop, tmp_path / "without") / "language-models").exists()
    converted = shop.layout.language_models / "smollm2" / "config.json"
    converted.parent.mkdir(parents=True)
    converted.write_text("{}")
    (tmp_path / "with").mkdir()
    elsewhere = copied(shop, tmp_path / "with")
    assert (elsewhere / converted.relative_to(shop.layout.work_dir)).read_text() == "{}"
    shutil.rmtree(shop.layout.language_models)


def test_a_bento_answers_from_a_copy_of_what_the_page_names(
    shop: TinyShop, bento: Path, tmp_path_factory: pytest.TempPathFactory
):
    """The origin is out of the way while it answers: nothing of it is read, and the answers are the same."""
    with start_service(shop, "origin") as origin:
        model = origin.put_in_service(shop.whole)
        event = {"user_id": "u01", "item_id": "tea-3", "event": "purchase", "value": 1}
        assert origin.post("/v1/events", events=[event]).status_code == 200
        expected = origin.recommend(user_id="u01", k=5)
    elsewhere = copied(shop, tmp_path_factory.mktemp("elsewhere"))
    assert not (elsewhere / SHOP / "clean").exists()
    hidden = shop.layout.work_dir.with_name("hidden")
    shop.layout.work_dir.rename(hidden)
    try:
        with served(bento, shop, elsewhere, [BENTOML, "serve", str(bento)]) as running:
            answer = running.recommend(user_id="u01", k=5)
            assert answer["model"] == model
            assert answer["items"] == expected["items"]
            page = running.client.get("/app/status").text
            assert MARK in page
            links = re.findall(r'href="(https?://[^"]*)"', page + running.client.get("/app").text)
            assert links == []  # of the platform's other parts it knows none
            assert len(workers_of(running)) == 2  # as the settings of this process say, and not those of the build
            assert running.post("/v1/events", events=[{**event, "item_id": "tea-4"}]).status_code == 200
            assert "sommelier_requests" in running.client.get("/metrics").text
    finally:
        hidden.rename(shop.layout.work_dir)
    assert not [path for path in (bento / "src").rglob("*") if path.suffix in (".sqlite", ".parquet", ".safetensors")]
