"""Registry and offline store in PostgreSQL, by settings alone; skipped where no PostgreSQL answers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from core.schema import TRAINING_TABLES
from core.settings.evaluation import EvaluationSettings
from core.settings.features import FeatureSettings, FeatureStoreSettings
from features.archive.publication import OFFLINE_FOLDER, schema_name
from features.errors import FeastFailure
from features.feast.store import REGISTRY_FILE
from features.online import OnlineFeatures
from features.refresh import refresh_features
from features.training import build_training_set
from tests.integration.features.servers import drop_schema, postgres_url, schemas, settings, tables
from tests.unit.features.shops import Row, write_shop

SETTINGS = FeatureSettings(max_history=3)
EVALUATION = EvaluationSettings(validation_share=0.2, test_share=0.2)
LOG = [Row("uvw"[n % 3], "abcd"[n * n % 4], n, float(n % 5 + 1) if n % 2 else None) for n in range(14)]
ITEMS = [{"item_id": item, "category": f"Kind {item}", "price": 2.5} for item in "abcd"]
REVIEWS = [("u", "a", 0, "twang and hum"), ("u", "b", 3, "twang again"), ("v", "b", 4, "plain")]


@pytest.fixture(scope="module")
def url() -> str:
    found = postgres_url()
    if found is None:
        pytest.skip("no PostgreSQL answers")
    return found


@pytest.fixture
def stores(url: str, tmp_path: Path) -> Iterator[FeatureStoreSettings]:
    yield settings(offline="postgres", registry="postgres", postgres=url)
    drop_schema(url, tmp_path / "feast")
    assert schema_name(tmp_path / "feast") not in schemas(url)


def test_postgres_gives_the_training_set_that_files_do(tmp_path: Path, url: str, stores: FeatureStoreSettings) -> None:
    for cut in (9, len(LOG)):
        clean = write_shop(tmp_path / "clean", LOG[:cut], items=ITEMS, reviews=REVIEWS)
        summary = refresh_features(clean, tmp_path / "feast", SETTINGS, stores)
    assert (summary.new_events, summary.rebuilt) == (len(LOG) - 9, False)
    assert not (tmp_path / "feast" / REGISTRY_FILE).exists()
    assert not (tmp_path / "feast" / OFFLINE_FOLDER).exists()
    assert {"events_1", "reviews_1", "users_1", "items_1", "feature_views"} <= tables(url, tmp_path / "feast")
    files = refresh_features(clean, tmp_path / "files", SETTINGS)
    assert files.rows == summary.rows
    for feast in ("feast", "files"):
        build_training_set(clean, tmp_path / feast, tmp_path / f"{feast}-training", SETTINGS, EVALUATION)
    for table in TRAINING_TABLES:
        ours, theirs = (
            pq.read_table(tmp_path / f"{feast}-training" / f"{table}.parquet") for feast in ("feast", "files")
        )
        assert ours.equals(theirs), table
    here, there = (OnlineFeatures(tmp_path / feast, SETTINGS) for feast in ("feast", "files"))
    for user in "uvw":
        assert here.read_user(user) == there.read_user(user)


def test_a_rebuild_leaves_no_old_tables(tmp_path: Path, url: str, stores: FeatureStoreSettings) -> None:
    clean = write_shop(tmp_path / "clean", LOG, items=ITEMS)
    refresh_features(clean, tmp_path / "feast", SETTINGS, stores)
    assert refresh_features(clean, tmp_path / "feast", FeatureSettings(max_history=2), stores).rebuilt
    found = {name for name in tables(url, tmp_path / "feast") if name.startswith("events_")}
    assert found == {"events_2"}
    # Back to files: another setting, another store.
    assert refresh_features(clean, tmp_path / "feast", SETTINGS).rebuilt
    assert (tmp_path / "feast" / OFFLINE_FOLDER).is_dir()
    assert OnlineFeatures(tmp_path / "feast", SETTINGS).read_user("u") is not None


def test_a_server_that_is_away_is_named(tmp_path: Path) -> None:
    clean = write_shop(tmp_path / "clean", LOG, items=ITEMS)
    away = settings(registry="postgres", postgres="postgresql://127.0.0.1:1/test")
    with pytest.raises(FeastFailure, match=r"Cannot make the registry: schema=sommelier_[0-9a-f]{16}"):
        refresh_features(clean, tmp_path / "feast", SETTINGS, away)
