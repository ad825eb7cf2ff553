import pytest
import torch

from recommender.errors import BundleError
from recommender.inputs.ids import IdMap
from recommender.inputs.item_vectors import ItemVectors
from tests.unit.recommender.tiny_shop import random_vectors, write_training_set


@pytest.fixture
def saved(tmp_path):
    folder = tmp_path / "vectors"
    folder.mkdir()
    vectors = random_vectors(write_training_set(tmp_path / "training"))
    vectors.save(folder)
    return folder, vectors


def test_saved_and_loaded_they_are_the_same(saved):
    folder, vectors = saved
    again = ItemVectors.load(folder)
    assert again.ids == vectors.ids
    assert torch.equal(again.text, vectors.text)
    assert not again.text[0].any()


def test_ids_of_another_catalogue_are_refused(saved):
    folder, vectors = saved
    IdMap(tuple(reversed(vectors.ids.item_ids))).save(folder / "ids.json")
    with pytest.raises(BundleError, match=f"ids={len(vectors.ids)}"):
        ItemVectors.load(folder)


@pytest.mark.parametrize("name", ["vectors.safetensors", "catalogue.parquet"])
@pytest.mark.parametrize("damage", ["missing", "garbage"])
def test_a_damaged_file_is_refused(saved, name, damage):
    folder, _ = saved
    (folder / name).unlink()
    if damage == "garbage":
        (folder / name).write_bytes(b"garbage")
    with pytest.raises(BundleError, match="Cannot load item vectors"):
        ItemVectors.load(folder)
