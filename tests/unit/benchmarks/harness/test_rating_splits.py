"""A random split of ratings, from the training set of the split by time."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.harness.rating_splits import write_random_split
from core import schema


def test_no_rating_is_told_by_its_own_review(tmp_path: Path) -> None:
    """Items without a title are described by reviews: where they quote the user, the pair has a text without them."""
    source, target = tmp_path / "by-time", tmp_path / "random"
    source.mkdir()
    empty = {schema.HISTORY_ITEMS: [], schema.HISTORY_VALUES: [], schema.N_RATINGS: 0, schema.ITEM_N_RATINGS: 0}
    texts = [None if n % 3 else f"what others than u{n} say" for n in range(30)]
    rows = [
        {schema.USER_ID: f"u{n}", schema.ITEM_ID: "i1", schema.RATING: 4.0, schema.SPLIT: "train",
         schema.ITEM_TEXT: text, **empty}
        for n, text in enumerate(texts)
    ]  # fmt: skip
    pq.write_table(pa.Table.from_pylist(rows, schema=schema.TRAINING_TABLES["pairs"]), source / "pairs.parquet")
    item = {schema.ITEM_ID: "i1", schema.ITEM_TEXT: "what all say", schema.ITEM_N_EVENTS: 0, schema.ITEM_N_RATINGS: 0}
    catalogue = pa.Table.from_pylist([item], schema=schema.TRAINING_TABLES["catalogue"])
    pq.write_table(catalogue, source / "catalogue.parquet")
    write_random_split(source, target, seed=1, max_history=5)
    found = pq.read_table(target / "pairs.parquet")
    assert found[schema.ITEM_TEXT].to_pylist() == texts
