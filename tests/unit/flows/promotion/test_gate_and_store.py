"""The gate's tasks against a real model store: what is in service, what was withdrawn, what cannot be read any more."""

import json
import shutil

import pyarrow.parquet as pq
import pytest
import torch

from core.promotions import read_standing, version_in_service
from core.settings.evaluation import GateSettings
from core.settings.tree import Recipe
from flows.errors import BundleRefused, ChampionChanged
from flows.promotion.bundles import version_rows
from flows.promotion.champion import UnseenEvents, compare_with_champion
from flows.promotion.decision import decide_candidate, decide_refit, decide_served_baseline, promote_decided
from flows.promotion.model_store import promote, roll_back
from flows.promotion.refits import describe_refit, labels_of
from recommender.bundle.assembly import assemble_baseline, assemble_bundle
from recommender.bundle.loading import load_bundle
from recommender.bundle.manifest import SCHEMA_VERSION, read_manifest
from recommender.encoders.encoder import EncoderError
from recommender.errors import BundleError
from recommender.evaluation.baselines import fit_baseline
from recommender.fitting.context import FitContext
from recommender.retrieval.sequence.fit import fit_sequence
from serving.watcher import Watcher, find_promoted
from tests.unit.recommender.tiny_shop import DATA, QUICK, save_random_vectors, write, write_training_set
from tests.unit.serving.processes.slow_loads import loads_at_once

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
        "validation": {"popularity": {METRIC: 0.3}},
    }


LOST, WON = metrics(-0.2, -0.1), metrics(0.1, 0.2)


# So small a shop has few users.
GATE = GateSettings(min_queries=20, undecided="figures")


def unseen(shop):
    """The events of the test window, of which no bundle here learned."""

    def fail(opens):
        raise AssertionError(f"events from {opens} on are asked for, though the test window is unknown to both")

    return UnseenEvents(shop / "training", fail)


def hold(shop, judged, model):
    return decide_candidate(shop / "candidate", unseen(shop), judged, GATE, K, model)


def hold_baseline(shop, refused, model):
    return decide_served_baseline(shop / "popular", unseen(shop), refused, GATE, K, model)


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
        "the candidate's ndcg_at_5 of 0.1500 is significantly worse than that of the best baseline on validation, "
        "popularity, with 0.3000 (difference -0.1500, 95 % interval [-0.2000, -0.1000])"
    )
    assert again.reason.endswith("; that baseline is in service already: " + version_in_service("sommelier-gate-a").tag)


def test_a_candidate_replaces_a_baseline_in_service_that_it_beats_on_the_same_events(shop):
    put(shop / "popular", "sommelier-gate-b")
    decision = hold(shop, WON, "sommelier-gate-b")
    assert decision.promote
    assert decision.comparison.difference > 0
    assert "is significantly better than" in decision.reason
    assert "choices of 41 users from 2026-06-01 00:00 to 2026-06-30 00:00 that neither bundle had" in decision.reason
    put(shop / "candidate", "sommelier-gate-b")
    assert "the same bundle is in service already" in hold(shop, WON, "sommelier-gate-b").reason
    # And the baseline does not come back past it.
    lost = hold_baseline(shop, hold(shop, LOST, "sommelier-gate-none"), "sommelier-gate-b")
    assert (lost.promote_baseline, lost.served) == (False, None)
    assert "that baseline is not served either" in lost.reason


@pytest.mark.parametrize(
    ("asked", "serves", "is_baseline"),
    [("candidate", "popular", True), ("popular", "popular", False), ("popular", "candidate", False)],
)
def test_whether_a_baseline_serves_before_a_fitted_model(shop, tmp_path, asked, serves, is_baseline):
    model = f"sommelier-gate-{asked}-{serves}"
    put(shop / serves, model)
    found = compare_with_champion(shop / asked, unseen(shop), K, GATE, read_standing(model))
    assert (found.tag is not None, found.is_baseline) == (True, is_baseline)


