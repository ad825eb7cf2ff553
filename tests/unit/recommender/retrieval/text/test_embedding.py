"""Text vectors of a refit: what the judged bundle encoded is not encoded again."""

import json
import shutil

import pytest

from core.settings.models import EncoderSettings
from core.storage import file_digest, write_json
from recommender.encoders.encoder import TextEncoder
from recommender.encoders.weights import SETTINGS_FILE
from recommender.fitting.context import FitContext
from recommender.retrieval.text.embedding import embed_catalogue
from tests.unit.recommender.tiny_shop import (
    N_ITEMS,
    catalogue_row,
    item,
    move_weights,
    save_tiny_encoder,
    write,
    write_training_set,
)


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
    assert encoded == []
    assert files_of(tmp_path / "refit") == files_of(tmp_path / "afresh")


@pytest.mark.parametrize("change", ["text", "settings", "encoder", "encoder by little", "tokenizer", "no text"])
def test_all_texts_are_encoded_where_a_text_or_the_encoder_is_another_one(tmp_path, encoder, encoded, judged, change):
    rows, folder = [catalogue_row(item(n), 5) for n in range(N_ITEMS)], tmp_path / "encoder"
    if change == "text":
        rows[3]["item_text"] = "Quite another tea"
    if change == "no text":
        rows = [{**row, "item_text": ""} for row in rows]
    if change == "settings":
        encoder = encoder.model_copy(update={"max_tokens": encoder.max_tokens - 1})
    if change.startswith("encoder"):
        move_weights(folder, by=0.01 if change == "encoder by little" else 0.05)
    if change == "tokenizer":
        (folder / "vocab.txt").write_text((folder / "vocab.txt").read_text() + "\n##tea")
    write(tmp_path / "everything", "catalogue", rows)
    embed_catalogue(FitContext(tmp_path / "everything", 1, threads=1, held=judged), tmp_path / "refit", encoder)
    assert len(encoded) >= N_ITEMS


@pytest.mark.parametrize("change", ["dtype", "device", "libraries", "code", "not recorded", "another version"])
def test_vectors_of_another_arithmetic_or_of_nobody_knows_whom_are_not_kept(tmp_path, encoder, encoded, judged, change):
    file = judged / SETTINGS_FILE
    record = json.loads(file.read_text())
    if change == "not recorded":  # as releases before this one wrote it
        del record["made_by"]
    elif change == "another version":
        record["pooling"] = "last"
    else:
        record["made_by"][change] = {"dtype": "bfloat16", "device": "cuda", "libraries": {}, "code": ""}[change]
    write_json(file, record)
    said = []
    fit = FitContext(tmp_path / "everything", 1, threads=1, held=judged, progress=said.append)
    embed_catalogue(fit, tmp_path / "refit", encoder)
    assert len(encoded) == N_ITEMS
    assert any("pooling='last'" in line for line in said) == (change == "another version")


def test_a_fine_tuned_encoder_learns_from_the_vectors_that_were_kept(tmp_path, encoder, encoded):
    training = write_training_set(tmp_path / "training", n_users=60)
    tuned = encoder.model_copy(update={"fine_tune": "head", "max_steps": 30})
    fit = FitContext(training, 1, k=5, threads=1)
    embed_catalogue(fit, tmp_path / "judged", tuned)
    encoded.clear()
    embed_catalogue(FitContext(training, 1, k=5, threads=1, held=tmp_path / "judged"), tmp_path / "refit", tuned)
    assert encoded == []
    assert files_of(tmp_path / "refit") == files_of(tmp_path / "judged")
