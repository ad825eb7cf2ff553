"""From a training folder through the real fits to a bundle on disk, and back."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from core.settings.models import (
    LanguageModelWriterSettings,
)
from recommender.bundle import loading
from recommender.bundle.assembly import BundleError, assemble_baseline, assemble_bundle, record_evaluation
from recommender.bundle.loading import EVERY_PART, load_bundle
from recommender.bundle.manifest import Manifest, read_manifest
from recommender.errors import TrainingDataError
from recommender.evaluation.baselines import fit_baseline
from recommender.evaluation.evaluation import evaluate_bundle, parts_of
from recommender.evaluation.judgement import judge_bundles
from recommender.fitting.context import FitContext
from recommender.inputs.item_vectors import ItemVectors
from recommender.inputs.queries import read_queries
from recommender.inputs.user import UserState
from recommender.metrics.ranking import PER_QUERY
from recommender.ranking.baseline_ranker import BaselineRanker
from recommender.retrieval.text.embedding import embed_catalogue
from recommender.writing.decoding import Decoding
from recommender.writing.examples import WritingRequest
from recommender.writing.training import fit_writer
from tests.unit.recommender.bundle.workshop import K, edit_manifest
from tests.unit.recommender.encoders.test_embedded_model import install
from tests.unit.recommender.tiny_language_models import write_gguf
from tests.unit.recommender.tiny_shop import DATA, item, write
from tests.unit.recommender.written_shop import write_reviews


def test_a_bundle_holds_what_serving_needs_and_no_pickle(built):
    names = {path.relative_to(built).as_posix() for path in built.rglob("*") if path.is_file()}
    assert names == {
        "manifest.json",
        "vectors/catalogue.parquet",
        "vectors/ids.json",
        "vectors/vectors.safetensors",
        "vectors/whitening.safetensors",
        "vectors/encoder.json",
        "sequence/sequence.safetensors",
        "sequence/sequence.json",
        "sequence/summary.json",
        "blend/neighbours.safetensors",
        "blend/neighbours.json",
        "blend/parts.json",
        "blend/blend.json",
        "blend/cold.json",
        "blend/newcomers.safetensors",
        "blend/summary.json",
    }
    assert set(read_manifest(built).files) == names - {"manifest.json"}


def test_the_fits_say_how_they_get_on(built, workshop):
    assert any(line.startswith("text encoder") and "float32" in line for line in workshop.said)
    assert any(line.startswith("epoch 1/4: loss") for line in workshop.said)


def test_loaded_it_answers(built):
    bundle = load_bundle(built)
    assert bundle.scorer is None
    assert bundle.writer is None
    assert bundle.catalogue.label(item(3)) == f"Tea {item(3)}"
    user = UserState.from_history([item(3), item(4)])
    assert len(bundle.ranker.top_k([user], 3)[0]) == 3
    np.testing.assert_array_equal(load_bundle(built).ranker.scores([user]), bundle.ranker.scores([user]))


def test_equal_data_recipe_and_seed_give_equal_digests(built, workshop):
    again = read_manifest(workshop.build("again"))
    first = read_manifest(built)
    assert again.digest == first.digest
    changed = {name for name in first.files if first.files[name] != again.files[name]}
    assert changed <= {"sequence/summary.json", "blend/summary.json"}


def test_another_seed_gives_another_digest(built, workshop):
    assert read_manifest(workshop.build("other", seed=2)).digest != read_manifest(built).digest


def test_an_evaluation_changes_the_manifest_and_nothing_else(bundle):
    before = read_manifest(bundle)
    after = record_evaluation(bundle, {"ndcg_at_10": 0.5}, "the-champion")
    assert read_manifest(bundle) == after
    assert after == before.model_copy(update={"metrics": {"ndcg_at_10": 0.5}, "parent": "the-champion"})
    load_bundle(bundle)


def test_evaluation_covers_baselines_and_model(built, workshop):
    evaluated = evaluate_bundle(load_bundle(built), workshop.training, K)
    others = ["popularity", "item_knn", "bm25", "text_encoder", "neighbours", "sequence"]
    assert list(evaluated["ranking"]) == [*others, "blend"]
    assert set(evaluated["differences"]) == set(others)
    low, high = evaluated["intervals"]["blend"]["ndcg_at_5"]
    assert low <= evaluated["ranking"]["blend"]["ndcg_at_5"] <= high
    assert {"gauc", "coverage_at_5", "gini_at_5", "novelty_at_5"} <= set(evaluated["ranking"]["blend"])
    assert [point["epoch"] for point in evaluated["curves"]["sequence"]] == [1, 2, 3, 4]
    assert list(evaluated["by_history_length"]) == ["0", "3-5", "6-10"]
    assert sum(group["n_queries"] for group in evaluated["by_history_length"].values()) == 41
    assert evaluated["n_queries"] == {"all": 41, "warm": 40, "cold": 1}
    assert evaluated["scorer"] is None
    assert evaluated["writer"] is None
    of_validation = evaluate_bundle(load_bundle(built), workshop.training, K, "validation", baselines=("item_knn",))
    assert list(evaluated["validation"]) == ["popularity", "item_knn", "text_encoder"]
    for kind, figures in evaluated["validation"].items():
        assert figures == {key: of_validation["ranking"][kind][key] for key in figures}
        assert figures["ndcg_at_5"] != evaluated["ranking"][kind]["ndcg_at_5"]
    cold = evaluated["groups"]["cold"]
    assert cold["blend"] == cold["sequence"] == cold["popularity"]
    assert json.loads(json.dumps(evaluated)) == evaluated


@pytest.mark.parametrize("metric", PER_QUERY)
def test_a_bundle_against_itself_is_a_draw(built, workshop, metric):
    bundle = load_bundle(built)
    comparison = judge_bundles(bundle, bundle, read_queries(workshop.training, "test"), K, metric).comparison
    assert comparison.metric == f"{metric}_at_{K}"
    assert comparison.candidate == comparison.champion
    assert (comparison.difference, comparison.low, comparison.high, comparison.p_value) == (0, 0, 0, 1)
    evaluated = evaluate_bundle(bundle, workshop.training, K, baselines=())
    assert comparison.candidate == evaluated["ranking"]["blend"][comparison.metric]


def test_targets_that_the_champion_does_not_know_are_its_misses(built, workshop, tmp_path):
    rows = read_queries(workshop.training, "test")
    known = {name for targets in rows.targets[:5] for name in targets}
    smaller = Path(shutil.copytree(workshop.training, tmp_path / "smaller"))
    ids = load_bundle(built).catalogue.ids
    catalogue = pq.read_table(smaller / "catalogue.parquet")
    pq.write_table(
        catalogue.filter(pc.invert(pc.is_in(catalogue["item_id"], pa.array(sorted(known))))),
        smaller / "catalogue.parquet",
    )
    champion = load_bundle(workshop.build("smaller", training=smaller))
    assert champion.catalogue.ids.unknown(ids) != []
    comparison = judge_bundles(
        load_bundle(built), champion, read_queries(workshop.training, "test"), 24, "recall"
    ).comparison
    missed = sum(1 for targets in rows.targets if set(targets) <= known)
    assert comparison.champion == pytest.approx(1 - missed / len(rows))
    assert comparison.candidate == 1


def test_a_bundle_needs_its_required_components(built, tmp_path):
    manifest: Manifest = read_manifest(built)
    given = {"shop": "s", "recipe": manifest.recipe, "data": DATA, "code_version": "c"}
    with pytest.raises(BundleError, match="expected 'sequence' among them"):
        assemble_bundle(tmp_path / "b", components={"vectors": built / "vectors"}, **given)
    with pytest.raises(BundleError, match="nowhere, expected a folder"):
        assemble_bundle(
            tmp_path / "b", components={"vectors": built / "vectors", "sequence": tmp_path / "nowhere"}, **given
        )
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def knn(built, workshop) -> Path:
    """The bundle of a baseline."""
    part = workshop.root / "knn-part"
    recipe = read_manifest(built).recipe
    fit_baseline(FitContext(workshop.training, recipe.seed, k=K), "item_knn", built / "vectors", part, recipe)
    assemble_baseline(workshop.root / "knn", built, part, "item_knn", "test")
    return workshop.root / "knn"


def test_a_baseline_is_a_bundle_of_its_own(knn, built, workshop):
    manifest, candidate = read_manifest(knn), read_manifest(built)
    assert (manifest.kind, candidate.kind) == ("item_knn", "blend")
    assert {name.partition("/")[0] for name in manifest.files} == {"vectors", "baseline"}
    assert (manifest.recipe, manifest.data, manifest.shop) == (candidate.recipe, candidate.data, candidate.shop)
    assert manifest.digest != candidate.digest
    again = assemble_baseline(workshop.root / "again-knn", built, workshop.root / "knn-part", "item_knn", "test")
    assert again.digest == manifest.digest
    record_evaluation(knn, {"served": "item_knn"}, None)
    bundle = load_bundle(knn)
    assert isinstance(bundle.ranker, BaselineRanker)
    assert bundle.generative is None
    user = UserState.from_history([item(3), item(4)])
    assert len(bundle.ranker.top_k([user], 3)[0]) == 3
    assert list(parts_of(bundle)) == ["text_encoder"]


def test_the_bundle_of_a_baseline_reaches_what_the_baseline_was_evaluated_at(knn, built, workshop):
    whole, baseline = load_bundle(built), load_bundle(knn)
    evaluated = evaluate_bundle(whole, workshop.training, K)["ranking"]
    for candidate, champion, expected in (
        (whole, baseline, ("blend", "item_knn")),
        (baseline, whole, ("item_knn", "blend")),
    ):
        comparison = judge_bundles(candidate, champion, read_queries(workshop.training, "test"), K, "ndcg").comparison
        figures = tuple(evaluated[name]["ndcg_at_5"] for name in expected)
        assert (comparison.candidate, comparison.champion) == figures
    again = evaluate_bundle(baseline, workshop.training, K)["ranking"]
    assert again["blend"] == again["item_knn"] == evaluated["item_knn"]


def test_scorer_writer_and_explainer_stay_in_the_bundle_of_a_baseline(built, workshop, tmp_path):
    optional = ("scorer", "writer", "explainer", "generative")
    for name in optional:
        (tmp_path / name).mkdir()
        (tmp_path / name / "weights").write_text(name)
    manifest = read_manifest(built)
    parts = {name: built / name for name in ("vectors", "sequence")}
    assemble_bundle(
        tmp_path / "whole",
        shop="s",
        recipe=manifest.recipe,
        data=DATA,
        components={**parts, **{name: tmp_path / name for name in optional}},
        code_version="c",
    )
    part = tmp_path / "part"
    fit_baseline(
        FitContext(workshop.training, manifest.recipe.seed, k=K),
        "popularity",
        built / "vectors",
        part,
        manifest.recipe,
    )
    files = assemble_baseline(tmp_path / "b", tmp_path / "whole", part, "popularity", "c").files
    assert {name.partition("/")[0] for name in files} == {"vectors", "baseline", "scorer", "writer", "explainer"}
    assert files["baseline/baseline.json"]


def test_a_writer_of_the_embedded_model_is_loaded_with_the_folder_that_this_is_kept_in(built, tmp_path, monkeypatch):
    install(monkeypatch, write_gguf(tmp_path / "tiny.gguf"))
    reviews, models = write_reviews(tmp_path / "reviews", n_train=100), tmp_path / "models"
    settings = LanguageModelWriterSettings(max_steps=1, minutes=None, trained_layers=1)
    assert fit_writer(FitContext(reviews, 1, threads=1, models=models), tmp_path / "writer", settings)
    before = read_manifest(built)
    components = {name: built / name for name in ("vectors", "sequence", "blend")} | {"writer": tmp_path / "writer"}
    target, recipe = tmp_path / "bundle", before.recipe.model_copy(update={"writer": settings})
    assemble_bundle(target, shop="tiny", recipe=recipe, data=DATA, components=components, code_version="test")
    bundle = load_bundle(target, models=models)
    (text,) = bundle.writer.write([WritingRequest(5.0, "", "A kettle")], seed=1, decoding=Decoding(8))
    assert text
    with pytest.raises(BundleError, match="models=None, expected the folder where converted models are kept"):
        load_bundle(target)
    (user,) = [UserState.from_history([next(iter(bundle.catalogue.ids))])]
    ranking = load_bundle(target, parts=())
    assert (ranking.writer, ranking.scorer, ranking.generative) == (None, None, None)
    np.testing.assert_array_equal(ranking.ranker.scores([user]), bundle.ranker.scores([user]))


@pytest.mark.parametrize("part", EVERY_PART)
def test_a_part_is_loaded_where_it_is_asked_for(built, part, monkeypatch):
    for loader in ("_load_scorer", "_load_writer", "_load_explainer", "_load_generative"):
        monkeypatch.setattr(loading, loader, lambda *_, name=loader: name)
    bundle = load_bundle(built, parts=(part,))
    assert {name: getattr(bundle, name) for name in EVERY_PART if getattr(bundle, name)} == {part: f"_load_{part}"}


def test_every_part_of_the_platform_says_where_language_models_are_kept():
    root = Path(__file__).parents[4]
    calls = [
        call
        for package in ("flows", "serving")
        for file in (root / package).rglob("*.py")
        for call in re.findall(r"load_bundle\((.*)\)", file.read_text())
    ]
    assert len(calls) >= 6
    # The gate ranks, and loads no writer.
    assert [call for call in calls if "models" not in call and not call.endswith("parts=()")] == []


def test_a_bundle_of_one_kind_holds_nothing_of_the_other(built, knn, tmp_path):
    manifest = read_manifest(built)
    given = {"shop": "s", "recipe": manifest.recipe, "data": DATA, "code_version": "c"}
    vectors, sequence, baseline = built / "vectors", built / "sequence", knn / "baseline"
    everything = {"vectors": vectors, "sequence": sequence, "baseline": baseline}
    with pytest.raises(BundleError, match="expected no 'baseline' among them, as the kind is 'blend'"):
        assemble_bundle(tmp_path / "b", components=everything, **given)
    with pytest.raises(BundleError, match="expected no 'sequence' among them, as the kind is 'item_knn'"):
        assemble_bundle(tmp_path / "b", components=everything, kind="item_knn", **given)
    with pytest.raises(BundleError, match="expected 'baseline' among them"):
        assemble_bundle(tmp_path / "b", components={"vectors": vectors}, kind="item_knn", **given)
    assert list(tmp_path.iterdir()) == []


def test_a_manifest_of_another_kind_than_its_baseline_is_refused(knn, tmp_path):
    copy = Path(shutil.copytree(knn, tmp_path / "copy"))
    edit_manifest(copy, kind="popularity")
    with pytest.raises(BundleError, match="baseline=item_knn, expected popularity, as the manifest says"):
        load_bundle(copy)


def test_items_without_words_have_no_direction(workshop, tmp_path):
    training = Path(shutil.copytree(workshop.training, tmp_path / "training"))
    rows = [
        {"item_id": "a", "title": None, "item_text": "", "item_n_events": 1, "item_n_ratings": 0},
        {"item_id": "b", "title": None, "item_text": "green tea", "item_n_events": 1, "item_n_ratings": 0},
        {"item_id": "c", "title": None, "item_text": "black tea", "item_n_events": 1, "item_n_ratings": 0},
    ]
    write(training, "catalogue", rows)
    vectors = embed_catalogue(FitContext(training, 1), tmp_path / "vectors", workshop.encoder)
    lengths = {name: float(vectors.text[vectors.ids.index(name)].norm()) for name in vectors.ids}
    assert lengths == pytest.approx({"a": 0, "b": 1, "c": 1}, abs=1e-5)
    assert (ItemVectors.load(tmp_path / "vectors").text == vectors.text).all()


def test_a_fit_that_fails_leaves_nothing(workshop, tmp_path):
    with pytest.raises(TrainingDataError, match="table=catalogue"):
        embed_catalogue(FitContext(tmp_path, 1), tmp_path / "vectors", workshop.encoder)
    assert list(tmp_path.iterdir()) == []
