"""What is written for users: their best items of a bundle, and a text of each, as serving would answer now."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import pyarrow as pa

from core import schema
from flows.errors import NoWriter
from recommender.bundle.loading import Bundle
from recommender.inputs.item_moments import ItemsThen
from recommender.inputs.texts import Strategy, WritingTask
from recommender.inputs.user import UserState
from recommender.reranking.reranker import Reranker
from recommender.scoring.input import ItemRatings
from recommender.writing.examples import WritingRequest
from recommender.writing.length import Length

BATCH = 8  # texts that are written together

TEXTS = pa.schema(
    [
        pa.field(schema.USER_ID, pa.string(), nullable=False),
        pa.field(schema.ITEM_ID, pa.string(), nullable=False),
        pa.field("position", pa.int64(), nullable=False),  # in the user's list, from 1
        pa.field("score", pa.float64(), nullable=False),
        pa.field("kind", pa.string(), nullable=False),
        pa.field(schema.RATING, pa.float64()),  # of a review, predicted; null without a scorer
        pa.field(schema.TEXT, pa.string(), nullable=False),
        pa.field("facts", pa.string()),  # of a reason, what it says, as JSON; null for a review
        pa.field("seed", pa.int64(), nullable=False),
        pa.field("model", pa.string(), nullable=False),
    ]
)


class Features(Protocol):
    """The online store, as far as texts need it: `features.online.OnlineFeatures`."""

    def read_user(self, user_id: str) -> UserState | None: ...

    def items_at(self) -> ItemsThen: ...

    def read_items(self, item_ids: Sequence[str]) -> Mapping[str, Any]: ...


@dataclass(frozen=True)
class Assignment:
    """What to write for each user.

    Attributes:
        k: Of how many items.
        kind: A review in the user's place, or the reason why an item suits.
        max_words: Of a text; None for no limit.
        seed: Equal seeds give equal texts.
        decoding: How a review's words are found.
    """

    k: int
    kind: WritingTask
    max_words: int | None
    seed: int
    decoding: Strategy = "nucleus"

    @property
    def length(self) -> Length:
        """Of a text, as of a request that names no style."""
        return Length.of("medium", self.max_words)


class Author:
    """Ranks and writes with one bundle.

    Args:
        model: Its name and version.
        bundle: With a scorer, if it has one, and a writer for reviews; with an explainer for reasons.
        features: What is known of users and items now.
    """

    def __init__(self, model: str, bundle: Bundle, features: Features) -> None:
        self._model, self._bundle, self._features = model, bundle, features
        self._reranker = Reranker(bundle.ranker.vectors, bundle.manifest.recipe.rerank)

    def write(self, users: Sequence[str], task: Assignment, hidden: Sequence[str] = ()) -> pa.Table:
        """The rows of `TEXTS` of some users, in their order; a user that the shop does not know has none.

        Args:
            hidden: Items that may not be shown: nothing is written of them.
        Raises:
            NoWriter: the bundle lacks what such texts come from.
        """
        listed: list[tuple[UserState, dict[str, Any]]] = []
        for user_id in users:
            state = self._features.read_user(user_id)
            if state is None:
                continue
            if self._bundle.ranker.reads_items_then:
                state = replace(state, items_then=self._features.items_at())
            for position, (item_id, score) in enumerate(self._list(state, task.k, hidden), start=1):
                about = {schema.USER_ID: user_id, schema.ITEM_ID: item_id, "position": position, "score": score}
                listed.append((state, about | {"kind": task.kind, "seed": task.seed, "model": self._model}))
        said = self._reasons(listed, task) if task.kind == "reason" else self._reviews(listed, task)
        return pa.Table.from_pylist([row | more for (_, row), more in zip(listed, said, strict=True)], schema=TEXTS)

    def _list(self, user: UserState, k: int, hidden: Sequence[str]) -> list[tuple[str, float]]:
        """The user's best items, as `/v1/recommend` lists them by the recipe."""
        ranker = self._bundle.ranker.for_one(user)
        if self._reranker.settings.changes_nothing:
            return ranker.top_k([user], k, exclude=[hidden])[0]
        return self._reranker.top_k(ranker, user, k, exclude=[hidden]).items

    def _reasons(self, listed: Sequence[tuple[UserState, dict[str, Any]]], task: Assignment) -> list[dict[str, Any]]:
        explainer, nearest = self._bundle.explainer, self._bundle.ranker.nearest_history
        if explainer is None:
            raise self._lacks("an explainer", "choices of users (purchases or ratings)")
        reasons = [
            explainer.explain(user, row[schema.ITEM_ID], nearest, task.seed, task.max_words) for user, row in listed
        ]
        texts = [task.length.join(reason.sentences) for reason in reasons]
        facts = [
            json.dumps([one.as_data() for one in reason.said_within(len(text))], ensure_ascii=False)
            for reason, text in zip(reasons, texts, strict=True)
        ]
        return [{schema.TEXT: text, "facts": said} for text, said in zip(texts, facts, strict=True)]

    def _reviews(self, listed: Sequence[tuple[UserState, dict[str, Any]]], task: Assignment) -> list[dict[str, Any]]:
        writer, catalogue = self._bundle.writer, self._bundle.catalogue
        if writer is None:
            raise self._lacks("a writer", "review texts (the feedback table)")
        ratings = [self._rating(user, row[schema.ITEM_ID]) for user, row in listed]
        requests = [
            WritingRequest.of(rating, user, row[schema.ITEM_ID], catalogue)
            for (user, row), rating in zip(listed, ratings, strict=True)
        ]
        decoding = task.length.decoding(writer.max_tokens, task.decoding)
        texts: list[str] = []
        for start in range(0, len(requests), BATCH):
            written = writer.write(requests[start : start + BATCH], task.seed, decoding)
            texts += [task.length.cut(text) for text in written]
        return [{schema.RATING: rating, schema.TEXT: text} for rating, text in zip(ratings, texts, strict=True)]

    def _rating(self, user: UserState, item_id: str) -> float | None:
        if self._bundle.scorer is None:
            return None
        now = ItemRatings.of_features(self._features.read_items([item_id]))
        (pair,) = self._bundle.scorer.score(user, [item_id], now)
        return pair.rating

    def _lacks(self, part: str, data: str) -> NoWriter:
        return NoWriter(
            "Cannot write texts",
            got=f"model={self._model} without {part}",
            expected=f"one trained on {data}",
            do="Add such data and run the pipeline again",
        )
