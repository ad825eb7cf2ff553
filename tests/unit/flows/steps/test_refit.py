"""What is fitted again of the bundle in which a baseline serves."""

import inspect
from pathlib import Path
from types import SimpleNamespace

import pytest

from core.settings.tree import Recipe
from flows.steps import refit as module
from flows.steps.bundles import Learned, TakenWriter
from flows.steps.step import Output
from recommender.bundle.manifest import WriterOrigin, read_manifest
from tests.unit.flows.promotion.written_bundle import write_bundle
from tests.unit.recommender.tiny_shop import DATA

LEARNED_UNTIL = "2027-01-01T00:00:00+00:00"
ORIGIN = WriterOrigin(bundle="v1", judged="j1", data=DATA.model_copy(update={"learned_until": LEARNED_UNTIL}))


@pytest.mark.parametrize("writer", [None, TakenWriter(Output(Path("in-service"), "w", True), ORIGIN)])
def test_a_writer_that_was_taken_over_is_not_fitted_again(monkeypatch, writer):
    own = Output(Path("writer"), "own", True)
    seen = SimpleNamespace(held=None, components=None, origin=None)

    def fit_words(run, training, vectors, held):
        seen.held = held
        return {name: Output(Path(f"again-{name}"), name, True) for name in held if held[name].value}

    def assemble(run, *, judged, training, components, writer_from):
        seen.components, seen.origin = components, writer_from
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
    again = Output(Path("again-writer"), "writer", True)
    assert seen.components["writer"] == (again if writer is None else writer.component)
    assert seen.origin == (None if writer is None else ORIGIN)
    assert learned.components["writer"] == own


@pytest.mark.parametrize("origin", [None, ORIGIN])
def test_the_bundle_names_whose_writer_it_holds_and_how_far_that_one_learned(tmp_path, monkeypatch, origin):
    part = tmp_path / "part"
    part.mkdir()
    (part / "weights").write_text("w")
    judged = Output(write_bundle(tmp_path / "judged", "judged", kind="popularity"), "j", "judged")
    training = Output(tmp_path, "t", SimpleNamespace(learned_until=DATA.last_event_at, rows={}))
    target = tmp_path / "bundle"
    step = SimpleNamespace(target=target, recipe=Recipe(), layout=SimpleNamespace(shop="t"))
    components = {name: Output(part, name, True) for name in ("vectors", "baseline", "writer")}
    assemble = inspect.getclosurevars(inspect.unwrap(module.assemble_refit, stop=lambda _: True)).nonlocals["body"]
    assemble(step, judged, training, components, writer_from=origin)
    manifest = read_manifest(target)
    assert manifest.writer_from == origin
    assert manifest.data.learned_until == (DATA.last_event_at if origin is None else LEARNED_UNTIL)
