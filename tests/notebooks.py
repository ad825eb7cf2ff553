"""Runs the project's notebooks without Jupyter."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from docs.site.notebooks import read_cells


def run(notebook: Path) -> dict[str, Any]:
    """Run the cells in order in one namespace of this process, and give that namespace.

    Magics and shell lines are no Python, and fail; what a cell ends with is computed and not shown.

    Raises:
        Exception: what a cell raised; the traceback names the notebook and the cell.
    """
    namespace: dict[str, Any] = {"__name__": "__main__"}
    for number, cell in enumerate(read_cells(notebook)):
        if cell["cell_type"] == "code":
            exec(compile(cell["source"], f"{notebook.name}, cell {number}", "exec"), namespace)
    return namespace