def test_a_baseline_that_is_no_better_replaces_an_older_one_of_its_kind(shop, tmp_path):
    model, gate = "sommelier-gate-renewal", GateSettings(min_queries=20)
    put(refitted(shop, tmp_path / "older", "popular", data=DATA, judged=""), model)
    decision = decide_served_baseline(shop / "popular", unseen(shop), hold(shop, LOST, model), gate, K, model)
    assert decision.comparison.difference == 0
    assert (decision.promote_baseline, "recipe.gate.undecided=promote takes" in decision.reason) == (True, True)


def test_what_a_rollback_withdrew_is_not_promoted_again(shop):
    put(shop / "candidate", "sommelier-gate-c")
    put(shop / "popular", "sommelier-gate-c")
    roll_back("sommelier-gate-c", "", "complaints")
    refused = hold(shop, LOST, "sommelier-gate-none")
    decision = hold_baseline(shop, refused, "sommelier-gate-c")
    assert not decision.promote_baseline
    assert decision.reason.endswith("; that baseline was taken out of service by a rollback, or withdrawn as a canary")
    put(shop / "popular", "sommelier-gate-d")
    put(shop / "candidate", "sommelier-gate-d")
    roll_back("sommelier-gate-d", "", "complaints")
    assert (
        hold(shop, WON, "sommelier-gate-d").reason
        == "this bundle was taken out of service by a rollback, or withdrawn as a canary"
    )


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
    assert decision.reason.partition("; ")[2].startswith("the candidate's ndcg_at_5 of 0.4500 is significantly")
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


def test_a_champion_whose_writer_cannot_be_loaded_is_compared_as_only_its_ranking_is_judged(shop, tmp_path):
    writer = tmp_path / "writer"
    writer.mkdir()
    (writer / "writer.json").write_text("{}")
    parts = {name: shop / name for name in ("vectors", "sequence")} | {"writer": writer}
    champion = tmp_path / "champion"
    assemble_bundle(champion, shop="t", recipe=RECIPE, data=DATA, components=parts, code_version="before")
    with pytest.raises(BundleError, match="feedback writer"):
        load_bundle(champion)
    put(champion, "sommelier-gate-w")
    decision = hold(shop, WON, "sommelier-gate-w")
    assert decision.comparison is not None
    assert decision.comparison.difference == 0
    assert "is not comparable" not in decision.reason


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
    decided = decide_served_baseline(shop / "popular", unseen(shop), refused, GATE, K, model, {version})
    assert (decided.promote_baseline, decided.served, decided.comparison) == (True, "popularity", None)
    assert f"{model}:{version}, learned from a person who was forgotten, and has to go" in decided.reason
    put(shop / "popular", model)
    to_go = {version_in_service(model).version}
    strict = GateSettings(undecided="keep", beat_baseline="off")
    decided = decide_candidate(shop / "candidate", unseen(shop), WON, strict, K, model, to_go)
    assert (decided.promote, decided.comparison) == (True, None)
    # The rules about the baselines hold on.
    assert decide_candidate(shop / "candidate", unseen(shop), LOST, GATE, K, model, to_go).lost_to_baseline


LEARNED_ALL = DATA.model_copy(update={"learned_until": DATA.last_event_at})


@pytest.fixture(scope="module")
def again(shop):
    """The bundle of popularity, as one that was fitted again on everything."""
    parts = {name: shop / "popular" / name for name in ("vectors", "baseline")}
    told = {"kind": "popularity", "judged": read_manifest(shop / "popular").digest, "data": LEARNED_ALL}
    recipe = RECIPE.model_copy(update={"seed": 8})  # for another digest
    assemble_bundle(shop / "again", shop="t", recipe=recipe, components=parts, code_version="c", **told)
    return shop / "again"


def served_again(again, model):
    return promote(again, model, labels_of(read_manifest(again)))


