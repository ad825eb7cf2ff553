import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from core.settings.models import AugmentationSettings
from recommender.errors import NotFinite, TrainingDataError
from recommender.evaluation.evaluation import evaluate_ranker
from recommender.fitting.checkpoint import Checkpoint
from recommender.fitting.context import FitContext
from recommender.fitting.determinism import deterministic
from recommender.inputs.packing import pack
from recommender.inputs.queries import Queries
from recommender.inputs.sequences import TrainingSequence, read_sequences
from recommender.inputs.user import UserState
from recommender.ranking.ranker import Ranker
from recommender.retrieval.sequence.examples import Examples
from recommender.retrieval.sequence.fit import fit_sequence
from recommender.retrieval.sequence.model import SequenceModel, SequenceShape, load_sequence_model
from recommender.retrieval.sequence.training import (
    ValidationEvaluator,
    averaged,
    learned_items,
    next_item_loss,
    train_sequence_model,
)
from tests.unit.recommender.tiny_shop import (
    QUICK,
    catalogue_row,
    history,
    item,
    random_vectors,
    save_random_vectors,
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


def whole(*items: list[int]) -> list[TrainingSequence]:
    return [TrainingSequence(torch.tensor(one)) for one in items]


def test_full_softmax_loss_is_the_mean_over_all_prefixes():
    model = small_model()
    sequences = [[4, 5, 6, 7, 8], [1, 2, 3]]
    candidates, losses = torch.arange(1, 10), []
    loss = next_item_loss(model, Examples(whole(*sequences)).of(list(range(6))), candidates, n_negatives=0)
    for sequence in sequences:
        for length in range(1, len(sequence)):
            logits = model(pack([torch.tensor(sequence[:length])])) @ model.item_vectors(candidates).T
            losses.append(F.cross_entropy(logits, torch.tensor([sequence[length] - 1])))
    assert len(losses) == 2 + 4
    torch.testing.assert_close(loss, torch.stack(losses).mean())


@pytest.mark.parametrize("n_negatives", [0, 3])
def test_context_is_read_and_not_predicted(n_negatives):
    model, candidates = small_model(), torch.arange(1, 10)
    sequence = TrainingSequence(torch.tensor([4, 5, 6, 7, 8]), n_context=3)
    examples = Examples([sequence, *whole([1, 2])])
    assert len(examples) == 3
    torch.manual_seed(0)
    loss = next_item_loss(model, examples.of([0, 1, 2]), candidates, n_negatives)
    losses = []
    torch.manual_seed(0)
    drawn = candidates[torch.randperm(9)[:n_negatives]] if n_negatives else candidates
    # The targets 2, 7 and 8, behind all that came before each.
    for before, target in (([1], 2), ([4, 5, 6], 7), ([4, 5, 6, 7], 8)):
        others = drawn[drawn != target]
        choices = model.item_vectors(torch.cat([torch.tensor([target]), others]))
        logits = model(pack([torch.tensor(before)]))[0] @ choices.T
        logits[1:] += math.log(9 / len(drawn))
        losses.append(F.cross_entropy(logits, torch.tensor(0)))
    torch.testing.assert_close(loss, torch.stack(losses).mean())


def test_as_many_negatives_as_items_are_the_full_softmax():
    model, batch, candidates = small_model(), Examples(whole([1, 2, 3])).of([0, 1]), torch.arange(1, 10)
    full = next_item_loss(model, batch, candidates, n_negatives=0)
    assert next_item_loss(model, batch, candidates, n_negatives=9) == full


def test_drawn_negatives_stand_for_all_and_one_that_is_the_target_is_none():
    model, candidates = small_model(), torch.tensor([2, 3, 4])
    batch = Examples(whole([1, 2], [1, 9])).of([0, 1])
    # Two of three are drawn: with 2 among them, the first place has one negative less than the second, else as many.
    for _ in range(8):
        state = torch.get_rng_state()
        negatives = candidates[torch.randperm(3)[:2]]
        torch.set_rng_state(state)
        loss = next_item_loss(model, batch, candidates, n_negatives=2)
        expected, losses = model(batch.history), []
        for place, target in enumerate(batch.targets):
            others = negatives[negatives != target]
            logits = expected[place] @ model.item_vectors(torch.cat([target[None], others])).T
            logits[1:] += math.log(3 / 2)  # two stand for three
            losses.append(F.cross_entropy(logits, torch.tensor(0)))
        torch.testing.assert_close(loss, torch.stack(losses).mean())


def test_every_prefix_comes_once_an_epoch_with_its_next_item_and_batches_hold_few_lengths():
    generator = np.random.default_rng(0)
    sequences = [generator.integers(1, 1000, length).tolist() for length in generator.integers(2, 40, 300)]
    taken = list(Examples(whole(*sequences)).batches(16, generator.permutation))
    found = []
    for batch in taken:
        ends = torch.nonzero(batch.history.places == 0).flatten().tolist()
        starts = [0, *(end + 1 for end in ends)]
        rows = [tuple(batch.history.items[start : end + 1].tolist()) for start, end in zip(starts, ends, strict=False)]
        found += [(rows[rank], int(batch.targets[place])) for rank, place in enumerate(batch.history.order.tolist())]
    wanted = [(tuple(row[:n]), row[n]) for row in sequences for n in range(1, len(row))]
    assert sorted(found) == sorted(wanted)
    assert np.mean([len(batch.history.groups) for batch in taken]) < 6


def test_of_more_items_than_an_epoch_reads_another_part_is_drawn_each_time():
    generator = np.random.default_rng(0)
    examples = Examples(whole(*([list(range(1, 42))] * 50)))  # 40 prefixes of 20.5 items on average, 50 times
    assert examples.drawn(41_000, generator.permutation) is examples
    parts = [examples.drawn(4_100, generator.permutation) for _ in range(2)]
    targets, items = [], []
    for part in parts:
        taken = list(part.batches(16, generator.permutation))
        targets.append(sorted(target for batch in taken for target in batch.targets.tolist()))
        items.append(sum(len(batch.history.items) for batch in taken))
        assert len(part) == len(targets[-1])
    assert all(4_000 < n <= 4_100 for n in items)
    assert targets[0] != targets[1]


def test_items_that_no_sequence_holds_are_not_learned():
    assert learned_items(whole([2, 3]), n_items=4).tolist() == [False, False, True, True, False]


def test_sequences_that_teach_nothing_are_left_out(training):
    vectors = random_vectors(training)
    rows = [history(["unknown", item(1)]), history([item(1), item(2)]), history([])]
    write(training, "sequences", [{"user_id": f"u{n}", **row} for n, row in enumerate(rows)])
    (sequence,) = read_sequences(training, vectors.ids, max_length=5)
    assert sequence.items.tolist() == vectors.ids.known_indices([item(1), item(2)])


def test_no_sequence_at_all_is_refused(training):
    write(training, "sequences", [{"user_id": "u", **history([item(1)])}])
    with pytest.raises(TrainingDataError, match="known items=0 of 1"):
        train_sequence_model(FitContext(training, 1), random_vectors(training), QUICK, 6)


def test_no_validation_user_with_a_history_is_refused(training):
    write(training, "queries", [{"user_id": "u", "split": "validation", **history([]), "targets": [item(1)]}])
    with pytest.raises(TrainingDataError, match="with a history=0 of 1"):
        train_sequence_model(FitContext(training, 1), random_vectors(training), QUICK, 6)


def test_training_learns_the_walk_and_keeps_the_best_epoch(training):
    said: list[str] = []
    settings = QUICK.model_copy(update={"max_epochs": 40, "patience": 40, "dropout": 0.0, "learning_rate": 0.01})
    with deterministic(seed=1, threads=1):
        model, epochs = train_sequence_model(
            FitContext(training, 1, progress=said.append), random_vectors(training), settings, 6
        )
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
        model.blocks[-1].feed_norm.weight.zero_()
        # Every place expects the same vector, and hardly likes one item more than another.
        model.blocks[-1].feed_norm.bias.fill_(0.01)
    ndcg, weight = ValidationEvaluator(vectors, Queries((user,), (best,)), 6, 2, (0.0, 1.0)).choose_popularity_weight(
        model
    )
    assert weight > 0
    assert ndcg == 1
    assert model.popularity_weight == weight
    taken = evaluate_ranker(Ranker(vectors, model), Queries((user,), (best,)), k=2).per_query["ndcg"]
    assert taken.tolist() == [ndcg]


def test_of_a_large_catalogue_fewer_users_are_validated_at_once_with_the_same_figures(training, monkeypatch):
    vectors = random_vectors(training)
    model = small_model(len(vectors.ids), text_width=8)
    users = tuple(UserState.from_history([item(n), item(n + 1)]) for n in range(20))
    queries = Queries(users, tuple((item(n + 2),) for n in range(20)))
    whole = ValidationEvaluator(vectors, queries, 6, 2, (0.0, 1.0)).choose_popularity_weight(model)
    monkeypatch.setattr("recommender.inputs.queries.SCORES_PER_PASS", 6 * len(vectors.ids))
    in_passes = ValidationEvaluator(vectors, queries, 6, 2, (0.0, 1.0))
    assert [len(some) for some in in_passes.users] == [6, 6, 6, 2]
    assert in_passes.choose_popularity_weight(model) == pytest.approx(whole)


def test_training_stops_when_it_gets_no_better(training):
    said: list[str] = []
    settings = QUICK.model_copy(update={"max_epochs": 50, "patience": 1, "learning_rate": 1e-9})
    with deterministic(seed=1, threads=1):
        _, epochs = train_sequence_model(
            FitContext(training, 1, progress=said.append), random_vectors(training), settings, 6
        )
    assert len(epochs) < 50
    assert said[-1].startswith("stopped: no better epoch than")


class Killed(Exception):
    pass


def test_a_killed_fit_goes_on_and_ends_with_the_same_bits(training, tmp_path, monkeypatch):
    monkeypatch.setattr("recommender.retrieval.sequence.training.CHECKPOINT_EVERY_S", 0.0)
    settings = QUICK.model_copy(update={"max_epochs": 6, "patience": 6, "dropout": 0.3, "id_dropout": 0.3})
    varied = AugmentationSettings(crop=0.5)
    vectors = random_vectors(training)

    def fit(checkpoint=None, on_epoch=None):
        said: list[str] = []
        with deterministic(seed=1, threads=1):
            context = FitContext(training, 1, progress=said.append)
            trained = train_sequence_model(context, vectors, settings, 6, varied, checkpoint, on_epoch)
            return (*trained, said)

    def stop_after_3(epoch):
        if epoch.number == 3:
            raise Killed

    whole, epochs, _ = fit()
    checkpoint = Checkpoint(tmp_path / "sequence", "these inputs")
    with pytest.raises(Killed):
        fit(checkpoint, stop_after_3)
    again, epochs_again, said = fit(checkpoint)
    assert any("went on from epoch 3" in line for line in said)
    assert epochs_again == epochs
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name]), name


