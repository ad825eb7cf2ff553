"""A small shop that a person was in: source rows, attributes, a review, events, quarantined and readmitted rows.

`python -m tests.integration.remembering_shop` lives through all of it in one process, with or without the person.
"""

from __future__ import annotations

import csv
import random
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from core.layout import Layout
from core.logs.events import EventLog, Interaction
from core.overrides import Overrides
from core.settings.loading import load_settings
from core.settings.tree import Recipe, Settings
from flows.environment import child_environment
from tests.integration.conftest import small_overrides

PERSON = "pérson-4711/Ä x"
ITEMS, DAYS, USERS = 30, 120, 60
START = datetime(2025, 1, 1, tzinfo=UTC)
_SMALLER = {
    "recipe.generative.enabled": False,
    "recipe.sequence.max_epochs": 1,
    "recipe.writer.max_steps": 3,
    "recipe.scorer.max_epochs": 1,
}
_SIMULATED = ("recipe.source.n_users", "recipe.source.n_items", "recipe.source.n_days")


def write_source(folder: Path, *people: str) -> Path:
    """Tables of a shop; the rows of `people` come last in each, and leave no other trace."""
    chance = random.Random(3)
    folder.mkdir(parents=True)
    users = [[f"u{n:03d}", ("cook", "clerk", "nurse")[n % 3]] for n in range(USERS)]
    items = [
        [f"i{n:02d}", f"{('Red', 'Blue', 'Green')[n % 3]} thing {n}", f"Kind {n % 4}", 2.5 + n] for n in range(ITEMS)
    ]
    events = [["e0", "u000", "i00", "rating", "9000", START.isoformat()]]
    reviews = []
    for n in range(USERS * 12):
        user, item = f"u{n % USERS:03d}", f"i{min(chance.randrange(ITEMS), chance.randrange(ITEMS)):02d}"
        moment = (START + timedelta(hours=n * 24 * DAYS / (USERS * 12))).isoformat()
        kind, value = ("rating", chance.randint(1, 5)) if chance.random() < 0.5 else ("view", "")
        events.append([f"e{n + 1}", user, item, kind, str(value), moment])
        if n % 9 == 0:
            reviews.append([user, item, chance.randint(1, 5), f"A fine thing number {n}, I say.", moment])
    for person in people:
        users.append([person, "spy"])
        for n in range(6):
            moment = (START + timedelta(days=20 + 15 * n)).isoformat()
            events.append([f"p{n}", person, f"i{n:02d}", "rating", "5", moment])
        events.append(["p-bad", person, "i07", "rating", "many", START.isoformat()])  # both go to quarantine
        events.append(["p-worse", person, "i08", "rating", "lots", START.isoformat()])
        reviews.append([person, "i01", 5, "Nothing escapes me.", (START + timedelta(days=35)).isoformat()])
    tables = {
        "users": (["user_id", "job"], users),
        "items": (["item_id", "title", "category", "price"], items),
        "interactions": (["event_id", "user_id", "item_id", "event", "value", "timestamp"], events),
        "feedback": (["user_id", "item_id", "rating", "text", "timestamp"], reviews),
    }
    for name, (header, rows) in tables.items():
        with (folder / f"{name}.csv").open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([header, *rows])
            if name == "interactions":
                # A row with a field too many cannot be read.
                file.writelines(f'x,"{person}",i03,view,,{START.isoformat()},torn\r\n' for person in people)
    return folder


class Shop:
    """A shop in a work folder of its own.

    Args:
        server: Address of a Prefect server; its own, which has to be started, by default.
        stores: Where features are kept, as settings.
    """

    def __init__(self, work: Path, *people: str, server: str = "", stores: dict[str, str] | None = None) -> None:
        self.work, self.people = work, people
        source = write_source(work.parent / f"{work.name}-source", *people)
        more = {"recipe.source": {"kind": "tables", "path": str(source)}, **_SMALLER, **(stores or {})}
        self.overrides = [one for one in small_overrides(work, **more) if not one.startswith(_SIMULATED)]
        self.settings: Settings = load_settings(overrides=self.overrides)
        self.layout = Layout(work, "small")
        self.environment = child_environment(self.settings)
        if server:
            self.environment["PREFECT_API_URL"] = server

    def begin(self) -> subprocess.Popen[str]:
        """Start a process in which the shop lives through everything."""
        return self.start(
            "-m", "tests.integration.remembering_shop", self.settings.recipe.model_dump_json(), *self.people
        )

    def command(self, *words: str) -> str:
        """Run a command of the command line."""
        options = [word for override in self.overrides for word in ("--set", override)]
        return finish(self.start("-m", "cli", *words, *options))

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start Python in the shop's environment."""
        return subprocess.Popen(
            [sys.executable, *arguments],
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )


def finish(process: subprocess.Popen[str]) -> str:
    """Wait for a process to end well; what it said."""
    said, _ = process.communicate(timeout=500)
    assert process.returncode == 0, said[-5000:]
    return said


def live(recipe: Recipe, *people: str) -> None:
    """Validate, let a corrected row in again, take events in, and run the pipeline on all of it."""
    from features.online import OnlineFeatures
    from flows.environment import current_settings
    from flows.last_validation import require_validation
    from flows.params import PipelineParams
    from flows.pipeline import pipeline
    from flows.refresh_features import refresh_features
    from validation.quarantine.readmission import readmit, select

    params = PipelineParams(shop="small", recipe=recipe)
    refresh_features(params)
    layout = Layout(current_settings().work_dir, "small")
    quarantined = select(require_validation(layout).quarantine)
    bad = [row for row in quarantined if row.values["event_id"] == "p-bad"]
    readmit([replace(row, values={**row.values, "value": "4"}) for row in bad], layout.readmitted)
    events = [
        Interaction(f"logged-{n}-{user}", user, f"i{n:02d}", "view", START + timedelta(days=DAYS + n))
        for user in ("u001", *people)
        for n in range(3)
    ]
    log = EventLog(layout.events, above=0)
    log.append(events)
    OnlineFeatures(layout.feast, recipe.features).push(events, range(1, len(events) + 1))
    log.mark_pushed(len(events))
    log.close()
    overrides = Overrides(layout.overrides)
    overrides.patch("items", "i03", {"price": 4.0}, {"colour": "red"})
    for user in ("u001", *people):
        overrides.patch("users", user, {}, {"job": "retired"})
    pipeline(params)


if __name__ == "__main__":
    live(Recipe.model_validate_json(sys.argv[1]), *sys.argv[2:])
