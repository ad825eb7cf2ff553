import json
import os
from hashlib import sha256
from pathlib import Path

import pytest

from core.storage import atomic_file, atomic_folder, digest_of, file_digest, write_json


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
