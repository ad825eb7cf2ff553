"""The tensors of a component, as safetensors files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from recommender.errors import BundleError
from recommender.fitting.finiteness import DO_AT_A_FIT, name_not_finite


def save_tensors(path: Path, tensors: Mapping[str, torch.Tensor | np.ndarray]) -> None:
    """Write them from whatever device, in rows whatever their strides are.

    Raises:
        BundleError: a number in them is NaN or infinite; nothing is written.
    """
    check_before_saving(path.name, tensors)
    save_file({name: _contiguous(values) for name, values in tensors.items()}, path)


def read_tensors(path: Path, *names: str) -> dict[str, torch.Tensor]:
    """Read what `save_tensors` wrote. Call it within `component.loading`, which says of which component the file is.

    Args:
        names: Those that have to be among them.
    Raises:
        OSError: the file is missing.
        ValueError: it is damaged, lacks a tensor, or holds a number that is NaN or infinite.
    """
    try:
        tensors = load_file(path)
    except SafetensorError as error:
        raise ValueError(f"{path.name} is damaged: {error}") from error
    missing = [name for name in names if name not in tensors]
    if missing:
        raise ValueError(f"{path.name} has no {' and no '.join(missing)}")
    check_loaded(path.name, tensors)
    return tensors


def check_before_saving(name: str, tensors: Mapping[str, torch.Tensor | np.ndarray]) -> None:
    """Refuse weights that would answer nobody.

    Args:
        name: Of the file, or of what is saved.
    Raises:
        BundleError: names the tensor.
    """
    wrong = name_not_finite(tensors)
    if wrong:
        raise BundleError("Cannot save weights", got=f"{name}: {wrong}", expected="finite numbers", do=DO_AT_A_FIT)


def check_loaded(name: str, tensors: Mapping[str, torch.Tensor | np.ndarray]) -> None:
    """The same of weights that were read; `component.loading` says of which component.

    Raises:
        ValueError: names the tensor.
    """
    wrong = name_not_finite(tensors)
    if wrong:
        raise ValueError(f"in {name} {wrong}")


def _contiguous(values: torch.Tensor | np.ndarray) -> torch.Tensor:
    if isinstance(values, np.ndarray):
        return torch.from_numpy(np.ascontiguousarray(values))
    return values.detach().cpu().contiguous()