def test_a_champion_that_learned_everything_is_asked_about_newer_events_alone(shop, again):
    model, asked = "sommelier-gate-k", []
    served_again(again, model)

    def since(opens):
        asked.append(opens.isoformat())
        return shop / "training"  # as if all of it came later

    decision = decide_candidate(shop / "candidate", UnseenEvents(shop / "training", since), WON, GATE, K, model)
    assert asked == ["2026-06-30T00:00:00.000001+00:00"]
    assert "choices of 41 users from 2026-06-30 00:00 to" in decision.reason
    assert (decision.comparison.since, decision.comparison.as_judged) == (asked[0], False)


def test_a_champion_is_not_judged_by_what_it_chose_its_weights_by(shop, tmp_path):
    """Its validation window reaches into the candidate's test window, where the shares were changed since."""
    model, asked = "sommelier-gate-chosen", []
    later = DATA.model_copy(update={"test_at": "2026-06-20T00:00:00+00:00"})
    parts = {name: shop / "popular" / name for name in ("vectors", "baseline")}
    assemble_bundle(
        tmp_path / "popular", shop="t", recipe=RECIPE, data=later, components=parts, code_version="c", kind="popularity"
    )
    put(tmp_path / "popular", model)

    def since(opens):
        asked.append(opens.isoformat())
        return shop / "training"

    decision = decide_candidate(shop / "candidate", UnseenEvents(shop / "training", since), WON, GATE, K, model)
    assert asked == [decision.comparison.since] == [later.test_at]


@pytest.mark.parametrize(("rule", "promote_it"), [("promote", True), ("keep", False)])
def test_without_newer_events_the_setting_settles_it(shop, again, tmp_path, rule, promote_it):
    model, gate = f"sommelier-gate-{rule}", GateSettings(min_queries=20, undecided=rule)
    version = served_again(again, model)
    write(tmp_path, "queries", [])
    events = UnseenEvents(shop / "training", lambda _: tmp_path)
    decision = decide_candidate(shop / "candidate", events, WON, gate, K, model)
    assert (decision.promote, decision.comparison) == (promote_it, None)
    assert f"cannot be compared with the bundle in service, {version.tag}: " in decision.reason
    assert f"in such a case recipe.gate.undecided={rule} " in decision.reason


@pytest.mark.parametrize("n_newer", [0, 3])
def test_with_too_few_newer_events_what_was_judged_in_its_place_is_asked(shop, again, tmp_path, n_newer):
    """On the test window, of which neither knows anything."""
    model, sought = "sommelier-gate-l", []
    served_again(again, model)
    write(tmp_path, "queries", pq.read_table(shop / "training" / "queries.parquet").to_pylist()[1 : 2 * n_newer : 2])

    def find(digest):
        sought.append(digest)
        return shop / "popular"

    events = UnseenEvents(shop / "training", lambda _: tmp_path, find)
    decision = decide_candidate(shop / "candidate", events, WON, GATE, K, model)
    assert set(sought) == {read_manifest(shop / "popular").digest}
    assert (decision.comparison.as_judged, decision.comparison.n_queries) == (True, 41)
    assert "had learned from, each bundle as it was when the gate judged it" in decision.reason
    gone = UnseenEvents(shop / "training", lambda _: tmp_path)
    alone = decide_candidate(shop / "candidate", gone, WON, GATE, K, model).comparison
    assert (alone.n_queries if alone else 0) == n_newer


def refitted(shop, folder, name="candidate", **update):
    """A bundle as if it had been fitted again: of other bytes."""
    shutil.copytree(shop / name, folder)
    manifest = read_manifest(folder)
    told = {"digest": f"again-{folder.name}", "judged": manifest.digest, "data": LEARNED_ALL, **update}
    (folder / "manifest.json").write_text(manifest.model_copy(update=told).model_dump_json())
    return folder


