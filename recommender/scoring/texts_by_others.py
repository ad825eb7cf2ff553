"""The items as the pair scorer is trained on them: nobody's rating is predicted from a text that quotes them.

Where an item has no words of its own, its text is made of reviews. For a rating by somebody whom it quotes, the
training set has the text without their words (`schema.ITEM_TEXT` of the pairs): those few are encoded once more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from recommender.encoders.weights import encode_texts
from recommender.fitting.summary import Progress
from recommender.inputs.item_vectors import ItemVectors
from recommender.inputs.rated_pairs import RatedPairs


@dataclass(frozen=True)
class TextsByOthers:
    """The vectors of the items, and those that some pairs read in their place.

    Attributes:
        items: As they are served.
        versions: The same with a version more for each text of a pair.
        rows: Item and text to the version's row.
    """

    items: ItemVectors
    versions: ItemVectors
    rows: dict[tuple[str, str], int]

    @classmethod
    def of(
        cls,
        items: ItemVectors,
        folder: Path,
        pairs: Sequence[RatedPairs],
        progress: Progress,
        device: str = "cpu",
    ) -> TextsByOthers:
        """Encode the texts of the pairs, where they have some, as the items' were.

        Args:
            folder: The `vectors` component.
            device: Of the encoder.
        """
        wanted = dict.fromkeys(
            (item_id, text)
            for some in pairs
            for item_id, text in zip(some.item_ids, some.item_texts, strict=True)
            if text is not None
        )
        if not wanted:
            return cls(items, items, {})
        progress(f"pair scorer: encodes {len(wanted)} texts of items again, each without the words of who rated it")
        indices = [items.ids.index(item_id) for item_id, _ in wanted]
        versions = items.with_versions(indices, encode_texts(folder, [text for _, text in wanted], progress, device))
        return cls(items, versions, {pair: len(items.text) + place for place, pair in enumerate(wanted)})

    def rows_of(self, pairs: RatedPairs) -> list[int]:
        """The row of each pair's item in `versions.text`."""
        return [
            self.items.ids.index(item_id) if text is None else self.rows[item_id, text]
            for item_id, text in zip(pairs.item_ids, pairs.item_texts, strict=True)
        ]
