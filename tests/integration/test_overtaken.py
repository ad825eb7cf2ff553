"""A run that a refresh of the features overtakes goes on with the tables that it began with, and promotes."""

import random
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.integration.conftest import table_settings, write_tables

pytestmark = pytest.mark.long

START = datetime(2025, 1, 1, tzinfo=UTC)
N_ITEMS, N_USERS = 20, 150
# Twice the pipeline; between its fits and the gate the hourly flow runs, over one more event.
RUN = """
import json, sys
from pathlib import Path
import flows.pipeline
from core.settings.tree import Recipe
from features.archive.publication import require_published
from flows.params import PipelineParams
from flows.refresh_features import refresh_features
from tests.integration.test_overtaken import write_shop
params = PipelineParams(shop="busy", recipe=Recipe.model_validate_json(sys.argv[1]))
data, feast, learn = Path(sys.argv[2]), Path(sys.argv[3]), flows.pipeline.learn

def count_events():
    return sum(part.rows for part in require_published(feast).parts if part.table == "events")

def learn_while_an_event_comes_in(run, prepared):
    learned, before = learn(run, prepared), count_events()
    write_shop(data, days, n_late=1)
    refresh_features(params)
    print(json.dumps({"n_new": count_events() - before}))
    return learned

flows.pipeline.learn = learn_while_an_event_comes_in
for days in (100, 107):
    write_shop(data, days)
    print(flows.pipeline.pipeline(params).model_dump_json())
"""


def write_shop(folder: Path, n_days: int, n_late: int = 0) -> None:
    """Users walk along the items for weeks; when the last day is over some that come late take one each."""
    rng = random.Random(3)
    rows = []
    for user in range(N_USERS):
        day, item = user * 125 / N_USERS - 20, rng.randrange(N_ITEMS)
        walk = [(user, item + step, day + step * 5) for step in range(6)]
        rows += [event(*one) for one in walk if 0 <= one[-1] < n_days]
    rows += [event(user, 0, n_days) for user in range(n_late)]
    write_tables(folder, rows, [(f"i{n}", f"Thing {n}", str(n % 10)) for n in range(N_ITEMS)])


def event(user: int, item: int, day: float) -> tuple[str, str, str]:
    return f"u{user:03d}", f"i{item % N_ITEMS}", (START + timedelta(days=day)).isoformat()


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory, run_flows):
    """What became of each run; in each a refresh published newer features between the fits and the gate."""
    root = tmp_path_factory.mktemp("busy")
    gate = {"recipe.gate.beat_baseline": "off", "recipe.gate.min_queries": 10}
    settings = table_settings(root, "busy", **{"recipe.sequence.max_epochs": 2}, **gate)
    feast = root / "work" / "busy" / "feast"
    found = run_flows(RUN, settings, settings.recipe.model_dump_json(), root / "data", feast)
    assert [one["n_new"] for one in found[::2]] == [1, 1]
    return found[1::2]


def test_it_fits_again_on_everything_that_it_began_with_and_promotes(outcomes):
    for outcome in outcomes:
        assert outcome["promoted"], outcome["reason"]
        assert "training-set-full (refit)" in [step["step"] for step in outcome["steps"]]


def test_the_gate_asks_about_the_events_that_it_began_with(outcomes):
    """The second run is compared with the first on what neither learned: those queries are looked up at the gate."""
    assert "that neither bundle had learned from" in outcomes[1]["reason"]
