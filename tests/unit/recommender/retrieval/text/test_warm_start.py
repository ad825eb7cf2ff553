"""Text vectors that start from a bundle: what has not changed is not encoded again, and the whitening stays."""

import shutil
from datetime import UTC, datetime

import numpy as np
import pytest
import torch

from core.settings.models import EncoderSettings
from recommender.encoders.encoder import TextEncoder
from recommender.encoders.whitening import WHITENING_FILE, Whitening
from recommender.fitting.context import FitContext
from recommender.fitting.summary import FitSummary
from recommender.fitting.warm_start import WarmStart
from recommender.inputs.item_vectors import ItemVectors
from recommender.retrieval.text.embedding import embed_catalogue, encodes_alike
from tests.unit.recommender.tiny_shop import N_ITEMS, catalogue_row, item, save_tiny_encoder, write, write_training_set


@pytest.fixture
def encoder(tmp_path):
    return EncoderSettings(model=str(save_tiny_encoder(tmp_path / "encoder")), fine_tune="none", precision="float32")


def test_only_new_texts_are_encoded_and_all_vectors_lie_in_the_space_of_before(tmp_path, encoder, monkeypatch):
    training = write_training_set(tmp_path / "old")
    bundle = tmp_path / "bundle"
    before = embed_catalogue(FitContext(training), bundle / "vectors", encoder)
    shutil.copytree(training, tmp_path / "now")
    rows = [catalogue_row(item(n), 1) for n in range(N_ITEMS)]
    rows[3]["item_text"] = "Quite another tea"
    write(
        tmp_path / "now", "catalogue", [*rows, catalogue_row("new", 1), {**catalogue_row("mute", 0), "item_text": ""}]
    )
    given = []
    encode = TextEncoder.encode
    monkeypatch.setattr(
        TextEncoder, "encode", lambda self, texts, progress: given.extend(texts) or encode(self, texts, progress)
    )
    fit = FitContext(tmp_path / "now", start=WarmStart(bundle, "parent", datetime(2026, 1, 1, tzinfo=UTC)))
    embed_catalogue(fit, tmp_path / "vectors", encoder)
    assert sorted(given) == ["Quite another tea", "Tea new. Tin"]
    after = ItemVectors.load(tmp_path / "vectors")
    for n in range(N_ITEMS):
        rows_are = after.text[after.ids.index(item(n))], before.text[before.ids.index(item(n))]
        assert torch.equal(*rows_are) == (n != 3)
    assert not after.text[after.ids.index("mute")].any()
    whitening, was = (Whitening.load(place / WHITENING_FILE) for place in (tmp_path / "vectors", bundle / "vectors"))
    assert np.array_equal(whitening.projection, was.projection)
    work = FitSummary.read(tmp_path / "vectors").work
    assert (work.unit, work.new, work.full) == ("texts", 2, N_ITEMS + 1)


def test_an_encoder_that_is_another_one_by_now_is_told_apart(tmp_path, encoder):
    training = write_training_set(tmp_path / "old")
    embed_catalogue(FitContext(training), tmp_path / "vectors", encoder)
    assert encodes_alike(tmp_path / "vectors", encoder, lambda _: None)
    from transformers import AutoModel

    model = AutoModel.from_pretrained(encoder.model)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn(weight.shape, generator=torch.Generator().manual_seed(1)))
    model.save_pretrained(encoder.model)
    assert not encodes_alike(tmp_path / "vectors", encoder, lambda _: None)
