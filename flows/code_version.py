"""Which code made a result: a digest of the computing rooms' sources, so that after a change nothing kept is reused."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

ROOMS = ("recommender", "validation", "features")


def code_version() -> str:
    """16 hexadecimal digits over the names and contents of the rooms' Python files."""
    house = Path(__file__).parent.parent
    digest = sha256()
    for file in sorted(path for room in ROOMS for path in (house / room).rglob("*.py")):
        digest.update(str(file.relative_to(house)).encode())
        digest.update(file.read_bytes())
    return digest.hexdigest()[:16]