def test_what_was_fitted_again_from_the_candidate_on_the_same_data_is_the_same_bundle(shop, tmp_path):
    model = "sommelier-gate-m"
    again = refitted(shop, tmp_path / "one")
    version = promote(again, model, labels_of(read_manifest(again)))
    decision = hold(shop, WON, model)
    assert (decision.promote, decision.served) == (False, "blend")
    assert decision.reason == f"the same bundle is in service already: {version.tag}"
    # Of other data it is another one.
    older = refitted(shop, tmp_path / "two", data=LEARNED_ALL.model_copy(update={"fingerprint": "older"}))
    promote(older, model, labels_of(read_manifest(older)))
    events = UnseenEvents(shop / "training", lambda _: shop / "training")
    assert "same bundle" not in decide_candidate(shop / "candidate", events, WON, GATE, K, model).reason
    # And where that comes to the same once more, it does not go into service twice.
    wanted = hold(shop, WON, "sommelier-gate-none")
    once_more = decide_refit(older, wanted, model)
    assert (once_more.promote, once_more.served) == (False, "blend")
    assert "fitted again on everything, it is the bundle in service already" in once_more.reason


def test_what_was_fitted_again_from_a_withdrawn_candidate_is_withdrawn_too(shop, tmp_path):
    model = "sommelier-gate-n"
    again = refitted(shop, tmp_path / "one")
    put(shop / "popular", model)
    promote(again, model, labels_of(read_manifest(again)))
    roll_back(model, "", "complaints")
    assert (
        hold(shop, WON, model).reason == "this bundle was taken out of service by a rollback, or withdrawn as a canary"
    )
    refused = decide_refit(again, hold(shop, WON, "sommelier-gate-none"), model)
    assert (refused.promote, refused.served) == (False, None)
    assert refused.reason.endswith(
        "fitted again on everything, this bundle was taken out of service by a rollback, or withdrawn as a canary"
    )


def test_a_bundle_says_of_which_its_figures_are(shop, tmp_path):
    manifest = read_manifest(refitted(shop, tmp_path / "one"))
    assert describe_refit(manifest) == (
        f"Bundle again-one learned from everything until 2026-06-30 00:00, by the choices of {manifest.judged[:16]}, "
        "which learned until 2026-05-01 00:00: the figures are those of that one."
    )
    assert describe_refit(read_manifest(shop / "candidate")) == ""
    assert labels_of(manifest)["judged"] == manifest.judged


def test_after_an_upgrade_the_service_says_what_to_do_and_the_next_run_replaces_the_bundle(shop):
    """A work folder whose only bundle an earlier version of this code wrote."""
    model = "sommelier-gate-upgraded"
    old = put(shop / "popular", model)
    manifest = json.loads((old.folder / "manifest.json").read_text())
    (old.folder / "manifest.json").write_text(json.dumps({**manifest, "schema_version": SCHEMA_VERSION - 1}))
    watcher = Watcher(
        find=lambda: find_promoted(model),
        load=lambda promoted: load_bundle(promoted.folder),
        poll_s=60.0,
        loader=loads_at_once(),
    )
    watcher.poll()
    assert (watcher.loaded, watcher.promoted) == (None, old.tag)
    why = f"schema_version={SCHEMA_VERSION - 1}, expected {SCHEMA_VERSION}"
    assert watcher.problem.startswith(f"{old.tag} cannot be loaded: Cannot load bundle: {why}")
    assert watcher.problem.endswith("Train a new one: make run.")
    (row,) = version_rows(model)
    assert (row["version"], row["state"]) == (old.version, "in service")

    decided = hold(shop, WON, model)
    assert decided.promote
    assert f"the bundle in service, {old.tag}, is not comparable, as it cannot be loaded ({why})" in decided.reason
    written = {"writer": {"bleu_4": 1.0, "samples": [{"user_id": "u7", "real": "What somebody wrote"}]}}
    new = promote_decided(shop / "candidate", model, {**WON, **written, "intervals": {}}, decided)
    assert read_manifest(new.folder).metrics["writer"] == {"bleu_4": 1.0}, "a bundle keeps nobody's texts"
    watcher.poll()
    assert (watcher.loaded.model, watcher.problem) == (new.tag, None)
    with pytest.raises(BundleRefused, match=why):
        roll_back(model)
    assert version_in_service(model).version == new.version
