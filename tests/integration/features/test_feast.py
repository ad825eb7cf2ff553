"""Feast's own look-ups, fields and services."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from core.schema import TIME
from features.counting.derivation import derive_item, derive_user
from features.counting.views import VIEWS
from features.feast.definitions import PAIR_SCORER
from features.feast.offline_store import with_columns
from features.feast.store import open_store
from tests.integration.features.shop import ITEMS, LOG
from tests.unit.features.plain import LoggedEvent, item_features, same, user_features
from tests.unit.features.shops import SECOND, START, START_US


def test_feasts_point_in_time_join_is_a_plain_recount(refreshed: Path) -> None:
    """All features, through Feast: every user and item, at and around every event."""
    store = open_store(refreshed)
    log = [
        LoggedEvent(f"e{n}", e.user, e.item, e.event, START_US + round(e.at * SECOND), e.position, n, e.value)
        for n, e in enumerate(LOG)
    ]
    catalogue = {
        item["item_id"]: {name: item.get(name) for name in ("category", "brand", "price", "created_us")}
        for item in ITEMS
    }
    moments = [START + timedelta(seconds=second, microseconds=us) for second in range(-1, 11) for us in (-1, 0)]
    labels = [(user, item, at) for user in ("u", "v", "w", "nobody") for item in ("a", "c", "zz") for at in moments]
    frame = pd.DataFrame(labels, columns=["user_id", "item_id", "event_timestamp"])
    job = store.get_historical_features(frame, store.get_feature_service(PAIR_SCORER))
    n_seen = 0
    for page, facts in job.pages(100):
        us = page.column("event_timestamp").cast(TIME).cast(pa.int64()).to_numpy()
        derived = {**facts, **derive_user(facts, us, 3), **derive_item(facts, us, (1, 7, 30))}
        for n, row in enumerate(with_columns(page, derived_names(derived)).to_pylist()):
            expected = user_features(
                log, row["user_id"], int(us[n]), catalogue=catalogue, max_history=3, n_affinities=3
            )
            expected |= item_features(log, row["item_id"], int(us[n]), catalogue=catalogue, windows=(1, 7, 30))
            del expected["active_days"]
            different = {
                name: (row[f"_{name}"], value) for name, value in expected.items() if not same(row[f"_{name}"], value)
            }
            assert not different, (row["user_id"], row["item_id"], us[n])
            n_seen += 1
    assert n_seen == len(labels)


def derived_names(columns: dict[str, Any]) -> dict[str, Any]:
    return {f"_{name}": column for name, column in columns.items()}


def test_feast_has_the_fields_of_the_views_with_their_meanings(refreshed: Path) -> None:
    store = open_store(refreshed)
    assert {view.name for view in store.list_feature_views()} == set(VIEWS)
