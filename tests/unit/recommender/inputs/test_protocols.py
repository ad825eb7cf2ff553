"""Leave-one-out training sets: what is learned, what is asked, what is known when it is asked."""

from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recommender.errors import TrainingDataError
from recommender.inputs.catalogue import read_training_table
from recommender.inputs.protocols import write_leave_one_out
from recommender.inputs.queries import read_queries

MOMENT = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def clean(tmp_path):
    """One user of four events, the middle two at one moment and told apart by their position; one user of two."""
    events = [("u", "d", 3, 0), ("u", "c", 2, 2), ("u", "a", 1, 0), ("u", "b", 2, 1), ("short", "a", 1, 0)]
    rows = [
        {"user_id": user, "item_id": item, "timestamp": MOMENT.replace(day=day), "position": position}
        for user, item, day, position in [*events, ("short", "b", 2, 0)]
    ]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "interactions.parquet")
    texts = dict.fromkeys(("title", "brand", "category", "description", "price"))
    items = [{"item_id": name, **texts, "title": f"Tin {name}"} for name in "abcd"]
    pq.write_table(pa.Table.from_pylist(items), tmp_path / "items.parquet")
    return tmp_path


@pytest.mark.parametrize(("protocol", "learned"), [("strict", ["a", "b"]), ("refit", ["a", "b", "c"])])
def test_only_what_the_protocol_allows_is_learned(clean, tmp_path, protocol, learned):
    write_leave_one_out(clean, tmp_path / "training", protocol)
    sequences = read_training_table(tmp_path / "training", "sequences").to_pylist()
    assert [(row["user_id"], row["history_items"]) for row in sequences] == [("u", learned)]
    catalogue = read_training_table(tmp_path / "training", "catalogue").to_pylist()
    assert {row["item_id"]: row["item_n_events"] for row in catalogue} == {
        name: int(name in learned) for name in "abcd"
    }
    assert catalogue[0]["item_text"] == "Tin a"


def test_the_validation_event_is_in_the_history_when_the_test_is_asked(clean, tmp_path):
    write_leave_one_out(clean, tmp_path / "training", "strict")
    for split, history, target in (("validation", ("a", "b"), ("c",)), ("test", ("a", "b", "c"), ("d",))):
        queries = read_queries(tmp_path / "training", split)
        assert queries.user_ids == ("u",)
        assert queries.users[0].items == history
        assert queries.targets == (target,)


def test_an_unknown_protocol_is_refused(clean, tmp_path):
    with pytest.raises(TrainingDataError, match="protocol=loose, expected strict or refit"):
        write_leave_one_out(clean, tmp_path / "training", "loose")


def test_a_shop_of_short_histories_is_refused(clean, tmp_path):
    rows = pq.read_table(clean / "interactions.parquet").to_pylist()
    pq.write_table(
        pa.Table.from_pylist([row for row in rows if row["user_id"] == "short"]), clean / "interactions.parquet"
    )
    with pytest.raises(TrainingDataError, match="users with three events=0"):
        write_leave_one_out(clean, tmp_path / "training", "strict")
