"""Vectors of a shop's items and reviews, as the daily looks of a platform leave them: by the packaged encoder."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa

from benchmarks.drift_power.bundle import RULE
from benchmarks.drift_power.drifts import WITHIN
from core.schema import TRAINING_TABLES
from core.settings.features import FeatureSettings
from core.settings.models import EncoderSettings
from core.sql import literal
from monitoring.embeddings.items import PlacedItems, place_items
from monitoring.embeddings.reviews import STORE, Reviews, embed_reviews
from monitoring.embeddings.series import item_and_user_series, review_series
from monitoring.extent import Extent
from monitoring.signals.activity import Span
from monitoring.signals.series import Series
from recommender.encoders.encoder import TextEncoder
from recommender.encoders.whitening import WHITENING_FILE, Whitening
from recommender.inputs.catalogue import Catalogue
from recommender.inputs.item_vectors import ItemVectors
from recommender.inputs.texts import item_text
from simulation.shop.log import CLOSES_AT

REVIEW_DAYS = 196  # the newest ones: a reference of 168 days and four weeks
_ENCODER = "packaged"
_BEGAN_AT = CLOSES_AT - timedelta(days=WITHIN)


@dataclass(frozen=True)
class Embedded:
    """What is kept of a shop's items and reviews."""

    items: PlacedItems
    reviews: Reviews

    def series(self, connection: duckdb.DuckDBPyConnection, span: Span) -> list[Series]:
        """The signals. Needs what `read_activity` made."""
        return [*item_and_user_series(connection, self.items, span.n_days), *review_series(self.reviews, span)]


class Encoder:
    """The packaged encoder; a text of a shop is encoded once."""

    def __init__(self) -> None:
        self._encoder = TextEncoder.load(EncoderSettings(), print)
        self._known: dict[str, np.ndarray] = {}

    def forget(self) -> None:
        """Begin with another shop."""
        self._known.clear()

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        """Shape (n, D)."""
        new = sorted(set(texts) - self._known.keys())
        if new:
            self._known.update(zip(new, self._encoder.encode(new, print), strict=True))
        return np.stack([self._known[text] for text in texts])


class Shop:
    """A shop whose items were placed by the bundle in service, and whose reviews were embedded day by day.

    Args:
        clean: Folder of the clean tables, without a drift.
        folder: For what is kept; it is made.
        learned_at: When the bundle in service learned: its axes are those of the items that it knows.
    """

    def __init__(self, clean: Path, folder: Path, learned_at: datetime, encode: Encoder) -> None:
        self._encode, self._before = encode, folder / "before"
        vectors = _save_vectors(clean, folder / "vectors", learned_at, encode)
        most = FeatureSettings().max_item_chars
        self._items = place_items(folder / "items", clean, vectors, "in service", encode, most)
        _embed(self._before, clean, _BEGAN_AT, encode)
        self.quiet = self.embedded(clean, folder / "quiet")

    def embedded(self, clean: Path, folder: Path) -> Embedded:
        """With the newest days as tables have them that are the same before these days.

        Args:
            folder: For what is kept; it is made.
        """
        folder.mkdir()
        shutil.copy(self._before / STORE, folder)
        return Embedded(self._items, _embed(folder, clean, CLOSES_AT, self._encode))


def _embed(folder: Path, clean: Path, end: datetime, encode: Encoder) -> Reviews:
    """As many looks as it takes to embed the days up to an end."""
    extent = Extent(first=CLOSES_AT - timedelta(days=REVIEW_DAYS), newest=end - timedelta(microseconds=1))
    kept = embed_reviews(folder, clean, extent, RULE, _ENCODER, encode)
    while (more := embed_reviews(folder, clean, extent, RULE, _ENCODER, encode)) != kept:
        kept = more
    return kept


def _save_vectors(clean: Path, folder: Path, learned_at: datetime, encode: Encoder) -> Path:
    """The `vectors` component of a bundle, of the items that were taken before it learned."""
    events, items = (literal(str(clean / f"{name}.parquet")) for name in ("interactions", "items"))
    with duckdb.connect() as connection:
        rows = connection.execute(
            f"""WITH taken AS (SELECT item_id, count(*) AS n FROM read_parquet({events})
                WHERE timestamp <= TIMESTAMPTZ {literal(learned_at.isoformat())} GROUP BY item_id)
            SELECT item_id, title, brand, category, description, n FROM read_parquet({items}) JOIN taken USING (item_id)
            ORDER BY item_id"""
        ).fetchall()
    most = FeatureSettings().max_item_chars
    told = [
        {"item_id": item, "title": title, "item_text": item_text(title, brand, category, description, [], most),
         "item_n_events": n, "item_n_ratings": 0} for item, title, brand, category, description, n in rows
    ]  # fmt: skip
    catalogue = Catalogue.from_table(pa.Table.from_pylist(told, schema=TRAINING_TABLES["catalogue"]), 0)
    raw = encode(catalogue.texts)
    whitening = Whitening.fit(raw)
    folder.mkdir(parents=True)
    ItemVectors.from_rows(catalogue, whitening.apply(raw)).save(folder)
    whitening.save(folder / WHITENING_FILE)
    return folder
