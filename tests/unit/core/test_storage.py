import json
import os
import shutil
import sqlite3
from hashlib import sha256
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from core import storage
from core.errors import SommelierError
from core.storage import (
    UNFINISHED,
    atomic_file,
    atomic_folder,
    digest_of,
    file_digest,
    is_disk_full,
    list_folder,
    newest_first,
    remove_folder,
    scratch_folder,
    whole_folders,
    write_json,
)


def test_a_file_is_whole_or_not_there(tmp_path):
    target = tmp_path / "deep" / "a.txt"

    def write_half() -> None:
        with atomic_file(target) as temporary:
            temporary.write_text("half")
            raise RuntimeError("killed")

    with pytest.raises(RuntimeError, match="killed"):
        write_half()
    assert list(target.parent.iterdir()) == []
    with atomic_file(target) as temporary:
        temporary.write_text("whole")
        assert not target.exists()
    assert target.read_text() == "whole"
    assert [path.name for path in target.parent.iterdir()] == ["a.txt"]


def test_a_failed_folder_leaves_the_old_one(tmp_path):
    target = tmp_path / "stage"
    with atomic_folder(target) as folder:
        (folder / "old").write_text("1")

    def write_half() -> None:
        with atomic_folder(target) as folder:
            (folder / "new").write_text("2")
            raise RuntimeError("killed")

    with pytest.raises(RuntimeError, match="killed"):
        write_half()
    assert [path.name for path in target.iterdir()] == ["old"]
    assert [path.name for path in tmp_path.iterdir()] == ["stage"]


def test_a_folder_is_replaced_whole(tmp_path):
    target = tmp_path / "stage"
    for name in ("old", "new"):
        with atomic_folder(target) as folder:
            (folder / name).write_text(name)
    assert [path.name for path in target.iterdir()] == ["new"]
    assert [path.name for path in tmp_path.iterdir()] == ["stage"]


def test_there_is_no_moment_without_a_folder_that_is_replaced(tmp_path, monkeypatch):
    target, moved = tmp_path / "stage", []
    rename = Path.rename
    monkeypatch.setattr(Path, "rename", lambda path, to: (moved.append(path), rename(path, to))[1])
    for name in ("old", "new"):
        with atomic_folder(target) as folder:
            (folder / name).write_text(name)
    assert target not in moved
    assert [path.name for path in target.iterdir()] == ["new"]


def test_where_names_cannot_be_exchanged_a_folder_is_replaced_all_the_same(tmp_path, monkeypatch):
    monkeypatch.setattr(storage, "_exchange", lambda *_: False)
    test_a_folder_is_replaced_whole(tmp_path)


def test_a_folder_loses_its_name_before_what_is_in_it(tmp_path, monkeypatch):
    target = tmp_path / "stage"
    target.mkdir()
    (target / "part").write_text("rows")
    seen = []
    rmtree = shutil.rmtree
    monkeypatch.setattr(shutil, "rmtree", lambda path, **named: (seen.append(target.exists()), rmtree(path, **named)))
    remove_folder(target)
    remove_folder(target)  # one that is gone is gone
    assert seen == [False]
    assert list(tmp_path.iterdir()) == []


def _fill_sqlite() -> None:
    with sqlite3.connect(":memory:") as database:
        database.execute("PRAGMA max_page_count = 2")
        database.execute("CREATE TABLE rows (text)")
        database.execute("INSERT INTO rows VALUES (zeroblob(100000))")


def _fill_by_copying(full: Path) -> None:
    one = full.with_name("one")
    one.mkdir()
    (one / "file").write_text("x" * 10_000)
    shutil.copytree(
        one, full.with_name("two"), copy_function=lambda source, _: full.write_bytes(Path(source).read_bytes())
    )


FULL = Path("/dev/full")
TABLE = pa.table({"text": ["x" * 100_000]})


@pytest.mark.skipif(not FULL.exists(), reason="only Linux has a disk that is always full")
@pytest.mark.parametrize(
    "write",
    [
        lambda full: full.write_text("x"),
        lambda full: pq.write_table(TABLE, full),
        lambda full: duckdb.sql(
            f"COPY (SELECT range FROM range(9999)) TO '{full}' (FORMAT parquet, USE_TMP_FILE false)"
        ),
        lambda _: _fill_sqlite(),
        _fill_by_copying,
    ],
    ids=["Python", "Arrow", "DuckDB", "SQLite", "a copy"],
)
def test_a_full_disk_is_known_by_whoever_says_it(tmp_path, write):
    # A link: whoever writes beside a file and renames must not take the device's own name.
    full = tmp_path / "full"
    full.symlink_to(FULL)
    with pytest.raises(Exception) as raised:  # noqa: PT011
        write(full)
    assert FULL.is_char_device()
    assert is_disk_full(raised.value)
    told = SommelierError("Cannot write", got="a", expected="b", do="Look")
    told.__cause__ = raised.value
    assert is_disk_full(told)
    assert not is_disk_full(SommelierError("Cannot write", got="a", expected="b", do="Look"))


