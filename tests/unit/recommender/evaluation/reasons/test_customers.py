"""Who chose items and how they rated them."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from recommender.evaluation.reasons.customers import read_customers

START = datetime(2026, 3, 1, tzinfo=UTC)


def table(folder: Path, name: str, columns: list[str], rows: list[tuple[object, ...]]) -> ds.Dataset:
    found = [dict(zip(columns, row, strict=True)) for row in rows]
    timed = [{**row, "timestamp": START + timedelta(hours=float(str(row["timestamp"])))} for row in found]
    pq.write_table(pa.Table.from_pylist(timed), folder / f"{name}.parquet")
    return ds.dataset(folder / f"{name}.parquet")


def test_the_latest_rating_counts_and_a_reviews_rating_where_there_is_no_other(tmp_path: Path) -> None:
    columns = ["user_id", "item_id", "event", "value", "timestamp", "position"]
    rows: list[tuple[object, ...]] = [
        ("ann", "tea", "rating", 2.0, 5, 2),
        ("ann", "tea", "rating", 5.0, 5, 1),  # the same moment, and before
        ("ann", "tea", "view", None, 9, None),
        ("bob", "tea", "view", None, 1, None),
        ("cas", "tea", "purchase", None, 1, None),
        ("ann", "cup", "rating", 4.0, 1, None),
        ("dan", "cup", "rating", 1.0, 99, None),  # after the cut-off
        ("dan", "pot", "rating", 1.0, 1, None),  # nobody asked
    ]
    events = table(tmp_path, "interactions", columns, rows)
    given: list[tuple[object, ...]] = [
        ("eve", "tea", 3.0, 7), ("eve", "tea", 1.0, 8), ("ann", "tea", 4.0, 9), ("cas", "cup", None, 1),
    ]  # fmt: skip
    reviews = table(tmp_path, "feedback", ["user_id", "item_id", "rating", "timestamp"], given)
    found = read_customers(events, reviews, {"tea", "cup", "unknown"}, START + timedelta(hours=50))
    tea, cup, unknown = found["tea"], found["cup"], found["unknown"]
    assert [len(one.chosen) for one in (tea, cup, unknown)] == [3, 2, 0]  # ann, cas and eve; ann and cas
    assert sorted(tea.ratings.tolist()) == [2.0, 3.0]  # ann's latest event, eve's first review
    assert (tea.n_ratings, tea.mean_rating, unknown.n_ratings) == (2, 3.5, 0)
    assert (tea.shared_with(cup), tea.shared_with(unknown)) == (2, 0)
    assert (tea.ratings_shared_with(cup).tolist(), cup.ratings_shared_with(tea).tolist()) == ([2.0], [4.0])
    assert len(read_customers(events, None, {"tea"}, START + timedelta(hours=50))["tea"].chosen) == 2
