"""The files of a component: a folder of weights and settings that a fit writes and a bundle holds."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from recommender.errors import BundleError, RecommenderError

# What a fit says of itself (seconds, losses): part of the bundle, but no part of what makes two bundles equal.
SUMMARY = "summary.json"


def read_config(path: Path) -> dict[str, Any]:
    """Read the JSON settings that a component was saved with.

    Raises:
        BundleError: the file is missing or not JSON, or a number in it is NaN or infinite.
    """
    with loading("component", got=f"file={path}", expected="readable JSON"):
        config: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"), parse_constant=_refuse_constant)
    return config


def _refuse_constant(name: str) -> None:
    raise ValueError(f"it holds {name}, which is no finite number")


@contextmanager
def loading(what: str, *, got: str, expected: str, do: str = "Fit it again") -> Iterator[None]:
    """Within the block, whatever a missing or damaged file leads to becomes one error that names the component.

    Args:
        what: The component, as the error calls it.
        got: Its folder or file, e.g. "folder=...".
        expected: What should be there; the error adds what is wrong with it.
        do: What the reader should do next.
    Raises:
        BundleError: a file is missing or unreadable, or what it holds does not fit together.
    """
    try:
        yield
    except BundleError:
        raise
    # A damaged file is met where it is read, where a part of it is looked up, or where a model is built from it.
    except (OSError, ValueError, KeyError, IndexError, TypeError, RuntimeError, RecommenderError) as error:
        reason = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise BundleError(f"Cannot load {what}", got=got, expected=f"{expected}, but {reason}", do=do) from error
