"""Every setting of a model is read by the step that fits the model: what is accepted is never ignored."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from core.settings import models
from core.settings.form import Frozen
from core.settings.tree import Recipe
from flows.steps import fits
from recommender.fitting.context import FitContext
from tests.unit.recommender.explaining.explained_shop import write_shop as write_explained_shop
from tests.unit.recommender.scoring.test_training import write_shop
from tests.unit.recommender.tiny_shop import N_ITEMS, item, save_tiny_encoder, write_training_set
from tests.unit.recommender.written_shop import write_reviews

CLASSES = [
    cls
    for _, cls in inspect.getmembers(models, inspect.isclass)
    if issubclass(cls, Frozen) and cls.__module__ == models.__name__
]
# What no fit reads, and why.
REASONS = {
    ("CrossEncoderSettings", "kind"): "names the class, which the fit looks at",
    ("LanguageModelWriterSettings", "kind"): "names the class, which the fit looks at",
    ("ScorerSettings", "kind"): "names the class, which the fit looks at",
    ("SmallWriterSettings", "kind"): "names the class, which the fit looks at",
}


@contextmanager
def recorded() -> Iterator[set[tuple[str, str]]]:
    """Within the block, each field of the models' settings that is read, by class and name."""
    read: set[tuple[str, str]] = set()

    def get(self: Any, name: str) -> Any:
        if name in type(self).model_fields:
            read.add((type(self).__name__, name))
        return object.__getattribute__(self, name)

    for cls in CLASSES:
        cls.__getattribute__ = get  # type: ignore[method-assign]
    try:
        yield read
    finally:
        for cls in CLASSES:
            del cls.__getattribute__


def step(body: Any, recipe: Recipe, target: Path, training: Path, **inputs: Any) -> Path:
    """Run the body of a step, as a flow does, but for the flow."""
    context = SimpleNamespace(
        recipe=recipe,
        target=target,
        fit=lambda folder, _held, _start=None: FitContext(folder, recipe.seed, recipe.evaluation.k, threads=1),
    )
    body.__wrapped__(context, training=SimpleNamespace(folder=training), **inputs)
    return target


def out(folder: Path) -> Any:
    return SimpleNamespace(folder=folder)


def save_modality(path: Path) -> Path:
    rows = np.random.default_rng(2).normal(size=(N_ITEMS, 5)).astype(np.float32)
    pq.write_table(pa.table({"item_id": [item(n) for n in range(N_ITEMS)], "picture": rows.tolist()}), path)
    return path


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Recipe:
    """With every model on, in the kind that has most settings."""
    folder = tmp_path_factory.mktemp("models")
    encoder = str(save_tiny_encoder(folder / "encoder"))
    quick = {"max_epochs": 1, "batch_size": 16}
    light = {"max_epochs": 1, "factors": 2, "factor_steps": 2, "hidden": 4}
    return Recipe.model_validate(
        {
            "encoder": {"model": encoder, "fine_tune": "lora", "max_steps": 1, "checks": 1, "precision": "float32"},
            "modality": {"path": str(save_modality(folder / "pictures.parquet")), "column": "picture"},
            "sequence": {**quick, "width": 8, "n_negatives": 4},
            "generative": {**quick, "width": 8, "levels": 2},
            "scorer": {"kind": "cross_encoder", "model": encoder, "max_steps": 1, "max_tokens": 32, "light": light},
            "writer": {"vocabulary": 300, "width": 16, "n_heads": 1, "max_tokens": 64, "max_steps": 1},
            "augmentation": {"crop": 0.5, "mask": 0.5, "reorder": 0.5, "perturb_words": 0.1, "cold_oversampling": 2},
            "evaluation": {"k": 5},
        }
    )


def test_every_setting_of_a_model_is_read_or_has_a_reason(recipe: Recipe, tmp_path: Path) -> None:
    # The writer that is fitted first lies there as any Hugging Face model does.
    tuned = {"kind": "language_model", "model": str(tmp_path / "writer"), "max_steps": 1, "max_tokens": 64}
    other = Recipe.model_validate({"writer": tuned})
    training, reviews = write_training_set(tmp_path / "training"), write_reviews(tmp_path / "reviews", n_train=100)
    explained = write_explained_shop(tmp_path / "explained")
    pairs, rated_vectors = write_shop(tmp_path / "rated", n_train=210)
    with recorded() as read:
        digests = {"model_digest": "", "modality_digest": ""}
        vectors = step(fits.embed_catalogue, recipe, tmp_path / "vectors", training, **digests)
        sequence = step(fits.fine_tune_sequence, recipe, tmp_path / "sequence", training, vectors=out(vectors))
        step(fits.blend_models, recipe, tmp_path / "blend", training, vectors=out(vectors), sequence=out(sequence))
        step(fits.fine_tune_generative, recipe, tmp_path / "generative", training, vectors=out(vectors))
        step(fits.fine_tune_scorer, recipe, tmp_path / "scorer", pairs, vectors=out(rated_vectors), model_digest="")
        step(fits.fine_tune_writer, recipe, tmp_path / "writer", reviews, model_digest="")
        step(fits.fine_tune_writer, other, tmp_path / "tuned", reviews, model_digest="")
        step(fits.fit_reasons, recipe, tmp_path / "explainer", explained, vectors=out(explained / "vectors"))
    unread = {(cls.__name__, name) for cls in CLASSES for name in cls.model_fields} - read
    assert unread == set(REASONS)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"modality": {"column": "picture"}}, "column=picture is a column of no file"),
        (
            {
                "modality": {"path": "pictures.parquet"},
                "sequence": {"use_modality": False},
                "generative": {"enabled": False},
                "scorer": {"use_modality": False},
            },
            "modality.path is given and no model reads it",
        ),
    ],
)
def test_a_modality_that_nobody_would_read_is_refused(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Recipe.model_validate(settings)
