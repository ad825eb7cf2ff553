"""Looking features up as of points in time, through Feast, for labels that DuckDB makes out of events and reviews."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from core import schema
from core.settings.features import FeatureSettings
from features.archive.shop_facts import ShopFacts, review_clocks
from features.counting.columns import Columns, Lists
from features.counting.derivation import derive_item, derive_user
from features.counting.moments import as_us, moments_of
from features.counting.views import EVENT_TIMESTAMP, ITEM_TIMESTAMP
from features.errors import FeastFailure
from recommender.inputs.splits import Cuts

Page = dict[str, Any]


@dataclass(frozen=True)
class PointInTime:
    """What the tables are built with.

    Attributes:
        database: DuckDB with the events that count (`events`) and the reviews (`reviews_at`), see `database_of`.
        store: Feast's.
        cuts: Where the windows open.
        settings: What features depend on.
    """

    database: Any
    store: Any
    cuts: Cuts
    settings: FeatureSettings

    def look_up(self, service: str, moments: str) -> Iterator[tuple[pa.Table, Columns]]:
        """Ask Feast for features as of given moments.

        Args:
            service: The feature service.
            moments: DuckDB statement that gives the entity keys, `clock` (the first moment not known), columns that
                are passed through, and `item_timestamp` where items are asked for as of another moment.
        Returns:
            Pages of the moments in their order, each with the facts asked for and what is derived of them.
        Raises:
            FeastFailure: Feast could not look them up.
        """
        frame = self.database.execute(
            f"SELECT * EXCLUDE (clock), make_timestamp(clock - 1) AS {EVENT_TIMESTAMP} FROM ({moments})"
        ).df()
        for name in {EVENT_TIMESTAMP, ITEM_TIMESTAMP} & set(frame.columns):
            frame[name] = frame[name].dt.tz_localize("UTC")
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
        found: Columns = dict(facts)
        if "rating_sum" in facts:
            found |= derive_user(facts, moments_of(labels, schema.USER_ID), self.settings.n_affinities)
        if "item_rating_sum" in facts:
            found |= derive_item(facts, moments_of(labels, schema.ITEM_ID), self.settings.windows_days)
        return found


def database_of(facts: ShopFacts, cuts: Cuts) -> Any:
    """An in-memory DuckDB with the events that count, and the reviews at their clocks; times in microseconds, kinds as
    places in `schema.EVENTS`.

    Its macro `split_of` names the split of a moment.
    """
    import duckdb

    events, counted = facts.events, pa.array(np.flatnonzero(facts.events.counted))
    tables = {
        "events": pa.table(
            {
                schema.USER_ID: events.users.take(pa.array(events.user).take(counted)),
                schema.ITEM_ID: events.items.take(pa.array(events.item).take(counted)),
                schema.VALUE: pa.array(events.value, from_pandas=True).take(counted),
                "kind": pa.array(events.kind).take(counted),
                "us": pa.array(events.us).take(counted),
                schema.CLOCK: pa.array(events.clock).take(counted),
            }
        ),
        "reviews_at": facts.texts.append_column(schema.CLOCK, pa.array(review_clocks(events, facts.texts))),
    }
    database = duckdb.connect()
    database.execute("SET threads = 2")
    database.execute("SET TimeZone = 'UTC'")
    for name, table in tables.items():
        database.register(name, table)
    database.execute(
        f"""
        CREATE MACRO split_of(moment) AS CASE
            WHEN moment < {as_us(cuts.validation_at)} THEN 'train'
            WHEN moment < {as_us(cuts.test_at)} THEN 'validation'
            ELSE 'test' END
        """
    )
    return database


def page_of(labels: pa.Table, columns: Columns) -> Page:
    """Labels and features by name; a label's own column wins."""
    return {**columns, **{name: labels.column(name) for name in labels.column_names}}


def as_column(values: Any, type_: pa.DataType) -> pa.Array:
    """Values as a column of the schema's type; NaN is null."""
    if isinstance(values, Lists):
        flat = values.values if values.names is None else values.names.take(pa.array(values.values))
        values = pa.ListArray.from_arrays(
            pa.array(np.append(values.starts, len(values.values)).astype(np.int32)), pa.array(flat, from_pandas=True)
        )
    if isinstance(values, pa.ChunkedArray):
        values = values.combine_chunks()
    return (values if isinstance(values, pa.Array) else pa.array(values, from_pandas=True)).cast(type_)
