"""Words for nothing, ids that were numbers, mapped values, lists in cells."""

from __future__ import annotations

from typing import Any

import duckdb
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from core.events import BLANKS, canonical_id
from core.sql import literal
from validation.reading.dialect import Dialect
from validation.reading.lists import list_text_sql
from validation.reading.values import LEFT_OUT, id_sql, mapped_sql, text_sql, unwrapped_sql
from validation.sources.mappings import category_sql


@pytest.mark.parametrize(
    "sql",
    [
        text_sql("(the_value)", "VARCHAR", Dialect()),
        unwrapped_sql("(the_value)"),
        id_sql("(the_value)"),
        mapped_sql("event", "(the_value)", Dialect(values={"event": {"pv": "view"}})),
    ],
)
def test_a_value_stands_once_in_its_query(sql: str) -> None:
    """Each is put into the next: a copy more in each made DuckDB plan a small table for longer than it read it."""
    assert sql.count("the_value") == 1


def run(sql: str, text: str) -> Any:
    ((value,),) = duckdb.execute(f"SELECT {sql} FROM (SELECT {literal(text)} AS v)").fetchall()
    return value


@pytest.mark.parametrize("word", ["NULL", "null", "\\N", "N/A", "NaN", "nan", "None", "<NA>", " NULL ", "", "  ", "-"])
def test_words_for_nothing_are_empty(word: str) -> None:
    assert run(text_sql("v", "VARCHAR", Dialect()), word) is None


@pytest.mark.parametrize("word", ["Nan", "Null Island", "n", "Nobody", "0", "NULLS"])
def test_other_words_stay(word: str) -> None:
    assert run(text_sql("v", "VARCHAR", Dialect()), word) == word


def test_the_settings_say_which_words_are_nothing() -> None:
    assert run(text_sql("v", "VARCHAR", Dialect(null_words=["guest"])), "guest") is None
    assert run(text_sql("v", "VARCHAR", Dialect(null_words=[])), "NULL") == "NULL"


@pytest.mark.parametrize(
    ("text", "id_"), [("17850.0", "17850"), ("17850.00", "17850"), ("1.5", "1.5"), ("v1.0", "v1.0"), ("007", "007")]
)
def test_an_id_that_was_a_number_is_whole(text: str, id_: str) -> None:
    assert run(id_sql("v"), text) == id_


@settings(max_examples=300, deadline=None)
@example("u1\t").via("a tab")
@example("\n").via("nothing but a line end")
@example("\ufeffJosé\u200b").via("marks without a width")
@example('\t{"$oid": "17850.0\u2060"} ').via("a wrapped id")
@given(st.text(alphabet=st.sampled_from([*BLANKS, *'u1.0é{}$"']), max_size=9))
def test_an_id_is_read_by_the_gate_as_by_the_service(text: str) -> None:
    read = run(id_sql(text_sql("v", "VARCHAR", Dialect(null_words=[]), is_id=True)), text)
    assert read == (canonical_id(text) or None)


def test_letters_of_an_id_stay_in_the_form_that_they_have() -> None:
    assert [canonical_id(text) for text in ("Jose\u0301", "Jos\u00e9")] == ["Jose\u0301", "Jos\u00e9"]


def test_values_are_mapped_case_aside() -> None:
    dialect = Dialect(values={"event": {"addtocart": "cart", "noise": ""}, "value": {"-1": "", "good": "5"}})
    assert [run(mapped_sql("event", "v", dialect), text) for text in ("AddToCart", "noise", "view")] == [
        "cart",
        LEFT_OUT,
        "view",
    ]
    assert [run(mapped_sql("value", "v", dialect), text) for text in ("-1", "-1.0", "Good", "4")] == [
        None,
        None,
        "5",
        "4",
    ]


def test_a_word_for_nothing_that_the_settings_map_is_one_no_more() -> None:
    dialect = Dialect(values={"event": {"-": "view"}})
    assert run(text_sql("v", "VARCHAR", dialect.of_column("event")), "-") == "-"
    assert run(text_sql("v", "VARCHAR", dialect.of_column("value")), "-") is None
    assert run(mapped_sql("user_id", "v", dialect), "addtocart") == "addtocart"


@pytest.mark.parametrize(
    ("cell", "path"),
    [
        ("['Toys', 'Dolls']", "Toys > Dolls"),
        ('["Toys", "Dolls"]', "Toys > Dolls"),
        ("['Toys' 'Dolls']", "Toys > Dolls"),
        ("[['Toys', 'Dolls'], ['Gifts']]", "Toys > Dolls"), ('[["Toys", "Dolls"], ["Gifts"]]', "Toys > Dolls"),
        ("""['Mom\\'s', "Dad's"]""", "Mom's > Dad's"),
        ("{Toys,Dolls}", "Toys > Dolls"),
        ("('Toys', 'Dolls')", "Toys > Dolls"),
        ("[Toys, Dolls]", "Toys > Dolls"),
        ("Toys|Dolls", "Toys > Dolls"),
        ("Toys > Dolls", "Toys > Dolls"),
        ("[]", None),
        ("Toys", "Toys"), ("['Toys']", "Toys"),
    ],
)  # fmt: skip
def test_a_category_may_be_a_list_in_a_cell(cell: str, path: str | None) -> None:
    assert run(category_sql("v", pa.string()), cell) == path


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        ("['one', 'two']", "one, two"),
        ('["one", "two"]', "one, two"),
        ("[Official] Mug [2-pack]", "[Official] Mug [2-pack]"),
        ("plain", "plain"), ("[remix]", "[remix]"),
    ],
)  # fmt: skip
def test_a_text_may_be_a_list_in_a_cell(cell: str, text: str) -> None:
    assert run(list_text_sql("v"), cell) == text
