"""Reader of kind "simulated": a delicatessen that this project simulates, so that everything runs without any data."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from core.schema import TABLES, TableName
from core.settings.source import SimulatedSource
from simulation.shop.behaviour import Crowd, Row, Times, User
from simulation.shop.catalogue import stock
from simulation.shop.dirt import soil
from validation.raw.writer import RawWriter, RowParts

CLOSES_AT = datetime(2026, 6, 30, tzinfo=UTC)
_NEWEST = 0.1  # share of the time in which a drift scenario shows
_ITEM_COLUMNS = ("item_id", "title", "description", "price", "created_at", "style", "character", "origin")


def read(source: SimulatedSource, writer: RawWriter) -> None:
    """Simulate the shop and write its logs; the same settings give the same rows."""
    rng = np.random.default_rng(source.seed)
    with RowParts(writer, "simulated") as parts:
        for table, values in _rows(source, rng):
            dirty = rng.random() < source.dirty_share
            for row in soil(table, values, rng) if dirty else [values]:
                contract = {column.name for column in TABLES[table].columns}
                parts.add(
                    table,
                    {name: value for name, value in row.items() if name in contract},
                    attributes={name: value for name, value in row.items() if name not in contract},
                    source_file="simulated",
                    source_number=parts.n_rows + 1,
                )


def _rows(source: SimulatedSource, rng: np.random.Generator) -> Iterator[Row]:
    times = _times(source)
    items = stock(source.n_items, times.opens_at, source.n_days, times.catalogue_drifts_at, rng)
    for item in items:
        values: dict[str, Any] = {name: value for name, value in asdict(item).items() if name in _ITEM_COLUMNS}
        path = {"category": f"{item.section} > {item.style}", "brand": item.maker, "range": item.range_name}
        table: TableName = "items"
        yield table, {**values, **path}
    crowd = Crowd(items, times, rng)
    numbers = rng.permutation(source.n_users)
    for number in numbers:
        yield from User(f"u{10_000 + int(number)}", crowd, rng).live()


def _times(source: SimulatedSource) -> Times:
    length = timedelta(days=source.n_days)
    drifts_at = CLOSES_AT - length * _NEWEST
    return Times(
        opens_at=CLOSES_AT - length,
        closes_at=CLOSES_AT,
        taste_drifts_at=drifts_at if source.drift == "taste" else None,
        catalogue_drifts_at=drifts_at if source.drift == "catalogue" else None,
    )
