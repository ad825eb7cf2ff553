from collections.abc import Iterator
from pathlib import Path

import pytest

from core.layout import Layout
from tests.unit.flows.erasure.known_person import build_shop, copy_shop, same_home


@pytest.fixture(autouse=True)
def home() -> Iterator[None]:
    """Shops are copied to where BENTOML_HOME then lies, for one test each."""
    with same_home():
        yield


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    work = tmp_path_factory.mktemp("built") / "work"
    with same_home():
        build_shop(work)
    return work


@pytest.fixture
def layout(built: Path, tmp_path: Path) -> Layout:
    return copy_shop(built, tmp_path / "work")
