"""The plots of the evaluation report, as inline SVG: drawn by matplotlib, text as text, safe for the colour-blind.

Every function takes what `evaluation.evaluate_bundle` returns, or a part of it, and gives one `<svg>` element.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe & Ito 2008, safe for the colour-blind; black is kept for the ranker that serves.
_COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#56b4e9", "#b8a800", "#7f7f7f")
_MARKERS = ("s", "^", "D", "v", "P", "X", "<", ">", "h", "*", "p")
_SERVED_COLOUR = "#111111"
_GRID: dict[str, Any] = {"color": "#dddddd", "linewidth": 0.8}


def plot_groups(table: Mapping[str, Mapping[str, float]], names: Mapping[str, str], served: str, measure: str) -> str:
    """Every ranker's measure over ordered groups, such as history lengths; the served ranker's line is the thick one.

    Args:
        table: {group: {"n_queries" or "n_targets": n, ranker: value}}.
        names: Ranker to what it is called, in the order of the legend; only those are drawn.
        served: The ranker that is drawn in front.
        measure: The axis's name.
    """
    groups = list(table)
    figure, axes = _figure(7.6, 3.9)
    for place, ranker in enumerate([name for name in names if name in next(iter(table.values()))]):
        values = [table[group][ranker] for group in groups]
        style = _style(place, ranker == served)
        axes.plot(groups, values, label=names[ranker], **style)
    axes.set_xticks(range(len(groups)), [f"{group}\n({_size(table[group])})" for group in groups])
    _finish(axes, measure)
    axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False, fontsize=9)
    return _svg(figure)


def plot_user_groups(table: Mapping[str, Mapping[str, Any]], ranker: str, measure: str) -> str:
    """One ranker's measure in each user group, a bar each, groupings one below the other."""
    rows = [
        (f"{grouping}: {group}", values[ranker], _size(values))
        for grouping, measured in table.items()
        for group, values in measured["groups"].items()
    ]
    figure, axes = _figure(7.6, 0.9 + 0.3 * len(rows))
    sizes = [len(measured["groups"]) for measured in table.values()]
    colours = [_COLOURS[place % len(_COLOURS)] for place, size in enumerate(sizes) for _ in range(size)]
    places = range(len(rows))[::-1]
    axes.barh(places, [value for _, value, _ in rows], color=colours, height=0.7, alpha=0.55)
    for place, (_, value, size) in zip(places, rows, strict=True):
        axes.annotate(f"{value:.4f}", (value, place), (4, 0), textcoords="offset points", va="center", fontsize=9)
        axes.annotate(size, (0, place), (5, 0), textcoords="offset points", va="center", fontsize=8, color="black")
    # A shop's own words are no formula, whatever stands between two dollar signs.
    axes.set_yticks(places, [label for label, _, _ in rows], parse_math=False)
    axes.margins(x=0.12)
    axes.grid(axis="x", **_GRID)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0, labelsize=9)
    axes.set_xlabel(measure)
    return _svg(figure)


def plot_reliability(bins: Sequence[Mapping[str, float]]) -> str:
    """How often a pair is liked where the scorer says p: on the diagonal it is calibrated. Bars count the pairs.

    Args:
        bins: What `rating_metrics.reliability` returns.
    """
    figure, axes = _figure(5.2, 4.2)
    total = sum(one["n"] for one in bins)
    edges, width = [one["low"] for one in bins], bins[0]["high"] - bins[0]["low"]
    axes.bar(
        edges,
        [one["n"] / total for one in bins],
        width,
        align="edge",
        color="#dde6ee",
        label="share of pairs",
        zorder=1,
    )
    axes.plot([0, 1], [0, 1], "--", color="#777777", label="calibrated", zorder=2)
    filled = [one for one in bins if one["n"]]
    axes.plot(
        [one["mean_probability"] for one in filled],
        [one["frequency"] for one in filled],
        marker="o",
        color=_COLOURS[0],
        label="pair scorer",
        zorder=3,
    )
    axes.set_xlabel("P(like) said")
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    _finish(axes, "share that was liked")
    axes.legend(loc="upper left", frameon=False, fontsize=9)
    return _svg(figure)


def plot_curve(curve: Sequence[Mapping[str, float]]) -> str:
    """One component's learning curve: every number an epoch came to, one small plot each over the epochs."""
    epochs = [point["epoch"] for point in curve]
    measures = [name for name in curve[0] if name != "epoch"]
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3.8 * len(measures), 2.8), layout="constrained")
    for place, name in enumerate(measures):
        axes = figure.add_subplot(1, len(measures), place + 1)
        axes.plot(epochs, [point[name] for point in curve], marker="o", markersize=3, color=_COLOURS[place])
        axes.set_xlabel("epoch")
        _finish(axes, name.replace("_", " "))
    return _svg(figure)


def plot_trade_off(
    ranking: Mapping[str, Mapping[str, float]],
    names: Mapping[str, str],
    served: str,
    across: Mapping[str, str],
    up: str,
) -> str:
    """Every ranker as a point: accuracy upwards, against each measure beyond it.

    Args:
        across: Metric keys and what they are called, one plot each.
        up: The metric key of the accuracy.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.6 * len(across), 3.9), layout="constrained")
    rankers = [name for name in names if name in ranking]
    for number, (key, title) in enumerate(across.items()):
        axes = figure.add_subplot(1, len(across), number + 1)
        for place, ranker in enumerate(rankers):
            style = {**_style(place, ranker == served), "linestyle": "none", "markersize": 9 if ranker == served else 7}
            axes.plot([ranking[ranker][key]], [ranking[ranker][up]], label=names[ranker], **style)
        axes.set_xlabel(title)
        _finish(axes, up.replace("_at_", "@").upper())
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right center", frameon=False, fontsize=9)
    return _svg(figure)


def _figure(width: float, height: float) -> tuple[Figure, Axes]:
    # The figure alone, no pyplot: nothing global, nothing to close, and no display is looked for.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.add_subplot()


def _finish(axes: Axes, measure: str) -> None:
    axes.set_ylabel(measure)
    axes.grid(axis="y", **_GRID)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _style(place: int, is_served: bool) -> dict[str, Any]:
    if is_served:
        return {"color": _SERVED_COLOUR, "linewidth": 2.8, "marker": "o", "zorder": 5}
    return {
        "color": _COLOURS[place % len(_COLOURS)],
        "linewidth": 1.2,
        "marker": _MARKERS[place % len(_MARKERS)],
        "markersize": 5,
        "zorder": 3,
    }


def _size(group: Mapping[str, float]) -> str:
    return f"n={group.get('n_queries', group.get('n_targets', 0)):,}"


def _svg(figure: Figure) -> str:
    """The figure as an element that stands in a page: no XML head, no fixed size, equal bytes for equal figures."""
    import matplotlib as mpl

    written = io.StringIO()
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "sommelier", "font.family": "sans-serif"}):
        figure.savefig(written, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    element = written.getvalue()
    element = element[element.index("<svg") :]
    return re.sub(r'<svg([^>]*?) height="[^"]+"([^>]*?) width="[^"]+"', r"<svg\1\2", element, count=1)
