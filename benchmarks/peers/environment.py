"""A virtual environment for a peer that needs other versions than the product."""

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


def run_peer(python: Path, script: str, *arguments: Path | str) -> None:
    """Run a script of this folder in the peer's environment; what it prints is dropped, for its libraries print a lot.

    Args:
        python: The environment's Python.
        script: The script's file name.
        arguments: The script's; the first names its input, beside which it runs.
    """
    command = [python, Path(__file__).with_name(script), *arguments]
    subprocess.run(command, check=True, cwd=Path(arguments[0]).parent, stdout=subprocess.DEVNULL)
