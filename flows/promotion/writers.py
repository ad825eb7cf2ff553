"""Whose writer goes into the bundle of a baseline that stands in for a refused candidate: the better one.

A candidate that ranks too badly may have learned to write as little. Of two writers the better is the one that expects
real reviews of a test window in fewer bits per byte, by the evaluation of its own bundle.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.promotions import Standing
from core.storage import digest_of
from recommender.bundle.manifest import Manifest, read_manifest, verify_files
from recommender.errors import BundleError

_MEASURE = "bits_per_byte"


@dataclass(frozen=True)
class WriterInService:
    """The writer of the bundle in service.

    Attributes:
        folder: Of the component.
        digest: Of its files.
        bits_per_byte: Of real reviews, by the evaluation of its bundle.
    """

    folder: Path
    digest: str
    bits_per_byte: float


def find_better_writer(
    metrics: Mapping[str, Any], standing: Standing, to_go: Collection[str] = ()
) -> WriterInService | None:
    """The writer in service, where it is better than a candidate's, or the candidate has none.

    Args:
        metrics: The candidate's evaluation.
        standing: Says what is in service.
        to_go: Versions that learned from people who are forgotten: a writer of one of them is not taken.
    Returns:
        None where the candidate's is as good, or the one in service cannot be read, was not measured, or has to go.
    """
    served = standing.in_service
    if served is None or served.version in to_go:
        return None
    try:
        manifest = read_manifest(served.folder)
        bits, ours = _bits(manifest.metrics), _bits(metrics)
        if not manifest.has("writer") or bits is None or (ours is not None and ours <= bits):
            return None
        verify_files(served.folder, manifest)
    except BundleError:  # of another version of the code, or damaged
        return None
    return WriterInService(served.folder / "writer", digest_of(_files(manifest)), bits)


def with_own_writer(bundle: Manifest, metrics: Mapping[str, Any], standing: Standing) -> dict[str, Any]:
    """A candidate's evaluation as it is kept with what is promoted: of a baseline that took over the writer in service,
    the figures of that one.
    """
    served = standing.in_service
    if bundle.kind == "blend" or served is None or not bundle.has("writer"):
        return dict(metrics)
    try:
        champion = read_manifest(served.folder)
    except BundleError:
        return dict(metrics)
    if _files(champion) != _files(bundle) or _bits(champion.metrics) is None:
        return dict(metrics)
    return {**metrics, "writer": champion.metrics["writer"]}


def _bits(metrics: Mapping[str, Any]) -> float | None:
    value = (metrics.get("writer") or {}).get(_MEASURE)
    return float(value) if isinstance(value, int | float) else None


def _files(manifest: Manifest) -> dict[str, str]:
    return {name: digest for name, digest in manifest.files.items() if name.startswith("writer/")}
