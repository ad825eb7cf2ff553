"""Text vectors of a refit: what the judged bundle encoded is not encoded again."""

import shutil

import pytest

from core.settings.models import EncoderSettings
from core.storage import file_digest
from recommender.encoders.encoder import TextEncoder
from recommender.fitting.context import FitContext
from recommender.retrieval.text.embedding import N_PROBED, embed_catalogue
from tests.unit.recommender.tiny_shop import N_ITEMS, catalogue_row, item, save_tiny_encoder, write, write_training_set


@pytest.fixture
def encoder(tmp_path):
    return EncoderSettings(model=str(save_tiny_encoder(tmp_path / "encoder")), fine_tune="none", precision="float32")


@pytest.fixture
def encoded(monkeypatch):
    """The texts that are encoded, in their order."""
    given, encode = [], TextEncoder.encode

    def counting(self, texts, progress):
        given.extend(texts)
        return encode(self, texts, progress)

    monkeypatch.setattr(TextEncoder, "encode", counting)
    return given


def files_of(folder):
    return {path.name: file_digest(path) for path in folder.iterdir() if path.name != "summary.json"}


@pytest.fixture
def judged(tmp_path, encoder, encoded):
    """A judged component, and a training set that has seen more events and describes the same items."""
    training = write_training_set(tmp_path / "training")
    embed_catalogue(FitContext(training, 1, threads=1), tmp_path / "judged", encoder)
    assert len(encoded) == N_ITEMS
    encoded.clear()
    shutil.copytree(training, tmp_path / "everything")
    write(tmp_path / "everything", "catalogue", [catalogue_row(item(n), 5) for n in range(N_ITEMS)])
    return tmp_path / "judged"


def test_texts_that_have_not_changed_are_not_encoded_again_and_the_files_are_those_that_encoding_gives(
    tmp_path, encoder, encoded, judged
):
    embed_catalogue(FitContext(tmp_path / "everything", 1, threads=1), tmp_path / "afresh", encoder)
    encoded.clear()
    embed_catalogue(FitContext(tmp_path / "everything", 1, threads=1, held=judged), tmp_path / "refit", encoder)
    assert len(encoded) == N_PROBED  # to see whether the encoder is still the same
    assert files_of(tmp_path / "refit") == files_of(tmp_path / "afresh")


@pytest.mark.parametrize("change", ["text", "settings", "encoder", "no text"])
def test_all_texts_are_encoded_where_a_text_or_the_encoder_is_another_one(tmp_path, encoder, encoded, judged, change):
    from transformers import AutoModel

    rows, folder = [catalogue_row(item(n), 5) for n in range(N_ITEMS)], tmp_path / "encoder"
    if change == "text":
        rows[3]["item_text"] = "Quite another tea"
    if change == "no text":
        rows = [{**row, "item_text": ""} for row in rows]
    if change == "settings":
        encoder = encoder.model_copy(update={"max_tokens": encoder.max_tokens - 1})
    if change == "encoder":
        model = AutoModel.from_pretrained(folder)
        model.embeddings.word_embeddings.weight.data.normal_()
        model.save_pretrained(folder)
    write(tmp_path / "everything", "catalogue", rows)
    embed_catalogue(FitContext(tmp_path / "everything", 1, threads=1, held=judged), tmp_path / "refit", encoder)
    assert len(encoded) >= N_ITEMS


def test_a_fine_tuned_encoder_learns_from_the_vectors_that_were_kept(tmp_path, encoder, encoded):
    training = write_training_set(tmp_path / "training", n_users=60)
    tuned = encoder.model_copy(update={"fine_tune": "head", "max_steps": 30})
    fit = FitContext(training, 1, k=5, threads=1)
    embed_catalogue(fit, tmp_path / "judged", tuned)
    encoded.clear()
    embed_catalogue(FitContext(training, 1, k=5, threads=1, held=tmp_path / "judged"), tmp_path / "refit", tuned)
    assert len(encoded) == N_PROBED
    assert files_of(tmp_path / "refit") == files_of(tmp_path / "judged")
