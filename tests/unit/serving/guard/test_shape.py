"""How deep a body is, and how many values it has, read off its bytes."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.guard.shape import ShapeLimit

NARROW = ShapeLimit(max_depth=3, max_values=5)
VALUES = st.recursive(
    st.none() | st.integers() | st.text(alphabet='a"\\[]{},'),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(alphabet='a"[]{},'), inner, max_size=4),
    max_leaves=20,
)


def depth(value: Any) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if inner is None else 1 + max(map(depth, inner), default=0)


@pytest.mark.parametrize(
    "body", [b"", b"null", b'[[[1, "[[[[,,,,,,,,"]]]', b'{"a": {"b": {"c": "\\"[[[["}}}', b"[],[],[],[]", b"]]]]"]
)
def test_what_fits_passes(body: bytes) -> None:
    assert NARROW.find_fault(body) is None


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"[[[[]]]]", "it is nested 4 deep, expected at most 3"),
        (b'{"a":[{"b":[', "nested 4 deep"),
        (b'["]]]]", [["]]]", [[1]]]]]', "nested 5 deep"),
        (b"[1,2,3,4,5,6]", "it has 6 values, expected at most 5"),
        (b'{"a":1,"a":1,"a":1,"a":1,"a":1,"a":1}', "it has 6 values"),
    ],
)
def test_what_is_too_much_is_said(body: bytes, said: str) -> None:
    assert said in str(NARROW.find_fault(body))


@given(VALUES)
def test_depth_is_that_of_what_the_parser_makes_of_it(value: Any) -> None:
    fault = ShapeLimit(max_depth=2, max_values=10**6).find_fault(json.dumps(value).encode())
    assert (fault is None) == (depth(value) <= 2)
    assert fault is None or f"nested {depth(value)} deep" in fault


@given(st.binary())
def test_no_bytes_raise(body: bytes) -> None:
    NARROW.find_fault(body)


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 10_000 + b"]" * 10_000,
        b'{"k":' * 10_000,
        b"[" * 1_000_000,
        b"{" + b",".join(b'"k%d":1' % n for n in range(1_000_000)) + b"}",
        b'["' + b'\\"' * 1_000_000,
        b"[]," * 1_000_000,
    ],
    ids=["deep", "deep-objects", "a-million-deep", "a-million-keys", "escapes", "a-million-lists"],
)
def test_a_body_made_to_keep_the_parser_busy_is_looked_through_quickly(body: bytes) -> None:
    started = time.process_time()
    ShapeLimit(max_depth=64, max_values=50_000).find_fault(body)
    assert time.process_time() - started < 2  # a tenth of that; a slow machine may take longer
