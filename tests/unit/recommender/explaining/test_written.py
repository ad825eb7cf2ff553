"""What a written review praises, held against the item's reviewers and its text."""

from __future__ import annotations

import pytest

from core import schema
from recommender.explaining.written import supported_praise
from recommender.inputs.ids import UnknownItem
from tests.unit.recommender.explaining.explained_shop import catalogue_row, facts_of

FACTS = facts_of(
    [catalogue_row("kettle-1", **{schema.ITEM_TEXT: "Fine kettle. A great screen, and lids."}), catalogue_row("tea-1")],
    {"kettle-1": [("guitar sound", 4), ("spout", 3)]},
)


@pytest.mark.parametrize(
    ("text", "counts"),
    [
        ("The spout is great.", (1, 1)),
        ("The sound is lovely, and the spout is great.", (2, 2)),  # whichever word praises it
        ("The spout is terrible.", (0, 0)),  # blame is left out
        ("The screen is great.", (1, 1)),  # its text says so
        ("The screen is beautiful.", (0, 1)),  # which its text does not say
        ("The lid is great.", (1, 1)),
        ("The battery is great, and so is the spout.", (0, 1)),
        ("The battery is great. The battery is lovely.", (0, 1)),  # once
        ("It came on Monday.", (0, 0)),
        ("", (0, 0)),
    ],
)
def test_praise_is_supported_by_reviewers_and_by_the_items_text(text: str, counts: tuple[int, int]) -> None:
    assert supported_praise(FACTS, "kettle-1", text) == counts


def test_what_is_praised_of_another_item_supports_nothing() -> None:
    assert supported_praise(FACTS, "tea-1", "The spout is great.") == (0, 1)
    with pytest.raises(UnknownItem):
        supported_praise(FACTS, "gone", "The spout is great.")
