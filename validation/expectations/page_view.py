"""How Great Expectations draws a page: its templates are compiled once in a process, not once for each kind of page."""

from __future__ import annotations

from types import CodeType
from typing import Any

from great_expectations.render.view import DefaultJinjaPageView
from jinja2 import BytecodeCache
from jinja2.bccache import Bucket


class _Compiled(BytecodeCache):
    """Templates by name and source."""

    def __init__(self) -> None:
        self._codes: dict[tuple[str, str], CodeType | None] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        bucket.code = self._codes.get((bucket.key, bucket.checksum))

    def dump_bytecode(self, bucket: Bucket) -> None:
        self._codes[bucket.key, bucket.checksum] = bucket.code


_COMPILED = _Compiled()


class PageView(DefaultJinjaPageView):
    """Great Expectations' own view; the Data Docs name it in their settings."""

    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        self.env.bytecode_cache = _COMPILED
