"""A shop with a large catalogue, its online store and a bundle in service, whose weights are drawn instead of learned.

Fitting a million items takes hours, and what an answer costs does not depend on what the weights say. How well an
index finds the best items does: so items lie in clusters of kinds, as items of a shop do, and are not spread evenly.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch

from benchmarks.harness.feature_shop import write_clean_tables
from benchmarks.serving_load.servers import variables_of
from core import schema
from core.layout import Layout
from core.settings.tree import Recipe
from features.refresh import refresh_features
from recommender.bundle.assembly import assemble_bundle
from recommender.bundle.data_range import DataRange
from recommender.bundle.manifest import Component
from recommender.inputs.catalogue import Catalogue
from recommender.inputs.item_moments import POPULARITY
from recommender.inputs.item_vectors import ItemVectors
from recommender.ranking.blend import Blend, ColdItems
from recommender.ranking.cold_users import ColdUserWeights
from recommender.ranking.parts import ItemToItem, Popularity, RecentPopularity, Retriever, TextLikeness, save_parts
from recommender.retrieval.neighbours import NeighbourModel
from recommender.retrieval.sequence.model import SequenceModel, SequenceShape

TEXT_WIDTH = 384
N_CATEGORIES, N_BRANDS = 20_000, 5000
EVENTS_PER_USER = 20
# Items that lie together, and how far from their middle, which is of length 1.
CLUSTER_OF, SPREAD = 200, 0.8
N_NEIGHBOURS, LEARNED = 100, 20_000
SEED = 7
SHOP = "large"


@dataclass(frozen=True)
class LargeShop:
    """A shop that a service can be started for.

    Attributes:
        layout: Where it lies.
        bundle: Its bundle, which is in service too.
        bentoml_home: The model store.
    """

    layout: Layout
    bundle: Path
    bentoml_home: Path

    def variables(self, **serving: object) -> dict[str, str]:
        """The environment of its service."""
        return variables_of(self.layout, self.bentoml_home, serving)


def build_shop(folder: Path, n_items: int, n_users: int, is_blend: bool) -> LargeShop:
    """Draw it, count its features, and put a bundle into service; what lies there already is used again.

    Args:
        folder: Where it is kept.
        is_blend: Whether texts, neighbours and popularity rank beside the sequence model.
    """
    clean, layout = folder / f"clean-{n_items}-{n_users}", Layout(folder / f"work-{n_items}-{n_users}-{is_blend}", SHOP)
    home, bundle = layout.work_dir / "bentoml", layout.work_dir / "bundle"
    recipe = Recipe()
    if not clean.is_dir():
        write_clean_tables(clean, n_events=EVENTS_PER_USER * n_users, n_users=n_users, n_items=n_items, rated_share=0.2)
    if not layout.feast.is_dir():
        refresh_features(clean, layout.feast, recipe.features)
    if not bundle.is_dir():
        _make_bundle(bundle, clean, recipe, n_items, is_blend)
    if not home.is_dir():
        from flows.promotion import model_store

        os.environ["BENTOML_HOME"] = str(home)
        model_store.promote(bundle, layout.model_name, {})
    return LargeShop(layout, bundle, home)


def _make_bundle(target: Path, clean: Path, recipe: Recipe, n_items: int, is_blend: bool) -> None:
    generator = np.random.default_rng(SEED)
    torch.manual_seed(SEED)
    parts = target.parent / "parts"
    names: list[Component] = ["vectors", "sequence", *(["blend"] if is_blend else [])]  # type: ignore[list-item]
    folders = {name: parts / name for name in names}
    for folder in folders.values():
        folder.mkdir(parents=True, exist_ok=True)
    vectors = ItemVectors.from_rows(
        _catalogue(clean, len(recipe.features.windows_days)), clustered(generator, n_items, TEXT_WIDTH)
    )
    vectors.save(folders["vectors"])
    _sequence_model(vectors, recipe, generator).save(folders["sequence"])
    if is_blend:
        _save_blend(folders["blend"], vectors, generator)
    data = DataRange(
        fingerprint="drawn", first_event_at="2025-01-01T00:00:00+00:00", last_event_at="2026-01-01T00:00:00+00:00",
        validation_at="2025-12-01T00:00:00+00:00", test_at="2025-12-15T00:00:00+00:00", rows={},
    )  # fmt: skip
    assemble_bundle(
        target,
        shop=SHOP,
        recipe=recipe,
        data=data,
        components=folders,
        code_version="benchmark",
    )


def clustered(generator: np.random.Generator, n: int, width: int) -> np.ndarray:
    """Vectors of length 1 around middles, drawn evenly. Shape (n, width), float32."""
    middles = generator.standard_normal((max(n // CLUSTER_OF, 1), width), dtype=np.float32) / np.sqrt(width)
    rows = generator.standard_normal((n, width), dtype=np.float32)
    rows *= SPREAD / np.sqrt(width)
    rows += middles[generator.integers(0, len(middles), n)]
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows.astype(np.float32)


def _catalogue(clean: Path, n_windows: int) -> Catalogue:
    items = pq.read_table(clean / "items.parquet")
    events = pq.read_table(clean / "interactions.parquet", columns=[schema.ITEM_ID, schema.EVENT])
    counts = events.group_by(schema.ITEM_ID).aggregate([(schema.EVENT, "count")])
    places = pc.index_in(items[schema.ITEM_ID], value_set=counts[schema.ITEM_ID].combine_chunks())
    n_events = pc.fill_null(counts[f"{schema.EVENT}_count"].combine_chunks().take(places.combine_chunks()), 0)
    numbers = np.arange(len(items))
    columns = {
        schema.ITEM_ID: items[schema.ITEM_ID],
        schema.TITLE: items[schema.TITLE],
        schema.CATEGORY: pa.array([f"Group {n % 100} > Kind {n % N_CATEGORIES}" for n in numbers]),
        schema.BRAND: pa.array([f"Brand {n % N_BRANDS}" for n in numbers]),
        schema.PRICE: items[schema.PRICE],
        schema.ITEM_TEXT: items[schema.TITLE],
        schema.ITEM_N_EVENTS: n_events,
        schema.ITEM_N_RATINGS: pa.array(np.zeros(len(items), dtype=np.int64)),
        POPULARITY: pa.array([[count // 10] * n_windows for count in n_events.to_pylist()], pa.list_(pa.int64())),
    }
    wanted = schema.TRAINING_TABLES["catalogue"]
    arrays = [
        columns[field.name].cast(field.type) if field.name in columns else pa.nulls(len(items), field.type)
        for field in wanted
    ]
    return Catalogue.from_table(pa.Table.from_arrays(arrays, schema=wanted), seed=SEED)


def _sequence_model(vectors: ItemVectors, recipe: Recipe, generator: np.random.Generator) -> SequenceModel:
    n_items, settings = len(vectors.ids), recipe.sequence
    shape = SequenceShape(
        n_items=n_items, text_width=TEXT_WIDTH, width=settings.width, n_blocks=settings.n_blocks,
        n_heads=settings.n_heads, max_history=recipe.features.max_history, use_ids=True, use_text=True,
    )  # fmt: skip
    learned = torch.cat([torch.zeros(1, dtype=torch.bool), torch.ones(n_items, dtype=torch.bool)])
    model = SequenceModel(shape, vectors.text, learned)
    with torch.no_grad():
        model.id_vectors[1:] = torch.from_numpy(clustered(generator, n_items, settings.width))
    model.popularity_weight.fill_(0.05)
    return model


def _save_blend(folder: Path, vectors: ItemVectors, generator: np.random.Generator) -> None:
    n_items = len(vectors.ids)
    learned = np.argsort(-vectors.catalogue.n_events, kind="stable")[:LEARNED] + 1
    items = np.zeros((n_items + 1, N_NEIGHBOURS), dtype=np.int32)
    weights = np.zeros((n_items + 1, N_NEIGHBOURS), dtype=np.float32)
    items[learned] = generator.choice(learned, (len(learned), N_NEIGHBOURS))
    weights[learned] = generator.exponential(0.05, (len(learned), N_NEIGHBOURS))
    parts: dict[str, Retriever] = {
        "neighbours": ItemToItem("neighbours", NeighbourModel(items, weights, 0.7)),
        "text": TextLikeness(vectors),
        "popularity": Popularity(vectors),
        "popularity_recent_2": RecentPopularity(vectors, 1),
    }
    save_parts(folder, parts)
    weight_of = {"sequence": 1.0, "neighbours": 0.6, "text": 0.3, "popularity": 0.1, "popularity_recent_2": 0.1}
    Blend("weighted", weight_of).save(folder)
    ColdItems().save(folder)
    ColdUserWeights.of_shares(np.log1p(vectors.catalogue.n_events)).save(folder)
