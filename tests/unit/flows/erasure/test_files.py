"""Whether files name a person, by what is in them; and files without the id, others' rows untouched."""

import gzip
import json
import sqlite3
import zipfile
from contextlib import closing

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flows.erasure.contents import count_rows, names
from flows.erasure.files import blot_log, redact, redact_sqlite, remove, remove_naming, remove_unfinished
from flows.erasure.person import FORGOTTEN, Person
from tests.integration.byte_search import find

ID = "person-4711"
PERSON = Person(ID)


def parquet(path, compression="zstd", **columns):
    pq.write_table(pa.table(columns), path, compression=compression)


def npz(path):
    np.savez(path, ids=np.array([f"x {ID}".encode(), b"y"]))


def zipped(path):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("a.txt", f"about {ID}" * 50)


def zstd(path):
    with pa.output_stream(str(path), compression="zstd") as file:
        file.write(f"about {ID}\n".encode() * 50)


def sqlite_file(path):
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE runs (id INTEGER PRIMARY KEY, parameters TEXT, blob BLOB)")
        told = json.dumps({"params": {"user": ID, "item": "i1"}})
        connection.executemany(
            "INSERT INTO runs VALUES (?, ?, ?)", [(1, told, None), (2, "{}", b"x"), (3, "a", f"\1{ID}\2".encode())]
        )
        connection.execute("CREATE TABLE free (note TEXT)")
        connection.execute("INSERT INTO free VALUES (?)", (f"gone {ID}",))
        connection.execute("DELETE FROM free")


