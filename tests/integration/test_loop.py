"""The loop on a tiny shop: drift, a look, its event, an automation, a retraining, the gate, all on the time line."""

import json
import time
from datetime import UTC, datetime, timedelta
from itertools import product
from pathlib import Path

import psutil
import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

from monitoring.answers.replay import read_replay_days
from tests.faults.shop import START, USERS, event, recipe_of, write_source
from tests.integration.served_shop import ServedShop

SHOP = "looped"
EAGER = {"looks": 1, "min_new_events": 5, "min_new_share": 0.0, "cooldown_h": 0.0}


@pytest.fixture(scope="module")
def shop(tmp_path_factory, prefect_server, flow_environment):
    with temporary_settings({PREFECT_API_URL: prefect_server}):
        work_dir = tmp_path_factory.mktemp("looped")
        source = write_shop(work_dir / "source")
        given = [f"loop.retraining={json.dumps(EAGER)}"]
        served = ServedShop(work_dir, SHOP, recipe_of(source), flow_environment, given)
        try:
            yield served
        finally:
            served.close()


def past():
    """Four quiet months before the shop's week, and after it as before: alarms are calibrated on them."""
    for day, number in product(range(130), range(len(USERS))):
        if (day * 7 + number) % 3:
            at = START - timedelta(days=120 - day) + timedelta(minutes=30 * number)
            item = f"cellar-{(number * 5 + day // 6) % 40}"  # something new for each every six days
            yield event(f"past-{day}-{number}", USERS[number], item, at.isoformat(), "view")


def drift(source):
    """The shop's users put new and dear things into their carts, for days."""
    moments = [START + timedelta(days=8, minutes=30 * number) for number in range(320)]
    carts = [
        event(
            f"drift-{number}", USERS[number % len(USERS)], f"cider-{number // len(USERS)}", moment.isoformat(), "cart"
        )
        for number, moment in enumerate(moments)
    ]
    return write_shop(source, carts)


def write_shop(source, more=()):
    """The shop's export, with its quiet past and further events."""
    write_source(source, [*past(), *more])
    shelves = [("cellar", number, 9) for number in range(40)] + [("cider", number, 400) for number in range(20)]
    with (source / "items.jsonl").open("a", encoding="utf-8") as items:
        for shelf, number, price in shelves:
            row = {"item_id": f"{shelf}-{number}", "title": f"{shelf} {number}", "category": shelf, "price": price}
            items.write(json.dumps(row) + "\n")
    return source


@pytest.mark.long
def test_drift_leads_to_a_retraining_and_all_of_it_stands_on_the_time_line(shop):
    assert shop.end_of(shop.start("pipeline")).type.value == "COMPLETED"
    before = shop.timeline.read()
    assert [(entry.kind, entry.state) for entry in before] == [
        ("run", "completed"),
        ("gate", "promoted"),
        ("promotion", "done"),
    ]

    drift(Path(shop.recipe.source.path))
    looked_at = datetime.now(UTC)
    assert shop.end_of(shop.start("monitor")).type.value == "COMPLETED"
    shop.wait_for("decision", "started")
    run = shop.wait_for("run", "completed")
    told = [entry for entry in shop.timeline.read(since=looked_at) if entry.id > before[-1].id]
    kinds = {entry.kind: entry for entry in told}
    assert {"alarm", "decision", "run", "gate"} <= kinds.keys()
    # What users did since the bundle learned was replayed through it.
    assert {day.promise.keys() >= {"rank", "ndcg"} for day in read_replay_days(shop.layout.watched)} == {True}
    named = next(entry for entry in told if entry.kind == "alarm")  # the cause; others follow from it
    assert (named.subject, named.state) == ("data.items.category.new_values", "on")
    assert kinds["decision"].cause == named.id
    assert kinds["decision"].subject == run.subject == "fine-tune"
    assert run.cause == kinds["decision"].id
    assert kinds["gate"].cause == run.id


@pytest.mark.long
def test_a_run_that_is_killed_is_said_to_have_crashed(shop):
    run = shop.start("fine-tune")
    entry = shop.wait_for("run", "running")
    assert entry.details["flow_run_id"] == str(run)
    for process in psutil.Process(shop.runner.pid).children(recursive=True):
        if str(run) in " ".join([*process.cmdline(), *process.environ().values()]):
            process.kill()
    shop.end_of(run)
    deadline = time.monotonic() + 60
    while shop.timeline.find(entry.id).state == "running":
        assert time.monotonic() < deadline, "the runner did not say how it ended"
        time.sleep(0.2)
    assert shop.timeline.find(entry.id).state == "crashed"
