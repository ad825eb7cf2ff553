"""What the feedback writer is asked for, and what it learns from: prompts and the texts that answer them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc

from core import schema
from recommender.inputs.catalogue import Catalogue, read_training_table
from recommender.inputs.texts import profile_text, shorten, tidy, writer_prompt
from recommender.inputs.user import UserState
from recommender.metrics.texts import has_words

N_RECENT_LABELS = 3
N_LIKES = 3
N_DISLIKES = 2
DISLIKED_UP_TO = 2.5
MAX_REPEATS = 8
# A review whose first characters stand in the item's text would be learned by copying its own prompt.
OPENING_CHARS = 60


@dataclass(frozen=True)
class WritingRequest:
    """A review to write in the user's place.

    Attributes:
        rating: The rating that the text goes with; None where there is none.
        profile: `texts.profile_text` of the user, a line for each part.
        item: `texts.item_text` of the item.
        item_id: Which item that is, where it is known.
        mentions: What several of its reviewers speak of (`ReviewerCounts.mentions`); None: what the writer knows of it.
    """

    rating: float | None
    profile: str
    item: str
    item_id: str = field(default="", compare=False)
    mentions: str | None = None

    @classmethod
    def of(
        cls,
        rating: float | None,
        user: UserState,
        item_id: str,
        catalogue: Catalogue,
        item_text: str | None = None,
    ) -> WritingRequest:
        """Describe user and item: the one function for training, evaluation and serving.

        Args:
            item_text: What is read of the item, where its text in the catalogue quotes the user.
        Raises:
            UnknownItem: the item is not in the catalogue.
        """

        def label(item: str) -> str:
            return catalogue.label(item, item_text if item == item_id else None)

        recent = [label(item) for item in reversed(user.items[-N_RECENT_LABELS:])]
        text = catalogue.text(item_id)
        likes, low = _tastes(user, catalogue)
        dislikes = [label(item) for item in low[:N_DISLIKES]]
        # Of the history, as training knows no other ratings of a user.
        values = [value for value in user.values if value is not None]
        usual = sum(values) / len(values) if values else None
        profile = profile_text(user.attributes, user.own_words, recent, usual, likes, dislikes)
        return cls(rating, profile, text if item_text is None else item_text, item_id)

    @property
    def prompt(self) -> str:
        """What the language model continues."""
        return writer_prompt(self.rating, self.profile, self.item)


def _tastes(user: UserState, catalogue: Catalogue) -> tuple[list[str], list[str]]:
    """Brands and categories that a user chose more than once, most frequent first; items rated low, newest first."""
    chosen: Counter[str] = Counter()
    low: list[str] = []
    values = user.values or (None,) * len(user.items)
    for item, value in zip(reversed(user.items), reversed(values), strict=True):
        if value is not None and value <= DISLIKED_UP_TO:
            low.append(item)
        elif item in catalogue.ids:
            chosen.update(catalogue.kinds[catalogue.ids.index(item) - 1])
    likes = [name for name, count in chosen.most_common(N_LIKES) if count > 1]
    return likes, low


@dataclass(frozen=True)
class WritingExample:
    """A request and the text that a user wrote.

    Attributes:
        user_id: Who wrote it.
        item_id: Of what.
    """

    request: WritingRequest
    text: str
    user_id: str = ""
    item_id: str = ""


def read_reviews(training: Path, split: schema.Split, catalogue: Catalogue) -> list[WritingExample]:
    """The reviews of one window, each as a request for it and its tidied text; reviews without words are left out.

    Raises:
        TrainingDataError: the table is missing, unreadable or lacks a column.
        UnknownItem: a review is of an item that the catalogue does not list.
    """
    table = read_training_table(training, "reviews")
    table = table.filter(pc.equal(table.column(schema.SPLIT), split))
    rows: Iterator[Mapping[str, Any]] = (row for batch in table.to_batches() for row in batch.to_pylist())
    examples = (
        WritingExample(_request(row, catalogue), tidy(row[schema.TEXT]), row[schema.USER_ID], row[schema.ITEM_ID])
        for row in rows
    )
    return [example for example in examples if has_words(example.text)]


def _request(row: Mapping[str, Any], catalogue: Catalogue) -> WritingRequest:
    user = UserState.from_row(row)
    return WritingRequest.of(row[schema.RATING], user, row[schema.ITEM_ID], catalogue, row[schema.ITEM_TEXT])


def training_examples(reviews: list[WritingExample]) -> list[WritingExample]:
    """What the writer learns from reviews: each of them whole.

    Where an item has no words of its own, its text is made of others' reviews. A review that says what stands there is
    left out.
    """
    return [review for review in reviews if shorten(review.text, OPENING_CHARS) not in review.request.item]


def with_low_ratings(examples: Sequence[WritingExample], least_share: float, seed: int) -> list[WritingExample]:
    """Examples of which low and middling ratings have a share each, so that a writer learns how these read.

    In most shops one review in twenty has one or two stars. Those are repeated, eight times at most, in whole and
    then by lot; nothing is left out.

    Args:
        least_share: Of 1 and 2 stars, and of 3, among all that are rated; 0 repeats none.
        seed: Of the lots.
    """
    groups: dict[int, list[WritingExample]] = {1: [], 3: [], 5: []}
    for example in examples:
        if example.request.rating is not None:
            groups[_verdict(example.request.rating)].append(example)
    n_rated = sum(len(group) for group in groups.values())
    few = [verdict for verdict in (1, 3) if 0 < len(groups[verdict]) < least_share * n_rated]
    n_wanted = least_share * (n_rated - sum(len(groups[one]) for one in few)) / (1 - least_share * len(few))
    random = np.random.default_rng(seed)
    more: list[WritingExample] = []
    for verdict in few:
        group = groups[verdict]
        n_more = min(round(n_wanted), MAX_REPEATS * len(group)) - len(group)
        for start in range(0, n_more, len(group)):
            lots = random.permutation(len(group))[: n_more - start]
            more += [group[lot] for lot in lots]
    return [*examples, *more]


def _verdict(rating: float) -> int:
    stars = round(rating)
    return 1 if stars <= 2 else 3 if stars == 3 else 5


# Samples are fixed, so that a figure of before training and one of after compare.
SAMPLE_SEED = 20140723


def sample(examples: list[WritingExample], n: int) -> list[WritingExample]:
    """n examples, or all; always the same ones of a list."""
    if len(examples) <= n:
        return examples
    places = np.random.default_rng(SAMPLE_SEED).choice(len(examples), size=n, replace=False)
    return [examples[place] for place in sorted(places)]


def sample_by_lot(examples: list[WritingExample], n: int) -> list[WritingExample]:
    """The same ones as `sample` takes, in an order by lot: the first of them are a sample too."""
    taken = sample(examples, n)
    return [taken[place] for place in np.random.default_rng(SAMPLE_SEED).permutation(len(taken))]
