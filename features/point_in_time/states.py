"""Users and items as of any moments, as a request of then would have found them: straight from the clean tables.

What `labels.queries` makes of a window through the feature store, for moments of each user's own and without a refresh:
the same facts, counted and derived by the same code.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from weakref import WeakValueDictionary

import numpy as np
import pyarrow as pa

from core import schema
from core.schema import TRAINING_TABLES
from core.settings.features import FeatureSettings
from features.archive.shop_facts import ShopFacts
from features.clean_tables import check_clean_tables
from features.counting.columns import Columns, Facts
from features.counting.derivation import ITEM_INPUTS, USER_INPUTS, derive_item, derive_user
from features.counting.seen import seen_then
from features.counting.streams import DAY_US
from features.counting.views import EVENT_TIMESTAMP, ITEM_PROFILE, USER_HISTORY, USER_PROFILE, USER_SEEN
from features.point_in_time.lookup import as_column
from recommender.inputs.ids import IdMap
from recommender.inputs.item_moments import NUMBERS, POPULARITY, ItemColumns, ItemsThen
from recommender.inputs.queries import features_of_row
from recommender.inputs.user import UserState

_HISTORY = (schema.HISTORY_ITEMS, schema.HISTORY_VALUES, schema.HISTORY_EVENTS)
_SEEN = (schema.SEEN_KEYS, "seen_us")
_PAGE = 2_000  # users that are worked on at once
# Of so many moments and catalogues the items' features are in memory: users are asked about in the order of time, and
# by two bundles in turn.
_KEPT_COLUMNS = 4


class StatesThen:
    """Users as of moments. What is left out is words that come back in their reviews, which no ranking reads.

    Args:
        clean: The folder of the clean tables.
        settings: What the features depend on.
    Raises:
        CleanTablesError: a table is missing or of another shape.
    """

    def __init__(self, clean: Path, settings: FeatureSettings) -> None:
        check_clean_tables(clean)
        self._settings = settings
        self._facts = ShopFacts.of_clean(clean, settings, has_reviews=False)
        # Weak, as they hold this: what was read is given back with the last user who was asked for.
        self._items_at: WeakValueDictionary[int, _ItemsThen] = WeakValueDictionary()
        # By moment and the identity of the catalogue, which is held so that no other one takes it over.
        self._columns: dict[tuple[int, int], tuple[IdMap, ItemColumns]] = {}

    def __call__(self, user_ids: Sequence[str], before_us: Sequence[int]) -> list[UserState]:
        """What was known of each user just before each moment, and of the items then.

        Args:
            user_ids: Known or not. B ids.
            before_us: The first moment not known, microseconds since 1970. B of them.
        """
        found: list[UserState] = []
        for start in range(0, len(user_ids), _PAGE):
            page = slice(start, start + _PAGE)
            found += self._states(user_ids[page], np.array(before_us[page], dtype=np.int64) - 1)
        return found

    def _states(self, user_ids: Sequence[str], at_us: np.ndarray) -> list[UserState]:
        ids = pa.array(user_ids, pa.string())
        columns: Columns = self._facts.as_of(USER_HISTORY, ids, at_us, [*_HISTORY, *USER_INPUTS])
        columns |= self._facts.as_of(USER_PROFILE, ids, at_us, [schema.ATTRIBUTES])
        columns |= self._facts.as_of(USER_SEEN, ids, at_us, _SEEN)
        columns |= derive_user(columns, at_us, self._settings.n_affinities)  # type: ignore[arg-type]
        labels = pa.table({EVENT_TIMESTAMP: pa.array(at_us, pa.int64()).cast(schema.TIME)})
        columns[schema.SEEN_KEYS] = seen_then(labels, columns, self._settings.seen.within_days)
        fields = [field for field in TRAINING_TABLES["queries"] if field.name in columns]
        rows = pa.table({field.name: as_column(columns[field.name], field.type) for field in fields}).to_pylist()
        return [
            replace(UserState.from_row(row), features=features_of_row(row), items_then=self._items(int(us)))
            for row, us in zip(rows, at_us, strict=True)
        ]

    def _items(self, at_us: int) -> ItemsThen:
        found = self._items_at.get(at_us)
        if found is None:
            found = self._items_at[at_us] = _ItemsThen(self, at_us)
        return found

    def items_of(self, ids: IdMap, at_us: int) -> ItemColumns:
        """The features of a catalogue's items at a moment."""
        key = at_us, id(ids)
        known = self._columns.pop(key, None) or (ids, self._count_items(ids, at_us))
        self._columns[key] = known  # the newest that was asked for is the last to go
        while len(self._columns) > _KEPT_COLUMNS:
            del self._columns[next(iter(self._columns))]
        return known[1]

    def _count_items(self, ids: IdMap, at_us: int) -> ItemColumns:
        moments = np.full(len(ids), at_us, dtype=np.int64)
        facts = self._facts.as_of(ITEM_PROFILE, pa.array(list(ids), pa.string()), moments, ITEM_INPUTS)
        found: Facts = derive_item(facts, moments, sorted(self._settings.windows_days))  # type: ignore[arg-type]
        columns = {name: np.asarray(found[name], dtype=np.float64) for name in NUMBERS}
        popularity = found[POPULARITY].values.reshape(len(ids), -1).astype(np.float64)  # type: ignore[union-attr]
        return ItemColumns(popularity, lambda places: {name: values[places] for name, values in columns.items()})


class _ItemsThen:
    """The items at one moment: `recommender.inputs.item_moments.ItemsThen`."""

    def __init__(self, states: StatesThen, at_us: int) -> None:
        self._states, self._at_us = states, at_us

    @property
    def day(self) -> int:
        """See `ItemsThen`."""
        return self._at_us // DAY_US

    def of(self, ids: IdMap) -> ItemColumns:
        """See `ItemsThen`."""
        return self._states.items_of(ids, self._at_us)

    def counts_at(self, ids: IdMap, places: np.ndarray) -> np.ndarray:
        """See `ItemsThen`."""
        counts: np.ndarray = self.of(ids).popularity[places]
        return counts
