"""A ranker for one request: what it computes of the user is computed once, and is what it would be every time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from recommender.inputs.user import UserState
from recommender.ranking.blend import Blend
from recommender.ranking.cold_users import ColdUsers, ColdUserWeights
from recommender.ranking.correction import Network
from recommender.ranking.parts import Asked, Popularity, TextLikeness
from recommender.ranking.ranker import Ranker
from recommender.retrieval.sequence.model import SequenceModel, SequenceShape
from tests.unit.recommender.tiny_shop import N_ITEMS, item, random_vectors, write_training_set

WARM = UserState.from_history([item(3), item(4), item(5)])
OTHER = UserState.from_history([item(8), item(9)])
COOK = UserState(attributes="cook")
EVERYTHING = [item(n) for n in range(N_ITEMS)]


class CountedTexts(TextLikeness):
    """Notes of whom it is asked."""

    asked: list[UserState]

    def scores(self, asked: Asked) -> np.ndarray:
        self.asked.extend(asked.users)
        return super().scores(asked)


@pytest.fixture
def texts_read() -> list[str]:
    return []


@pytest.fixture(params=["sequence", "blend", "corrected"])
def ranker(request: pytest.FixtureRequest, tmp_path: Path, texts_read: list[str]) -> Ranker:
    vectors = random_vectors(write_training_set(tmp_path / "training"))
    learned = torch.ones(N_ITEMS + 1, dtype=torch.bool)
    learned[0] = False
    torch.manual_seed(0)
    model = SequenceModel(SequenceShape(N_ITEMS, 8, 8, 1, 2, 4, use_ids=True, use_text=True), vectors.text, learned)
    texts = CountedTexts(vectors)
    object.__setattr__(texts, "asked", [])

    def encode(given: list[str]) -> np.ndarray:
        texts_read.extend(given)
        return np.ones((len(given), 2), dtype=np.float32)

    generator = np.random.default_rng(1)
    shares = generator.random(N_ITEMS).astype(np.float32)
    weights = ColdUserWeights(
        shares,
        mean=np.zeros(2, dtype=np.float32),
        users=np.eye(2, dtype=np.float32),
        items=generator.random((2, N_ITEMS)).astype(np.float32),
        older=shares,
    )
    parts = {"text": texts, "popularity": Popularity(vectors)}
    blend = Blend() if request.param == "sequence" else Blend("network", {"sequence": 1.0, "text": 0.5}, candidates=3)
    ranker = Ranker(vectors, model, parts, blend, cold_users=ColdUsers(weights, encode))
    if request.param != "corrected":
        return ranker
    names = ranker.describer.names
    tensors = {
        "mean": np.zeros(len(names)), "scale": np.ones(len(names)), "hidden": generator.normal(size=(len(names), 4)),
        "hidden_bias": np.zeros(4), "out": -5.0 * np.ones(4),
    }  # fmt: skip
    return ranker.corrected(Network(names, {name: one.astype(np.float32) for name, one in tensors.items()}))


@pytest.mark.parametrize("user", [WARM, COOK, UserState()], ids=["warm", "cook", "nobody"])
def test_it_answers_as_the_ranker_itself_in_any_order(ranker: Ranker, user: UserState) -> None:
    allowed = np.arange(N_ITEMS) % 2 == 0
    expected = (
        ranker.top_k([user], 5),
        ranker.parts_of(user, EVERYTHING),
        ranker.top_k([user], N_ITEMS, exclude_seen=False),
        ranker.top_k([user], 4, exclude=[[item(7)]], allowed=allowed),
    )
    one = ranker.for_one(user)
    for _ in range(2):
        found = (
            one.top_k([user], 5),
            one.parts_of(user, EVERYTHING),
            one.top_k([user], N_ITEMS, exclude_seen=False),
            one.top_k([user], 4, exclude=[[item(7)]], allowed=allowed),
        )
        assert found == expected
    # Of others it answers too.
    assert one.top_k([OTHER], 5) == ranker.top_k([OTHER], 5)
    assert one.top_k([OTHER, user], 5) == ranker.top_k([OTHER, user], 5)


def test_parts_are_asked_once_for_a_list_and_what_put_each_item_on_it(ranker: Ranker) -> None:
    texts = ranker.retrievers["text"]
    assert isinstance(texts, CountedTexts)
    one = ranker.for_one(WARM)
    one.top_k([WARM], 5)
    one.parts_of(WARM, EVERYTHING)
    one.top_k([WARM], 5, exclude_seen=False)
    assert len(texts.asked) == ("text" in ranker.blend.weights)
    # The next request asks again: the ranker itself keeps nothing.
    ranker.for_one(WARM).top_k([WARM], 5)
    assert len(texts.asked) == 2 * ("text" in ranker.blend.weights)


def test_attributes_are_encoded_once(ranker: Ranker, texts_read: list[str]) -> None:
    one = ranker.for_one(COOK)
    best = [name for name, _ in one.top_k([COOK], 3)[0]]
    one.parts_of(COOK, best)
    assert texts_read == ["cook"]
