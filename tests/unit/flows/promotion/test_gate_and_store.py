"""The gate's tasks against a real model store: what is in service, what was withdrawn, what cannot be read any more."""

import json
import shutil

import pytest
import torch

from core.promotions import read_standing, version_in_service
from core.settings.evaluation import GateSettings
from core.settings.tree import Recipe
from flows.errors import ChampionChanged
from flows.promotion.decision import decide_candidate, decide_served_baseline, promote_decided
from flows.promotion.model_store import promote, roll_back
from recommender.bundle.assembly import assemble_baseline, assemble_bundle
from recommender.bundle.manifest import SCHEMA_VERSION, read_manifest
from recommender.encoders.encoder import EncoderError
from recommender.errors import BundleError
from recommender.evaluation.baselines import fit_baseline
from recommender.fitting.context import FitContext
from recommender.retrieval.sequence.fit import fit_sequence
from tests.unit.recommender.tiny_shop import DATA, QUICK, save_random_vectors, write_training_set

K = 5
METRIC = "ndcg_at_5"

RECIPE = Recipe(sequence=QUICK)


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """A training set, a candidate of it, and the bundle in which popularity serves."""
    root = tmp_path_factory.mktemp("shop")
    training = write_training_set(root / "training")
    save_random_vectors(training, root / "vectors")
    fit_sequence(FitContext(training, 7, k=K, threads=1), root / "vectors", root / "sequence", QUICK, 6)
    parts = {name: root / name for name in ("vectors", "sequence")}
    assemble_bundle(root / "candidate", shop="t", recipe=RECIPE, data=DATA, components=parts, code_version="c")
    fit_baseline(
        FitContext(training, RECIPE.seed, k=K),
        "popularity",
        root / "vectors",
        root / "baseline",
        RECIPE,
    )
    assemble_baseline(root / "popular", root / "candidate", root / "baseline", "popularity", "c")
    return root


def metrics(low, high):
    """What an evaluation says of the candidate and popularity, whose difference lies between `low` and `high`."""
    difference = {"mean": (low + high) / 2, "low": low, "high": high, "p_value": 0.01}
    return {
        "ranking": {"popularity": {METRIC: 0.3}, "blend": {METRIC: 0.3 + (low + high) / 2}},
        "differences": {"popularity": {METRIC: difference}},
    }


LOST, WON = metrics(-0.2, -0.1), metrics(0.1, 0.2)


def hold(shop, judged, model, **settings):
    return decide_candidate(shop / "candidate", shop / "training", judged, GateSettings(**settings), K, model)


def hold_baseline(shop, refused, model):
    return decide_served_baseline(shop / "popular", shop / "training", refused, GateSettings(), K, model)


def put(folder, model):
    return promote(folder, model, {"digest": read_manifest(folder).digest})


def test_into_an_empty_store_goes_the_baseline_that_a_candidate_lost_to_and_only_once(shop):
    refused = hold(shop, LOST, "sommelier-gate-a")
    assert refused.lost_to_baseline
    decision = hold_baseline(shop, refused, "sommelier-gate-a")
    assert (decision.promote_baseline, decision.served) == (True, "popularity")
    put(shop / "popular", "sommelier-gate-a")
    again = hold_baseline(shop, hold(shop, LOST, "sommelier-gate-a"), "sommelier-gate-a")
    assert (again.promote, again.promote_baseline, again.served) == (False, False, "popularity")
    assert again.reason.startswith(
        "ndcg_at_5 0.1500 is surely worse than popularity 0.3000 (-0.1500 [-0.2000, -0.1000])"
    )
    assert again.reason.endswith("; that baseline is in service already: " + version_in_service("sommelier-gate-a").tag)


def test_a_candidate_replaces_a_baseline_in_service_that_it_beats_on_the_same_events(shop):
    put(shop / "popular", "sommelier-gate-b")
    decision = hold(shop, WON, "sommelier-gate-b")
    assert decision.promote
    assert decision.comparison.difference > 0
    assert "is not below" in decision.reason
    put(shop / "candidate", "sommelier-gate-b")
    assert "the same bundle is in service already" in hold(shop, WON, "sommelier-gate-b").reason
    # And the baseline does not come back past it.
    lost = hold_baseline(shop, hold(shop, LOST, "sommelier-gate-none"), "sommelier-gate-b")
    assert (lost.promote_baseline, lost.served) == (False, None)
    assert "that baseline is not served either" in lost.reason


