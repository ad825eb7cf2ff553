"""How benchmarks print: one table of aligned columns, means with their deviations."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence

RANKING_COLUMNS = ("R@10", "N@10")


def print_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print columns as wide as their widest cell: the first to the left, the others to the right."""
    lines = [head, *rows]
    widths = [max(len(line[place]) for line in lines) for place in range(len(head))]
    for label, *cells in lines:
        padded = [f"{cell:>{width}}" for cell, width in zip(cells, widths[1:], strict=True)]
        print("  ".join([f"{label:<{widths[0]}}", *padded]).rstrip())


def mean_and_deviation(values: Sequence[float]) -> str:
    """Mean ± standard deviation, such as over seeds; of a single value the deviation is 0."""
    deviation = statistics.stdev(values) if len(values) > 1 else 0.0
    return f"{statistics.mean(values):.4f} ± {deviation:.4f}"


def ranking_rows(runs: Mapping[str, Sequence[tuple[float, float]]]) -> list[list[str]]:
    """A row per model: recall and NDCG, mean ± standard deviation over its runs."""
    return [
        [model, *(mean_and_deviation(values) for values in zip(*figures, strict=True))]
        for model, figures in runs.items()
    ]
