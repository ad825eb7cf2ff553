"""The tensors of a component, as safetensors files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file


def save_tensors(path: Path, tensors: Mapping[str, torch.Tensor | np.ndarray]) -> None:
    """Write them, in rows whatever their strides are."""
    save_file({name: _contiguous(values) for name, values in tensors.items()}, path)


def read_tensors(path: Path, *names: str) -> dict[str, torch.Tensor]:
    """Read what `save_tensors` wrote. Call it within `component.loading`, which says of which component the file is.

    Args:
        names: Those that have to be among them.
    Raises:
        OSError: the file is missing.
        ValueError: it is damaged, or lacks a tensor.
    """
    try:
        tensors = load_file(path)
    except SafetensorError as error:
        raise ValueError(f"{path.name} is damaged: {error}") from error
    missing = [name for name in names if name not in tensors]
    if missing:
        raise ValueError(f"{path.name} has no {' and no '.join(missing)}")
    return tensors


def _contiguous(values: torch.Tensor | np.ndarray) -> torch.Tensor:
    if isinstance(values, np.ndarray):
        return torch.from_numpy(np.ascontiguousarray(values))
    return values.contiguous()
