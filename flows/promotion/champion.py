"""The bundle in service, as the gate asks: is it this very one, was this one withdrawn, how do the two compare?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from flows.promotion.gate import NO_CHAMPION
from flows.promotion.model_store import newest_version, withdrawn_digests
from recommender.errors import OtherSchemaVersion

if TYPE_CHECKING:
    from recommender.metrics.significance import Comparison

WAS_WITHDRAWN = "was taken out of service by a rollback"


def tag_in_service(digest: str, model: str) -> str | None:
    """The tag of the bundle in service where it is the one of this digest."""
    champion = newest_version(model)
    return champion.tag if champion and champion.labels.get("digest") == digest else None


def is_withdrawn(digest: str, model: str) -> bool:
    """Whether a rollback took the bundle of this digest out of service."""
    return digest in withdrawn_digests(model)


def compare_with_champion(
    folder: Path, training: Path, k: int, metric: str, model: str
) -> tuple[Comparison | None, str]:
    """Evaluate a bundle and the one in service on the same test events.

    Args:
        folder: The bundle.
        training: The training set whose test events are asked.
        k: Length of the lists.
        metric: Such as `ndcg`.
        model: The model's name in the store.
    Returns:
        The comparison; or None, and why there is none.
    """
    from recommender.bundle.loading import load_bundle
    from recommender.bundle.manifest import read_manifest
    from recommender.evaluation.evaluation import compare_bundles

    champion = newest_version(model)
    if champion is None:
        return None, NO_CHAMPION
    try:
        read_manifest(champion.folder)
    except OtherSchemaVersion as error:
        # The service, of this version too, cannot load it either: it is to be replaced, not to be kept for ever.
        return None, f"the newest bundle, {champion.tag}, cannot be read by this version ({error.got})"
    return compare_bundles(load_bundle(folder), load_bundle(champion.folder), training, k, metric), ""