def test_what_a_rollback_withdrew_is_not_promoted_again(shop):
    put(shop / "candidate", "sommelier-gate-c")
    put(shop / "popular", "sommelier-gate-c")
    roll_back("sommelier-gate-c", "", "complaints")
    refused = hold(shop, LOST, "sommelier-gate-none")
    decision = hold_baseline(shop, refused, "sommelier-gate-c")
    assert not decision.promote_baseline
    assert decision.reason.endswith("; that baseline was taken out of service by a rollback")
    put(shop / "popular", "sommelier-gate-d")
    put(shop / "candidate", "sommelier-gate-d")
    roll_back("sommelier-gate-d", "", "complaints")
    assert hold(shop, WON, "sommelier-gate-d").reason == "this bundle was taken out of service by a rollback"


def old_schema(folder):
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**manifest, "schema_version": 3}))


def damage(folder):
    (folder / "vectors" / "vectors.safetensors").write_bytes(b"damaged")


@pytest.mark.parametrize(
    ("name", "spoil", "words"),
    [
        ("e", old_schema, f"schema_version=3, expected {SCHEMA_VERSION}"),
        ("f", damage, "vectors/vectors.safetensors="),
        ("g", shutil.rmtree, "readable JSON"),
    ],
)
def test_a_champion_that_cannot_be_loaded_is_replaced_and_the_reason_says_so(shop, name, spoil, words):
    model = f"sommelier-gate-{name}"
    spoil(put(shop / "popular", model).folder)
    decision = hold(shop, WON, model)
    assert (decision.promote, decision.comparison) == (True, None)
    assert f"the bundle in service, {version_in_service(model).tag}, is not comparable" in decision.reason
    assert words in decision.reason
    assert decision.reason.partition("; ")[2].startswith("ndcg_at_5 0.4500 is surely better")
    instead = hold_baseline(shop, hold(shop, LOST, model), model)
    assert instead.promote_baseline  # also where it is that very baseline: the copy in the store is damaged
    assert "that baseline is served instead: the bundle in service" in instead.reason
    # The remaining rules hold on.
    assert not hold(shop, LOST, model).promote


def test_a_champion_that_lacks_its_encoder_is_not_comparable(shop, monkeypatch):
    put(shop / "popular", "sommelier-gate-h")

    def fail(*_, **__):
        raise EncoderError("Cannot load the encoder", got="name=gone", expected="a model", do="Install it")

    monkeypatch.setattr("recommender.ranking.baseline_ranker.BaselineRanker.load", fail)
    decision = hold(shop, WON, "sommelier-gate-h")
    assert decision.promote
    assert "is not comparable, as it cannot be loaded" in decision.reason
    assert "name=gone" in decision.reason


def test_too_little_memory_decides_nothing(shop, monkeypatch):
    put(shop / "popular", "sommelier-gate-i")

    def fail(*_, **__):
        raise torch.OutOfMemoryError("out of memory")

    monkeypatch.setattr("recommender.ranking.baseline_ranker.BaselineRanker.load", fail)
    with pytest.raises(BundleError, match="out of memory"):
        hold(shop, WON, "sommelier-gate-i")


def test_what_was_decided_before_a_rollback_is_not_promoted_over_it(shop):
    model = "sommelier-gate-j"
    put(shop / "popular", model)
    put(shop / "candidate", model)
    decided = hold(shop, WON, "sommelier-gate-none").model_copy(update={"generation": read_standing(model).generation})
    roll_back(model, "", "complaints")
    metrics = {**WON, "intervals": {}}
    with pytest.raises(ChampionChanged, match="rolled back since the gate decided"):
        promote_decided(shop / "candidate", model, metrics, decided)
    assert version_in_service(model).digest == read_manifest(shop / "popular").digest
    now = hold(shop, WON, model)
    assert (now.promote, now.generation) == (False, 3)


def test_a_champion_that_learned_from_somebody_forgotten_keeps_nothing_out(shop):
    model = "sommelier-gate-to-go"
    version = put(shop / "candidate", model).version
    refused = hold(shop, LOST, "sommelier-gate-none")
    assert not hold_baseline(shop, refused, model).promote_baseline
    decided = decide_served_baseline(shop / "popular", shop / "training", refused, GateSettings(), K, model, {version})
    assert (decided.promote_baseline, decided.served, decided.comparison) == (True, "popularity", None)
    assert f"{model}:{version}, learned from a person who was forgotten, and has to go" in decided.reason
    put(shop / "popular", model)
    to_go = {version_in_service(model).version}
    strict = GateSettings(beat_champion="surely_better", beat_baseline="off")
    decided = decide_candidate(shop / "candidate", shop / "training", WON, strict, K, model, to_go)
    assert (decided.promote, decided.comparison) == (True, None)
    # The rules about the baselines hold on.
    assert decide_candidate(
        shop / "candidate", shop / "training", LOST, GateSettings(), K, model, to_go
    ).lost_to_baseline