FILES = {
    "a.parquet": lambda path: parquet(path, user_id=["u1", ID]),
    "b.parquet": lambda path: parquet(path, "snappy", row=[{"who": [ID]}, None]),
    "c.parquet": lambda path: parquet(path, "gzip", text=pa.array([f"as {ID} said", "b"]).dictionary_encode()),
    "d.parquet": lambda path: parquet(path, "lz4", raw=[ID.encode(), b"b"]),
    "e.json": lambda path: path.write_text(json.dumps({"example_user": ID})),
    "f.html": lambda path: path.write_text(f"<li>{ID}</li>"),
    "g.npz": npz,
    "h.zip": zipped,
    "i.gz": lambda path: path.write_bytes(gzip.compress(f"about {ID}".encode() * 50)),
    "j.zst": zstd,
    "k.db": sqlite_file,
    "l.safetensors": lambda path: path.write_bytes(b"\0\1" * 9_000_000 + ID.encode() + b"\0" * 100),
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_names_the_person_is_known(name, tmp_path):
    FILES[name](tmp_path / name)
    assert find(ID, tmp_path) == {name}
    assert names(tmp_path / name, PERSON)
    assert not names(tmp_path / name, Person("person-471"))
    assert remove_naming([tmp_path / name], Person("person-471")) == 0
    assert remove_naming([tmp_path / name], PERSON) == 1
    assert find(ID, tmp_path) == set()


def test_a_short_id_is_told_by_its_column(tmp_path):
    parquet(tmp_path / "items.parquet", item_id=["7", "8"], text=["7 of them", "7"])
    parquet(tmp_path / "users.parquet", user_id=["7", "8"])
    assert not names(tmp_path / "items.parquet", Person("7"))
    assert names(tmp_path / "users.parquet", Person("7"))


def test_a_database_loses_the_id_in_rows_and_free_pages_and_nothing_else(tmp_path):
    sqlite_file(tmp_path / "k.db")
    assert dict(count_rows(tmp_path / "k.db", PERSON)) == {"runs": 2, "free": 0}
    with closing(sqlite3.connect(tmp_path / "k.db")) as beside:
        beside.execute("PRAGMA journal_mode = WAL")
        before = beside.execute("SELECT * FROM runs WHERE id = 2").fetchall()
        assert redact_sqlite(tmp_path / "k.db", PERSON) == 2
        assert redact_sqlite(tmp_path / "k.db", PERSON) == 0
        ((told,),) = beside.execute("SELECT parameters FROM runs WHERE id = 1")
        assert json.loads(told) == {"params": {"user": FORGOTTEN, "item": "i1"}}
        assert beside.execute("SELECT * FROM runs WHERE id = 2").fetchall() == before
        assert beside.execute("SELECT length(blob) FROM runs WHERE id = 3").fetchall() == [(len(ID) + 2,)]
        assert find(ID, tmp_path) == set()
    assert find(ID, tmp_path) == set()


def test_where_the_word_may_not_stand_twice_the_row_goes(tmp_path):
    with closing(sqlite3.connect(tmp_path / "a.db")) as connection, connection:
        connection.execute("CREATE TABLE people (name TEXT UNIQUE)")
        connection.executemany("INSERT INTO people VALUES (?)", [(ID,), (FORGOTTEN,), ("u1",)])
    redact_sqlite(tmp_path / "a.db", PERSON)
    with closing(sqlite3.connect(tmp_path / "a.db")) as connection:
        assert connection.execute("SELECT name FROM people ORDER BY name").fetchall() == [(FORGOTTEN,), ("u1",)]


def test_records_are_written_without_the_id(tmp_path):
    (tmp_path / "outcome.json").write_text(json.dumps({"example_user": ID, "metrics": {"n": 1.5}}))
    (tmp_path / "tuned.toml").write_text(f'[values]\n"{ID}" = ""\nother = 1\n')
    assert redact(tmp_path / "outcome.json", PERSON) == redact(tmp_path / "tuned.toml", PERSON) == 1
    assert json.loads((tmp_path / "outcome.json").read_text()) == {"example_user": FORGOTTEN, "metrics": {"n": 1.5}}
    assert (tmp_path / "tuned.toml").read_text() == f'[values]\n"{FORGOTTEN}" = ""\nother = 1\n'
    assert redact(tmp_path / "outcome.json", PERSON) == 0


def test_a_log_that_is_being_written_loses_the_id_and_nothing_moves(tmp_path):
    lines = [f"line {n} of {ID if n % 7 == 0 else 'u1'}" for n in range(400)]
    path = tmp_path / "service.log"
    with path.open("a") as writer:
        writer.write("\n".join(lines) + "\n")
        writer.flush()
        size = path.stat().st_size
        assert blot_log(path, PERSON, piece_bytes=1000) == 1
        assert path.stat().st_size == size
        writer.write("after\n")
    kept = path.read_text().splitlines()
    assert kept == [*(line.replace(ID, "*" * len(ID)) for line in lines), "after"]


def test_half_a_character_stays_where_the_id_goes(tmp_path):
    told = {"user": ID, "text": "so \ud83d"}
    (tmp_path / "outcome.json").write_text(json.dumps(told))
    assert redact(tmp_path / "outcome.json", PERSON) == 1
    assert json.loads((tmp_path / "outcome.json").read_text()) == told | {"user": FORGOTTEN}
    with closing(sqlite3.connect(tmp_path / "a.db")) as connection, connection:
        connection.execute("CREATE TABLE runs (parameters TEXT)")
        connection.execute("INSERT INTO runs VALUES (?)", (json.dumps(told),))
    assert redact_sqlite(tmp_path / "a.db", PERSON) == 1
    with closing(sqlite3.connect(tmp_path / "a.db")) as connection:
        ((kept,),) = connection.execute("SELECT parameters FROM runs")
    assert json.loads(kept) == told | {"user": FORGOTTEN}


def test_a_folder_that_is_removed_in_part_has_no_name_of_a_result(tmp_path, monkeypatch):
    (tmp_path / "key").mkdir()

    def kill(folder):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("shutil.rmtree", kill)
        with pytest.raises(KeyboardInterrupt):
            remove(tmp_path / "key")
    assert not (tmp_path / "key").exists()
    remove_unfinished(tmp_path)
    assert list(tmp_path.iterdir()) == []
