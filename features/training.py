"""The training set: every table of `schema.TRAINING_TABLES`, each row with its features as of just before its time.

Labels go to Feast in one request per table; the features come back, and are written, page by page, so memory does not
grow with the number of labels.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict

from core import schema
from core.schema import TRAINING_TABLES, Window
from core.settings.evaluation import EvaluationSettings
from core.settings.features import FeatureSettings
from core.storage import atomic_folder, write_json
from features.archive.publication import require_published
from features.archive.shop_facts import ShopFacts, load_published, pinned, review_clocks
from features.counting.moments import as_moment, as_us
from features.feast.store import open_store
from features.point_in_time.catalogue import catalogue, describe_items, items_then
from features.point_in_time.labels import pairs, queries, reviews
from features.point_in_time.lookup import Page, PointInTime, as_column, database_of
from features.point_in_time.sequences import sequences
from features.refresh import key_of, require_same_settings
from recommender.inputs.splits import Cuts, global_time_cuts

logger = logging.getLogger(__name__)

SUMMARY_FILE = "summary.json"
# Of which windows a training set holds the queries.
_ASKED_IN: tuple[Window, ...] = ("validation", "validation_late", "test")


class TrainingSummary(BaseModel):
    """What a training set holds. Times are ISO 8601 in UTC.

    Attributes:
        folder: Where `<table>.parquet` lies.
        validation_at: Where the validation window opens: nothing the models are fitted on happened then or later.
        test_at: Where the test window opens. Without windows both are just after everything.
        learned_until: From when on nothing is learned: `validation_at`; without windows, the newest event or review.
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
    learned_until: str
    rows: dict[str, int]


def build_training_set(
    clean: Path, feast_folder: Path, target: Path, features: FeatureSettings, evaluation: EvaluationSettings | None
) -> TrainingSummary:
    """Write the training set of the clean tables, point in time, through Feast's offline store.

    Args:
        clean: The folder of the clean tables.
        feast_folder: The feature store, refreshed with the same settings. Where it holds other tables, as after a
            refresh that took in newer ones, the events are those of the clean tables all the same.
        target: Written atomically: `<table>.parquet` for each of `schema.TRAINING_TABLES`, and summary.json.
        features: History length, ignored events, length of an item's text.
        evaluation: Where the validation and the test window open. None: there are no windows, everything is to learn
            from, and the features of the catalogue are as of after it.
    Raises:
        CleanTablesError: a table is missing or of another shape.
        StoreNotReady: the features were never refreshed.
        FeaturesOutdated: they were refreshed with other settings.
        ArchiveDamaged: a part of the offline store is missing, or is not what was published.
        FeastFailure: Feast could not look features up.
        TrainingDataError: the events cannot be split by time.
    """
    store = open_store(feast_folder)
    with _facts_of(clean, feast_folder, features) as facts:
        return _collect(clean, target, store, facts, features, evaluation)


def build_queries(clean: Path, feast_folder: Path, target: Path, features: FeatureSettings, opens: datetime) -> Path:
    """Write the queries of a test window of its own: from a moment on, to the newest event.

    Args:
        clean: The folder of the clean tables.
        feast_folder: As for `build_training_set`.
        target: Written atomically: queries.parquet and items_then.parquet, all of split `test`; empty where nothing
            happened since.
        features: As for `build_training_set`.
        opens: Where the window opens: histories are as of just before it.
    Returns:
        The target.
    Raises:
        CleanTablesError, StoreNotReady, FeaturesOutdated, ArchiveDamaged, FeastFailure: as `build_training_set`.
    """
    store = open_store(feast_folder)
    with _facts_of(clean, feast_folder, features) as facts:
        cuts = Cuts(opens, opens)
        with database_of(facts, cuts) as database, atomic_folder(target) as unfinished:
            lookup = PointInTime(database, store, cuts, features)
            describe_items(lookup, clean)
            happened = bool((facts.events.us[facts.events.counted] >= as_us(opens)).any())
            _write(unfinished, "items_then", items_then(lookup, ("test",)) if happened else ())
            _write(unfinished, "queries", queries(lookup, ("test",)) if happened else ())
    return target


@contextmanager
def _facts_of(clean: Path, feast_folder: Path, settings: FeatureSettings) -> Iterator[ShopFacts]:
    """The facts of these clean tables, for all of Feast's look-ups within the block.

    They are read from the offline store where that holds these tables, and counted from the tables themselves where a
    refresh has published others since: who learns for hours goes on with what they began with.
    """
    published = require_published(feast_folder)
    require_same_settings(published, feast_folder, settings)
    key = key_of(clean, settings, published.stores)
    facts = None
    if published.key == key:
        published, facts = load_published(feast_folder)
    if facts is None or published.key != key:
        logger.info("The feature store holds other tables by now: facts are counted from those of this run")
        facts = ShopFacts.of_clean(clean, settings)
    with pinned(feast_folder, facts):
        yield facts


def _collect(
    clean: Path,
    target: Path,
    store: Any,
    facts: ShopFacts,
    features: FeatureSettings,
    evaluation: EvaluationSettings | None,
) -> TrainingSummary:
    events = facts.events
    times = events.us[events.counted].astype("datetime64[us]")
    newest = _newest_us(facts)
    if evaluation is None:
        cuts = _after_everything(facts, newest)
    else:
        cuts = global_time_cuts(times, evaluation, events.user[events.counted])
    with database_of(facts, cuts) as database, atomic_folder(target) as unfinished:
        lookup = PointInTime(database, store, cuts, features)
        describe_items(lookup, clean)
        tables = {
            "catalogue": catalogue(lookup),
            "sequences": sequences(lookup),
            "items_then": () if evaluation is None else items_then(lookup, _ASKED_IN),
            "queries": () if evaluation is None else queries(lookup, _ASKED_IN),
            "pairs": pairs(lookup),
            "reviews": reviews(lookup),
        }
        summary = TrainingSummary(
            folder=target.absolute(),
            validation_at=cuts.validation_at.isoformat(),
            test_at=cuts.test_at.isoformat(),
            first_event_at=_iso(times.min()),
            last_event_at=_iso(times.max()),
            learned_until=(as_moment(newest) if evaluation is None else cuts.validation_at).isoformat(),
            rows={name: _write(unfinished, name, pages) for name, pages in tables.items()},
        )
        write_json(unfinished / SUMMARY_FILE, summary.model_dump())
    return summary


def _newest_us(facts: ShopFacts) -> int:
    """When the newest event that counts happened, or the newest review was written. Microseconds."""
    return int(max(facts.events.us[facts.events.counted].max(), _written_us(facts).max(initial=0)))


def _after_everything(facts: ShopFacts, newest: int) -> Cuts:
    """No windows: all clocks are before it, those too that ties have pushed on."""
    pushed = max(facts.events.clock.max(initial=0), review_clocks(facts.events, facts.texts).max(initial=0))
    moment = as_moment(max(newest, int(pushed)) + 1)
    return Cuts(moment, moment)


def _written_us(facts: ShopFacts) -> np.ndarray:
    written: np.ndarray = facts.texts.column(schema.TIMESTAMP).cast(schema.TIME).cast(pa.int64()).to_numpy()
    return written


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
