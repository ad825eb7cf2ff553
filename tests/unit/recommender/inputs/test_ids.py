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
    assert ids.find(["a", "x", "b"]) == [2, None, 1]
    assert [ids.knows_any(names) for names in (["x", "b"], ["x"], [])] == [True, False, False]
    with pytest.raises(UnknownItem, match="item_id='x'"):
        ids.index("x")
    with pytest.raises(UnknownItem, match="item_id='x'"):
        ids.indices(["a", "x", "b"])


def test_many_are_found_as_one_is():
    ids = IdMap(("b", "a", "c"))
    assert ids.indices(["c", "b", "c"]) == [ids.index("c"), ids.index("b"), ids.index("c")] == [3, 1, 3]
    assert ids.names([3, 1, 3]) == ["c", "b", "c"]
    assert (ids.indices([]), ids.names([])) == ([], [])


@pytest.mark.parametrize("index", [0, 3, -1])
def test_padding_and_indices_out_of_range_are_no_items(index):
    with pytest.raises(UnknownItem, match=f"index={index}"):
        IdMap(("b", "a")).item_id(index)
    with pytest.raises(UnknownItem, match=f"index={index}, expected 1 to 2"):
        IdMap(("b", "a")).names([1, index, 2])
    with pytest.raises(UnknownItem, match="expected 1 to 0"):
        IdMap(()).names([1])


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
