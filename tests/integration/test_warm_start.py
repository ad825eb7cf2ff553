"""`fine-tune` starts from the weights in service: what is judged from what was judged, what is served from what was."""

import json
from datetime import datetime
from pathlib import Path

import pytest

from recommender.bundle.manifest import Manifest, read_manifest
from recommender.fitting.summary import FitSummary
from tests.integration.conftest import table_settings
from tests.integration.test_refit import promoted

pytestmark = pytest.mark.long

SHOP = "fresh"
RUN = """
import json
import sys
from pathlib import Path
from flows.reporting import artifacts
from core.settings.tree import Recipe
from flows.fine_tune import fine_tune
from flows.params import PipelineParams
from flows.pipeline import pipeline
from tests.integration.test_refit import write_shop
recipe = Recipe.model_validate_json(sys.argv[1])
publish = artifacts.publish_starts
def published(rows, why, is_refit):
    publish(rows, why, is_refit)
    print(json.dumps({"why": why, "is_refit": is_refit, "rows": {row["part"]: row for row in rows}}))
artifacts.publish_starts = published
given = lambda **changed: PipelineParams(shop="fresh", recipe=recipe.model_copy(update=changed))
once = recipe.warm_start.model_copy(update={"max_chain": 1})
write_shop(Path(sys.argv[2]), 90)
pipeline(given())
write_shop(Path(sys.argv[2]), 100)
print(fine_tune(given()).model_dump_json())
print(fine_tune(given()).model_dump_json())
write_shop(Path(sys.argv[2]), 107)
print(fine_tune(given(warm_start=once)).model_dump_json())
"""


@pytest.fixture(scope="module")
def runs(tmp_path_factory, run_flows):
    root = tmp_path_factory.mktemp("warm")
    gate = {
        "recipe.gate.beat_baseline": "off",
        "recipe.gate.min_queries": 10,
        "recipe.gate.guardrails.latency_growth": None,
    }
    settings = table_settings(root, SHOP, **{"recipe.sequence.max_epochs": 3}, **gate)
    return root / "work", run_flows(RUN, settings, settings.recipe.model_dump_json(), root / "data")


@pytest.fixture(scope="module")
def versions(runs):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BENTOML_HOME", str(runs[0] / "bentoml"))
        yield promoted(runs[0])


def judged_of(work: Path, manifest: Manifest) -> tuple[Path, Manifest]:
    folders = [file.parent for file in (work / SHOP / "candidates").glob("*/manifest.json")]
    return next((one, read_manifest(one)) for one in folders if read_manifest(one).digest == manifest.judged)


def test_what_is_judged_and_what_is_served_start_from_their_own_kind(runs, versions):
    (_, first), (served, warm), *_ = versions
    folder, judged = judged_of(runs[0], warm)
    assert first.warm_start is None
    assert (warm.warm_start.parent, warm.warm_start.judged_parent) == (first.digest, first.judged)
    assert (judged.warm_start.parent, judged.warm_start.length) == (first.judged, 1)
    for place, parent in ((folder, first.judged), (served, first.digest)):
        for name in ("vectors", "sequence"):
            work = FitSummary.read(place / name).work
            assert work.parent == parent
            assert work.new < work.full
        assert FitSummary.read(place / "sequence").work.new > 0


def test_nothing_that_judges_the_candidate_was_learned_by_what_it_started_from(runs, versions):
    (_, first), (_, warm), *_ = versions
    _, judged = judged_of(runs[0], warm)
    _, parent = judged_of(runs[0], first)
    assert parent.data.learned_until_at <= datetime.fromisoformat(judged.data.validation_at)
    assert parent.data.unknown_from <= datetime.fromisoformat(judged.data.test_at)
    # What is in service knows the new windows: had the candidate started from it, nothing could judge it.
    assert first.data.learned_until_at > datetime.fromisoformat(judged.data.validation_at)


def test_nothing_new_fits_nothing_again(runs):
    _, second, _ = (line for line in runs[1] if "promote" in line)
    assert second["reason"].startswith("the same bundle is in service already")


def test_the_run_says_which_parts_were_warm_and_what_each_did(runs):
    judged, refit = (line for line in runs[1][:2])
    assert (judged["is_refit"], refit["is_refit"]) == (False, True)
    assert "warm start 1 of 10" in judged["why"]
    row = refit["rows"]["sequence"]
    assert row["start"].startswith("bundle ")
    assert int(row["new"].split()[0]) + row["older beside them"] < row["in a full fit"]
    assert judged["rows"]["blend"]["start"] == "nothing: this part has no warm start"


def test_a_chain_that_is_long_enough_ends_in_a_full_fit_and_the_run_says_why(runs, versions):
    *_, (_, last) = versions
    assert len(versions) == 3
    assert last.warm_start is None
    why = runs[1][-2]["rows"]["sequence"]["start"]
    assert why == "nothing: 1 warm starts followed each other (recipe.warm_start.max_chain)"


def test_the_bundle_says_in_its_manifest_whose_weights_it_has(versions):
    folder, warm = versions[1]
    told = json.loads((folder / "manifest.json").read_text())["warm_start"]
    assert told == {"parent": warm.warm_start.parent, "judged_parent": warm.warm_start.judged_parent, "length": 1}
