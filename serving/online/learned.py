"""The items as a bundle knows them: what is told of them where the online store was never read."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from core.timing.clock import CLOCK
from recommender.bundle.loading import Bundle
from recommender.inputs.item_moments import CountedItems, ItemColumns

_AGE = "item_age_days"
_SECONDS_A_DAY = 86_400.0


def learned_items(bundle: Bundle) -> ItemColumns:
    """A bundle's items as of the moment up to which it learned; only their ages have gone on since.

    So what is popular is what was popular at that moment, and what is new is what was newest then.
    """
    found = CountedItems(bundle.catalogue.table).of(bundle.catalogue.ids)
    since = CLOCK.now() - bundle.manifest.data.learned_until_at
    days = max(since.total_seconds(), 0.0) / _SECONDS_A_DAY

    def numbers(places: np.ndarray) -> Mapping[str, np.ndarray]:
        known = found.numbers(places)
        return {**known, _AGE: known[_AGE] + days}

    return ItemColumns(found.popularity, numbers)
