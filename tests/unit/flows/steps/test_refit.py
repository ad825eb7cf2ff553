"""What is fitted again of the bundle in which a baseline serves."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from flows.steps import refit as module
from flows.steps.bundles import Learned
from flows.steps.step import Output


@pytest.mark.parametrize("writer", [None, Output(Path("in-service"), "w", True)])
def test_a_writer_that_was_taken_over_is_not_fitted_again(monkeypatch, writer):
    own = Output(Path("writer"), "own", True)
    seen = SimpleNamespace(held=None, components=None)

    def fit_words(run, training, vectors, held):
        seen.held = held
        return {name: Output(Path(f"again-{name}"), name, True) for name in held if held[name].value}

    def assemble(run, *, judged, training, components):
        seen.components = components
        return judged

    monkeypatch.setattr(module, "collect_everything", lambda run, clean: "training")
    monkeypatch.setattr(module, "embed", lambda *inputs: Output(Path("vectors"), "v", True))
    monkeypatch.setattr(module, "fit_served_baseline", lambda run, **inputs: Output(Path("baseline"), "b", True))
    monkeypatch.setattr(module, "fit_words", fit_words)
    monkeypatch.setattr(module, "assemble_refit", assemble)
    monkeypatch.setattr("recommender.bundle.manifest.read_manifest", lambda folder: SimpleNamespace(kind="popularity"))
    run = SimpleNamespace(for_refit=lambda: None)
    learned = Learned(None, {"vectors": None, "writer": own}, None)
    learned.components["vectors"] = Output(Path("v"), "v", False)
    prepared, baseline = SimpleNamespace(clean=None), Output(Path("baseline"), "b", True)
    module.refit_baseline(run, prepared, learned, baseline, Output(Path("judged"), "j", "digest"), writer)
    assert seen.held["writer"].value is (writer is None)
    assert seen.components["writer"] == (writer or Output(Path("again-writer"), "writer", True))
    assert learned.components["writer"] == own
