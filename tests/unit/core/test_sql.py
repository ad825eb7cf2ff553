from __future__ import annotations

import json

import duckdb
import pytest

from core.sql import identifier, json_pointer, literal


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
