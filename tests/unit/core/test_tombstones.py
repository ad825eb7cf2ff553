"""Who is forgotten: told by a salted hash alone, the same in Python and SQL, and never lost."""

import json

import duckdb
import pytest

from core.events import canonical_id
from core.tombstones import Tombstone, TombstoneError, TombstoneFile, Tombstones, bury, lift, read_tombstones


@pytest.fixture
def file(tmp_path):
    return tmp_path / "shop" / "forgotten.json"


def test_a_person_is_told_however_the_id_is_written_and_the_file_has_none(file):
    stone = bury(file, " 17850.0 ")
    for written in ("17850", "17850.00", '{"$oid": "17850"}'):
        assert read_tombstones(file).find(written) == stone
    assert not read_tombstones(file).holds("17851")
    assert "17850" not in file.read_text().replace(stone.person, "").replace(read_tombstones(file).salt, "")


def test_asking_takes_no_longer_the_more_are_forgotten():
    """Each stone is looked at once, however often is asked; every request and every event asks."""
    looked = []

    class Stone(Tombstone):
        def __getattribute__(self, name):
            looked.append(name)
            return super().__getattribute__(name)

    salted = Tombstones(salt="s")
    stones = tuple(Stone(person=salted.hash_of(f"u{n}"), at="", receipt=n) for n in range(100))
    everybody = Tombstones.model_construct(salt="s", forgotten=stones)
    looked.clear()
    assert [everybody.holds(f"u{n}") for n in range(200)] == [True] * 100 + [False] * 100
    assert looked.count("person") == 100
    assert everybody.model_copy(update={"forgotten": stones[:1]}).find("u1") is None


def test_two_shops_have_two_hashes_of_one_person(tmp_path):
    assert bury(tmp_path / "a.json", "u1").person != bury(tmp_path / "b.json", "u1").person


def test_burying_twice_is_one_tombstone_and_receipts_are_numbered(file):
    assert bury(file, "u1") == bury(file, "u1")
    assert [bury(file, user).receipt for user in ("u1", "u2", "u3")] == [1, 2, 3]
    assert read_tombstones(file).generation == 3


def test_a_lifted_tombstone_is_gone_and_its_number_and_key_do_not_come_again(file):
    keys = {read_tombstones(file).key}
    for change in (lambda: bury(file, "u1"), lambda: lift(file, "u1"), lambda: bury(file, "u1")):
        change()
        keys.add(read_tombstones(file).key)
    assert len(keys) == 4
    assert "" in keys
    assert read_tombstones(file).find("u1").receipt == 2
    assert lift(file, "u2") is None


@pytest.mark.parametrize("user", ["u1", "Ünal O'Neil", "a|b", 'quo"ted', "0815"])
def test_sql_tells_the_same_people(file, user):
    bury(file, user)
    tombstones = read_tombstones(file)
    ids = [user, f"{user}x", "", None]
    found = duckdb.execute(f"SELECT {tombstones.sql('id')} FROM (SELECT unnest($1::VARCHAR[]) AS id)", [ids]).fetchall()
    assert [one for (one,) in found] == [tombstones.holds(one or "") for one in ids] == [True, False, False, False]
    assert duckdb.sql(f"SELECT {Tombstones().sql('id')} FROM (SELECT 'u1' AS id)").fetchall() == [(False,)]


@pytest.mark.parametrize("user", ["", "  ", "x" * 3000])
def test_no_id_is_no_person(file, user):
    with pytest.raises(TombstoneError, match="user="):
        bury(file, user)
    assert not file.exists()


def test_a_damaged_record_is_an_error_and_forgets_nobody_less(file):
    bury(file, "u1")
    file.write_text(file.read_text()[:-20])
    with pytest.raises(TombstoneError, match="backup"):
        read_tombstones(file)
    with pytest.raises(TombstoneError, match="backup"):
        TombstoneFile(file).holds("u2")


def test_a_record_that_cannot_be_looked_at_is_an_error(tmp_path):
    (tmp_path / "shop").write_text("a file in the place of the folder")
    with pytest.raises(TombstoneError, match=r"Cannot read who is forgotten: record=.*Not a directory"):
        TombstoneFile(tmp_path / "shop" / "forgotten.json").holds("u1")


def test_a_running_process_knows_at_once(file):
    asked = TombstoneFile(file)
    assert not asked.holds("u1")
    bury(file, "u1")
    assert asked.holds("u1")
    bury(file, "u2")
    assert asked.holds("u2")
    lift(file, "u1")
    assert not asked.holds("u1")


def test_the_record_holds_hashes_alone(file):
    bury(file, "somebody-known")
    told = json.loads(file.read_text())
    assert told.keys() == {"salt", "generation", "receipts", "forgotten"}
    assert told["forgotten"][0].keys() == {"person", "at", "receipt"}
    assert canonical_id("somebody-known") not in file.read_text()
