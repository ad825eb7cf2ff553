"""Training rows are changed as the settings say; validation and test rows never are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from core.settings.models import AugmentationSettings
from core.storage import file_digest
from recommender.fitting.context import FitContext
from recommender.fitting.determinism import deterministic
from recommender.inputs.augmentation import AS_THEY_ARE, Augmenter
from recommender.inputs.rated_pairs import RatedPairs
from recommender.inputs.sequences import TrainingSequence, read_sequences
from recommender.retrieval.sequence.training import train_sequence_model
from recommender.scoring.training import fit_scorer
from recommender.writing.examples import read_reviews, training_examples
from recommender.writing.training import fit_writer
from recommender.writing.writer import FeedbackWriter
from tests.unit.recommender.scoring.test_training import SETTINGS, write_shop
from tests.unit.recommender.tiny_shop import QUICK, random_vectors, write_training_set
from tests.unit.recommender.written_shop import TINY, catalogue_of, write_reviews

FULL = AugmentationSettings(
    crop=1.0, mask=1.0, reorder=1.0, strength=0.5, perturb_words=0.5, cold_oversampling=3.0, cold_below=1000
)
ROWS = [TrainingSequence(torch.arange(1, length + 1)) for length in (2, 3, 10, 40)]


def digests(folder: Path) -> dict[str, str]:
    return {file.name: file_digest(file) for file in sorted(folder.iterdir())}


def test_off_by_default_everything_passes_as_it_is() -> None:
    augmenter = Augmenter(AS_THEY_ARE, seed=1)
    assert all(given is row for given, row in zip(augmenter.sequences(ROWS), ROWS, strict=True))
    assert augmenter.pairs(["a", "b", "a"]).tolist() == [0, 1, 2]
    assert augmenter.text("What a tea. Really\nnice") == "What a tea. Really\nnice"


def test_a_crop_is_a_stretch() -> None:
    changed = Augmenter(AugmentationSettings(crop=1.0, strength=0.5), seed=1).sequences(ROWS)
    assert [len(row) for row in changed] == [2, 2, 5, 20]
    assert all((row.items.diff() == 1).all() for row in changed)


def test_a_mask_leaves_items_out_and_keeps_the_order() -> None:
    changed = Augmenter(AugmentationSettings(mask=1.0, strength=0.5), seed=1).sequences(ROWS)
    assert [len(row) for row in changed] == [2, 2, 5, 20]
    assert all((row.items.diff() >= 1).all() for row in changed)
    assert (changed[-1].items.diff() > 1).any()


def test_a_reordering_shuffles_a_stretch_only() -> None:
    changed = Augmenter(AugmentationSettings(reorder=1.0, strength=0.5), seed=1).sequences(ROWS)
    moved = torch.nonzero(changed[-1].items != ROWS[-1].items).flatten()
    assert sorted(changed[-1].items.tolist()) == ROWS[-1].items.tolist()
    assert len(moved) >= 2
    assert moved.max() - moved.min() < 20
    assert ROWS[-1].items.tolist() == list(range(1, 41))  # what was given is not touched


@pytest.mark.parametrize("change", ["crop", "mask", "reorder"])
def test_context_stays_context(change: str) -> None:
    row = TrainingSequence(torch.arange(1, 21), n_context=12)
    augmenter = Augmenter(AugmentationSettings(strength=0.5, **{change: 1.0}), seed=1)
    drawn = [changed for _ in range(40) for changed in augmenter.sequences([row])]
    assert any(changed.items.tolist() != row.items.tolist() for changed in drawn)
    for changed in drawn:
        context, targets = changed.items[: changed.n_context].tolist(), changed.targets.tolist()
        assert set(context) <= set(range(1, 13))
        assert set(targets) <= set(range(13, 21))
        assert changed.first_target < len(changed)


def test_every_epoch_is_another_and_the_seed_decides_it() -> None:
    def told(augmenter: Augmenter) -> list[list[int]]:
        return [row.items.tolist() for row in augmenter.sequences(ROWS)]

    one, same = Augmenter(FULL, seed=1), Augmenter(FULL, seed=1)
    first = told(one)
    assert first == told(same)
    assert first != told(one)
    assert first != told(Augmenter(FULL, seed=2))


def test_cold_items_are_seen_more_often() -> None:
    settings = AugmentationSettings(cold_oversampling=2.5, cold_below=5)
    warm, cold = TrainingSequence(torch.tensor([1, 2])), TrainingSequence(torch.tensor([1, 3]))
    drawn = Augmenter(settings, seed=1).sequences([*[warm] * 100, *[cold] * 4])
    assert sum(row is warm for row in drawn) == 100
    assert 8 <= sum(row is cold for row in drawn) <= 12
    places = Augmenter(settings, seed=1).pairs(["warm"] * 5 + ["cold"] * 4).tolist()
    assert [places.count(place) for place in range(5)] == [1] * 5
    assert all(places.count(place) in (2, 3) for place in range(5, 9))


def test_a_prompt_keeps_its_lines_and_most_of_its_words() -> None:
    text = "\n".join(" ".join(f"word{n:03d}" for n in range(100)) for _ in range(3))
    changed = Augmenter(AugmentationSettings(perturb_words=0.2), seed=1).text(text)
    lines = changed.split("\n")
    assert len(lines) == 3
    for line, before in zip(lines, text.split("\n"), strict=True):
        kept = set(line.split(" ")) & set(before.split(" "))
        assert 75 <= len(kept) < 100
        assert line != before


def test_sequences_of_evaluation_are_never_augmented(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    training = write_training_set(tmp_path)
    vectors, before, given = random_vectors(training), digests(training), []
    augment = Augmenter.sequences
    monkeypatch.setattr(Augmenter, "sequences", lambda self, rows: given.append(rows) or augment(self, rows))
    still = QUICK.model_copy(update={"learning_rate": 1e-12, "max_epochs": 1})
    told = []
    for settings in (AS_THEY_ARE, FULL):
        with deterministic(seed=1, threads=1):
            told.append(train_sequence_model(FitContext(training, 1), vectors, still, 6, settings)[1][0])
    # Weights that do not move rank the same queries the same, though they saw other sequences.
    assert told[0].ndcg == told[1].ndcg
    assert told[0].loss != told[1].loss
    wanted = [row.items.tolist() for row in read_sequences(training, vectors.ids, 7)]
    assert [[row.items.tolist() for row in rows] for rows in given] == [wanted, wanted]
    assert digests(training) == before


def test_rated_pairs_of_evaluation_are_never_augmented(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    training, vectors = write_shop(tmp_path, n_train=220)
    before, given = digests(training), []
    augment = Augmenter.pairs
    monkeypatch.setattr(Augmenter, "pairs", lambda self, ids: given.append(tuple(ids)) or augment(self, ids))
    for name, settings in (("plain", AS_THEY_ARE), ("full", FULL)):
        assert fit_scorer(FitContext(training, 1, threads=1), vectors, tmp_path / name, SETTINGS, settings)
    assert given == [RatedPairs.read(training, "train").item_ids] * 2
    assert digests(tmp_path / "plain") != digests(tmp_path / "full")
    assert digests(training) == before


def test_reviews_of_evaluation_are_never_augmented(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    training = write_reviews(tmp_path / "shop", n_train=120)
    before, given = digests(training), set[str]()
    augment = Augmenter.text
    monkeypatch.setattr(Augmenter, "text", lambda self, text: given.add(text) or augment(self, text))
    for name, settings in (("plain", AS_THEY_ARE), ("full", FULL)):
        assert fit_writer(FitContext(training, 1, threads=1), tmp_path / name, TINY, settings)
    plain, full = (FeedbackWriter.load(tmp_path / name) for name in ("plain", "full"))
    assert plain.perplexity_before == full.perplexity_before
    assert not np.array_equal(*(next(iter(w.model.parameters())).detach().numpy() for w in (plain, full)))
    examples = training_examples(read_reviews(training, "train", catalogue_of(training)))
    assert given == {example.request.prompt for example in examples}
    assert digests(training) == before
