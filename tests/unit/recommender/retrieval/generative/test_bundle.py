"""Generative retrieval as an optional part of a bundle."""

from pathlib import Path

import pytest

from core.settings.tree import Recipe
from recommender.bundle.assembly import assemble_bundle
from recommender.bundle.loading import load_bundle
from recommender.bundle.manifest import Component
from recommender.evaluation.evaluation import parts_of
from recommender.fitting.context import FitContext
from recommender.inputs.user import UserState
from recommender.retrieval.generative.training import fit_generative
from recommender.retrieval.sequence.fit import fit_sequence
from tests.unit.recommender.retrieval.generative.tiny_model import QUICK
from tests.unit.recommender.tiny_shop import DATA, item, save_random_vectors, write_training_set
from tests.unit.recommender.tiny_shop import QUICK as QUICK_SEQUENCE


@pytest.fixture
def parts(tmp_path: Path) -> dict[Component, Path]:
    names: tuple[Component, ...] = ("vectors", "sequence", "generative")
    parts = {name: tmp_path / name for name in names}
    training = write_training_set(tmp_path / "training")
    save_random_vectors(training, parts["vectors"])
    one = {"max_epochs": 1}
    fit_sequence(
        FitContext(training, 1, k=5, threads=1),
        parts["vectors"],
        parts["sequence"],
        QUICK_SEQUENCE.model_copy(update=one),
        6,
    )
    fit_generative(
        FitContext(training, 1, k=5, threads=1),
        parts["vectors"],
        parts["generative"],
        QUICK.model_copy(update=one),
        6,
    )
    return parts


def test_a_bundle_holds_it_or_does_without(parts: dict[Component, Path], tmp_path: Path) -> None:
    given = {"shop": "tiny", "recipe": Recipe(), "data": DATA, "code_version": "test"}
    assemble_bundle(tmp_path / "with", components=parts, **given)
    assemble_bundle(tmp_path / "without", components={n: p for n, p in parts.items() if n != "generative"}, **given)
    whole, bare = load_bundle(tmp_path / "with"), load_bundle(tmp_path / "without")
    assert bare.generative is None
    assert "generative" not in parts_of(bare)
    assert whole.generative is not None
    (best,) = whole.generative.top_k([UserState.from_history([item(3)])], 5)
    assert len(best) == 5
    assert parts_of(whole)["generative"].ids is whole.catalogue.ids
