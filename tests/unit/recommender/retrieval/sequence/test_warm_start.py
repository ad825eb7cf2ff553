"""A sequence model that starts from a bundle's weights: what it takes over, what it learns, and what it refuses."""

import shutil
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from core.settings.models import AugmentationSettings
from recommender.errors import BundleError, TrainingDataError
from recommender.fitting.checkpoint import Checkpoint
from recommender.fitting.context import FitContext
from recommender.fitting.summary import FitSummary
from recommender.fitting.warm_start import WarmStart
from recommender.inputs.item_vectors import ItemVectors
from recommender.inputs.sequences import read_sequences, read_sequences_since
from recommender.retrieval.sequence import training as sequence_training
from recommender.retrieval.sequence.examples import Learnable, n_targets
from recommender.retrieval.sequence.fit import fit_sequence
from recommender.retrieval.sequence.model import load_sequence_model
from tests.unit.recommender.tiny_shop import (
    N_ITEMS,
    QUICK,
    catalogue_row,
    history,
    item,
    not_whitened,
    save_random_vectors,
    write,
    write_training_set,
)

START = datetime(2026, 1, 1, tzinfo=UTC)
NEW = "brand-new"


def us(day: float) -> int:
    return round((START + timedelta(days=day)).timestamp() * 1e6)


def walk(user: str, items: list[str], first_day: float, n_context: int = 0) -> dict:
    times = [us(first_day + number) for number in range(len(items) - n_context)]
    return {"user_id": user, **history(items), "n_context": n_context, "target_times": times}


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fitted")
    training = write_training_set(folder / "old")
    vectors = save_random_vectors(training, folder / "bundle" / "vectors")
    fit_sequence(FitContext(training, seed=1), vectors, folder / "bundle" / "sequence", QUICK, 6)
    return folder


@pytest.fixture
def before(tmp_path, fitted):
    """A bundle as far as a warm start reads it: vectors and sequence model of a shop."""
    shutil.copytree(fitted, tmp_path, dirs_exist_ok=True)
    return tmp_path / "bundle"


@pytest.fixture
def after(tmp_path, before):
    """The same shop later: an item more, users of before who went on, some who are new. Vectors as an encoder gives."""
    training = tmp_path / "now"
    shutil.copytree(tmp_path / "old", training)
    old = pq.read_table(training / "sequences.parquet").to_pylist()
    rows = [{**row, "target_times": [us(n) for n in range(len(row["history_items"]))]} for row in old]
    rows += [walk(f"n{n}", [item(n), item(n + 1), NEW, item(n + 2)], 101) for n in range(12)]
    # The newest entries of a history as it stood, then one that is old and one that is new.
    rows.append(walk("mixed", [item(1), item(2), item(3), item(4)], 99.5, n_context=2))
    write(training, "sequences", rows)
    catalogue = [catalogue_row(item(n), 3) for n in range(N_ITEMS)]
    write(training, "catalogue", [*catalogue, catalogue_row(NEW, 12), catalogue_row("wordless", 1)])
    vectors = save_random_vectors(training, tmp_path / "vectors")
    known = ItemVectors.load(before / "vectors")
    new = ItemVectors.load(vectors)
    for name in known.ids:
        new.text[new.ids.index(name)] = known.text[known.ids.index(name)]
    new.text[new.ids.index("wordless")] = 0
    new.save(vectors)
    return training, vectors


def start(bundle, **changed) -> WarmStart:
    return replace(WarmStart(bundle, "parent", START + timedelta(days=100), replay_share=0.5), **changed)


def model_of(folder, vectors):
    return load_sequence_model(folder, ItemVectors.load(vectors))


def test_what_is_new_is_predicted_behind_what_came_before(after):
    training, vectors = after
    ids = ItemVectors.load(vectors).ids
    new, older = read_sequences_since(training, ids, 7, START + timedelta(days=100))
    mixed = [one for one in new if [ids.item_ids[index - 1] for index in one.items] == [item(n) for n in range(1, 5)]]
    assert [one.n_context for one in mixed] == [3]
    # Of everything that is learned, each next item is either new or older: none is lost, none is there twice.
    assert n_targets(new) == 12 * 3 + 1
    assert n_targets(new) + n_targets(older) == n_targets(read_sequences(training, ids, 7))
    assert all(not set(one.items.tolist()) & {ids.index(NEW)} for one in older)


def test_sequences_without_times_are_refused(after):
    training, vectors = after
    write(training, "sequences", [{"user_id": "u", **history([item(1), item(2)])}])
    with pytest.raises(TrainingDataError, match="target_times=None"):
        read_sequences_since(training, ItemVectors.load(vectors).ids, 7, START)


def test_without_an_epoch_the_weights_are_those_of_the_bundle(after, before, tmp_path):
    training, vectors = after
    # Nothing is new since a day that is still to come.
    fit = FitContext(training, seed=9, start=start(before, since=START + timedelta(days=500)))
    summary = fit_sequence(fit, vectors, tmp_path / "warm", QUICK, 6)
    assert (summary.epochs, summary.best_epoch) == (0, 0)
    warm, parent = model_of(tmp_path / "warm", vectors), model_of(before / "sequence", before / "vectors")
    ids, old = ItemVectors.load(vectors).ids, ItemVectors.load(before / "vectors").ids
    for name in old:
        if parent.learned[old.index(name)]:
            assert torch.equal(warm.id_vectors[ids.index(name)], parent.id_vectors[old.index(name)])
    for name, tensor in parent.state_dict().items():
        if name not in ("id_vectors", "learned", "popularity_weight"):
            assert torch.equal(warm.state_dict()[name], tensor), name
    # New items begin as their text says; one without a text at the mean of what was learned.
    assert not warm.id_vectors[ids.index(NEW)].any()
    mean = parent.id_vectors[parent.learned].mean(dim=0)
    torch.testing.assert_close(warm.id_vectors[ids.index("wordless")], mean)


