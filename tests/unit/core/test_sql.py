from __future__ import annotations

import json

import duckdb
import pytest

from core.sql import identifier, json_pointer, literal, plain_number_sql, words_sql
from recommender.metrics.texts import words


@pytest.mark.parametrize("text", ["", "plain", "it's", "''", 'a "quoted" word', "a\\'b; DROP TABLE t; --", "žluťoučký"])
def test_texts_and_names_come_back_from_sql_as_they_were(text: str) -> None:
    name = text or "unnamed"
    with duckdb.connect() as connection:
        answer = connection.sql(f"SELECT {literal(text)} AS {identifier(name)}")
        assert answer.columns == [name]
        assert answer.fetchall() == [(text,)]


@pytest.mark.parametrize(
    "key", ["", "plain", 'a"b', "it's", "a/b", "~1", "a~b", "*", "$.a", "[0]", "a\\b", "\n", "\0", "č"]
)
def test_a_json_pointer_finds_the_value_of_any_key(key: str) -> None:
    document = json.dumps({key: "this", f"{key}x": "other"}, ensure_ascii=False)
    with duckdb.connect() as connection:
        found = connection.execute(f"SELECT json_extract_string(?, {json_pointer(key)})", [document]).fetchall()
    assert found == [("this",)]


@pytest.mark.parametrize(
    ("value", "number"), [("'1000'", 1000.0), ("' 1e3 '", 1000.0), ("'1_000'", None), ("'a_1'", None), ("1.5", 1.5)]
)
def test_numbers_with_underscores_are_none(value: str, number: float | None) -> None:
    assert duckdb.execute(f"SELECT {plain_number_sql('v')} FROM (SELECT {value} AS v)").fetchall() == [(number,)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("买了iPhone15手机", ["买", "了", "iphone15", "手", "机"]),
        ("5星ギターです", ["5", "星", "ギ", "タ", "ー", "で", "す"]),
        ("𠮷good", ["𠮷", "good"]),
        ("गिटार good Größe", ["गिटार", "good", "größe"]),
    ],
)
def test_a_character_of_a_script_without_spaces_is_a_word_whatever_stands_before_it(text, expected):
    assert duckdb.execute(f"SELECT {words_sql(literal(text))}").fetchall() == [(expected,)]
    assert words(text) == expected
