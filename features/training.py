"""The training set: every table of `schema.TRAINING_TABLES`, each row with its features as of just before its time.

Labels go to Feast in one request per table; the features come back, and are written, page by page, so memory does not
grow with the number of labels.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict

from core.schema import TRAINING_TABLES
from core.settings.evaluation import EvaluationSettings
from core.settings.features import FeatureSettings
from core.storage import atomic_folder, write_json
from features.archive.shop_facts import ShopFacts, pinned
from features.counting.moments import as_moment
from features.feast.store import open_store
from features.point_in_time.catalogue import catalogue, describe_items, items_then
from features.point_in_time.labels import pairs, queries, reviews
from features.point_in_time.lookup import Page, PointInTime, as_column, database_of
from features.point_in_time.sequences import sequences
from features.refresh import require_fresh
from recommender.inputs.splits import global_time_cuts

SUMMARY_FILE = "summary.json"


class TrainingSummary(BaseModel):
    """What a training set holds. Times are ISO 8601 in UTC.

    Attributes:
        folder: Where `<table>.parquet` lies.
        validation_at: Where the validation window opens: nothing the models are fitted on happened then or later.
        test_at: Where the test window opens.
        first_event_at: The first event that counts.
        last_event_at: The last one.
        rows: Rows per table.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    folder: Path
    validation_at: str
    test_at: str
    first_event_at: str
    last_event_at: str
    rows: dict[str, int]


def build_training_set(
    clean: Path, feast_folder: Path, target: Path, features: FeatureSettings, evaluation: EvaluationSettings
) -> TrainingSummary:
    """Write the training set of the clean tables, point in time, through Feast's offline store.

    Args:
        clean: The folder of the clean tables.
        feast_folder: The feature store, refreshed with the same tables and settings.
        target: Written atomically: `<table>.parquet` for each of `schema.TRAINING_TABLES`, and summary.json.
        features: History length, ignored events, length of an item's text.
        evaluation: Where the validation and the test window open.
    Raises:
        CleanTablesError: a table is missing or of another shape.
        StoreNotReady: the features were never refreshed.
        FeaturesOutdated: they were refreshed with other tables or settings.
        ArchiveDamaged: a part of the offline store is missing, or is not what was published.
        FeastFailure: Feast could not look features up.
        TrainingDataError: the events cannot be split by time.
    """
    store = open_store(feast_folder)
    # Held until the end: all of Feast's look-ups share what was read once, whatever a refresh publishes meanwhile.
    with pinned(feast_folder) as (published, facts):
        require_fresh(clean, feast_folder, features, published)
        return _collect(clean, target, store, facts, features, evaluation)


def _collect(
    clean: Path, target: Path, store: Any, facts: ShopFacts, features: FeatureSettings, evaluation: EvaluationSettings
) -> TrainingSummary:
    events = facts.events
    times = events.us[events.counted].astype("datetime64[us]")
    cuts = global_time_cuts(times, evaluation, events.user[events.counted])
    with database_of(facts, cuts) as database, atomic_folder(target) as unfinished:
        lookup = PointInTime(database, store, cuts, features)
        describe_items(lookup, clean)
        tables = {
            "catalogue": catalogue(lookup),
            "sequences": sequences(lookup),
            "items_then": items_then(lookup),
            "queries": queries(lookup),
            "pairs": pairs(lookup),
            "reviews": reviews(lookup),
        }
        summary = TrainingSummary(
            folder=target.absolute(),
            validation_at=cuts.validation_at.isoformat(),
            test_at=cuts.test_at.isoformat(),
            first_event_at=_iso(times.min()),
            last_event_at=_iso(times.max()),
            rows={name: _write(unfinished, name, pages) for name, pages in tables.items()},
        )
        write_json(unfinished / SUMMARY_FILE, summary.model_dump())
    return summary


def _iso(moment: np.datetime64) -> str:
    return as_moment(int(moment.astype("int64"))).isoformat()


def _write(folder: Path, name: str, pages: Iterable[Page]) -> int:
    """Write a table page by page, every column in the schema's type; NaN is null."""
    wanted, n_rows = TRAINING_TABLES[name], 0
    with pq.ParquetWriter(folder / f"{name}.parquet", wanted, compression="zstd") as file:
        for page in pages:
            columns = [as_column(page[field.name], field.type) for field in wanted]
            table = pa.table(columns, schema=wanted)
            file.write_table(table)
            n_rows += len(table)
    return n_rows
