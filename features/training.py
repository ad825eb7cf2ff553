"""The training set: every table of `schema.TRAINING_TABLES`, each row with its features as of just before its time.

Labels go to Feast in one request per table; the features come back, and are written, page by page, so memory does not
grow with the number of labels.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict

from core import schema
from core.schema import TRAINING_TABLES
from core.settings.evaluation import EvaluationSettings
from core.settings.features import FeatureSettings
from core.storage import atomic_folder, write_json
from features.archive.shop_facts import ShopFacts, load_published, review_clocks
from features.clean_tables import table_path
from features.counting.columns import Columns, Lists
from features.counting.derivation import derive_item, derive_user
from features.counting.seen import seen_then, unseen
from features.counting.views import EVENT_TIMESTAMP
from features.errors import FeastFailure
from features.feast.definitions import CATALOGUE, FEEDBACK_WRITER, PAIR_SCORER, RANKING_QUERIES, SEQUENCE_MODEL
from features.feast.store import open_store
from features.refresh import require_fresh
from recommender.inputs.splits import Cuts, global_time_cuts
from recommender.inputs.texts import item_text

SUMMARY_FILE = "summary.json"

_REVIEWS_PER_ITEM = 3
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


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


@dataclass(frozen=True)
class _Workshop:
    """What the tables are built with: DuckDB over events and reviews, Feast, the cuts, and what features depend on."""

    database: Any
    store: Any
    cuts: Cuts
    settings: FeatureSettings

    def look_up(self, service: str, moments: str) -> Iterator[tuple[pa.Table, Columns]]:
        """Ask Feast for features as of given moments.

        Args:
            service: The feature service.
            moments: DuckDB statement that gives the entity keys, `clock` (the first moment not known), and columns
                that are passed through.
        Returns:
            Pages of the moments in their order, each with the facts asked for and what is derived of them.
        Raises:
            FeastFailure: Feast could not look them up.
        """
        frame = self.database.execute(
            f"SELECT * EXCLUDE (clock), make_timestamp(clock - 1) AS {EVENT_TIMESTAMP} FROM ({moments})"
        ).df()
        frame[EVENT_TIMESTAMP] = frame[EVENT_TIMESTAMP].dt.tz_localize("UTC")
        try:
            for labels, facts in self.store.get_historical_features(
                frame, self.store.get_feature_service(service)
            ).pages():
                yield labels, self._with_derived(labels, facts)
        except Exception as error:
            raise FeastFailure(
                "Cannot build the training set",
                got=f"service={service}, rows={len(frame)}",
                expected=f"features as of a point in time, but {type(error).__name__}: {error}",
                do="Refresh the features and try again",
            ) from error

    def _with_derived(self, labels: pa.Table, facts: Columns) -> Columns:
        moment = labels.column(EVENT_TIMESTAMP).cast(schema.TIME).cast(pa.int64())
        at_us = moment.to_numpy().astype(np.int64)
        found: Columns = dict(facts)
        if "rating_sum" in facts:
            found |= derive_user(facts, at_us, self.settings.n_affinities)
        if "item_rating_sum" in facts:
            found |= derive_item(facts, at_us, self.settings.windows_days)
        return found


def build_training_set(
    clean: Path, feast_folder: Path, target: Path, features: FeatureSettings, evaluation: EvaluationSettings
) -> TrainingSummary:
    """Write the training set of the clean tables, point in time, through Feast's offline store.

    Args:
        clean: The folder of the clean tables.
        feast_folder: The feature store, refreshed with the same tables and settings.
        target: Written atomically: `<table>.parquet` for each of `schema.TRAINING_TABLES`, and summary.json.
        features: History length, ignored events, length of an item's text.
        evaluation: Shares of the validation and the test window.
    Raises:
        CleanTablesError: a table is missing or of another shape.
        StoreNotReady: the features were never refreshed.
        FeaturesOutdated: they were refreshed with other tables or settings.
        FeastFailure: Feast could not look features up.
        TrainingDataError: the events cannot be split by time.
    """
    store = open_store(feast_folder)
    require_fresh(clean, feast_folder, features)
    # Held until the end, so that all of Feast's look-ups share what was read once.
    _, facts = load_published(feast_folder)
    with _database(facts) as database:
        times = facts.events.us[facts.events.counted].astype("datetime64[us]")
        cuts = global_time_cuts(times, evaluation.validation_share, evaluation.test_share)
        database.execute(
            f"""
            CREATE MACRO split_of(moment) AS CASE
                WHEN moment < {_us(cuts.validation_at)} THEN 'train'
                WHEN moment < {_us(cuts.test_at)} THEN 'validation'
                ELSE 'test' END
            """
        )
        workshop = _Workshop(database, store, cuts, features)
        with atomic_folder(target) as unfinished:
            rows = {
                name: _write(unfinished, name, pages)
                for name, pages in (
                    ("catalogue", _catalogue(workshop, clean)),
                    ("sequences", _sequences(workshop)),
                    ("queries", _queries(workshop)),
                    ("pairs", _pairs(workshop)),
                    ("reviews", _reviews(workshop)),
                )
            }
            summary = TrainingSummary(
                folder=target.absolute(),
                validation_at=cuts.validation_at.isoformat(),
                test_at=cuts.test_at.isoformat(),
                first_event_at=_aware(times.min()),
                last_event_at=_aware(times.max()),
                rows=rows,
            )
            write_json(unfinished / SUMMARY_FILE, summary.model_dump())
    return summary


def _database(facts: ShopFacts) -> Any:
    """An in-memory DuckDB with the events that count, and the reviews at their clocks; times in microseconds."""
    import duckdb

    events, counted = facts.events, pa.array(np.flatnonzero(facts.events.counted))
    tables = {
        "events": pa.table(
            {
                schema.USER_ID: events.users.take(pa.array(events.user).take(counted)),
                schema.ITEM_ID: events.items.take(pa.array(events.item).take(counted)),
                schema.VALUE: pa.array(events.value, from_pandas=True).take(counted),
                "us": pa.array(events.us).take(counted),
                schema.CLOCK: pa.array(events.clock).take(counted),
            }
        ),
        "spoken": facts.texts.append_column(schema.CLOCK, pa.array(review_clocks(events, facts.texts))),
    }
    database = duckdb.connect()
    database.execute("SET threads = 2")
    database.execute("SET TimeZone = 'UTC'")
    for name, table in tables.items():
        database.register(name, table)
    return database


def _write(folder: Path, name: str, pages: Iterable[dict[str, Any]]) -> int:
    """Write a table page by page, every column in the schema's type; NaN is null."""
    wanted, n_rows = TRAINING_TABLES[name], 0
    with pq.ParquetWriter(folder / f"{name}.parquet", wanted, compression="zstd") as file:
        for page in pages:
            columns = [_column(page[field.name], field.type) for field in wanted]
            table = pa.table(columns, schema=wanted)
            file.write_table(table)
            n_rows += len(table)
    return n_rows


