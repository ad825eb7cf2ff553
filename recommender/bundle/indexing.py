"""A bundle with a large catalogue answers by indexes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from recommender.bundle.loading import Bundle
from recommender.ranking.large.building import index_ranker
from recommender.ranking.large.ranker import LargeRanker
from recommender.ranking.ranker import Ranker


def indexed(bundle: Bundle, folder: Path, exact_items: int) -> Bundle:
    """The bundle, whose ranker finds the best of more than so many items by indexes.

    Args:
        folder: Where indexes are kept.
        exact_items: A catalogue of at most so many is ranked by all scores.
    Raises:
        BundleError: see `index_ranker`.
    """
    ranker = bundle.ranker
    if len(bundle.catalogue) <= exact_items or not isinstance(ranker, Ranker) or isinstance(ranker, LargeRanker):
        return bundle
    return replace(bundle, ranker=index_ranker(ranker, folder, bundle.manifest.files))