def test_a_checkpoint_of_other_inputs_is_not_taken_up(tmp_path):
    Checkpoint(tmp_path / "sequence", 1).save({"a": torch.ones(2)}, {"epoch": 1})
    assert Checkpoint(tmp_path / "sequence", 2).load(print) is None
    tensors, notes = Checkpoint(tmp_path / "sequence", 1).load(print)
    assert notes == {"epoch": 1}
    assert tensors["a"].tolist() == [1, 1]


def test_a_damaged_checkpoint_is_told_and_not_taken_up(tmp_path):
    checkpoint, said = Checkpoint(tmp_path / "sequence", 1), []
    checkpoint.save({"a": torch.ones(2)}, {})
    (checkpoint.folder / "state.safetensors").write_bytes(b"torn")
    assert checkpoint.load(said.append) is None
    assert "cannot be read" in said[0]


def test_the_average_follows_the_weights_exponentially():
    model = small_model()
    kept, lagging = averaged(model, 0), averaged(model, 2)
    seen = []
    for step in range(4):
        with torch.no_grad():
            model.positions.fill_(float(step))
        kept.update_parameters(model)
        lagging.update_parameters(model)
        decay = math.exp(-1 / 2)
        seen.append(float(step) if not seen else decay * seen[-1] + (1 - decay) * step)
    assert torch.equal(kept.module.positions, model.positions)
    torch.testing.assert_close(lagging.module.positions, torch.full_like(model.positions, seen[-1]))


