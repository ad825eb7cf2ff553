"""The blocks of the sequence model: attention with a low-pass filter beside it, over packed sequences."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
from torch import nn
from torch.nn import functional as F

# Of linear maps at the start, as in the models that normalise after each part.
INITIAL_SD = 0.02


class Block(nn.Module):
    """One block: attention and a low-pass filter side by side, then the feed-forward part, normalised after each.

    Args:
        filter_share: How much of what is mixed over time the filter has; attention has the rest.
        basis: Of the filter: `low_pass_basis`.
    Source: Shin et al. 2024, An Attentive Inductive Bias for Sequential Recommendation beyond the Self-Attention
        (BSARec), eq. 6 to 10.
    """

    def __init__(self, width: int, n_heads: int, dropout: float, filter_share: float, basis: torch.Tensor) -> None:
        super().__init__()
        self.n_heads, self.dropout, self.filter_share = n_heads, dropout, filter_share
        if filter_share < 1:
            self.query = nn.Linear(width, width)
            self.key_value = nn.Linear(width, 2 * width)
            self.attention_out = nn.Linear(width, width)
            self.attention_norm = nn.LayerNorm(width)
        if filter_share > 0:
            self.high_pass = nn.Parameter(torch.randn(width))
            self.filter_norm = nn.LayerNorm(width)
        self.register_buffer("basis", basis, persistent=False)
        self.basis: torch.Tensor
        self.feed_in = nn.Linear(width, 4 * width)
        self.feed_out = nn.Linear(4 * width, width)
        self.feed_norm = nn.LayerNorm(width)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=INITIAL_SD)
                nn.init.zeros_(module.bias)

    def forward(self, x: torch.Tensor, groups: Sequence[tuple[int, int]], newest: torch.Tensor | None) -> torch.Tensor:
        """One step of mixing over time and one of each place by itself.

        Args:
            x: Shape (N, D).
            groups: As in `Packed`: says which rows are of one sequence.
            newest: Rows of the sequences' newest items, shape (B,), where only they are asked for; None asks for all.
        Returns:
            Shape (N, D), or (B, D).
        """
        asked = x if newest is None else x[newest]
        mixed: list[torch.Tensor] = []
        if self.filter_share < 1:
            seen = self._drop(self.attention_out(self._attend(x, asked, groups, newest is not None)))
            mixed.append((1 - self.filter_share) * self.attention_norm(asked + seen))
        if self.filter_share > 0:
            low = self._low_pass(x, groups, newest is not None)
            passed = self._drop(low + self.high_pass.square() * (asked - low))
            mixed.append(self.filter_share * self.filter_norm(asked + passed))
        x = sum(mixed[1:], mixed[0])
        result: torch.Tensor = self.feed_norm(x + self._drop(self.feed_out(F.gelu(self.feed_in(x)))))
        return result

    def _attend(
        self, x: torch.Tensor, asked: torch.Tensor, groups: Sequence[tuple[int, int]], newest: bool
    ) -> torch.Tensor:
        """Causal attention within sequences; the queries are all rows, or each sequence's newest."""
        heads, width = self.n_heads, x.shape[1]
        dropout = self.dropout if self.training else 0.0
        queries = torch.split(self.query(asked), [n if newest else n * length for n, length in groups])
        found = []
        for query, (key_value, n) in zip(queries, _parts(self.key_value(x), groups), strict=True):
            key, value = key_value.view(n, -1, 2, heads, width // heads).permute(2, 0, 3, 1, 4)  # (n, H, T, D / H)
            one = query.view(n, -1, heads, width // heads).transpose(1, 2)
            seen = F.scaled_dot_product_attention(one, key, value, dropout_p=dropout, is_causal=not newest)
            found.append(seen.transpose(1, 2).reshape(-1, width))
        return torch.cat(found)

    def _low_pass(self, x: torch.Tensor, groups: Sequence[tuple[int, int]], newest: bool) -> torch.Tensor:
        """What the filter leaves of each sequence, at all its places or at its newest."""
        found = []
        for part, n in _parts(x, groups):
            rows = part.view(n, -1, part.shape[1])  # (n, T, D)
            basis = self.basis[-rows.shape[1] :]  # (T, R)
            waves = torch.matmul(basis.T, rows)  # (n, R, D)
            found.append(torch.matmul(basis[-1:] if newest else basis, waves).reshape(-1, part.shape[1]))
        return torch.cat(found)

    def _drop(self, x: torch.Tensor) -> torch.Tensor:
        return F.dropout(x, self.dropout, self.training)


def low_pass_basis(window: int, n_frequencies: int) -> torch.Tensor:
    """An orthonormal basis of the lowest frequencies of a window, constant included.

    What a Fourier transform over the window keeps of a sequence x that stands at its right end, zeros before it, when
    only those frequencies pass, is `basis[-T:] @ basis[-T:].T @ x`: no transform is needed, and no padding.

    Returns:
        Shape (window, R), with R = 2 · n_frequencies - 1, at most the window.
    """
    times = torch.arange(window, dtype=torch.float64)
    columns = [torch.full((window,), window**-0.5, dtype=torch.float64)]
    for frequency in range(1, min(n_frequencies, window // 2 + 1)):
        angles = 2 * math.pi * frequency * times / window
        if 2 * frequency == window:
            columns.append(window**-0.5 * torch.cos(angles))
        else:
            columns += [(2 / window) ** 0.5 * torch.cos(angles), (2 / window) ** 0.5 * torch.sin(angles)]
    return torch.stack(columns, dim=1).float()


def _parts(values: torch.Tensor, groups: Sequence[tuple[int, int]]) -> Iterator[tuple[torch.Tensor, int]]:
    """The rows of each group, and how many sequences it has."""
    sizes = [n * length for n, length in groups]
    return zip(torch.split(values, sizes), (n for n, _ in groups), strict=True)
