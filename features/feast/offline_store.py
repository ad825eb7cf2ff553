"""Feast's offline stores for DuckDB and PostgreSQL: the sources are events, the views are counted from them.

Feast joins labels with rows that hold every feature as it stood after each event: for a user of 700 events, 700 rows of
whole histories, all of which its join pairs with every later label. Here the source of a view is the events alone, and
the facts as of each label are counted from them (`features.counting`): a look-up per label and fact. The registry
describes the views as usual, and Feast asks through its own interface. The two stores differ in where the events are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from feast.infra.offline_stores.contrib.postgres_offline_store.postgres import (
    PostgreSQLOfflineStore,
    PostgreSQLOfflineStoreConfig,
)
from feast.infra.offline_stores.duckdb import DuckDBOfflineStore, DuckDBOfflineStoreConfig
from feast.infra.offline_stores.offline_store import OfflineStore, RetrievalJob, RetrievalMetadata

from core import schema
from features.archive.publication import open_published, read_published
from features.archive.shop_facts import ShopFacts, load_facts
from features.counting.columns import Columns, Lists
from features.counting.moments import as_us, moments_of
from features.counting.streams import Array
from features.counting.views import ENTITY, EVENT_TIMESTAMP, FACTS, NEWEST
from features.errors import FeatureError
from features.feast.store_types import DUCKDB_OFFLINE, POSTGRES_OFFLINE, SOURCE_SUFFIX

# Labels that are worked on at once; so memory does not grow with their number.
ROWS_PER_PAGE = 50_000

# Later than any event.
_TODAY = 1 << 62
# What follows a view's name in the name of its source.


class FactsJob(RetrievalJob):
    """Feast's retrieval job: labels with their facts, all at once or page by page, in the labels' order."""

    def __init__(self, facts: ShopFacts, labels: pa.Table, wanted: dict[str, list[str]]) -> None:
        self._facts, self._labels, self._wanted = facts, labels, wanted

    @property
    def full_feature_names(self) -> bool:
        """Never: no two views share a name."""
        return False

    @property
    def on_demand_feature_views(self) -> list[Any]:
        """None."""
        return []

    @property
    def metadata(self) -> RetrievalMetadata:
        """What was asked for."""
        return RetrievalMetadata(
            features=[f"{view}:{name}" for view, names in self._wanted.items() for name in names],
            keys=[name for name in self._labels.column_names if name != EVENT_TIMESTAMP],
        )

    def pages(self, n_rows: int = ROWS_PER_PAGE) -> Iterator[tuple[pa.Table, Columns]]:
        """Pages of labels, and their facts by name."""
        for start in range(0, len(self._labels), n_rows):
            page = self._labels.slice(start, n_rows).combine_chunks()
            columns: Columns = {}
            for view, names in self._wanted.items():
                ids = page.column(ENTITY[view]).combine_chunks().cast(pa.string())
                columns |= self._facts.as_of(view, ids, moments_of(page, ENTITY[view]), names)
            yield page, columns

    def _to_arrow_internal(self, timeout: int | None = None) -> pa.Table:
        tables = [with_columns(page, columns) for page, columns in self.pages()]
        if not tables:
            types = {name: FACTS[view][name] for view, names in self._wanted.items() for name in names}
            empty = {name: pa.array([], type_) for name, type_ in types.items()}
            return with_columns(self._labels, empty)  # type: ignore[arg-type]
        return pa.concat_tables(tables)

    def _to_df_internal(self, timeout: int | None = None) -> Any:
        return self._to_arrow_internal(timeout).to_pandas()


def with_columns(table: pa.Table, columns: Columns) -> pa.Table:
    """The table with further columns."""
    for name, column in columns.items():
        table = table.append_column(name, as_arrow(column))
    return table


def as_arrow(column: Any) -> pa.Array:
    """A column of facts or features as Arrow; NaN stays NaN."""
    return column.to_arrow() if isinstance(column, Lists) else pa.array(column)


class _Counting(OfflineStore):
    """What both offline stores share."""

    @staticmethod
    def get_historical_features(
        config: Any,
        feature_views: list[Any],
        feature_refs: list[str],
        entity_df: Any,
        registry: Any,
        project: str,
        full_feature_names: bool = False,
        **kwargs: Any,
    ) -> FactsJob:
        """For every label, each view's facts as of the label's time.

        Args:
            config: Feast's repository configuration.
            feature_views: The views asked for.
            feature_refs: "view:feature" of all features wanted.
            entity_df: pandas; entity keys, `event_timestamp` (aware, UTC), and columns that are passed through, of
                which `item_timestamp` says as of when the views of items are asked for, where that is another moment.
                None: every user, or every item, with an event from `start_date` to `end_date`, as of the latter.
            registry: Feast's registry.
            project: Feast's project.
            full_feature_names: Not needed: no two views share a name.
            kwargs: `start_date` and `end_date`; no other of Feast's options applies to facts counted from events.
        Returns:
            All rows of `entity_df`, in its order. A user or item without events has counts of 0 and empty lists.
        Raises:
            StoreNotReady: nothing was ever refreshed.
            FeatureError: no `entity_df`, and features of users beside features of items.
        """
        facts = load_facts(Path(str(config.repo_path)))
        wanted: dict[str, list[str]] = {}
        for reference in feature_refs:
            view, name = reference.split(":")
            wanted.setdefault(view, []).append(name)
        if entity_df is None:
            labels = _labels_within(facts, list(wanted), kwargs.get("start_date"), kwargs["end_date"])
        else:
            labels = pa.Table.from_pandas(entity_df, preserve_index=False)
        return FactsJob(facts, labels, wanted)

    @staticmethod
    def pull_latest_from_table_or_query(
        config: Any,
        data_source: Any,
        join_key_columns: list[str],
        feature_name_columns: list[str],
        timestamp_field: str,
        created_timestamp_column: str | None,
        start_date: datetime,
        end_date: datetime,
        **kwargs: Any,
    ) -> RetrievalJob:
        """Every entity's facts as of `end_date`, of those with a newest event from `start_date` on.

        A view without a clock has one state only, that of today.
        """
        facts = load_facts(Path(str(config.repo_path)))
        view = data_source.name.removesuffix(SOURCE_SUFFIX)
        end, start = (as_us(_aware(moment)) for moment in (end_date, start_date))
        ids, newest = _newest_events(facts, view, end)
        moment = np.full(len(ids), end if view in NEWEST else _TODAY)
        columns = facts.as_of(view, ids, moment, feature_name_columns)
        table = pa.table({join_key_columns[0]: ids, timestamp_field: pa.array(newest).cast(schema.TIME)})
        chosen = (newest >= start) | (newest == 0)
        return _Ready(with_columns(table, columns).filter(pa.array(chosen)))

    def validate_data_source(self, config: Any, data_source: Any) -> None:
        """Whether what is published is there; what Feast's `apply` and `plan` ask first.

        Raises:
            ArchiveDamaged: a part is missing, or not what was published.
        """
        folder = Path(str(config.repo_path))
        published = read_published(folder)
        if published is not None:  # if not, there is nothing yet, and a refresh makes it
            open_published(folder, published).verify(published.n_parts)

    # Feast's own would look for rows of features, and there are none.
    pull_all_from_table_or_query = pull_latest_from_table_or_query


class _Ready(FactsJob):
    """A job whose table is there already."""

    def __init__(self, table: pa.Table) -> None:
        self._table = table

    def _to_arrow_internal(self, timeout: int | None = None) -> pa.Table:
        return self._table


class CountingDuckDBOfflineStoreConfig(DuckDBOfflineStoreConfig):
    """The configuration of `CountingDuckDBOfflineStore`."""

    type: Literal["features.feast.offline_store.CountingDuckDBOfflineStore"] = DUCKDB_OFFLINE


class CountingDuckDBOfflineStore(_Counting, DuckDBOfflineStore):
    """Events in Parquet files, read by DuckDB."""


class CountingPostgreSQLOfflineStoreConfig(PostgreSQLOfflineStoreConfig):
    """The configuration of `CountingPostgreSQLOfflineStore`."""

    type: Literal["features.feast.offline_store.CountingPostgreSQLOfflineStore"] = POSTGRES_OFFLINE  # type: ignore[assignment]


class CountingPostgreSQLOfflineStore(_Counting, PostgreSQLOfflineStore):
    """Events in tables of PostgreSQL, read as Arrow by its ADBC driver."""


def _newest_events(facts: ShopFacts, view: str, end: int) -> tuple[pa.Array, Array]:
    """Every entity of a view, and the time of its newest event up to `end`; 0 without one, or without a clock."""
    ids = facts.entities(view)
    if view not in NEWEST:
        return ids, np.zeros(len(ids), dtype=np.int64)
    return ids, np.asarray(facts.as_of(view, ids, np.full(len(ids), end), [NEWEST[view]])[NEWEST[view]])


def _labels_within(facts: ShopFacts, views: Sequence[str], start: datetime | None, end: datetime) -> pa.Table:
    """Labels at `end` of every entity with an event of one of the views since `start`."""
    keys = sorted({ENTITY[view] for view in views})
    if len(keys) > 1:
        raise FeatureError(
            "Cannot look up features",
            got=f"views={', '.join(views)} without labels",
            expected="views of users alone, or of items alone",
            do="Ask for them apart, or give labels with both keys",
        )
    since = as_us(_aware(start)) if start is not None else 1
    found: list[pa.Array] = []
    for view in views:
        ids, newest = _newest_events(facts, view, as_us(_aware(end)))
        found.append(ids.filter(pa.array(newest >= since)) if view in NEWEST else ids)
    entities = pa.chunked_array(found, pa.string()).unique()
    return pa.table({keys[0]: entities, EVENT_TIMESTAMP: pa.array([_aware(end)] * len(entities), schema.TIME)})


def _aware(moment: datetime) -> datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