def _column(values: Any, type_: pa.DataType) -> pa.Array:
    if isinstance(values, Lists):
        flat = values.values if values.names is None else values.names.take(pa.array(values.values))
        values = pa.ListArray.from_arrays(
            pa.array(np.append(values.starts, len(values.values)).astype(np.int32)), pa.array(flat, from_pandas=True)
        )
    if isinstance(values, pa.ChunkedArray):
        values = values.combine_chunks()
    return (values if isinstance(values, pa.Array) else pa.array(values, from_pandas=True)).cast(type_)


def _page(labels: pa.Table, columns: Columns) -> dict[str, Any]:
    """Labels and features by name; a label's own column wins."""
    return {**columns, **{name: labels.column(name) for name in labels.column_names}}


def _catalogue(workshop: _Workshop, clean: Path) -> Iterator[dict[str, Any]]:
    """Every item, as of the training cut-off."""
    workshop.database.execute(
        "CREATE TABLE items AS SELECT *, file_row_number AS row_id FROM read_parquet($items, file_row_number = true)",
        {"items": str(table_path(clean, "items"))},
    )
    texts = _item_texts(workshop, workshop.settings.max_item_chars)
    clock = _us(workshop.cuts.validation_at)
    moments = f"SELECT item_id, title, category, brand, price, {clock} AS clock FROM items ORDER BY row_id"
    start = 0
    for labels, features in workshop.look_up(CATALOGUE, moments):
        yield {**_page(labels, features), schema.ITEM_TEXT: texts[start : start + len(labels)]}
        start += len(labels)


