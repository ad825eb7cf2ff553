"""Data as people have them: one small input per kind, through the data gate, with what a user would expect."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from core.settings.source import TablesSource
from core.settings.validation import OwnRule, ValidationSettings
from tests.unit.validation.scans import Scanned, scan_source
from tests.unit.validation.source_files import read_rows
from validation.errors import SourceError, TableRejected
from validation.gate import validate
from validation.quarantine.readmission import readmit, select
from validation.sources.ingest import check_source, ingest
from validation.summary import ValidationSummary

SETTINGS = ValidationSettings(min_interactions=1)
EVENTS = "user_id,item_id,timestamp\nu1,a,2024-01-15 10:00:00\n"


def given(tmp_path: Path, texts: dict[str, str], path: str = "", /, **source: Any) -> TablesSource:
    """Write the files, and check them as a source."""
    folder = tmp_path / "in"
    folder.mkdir(exist_ok=True)
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    found = TablesSource(path=folder / path, **source)
    check_source(found)
    return found


def door(
    tmp_path: Path, texts: dict[str, str], settings: ValidationSettings = SETTINGS, path: str = "", /, **source: Any
) -> ValidationSummary:
    """Let the files through the data gate, which may refuse them."""
    ingest(given(tmp_path, texts, path, **source), tmp_path / "raw")
    return validate(tmp_path / "raw", tmp_path / "clean", settings, tmp_path / "docs")


def scan(
    tmp_path: Path, texts: dict[str, str], settings: ValidationSettings = SETTINGS, path: str = "", /, **source: Any
) -> Scanned:
    """Scan files that the data gate would not refuse."""
    found = scan_source(tmp_path, given(tmp_path, texts, path, **source), settings)
    for counts in found.tables.values():
        assert counts.bad_share <= settings.max_quarantined_share
        assert counts.guest_share <= settings.max_guest_share
        assert "rating_on_scale" not in counts.warnings
    return found


def csv_of(header: str, *rows: str) -> str:
    return "\n".join([header, *rows]) + "\n"


def test_prices_as_shops_write_them(tmp_path: Path) -> None:
    prices = ["12.50 €", '"1.299,00 €"', "USD 12.50", "N/A", '"12,50"', '"$1,299.00"', "call us", "-3"]
    items = csv_of("item_id,title,price", *(f"p{n},t{n},{price}" for n, price in enumerate(prices)))
    events = csv_of("user_id,item_id,timestamp", *(f"u{n},p{n},2024-01-15" for n in range(len(prices))))
    found = scan(tmp_path, {"items.csv": items, "interactions.csv": events})
    assert found.clean("items", "price") == [12.5, 1299.0, 12.5, None, 12.5, 1299.0, None, None]
    assert found.tables["interactions"].rows_clean == len(prices)
    assert found.tables["items"].rows_quarantined == 0
    assert found.tables["items"].cleaned["emptied_price"] == 2
    assert found.tables["items"].warnings["price_parses"] == 1
    assert found.tables["items"].warnings["price_in_range"] == 1


@pytest.mark.parametrize("word", ["NULL", "\\N", "N/A", "nan", "None", ""])
def test_words_for_nothing_are_no_user(tmp_path: Path, word: str) -> None:
    rows = [f"{word},i{n},2024-01-15 10:00:0{n}" for n in range(4)]
    found = scan(tmp_path, {"interactions.csv": csv_of("user_id,item_id,timestamp", *rows, "u1,i1,2024-01-15")})
    assert found.clean("users", "user_id") == ["u1"]
    assert found.broken() == [["user_id_required"]] * 4


def test_guests_alone_stop_the_flow(tmp_path: Path) -> None:
    rows = [f"NULL,i{n},2024-01-15 10:00:0{n}" for n in range(4)]
    text = csv_of("user_id,item_id,timestamp", *rows, "u1,i1,2024-01-15")
    with pytest.raises(TableRejected, match=r"without a user=0\.800, expected at most 0\.5.*source\.null_words"):
        door(tmp_path, {"interactions.csv": text}, SETTINGS.model_copy(update={"max_guest_share": 0.5}))


def test_ids_that_were_floats_are_one_user(tmp_path: Path) -> None:
    events = "user_id,item_id,timestamp\n17850.0,22423,2024-01-15\n17851.0,22424.0,2024-01-15\n"
    found = scan(tmp_path, {"interactions.csv": events, "users.csv": "user_id,country\n17850,UK\n17851,FR\n"})
    assert found.clean("interactions", "user_id", "item_id") == [("17850", "22423"), ("17851", "22424")]
    assert found.clean("users", "user_id", "country") == [("17850", "UK"), ("17851", "FR")]


def test_ids_that_are_decimals_in_parquet_are_whole(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    ids = pa.array([Decimal(17850), Decimal(17851)], pa.decimal128(12, 2))
    table = pa.table({"user_id": ids, "item_id": pa.array([1.0, None]), "timestamp": ["2024-01-15"] * 2})
    pq.write_table(table, tmp_path / "in" / "interactions.parquet")
    found = scan(tmp_path, {"users.csv": "user_id\n17850\n17851\n"}, ValidationSettings(
        min_interactions=1, max_quarantined_share=0.5
    ))  # fmt: skip
    assert found.clean("interactions", "user_id", "item_id") == [("17850", "1")]
    assert found.broken() == [["item_id_required"]]


def test_lists_in_cells(tmp_path: Path) -> None:
    items = """item_id,title,category,tags\na,"['x', 'y']","['Toys', 'Dolls']","['red', 'blue']"\n"""
    found = scan(tmp_path, {"items.csv": items, "interactions.csv": EVENTS})
    assert found.clean("items", "title", "category", "tags") == [("x, y", "Toys > Dolls", "red, blue")]


@pytest.mark.parametrize(
    ("times", "formats"),
    [
        (("20240115", "20240116"), ()),
        (("20240115", "20240116"), ("%Y%m%d",)),
        (("15012024", "16012024"), ("%d%m%Y",)),
        (("202401150000", "202401160000"), ()),
        (("15.01.2024", "16.01.2024"), ("%d.%m.%Y",)),
    ],
)
def test_dates_as_digits(tmp_path: Path, times: tuple[str, str], formats: tuple[str, ...]) -> None:
    events = csv_of("user_id,item_id,timestamp", *(f"u{n},i{n},{time}" for n, time in enumerate(times)))
    found = scan(tmp_path, {"interactions.csv": events}, date_formats=formats)
    days = [moment.strftime("%Y-%m-%d %H") for moment in found.clean("interactions", "timestamp")]
    assert days == ["2024-01-15 00", "2024-01-16 00"]


def test_zones_and_forms_side_by_side(tmp_path: Path) -> None:
    events = "user_id,item_id,timestamp\nu1,i1,15/Jan/2024:10:00:00 +0530\nu2,i2,16/01/2024 10:00\n"
    formats = ("%d/%b/%Y:%H:%M:%S %z", "%d/%m/%Y %H:%M")
    found = scan(tmp_path, {"interactions.csv": events}, date_formats=formats)
    assert found.clean("interactions", "timestamp") == [
        datetime(2024, 1, 15, 4, 30, tzinfo=UTC), datetime(2024, 1, 16, 10, tzinfo=UTC)
    ]  # fmt: skip


ORDERS = """,order,sku,name,customer,at,price,colour,Unnamed: 0
0,1,a,Mug,c1,2024-01-15 10:00:00,2.5,red,0
1,2,a,Mug,c2,2024-01-15 11:00:00,2.5,red,1
2,3,a,Big mug,c3,2024-01-15 12:00:00,,,2
3,4,b,Jar,c1,2024-01-15 09:00:00,4,green,3
4,4,b,,c1,2024-01-15 13:00:00,5,,4
5,5,a,Mug,,2024-01-15 09:30:00,2.4,blue,5
"""
FLAT = {
    "files": dict.fromkeys(("interactions", "items", "users"), "orders.csv"),
    "columns": {
        "interactions": {"user_id": "customer", "item_id": "sku", "timestamp": "at"},
        "items": {"item_id": "sku", "title": "name", "price": "price", "hue": "colour"},
        "users": {"user_id": "customer"},
    },
}


@pytest.mark.parametrize("path", ["", "orders.csv"])
def test_one_flat_file_gives_catalogue_and_users_newest_value_first(tmp_path: Path, path: str) -> None:
    settings = ValidationSettings(min_interactions=1, max_quarantined_share=0.0)
    found = scan(tmp_path, {"orders.csv": ORDERS}, settings, path, **FLAT)
    items = found.clean_rows["items"]
    found_rows = {row["item_id"]: (row["title"], row["price"], row["hue"]) for row in items}
    assert found_rows == {"a": ("Big mug", 2.5, "red"), "b": ("Jar", 5.0, "green")}
    assert set(items[0]) - {"description", "category", "brand", "created_at"} == {"item_id", "title", "price", "hue"}
    assert sorted(found.clean("users", "user_id")) == ["c1", "c2", "c3"]
    counts = found.tables["items"]
    assert (counts.rows_in, counts.rows_clean, counts.rows_quarantined, counts.rules) == (6, 2, 0, {"repeated": 4})
    assert found.tables["interactions"].rows_clean == 5
    assert found.broken() == [["user_id_required"]]
    assert found.tables["users"].rows_in == 5  # a line without a customer gives none


def test_a_flat_file_of_json_lines(tmp_path: Path) -> None:
    lines = [
        {"sku": "a", "name": "Mug", "customer": f"c{n}", "at": f"2024-01-15T1{n}:00:00", "colour": hue, "qty": n}
        for n, hue in enumerate(["red", None, "blue"])
    ]
    files = {"orders.jsonl": "".join(json.dumps(line) + "\n" for line in lines)}
    flat = {
        "files": dict.fromkeys(("interactions", "items"), "orders.jsonl"),
        "columns": {**FLAT["columns"], "items": {"item_id": "sku", "title": "name", "hue": "colour"}},
    }
    found = scan(tmp_path, files, **flat)
    (item,) = found.clean_rows["items"]
    assert (item["title"], item["hue"]) == ("Mug", "blue")
    assert "qty" not in item


def test_index_columns_of_data_frames_are_no_attributes(tmp_path: Path) -> None:
    users = ",Unnamed: 0,user_id,age,__index_level_0__\n0,0,u1,33,0\n"
    found = scan(tmp_path, {"interactions.csv": EVENTS, "users.csv": users})
    (user,) = found.clean_rows["users"]
    assert user == {"user_id": "u1", "signup_at": None, "age": "33"}


def test_reviews_without_words_are_ratings(tmp_path: Path) -> None:
    rows = [f"u{n},a,5,{'nice thing' if n % 2 else ''},2024-01-15 10:0{n}" for n in range(10)]
    both = {
        "files": dict.fromkeys(("interactions", "feedback"), "reviews.csv"),
        "columns": {"interactions": {"value": "rating"}},
    }
    found = scan(tmp_path, {"reviews.csv": csv_of("user_id,item_id,rating,text,timestamp", *rows)}, **both)
    assert found.clean("interactions", "event", "value") == [("rating", 5.0)] * 10
    assert found.clean("feedback", "user_id") == ["u1", "u3", "u5", "u7", "u9"]
    assert found.tables["feedback"].rows_quarantined == 0


def test_own_names_of_events_are_mapped(tmp_path: Path) -> None:
    names = ["view", "AddToCart", "transaction", "pv"]
    rows = [f"u1,i1,{name},2024-01-15 10:0{n}:00" for n, name in enumerate(names)]
    text = csv_of("user_id,item_id,event,timestamp", *rows)
    values = {"interactions": {"event": {"addtocart": "cart", "transaction": "purchase", "pv": "view"}}}
    found = scan(tmp_path, {"interactions.csv": text}, values=values)
    assert found.clean("interactions", "event") == ["view", "cart", "purchase", "view"]
    with pytest.raises(TableRejected, match=r"'addtocart', 'transaction', 'pv'.*source\.values\.interactions\.event"):
        door(tmp_path, {"interactions.csv": text})


@pytest.mark.parametrize("own", ["0", "0.0"])
@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_a_number_is_mapped_however_the_file_writes_it(tmp_path: Path, form: str, own: str) -> None:
    ratings = [0.0, 4.0, -1.0, 2.5]
    values = {"interactions": {"value": {own: "", "-1": "3"}, "item_id": {"7": "seven"}}}
    texts = {}
    if form == "csv":
        rows = [f"u{n},7.0,rating,{rating},2024-01-15" for n, rating in enumerate(ratings)]
        texts["interactions.csv"] = csv_of("user_id,item_id,event,value,timestamp", *rows)
    else:
        (tmp_path / "in").mkdir()
        row = {"item_id": 7.0, "event": "rating", "timestamp": "2024-01-15"}
        table = pa.Table.from_pylist([{**row, "user_id": f"u{n}", "value": one} for n, one in enumerate(ratings)])
        pq.write_table(table, tmp_path / "in" / "interactions.parquet")
    found = scan(tmp_path, texts, SETTINGS.model_copy(update={"max_quarantined_share": 1.0}), values=values)
    assert found.clean("interactions", "item_id", "value") == [("seven", 4.0), ("seven", 3.0), ("seven", 2.5)]
    assert found.broken() == [["rating_has_value"]]


def test_unreadable_times_name_the_setting_and_show_three_values(tmp_path: Path) -> None:
    rows = [f"u{n},i{n},{n + 13}/1/2024 10:00" for n in range(6)]
    shown = r"timestamp_parses 6: '13/1/2024 10:00', '14/1/2024 10:00', '15/1/2024 10:00'\).*source\.date_formats"
    with pytest.raises(TableRejected, match=shown):
        door(tmp_path, {"interactions.csv": csv_of("user_id,item_id,timestamp", *rows)})


@pytest.mark.parametrize(
    ("values", "scale"),
    [
        (["0.5", "1", "1.5", "2.5", "4.5", "5", "0.5", "0.5", "3", "4"], "[0.5, 5]"),
        ([str(n) for n in range(1, 11)], "[1, 10]"),
        ([str(n) for n in range(11)], "[0, 10]"),
        ([str(n * 10) for n in range(11)], "[0, 100]"),
    ],
)
def test_another_scale_of_ratings_is_noticed_and_asked_for(tmp_path: Path, values: list[str], scale: str) -> None:
    rows = [f"u{n},i{n},{value},2024-01-15" for n, value in enumerate(values)]
    files = {"interactions.csv": csv_of("user_id,item_id,value,timestamp", *rows)}
    with pytest.raises(TableRejected) as refused:
        door(tmp_path, files)
    assert f"rating_scale={scale}" in str(refused.value)
    low, high = json.loads(scale)
    cleaning = SETTINGS.cleaning.model_copy(update={"rating_scale": (low, high)})
    found = scan(tmp_path, files, SETTINGS.model_copy(update={"cleaning": cleaning}))
    ratings = found.clean("interactions", "value")
    assert (min(ratings), max(ratings), len(ratings)) == (1.0, 5.0, len(values))


def test_the_scale_that_is_asked_for_is_one_even_of_a_single_rating(tmp_path: Path) -> None:
    rows = [f"u{n},i{n},500,2024-01-15" for n in range(9)]
    with pytest.raises(TableRejected, match=r"rating_scale=\[0, 500\]"):
        door(tmp_path, {"interactions.csv": csv_of("user_id,item_id,value,timestamp", *rows)})


def test_a_stray_rating_is_a_bad_row_and_no_other_scale(tmp_path: Path) -> None:
    rows = [f"u{n},i{n},{1 + n % 5},2024-01-15" for n in range(99)]
    text = csv_of("user_id,item_id,value,timestamp", *rows, "u,i,50,2024-01-15")
    assert scan(tmp_path, {"interactions.csv": text}).broken() == [["value_in_range"]]


def test_events_without_any_time_are_refused_or_taken_in_the_order_of_the_file(tmp_path: Path) -> None:
    files = {"interactions.csv": csv_of("user_id,item_id", *(f"u1,i{n}" for n in range(5)))}
    with pytest.raises(SourceError, match=r"timestamp is required.*set recipe\.source\.no_time=file_order"):
        scan(tmp_path, files)
    found = scan(tmp_path, files, no_time="file_order")
    times = found.clean("interactions", "timestamp")
    assert [later - earlier for earlier, later in pairwise(times)] == [timedelta(seconds=1)] * 4
    assert found.clean("interactions", "item_id") == ["i0", "i1", "i2", "i3", "i4"]


@pytest.mark.parametrize("mark", [";", "|"])
def test_a_header_of_one_name_tells_the_delimiter(tmp_path: Path, mark: str) -> None:
    text = EVENTS.replace(",", mark)
    with pytest.raises(SourceError, match=rf'set recipe\.source\.delimiter="[{mark}]"'):
        scan(tmp_path, {"interactions.csv": text})
    assert scan(tmp_path, {"interactions.csv": text}, delimiter=mark).tables["interactions"].rows_clean == 1


def test_the_plainest_data(tmp_path: Path) -> None:
    found = scan(tmp_path, {"interactions.csv": EVENTS})
    assert found.clean("interactions", "event") == ["purchase"]
    assert found.clean("items", "item_id") == ["a"]


def test_the_settings_words_for_nothing_also_hold_for_one_file_alone(tmp_path: Path) -> None:
    text = "user_id,item_id,timestamp,title,text,value\nu1,a,2024-01-15,Mug,-,4\nu2,a,2024-01-16,NULL,Fine,5\n"
    found = scan(tmp_path, {"shop.csv": text}, SETTINGS, "shop.csv")
    assert found.clean("items", "item_id", "title") == [("a", "Mug")]
    assert found.clean("feedback", "text") == ["Fine"]
    assert found.clean("interactions", "value") == [4.0, 5.0]


def test_local_times(tmp_path: Path) -> None:
    found = scan(tmp_path, {"interactions.csv": EVENTS}, time_zone="America/New_York")
    assert found.clean("interactions", "timestamp") == [datetime(2024, 1, 15, 15, tzinfo=UTC)]


def test_an_item_of_a_flat_file_that_was_corrected_keeps_what_the_correction_says(tmp_path: Path) -> None:
    rule = OwnRule(name="cheap", table="items", check="between", column="price", maximum=3)
    settings = SETTINGS.model_copy(update={"rules": (rule,), "max_quarantined_share": 1.0})
    summary = door(tmp_path, {"orders.csv": ORDERS}, settings, **FLAT)
    rows = [row for row in select(summary.quarantine, "items") if row.values["item_id"] == "b"]
    corrected = [replace(row, values={**row.values, "title": "Kilner jar", "price": "1"}) for row in rows[:1]]
    readmit(corrected, tmp_path / "readmitted")
    ingest(TablesSource(path=tmp_path / "in", **FLAT), tmp_path / "raw", None, tmp_path / "readmitted")
    after = validate(tmp_path / "raw", tmp_path / "clean", settings, tmp_path / "docs")
    items = read_rows(after.folder / "items.parquet")
    assert ("Kilner jar", 1.0) in [(item["title"], item["price"]) for item in items if item["item_id"] == "b"]


def test_an_event_that_is_mapped_to_nothing_is_left_out(tmp_path: Path) -> None:
    names = ["view", "pv", "removefromcart", "RemoveFromCart "]
    rows = [f"u1,i{n},{name},2024-01-15 10:0{n}:00" for n, name in enumerate(names)]
    values = {"interactions": {"event": {"pv": "view", "removefromcart": ""}}}
    settings = ValidationSettings(min_interactions=1, max_quarantined_share=0.0)
    text = csv_of("user_id,item_id,event,timestamp", *rows)
    found = door(tmp_path, {"interactions.csv": text}, settings, "", values=values)
    assert [row["item_id"] for row in read_rows(found.folder / "interactions.parquet")] == ["i0", "i1"]
    counts = found.tables["interactions"]
    assert (counts.rows_quarantined, counts.duplicates, counts.rules) == (0, 2, {"event_left_out": 2})
    assert found.gx_success


@pytest.mark.parametrize("as_parquet", [False, True])
def test_a_number_that_stands_for_no_rating_is_emptied(tmp_path: Path, as_parquet: bool) -> None:
    (tmp_path / "in").mkdir()
    table = {
        "user_id": ["u1", "u2", "u3"],
        "item_id": ["a"] * 3,
        "value": [4.0, -1.0, 2.0],
        "timestamp": ["2024-01-15"] * 3,
    }
    texts = {}
    if as_parquet:
        pq.write_table(pa.table(table), tmp_path / "in" / "interactions.parquet")
    else:
        texts["interactions.csv"] = csv_of(
            ",".join(table), *(",".join(map(str, row)) for row in zip(*table.values(), strict=True))
        )
    found = scan(tmp_path, texts, values={"interactions": {"value": {"-1": ""}}}, default_event="view")
    assert found.clean("interactions", "event", "value") == [("rating", 4.0), ("view", None), ("rating", 2.0)]


def test_ratings_in_words_and_drawn(tmp_path: Path) -> None:
    values = ["4.0 out of 5 stars", "3/5", "★★★★★", '"4,5"', "2"]
    rows = [f"u{n},a,{value},2024-01-15" for n, value in enumerate(values)]
    found = scan(tmp_path, {"interactions.csv": csv_of("user_id,item_id,value,timestamp", *rows)})
    assert found.clean("interactions", "value") == [4.0, 3.0, 5.0, 4.5, 2.0]


def test_names_in_a_header_may_have_spaces_and_quotes(tmp_path: Path) -> None:
    text = ' user_id, item_id ,timestamp\r\n"u1",a,2024-01-15\r\n'
    assert scan(tmp_path, {"interactions.csv": text}).clean("interactions", "user_id", "item_id") == [("u1", "a")]


def test_tab_separated_text_as_r_writes_it(tmp_path: Path) -> None:
    text = '"user_id"\t"item_id"\t"timestamp"\n"u1"\t"a ""b"""\t"2024-01-15"\n"u2"\t"c\nd"\t"2024-01-15"\n'
    found = scan(tmp_path, {"interactions.tsv": text})
    assert found.clean("interactions", "user_id", "item_id") == [("u1", 'a "b"'), ("u2", "c\nd")]


