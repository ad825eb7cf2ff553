"""What evaluation promised of the bundles in the model store."""

from __future__ import annotations

from collections.abc import Iterator

from core.promotions import known_versions
from recommender.bundle.manifest import Manifest, read_manifest
from recommender.errors import BundleError


def promised(manifest: Manifest, metric: str) -> float | None:
    """The figure that the evaluation of a bundle, or of the one judged in its place, has for what ranks; None without.

    Args:
        metric: Its key, such as `ndcg_at_10` or `gauc`.
    """
    ranking, served = manifest.metrics.get("ranking", {}), manifest.metrics.get("served")
    value = ranking.get(served, {}).get(metric)
    return float(value) if isinstance(value, int | float) else None


def promised_warm(manifest: Manifest, k: int) -> dict[str, float]:
    """What was promised of users with a history, as a replay names the figures: `rank` and `ndcg`."""
    groups, served = manifest.metrics.get("groups", {}), manifest.metrics.get("served")
    found = groups.get("warm", {}).get(served, {})
    named = {"rank": found.get("gauc"), "ndcg": found.get(f"ndcg_at_{k}")}
    return {name: float(value) for name, value in named.items() if isinstance(value, int | float)}


def promised_ndcg(model_name: str) -> dict[str, float]:
    """The promised NDCG of each bundle in the model store, by name:version; of those that have one."""
    return dict(_read(model_name))


def _read(model_name: str) -> Iterator[tuple[str, float]]:
    for version in known_versions(model_name):
        try:
            manifest = read_manifest(version.folder)
        except BundleError:  # of another version of the code, or damaged: whoever serves it says so
            continue
        value = promised(manifest, f"ndcg_at_{manifest.recipe.evaluation.k}")
        if value is not None:
            yield version.tag, value
