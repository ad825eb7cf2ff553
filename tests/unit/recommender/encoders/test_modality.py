from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from core.settings.models import EncoderSettings, ModalitySettings
from recommender.bundle.loading import load_ranker
from recommender.encoders.modality import read_modality
from recommender.errors import TrainingDataError
from recommender.fitting.context import FitContext
from recommender.inputs.ids import IdMap
from recommender.inputs.item_vectors import ItemVectors, padded
from recommender.inputs.user import UserState
from recommender.retrieval.sequence.fit import fit_sequence
from recommender.retrieval.sequence.model import load_sequence_model
from recommender.retrieval.text.embedding import embed_catalogue
from tests.unit.recommender.tiny_shop import QUICK, item, random_vectors, save_tiny_encoder, write_training_set

IDS = IdMap(("a", "b", "c", "d"))


def write_vectors(path: Path, rows: dict[str, object], column: str = "image") -> Path:
    pq.write_table(pa.table({"item_id": list(rows), column: list(rows.values())}), path)
    return path


def test_vectors_come_in_the_order_of_the_ids_and_are_zeros_where_there_is_none(tmp_path):
    said: list[str] = []
    path = write_vectors(tmp_path / "v.parquet", {"c": [1.0, 0.0], "strange": [9.0, 9.0], "a": [0.0, 1.0]})
    rows = read_modality(path, "image", IDS, said.append)
    assert rows.shape == (4, 2)
    assert np.allclose(np.linalg.norm(rows, axis=1), [1, 0, 1, 0])
    # Whitening centres what the catalogue knows: two items lie opposite each other.
    assert np.allclose(rows[0], -rows[2], atol=1e-5)
    assert said == ["modality image: vectors of 2 of 4 items, 2 numbers each"]


@pytest.mark.parametrize(
    ("rows", "column", "told"),
    [
        ({"a": [1.0], "b": [1.0, 2.0]}, "image", r"lengths of lists=\[1, 2\]"),
        ({"a": [1.0], "b": [float("nan")]}, "image", "numbers that are not finite"),
        ({"x": [1.0], "y": [2.0]}, "image", "known items=0 of 2"),
        ({"a": [1.0]}, "sound", "column=sound"),
        ({"a": ["loud"]}, "image", "column=image"),
    ],
)
def test_a_file_that_cannot_be_taken_is_refused(tmp_path, rows, column, told):
    path = write_vectors(tmp_path / "v.parquet", rows)
    with pytest.raises(TrainingDataError, match=f"Cannot read modality: .*{told}"):
        read_modality(path, column, IDS, print)


def test_an_item_that_stands_there_twice_is_refused(tmp_path):
    pq.write_table(pa.table({"item_id": ["a", "a"], "image": [[1.0], [2.0]]}), tmp_path / "v.parquet")
    with pytest.raises(TrainingDataError, match="stands there twice"):
        read_modality(tmp_path / "v.parquet", "image", IDS, print)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(TrainingDataError, match=r"Cannot read modality: column=image.*none\.parquet"):
        read_modality(tmp_path / "none.parquet", "image", IDS, print)


def test_the_sequence_model_learns_from_it_and_loads_with_it_alone(tmp_path):
    training = write_training_set(tmp_path / "training")
    plain = random_vectors(training)
    torch.manual_seed(3)
    extra = padded(torch.nn.functional.normalize(torch.randn(len(plain.ids), 5), dim=1).numpy())
    vectors = ItemVectors(plain.catalogue, plain.text, modality=extra)
    (tmp_path / "vectors").mkdir()
    vectors.save(tmp_path / "vectors")
    loaded = ItemVectors.load(tmp_path / "vectors")
    assert loaded.modality is not None
    assert torch.equal(loaded.modality, extra)
    settings = QUICK.model_copy(update={"max_epochs": 2})
    fit_sequence(FitContext(training, 1, threads=1), tmp_path / "vectors", tmp_path / "with", settings, 6)
    without = settings.model_copy(update={"use_modality": False})
    fit_sequence(FitContext(training, 1, threads=1), tmp_path / "vectors", tmp_path / "without", without, 6)
    model = load_sequence_model(tmp_path / "with", loaded)
    assert model.shape.text_width == plain.text.shape[1] + 5
    user = UserState.from_history([item(1), item(2)])
    seen, unseen = (
        load_ranker(tmp_path / "vectors", tmp_path / name, None).scores([user])[0] for name in ("with", "without")
    )
    assert not np.allclose(seen, unseen)
    alone = without.model_copy(update={"use_text": False, "use_ids": False, "use_modality": True})
    fit_sequence(FitContext(training, 1, threads=1), tmp_path / "vectors", tmp_path / "alone", alone, 6)
    assert load_sequence_model(tmp_path / "alone", loaded).shape.text_width == 5


def test_a_file_that_cannot_be_taken_is_refused_before_the_encoder_learns(tmp_path):
    training, missing = write_training_set(tmp_path / "training"), tmp_path / "missing.parquet"
    said: list[str] = []
    fit = FitContext(training, 1, progress=said.append)
    encoder = EncoderSettings(model=str(save_tiny_encoder(tmp_path / "tiny")))
    with pytest.raises(TrainingDataError, match=r"column=vector.*missing\.parquet"):
        embed_catalogue(fit, tmp_path / "vectors", encoder, ModalitySettings(path=missing))
    assert said == []
