import pytest

from recommender.errors import BundleError
from recommender.inputs.ids import IdMap, UnknownItem


def test_order_depends_on_ids_and_seed_alone():
    ids = [f"i{n}" for n in range(50)]
    assert IdMap.shuffled(ids, 1) == IdMap.shuffled(reversed(ids), 1)
    assert IdMap.shuffled(ids, 1) != IdMap.shuffled(ids, 2)
    assert list(IdMap.shuffled(ids, 1)) != sorted(ids)


def test_unknown_ids_are_dropped_or_reported_but_never_guessed():
    ids = IdMap(("b", "a"))
    assert ids.known_indices(["a", "x", "b"]) == [2, 1]
    assert ids.unknown(["a", "x", "b"]) == ["x"]
    assert "x" not in ids
    with pytest.raises(UnknownItem, match="item_id='x'"):
        ids.index("x")


@pytest.mark.parametrize("index", [0, 3, -1])
def test_padding_and_indices_out_of_range_are_no_items(index):
    with pytest.raises(UnknownItem, match=f"index={index}"):
        IdMap(("b", "a")).item_id(index)


def test_an_id_twice_is_refused():
    with pytest.raises(UnknownItem, match="'a' twice"):
        IdMap(("a", "b", "a"))


@pytest.mark.parametrize("content", ["{", '{"a": 1}', "[1, 2]", None])
def test_a_damaged_file_is_named(tmp_path, content):
    path = tmp_path / "ids.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(BundleError, match=r"ids\.json"):
        IdMap.load(path)