def test_a_warm_fit_learns_what_is_new_and_says_how_much_that_was(after, before, tmp_path):
    training, vectors = after
    fit = FitContext(training, seed=9, start=start(before))
    summary = fit_sequence(fit, vectors, tmp_path / "warm", QUICK.model_copy(update={"max_epochs": 12}), 6)
    work = FitSummary.read(tmp_path / "warm").work
    ids = ItemVectors.load(vectors).ids
    n_all = n_targets(read_sequences(training, ids, 7))
    assert (work.parent, work.new, work.replayed, work.full) == ("parent", 37, 37, n_all)
    assert summary.epochs >= 1
    warm = model_of(tmp_path / "warm", vectors)
    assert warm.learned[ids.index(NEW)]
    assert warm.id_vectors[ids.index(NEW)].any()


def test_each_epoch_has_all_that_is_new_and_other_older_sequences(after, before, monkeypatch, tmp_path):
    training, vectors = after
    epochs = []

    class Recorded(sequence_training.Augmenter):
        def sequences(self, sequences):
            epochs.append([tuple(one.items.tolist()) for one in sequences])
            return super().sequences(sequences)

    monkeypatch.setattr(sequence_training, "Augmenter", Recorded)
    fit = FitContext(training, seed=9, start=start(before))
    fit_sequence(fit, vectors, tmp_path / "warm", QUICK, 6, AugmentationSettings())
    learnable = Learnable.read(replace(fit, works=[]), ItemVectors.load(vectors).ids, 7)
    new = [tuple(one.items.tolist()) for one in learnable.sequences]
    assert len(epochs) >= 2
    assert all(epoch[: len(new)] == new for epoch in epochs)
    assert epochs[0][len(new) :] != epochs[1][len(new) :]


def test_no_replay_where_the_share_is_0(after, before):
    training, vectors = after
    fit = FitContext(training, start=start(before, replay_share=0.0))
    learnable = Learnable.read(fit, ItemVectors.load(vectors).ids, 7)
    assert (learnable.n_replayed, learnable.replay(np.random.default_rng(0).permutation)) == (0, [])


def test_equal_starts_give_equal_bits_and_a_killed_fit_goes_on(after, before, monkeypatch, tmp_path):
    training, vectors = after
    fit = FitContext(training, seed=9, threads=1, start=start(before))
    for name in ("one", "two"):
        fit_sequence(fit, vectors, tmp_path / name, QUICK, 6)
    one = (tmp_path / "one" / "sequence.safetensors").read_bytes()
    assert one == (tmp_path / "two" / "sequence.safetensors").read_bytes()
    monkeypatch.setattr(sequence_training, "CHECKPOINT_EVERY_S", -1.0)

    def stop(epoch):
        if epoch.number == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit_sequence(fit, vectors, tmp_path / "killed", QUICK, 6, on_epoch=stop)
    told = []
    fit_sequence(replace(fit, progress=told.append), vectors, tmp_path / "killed", QUICK, 6)
    assert any("went on from epoch" in line for line in told)
    assert one == (tmp_path / "killed" / "sequence.safetensors").read_bytes()
    # A checkpoint of another parent is not taken up.
    own, other = (Checkpoint(tmp_path / "x", *start(before, digest=name).identity) for name in ("a", "b"))
    own.save({}, {})
    assert other.load(told.append) is None


def test_held_choices_are_held_from_weights_too(after, before, tmp_path):
    training, vectors = after
    judged = fit_sequence(FitContext(training, seed=9, start=start(before)), vectors, tmp_path / "judged", QUICK, 6)
    refit = FitContext(training, seed=9, start=start(before), held=tmp_path / "judged")
    again = fit_sequence(refit, vectors, tmp_path / "refit", QUICK, 6)
    assert again.epochs == judged.best_epoch
    assert again.choices == judged.choices


def test_another_shape_is_refused_with_both(after, before, tmp_path):
    training, vectors = after
    fit = FitContext(training, seed=9, start=start(before))
    with pytest.raises(BundleError, match=r"width=16.*width=32.*Train in full"):
        fit_sequence(fit, vectors, tmp_path / "warm", QUICK.model_copy(update={"width": 32}), 6)
    with pytest.raises(BundleError, match="n_seeds=1"):
        fit_sequence(fit, vectors, tmp_path / "warm", QUICK.model_copy(update={"n_seeds": 2}), 6)


def test_vectors_that_are_whitened_otherwise_are_refused(after, before, tmp_path):
    training, vectors = after
    replace(not_whitened(8), mean=np.ones(8, dtype=np.float32)).save(vectors / "whitening.safetensors")
    with pytest.raises(BundleError, match="whitened as those of the bundle"):
        fit_sequence(FitContext(training, start=start(before)), vectors, tmp_path / "warm", QUICK, 6)
