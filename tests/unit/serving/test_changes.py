"""Changes of items and users: kept, refused with a sentence, and shown at the next poll."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from core.overrides import OverrideError, Overrides
from core.removals import RemovalError, read_waiting
from core.settings.platform import ServingSettings
from core.tombstones import TombstoneFile
from serving.api.changes import ItemPatch, UserPatch
from serving.api.problem import explain
from serving.api.recommend import RecommendRequest
from serving.api.records import ItemRecord
from serving.changes import ChangeDesk
from serving.engine import Engine
from serving.errors import BadRequest, RecordUnreadable, UnknownItem, UnknownUser
from serving.http.refusals import refusal_of
from tests.unit.serving.fake_engine import make


@pytest.fixture
def desk(tmp_path: Path) -> ChangeDesk:
    overrides = Overrides(tmp_path / "overrides.sqlite", lambda user: user == "gone")
    return ChangeDesk(overrides, tmp_path / "to_forget.json", tmp_path / "forgotten.json")


def item(**given: Any) -> ItemPatch:
    return ItemPatch.model_validate(given)


def test_an_item_is_changed_on_the_disk_and_shown_at_the_next_poll(desk: ChangeDesk) -> None:
    engine = make()
    said = desk.change_item("i11", item(price=0.25, attributes={"new": True, "size": 4.5, "n": 3}), engine)
    assert (said.fields, said.attributes) == ({"price": 0.25}, {"new": "true", "size": "4.5", "n": "3"})
    assert (said.in_catalogue, said.available, said.deleted) == (True, True, False)
    request = RecommendRequest(user_id="known", k=1)
    assert engine.recommend(request).items[0].price != 0.25
    desk.bring_up(engine.live)
    assert engine.recommend(request).items[0].price == 0.25
    desk.delete_item("i11", engine)
    desk.bring_up(engine.live)
    assert engine.recommend(request).items[0].item_id == "i10"
    other = make()  # a bundle that comes into service later
    desk.bring_up(other.live)
    assert other.recommend(request).items[0].item_id == "i10"


def test_what_could_not_be_shown_is_tried_again_at_the_next_poll(
    desk: ChangeDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise MemoryError

    engine = make()
    request = RecommendRequest(user_id="known", k=1)
    desk.delete_item("i11", engine)
    with monkeypatch.context() as patch:
        patch.setattr("serving.lists.shown.Catalogue", fail)
        with pytest.raises(MemoryError):
            desk.bring_up(engine.live)
    assert engine.recommend(request).items[0].item_id == "i11"
    desk.bring_up(engine.live)
    assert engine.recommend(request).items[0].item_id == "i10"


def test_what_is_left_out_stays_and_null_is_taken_back(desk: ChangeDesk) -> None:
    desk.change_item("x", item(title="A kettle", price=3.0, available=False), None)
    said = desk.change_item("x", item(price=None, attributes={"colour": "red"}), None)
    assert (said.fields, said.attributes, said.available) == ({"title": "A kettle"}, {"colour": "red"}, False)
    assert not said.in_catalogue
    assert desk.change_item("x", item(available=True), None).available


def test_times_are_kept_in_utc(desk: ChangeDesk) -> None:
    said = desk.change_item("x", item(created_at="2026-03-01T13:00:00+01:00"), None)
    assert said.fields == {"created_at": "2026-03-01T12:00:00+00:00"}
    assert desk.change_user("u", UserPatch.model_validate({"signup_at": "2026-03-01T13:00:00Z"})).fields == {
        "signup_at": "2026-03-01T13:00:00+00:00"
    }


@pytest.mark.parametrize("moment", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-12:00"])
@pytest.mark.parametrize(("kind", "field"), [(ItemPatch, "created_at"), (UserPatch, "signup_at")])
def test_a_time_that_utc_does_not_have_is_refused(kind: Any, field: str, moment: str) -> None:
    with pytest.raises(ValidationError) as error:
        kind.model_validate({field: moment})
    assert explain(error.value).endswith("expected a time from year 1 to 9999 in UTC.")
    assert f"{field}=" in explain(error.value)


def test_the_ends_of_time_in_utc_are_kept(desk: ChangeDesk) -> None:
    for moment in ("0001-01-01T00:00:00+00:00", "9999-12-31T23:59:59+00:00"):
        assert desk.change_item("x", item(created_at=moment), None).fields == {"created_at": moment}


def test_what_was_deleted_does_not_come_back_with_a_bundle_that_is_loaded_while_the_file_is_damaged(
    desk: ChangeDesk, tmp_path: Path
) -> None:
    request = RecommendRequest(user_id="known", k=1)
    first = make()
    desk.delete_item("i11", first)
    desk.bring_up(first.live)
    file = tmp_path / "overrides.sqlite"
    for beside in tmp_path.glob("overrides.sqlite-*"):
        beside.unlink()
    file.write_bytes(b"no database" * 1000)
    second = make()
    desk.look()
    desk.bring_up(second.live)
    assert second.recommend(request).items[0].item_id == first.recommend(request).items[0].item_id == "i10"
    assert desk.problem is not None
    assert desk.problem.startswith("Cannot read what clients say of items")
    with pytest.raises(OverrideError, match="Cannot read what clients say of items"):
        desk.follow(None, [])
    new = ChangeDesk(Overrides(file), tmp_path / "to_forget.json", tmp_path / "forgotten.json")
    assert new.problem is None  # it has not tried yet
    with pytest.raises(OverrideError, match=r"overrides\.sqlite.*must be moved away"):
        new.look()
    with pytest.raises(OverrideError):
        new.bring_up(make().live)
    assert new.problem is not None
    file.unlink()  # moved away
    new.look()
    assert new.problem is None


def _best(engine: Any) -> tuple[str, float | None]:
    (item,) = engine.recommend(RecommendRequest(user_id="known", k=1)).items
    return item.item_id, item.price


def test_what_is_said_after_the_file_was_moved_away_counts_alone(desk: ChangeDesk, tmp_path: Path) -> None:
    engine, untouched = make(), make()
    desk.change_item("i10", item(price=0.5), engine)
    desk.change_item("i10", item(price=0.25), engine)
    desk.delete_item("i11", engine)
    desk.bring_up(engine.live)
    assert _best(engine) == ("i10", 0.25)
    for file in tmp_path.glob("overrides.sqlite*"):
        file.rename(tmp_path / f"old-{file.name}")
    desk.change_item("i11", item(price=0.125), engine)
    later = make()
    for one in (engine, later):
        desk.bring_up(one.live)
        assert _best(one) == ("i11", 0.125)
    for _ in range(3):  # now as many as before
        desk.change_item("i9", item(price=1.0), engine)
    for file in tmp_path.glob("overrides.sqlite*"):
        file.unlink()
    for one in (engine, later):
        desk.bring_up(one.live)
        assert _best(one) == _best(untouched)


@pytest.mark.parametrize("in_place", [True, False])
def test_a_backup_that_was_put_back_counts_as_it_is(desk: ChangeDesk, tmp_path: Path, in_place: bool) -> None:
    engine, file, backup = make(), tmp_path / "overrides.sqlite", tmp_path / "backup"
    desk.change_item("i11", item(price=0.25), engine)
    desk.bring_up(engine.live)
    with closing(sqlite3.connect(file)) as source, closing(sqlite3.connect(backup)) as target:
        source.backup(target)
    desk.delete_item("i11", engine)
    desk.bring_up(engine.live)
    assert _best(engine)[0] == "i10"
    for beside in tmp_path.glob("overrides.sqlite-*"):
        beside.unlink()
    if in_place:
        file.write_bytes(backup.read_bytes())
    else:
        backup.replace(file)
        desk.change_item("i9", item(price=1.0), engine)  # of the same version as what is gone
    desk.bring_up(engine.live)
    assert _best(engine) == ("i11", 0.25)


def test_what_is_known_is_not_read_and_looked_through_at_each_poll(
    desk: ChangeDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = make()
    desk.change_item("i1", item(price=1.0), engine)
    desk.follow(None, [engine])
    monkeypatch.setattr(Overrides, "since", lambda *_: pytest.fail("read again"))
    monkeypatch.setattr(engine.live, "follow", lambda *_: pytest.fail("brought up again"))
    desk.follow(None, [engine])


def test_an_unchanged_catalogue_is_not_made_again(desk: ChangeDesk) -> None:
    engine = make()
    desk.change_item("i1", item(price=1.0), engine)
    desk.bring_up(engine.live)
    before = engine.live.now
    desk.bring_up(engine.live)
    desk.change_item("unknown", item(price=1.0), engine)
    desk.bring_up(engine.live)
    assert engine.live.now is before


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"price": -1}, "price=-1, input should be greater than or equal to 0"),
        ({"price": float("nan")}, "price"),
        ({"title": ""}, 'title="", string should have at least 1 character'),
        ({"colour": "red"}, "colour is not one of its fields"),
        ({"attributes": {"price": 3}}, "attributes.price is a column of its own, expected price beside attributes"),
        ({"attributes": {" ": "x"}}, "pattern"),
        ({"attributes": {"a": [1]}}, "attributes.a"),
        ({"attributes": {f"a{n}": "x" for n in range(101)}}, "at most 100"),
        ({"created_at": "2026-03-01T13:00:00"}, "created_at"),
    ],
)
def test_what_does_not_fit_is_refused_with_a_sentence(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError) as refused:
        item(**given)
    assert said in explain(refused.value)


def test_ids_that_are_none_and_forgotten_users_are_refused(desk: ChangeDesk) -> None:
    for call in (
        lambda: desk.change_item(" ", item(price=1.0), None),
        lambda: desk.delete_item("a\x00", None),
        lambda: desk.change_user("\ufffd", UserPatch()),
        lambda: desk.forget_user(" "),
        lambda: desk.forget_user("a\x00"),
        lambda: desk.change_user("gone", UserPatch.model_validate({"attributes": {"age": 3}})),
    ):
        with pytest.raises(BadRequest, match="Cannot change"):
            call()


def test_a_user_is_forgotten_for_every_worker_before_the_answer(desk: ChangeDesk, tmp_path: Path) -> None:
    other_worker = TombstoneFile(tmp_path / "forgotten.json")
    assert not other_worker.holds("u1")
    said = desk.forget_user("17850.0")
    assert other_worker.holds("17850")
    assert said.receipt == 1
    assert "17850" not in said.model_dump_json()
    assert desk.forget_user("17850") == said
    assert desk.forget_user("u1").receipt == 2
    assert read_waiting(tmp_path / "to_forget.json") == ("17850.0", "u1")


def test_nobody_is_said_to_be_forgotten_where_it_cannot_be_kept(desk: ChangeDesk, tmp_path: Path) -> None:
    (tmp_path / "to_forget.json").write_text("{", encoding="utf-8")
    with pytest.raises(RemovalError) as refused:
        desk.forget_user("u1")
    assert refusal_of(refused.value).status_code == 503
    assert not (tmp_path / "forgotten.json").exists()


def record_of(desk: ChangeDesk, engine: Engine, item_id: str, is_whole: bool = True) -> ItemRecord:
    return engine.read_item(item_id, desk.said_of("items", item_id, is_whole=is_whole))


def test_a_new_item_can_be_read_as_soon_as_it_was_said_and_waits_for_the_training(desk: ChangeDesk) -> None:
    engine = make()
    with pytest.raises(UnknownItem):
        record_of(desk, engine, "new")
    said = desk.change_item("new", item(title="A kettle", price=3.0, attributes={"colour": "red"}), engine)
    found = record_of(desk, engine, "new")
    assert (found.state, found.label, found.price, found.attributes) == ("pending", "A kettle", 3.0, {"colour": "red"})
    assert found.said == said
    desk.change_item("new", item(title=None, price=None, attributes={"colour": None}), engine)
    with pytest.raises(UnknownItem):
        record_of(desk, engine, "new")


def test_what_was_set_of_an_item_is_read_before_a_worker_follows_it(desk: ChangeDesk) -> None:
    engine = make()
    assert (record_of(desk, engine, "i11").state, record_of(desk, engine, "i11").said) == ("available", None)
    desk.change_item("i11", item(price=0.25, title="Eleven", attributes={"size": 4}), engine)
    found = record_of(desk, engine, "i11")
    assert (found.price, found.label, found.category) == (0.25, "Eleven", "c1")
    assert (found.attributes["price"], found.attributes["size"]) == (0.25, "4")
    said = desk.change_item("i11", item(available=False), engine)
    assert record_of(desk, engine, "i11").state == "unavailable"
    assert record_of(desk, engine, "i11").said == said
    said = desk.delete_item("i11", engine)
    found = record_of(desk, engine, "i11")
    assert (found.state, found.price, found.label, found.said) == ("deleted", 11.0, "Title 11", said)


def test_a_user_is_read_with_what_the_models_do_not_know_yet(desk: ChangeDesk) -> None:
    engine = make()
    desk.change_user("known", UserPatch.model_validate({"attributes": {"age": 30, "town": "Ulm, north"}}))
    found = engine.read_user("known", desk.said_of("users", "known", is_whole=True))
    assert (found.attributes, found.pending, found.is_known) == ("age 30", ["town"], True)
    with pytest.raises(UnknownUser):
        engine.read_user("nobody", desk.said_of("users", "nobody", is_whole=True))
    said = desk.change_user("nobody", UserPatch.model_validate({"attributes": {"age": 4}}))
    found = engine.read_user("nobody", desk.said_of("users", "nobody", is_whole=True))
    assert (found.is_known, found.history, found.said, found.pending) == (False, [], said, ["age"])


def test_nothing_that_was_said_of_a_forgotten_user_is_read(tmp_path: Path) -> None:
    file = tmp_path / "overrides.sqlite"
    Overrides(file).patch("users", "gone", {}, {"age": "3"})
    desk = ChangeDesk(Overrides(file, lambda user: user == "gone"), tmp_path / "a", tmp_path / "b")
    assert desk.said_of("users", "gone", is_whole=True).override is None


def test_of_a_file_that_cannot_be_read_an_item_is_read_as_it_was_said_before(desk: ChangeDesk, tmp_path: Path) -> None:
    engine = make()
    desk.delete_item("i11", engine)
    desk.look()
    damage(tmp_path)
    found = record_of(desk, engine, "i11")
    assert (found.state, found.degraded) == ("deleted", ["changes"])
    assert desk.problem is not None


def damage(folder: Path) -> None:
    (folder / "overrides.sqlite").write_bytes(b"damaged" * 1000)
    for side in folder.glob("overrides.sqlite-*"):
        side.unlink()


def test_of_a_file_that_cannot_be_read_nobody_is_said_to_be_unknown(desk: ChangeDesk, tmp_path: Path) -> None:
    engine = make()
    desk.change_user("nobody", UserPatch.model_validate({"attributes": {"age": 4}}))
    desk.change_item("new", item(title="A kettle"), engine)
    damage(tmp_path)
    for read, kind in ((engine.read_user, "users"), (engine.read_item, "items")):
        with pytest.raises(RecordUnreadable, match="'elsewhere'") as refused:
            read("elsewhere", desk.said_of(kind, "elsewhere"))
        assert refused.value.status == 503
    found = engine.read_user("known", desk.said_of("users", "known"))
    assert (found.said, found.attributes, found.degraded) == (None, "age 30", ["changes"])
    assert record_of(desk, engine, "i11").degraded == ["changes"]


def test_a_record_waits_for_a_locked_file_for_less_than_an_answer_may_take(
    desk: ChangeDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []

    def locked(*_: Any) -> None:
        waits.append(_[-1])
        raise sqlite3.OperationalError("database is locked")

    monkeypatch.setattr("core.overrides.query", locked)
    assert not desk.said_of("users", "known").is_read
    assert waits[0] < ServingSettings().timeout_s / 2


def test_what_was_taken_back_is_told_before_a_worker_follows_it(desk: ChangeDesk) -> None:
    engine = make()
    desk.change_item("i11", item(price=2.0, title="Sale", attributes={"size": 4}), engine)
    desk.bring_up(engine.live)
    desk.change_item("i11", item(price=None, title=None, attributes={"size": None}), engine)
    found = record_of(desk, engine, "i11")
    assert (found.price, found.label, found.attributes["price"]) == (11.0, "Title 11", 11.0)
    assert "size" not in found.attributes
    desk.change_item("i11", item(price=3.0), engine)
    desk.bring_up(engine.live)
    desk.delete_item("i11", engine)
    assert record_of(desk, engine, "i11").price == 11.0


def test_a_record_is_that_of_the_id_however_it_is_written(desk: ChangeDesk) -> None:
    engine = make()
    desk.change_item("i11", item(price=0.25), engine)
    assert record_of(desk, engine, " i11") == record_of(desk, engine, "i11")
    said = desk.said_of("users", " known ", is_whole=True)
    assert engine.read_user(" known ", said) == engine.read_user("known", said)


def test_who_is_no_admin_does_not_see_texts_that_no_data_gate_has_masked(desk: ChangeDesk) -> None:
    engine = make()
    secret = "ann@example.com"
    attributes = {"contact": secret, "phone": 491701234567, "in_stock": False}
    patch = item(title=f"Tea, {secret}", description=f"Ask {secret}.", price=3.0, attributes=attributes)
    for id_ in ("i11", "new"):
        desk.change_item(id_, patch, engine)
        assert secret in record_of(desk, engine, id_).model_dump_json()
        desk.bring_up(engine.live)
        found = record_of(desk, engine, id_, is_whole=False)
        assert secret not in found.model_dump_json()
        assert "491701234567" not in found.model_dump_json()
        assert (found.label, found.price) == ("Title 11" if id_ == "i11" else "new", 3.0)
        assert (found.said, found.attributes["in_stock"]) == (None, "false")
        assert found.withheld == ["contact", "description", "phone", "title"]
        assert found.changed_at is not None
    for id_ in ("known", "nobody"):
        said = desk.change_user(id_, UserPatch.model_validate({"attributes": {"contact": secret}}))
        person = engine.read_user(id_, desk.said_of("users", id_))
        assert secret not in person.model_dump_json()
        assert (person.said, person.pending, person.changed_at) == (None, ["contact"], said.changed_at)
        assert engine.read_user(id_, desk.said_of("users", id_, is_whole=True)).said == said
