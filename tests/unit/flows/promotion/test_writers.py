"""Whose writer a baseline takes that stands in for a refused candidate, and whose figures are kept with it."""

from pathlib import Path
from types import SimpleNamespace

import pytest

import flows.steps.release as release
from core.promotions import read_standing
from core.settings.tree import Recipe
from flows.promotion.decision import keep_evaluation
from flows.promotion.model_store import promote
from flows.promotion.refits import labels_of
from flows.promotion.writers import find_better_writer
from recommender.bundle.assembly import assemble_baseline, assemble_bundle, record_evaluation
from recommender.bundle.manifest import read_manifest
from tests.unit.recommender.tiny_shop import DATA


def component(folder: Path, content: str) -> Path:
    folder.mkdir(parents=True)
    (folder / "weights").write_text(content)
    return folder


def bundle(root: Path, name: str, writes: str | None) -> Path:
    """A bundle whose writer is so named; None: without a writer."""
    parts = {part: component(root / f"{name}-{part}", name) for part in ("vectors", "sequence")}
    if writes is not None:
        parts["writer"] = component(root / f"{name}-writer", writes)
    assemble_bundle(root / name, shop="t", recipe=Recipe(), data=DATA, components=parts, code_version="c")
    return root / name


def written(bits: float | None) -> dict[str, object]:
    return {"writer": {"bits_per_byte": bits, "statement_precision": 0.5}}


def served(root: Path, model: str, writes: str | None = "champion", bits: float | None = 1.2) -> None:
    folder = bundle(root, "champion", writes)
    record_evaluation(folder, written(bits), None)
    promote(folder, model, labels_of(read_manifest(folder)), reason="", generation=0)


@pytest.mark.parametrize(
    ("ours", "writes", "theirs", "is_taken"),
    [
        (1.5, "champion", 1.2, True),
        (1.2, "champion", 1.2, False),
        (1.1, "champion", 1.2, False),
        (None, "champion", 1.2, True),  # the candidate has none
        (1.5, "champion", None, False),  # how good the one in service is, nobody knows
        (1.5, None, 1.2, False),
    ],
)
def test_the_writer_in_service_is_taken_where_it_is_better(tmp_path, request, ours, writes, theirs, is_taken):
    model = f"sommelier-writers-{abs(hash(request.node.name))}"
    assert find_better_writer(written(ours), read_standing(model)) is None
    served(tmp_path, model, writes, theirs)
    found = find_better_writer(written(ours), read_standing(model))
    assert (found is not None) is is_taken
    if found is not None:
        assert (found.bits_per_byte, (found.folder / "weights").read_text()) == (1.2, "champion")
        assert find_better_writer({}, read_standing(model)) == found


def test_a_writer_that_has_to_go_or_is_damaged_is_not_taken(tmp_path):
    model = "sommelier-writers-gone"
    served(tmp_path, model)
    standing = read_standing(model)
    assert find_better_writer(written(1.5), standing) is not None
    assert find_better_writer(written(1.5), standing, [standing.in_service.version]) is None
    (standing.in_service.folder / "writer" / "weights").write_text("damaged")
    assert find_better_writer(written(1.5), standing) is None


def test_the_baseline_has_the_better_writer_and_its_figures_are_kept_with_it(tmp_path, monkeypatch):
    model = "sommelier-writers-kept"
    served(tmp_path, model)
    run = SimpleNamespace(layout=SimpleNamespace(model_name=model))
    said = []
    monkeypatch.setattr(release, "versions_to_go", lambda layout: ())
    monkeypatch.setattr(release, "get_run_logger", lambda: SimpleNamespace(info=lambda form, bits: said.append(bits)))
    candidate = bundle(tmp_path, "candidate", "candidate")
    baseline = component(tmp_path / "baseline", "popularity")
    assert release._better_writer(run, written(1.1)) is None
    writer = release._better_writer(run, written(1.5))
    assert said == [1.2]
    stand_in = tmp_path / "stand-in"
    assemble_baseline(stand_in, candidate, baseline, "popularity", "c", writer.folder)
    assert (stand_in / "writer" / "weights").read_text() == "champion"
    kept = keep_evaluation(stand_in, model, {**written(1.5), "served": "popularity"})
    assert kept.metrics["writer"] == written(1.2)["writer"]
    own = tmp_path / "own"
    assemble_baseline(own, candidate, baseline, "popularity", "c")
    assert keep_evaluation(own, model, written(1.5)).metrics["writer"] == written(1.5)["writer"]
    assert keep_evaluation(candidate, model, written(1.5)).metrics["writer"] == written(1.5)["writer"]
