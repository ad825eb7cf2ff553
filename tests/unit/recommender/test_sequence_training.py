import numpy as np
import pytest
import torch
from torch.nn import functional as F

from recommender.errors import TrainingDataError
from recommender.evaluation import judge_ranking
from recommender.fit import deterministic
from recommender.ids import PADDING
from recommender.queries import Queries
from recommender.ranker import Ranker
from recommender.sequence_model import SequenceModel, SequenceShape
from recommender.sequence_training import (
    batches,
    choose_popularity_weight,
    learned_items,
    left_padded,
    next_item_loss,
    read_sequences,
    train_sequence_model,
)
from recommender.user import UserState
from tests.unit.recommender.tiny_shop import (
    QUICK,
    catalogue_row,
    history,
    item,
    random_vectors,
    write,
    write_training_set,
)


@pytest.fixture
def training(tmp_path):
    return write_training_set(tmp_path / "training")


def small_model(n_items: int = 9, text_width: int = 4) -> SequenceModel:
    shape = SequenceShape(
        n_items=n_items,
        text_width=text_width,
        width=8,
        n_blocks=1,
        n_heads=2,
        max_history=6,
        use_ids=True,
        use_text=True,
    )
    torch.manual_seed(0)
    mask = torch.ones(n_items + 1, dtype=torch.bool)
    mask[0] = False
    return SequenceModel(shape, torch.randn(n_items + 1, text_width), mask).eval()


def test_full_softmax_loss_is_the_mean_over_real_places():
    model = small_model()
    batch = torch.tensor([[0, 0, 1, 2, 3], [4, 5, 6, 7, 8]])
    candidates = torch.arange(1, 10)
    loss, n = next_item_loss(model, batch, candidates, n_negatives=0)
    losses = []
    for row in batch:
        sequence = row[row != PADDING]
        expected = model(sequence[None, :-1])[0]
        logits = expected @ model.item_vectors(candidates).T
        losses += [F.cross_entropy(logits[i], sequence[i + 1] - 1) for i in range(len(sequence) - 1)]
    assert n == len(losses) == 2 + 4
    torch.testing.assert_close(loss, torch.stack(losses).mean())


def test_as_many_negatives_as_items_are_the_full_softmax():
    model, batch, candidates = small_model(), torch.tensor([[1, 2, 3]]), torch.arange(1, 10)
    full, _ = next_item_loss(model, batch, candidates, n_negatives=0)
    assert next_item_loss(model, batch, candidates, n_negatives=9)[0] == full


def test_a_drawn_negative_that_is_the_target_is_no_negative():
    model, candidates = small_model(), torch.tensor([2, 2, 2, 2])
    # Every negative is the target of the only place: nothing is left to be told apart from.
    loss, n = next_item_loss(model, torch.tensor([[1, 2]]), candidates, n_negatives=3)
    assert n == 1
    assert loss.item() == pytest.approx(0, abs=1e-6)


def test_every_sequence_comes_once_an_epoch_and_batches_hold_hardly_any_padding():
    generator = np.random.default_rng(0)
    sequences = [torch.full((int(length),), n + 1) for n, length in enumerate(generator.integers(2, 40, 300))]
    taken = list(batches(sequences, 16, generator))
    seen = [int(row[-1]) for batch in taken for row in batch]
    assert sorted(seen) == list(range(1, 301))
    padding = sum(int((batch == PADDING).sum()) for batch in taken) / sum(batch.numel() for batch in taken)
    assert padding < 0.1


def test_batches_are_padded_on_the_left():
    assert left_padded([torch.tensor([1, 2]), torch.tensor([3, 4, 5])]).tolist() == [[0, 1, 2], [3, 4, 5]]


def test_items_that_no_sequence_holds_are_not_learned():
    assert learned_items([torch.tensor([2, 3])], n_items=4).tolist() == [False, False, True, True, False]


def test_sequences_that_teach_nothing_are_left_out(training):
    vectors = random_vectors(training)
    rows = [history(["unknown", item(1)]), history([item(1), item(2)]), history([])]
    write(training, "sequences", [{"user_id": f"u{n}", **row} for n, row in enumerate(rows)])
    (sequence,) = read_sequences(training, vectors.ids, max_length=5)
    assert sequence.tolist() == vectors.ids.known_indices([item(1), item(2)])


def test_no_sequence_at_all_is_refused(training):
    write(training, "sequences", [{"user_id": "u", **history([item(1)])}])
    with pytest.raises(TrainingDataError, match="known items=0 of 1"):
        train_sequence_model(training, random_vectors(training), QUICK, 6, 10, 1, print)


def test_no_validation_user_with_a_history_is_refused(training):
    write(training, "queries", [{"user_id": "u", "split": "validation", **history([]), "targets": [item(1)]}])
    with pytest.raises(TrainingDataError, match="with a history=0 of 1"):
        train_sequence_model(training, random_vectors(training), QUICK, 6, 10, 1, print)


def test_training_learns_the_walk_and_keeps_the_best_epoch(training):
    said: list[str] = []
    settings = QUICK.model_copy(update={"max_epochs": 40, "patience": 40, "dropout": 0.0, "learning_rate": 0.01})
    with deterministic(seed=1, threads=1):
        model, epochs = train_sequence_model(training, random_vectors(training), settings, 6, 10, 1, said.append)
    assert len(epochs) == 40
    assert sum("ndcg_at_10" in line and "loss" in line and " s" in line for line in said) == 40
    best = max(epochs, key=lambda epoch: epoch.ndcg)
    # A random list of 10 of about 19 items finds the one target every other time, at a middling place.
    assert best.ndcg > 0.8
    assert not model.training


def test_the_popularity_weight_is_the_one_that_validation_likes_best(training):
    write(training, "catalogue", [catalogue_row(item(number), number * number) for number in range(24)])
    vectors = random_vectors(training)
    # A user who takes what is popular: a model that knows nothing has to lean on it.
    user, best = UserState.from_history([item(0)]), (item(23), item(22))
    model = small_model(len(vectors.ids), text_width=8)
    with torch.no_grad():
        model.last_norm.weight.zero_()
        # Every place expects the same vector, and hardly likes one item more than another.
        model.last_norm.bias.fill_(0.01)
    ndcg, weight = choose_popularity_weight(model, vectors, Queries((user,), (best,)), k=2)
    assert weight > 0
    assert ndcg == 1
    assert model.popularity_weight == weight
    taken = judge_ranking(Ranker(vectors, model), Queries((user,), (best,)), k=2).per_query["ndcg"]
    assert taken.tolist() == [ndcg]


def test_training_stops_when_it_gets_no_better(training):
    said: list[str] = []
    settings = QUICK.model_copy(update={"max_epochs": 50, "patience": 1, "learning_rate": 1e-9})
    with deterministic(seed=1, threads=1):
        _, epochs = train_sequence_model(training, random_vectors(training), settings, 6, 10, 1, said.append)
    assert len(epochs) < 50
    assert said[-1].startswith("stopped: no better epoch than")
