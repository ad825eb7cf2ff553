"""The files of a component: a folder of weights and settings that a fit writes and a bundle holds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from recommender.errors import BundleError

# What a fit says of itself (seconds, losses): part of the bundle, but no part of what makes two bundles equal.
SUMMARY = "summary.json"


def read_config(path: Path) -> dict[str, Any]:
    """Read the JSON settings that a component was saved with.

    Raises:
        BundleError: the file is missing or not JSON.
    """
    try:
        config: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise BundleError(
            "Cannot load component", got=f"file={path}", expected=f"readable JSON, but {error}", do="Fit it again"
        ) from error
    return config
