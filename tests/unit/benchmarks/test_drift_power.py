"""What the drifts for embeddings change of a shop, and what they leave as it is."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest

from benchmarks.drift_power.__main__ import _inject, _shop
from benchmarks.drift_power.drifts import TOLD_BY_NO_COLUMN, WITHIN
from core.sql import literal
from simulation.shop.log import CLOSES_AT

BEGAN_AT = f"TIMESTAMPTZ {literal(CLOSES_AT.isoformat())} - INTERVAL {WITHIN} DAY"


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _shop(tmp_path_factory.mktemp("shop") / "clean", seed=0, n_users=400, items_have_more=False)


def _ask(query: str, **folders: Path) -> list[tuple[object, ...]]:
    """What a query says of `<name>_<table>`, tables of these folders."""
    with duckdb.connect() as connection:
        for name, folder in folders.items():
            for file in sorted(folder.glob("*.parquet")):
                connection.execute(
                    f"CREATE VIEW {name}_{file.stem} AS SELECT * FROM read_parquet({literal(str(file))})"
                )
        return connection.execute(query).fetchall()


def test_taste_moves_to_other_items_of_the_same_category_and_not_before(clean: Path, tmp_path: Path) -> None:
    changed = _inject(clean, tmp_path / "changed", TOLD_BY_NO_COLUMN["taste within categories"])
    rows = _ask(
        f"""SELECT a.timestamp >= {BEGAN_AT} AS is_late, count(*), avg(CAST(a.item_id <> b.item_id AS INTEGER)),
            bool_and(ia.category = ib.category), any_value((SELECT count(*) FROM a_interactions))
        FROM a_interactions AS a JOIN b_interactions AS b USING (event_id)
        JOIN b_items AS ia ON ia.item_id = a.item_id JOIN b_items AS ib ON ib.item_id = b.item_id
        GROUP BY is_late ORDER BY is_late""",
        a=changed,
        b=clean,
    )
    (_, n_before, moved_before, *_), (_, n_late, moved, is_same, total) = rows
    assert n_before + n_late == total  # type: ignore[operator]
    assert (moved_before, is_same) == (0, True)
    assert 0.4 < moved < 0.7  # type: ignore[operator]


def test_reviews_turn_to_parcels_at_hardly_less_length_and_none_is_another(clean: Path, tmp_path: Path) -> None:
    changed = _inject(clean, tmp_path / "changed", TOLD_BY_NO_COLUMN["reviews of parcels"])
    rows = _ask(
        f"""SELECT a.timestamp >= {BEGAN_AT} AS is_late, avg(CAST(a.text <> b.text AS INTEGER)),
            bool_and(length(a.text) <= length(b.text)), avg(length(a.text)) / avg(length(b.text)),
            count(DISTINCT a.text) FILTER (a.text <> b.text) / greatest(count(*) FILTER (a.text <> b.text), 1)
        FROM a_feedback AS a JOIN b_feedback AS b USING (user_id, item_id, timestamp)
        GROUP BY is_late ORDER BY is_late""",
        a=changed,
        b=clean,
    )
    (_, changed_before, *_), (_, share, is_no_longer, length, different) = rows
    assert (changed_before, is_no_longer, different) == (0, True, 1)
    assert length > 0.95  # type: ignore[operator]
    assert 0.2 < share < 0.6  # type: ignore[operator]
