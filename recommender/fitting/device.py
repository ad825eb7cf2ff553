"""Where tensors are computed, and in which arithmetic: the CPU, or a CUDA GPU in bfloat16 where it has it."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager
from dataclasses import fields, replace
from typing import TYPE_CHECKING, TypeVar

import torch

from core.errors import SettingsError
from core.settings.platform import Device

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Record = TypeVar("Record", bound="DataclassInstance")
# What cuBLAS wants for the same result every time; it is read when it is first used.
_CUBLAS_WORKSPACE = ("CUBLAS_WORKSPACE_CONFIG", ":4096:8")


def resolve_device(wanted: Device, setting: str = "platform.device") -> str:
    """The name of the device that a setting stands for: "cpu" or "cuda".

    Where it is "cuda", torch is set so that what a GPU computes is the same every time, and what the CPU computes.

    Args:
        wanted: auto is a CUDA GPU where torch sees one, and else the CPU.
        setting: Where that was said, as the error says it.
    Raises:
        SettingsError: cuda is wanted, and torch sees no GPU.
    """
    has_gpu = torch.cuda.is_available()
    if wanted == "cuda" and not has_gpu:
        cuda = torch.version.cuda
        built = f"torch {torch.__version__}, built {f'for CUDA {cuda}' if cuda else 'without CUDA'}"
        raise SettingsError(
            "Cannot compute on a GPU",
            got=f"{setting}=cuda",
            expected="a CUDA GPU that torch sees",
            where=built,
            do=f"Set {setting}=cpu or auto, or install the driver and torch's build for CUDA",
        )
    if wanted == "cpu" or not has_gpu:
        return "cpu"
    os.environ.setdefault(*_CUBLAS_WORKSPACE)
    # On a GPU torch's fused encoder layers approximate GELU by tanh: answers would not be those of what was trained.
    torch.backends.mha.set_fastpath_enabled(False)
    return "cuda"


def device_of(module: torch.nn.Module) -> torch.device:
    """Where a module's weights lie: what it reads has to lie there too."""
    return next(module.parameters()).device


def moved(record: Record, device: str | torch.device) -> Record:
    """A dataclass with its tensors on a device; what is no tensor stays as it is."""
    values = {field.name: getattr(record, field.name) for field in fields(record)}
    return replace(record, **{name: one.to(device) for name, one in values.items() if isinstance(one, torch.Tensor)})


def has_fast_bfloat16(device: str | torch.device) -> bool:
    """Whether matrices are multiplied faster in bfloat16: by a GPU that has it, by a CPU with AMX."""
    if torch.device(device).type == "cuda":
        return torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False)
    return bool(torch.cpu.get_capabilities().get("amx_bf16"))


def choose_dtype(precision: str, device: str | torch.device = "cpu") -> tuple[torch.dtype, str]:
    """The arithmetic of a language model, and why.

    Args:
        precision: 'float32', 'bfloat16', or 'auto': bfloat16 where the device has matrix units for it. CPUs that have
            only its vector instructions (avx512_bf16) multiply matrices no faster so, and some of them slower.
    """
    if precision == "float32":
        return torch.float32, "float32, as set"
    if precision == "bfloat16":
        return torch.bfloat16, "bfloat16, as set"
    name, has = ("GPU", "bfloat16") if torch.device(device).type == "cuda" else ("CPU", "amx_bf16")
    if has_fast_bfloat16(device):
        return torch.bfloat16, f"bfloat16 (the {name} has {has})"
    return torch.float32, f"float32 (the {name} has no {has})"


def choose_large_dtype(precision: str, device: str | torch.device = "cpu") -> tuple[torch.dtype, str]:
    """`choose_dtype` for models of a hundred million weights and more, where reading the weights takes the time.

    There a CPU with nothing but bfloat16's vector instructions gains by half the bytes: 1.7 times as many tokens of
    SmolLM2-135M per second on one that has avx512_bf16, at the same bits per byte.
    """
    has_vectors = torch.device(device).type == "cpu" and torch.cpu.get_capabilities().get("avx512_bf16")
    if precision == "auto" and has_vectors and not has_fast_bfloat16(device):
        return torch.bfloat16, "bfloat16 (the CPU has avx512_bf16)"
    return choose_dtype(precision, device)


def autocast(device: str | torch.device, dtype: torch.dtype) -> AbstractContextManager[object]:
    """Within the block, products are in this arithmetic; the weights stay float32."""
    return torch.autocast(torch.device(device).type, dtype=dtype, enabled=dtype != torch.float32)


def on_gpu_bfloat16(device: str | torch.device) -> AbstractContextManager[object]:
    """Within the block, products are in bfloat16 on a GPU that has it, and in float32 elsewhere.

    Of the small models, which are trained from scratch: on a CPU their products are too small to gain by bfloat16.
    """
    is_gpu = torch.device(device).type == "cuda"
    return autocast(device, torch.bfloat16 if is_gpu and has_fast_bfloat16(device) else torch.float32)
