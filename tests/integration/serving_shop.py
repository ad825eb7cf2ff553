"""A shop of sixty users made by hand, its feature store, and bundles that the real functions fit on it."""

from __future__ import annotations

import json
import random
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from core import schema
from core.layout import Layout
from core.settings.tree import Recipe
from core.storage import write_json
from recommender.bundle.assembly import assemble_bundle, record_evaluation
from recommender.bundle.data_range import DataRange
from recommender.bundle.manifest import Component
from recommender.fitting.context import FitContext

SHOP = "tiny"
USERS = [f"u{n:02}" for n in range(60)]
KINDS = ("red wine", "green tea", "hard cheese")
ITEMS = [f"{kind.split()[1]}-{n}" for kind in KINDS for n in range(10)]
EVENTS_PER_USER = 12
OWN_COLUMNS = ("in_stock", "country")
WHOLE: tuple[Component, ...] = ("vectors", "sequence", "blend", "generative", "scorer", "writer", "explainer")
START = datetime(2026, 1, 1, tzinfo=UTC)
RECIPE = Recipe.model_validate(
    {
        # How the shop's clients name events; nothing is read from there.
        "source": {
            "kind": "tables",
            "path": "shop",
            "values": {"interactions": {"event": {"bought": "purchase", "hover": ""}}},
        },
        "validation": {"cleaning": {"rating_scale": [0, 10]}},
        # Shorter than the catalogue: what a user has seen is more than that.
        "features": {"max_history": 20},
        "encoder": {"max_tokens": 16},
        "sequence": {"width": 16, "max_epochs": 2},
        "generative": {"width": 16, "levels": 2, "codes": 4, "max_epochs": 2},
        "scorer": {"hidden": 8, "max_epochs": 2, "factors": 4, "factor_steps": 5},
        "writer": {"vocabulary": 300, "width": 16, "n_layers": 1, "n_heads": 2, "max_tokens": 64, "max_steps": 4},
    }
)


@dataclass(frozen=True)
class TinyShop:
    """Where the shop lies, and its two bundles.

    Attributes:
        whole: A bundle with every part.
        bare: One without generative retrieval, scorer, writer and explainer.
    """

    layout: Layout
    whole: Path
    bare: Path


def copy_shop(built: Path, work_dir: Path) -> TinyShop:
    """A shop that was built in one work folder, in another."""
    layout = Layout(work_dir, SHOP)
    shutil.copytree(Layout(built, SHOP).root, layout.root)
    summary = layout.training("k") / "summary.json"  # all others are where they are found
    write_json(summary, {**json.loads(summary.read_text(encoding="utf-8")), "folder": layout.training("k")})
    return TinyShop(layout=layout, whole=layout.bundle("whole"), bare=layout.bundle("bare"))


