"""Whose writer a baseline takes that stands in for a refused candidate, and whose figures are kept with it."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

import flows.promotion.writers as module
from core.promotions import read_standing
from core.settings.models import EncoderSettings
from core.settings.tree import Recipe
from flows.promotion.decision import keep_evaluation
from flows.promotion.model_store import promote
from flows.promotion.refits import labels_of
from flows.promotion.writers import ReviewWindow, find_better_writer
from recommender.bundle.assembly import assemble_baseline, assemble_bundle
from recommender.bundle.manifest import WriterOrigin, read_manifest
from recommender.evaluation.feedback.comparison import WriterComparison
from recommender.fitting.context import FitContext
from recommender.writing.training import fit_writer
from tests.unit.recommender.tiny_shop import DATA, save_random_vectors, save_tiny_encoder
from tests.unit.recommender.written_shop import TINY, write_reviews

FIGURES = {"bits_per_byte": 1.2, "n_reviews": 12}
# Of a bundle that was fitted again on everything, the candidate's test window among it.
AGAIN = DATA.model_copy(update={"learned_until": DATA.last_event_at})
BETTER, LIKE_IT = (WriterComparison(30, 1.5, 1.2, low, 0.4) for low in (0.2, -0.1))


def component(folder: Path, content: str) -> Path:
    folder.mkdir(parents=True)
    (folder / "weights").write_text(content)
    return folder


def bundle(root: Path, name: str, writes: str | None, **fields) -> Path:
    """A bundle whose writer is so named; None: without a writer."""
    parts = {part: component(root / f"{name}-{part}", name) for part in ("vectors", "sequence")}
    if writes is not None:
        parts["writer"] = component(root / f"{name}-writer", writes)
    told = {"shop": "t", "recipe": Recipe(), "data": DATA, "code_version": "c"} | fields
    assemble_bundle(root / name, components=parts, **told)
    return root / name


def into_service(folder: Path, model: str) -> None:
    standing = read_standing(model)
    promote(folder, model, labels_of(read_manifest(folder)), reason="", generation=standing.generation)


@pytest.fixture
def model(request) -> str:
    return f"sommelier-writers-{abs(hash(request.node.name))}"


@pytest.fixture
def window(tmp_path) -> ReviewWindow:
    training = write_reviews(tmp_path / "training", n_train=10, n_later=60)
    return ReviewWindow(bundle(tmp_path, "candidate", "candidate"), training)


@pytest.fixture
def compared(monkeypatch):
    """Stands in for the language models: which writers were measured, and what came out."""
    seen = SimpleNamespace(pairs=[], evaluated=[], found=BETTER)

    def compare(ours, theirs, reviews, seed):
        seen.pairs.append((ours, theirs))
        return seen.found

    def evaluate(window, ours, writer):
        seen.evaluated.append(writer)
        return FIGURES

    monkeypatch.setattr(module, "_read_writer", lambda folder, window: (folder / "writer" / "weights").read_text())
    monkeypatch.setattr(module, "_compare", compare)
    monkeypatch.setattr(module, "_evaluate", evaluate)
    return seen


def only(training: Path, *splits: str) -> Path:
    """Leave the reviews of these windows alone."""
    file = training / "reviews.parquet"
    table = pq.read_table(file)
    is_left = pc.is_in(table.column("split"), value_set=pa.array(splits, pa.string()))
    pq.write_table(table.filter(is_left), file)
    return training


def test_the_writer_in_service_is_taken_where_it_is_better_beyond_chance(tmp_path, model, window, compared):
    assert find_better_writer(window, read_standing(model)) is None
    into_service(bundle(tmp_path, "champion", "champion"), model)
    served = read_standing(model).in_service
    found = find_better_writer(window, read_standing(model))
    assert (found.folder / "weights").read_text() == "champion"
    assert found.origin == WriterOrigin(bundle=served.digest, judged=None, data=DATA, metrics=FIGURES)
    assert "30 reviews of the test window at 1.200 bits per byte, the candidate's at 1.500" in found.reason
    assert compared.pairs == [("candidate", "champion")]
    compared.found = LIKE_IT
    assert find_better_writer(window, read_standing(model)) is None


def test_nothing_is_taken_that_nobody_can_compare(tmp_path, model, window, compared):
    into_service(bundle(tmp_path, "champion", "champion"), model)
    standing = read_standing(model)
    assert find_better_writer(window, standing) is not None
    for left in (("train", "validation"), ()):  # a quiet test window; a shop that withdrew its reviews
        only(window.training, *left)
        assert find_better_writer(window, standing) is None
    write_reviews(window.training, n_train=10, n_later=2 * module.MIN_REVIEWS - 2)
    assert find_better_writer(window, standing) is None
    write_reviews(window.training, n_train=10, n_later=2 * module.MIN_REVIEWS)
    assert find_better_writer(window, standing) is not None


def test_a_candidate_without_a_writer_takes_one_while_the_shop_has_reviews(tmp_path, model, window, compared):
    into_service(bundle(tmp_path, "champion", "champion"), model)
    standing = read_standing(model)
    window = replace(window, candidate=bundle(tmp_path, "mute", None))
    found = find_better_writer(window, standing)
    assert (found.reason, found.origin.metrics, compared.pairs) == ("the candidate has none", FIGURES, [])
    only(window.training, "train")  # nothing to measure it on
    assert find_better_writer(window, standing).origin.metrics is None
    only(window.training)
    assert find_better_writer(window, standing) is None
    silent = replace(window, training=write_reviews(tmp_path / "again", n_train=10))
    assert find_better_writer(silent, standing) is not None
    into_service(bundle(tmp_path, "none", None), model)
    assert find_better_writer(silent, read_standing(model)) is None


def test_another_recipe_of_the_writer_is_not_overruled(tmp_path, model, window, compared):
    other = Recipe(writer=TINY)
    into_service(bundle(tmp_path, "champion", "champion", recipe=other), model)
    standing = read_standing(model)
    assert find_better_writer(window, standing) is None
    mute = replace(window, candidate=bundle(tmp_path, "mute", None))
    assert find_better_writer(mute, standing) is None
    same = replace(window, candidate=bundle(tmp_path, "same", "candidate", recipe=other))
    assert find_better_writer(same, standing) is not None


def test_of_a_writer_that_knows_the_window_the_one_that_was_judged_is_measured(tmp_path, model, window, compared):
    judged = bundle(tmp_path, "judged", "judged")
    digest = read_manifest(judged).digest
    into_service(bundle(tmp_path, "champion", "champion", data=AGAIN, judged=digest), model)
    standing = read_standing(model)
    assert find_better_writer(window, standing) is None  # it is gone
    window = replace(window, find_judged={digest: judged}.get)
    found = find_better_writer(window, standing)
    assert (found.folder / "weights").read_text() == "champion"
    assert (compared.pairs, compared.evaluated) == ([("candidate", "judged")], ["judged"])
    assert (found.origin.judged, found.origin.data) == (digest, AGAIN)
    # One that was chosen by events of the window says nothing either.
    late = bundle(tmp_path, "late", "late", data=DATA.model_copy(update={"test_at": "2026-06-02T00:00:00+00:00"}))
    assert find_better_writer(replace(window, find_judged=lambda _: late), standing) is None


def test_a_writer_that_has_to_go_or_is_damaged_is_not_taken(tmp_path, model, window, compared):
    into_service(bundle(tmp_path, "champion", "champion"), model)
    standing = read_standing(model)
    assert find_better_writer(window, standing) is not None
    assert find_better_writer(window, standing, [standing.in_service.version]) is None
    (standing.in_service.folder / "writer" / "weights").write_text("damaged")
    assert find_better_writer(window, standing) is None


def test_the_baseline_has_the_better_writer_and_its_figures_and_the_next_one_knows_whose_it_is(
    tmp_path, model, window, compared
):
    into_service(bundle(tmp_path, "champion", "champion"), model)
    first, own = read_standing(model).in_service.digest, {"writer": {"bits_per_byte": 1.5}, "served": "popularity"}
    baseline, stand_in = component(tmp_path / "baseline", "popularity"), tmp_path / "stand-in"
    found = find_better_writer(window, read_standing(model))
    taken = (found.folder, found.origin)
    manifest = assemble_baseline(stand_in, window.candidate, baseline, "popularity", "c", taken)
    assert (stand_in / "writer" / "weights").read_text() == "champion"
    assert manifest.writer_from == found.origin
    assert keep_evaluation(stand_in, model, own).metrics == {"writer": FIGURES, "served": "popularity"}
    into_service(stand_in, model)
    again = find_better_writer(window, read_standing(model))
    assert again.origin == found.origin
    assert again.origin.bundle == first
    assert again.digest == found.digest
    plain = tmp_path / "plain"
    assert assemble_baseline(plain, window.candidate, baseline, "popularity", "c").writer_from is None
    assert keep_evaluation(plain, model, own).metrics["writer"] == own["writer"]


def test_real_writers_are_read_and_measured(tmp_path, model):
    training = write_reviews(tmp_path / "training", n_train=120, n_later=60)
    encoder = EncoderSettings(model=str(save_tiny_encoder(tmp_path / "tiny")), precision="float32")
    recipe, folders = Recipe(encoder=encoder, writer=TINY), {}
    for name, steps in (("candidate", 2), ("champion", 40)):
        writer = tmp_path / f"{name}-writer"
        fit_writer(FitContext(training, 1, threads=1), writer, TINY.model_copy(update={"max_steps": steps}))
        parts = {
            "vectors": save_random_vectors(training, tmp_path / f"{name}-vectors"),
            "sequence": component(tmp_path / f"{name}-sequence", name),
            "writer": writer,
        }
        folders[name] = tmp_path / name
        assemble_bundle(folders[name], shop="t", recipe=recipe, data=DATA, components=parts, code_version="c")
    into_service(folders["champion"], model)
    found = find_better_writer(ReviewWindow(folders["candidate"], training), read_standing(model))
    assert found.reason.startswith("it expects 30 reviews of the test window at ")
    figures = found.origin.metrics
    assert figures["bits_per_byte"] > 0
    assert "samples" not in figures
    turned = ReviewWindow(folders["champion"], training)
    into_service(folders["candidate"], model)
    assert find_better_writer(turned, read_standing(model)) is None
