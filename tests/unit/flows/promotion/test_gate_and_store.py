"""The gate's tasks against a real model store: what is in service, what was withdrawn, what cannot be read any more."""

import json
import shutil

import pytest

from core.settings.evaluation import GateSettings
from core.settings.tree import Recipe
from flows.promotion.decision import decide_candidate, decide_served_baseline
from flows.promotion.model_store import newest_version, promote, roll_back
from recommender.bundle.assembly import assemble_baseline, assemble_bundle
from recommender.bundle.manifest import read_manifest
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
    assert again.reason.endswith("; that baseline is in service already: " + newest_version("sommelier-gate-a").tag)


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


def test_a_bundle_of_another_schema_version_is_replaced_and_the_reason_says_so(shop, tmp_path):
    old = shutil.copytree(shop / "popular", tmp_path / "old")
    manifest = json.loads((old / "manifest.json").read_text())
    (old / "manifest.json").write_text(json.dumps({**manifest, "schema_version": 3}))
    promote(old, "sommelier-gate-e", {"digest": "old"})
    decision = hold(shop, WON, "sommelier-gate-e")
    assert (decision.promote, decision.comparison) == (True, None)
    assert "cannot be read by this version (schema_version=3); ndcg_at_5 0.4500 is surely better" in decision.reason
    instead = hold_baseline(shop, hold(shop, LOST, "sommelier-gate-e"), "sommelier-gate-e")
    assert instead.promote_baseline
    assert "that baseline is served instead: the newest bundle" in instead.reason