def build_shop(work_dir: Path) -> None:
    """Make the clean tables, the feature store, the training set and the bundles."""
    from features.refresh import refresh_features
    from features.training import build_training_set
    from recommender.explaining.training import fit_explainer
    from recommender.ranking.blend_training import fit_blend
    from recommender.retrieval.generative.training import fit_generative
    from recommender.retrieval.sequence.fit import fit_sequence
    from recommender.retrieval.text.embedding import embed_catalogue
    from recommender.scoring.training import fit_scorer
    from recommender.writing.training import fit_writer

    layout = Layout(work_dir, SHOP)
    clean, training = layout.clean("k"), layout.training("k")
    write_clean_tables(clean)
    refresh_features(clean, layout.feast, RECIPE.features)
    summary = build_training_set(clean, layout.feast, training, RECIPE.features, RECIPE.evaluation)
    parts: dict[Component, Path] = {name: layout.root / "parts" / name for name in WHOLE}

    vectors, max_history = parts["vectors"], RECIPE.features.max_history
    embed_catalogue(FitContext(training, 7, threads=1), vectors, RECIPE.encoder)
    fit_sequence(
        FitContext(training, 7, threads=1),
        vectors,
        parts["sequence"],
        RECIPE.sequence,
        max_history,
    )
    fit_blend(
        FitContext(training, 7, threads=1),
        vectors,
        parts["sequence"],
        parts["blend"],
        (RECIPE.neighbours, RECIPE.item_knn),
        RECIPE.blend,
    )
    assert fit_generative(
        FitContext(training, 7, threads=1),
        vectors,
        parts["generative"],
        RECIPE.generative,
        max_history,
    )
    assert fit_scorer(FitContext(training, 7, threads=1), vectors, parts["scorer"], RECIPE.scorer)
    assert fit_writer(FitContext(training, 7, threads=1), parts["writer"], RECIPE.writer)
    assert fit_explainer(FitContext(training, 7, threads=1), vectors, parts["explainer"], RECIPE.reasons)
    data = DataRange(
        fingerprint="tiny",
        rows=summary.rows,
        **{name: getattr(summary, name) for name in ("first_event_at", "last_event_at", "validation_at", "test_at")},
    )

    def assemble(key: str, names: tuple[Component, ...]) -> None:
        assemble_bundle(
            layout.bundle(key),
            shop=SHOP,
            recipe=RECIPE,
            data=data,
            components={name: parts[name] for name in names},
            code_version="test",
        )
        record_evaluation(layout.bundle(key), {"ndcg_at_10": 0.5}, None)

    assemble("whole", WHOLE)
    assemble("bare", ("vectors", "sequence"))


def write_clean_tables(clean: Path) -> None:
    """Every user has a favourite kind, rates it high and the others low, and writes so."""
    rng = random.Random(3)
    interactions: list[dict[str, Any]] = []
    feedback: list[dict[str, Any]] = []
    for number, user in enumerate(USERS):
        favourite = KINDS[number % len(KINDS)].split()[1]
        own = [item for item in ITEMS if item.startswith(favourite)]
        others = [item for item in ITEMS if not item.startswith(favourite)]
        for place, item in enumerate(rng.sample(own, 8) + rng.sample(others, EVENTS_PER_USER - 8)):
            rating = float(rng.choice((4, 5)) if item in own else rng.choice((1, 2, 3)))
            moment = START + timedelta(days=place, minutes=number)
            interactions.append(
                {
                    schema.EVENT_ID: f"{user}-{place}",
                    schema.USER_ID: user,
                    schema.ITEM_ID: item,
                    schema.EVENT: "rating",
                    schema.VALUE: rating,
                    schema.TIMESTAMP: moment,
                    schema.POSITION: place,
                }
            )
            verdict = "I would buy it again." if rating >= 4 else "It is not for me."
            feedback.append(
                {
                    schema.USER_ID: user,
                    schema.ITEM_ID: item,
                    schema.RATING: rating,
                    schema.TEXT: f"This {item.split('-')[0]} has taste number {rng.randrange(50)}. {verdict}",
                    schema.TIMESTAMP: moment,
                }
            )
    items = [
        {
            schema.ITEM_ID: item,
            schema.TITLE: f"Number {item.split('-')[1]} of the {item.split('-')[0]} shelf",
            schema.CATEGORY: next(kind for kind in KINDS if kind.endswith(item.split("-")[0])),
            schema.PRICE: 5.0 + n,
            "in_stock": str(n % 4),
            "country": ("FR", "IT")[n % 2],
        }
        for n, item in enumerate(ITEMS)
    ]
    users = [{schema.USER_ID: user, schema.SIGNUP_AT: START} for user in USERS]
    clean.mkdir(parents=True)
    rows = {"users": users, "items": items, "interactions": interactions, "feedback": feedback}
    for name, table in schema.TABLES.items():
        own = [pa.field(column, pa.string()) for column in OWN_COLUMNS if name == "items"]
        of_table = pa.schema([*table.arrow(), *own])
        pq.write_table(pa.Table.from_pylist(rows[name], schema=of_table), clean / f"{name}.parquet")