def test_json_is_sorted_and_ends_with_a_newline(tmp_path):
    write_json(tmp_path / "a.json", {"b": 1, "a": tmp_path})
    text = (tmp_path / "a.json").read_text()
    assert json.loads(text) == {"a": str(tmp_path), "b": 1}
    assert text.index('"a"') < text.index('"b"')
    assert text.endswith("}\n")


def test_file_digest_is_sha256(tmp_path):
    (tmp_path / "a").write_bytes(b"x" * 3_000_000)
    assert file_digest(tmp_path / "a") == sha256(b"x" * 3_000_000).hexdigest()


def test_digest_of_parts_does_not_depend_on_the_order_of_keys():
    assert digest_of({"a": 1, "b": 2}) == digest_of({"b": 2, "a": 1})
    assert digest_of({"a": 1}) != digest_of({"a": 2})
    assert digest_of("a", "b") != digest_of("ab")
    assert len(digest_of("a")) == 16


def test_what_a_name_stands_for_is_on_the_disk_before_the_name_and_the_name_before_the_return(tmp_path, monkeypatch):
    done = []
    fsync, replace, rename = os.fsync, type(tmp_path).replace, type(tmp_path).rename

    def sync(handle: int) -> None:
        done.append(("sync", str(Path(f"/proc/self/fd/{handle}").readlink())))
        fsync(handle)

    def note(what, move):
        return lambda path, target: (done.append((what, str(target))), move(path, target))[1]

    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(type(tmp_path), "replace", note("named", replace))
    monkeypatch.setattr(type(tmp_path), "rename", note("named", rename))
    write_json(tmp_path / "new" / "a.json", 1)
    made, content, named, listed = done
    assert made == ("sync", str(tmp_path))  # where the folder's own name is
    assert content[0] == "sync"
    assert "a.json" in content[1]
    assert named == ("named", str(tmp_path / "new" / "a.json"))
    assert listed == ("sync", str(tmp_path / "new"))
    done.clear()
    with atomic_folder(tmp_path / "stage") as folder:
        (folder / "deep").mkdir()
        (folder / "deep" / "part").write_text("rows")
    place = done.index(("named", str(tmp_path / "stage")))
    assert {path.rpartition("/")[2] for _, path in done[:place]} >= {"part", "deep"}
    assert done[place + 1 :] == [("sync", str(tmp_path))]


def test_a_scratch_folder_is_gone_however_the_block_ends(tmp_path):
    with scratch_folder(tmp_path / "shop" / "rows") as first, scratch_folder(tmp_path / "shop" / "rows") as second:
        (first / "one").write_text("1")
        assert first != second
        assert first.parent == second.parent == tmp_path / "shop"
        assert first.name.startswith(".rows.")
        assert first.name.endswith(UNFINISHED)
    with pytest.raises(ValueError, match="broken"), scratch_folder(tmp_path / "shop" / "rows"):
        raise ValueError("broken")
    assert list((tmp_path / "shop").iterdir()) == []


def test_what_lies_in_a_folder_is_listed_without_what_is_unfinished_or_gone(tmp_path):
    for age, name in enumerate(("b", "a", ".c")):
        (tmp_path / name).mkdir()
        os.utime(tmp_path / name, (1000 - age, 1000 - age))
    (tmp_path / "file").touch()
    assert [path.name for path in list_folder(tmp_path)] == [".c", "a", "b", "file"]
    assert whole_folders(tmp_path) == [tmp_path / "a", tmp_path / "b"]
    assert newest_first([tmp_path / "a", tmp_path / "gone", tmp_path / "b"]) == {
        tmp_path / "b": 1000,
        tmp_path / "a": 999,
    }
    assert list(newest_first(whole_folders(tmp_path))) == [tmp_path / "b", tmp_path / "a"]
    for nothing in (tmp_path / "gone", tmp_path / "file"):
        assert list_folder(nothing) == whole_folders(nothing) == []
