"""Bundles as far as promotion looks at them: a manifest, and one file that it has the digest of."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from core.settings.tree import Recipe
from core.storage import file_digest, write_json
from recommender.bundle.manifest import SCHEMA_VERSION, Manifest
from tests.unit.recommender.tiny_shop import DATA


def write_bundle(folder: Path, digest: str, **fields: Any) -> Path:
    """Write a bundle whose file `content` holds its digest; `fields` are those of the manifest."""
    folder.mkdir(parents=True)
    (folder / "content").write_text(digest)
    told = {
        "schema_version": SCHEMA_VERSION,
        "kind": "blend",
        "shop": "t",
        "created_at": "2026-01-01T00:00:00+00:00",
        "recipe": Recipe(),
        "data": DATA,
        "metrics": {},
        "parent": None,
        "code_version": "c",
        "digest": digest,
        "files": {"content": file_digest(folder / "content")},
    }
    write_json(folder / "manifest.json", Manifest(**told | fields).model_dump(mode="json"))
    return folder
