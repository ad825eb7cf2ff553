import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from core import schema
from recommender.errors import TrainingDataError
from recommender.inputs.catalogue import Catalogue, read_training_table
from recommender.inputs.ids import UnknownItem
from tests.unit.recommender.tiny_shop import N_ITEMS, catalogue_row, item, write, write_training_set


def catalogue_of(*rows: dict) -> Catalogue:
    return Catalogue.from_table(pa.Table.from_pylist(list(rows), schema=schema.TRAINING_TABLES["catalogue"]), seed=1)


def test_rows_follow_the_indices(tmp_path):
    catalogue = Catalogue.read(write_training_set(tmp_path), seed=1)
    assert len(catalogue) == N_ITEMS
    assert catalogue.table.column("item_id").to_pylist() == list(catalogue.ids)
    for item_id in catalogue.ids:
        assert catalogue.row(item_id)["title"] == f"Tea {item_id}"
        assert catalogue.n_events[catalogue.ids.index(item_id) - 1] == catalogue.row(item_id)["item_n_events"]


def test_a_label_is_the_title_or_the_text_or_the_id():
    titled, worded, bare = catalogue_row("a", 1), catalogue_row("b", 1), catalogue_row("c", 1)
    catalogue = catalogue_of(
        titled, {**worded, "title": None, "item_text": "word " * 40}, {**bare, "title": None, "item_text": ""}
    )
    assert catalogue.label("a") == "Tea a"
    assert catalogue.label("b").startswith("word word")
    assert len(catalogue.label("b")) <= 80
    assert catalogue.label("c") == "c"
    assert catalogue.label("unheard of") == "unheard of"
    assert catalogue.text("c") == ""


def test_an_unknown_item_has_no_row_and_no_text():
    catalogue = catalogue_of(catalogue_row("a", 1))
    with pytest.raises(UnknownItem, match="item_id='z'"):
        catalogue.row("z")
    with pytest.raises(UnknownItem, match="item_id='z'"):
        catalogue.text("z")


def test_saved_and_loaded_it_is_the_same(tmp_path):
    catalogue = catalogue_of(catalogue_row("a", 1), catalogue_row("b", 2))
    catalogue.save(tmp_path / "c.parquet")
    again = Catalogue.load(tmp_path / "c.parquet")
    assert again.ids == catalogue.ids
    assert again.table == catalogue.table


def test_an_empty_catalogue_or_an_item_twice_is_refused():
    with pytest.raises(TrainingDataError, match="rows=0"):
        catalogue_of()
    with pytest.raises(TrainingDataError, match="rows=2, distinct item_ids=1"):
        catalogue_of(catalogue_row("a", 1), catalogue_row("a", 2))


def test_a_training_table_is_missing_damaged_or_short_of_a_column(tmp_path):
    with pytest.raises(TrainingDataError, match="table=sequences"):
        read_training_table(tmp_path, "sequences")
    (tmp_path / "sequences.parquet").write_bytes(b"not Parquet")
    with pytest.raises(TrainingDataError, match="table=sequences"):
        read_training_table(tmp_path, "sequences")
    write(tmp_path, "sequences", [{"user_id": "u", "history_items": [item(1)]}])
    pq.write_table(pa.table({"user_id": ["u"]}), tmp_path / "queries.parquet")
    with pytest.raises(TrainingDataError, match="table=queries"):
        read_training_table(tmp_path, "queries")