def _item_texts(workshop: _Workshop, max_chars: int) -> list[str]:
    """What the encoder reads of each item. Where the shop gives no words, the longest reviews before the cut-off do."""
    rows = workshop.database.execute(
        f"""
        WITH told AS (
            SELECT item_id, list(text ORDER BY length(text) DESC, clock, user_id)[:{_REVIEWS_PER_ITEM}] AS texts
            FROM spoken JOIN items USING (item_id)
            WHERE epoch_us(timestamp) < {_us(workshop.cuts.validation_at)} AND title IS NULL AND description IS NULL
            GROUP BY item_id
        )
        SELECT title, brand, category, description, coalesce(texts, [])
        FROM items LEFT JOIN told USING (item_id) ORDER BY row_id
        """
    ).fetchall()
    return [
        item_text(title, brand, category, description, reviews, max_chars)
        for title, brand, category, description, reviews in rows
    ]


def _sequences(workshop: _Workshop) -> Iterator[dict[str, Any]]:
    """Every user's history at the training cut-off, cut into pieces of at most `max_history` entries, oldest first.

    A piece is the history as of just before the piece that follows, less the items that follow: those have their
    entry there. Feast is asked again only for users whose last answer was a full history.
    """
    opens = _us(workshop.cuts.validation_at)
    rounds: list[pa.Table] = []
    later: dict[str, set[str]] = {}
    moments = f"SELECT DISTINCT user_id, {opens} AS clock, {opens} AS until FROM events WHERE clock < {opens}"
    while moments:
        pages = [_histories(*page) for page in workshop.look_up(SEQUENCE_MODEL, moments)]
        found = pa.concat_tables(pages) if pages else _PIECES.empty_table()
        is_full = pc.equal(pc.list_value_length(found.column(schema.HISTORY_ITEMS)), workshop.settings.max_history)
        full = found.filter(is_full)
        rounds.append(_without(found, later) if rounds else found)
        for user_id, items in zip(
            full.column(schema.USER_ID).to_pylist(), full.column(schema.HISTORY_ITEMS).to_pylist(), strict=True
        ):
            later.setdefault(user_id, set()).update(items)
        # The clock of the oldest entry: of the user's latest event on it before the moment asked for.
        oldest = pc.list_element(full.column(schema.HISTORY_ITEMS), 0)
        workshop.database.register("earlier", full.select([schema.USER_ID, "until"]).append_column("item_id", oldest))
        moments = _BEFORE_THE_OLDEST if len(full) else ""
    numbered = [table.append_column("round", pa.array([-n] * len(table), pa.int64())) for n, table in enumerate(rounds)]
    pieces = pa.concat_tables(numbered).sort_by([(schema.USER_ID, "ascending"), ("round", "ascending")])
    pieces = pieces.filter(pc.greater(pc.list_value_length(pieces.column(schema.HISTORY_ITEMS)), 0))
    yield {name: pieces.column(name) for name in TRAINING_TABLES["sequences"].names}


def _histories(labels: pa.Table, features: Columns) -> pa.Table:
    columns = {**{name: labels.column(name) for name in (schema.USER_ID, "until")}, **features}
    return pa.table([_column(columns[field.name], field.type) for field in _PIECES], schema=_PIECES)