def test_exports_of_mongodb(tmp_path: Path) -> None:
    rows = [
        {"user_id": {"$oid": "65a4"}, "item_id": {"$numberLong": "17"}, "timestamp": {"$date": "2024-01-15T10:00:00Z"}},
        {"user_id": {"$oid": "65a5"}, "item_id": 17, "timestamp": {"$date": {"$numberLong": "1705312800000"}}},
    ]
    found = scan(tmp_path, {"interactions.jsonl": "".join(json.dumps(row) + "\n" for row in rows)})
    found_rows = found.clean("interactions", "user_id", "item_id", "timestamp")
    assert found_rows == [(user, "17", datetime(2024, 1, 15, 10, tzinfo=UTC)) for user in ("65a4", "65a5")]


@pytest.mark.parametrize("mark", [" > ", ">", " / ", "::", " » ", "|"])
def test_paths_of_categories(tmp_path: Path, mark: str) -> None:
    items = csv_of("item_id,title,category", f"a,Doll,Toys & Games{mark}Dolls/Figures")
    found = scan(tmp_path, {"items.csv": items, "interactions.csv": EVENTS})
    assert found.clean("items", "category") == ["Toys & Games > Dolls/Figures"]


@pytest.mark.parametrize(
    ("name", "data", "says"),
    [
        ("interactions.csv", EVENTS.encode("utf-16"), r'source\.encoding="utf-16"'),
        ("interactions.csv", EVENTS.replace("timestamp", "timestamp,größe").encode("cp1252"), r'encoding="cp1252"'),
        ("interactions.csv", EVENTS.replace("\n", "\r").encode(), "line ends=carriage returns alone"),
        ("interactions.json", b'[{"user_id": "u"},\n{"user_id": "v"}]', r"one list: .*jq -c '\.\[\]'"),
        ("interactions.json", b'{\n"user_id": "u"\n}\n', r"several lines: .*jq -c \. FILE"),
        ("interactions.csv/part-0.csv", EVENTS.encode(), "folder=.*Put the files in it together into one"),
    ],
)
def test_a_file_that_cannot_be_read_says_what_helps(tmp_path: Path, name: str, data: bytes, says: str) -> None:
    path = tmp_path / "in" / name
    path.parent.mkdir(parents=True)
    path.write_bytes(data)
    with pytest.raises(SourceError, match=says) as refused:
        scan(tmp_path, {})
    assert "\n" not in str(refused.value)


def test_empty_times_are_another_matter_than_unreadable_ones(tmp_path: Path) -> None:
    text = csv_of("user_id,item_id,timestamp", *(f"u{n},i{n}," for n in range(4)))
    with pytest.raises(
        TableRejected, match=r"timestamp_required 4.*source\.columns\.interactions\.timestamp.*file_order"
    ):
        door(tmp_path, {"interactions.csv": text})
