"""Ids in paths: whatever stands in them."""

from __future__ import annotations

from starlette.convertors import StringConvertor, register_url_convertor


class IdConvertor(StringConvertor):
    """All that is left of a path. Starlette's own `path` ends at a line break, and ids may hold one."""

    regex = "(?s:.*)"


register_url_convertor("id", IdConvertor())
ITEM_ID, USER_ID = "{item_id:id}", "{user_id:id}"
