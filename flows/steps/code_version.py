"""Which code made a result: a digest of the sources of what computes, so that a change reuses nothing kept."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

PACKAGES = ("core", "recommender", "simulation", "monitoring", "validation", "features")


def code_version() -> str:
    """16 hexadecimal digits over the names and contents of the packages' Python files."""
    root = Path(__file__).parents[2]
    digest = sha256()
    for file in sorted(path for package in PACKAGES for path in (root / package).rglob("*.py")):
        digest.update(str(file.relative_to(root)).encode())
        digest.update(file.read_bytes())
    return digest.hexdigest()[:16]
