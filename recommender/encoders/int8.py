"""Linear maps whose weights have eight bits, for processors that multiply those several times as fast.

Each row that goes in is rounded to eight bits by its own largest value. By one value for all rows, as torch's dynamic
quantisation does it, SmolLM2-135M loses its language (1.39 to 4.04 bits per byte of reviews; by row 1.40). Sums of
integers are exact, so a row's result is the same to the bit whatever rows stand beside it.
"""

from __future__ import annotations

import torch
from torch import Tensor

_ENGINE = "fbgemm"
# Without these instructions sums of two products are kept in 16 bits, which values of eight bits overflow.
_WIDE_SUMS = ("avx512_vnni", "amx_int8")
_SMALLEST = torch.finfo(torch.float32).tiny


def has_int8() -> bool:
    """Whether this processor, with this build of torch, has the products."""
    return _ENGINE in torch.backends.quantized.supported_engines


class Int8Linear:
    """A linear map of float32 vectors.

    Args:
        weight: Shape (out, in); each of its rows is rounded by its own largest value.
    """

    def __init__(self, weight: Tensor) -> None:
        weight = weight.detach().float()
        scales = (weight.abs().amax(dim=1).double() / 127).clamp_min(_SMALLEST)
        zeros = torch.zeros(len(weight), dtype=torch.int64)
        rounded = torch.quantize_per_channel(weight, scales, zeros, 0, torch.qint8)
        self._packed = torch.ops.quantized.linear_prepack(rounded, None)
        capabilities = torch.cpu.get_capabilities()
        self._steps = 127 if any(capabilities.get(name) for name in _WIDE_SUMS) else 63

    def __call__(self, rows: Tensor) -> Tensor:
        """Shape (n, in) to (n, out), float32."""
        largest = torch.linalg.vector_norm(rows, torch.inf, dim=-1, keepdim=True).clamp_min(_SMALLEST)
        found: Tensor = torch.ops.quantized.linear_with_input_q_dq_qweight_dq_output_fp32(
            rows / largest, 1 / self._steps, self._steps + 1, self._packed
        )
        return found.mul_(largest)
