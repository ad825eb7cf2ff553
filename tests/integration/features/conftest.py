"""The small shop, as clean tables, as a refreshed store and as a training set."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from core.schema import TRAINING_TABLES
from features.refresh import refresh_features
from features.training import build_training_set
from tests.integration.features.shop import EVALUATION, ITEMS, LOG, REVIEWS, SETTINGS, USERS
from tests.unit.features.shops import START, write_shop


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    users = {**USERS, "w": {"country": None}}
    return write_shop(tmp_path_factory.mktemp("shop") / "clean", LOG, users=users, items=ITEMS, reviews=REVIEWS)


@pytest.fixture(scope="module")
def refreshed(clean: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A refreshed store that no test writes to."""
    feast = tmp_path_factory.mktemp("feast")
    refresh_features(clean, feast, SETTINGS)
    return feast


@pytest.fixture
def feast(clean: Path, tmp_path: Path) -> Path:
    """A refreshed store of the test's own."""
    refresh_features(clean, tmp_path / "feast", SETTINGS)
    return tmp_path / "feast"


@pytest.fixture(scope="module")
def training(clean: Path, refreshed: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[dict]]:
    folder = tmp_path_factory.mktemp("training") / "set"
    summary = build_training_set(clean, refreshed, folder, SETTINGS, EVALUATION)
    assert (summary.validation_at, summary.test_at) == (
        (START + timedelta(seconds=6)).isoformat(), (START + timedelta(seconds=8)).isoformat(),
    )  # fmt: skip
    assert summary.first_event_at == START.isoformat()
    assert summary.last_event_at == (START + timedelta(seconds=9)).isoformat()
    tables = {name: pq.read_table(folder / f"{name}.parquet") for name in TRAINING_TABLES}
    for name, table in tables.items():
        assert table.schema.equals(TRAINING_TABLES[name]), name
        assert summary.rows[name] == table.num_rows
    assert summary == type(summary).model_validate_json((folder / "summary.json").read_text(encoding="utf-8"))
    return {name: table.to_pylist() for name, table in tables.items()}
