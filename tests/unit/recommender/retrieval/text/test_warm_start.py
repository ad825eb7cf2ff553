"""Text vectors that start from a bundle: what has not changed is not encoded again, and the whitening stays."""

import shutil
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
import torch

from core.settings.models import EncoderSettings
from core.storage import write_json
from recommender.encoders import origin
from recommender.encoders.encoder import EncoderError, TextEncoder
from recommender.encoders.origin import code_digest
from recommender.encoders.weights import (
    SETTINGS_FILE,
    encode_texts,
    load_encoder,
    original_encoder,
    read_encoder_settings,
)
from recommender.encoders.whitening import WHITENING_FILE, Whitening
from recommender.errors import BundleError
from recommender.fitting.context import FitContext
from recommender.fitting.summary import FitSummary
from recommender.fitting.warm_start import WarmStart
from recommender.inputs.item_vectors import ItemVectors
from recommender.retrieval.text.embedding import embed_catalogue, is_made_by
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


def test_an_encoder_that_is_another_one_by_now_is_told_apart_and_nothing_is_put_beside_its_vectors(tmp_path, encoder):
    training, bundle = write_training_set(tmp_path / "old"), tmp_path / "bundle"
    embed_catalogue(FitContext(training), bundle / "vectors", encoder)
    assert is_made_by(bundle / "vectors", encoder)
    assert not is_made_by(bundle / "vectors", encoder.model_copy(update={"precision": "bfloat16"}))
    move_weights(Path(encoder.model), by=0.05)
    assert not is_made_by(bundle / "vectors", encoder)
    fit = FitContext(training, start=WarmStart(bundle, "parent", datetime(2026, 1, 1, tzinfo=UTC)))
    with pytest.raises(BundleError, match=r"made by \w{16} in float32 on cpu, expected \w{16} in float32 on cpu"):
        embed_catalogue(fit, tmp_path / "vectors", encoder)


@pytest.mark.parametrize("change", ["library", "code"])
def test_another_library_or_other_code_is_another_encoder(tmp_path, encoder, monkeypatch, change):
    training, bundle = write_training_set(tmp_path / "old"), tmp_path / "bundle"
    embed_catalogue(FitContext(training), bundle / "vectors", encoder)
    if change == "library":
        monkeypatch.setattr(origin, "version", lambda name: "99.0" if name == "tokenizers" else version(name))
    else:
        monkeypatch.setattr(origin, "_encoder_code", lambda: "0123456789abcdef")
    assert not is_made_by(bundle / "vectors", encoder)
    fit = FitContext(training, start=WarmStart(bundle, "parent", datetime(2026, 1, 1, tzinfo=UTC)))
    said = {"library": r"expected .*\(tokenizers 99\.0, ", "code": r"expected .*code 0123456789abcdef\)"}[change]
    with pytest.raises(BundleError, match=said):
        embed_catalogue(fit, tmp_path / "vectors", encoder)


def test_code_is_known_by_what_it_does():
    code = 'class A:\n    """One."""\n\n    def f(self):\n        return 1  # one\n'
    same = code.replace("One.", "Two.").replace("  # one", "").replace("\n\n", "\n")
    assert code_digest(code) == code_digest(same) != code_digest(code.replace("1  #", "2  #"))


def test_a_bundle_that_does_not_say_who_made_its_vectors_is_served_and_not_started_from(tmp_path, encoder):
    training, vectors = write_training_set(tmp_path / "old"), tmp_path / "vectors"
    embed_catalogue(FitContext(training), vectors, encoder)
    write_json(vectors / SETTINGS_FILE, encoder.model_dump(mode="json"))
    assert not is_made_by(vectors, encoder)
    assert load_encoder(vectors, lambda _: None).encode(["tea"], lambda _: None).any()
    assert encode_texts(vectors, ["tea"], lambda _: None).any()


def test_vectors_of_other_files_have_an_encoder_of_their_own_while_that_of_before_is_in_memory(tmp_path, encoder):
    training, old, new = write_training_set(tmp_path / "training"), tmp_path / "old", tmp_path / "new"
    embed_catalogue(FitContext(training), old, encoder)
    of_old = load_encoder(old, lambda _: None)
    move_weights(Path(encoder.model), by=0.05)
    embed_catalogue(FitContext(training), new, encoder)
    of_new = load_encoder(new, lambda _: None)
    vectors = [one.encode(["tea"], lambda _: None) for one in (of_old, of_new)]
    assert not np.array_equal(*vectors)
    assert load_encoder(old, lambda _: None) is of_old


def test_settings_of_another_version_are_said_with_what_to_do(tmp_path, encoder):
    write_json(tmp_path / SETTINGS_FILE, {**encoder.model_dump(mode="json"), "pooling": "last"})
    with pytest.raises(BundleError, match=r"pooling='last', expected settings that this version knows.*make run"):
        read_encoder_settings(tmp_path)
    write_json(tmp_path / SETTINGS_FILE, ["minilm"])
    with pytest.raises(BundleError, match=r"minilm.*make run"):
        read_encoder_settings(tmp_path)


def test_texts_are_not_embedded_by_other_files_than_made_the_vectors_beside_them(tmp_path, encoder):
    vectors = tmp_path / "vectors"
    embed_catalogue(FitContext(write_training_set(tmp_path / "old")), vectors, encoder)
    assert original_encoder(vectors, lambda _: None)(["tea"]).any()
    move_weights(Path(encoder.model), by=0.05)
    with pytest.raises(EncoderError, match=r"whose files are \w{16}, expected \w{16}, which made them.*make run"):
        original_encoder(vectors, lambda _: None)(["tea"])
