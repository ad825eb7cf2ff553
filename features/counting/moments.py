"""Moments as whole microseconds since 1970: a float of seconds would lose the last digits."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa

from core import schema
from features.counting.streams import Array
from features.counting.views import EVENT_TIMESTAMP, ITEM_TIMESTAMP

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def as_us(moment: datetime) -> int:
    """Microseconds since 1970 of a moment with a time zone."""
    return (moment - EPOCH) // _MICROSECOND


def as_moment(us: int) -> datetime:
    """The moment, in UTC."""
    return EPOCH + timedelta(microseconds=us)


def moments_of(labels: pa.Table, key: str) -> Array:
    """As of when labels are asked for the views of a key, microseconds since 1970."""
    of_items = key == schema.ITEM_ID and ITEM_TIMESTAMP in labels.column_names
    column = labels.column(ITEM_TIMESTAMP if of_items else EVENT_TIMESTAMP)
    return np.asarray(column.cast(pa.timestamp("us", tz="UTC")).cast(pa.int64()).to_numpy(), dtype=np.int64)
