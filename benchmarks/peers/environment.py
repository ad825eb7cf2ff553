"""An environment of its own for a peer that needs other versions than the product."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path


def make_environment(folder: Path, requirements: Sequence[str]) -> Path:
    """Make a virtual environment with these packages where there is none yet; returns its Python."""
    python = folder / "bin" / "python"
    if not python.exists():
        print(f"making the peer's environment: {' '.join(requirements)}")
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *requirements], check=True)
    return python