def test_what_is_kept_and_evaluated_is_the_average(training):
    settings = QUICK.model_copy(update={"max_epochs": 2, "learning_rate": 0.05})
    weights = {}
    for n_epochs in (0.0, 5.0):
        with deterministic(seed=1, threads=1):
            one = settings.model_copy(update={"average_epochs": n_epochs})
            weights[n_epochs] = train_sequence_model(FitContext(training, 1), random_vectors(training), one, 6)[0]
    # With the average the weights are still nearer to where they began, which is small.
    assert weights[5.0].positions.abs().mean() < weights[0.0].positions.abs().mean()


def test_several_seeds_are_fitted_and_answer_together(training, tmp_path):
    vectors = random_vectors(training)
    vectors.save(tmp_path / "vectors")
    said: list[str] = []
    settings = QUICK.model_copy(update={"n_seeds": 2, "max_epochs": 3})
    fit = FitContext(training, 1, threads=1, progress=said.append)
    summary = fit_sequence(fit, tmp_path / "vectors", tmp_path / "sequence", settings, 6)
    model = load_sequence_model(tmp_path / "sequence", vectors)
    first, second = model.models
    assert not torch.equal(first.positions, second.positions)
    assert summary.epochs == 6
    assert len(summary.curve) == 3
    assert said[-1].startswith("2 models: ndcg_at_10 ")
    # A fit that holds these choices trains each for as long as it was best for.
    again = fit_sequence(
        replace(fit, held=tmp_path / "sequence"), tmp_path / "vectors", tmp_path / "again", settings, 6
    )
    assert again.choices == summary.choices
    held = load_sequence_model(tmp_path / "again", vectors)
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, held.state_dict()[name]), name
    assert not list(tmp_path.glob("*.checkpoint"))


def test_a_fit_that_diverges_ends_at_once_and_leaves_no_component(training, tmp_path):
    save_random_vectors(training, tmp_path / "vectors")
    wild = QUICK.model_copy(update={"learning_rate": 1e30})
    with pytest.raises(NotFinite, match=r"sequence model: (loss|length of the gradient|scores)=(nan|inf)"):
        fit_sequence(FitContext(training, 1, 5, 1), tmp_path / "vectors", tmp_path / "sequence", wild, 6)
    assert not (tmp_path / "sequence").exists()


def test_an_epoch_whose_scores_are_no_numbers_is_not_chosen(training):
    vectors = random_vectors(training)
    evaluator = ValidationEvaluator.of(FitContext(training, 1, 5, 1), vectors, QUICK, 6)
    model = small_model(len(vectors.ids), vectors.text.shape[1])
    assert 0 <= evaluator.choose_popularity_weight(model)[0] <= 1
    with torch.inference_mode():
        model.id_vectors[3] = torch.nan
    with pytest.raises(NotFinite, match="scores of sequence model: scores=nan"):
        evaluator.choose_popularity_weight(model)
