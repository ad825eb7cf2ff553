"""The simulated shop's log, from its settings: the same settings give the same rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from core.schema import TableName
from core.settings.source import SimulatedSource
from simulation.shop.behaviour import Crowd, Row, Times, User
from simulation.shop.catalogue import stock
from simulation.shop.dirt import soil

CLOSES_AT = datetime(2026, 6, 30, tzinfo=UTC)
_NEWEST = 0.1  # share of the time in which a drift scenario shows
_ITEM_COLUMNS = ("item_id", "title", "description", "price", "created_at", "style", "character", "origin")

Watch = Callable[[User, Row | None], None]


def read_log(source: SimulatedSource, watch: Watch | None = None) -> Iterator[Row]:
    """Everything that happens in the shop, some rows of it broken on purpose: items, then user after user.

    Args:
        watch: Called with a user and each row that they are about to leave, and with None behind the last one.
    """
    rng = np.random.default_rng(source.seed)
    for table, values in _rows(source, rng, watch):
        dirty = rng.random() < source.dirty_share
        yield from ((table, row) for row in (soil(table, values, rng) if dirty else [values]))


def _rows(source: SimulatedSource, rng: np.random.Generator, watch: Watch | None) -> Iterator[Row]:
    times = _times(source)
    items = stock(
        source.n_items, times.opens_at, source.n_days, times.catalogue_drifts_at, rng, source.item_lifetime_days
    )
    for item in items:
        values: dict[str, Any] = {name: value for name, value in asdict(item).items() if name in _ITEM_COLUMNS}
        path = {"category": f"{item.section} > {item.style}", "brand": item.maker, "range": item.range_name}
        table: TableName = "items"
        yield table, {**values, **path}
    crowd = Crowd(items, times, rng)
    for number in rng.permutation(source.n_users):
        user = User(f"u{10_000 + int(number)}", crowd, rng)
        for row in user.live():
            if watch is not None:
                watch(user, row)
            yield row
        if watch is not None:
            watch(user, None)


def _times(source: SimulatedSource) -> Times:
    length = timedelta(days=source.n_days)
    drifts_at = CLOSES_AT - length * _NEWEST
    return Times(
        opens_at=CLOSES_AT - length,
        closes_at=CLOSES_AT,
        taste_drifts_at=drifts_at if source.drift == "taste" else None,
        catalogue_drifts_at=drifts_at if source.drift == "catalogue" else None,
    )
