"""A part whose scores are no numbers is refused by its name: in an evaluation, in a choice, and in an answer."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from core.settings.models import NeighbourSettings
from recommender.errors import NotFinite
from recommender.inputs.item_vectors import ItemVectors
from recommender.inputs.user import UserState
from recommender.ranking.blend import Blend, ColdItems, standardised
from recommender.ranking.cold_users import ColdUsers, ColdUserWeights
from recommender.ranking.parts import ItemToItem
from recommender.ranking.ranker import Ranker
from recommender.retrieval.history import HistoryRanker
from recommender.retrieval.neighbours import NeighbourModel
from recommender.retrieval.sequence.model import SequenceModel, SequenceShape
from recommender.retrieval.text.ranker import TextRanker
from tests.unit.recommender.tiny_shop import N_ITEMS, item, random_vectors, write_training_set

WARM = UserState.from_history([item(3), item(4), item(5)])


@pytest.fixture(scope="module")
def vectors(tmp_path_factory) -> ItemVectors:
    return random_vectors(write_training_set(tmp_path_factory.mktemp("training")))


@pytest.fixture
def ranker(vectors) -> Ranker:
    """With every part that a ranker can have."""
    shape = SequenceShape(
        n_items=N_ITEMS, text_width=8, width=8, n_blocks=1, n_heads=2, max_history=4, use_ids=True, use_text=False
    )
    shape = replace(shape, text_width=0)
    torch.manual_seed(0)
    learned = torch.ones(N_ITEMS + 1, dtype=torch.bool)
    learned[[0, 7]] = False
    generator = np.random.default_rng(4)
    histories = [generator.choice(np.arange(1, N_ITEMS + 1), 4, replace=False) for _ in range(30)]
    neighbours = ItemToItem("neighbours", NeighbourModel.fit(histories, N_ITEMS, NeighbourSettings()))
    cold_users = ColdUsers(ColdUserWeights.of_shares(np.arange(N_ITEMS)), lambda texts: np.zeros((len(texts), 0)))
    model = SequenceModel(shape, vectors.content(False, False), learned)
    blend = Blend("mean", {"sequence": 1.0, "neighbours": 1.0})
    return Ranker(vectors, model, {"neighbours": neighbours}, blend, ColdItems(text_weight=1.0), cold_users)


def break_sequence(ranker: Ranker) -> None:
    with torch.inference_mode():
        ranker.model.blocks[-1].feed_norm.weight.fill_(torch.nan)


def break_neighbours(ranker: Ranker) -> None:
    part = ranker.retrievers["neighbours"]
    assert isinstance(part, ItemToItem)
    part.model.weights[ranker.ids.index(item(4))] = np.inf


def break_texts(ranker: Ranker) -> None:
    ranker.vectors = replace(ranker.vectors, text=torch.full_like(ranker.vectors.text, torch.nan))


def break_cold_users(ranker: Ranker) -> None:
    ranker.cold_users.weights.shares[3] = np.nan


@pytest.mark.parametrize(
    ("break_it", "user", "name"),
    [
        (break_sequence, WARM, "sequence model"),
        (break_neighbours, WARM, "neighbours"),
        (break_texts, WARM, "item texts"),
        (break_cold_users, UserState(), "cold-start users' weights"),
    ],
)
def test_a_broken_part_answers_nobody(
    ranker: Ranker, break_it: Callable[[Ranker], None], user: UserState, name: str
) -> None:
    assert len(ranker.top_k([user], 3)[0]) == 3
    break_it(ranker)
    for ask in (lambda: ranker.scores([user]), lambda: ranker.top_k([user], 3), lambda: ranker.scores([WARM, user])):
        with pytest.raises(NotFinite, match=f"Cannot use scores of {name}: scores="):
            ask()


def test_the_sequence_model_alone_is_no_exception(ranker: Ranker) -> None:
    alone = Ranker(ranker.vectors, ranker.model)
    break_sequence(alone)
    with pytest.raises(NotFinite, match="scores of sequence model"):
        alone.top_k([WARM], 3)


def test_a_matrix_of_nothing_is_not_standardised_to_zeros() -> None:
    scores = np.array([[1.0, np.nan], [1.0, 2.0]], dtype=np.float32)
    with pytest.raises(NotFinite, match=r"scores of neighbours: scores=nan in 1 of 4 places"):
        standardised(scores, "neighbours")
    scores[0, 1] = -np.inf
    with pytest.raises(NotFinite, match="scores=-inf"):
        standardised(scores)


def test_parts_that_rank_alone_are_refused_too(ranker: Ranker, vectors: ItemVectors) -> None:
    broken = replace(vectors, text=torch.full_like(vectors.text, torch.nan))
    with pytest.raises(NotFinite, match="scores of item texts"):
        TextRanker(broken).scores([WARM])
    alone = Ranker(vectors, ranker.model, ranker.retrievers, Blend("part", {"neighbours": 1.0}))
    break_neighbours(ranker)
    with pytest.raises(NotFinite, match="scores of neighbours"):
        alone.scores([WARM])
    # A row of NaN orders nothing, and popularity would have answered in its place.
    history = HistoryRanker(vectors, lambda rows: np.full((len(rows), N_ITEMS), np.nan, dtype=np.float32), "als")
    for ask in (lambda: history.scores([WARM]), lambda: history.speaks(WARM)):
        with pytest.raises(NotFinite, match="scores of als"):
            ask()
