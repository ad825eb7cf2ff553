from __future__ import annotations

import duckdb
import pytest

from core.sql import identifier, literal


@pytest.mark.parametrize("text", ["", "plain", "it's", "''", 'a "quoted" word', "a\\'b; DROP TABLE t; --", "žluťoučký"])
def test_texts_and_names_come_back_from_sql_as_they_were(text: str) -> None:
    name = text or "unnamed"
    with duckdb.connect() as connection:
        answer = connection.sql(f"SELECT {literal(text)} AS {identifier(name)}")
        assert answer.columns == [name]
        assert answer.fetchall() == [(text,)]
