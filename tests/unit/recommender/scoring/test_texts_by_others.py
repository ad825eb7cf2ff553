"""Ratings by those whom an item's text quotes are predicted from the text without their words."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from core import schema
from core.settings.models import EncoderSettings
from core.storage import file_digest
from recommender.encoders.weights import load_encoder
from recommender.encoders.whitening import WHITENING_FILE, Whitening
from recommender.fitting.context import FitContext
from recommender.inputs.item_vectors import ItemVectors
from recommender.inputs.rated_pairs import RatedPairs
from recommender.retrieval.text.embedding import embed_catalogue
from recommender.scoring.texts_by_others import TextsByOthers
from recommender.scoring.training import fit_scorer
from tests.unit.recommender.scoring.test_training import SETTINGS, write_shop
from tests.unit.recommender.tiny_shop import save_tiny_encoder, write

QUOTED = ("plain words of others", "", "quite another text")


@pytest.fixture
def shop(tmp_path: Path) -> tuple[Path, Path]:
    """A training set in which three users are quoted by the text of what they rate, and vectors of its items."""
    training, _ = write_shop(tmp_path / "shop", n_train=220)
    rows = pq.read_table(training / "pairs.parquet").to_pylist()
    write(
        training,
        "pairs",
        [{**row, schema.ITEM_TEXT: text} for row, text in zip(rows, QUOTED, strict=False)] + rows[len(QUOTED) :],
    )
    settings = EncoderSettings(
        model=str(save_tiny_encoder(tmp_path / "tiny")), max_tokens=16, precision="float32", fine_tune="none"
    )
    embed_catalogue(FitContext(training, 7, threads=1), tmp_path / "vectors", settings)
    return training, tmp_path / "vectors"


def test_each_reads_the_text_without_their_words(shop: tuple[Path, Path]) -> None:
    training, folder = shop
    whitening = Whitening.load(folder / WHITENING_FILE)
    # A fine-tuned encoder retrieves; the scorer reads it as it came.
    turned = np.eye(len(whitening.projection.T), dtype=np.float32)[::-1]
    replace(whitening, head=turned).save(folder / WHITENING_FILE)
    items, pairs = ItemVectors.load(folder), RatedPairs.read(training, "train")
    texts = TextsByOthers.of(items, folder, [pairs], print)
    rows = texts.rows_of(pairs)
    assert rows[3:] == [items.ids.index(item) for item in pairs.item_ids[3:]]
    assert [texts.versions.item_at(row) for row in rows] == [items.ids.index(item) for item in pairs.item_ids]
    raw = load_encoder(folder, print).encode(list(QUOTED), print)
    expected = whitening.apply(raw)
    expected[1] = 0  # nothing is left to read
    np.testing.assert_allclose(texts.versions.text[rows[:3]], expected, atol=1e-6)
    assert texts.items is items


def test_the_scorer_is_trained_on_them(shop: tuple[Path, Path], tmp_path: Path) -> None:
    training, folder = shop
    said: list[str] = []
    assert fit_scorer(
        FitContext(training, 1, threads=1, progress=said.append), folder, tmp_path / "by others", SETTINGS
    )
    assert any("encodes 3 texts of items again" in line for line in said)
    rows = pq.read_table(training / "pairs.parquet").to_pylist()
    write(training, "pairs", [{**row, schema.ITEM_TEXT: None} for row in rows])
    assert fit_scorer(FitContext(training, 1, threads=1), folder, tmp_path / "as they are", SETTINGS)
    digests = [file_digest(tmp_path / name / "scorer.safetensors") for name in ("by others", "as they are")]
    assert digests[0] != digests[1]
