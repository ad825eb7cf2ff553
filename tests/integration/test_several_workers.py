"""Several workers take in events of one shop at once: the log and the online store lose none of them."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

from core.logs.events import EventLog
from features.online import OnlineFeatures
from features.refresh import refresh_features
from recommender.inputs.seen import item_keys
from serving.events.intake import EventIntake
from tests.integration.serving_shop import ITEMS, RECIPE, write_clean_tables

N_WORKERS, N_EVENTS = 2, 60
USER = "u00"
WORKER = """
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

from core.events import Interaction
from core.logs.events import EventLog
from features.online import OnlineFeatures
from serving.events.intake import EventIntake
from tests.integration.serving_shop import ITEMS, RECIPE

folder, number, n_workers, n_events, user = Path(sys.argv[1]), *map(int, sys.argv[2:5]), sys.argv[5]
intake = EventIntake(EventLog(folder / "events.sqlite"))
online = OnlineFeatures(folder / "feast", RECIPE.features)
online.read_user(user)  # opens the store
intake.connect(online)
print("ready", flush=True)
sys.stdin.readline()
start = datetime(2026, 5, 1, tzinfo=UTC)
for place in range(n_events):
    item = ITEMS[(place * n_workers + number) % len(ITEMS)]
    event = Interaction(f"w{number}-{place}", user, item, "click", start + timedelta(seconds=place))
    assert intake.accept([event]).accepted == 1
while not intake.push_pending():
    pass
"""


def test_no_event_of_one_user_is_lost_between_two_processes(tmp_path: Path) -> None:
    write_clean_tables(tmp_path / "clean")
    refresh_features(tmp_path / "clean", tmp_path / "feast", RECIPE.features)
    online = OnlineFeatures(tmp_path / "feast", RECIPE.features)
    before = online.read_user(USER)
    assert before is not None
    arguments = [str(N_WORKERS), str(N_EVENTS), USER]
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER, str(tmp_path), str(number), *arguments],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        for number in range(N_WORKERS)
    ]  # fmt: skip
    for worker in workers:
        assert worker.stdout is not None
        assert worker.stdout.readline() == "ready\n"
    for worker in workers:
        worker.communicate("go\n", timeout=240)
    assert [worker.returncode for worker in workers] == [0] * N_WORKERS

    after = online.read_user(USER)
    assert after is not None
    assert after.features["n_events"] == before.features["n_events"] + N_WORKERS * N_EVENTS
    assert after.seen is not None
    assert set(after.seen.keys.tolist()) == set(item_keys(ITEMS).tolist())
    (popular,) = online.read_items([ITEMS[0]], datetime(2026, 5, 2, tzinfo=UTC))["item_n_clicks"]
    assert popular == N_WORKERS * N_EVENTS / len(ITEMS)
    log = EventLog(tmp_path / "events.sqlite")
    assert log.count() == N_WORKERS * N_EVENTS
    assert EventIntake(log).n_pending() == 0
    log.close()
