"""API keys: made, found, expired, revoked; nothing but hashes is kept, and nothing but a valid key is found."""

from __future__ import annotations

import json
import os
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.keys import KeyFile, KeyFileError, create_key, given_key, key_header, key_id_of, read_keys, revoke_key


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "shop" / "api_keys.json"


def made(file: Path, *scopes: str, days: float | None = None) -> tuple[str, str]:
    new = create_key(file, "a test", scopes or ["read"], days)
    return new.key.id, new.text.get_secret_value()


def test_a_key_is_found_by_what_was_shown_once(file: Path) -> None:
    key_id, text = made(file, "events", "read")
    found = KeyFile(file).find(text)
    assert found is not None
    assert (found.id, found.name, found.scopes) == (key_id, "a test", ("read", "events"))


def test_the_file_does_not_hold_the_secret(file: Path) -> None:
    _, text = made(file)
    secret = text.rpartition("_")[2]
    assert len(secret) == 64
    assert secret not in file.read_text()
    assert secret not in repr(create_key(file, "another", ["read"]))
    assert secret not in repr(read_keys(file))


def test_two_keys_differ_in_id_and_secret(file: Path) -> None:
    first, second = made(file), made(file)
    assert first[0] != second[0]
    assert first[1].rpartition("_")[2] != second[1].rpartition("_")[2]
    assert [key.id for key in read_keys(file).keys] == [first[0], second[0]]


def test_what_is_no_valid_key_is_not_found(file: Path) -> None:
    key_id, text = made(file)
    secret = text.rpartition("_")[2]
    turned = secret[:-1] + ("0" if secret[-1] != "0" else "1")
    keys = KeyFile(file)
    for other in ("", "som", text[:-1], f"{text} ", text.upper(), f"som_{key_id}_{turned}", f"som_{'0' * 12}_{secret}"):
        assert keys.find(other) is None, other
    assert keys.find(text) is not None


@given(st.text())
def test_no_text_raises(text: str) -> None:
    assert KeyFile(Path("nowhere") / "api_keys.json").find(text) is None


def test_a_revoked_key_is_invalid_at_once_in_a_process_that_read_it_before(file: Path) -> None:
    key_id, text = made(file)
    keys = KeyFile(file)
    assert keys.find(text) is not None
    revoked = revoke_key(file, key_id)
    assert keys.find(text) is None
    assert revoke_key(file, key_id) == revoked
    assert read_keys(file).keys[0].state(datetime.now(UTC)) == "revoked"


def test_a_key_ends_with_its_time(file: Path) -> None:
    _, text = made(file, days=2)
    keys, now = KeyFile(file), datetime.now(UTC)
    assert keys.find(text, now + timedelta(days=1.9)) is not None
    assert keys.find(text, now + timedelta(days=2.1)) is None
    assert read_keys(file).keys[0].state(now + timedelta(days=3)) == "expired"


@pytest.mark.parametrize(
    ("scopes", "may"),
    [
        (["read"], {"read"}),
        (["events"], {"events"}),
        (["read", "events"], {"read", "events"}),
        (["admin"], {"read", "events", "admin"}),
    ],
)
def test_a_scope_allows_itself_and_admin_allows_everything(file: Path, scopes: list[str], may: set[str]) -> None:
    key = create_key(file, "n", scopes).key
    assert {scope for scope in ("read", "events", "admin") if key.may(scope)} == may


@pytest.mark.parametrize(
    ("name", "scopes", "days", "said"),
    [
        ("", ["read"], None, r"name='', expected 1 to 100 printable"),
        ("a\nb", ["read"], None, r"name='a\\nb'"),
        ("n", [], None, r"scopes=none, expected one or more of read, events, admin"),
        ("n", ["root"], None, r"scopes=root"),
        ("n", ["read"], 0, r"days=0, expected more than 0"),
        ("n", ["read"], float("nan"), r"days=nan"),
    ],
)
def test_a_key_that_makes_no_sense_is_not_made(
    file: Path, name: str, scopes: list[str], days: float, said: str
) -> None:
    with pytest.raises(KeyFileError, match=said):
        create_key(file, name, scopes, days)
    assert not file.exists()


def test_a_key_that_there_is_not_cannot_be_revoked(file: Path) -> None:
    with pytest.raises(KeyFileError, match=r"Cannot revoke: key=abc123abc123, expected the id of a key"):
        revoke_key(file, "abc123abc123")


def test_a_key_is_named_by_its_id_or_by_the_whole_of_it(file: Path) -> None:
    key_id, text = made(file)
    for named in (key_id, text, f" {text}\n", text[:-1], f"{text}x", f"som_{key_id}"):
        assert key_id_of(named) == key_id


def test_what_names_no_key_is_not_shown_for_it_may_hold_a_secret(file: Path) -> None:
    _, text = made(file)
    for named in (text.removeprefix("som_")[3:], text.upper(), f"key={text}", "abc"):
        with pytest.raises(KeyFileError, match=rf"key=a text of {len(named)} characters, expected the id") as error:
            revoke_key(file, named)
        assert named not in str(error.value)


def test_a_damaged_file_refuses_everybody_and_says_so(file: Path) -> None:
    _, text = made(file)
    file.write_text(json.dumps({"keys": [{"id": "x"}]}))
    with pytest.raises(KeyFileError, match=r"Cannot read the API keys: file=\d+ wrong fields"):
        KeyFile(file).find(text)
    with pytest.raises(KeyFileError):
        create_key(file, "n", ["read"])


def test_a_file_that_cannot_be_looked_at_refuses_everybody_and_says_so(tmp_path: Path) -> None:
    (tmp_path / "shop").write_text("a file in the place of the folder")
    with pytest.raises(KeyFileError, match=r"Cannot read the API keys: file=.*Not a directory"):
        KeyFile(tmp_path / "shop" / "keys.json").find("som_x")


def test_a_file_that_goes_takes_its_keys_along(file: Path) -> None:
    _, text = made(file)
    keys = KeyFile(file)
    assert (keys.find(text) is not None, keys.is_empty()) == (True, False)
    file.unlink()
    assert (keys.find(text), keys.is_empty()) == (None, True)


def test_keys_that_are_made_at_once_are_all_kept(file: Path) -> None:
    threads = [threading.Thread(target=made, args=(file,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({key.id for key in read_keys(file).keys}) == 8


def test_a_client_takes_its_key_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SOMMELIER_API_KEY", raising=False)
    assert key_header(given_key()) == {}
    monkeypatch.setitem(os.environ, "SOMMELIER_API_KEY", "som_1_2")
    key = given_key()
    assert key_header(key) == {"Authorization": "Bearer som_1_2"}
    assert "som_1_2" not in repr(key)


def test_a_key_of_the_environment_that_no_header_can_hold_is_refused_unseen(monkeypatch: pytest.MonkeyPatch) -> None:
    for wrong in ("som_1_2 ", "som_1_2\n", "som_1_é"):
        monkeypatch.setitem(os.environ, "SOMMELIER_API_KEY", wrong)
        with pytest.raises(KeyFileError, match="SOMMELIER_API_KEY=<hidden>, expected printable ASCII") as error:
            given_key()
        assert "som_1" not in str(error.value)
