import pyarrow as pa
import pytest

from core import schema


@pytest.mark.parametrize("name", schema.TABLE_NAMES)
def test_every_table_says_what_its_columns_are(name):
    table = schema.TABLES[name]
    names = [column.name for column in table.columns]
    assert table.name == name
    assert len(set(names)) == len(names)
    assert set(table.key) <= {column.name for column in table.columns if column.required}
    assert all(column.meaning.endswith(".") for column in table.columns)


def test_required_columns_are_not_nullable():
    arrow = schema.TABLES["interactions"].arrow()
    assert arrow.names == ["event_id", "user_id", "item_id", "event", "value", "timestamp", "position"]
    assert not arrow.field("event_id").nullable
    assert arrow.field("value").nullable
    assert arrow.field("timestamp").type == pa.timestamp("us", tz="UTC")


def test_histories_have_one_form_in_every_training_table():
    for name in ("sequences", "queries", "pairs", "reviews"):
        table = schema.TRAINING_TABLES[name]
        assert table.field(schema.HISTORY_ITEMS).type == pa.list_(pa.string())
        assert table.field(schema.HISTORY_VALUES).type == pa.list_(pa.float64())
