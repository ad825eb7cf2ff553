"""What the gate put aside is counted and explained, shown to who may see rows, and asked for with a reason."""

from __future__ import annotations

import json
from pathlib import Path
from shutil import copytree

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from core.layout import Layout
from core.quarantine.requests import begin_request, read_requests
from core.removals import request_removal
from core.settings.platform import PlatformSettings
from core.settings.tree import Settings
from core.tombstones import TombstoneFile
from serving.api.quarantine import MAX_SHOWN_CHARS, QuarantineInfo, QuarantineQuery, ReadmitRequest
from serving.operations.desk import OperationsDesk
from tests.unit.cli.quarantined_shop import BAD
from tests.unit.serving.operations.put_aside import put_aside
from validation.quarantine.readmission import count_by_rule, select

REASON = "The scale was set wrong."


@pytest.fixture(scope="module")
def gated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The work folder of a shop whose newest validation put two rows aside."""
    folder = tmp_path_factory.mktemp("gated")
    put_aside(Layout(folder, "corner"))
    return folder


@pytest.fixture
def layout(gated: Path, tmp_path: Path) -> Layout:
    """A copy of it elsewhere, as another machine has it."""
    return Layout(copytree(gated, tmp_path / "elsewhere"), "corner")


def desk_of(layout: Layout) -> OperationsDesk:
    settings = Settings(work_dir=layout.work_dir, shop=layout.shop)
    return OperationsDesk(layout, settings, TombstoneFile(layout.forgotten).holds)


def look(layout: Layout, shows_rows: bool = True, **asked: object) -> QuarantineInfo:
    found = desk_of(layout).quarantine(QuarantineQuery.model_validate(asked), shows_rows=shows_rows)
    assert isinstance(found, QuarantineInfo), found.body
    return found


def change_first(layout: Layout, **columns: str) -> None:
    """Change the first row of the quarantined interactions."""
    file = layout.clean("key") / "quarantine" / "interactions.parquet"
    held = pq.read_table(file).to_pylist()
    held[0] |= columns
    pq.write_table(pa.Table.from_pylist(held, schema=pq.read_schema(file)), file)


def test_rows_are_counted_as_the_command_counts_them_and_the_rules_say_what_they_want(layout: Layout) -> None:
    found = look(layout)
    counted = count_by_rule(select(layout.clean("key") / "quarantine"))
    assert [{"table": one.table, "rule": one.rule, "rows": one.rows} for one in found.groups] == counted
    words = {one.rule: (one.column, one.expectation, one.why) for one in found.groups}
    assert words["value_parses"] == ("value", "ExpectColumnValuesToBeNull", "Reads as a number.")
    counts = next(one for one in found.tables if one.table == "interactions")
    assert (counts.rows_in, counts.rows_quarantined) == (42, 2)
    assert (found.problem, found.validation, found.waiting) == (None, "key", [])
    assert found.read_at is not None
    assert found.docs is None  # they lie elsewhere, as far as is known here


def test_the_data_docs_are_linked_where_the_reports_are_shown(gated: Path) -> None:
    layout = Layout(gated, "corner")
    shown = PlatformSettings(reports_page="https://shop.example/reports/")
    settings = Settings(work_dir=layout.work_dir, shop=layout.shop, platform=shown)
    found = OperationsDesk(layout, settings, lambda _: False).quarantine(QuarantineQuery(), shows_rows=False)
    assert isinstance(found, QuarantineInfo)
    assert found.docs == "https://shop.example/reports/key/data-docs/index.html"
    assert look(layout).docs is None  # nothing says that they are shown


def test_rows_are_shown_to_nobody_but_who_may_do_everything(layout: Layout) -> None:
    found = look(layout, shows_rows=False)
    assert (found.rows, found.waiting, found.next) == (None, None, None)
    assert "seven" not in found.model_dump_json()
    assert "never" not in found.model_dump_json()


def test_rows_come_in_pages(layout: Layout) -> None:
    first = look(layout, limit=1)
    assert first.rows is not None
    (row,) = first.rows
    assert (row.position, row.rules, row.values["value"]) == ("interactions.csv:42", ["value_parses"], "seven")
    assert list(json.loads(row.source_row).values()) == BAD[0].split(",")
    second = look(layout, limit=1, after=first.next)
    assert second.rows is not None
    assert ([one.values["timestamp"] for one in second.rows], second.next) == (["never"], None)
    only = look(layout, table="interactions", rule="timestamp_parses").rows
    assert only is not None
    assert [one.values["timestamp"] for one in only] == ["never"]
    assert look(layout, table="items").rows == []


@pytest.mark.parametrize("after", ["interactions", "wine:1", "users:-1", "users:x", f"users:{'9' * 40}"])
def test_what_is_no_next_is_refused(layout: Layout, after: str) -> None:
    refused = desk_of(layout).quarantine(QuarantineQuery(after=after), shows_rows=True)
    assert refused.status_code == 400
    assert "next of the page before" in json.loads(refused.body)["error"]


def test_a_long_text_is_cut(layout: Layout, tmp_path: Path) -> None:
    change_first(layout, values=json.dumps({"timestamp": "n" * 5000}), source_row="n" * 5000)
    row, _ = look(layout).rows or ()
    assert row.values["timestamp"] == "n" * (MAX_SHOWN_CHARS - 1) + "…"
    assert len(row.source_row) == MAX_SHOWN_CHARS


def test_rows_of_who_is_forgotten_are_left_out_from_then_on(layout: Layout) -> None:
    request_removal(layout.to_forget, layout.forgotten, "u1")
    found = look(layout)
    assert [one.values["user_id"] for one in found.rows or ()] == ["u2"]
    change_first(layout, values="{}")  # it could not be read, and still names who waits to be removed
    assert [one.position for one in look(layout).rows or ()] == ["interactions.csv:43"]
    layout.forgotten.write_text("{")
    refused = desk_of(layout).quarantine(QuarantineQuery(), shows_rows=True)
    assert refused.status_code == 503
    assert "nobody's rows are shown" in json.loads(refused.body)["error"]


@pytest.mark.parametrize(
    ("user_id", "source_row"),
    [
        ('u"1', json.dumps({"user": 'u"1'})),
        ('u"1', '"u""1",i2,rating'),
        ("u\\1", json.dumps({"user": "u\\1"})),
        ("jürgen", '{"user": "j\\u00fcrgen"}'),
        ("jürgen", '{"user": "j\\u00FCrgen"}'),
        ("jürgen", "jürgen;i2;rating"),
        ("u1", json.dumps({"item_id\tuser_id": "i2\tu1"})),
        ("u1", json.dumps({"user": "\u00a0u1"})),
        ("a/1", '{"user": "a\\/1"}'),
        ("17850.0", '{"user": 17850}'),
        ("@u1", "rating @u1"),
        ("7", "7,i2,rating"),
        ("u1", "谢谢u1的推荐"),
        ("o'neil", "o&#39;neil;i2;rating"),
        ("a b", "GET /users/a%20b/orders"),
        ("jürgen", "j%C3%BCrgen;i2"),
        ("jürgen", json.dumps(json.dumps({"user": "jürgen"}))),
        ("u\\1", json.dumps(json.dumps({"user": "u\\1"}))),
        ("jürgen", "{'user': 'j\\xfcrgen'}"),
        ("person-471", "user_person-471_x"),
        ("u1", json.dumps("the account of\u2003u1")),
        ("anna@x.de", "ANNA@X.DE,i2,rating"),
        ("ANNA@X.DE", "anna%40x.de,i2,rating"),
        ("jürgen", "JÜRGEN;i2;rating"),
        ("jürgen", json.dumps({"user": "Jürgen, JÜRGEN"}).replace("\\u00fc", "ue")),
        ("Özge", "%C3%B6zge;i2"),
        ("ж", json.dumps({"user": "Ж"})),
    ],
)
def test_a_row_that_could_not_be_read_is_left_out_however_it_writes_who_waits(
    layout: Layout, user_id: str, source_row: str
) -> None:
    change_first(layout, values="{}", source_row=source_row)
    request_removal(layout.to_forget, layout.forgotten, user_id)
    assert [one.position for one in look(layout).rows or ()] == ["interactions.csv:43"]


@pytest.mark.parametrize(
    "columns",
    [
        {"values": json.dumps({"item_id": "u1"})},
        {"values": "{}", "attributes": json.dumps({"note": "the account of\nu1"})},
    ],
)
def test_a_row_is_left_out_that_names_who_waits_in_a_value_alone(layout: Layout, columns: dict[str, str]) -> None:
    change_first(layout, source_row="", **columns)
    request_removal(layout.to_forget, layout.forgotten, "u1")
    assert [one.position for one in look(layout).rows or ()] == ["interactions.csv:43"]


@pytest.mark.parametrize("user_id", ["1", "0", "rat", "i"])
def test_a_short_id_hides_no_row_that_has_it_within_a_word(layout: Layout, user_id: str) -> None:
    request_removal(layout.to_forget, layout.forgotten, user_id)
    assert len(look(layout).rows or ()) == 2


def test_an_id_hides_no_row_in_which_a_mark_makes_another_word_of_it(layout: Layout) -> None:
    change_first(layout, values="{}", source_row="सुनीला,i2,rating")
    request_removal(layout.to_forget, layout.forgotten, "सुनील")
    assert len(look(layout).rows or ()) == 2


def test_what_is_asked_for_waits_once_with_its_reason(layout: Layout) -> None:
    desk = desk_of(layout)
    for reason in ("first", REASON):
        asked = desk.readmit(ReadmitRequest(rule="value_parses", reason=reason), "key:k1")
        assert (asked.rows, asked.reason, asked.by) == (1, reason, "key:k1")
    desk.readmit(ReadmitRequest(reason=REASON), "local")
    waiting = [(one.table, one.rule, one.reason) for one in look(layout).waiting or ()]
    assert waiting == [(None, "value_parses", REASON), (None, None, REASON)]
    assert [one.id for one in read_requests(layout.to_readmit)] == [one.id for one in look(layout).waiting or ()]


def test_what_waits_is_withdrawn_by_its_id(layout: Layout) -> None:
    desk = desk_of(layout)
    asked = desk.readmit(ReadmitRequest(rule="value_parses", reason=REASON), "key:k1")
    kept = desk.readmit(ReadmitRequest(reason=REASON), "key:k1")
    withdrawn = desk.withdraw(asked.id)
    assert (withdrawn.id, withdrawn.rule, withdrawn.reason) == (asked.id, "value_parses", REASON)
    assert [one.id for one in look(layout).waiting or ()] == [kept.id]
    refused = desk.withdraw(asked.id)
    assert (refused.status_code, f"id={asked.id}" in json.loads(refused.body)["error"]) == (404, True)
    begin_request(layout.to_readmit, kept.id)
    assert [one.begun for one in look(layout).waiting or ()] == [True]
    refused = desk.withdraw(kept.id)
    assert (refused.status_code, "quarantine revoke" in json.loads(refused.body)["error"]) == (409, True)
    assert str(layout.root) not in json.loads(refused.body)["error"]
    layout.to_readmit.write_text("{")
    assert desk.withdraw(kept.id).status_code == 503


def test_what_a_run_lets_in_cannot_be_asked_for_again_meanwhile(layout: Layout) -> None:
    desk = desk_of(layout)
    begun = desk.readmit(ReadmitRequest(rule="value_parses", reason=REASON), "key:k1")
    begin_request(layout.to_readmit, begun.id)
    refused = desk.readmit(ReadmitRequest(rule="value_parses", reason=REASON), "key:k1")
    assert (refused.status_code, f"id={begun.id}" in json.loads(refused.body)["error"]) == (409, True)
    assert str(layout.root) not in json.loads(refused.body)["error"]
    assert [(one.id, one.begun) for one in look(layout).waiting or ()] == [(begun.id, True)]


def test_what_is_not_there_cannot_be_asked_for(layout: Layout, tmp_path: Path) -> None:
    refused = desk_of(layout).readmit(ReadmitRequest(rule="made_up", reason=REASON), "local")
    assert refused.status_code == 400
    assert "rule=made_up" in json.loads(refused.body)["error"]
    refused = desk_of(Layout(tmp_path, "new")).readmit(ReadmitRequest(reason=REASON), "local")
    assert refused.status_code == 400
    assert "sommelier run pipeline" in json.loads(refused.body)["error"]
    assert not (tmp_path / "new").exists()
    for given in ({}, {"reason": "  "}, {"reason": REASON, "rows": 3}):
        with pytest.raises(ValidationError):
            ReadmitRequest.model_validate(given)


def test_what_is_missing_or_gone_is_said(layout: Layout, tmp_path: Path) -> None:
    assert "shop=new" in (look(Layout(tmp_path, "new")).problem or "")
    quarantine = layout.clean("key") / "quarantine"
    for file in quarantine.glob("*.parquet"):
        file.unlink()
    assert "platform.originals_days" in (look(layout).problem or "")


def test_a_quarantine_of_an_earlier_release_lacks_words_alone(layout: Layout) -> None:
    (layout.clean("key") / "quarantine" / "note.json").unlink()
    found = look(layout)
    assert {(one.rule, one.why) for one in found.groups} == {("value_parses", None), ("timestamp_parses", None)}
    assert (found.read_at, len(found.rows or ())) == (None, 2)


def test_a_rule_says_what_it_wants_and_not_what_its_column_means(layout: Layout) -> None:
    put_aside(layout, "u4,,view,,2026-05-03T10:00:00Z")
    words = {one.rule: (one.column, one.why) for one in look(layout).groups}
    assert words["item_id_required"] == ("item_id", "Never empty.")