def _without(found: pa.Table, later: dict[str, set[str]]) -> pa.Table:
    """The pieces without the items of the pieces that follow them."""
    rows = found.to_pylist()
    for row in rows:
        pairs = zip(row[schema.HISTORY_ITEMS], row[schema.HISTORY_VALUES], strict=True)
        kept = [pair for pair in pairs if pair[0] not in later[row[schema.USER_ID]]]
        row[schema.HISTORY_ITEMS] = [item for item, _ in kept]
        row[schema.HISTORY_VALUES] = [value for _, value in kept]
    return pa.Table.from_pylist(rows, schema=_PIECES)


def _queries(workshop: _Workshop) -> Iterator[dict[str, Any]]:
    """One row per user and window who took something in it that they had not seen when it opened.

    What is seen, is what serving would mask at that moment; so every target could have been recommended.
    """
    windows = {
        "validation": (_us(workshop.cuts.validation_at), _us(workshop.cuts.test_at)),
        "test": (_us(workshop.cuts.test_at), 1 << 62),
    }
    parts = [
        f"""
        SELECT '{split}' AS split, user_id, {opens} AS clock, list(item_id ORDER BY first) AS targets
        FROM (
            SELECT user_id, item_id, min(clock) AS first FROM events
            WHERE us >= {opens} AND us < {closes} GROUP BY user_id, item_id
        )
        GROUP BY user_id
        """
        for split, (opens, closes) in windows.items()
    ]
    moments = f"SELECT * FROM ({' UNION ALL '.join(parts)}) ORDER BY clock, user_id"
    for labels, features in workshop.look_up(RANKING_QUERIES, moments):
        page = _page(labels, features)
        page[schema.SEEN_KEYS] = seen_then(labels, features, workshop.settings.seen.within_days)
        page[schema.TARGETS] = unseen(labels.column(schema.TARGETS).combine_chunks(), page[schema.SEEN_KEYS])
        kept = pc.greater(pc.list_value_length(page[schema.TARGETS]), 0)
        yield {field.name: _column(page[field.name], field.type).filter(kept) for field in TRAINING_TABLES["queries"]}


def _pairs(workshop: _Workshop) -> Iterator[dict[str, Any]]:
    """One row per rating, with every feature as it stood just before it; a user's together: they share their events."""
    moments = """
        SELECT user_id, item_id, value AS rating, split_of(us) AS split, clock
        FROM events WHERE value IS NOT NULL ORDER BY user_id, clock
    """
    return (_page(*page) for page in workshop.look_up(PAIR_SCORER, moments))


def _reviews(workshop: _Workshop) -> Iterator[dict[str, Any]]:
    """One row per review, with the writer's profile as it stood just before it."""
    moments = """
        SELECT user_id, item_id, rating, text, split_of(epoch_us(timestamp)) AS split, clock
        FROM spoken ORDER BY clock, user_id, item_id, timestamp
    """
    return (_page(*page) for page in workshop.look_up(FEEDBACK_WRITER, moments))


_PIECES = pa.schema(
    [
        (schema.USER_ID, pa.string()), ("until", pa.int64()), (schema.HISTORY_ITEMS, pa.list_(pa.string())),
        (schema.HISTORY_VALUES, pa.list_(pa.float64())), (schema.ATTRIBUTES, pa.string()),
    ]
)  # fmt: skip
_BEFORE_THE_OLDEST = """
    SELECT e.user_id, max(e.clock) AS clock, max(e.clock) AS until
    FROM events AS e JOIN earlier AS o ON e.user_id = o.user_id AND e.item_id = o.item_id AND e.clock < o.until
    GROUP BY e.user_id
"""


def _aware(moment: np.datetime64) -> str:
    """ISO 8601 in UTC."""
    return (_EPOCH + timedelta(microseconds=int(moment.astype("int64")))).isoformat()


def _us(moment: datetime) -> int:
    """Microseconds since 1970, in integers: a float of seconds would lose the last digits."""
    return (moment - _EPOCH) // timedelta(microseconds=1)
