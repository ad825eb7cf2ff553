"""Names are proposed for columns without any."""

from __future__ import annotations

import pytest

from validation.profile.extracts.headers import likely_names


@pytest.mark.parametrize(("odd", "name"), [("3", "value"), ("3.5", "value"), ("12", "column3"), ("²", "column3")])
def test_few_numbers_are_ratings_and_what_only_looks_like_one_is_none(odd: str, name: str) -> None:
    rows = [[f"u{place}", f"i{place}", odd if place % 2 else "5"] for place in range(10)]
    assert likely_names(rows) == ["user_id", "item_id", name]
