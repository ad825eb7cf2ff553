"""Notebooks as pages of the site."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def read_cells(notebook: Path) -> list[dict[str, Any]]:
    """The cells of a notebook, as its format has them, but for `source`, which is one text."""
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    return [{**cell, "source": "".join(cell["source"])} for cell in cells]


def as_markdown(notebook: Path) -> str:
    """Its text and its code, without outputs: none is kept in the repository."""
    return "\n\n".join(
        cell["source"] if cell["cell_type"] == "markdown" else f"```python\n{cell['source']}\n```"
        for cell in read_cells(notebook)
    )
