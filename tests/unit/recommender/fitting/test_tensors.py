from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from recommender.errors import BundleError
from recommender.fitting.tensors import read_tensors, save_tensors


def test_arrays_and_tensors_come_back_whatever_their_strides(tmp_path: Path):
    table = np.arange(12, dtype=np.float32).reshape(3, 4)
    saved = {
        "columns": torch.from_numpy(table).T,
        "backwards": table[:, ::-1],
        "places": np.arange(3, dtype=np.int32),
        "empty": np.zeros((0, 4), dtype=np.float64),
        "single": torch.tensor(2.5),
    }
    save_tensors(tmp_path / "t.safetensors", saved)
    read = read_tensors(tmp_path / "t.safetensors", *saved)
    assert read.keys() == saved.keys()
    for name, values in saved.items():
        np.testing.assert_array_equal(read[name].numpy(), np.asarray(values))
        assert read[name].numpy().dtype == np.asarray(values).dtype


def test_equal_values_are_equal_bytes_as_array_or_tensor(tmp_path: Path):
    arrays = {"b": np.arange(6, dtype=np.float32).reshape(2, 3), "a": np.arange(3)}
    save_tensors(tmp_path / "arrays", arrays)
    save_tensors(tmp_path / "tensors", {name: torch.from_numpy(values) for name, values in arrays.items()})
    assert (tmp_path / "arrays").read_bytes() == (tmp_path / "tensors").read_bytes()


def test_what_is_wrong_with_a_file_is_said(tmp_path: Path):
    path = tmp_path / "t.safetensors"
    with pytest.raises(FileNotFoundError):
        read_tensors(path)
    save_tensors(path, {"a": torch.ones(2)})
    with pytest.raises(ValueError, match=r"t\.safetensors has no b and no c"):
        read_tensors(path, "a", "b", "c")
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(ValueError, match=r"t\.safetensors is damaged: "):
        read_tensors(path)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_that_are_not_finite_are_neither_written_nor_read(tmp_path: Path, value: float):
    path, broken = tmp_path / "t.safetensors", {"a": torch.ones(2), "b": torch.tensor([1.0, value, value])}
    with pytest.raises(BundleError, match=r"t\.safetensors: b has 2 numbers that are not finite, expected finite"):
        save_tensors(path, broken)
    assert not path.exists()
    save_file(broken, path)
    with pytest.raises(ValueError, match=r"in t\.safetensors b has 2 numbers that are not finite"):
        read_tensors(path)
