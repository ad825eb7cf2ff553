"""What every test shares: telemetry off, and homes of Prefect and BentoML that belong to this test run alone."""

import atexit
import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings

from core.storage import atomic_folder, exclusively
from flows.environment import POLITE, QUIET, home_variables

_HOME = tempfile.TemporaryDirectory(prefix="sommelier-tests-", ignore_cleanup_errors=True)
# Packages read these when they are imported, so they have to stand before any test module is.
os.environ.update(QUIET | POLITE)
# The tests' models are so small that threads only wait for each other, on a busy machine for most of the time.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.update(home_variables(Path(_HOME.name)))
# A busy machine is no failure: examples have no time limit of their own. In CI they are the same at each run, so that a
# change is refused for what it does; elsewhere each run draws others.
settings.register_profile("sommelier", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("sommelier")


@atexit.register
def _end_with_the_summary() -> None:
    """DuckDB's binding reports harmless leaks while the interpreter goes down, long after pytest's summary."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of all processes of this test run."""
    own = tmp_path_factory.getbasetemp()
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own


@pytest.fixture(scope="session")
def built_shop(shared: Path) -> Path:
    """The work folder of the shop that services serve: fitted once in a test run, for tests that copy it."""
    from tests.integration.serving_shop import build_shop

    built = shared / "built-shop"
    with exclusively(shared / "built-shop.lock"):
        if not built.is_dir():
            with atomic_folder(built) as folder:
                build_shop(folder)
    return built


@pytest.fixture(scope="session")
def embedded_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder where the embedded language model is converted, once for all tests that read it."""
    return tmp_path_factory.mktemp("language-models")


@pytest.fixture(autouse=True)
def environment():
    """What a test, or what it calls, makes of the environment does not outlast it."""
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)
