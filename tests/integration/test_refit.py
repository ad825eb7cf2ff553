"""What is promoted is fitted again on everything: an item of the newest fifth is known, and nothing is done twice."""

import random
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from core.layout import Layout
from core.promotions import read_standing
from recommender.bundle.loading import load_bundle
from recommender.bundle.manifest import Manifest, read_manifest
from recommender.inputs.user import UserState
from tests.integration.conftest import table_settings, write_tables

pytestmark = pytest.mark.long

SHOP = "fresh"
LATE = "late"
START = datetime(2025, 1, 1, tzinfo=UTC)
N_ITEMS, N_USERS = 30, 250
LATE_FROM_DAY = 92  # behind the start of the test window
RUN = """
import sys
from flows.params import PipelineParams
from flows.pipeline import pipeline
from core.settings.tree import Recipe
from tests.integration.test_refit import write_shop
from pathlib import Path
recipe = Recipe.model_validate_json(sys.argv[1])
work = Path(sys.argv[2]).parent
for number, days in enumerate((100, 100, 107)):
    write_shop(Path(sys.argv[2]), days)
    if number == 2:  # the judged bundle is gone from the work folder
        (work / "work" / "fresh" / "candidates").rename(work / "candidates")
    print(pipeline(PipelineParams(shop="fresh", recipe=recipe)).model_dump_json())
"""


def write_shop(folder: Path, n_days: int) -> None:
    """Users walk along the items for weeks; from some day on they also take an item that is new, most of them."""
    rng = random.Random(3)
    rows = []
    for user in range(N_USERS):
        day, item, has_late = user * 125 / N_USERS - 20, rng.randrange(N_ITEMS), False
        for step in range(6):
            when = day + step * 5
            takes_late = when > LATE_FROM_DAY and not has_late and rng.random() < 0.8
            has_late = has_late or takes_late
            name = LATE if takes_late else f"i{(item + step) % N_ITEMS}"
            if 0 <= when < n_days:
                rows.append((f"u{user:03d}", name, (START + timedelta(days=when)).isoformat()))
    names = [*(f"i{n}" for n in range(N_ITEMS)), LATE]
    write_tables(folder, rows, [(name, f"Thing {name}", name[-1]) for name in names])


@pytest.fixture(scope="module")
def runs(tmp_path_factory, run_flows):
    """The pipeline over the shop, over the same shop, over the shop with newer events: work folder, and outcomes."""
    root = tmp_path_factory.mktemp("fresh")
    gate = {"recipe.gate.beat_baseline": "off", "recipe.gate.min_queries": 10}
    settings = table_settings(root, SHOP, **{"recipe.sequence.max_epochs": 2}, **gate)
    return root / "work", run_flows(RUN, settings, settings.recipe.model_dump_json(), root / "data")


def promoted(work_dir: Path) -> list[tuple[Path, Manifest]]:
    """Every bundle that went into service, oldest first."""
    standing = read_standing(Layout(work_dir, SHOP).model_name)
    folders = [standing.folder / change.version for change in standing.changes]
    return [(folder, read_manifest(folder)) for folder in folders]


@pytest.fixture(scope="module")
def versions(runs, monkeypatch_module):
    monkeypatch_module.setenv("BENTOML_HOME", str(runs[0] / "bentoml"))
    return promoted(runs[0])


@pytest.fixture(scope="module")
def monkeypatch_module():
    with pytest.MonkeyPatch.context() as patch:
        yield patch


def test_what_is_promoted_knows_the_newest_fifth(runs, versions):
    work_dir, (first, *_) = runs
    folder, manifest = versions[0]
    judged = {read_manifest(path.parent).digest: path.parent for path in candidates(work_dir)}[manifest.judged]
    assert manifest.data.learned_until == manifest.data.last_event_at > manifest.data.test_at
    assert manifest.metrics["ranking"] == first["metrics"]["ranking"]
    known = {name: load_bundle(where).ranker for name, where in (("judged", judged), ("refit", folder))}
    assert {name: bool(one.model.learned[one.ids.index(LATE)]) for name, one in known.items()} == {
        "judged": False,
        "refit": True,
    }
    # As common as it has become: who is new is shown it first, where no event of it was learned it comes last.
    lists = {name: [item for item, _ in one.top_k([UserState()], N_ITEMS + 1)[0]] for name, one in known.items()}
    assert lists["refit"].index(LATE) < 3
    assert lists["judged"].index(LATE) == N_ITEMS


def candidates(work_dir: Path) -> list[Path]:
    return list((work_dir.parent / "candidates").glob("*/manifest.json"))


def test_the_cost_of_the_refit_is_in_the_table_of_steps(runs):
    first = [step["step"] for step in runs[1][0]["steps"]]
    again = ["training-set-full", "embed-catalogue", "fine-tune-sequence", "blend", "fit-explainer", "assemble-bundle"]
    assert [step for step in first if step.endswith("(refit)")] == [f"{name} (refit)" for name in again]
    assert first.index("gate") < first.index("training-set-full (refit)") < first.index("promote")


def test_nothing_new_fits_nothing_again(runs):
    _, (first, second, _) = runs
    done = {step["step"] for step in second["steps"]}
    assert not [name for name in done if name.endswith("(refit)")]
    assert not done & {"training-set", "embed-catalogue", "fine-tune-sequence", "blend", "evaluate", "promote"}
    assert (second["promoted"], second["in_service"]) == (False, first["in_service"])
    assert second["reason"].startswith("the same bundle is in service already")


def test_bundles_are_compared_on_what_neither_learned(runs, versions):
    """The champion learned up to its newest event, so that only what came after it counts."""
    third = runs[1][2]
    assert third["promoted"], third["reason"]
    learned_until, newer = versions[0][1].data.learned_until, versions[1][1].data
    opens = max(
        datetime.fromisoformat(learned_until) + timedelta(microseconds=1), datetime.fromisoformat(newer.test_at)
    )
    window = [moment[:16].replace("T", " ") for moment in (opens.isoformat(), newer.last_event_at)]
    assert f"users from {window[0]} to {window[1]} that neither bundle had learned from" in third["reason"]
    assert versions[1][1].data.learned_until > learned_until
