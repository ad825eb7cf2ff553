"""The bundle in service, as the gate asks: is it this very one, was this one withdrawn, how do the two compare?"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

from core.promotions import Standing
from flows.promotion.gate import NO_CHAMPION
from flows.promotion.model_store import find_fault
from recommender.bundle.manifest import Manifest, read_manifest
from recommender.errors import BundleError
from recommender.fitting.component import loading

if TYPE_CHECKING:
    from recommender.metrics.significance import Comparison

WAS_WITHDRAWN = "was taken out of service by a rollback"


def tag_in_service(digest: str, standing: Standing) -> str | None:
    """The tag of the bundle in service where it is the one of this digest, and not damaged in the store."""
    champion = standing.in_service
    if champion is None or champion.digest != digest or find_fault(champion):
        return None
    return champion.tag


def is_withdrawn(digest: str, standing: Standing) -> bool:
    """Whether a rollback took the bundle of this digest out of service."""
    return digest in standing.withdrawn


def compare_with_champion(
    folder: Path,
    training: Path,
    k: int,
    metric: str,
    standing: Standing,
    to_go: Collection[str] = (),
    device: str = "cpu",
) -> tuple[Comparison | None, str]:
    """Evaluate a bundle and the one in service on the same test events.

    Args:
        folder: The bundle.
        training: The training set whose test events are asked.
        k: Length of the lists.
        metric: Such as `ndcg`.
        standing: Says what is in service.
        to_go: Versions that learned from people who are forgotten.
        device: Where the bundles' models compute.
    Returns:
        The comparison; or None, and why there is none: nothing is in service, or what is has to go, or cannot be loaded
        or asked any more, and so is to be replaced, not to be kept for ever.
    """
    from recommender.bundle.loading import load_bundle
    from recommender.evaluation.evaluation import compare_bundles

    champion = standing.in_service
    if champion is None:
        return None, NO_CHAMPION
    if champion.version in to_go:
        return None, f"the bundle in service, {champion.tag}, learned from a person who was forgotten, and has to go"
    bundle = load_bundle(folder, device)
    try:
        with loading("bundle", got=f"bundle={champion.tag}", expected="a bundle that can be loaded"):
            in_service = load_bundle(champion.folder, device)
        return compare_bundles(bundle, in_service, training, k, metric), ""
    except BundleError as error:
        _raise_if_out_of_memory(error)
        fault = f"{error.got}, expected {error.expected}"
        return None, f"the bundle in service, {champion.tag}, is not comparable, as it cannot be loaded ({fault})"


def read_served_manifest(standing: Standing) -> Manifest | None:
    """The manifest of the bundle in service; of the one that the service falls back to where that cannot be read.

    Returns:
        None before the first promotion.
    Raises:
        BundleError: none of them can be read.
    """
    fault = None
    for version in standing.good.values():
        try:
            return read_manifest(standing.folder / version)
        except BundleError as error:
            fault = fault or error
    if fault:
        raise fault
    return None


def _raise_if_out_of_memory(error: BundleError) -> None:
    """Too little memory says nothing about a bundle."""
    from torch import OutOfMemoryError

    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OutOfMemoryError | MemoryError):
            raise error
        cause = cause.__cause__
