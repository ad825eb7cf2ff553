"""The trie of all semantic ids, as arrays: what may follow a prefix, and how many allowed items lie below it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import nn


class Levels(nn.Module):
    """A tensor for each level of a trie, which goes where the model goes and is in no file."""

    def __init__(self, tensors: Sequence[torch.Tensor]) -> None:
        super().__init__()
        for level, tensor in enumerate(tensors):
            self.register_buffer(str(level), tensor, persistent=False)

    def __getitem__(self, level: int) -> torch.Tensor:
        return self.get_buffer(str(level))

    def __iter__(self) -> Iterator[torch.Tensor]:
        return self.buffers(recurse=False)

    def __len__(self) -> int:
        return len(self._buffers)


class Trie(nn.Module):
    """Prefixes of the semantic ids; a node of the last level is one item.

    The nodes of a level are numbered in lexicographic order of their prefixes. So a node's children are a range of the
    next level's nodes, and the items below it are a range of `items`.

    Args:
        codes: Unique rows; row i is the item of index i + 1. Shape (n_items, L), int64.
        sizes: How many codes each level has.

    Attributes:
        items: Item index of each node of the last level. Shape (n_items,), int64.
        codes: Per level, the code by which each node was reached. Each shape (n_nodes,), int64.
    """

    def __init__(self, codes: np.ndarray, sizes: Sequence[int]) -> None:
        super().__init__()
        order = np.lexsort(codes.T[::-1])
        ordered = codes[order]
        self.sizes = tuple(sizes)
        self.items: torch.Tensor
        self.register_buffer("items", torch.from_numpy(order + 1), persistent=False)
        of_nodes: list[torch.Tensor] = []
        first_items_of_nodes: list[torch.Tensor] = []
        children_of_nodes: list[torch.Tensor] = []
        self._most_children: list[int] = []
        begins = np.zeros(len(ordered), dtype=bool)
        begins[0] = True
        above = np.array([0, len(ordered)])
        for level in range(len(self.sizes)):
            begins[1:] |= ordered[1:, level] != ordered[:-1, level]
            starts = np.flatnonzero(begins)
            first_children = np.searchsorted(starts, above)
            of_nodes.append(torch.from_numpy(ordered[starts, level].copy()))
            children_of_nodes.append(torch.from_numpy(first_children))
            self._most_children.append(int(np.diff(first_children).max()))
            above = np.append(starts, len(ordered))
            first_items_of_nodes.append(torch.from_numpy(above))
        self.codes = Levels(of_nodes)
        self._first_items = Levels(first_items_of_nodes)  # of each node, and the end
        self._first_children = Levels(children_of_nodes)  # of each node of the level above, and the end

    @property
    def n_levels(self) -> int:
        return len(self.sizes)

    @property
    def n_items(self) -> int:
        return len(self.items)

    def followers(self, level: int, nodes: torch.Tensor) -> torch.Tensor:
        """Nodes of `level` that follow nodes of the level above; -1 where a node has fewer than another.

        Args:
            nodes: Any shape, int64; 0 is the root, where `level` is 0.
        Returns:
            One axis more than `nodes`, as long as the most children of a node of that level.
        """
        first, end = self._first_children[level][nodes], self._first_children[level][nodes + 1]
        children = first.unsqueeze(-1) + torch.arange(self._most_children[level], device=nodes.device)
        return children.masked_fill(children >= end.unsqueeze(-1), -1)

    def n_children(self, level: int, nodes: torch.Tensor) -> torch.Tensor:
        """How many nodes of `level` follow nodes of the level above. Of the shape of `nodes`."""
        return self._first_children[level][nodes + 1] - self._first_children[level][nodes]

    def paths(self) -> torch.Tensor:
        """The nodes that lead to each item, level by level. Shape (n_items, L), int64; row i is of index i + 1."""
        nodes = torch.empty(self.n_items, self.n_levels, dtype=torch.int64, device=self.items.device)
        places = torch.arange(self.n_items, device=self.items.device)
        for level, first in enumerate(self._first_items):
            nodes[self.items - 1, level] = torch.searchsorted(first, places, right=True) - 1
        return nodes

    def places_among_siblings(self, paths: torch.Tensor) -> torch.Tensor:
        """Where the nodes of paths stand in `followers` of the nodes before them. Shape (N, L) -> (N, L), int64."""
        parents = torch.cat([torch.zeros_like(paths[:, :1]), paths[:, :-1]], dim=1)
        firsts = [first[parents[:, level]] for level, first in enumerate(self._first_children)]
        return paths - torch.stack(firsts, dim=1)

    def running_counts(self, allowed: torch.Tensor) -> torch.Tensor:
        """How many allowed items lie before each place of `items`: what `counts_below` reads.

        Args:
            allowed: By item index less one. Shape (B, n_items), bool.
        Returns:
            Shape (B, n_items + 1), int64.
        """
        return torch.nn.functional.pad(allowed[:, self.items - 1].cumsum(dim=1), (1, 0))

    def counts_below(self, level: int, nodes: torch.Tensor, running: torch.Tensor) -> torch.Tensor:
        """How many allowed items lie below nodes; 0 below none (-1).

        Args:
            nodes: Of this level. Shape (B, M), int64.
            running: Of `running_counts`.
        Returns:
            Shape (B, M), int64.
        """
        first, known = self._first_items[level], nodes.clamp(min=0)
        counts = running.gather(1, first[known + 1]) - running.gather(1, first[known])
        return counts.masked_fill(nodes < 0, 0)

    def totals(self, values: np.ndarray) -> list[torch.Tensor]:
        """Per level, the sum of a value over the items below each node. Each shape (n_nodes,), float32.

        Args:
            values: Of the items. Shape (n_items,).
        """
        running = np.concatenate([[0.0], np.cumsum(values.astype(np.float64)[self.items.numpy() - 1])])
        return [torch.from_numpy(np.diff(running[first.numpy()])).float() for first in self._first_items]
