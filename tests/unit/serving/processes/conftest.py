from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.unit.serving.processes.slow_loads import SlowLoads


@pytest.fixture
def loads() -> Iterator[SlowLoads]:
    made = SlowLoads()
    yield made
    made.let_all_go()
