"""Grounded reasons: `python -m benchmarks.grounded_reasons --source amazon-2014 --data FOLDER`.

The data go through the product's own reader, data gate, feature store and time split. Reasons are fitted on the
training window and asked for, in the engine, for what users took in the test window. Each fact that is said is looked
up again in the shop's tables, by other code than made it.

precision: share of facts that the tables support; of others: the same, had they been said of another item. hit: of the
test window's reviews that liked their item and speak of a fact that a review can speak of, how often the first such
fact by relevance is one of them; beside it the same where the fact of most support comes first, and for a random one.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness import options
from benchmarks.harness.datasets import Dataset, open_dataset
from benchmarks.harness.tables import print_table
from benchmarks.harness.timing import timed
from core import schema
from core.settings.evaluation import BaselineKind
from core.settings.tree import Recipe
from recommender.bundle.assembly import assemble_bundle
from recommender.bundle.data_range import DataRange
from recommender.bundle.loading import load_bundle
from recommender.bundle.manifest import Component
from recommender.evaluation.baselines import fit_baseline
from recommender.evaluation.reasons.evaluation import (
    Said,
    of_others,
    pairs_of,
    read_users,
    shop_of,
    supported,
)
from recommender.explaining.counting import of_split
from recommender.explaining.examples import speaks_of
from recommender.explaining.facts import SPOKEN_OF, Fact
from recommender.explaining.training import fit_explainer
from recommender.fitting.context import FitContext
from recommender.inputs.item_moments import ItemsThen
from recommender.inputs.queries import read_queries
from recommender.inputs.seen import SeenItems
from recommender.inputs.user import UserState
from recommender.metrics.texts import words
from recommender.retrieval.text.embedding import embed_catalogue
from serving.api.feedback import Feedback, FeedbackRequest
from serving.engine import Engine

# A text encoder alone: which items of a history are nearest is told by their texts.
RANKER: BaselineKind = "text_encoder"
HEAD = (
    "seed", "reasons", "facts", "precision", "of others", "facts each", "p50 ms", "p99 ms", "fit CPU s", "hit",
    "by support", "at random",
)  # fmt: skip


def main(arguments: list[str] | None = None) -> None:
    """Fit and ask once per seed."""
    parser = options.command(__doc__)
    options.add_source(parser, kind="amazon-2014")
    options.add_fits(parser, n_seeds=1)
    options.add_recipe(parser)
    parser.add_argument("--reasons", type=int, default=500, help="reasons to ask for (default: 500)")
    parser.add_argument("--show", type=int, default=5, help="reasons to print, drawn by the seed (default: 5)")
    chosen = options.parse(parser, arguments)
    recipe = options.recipe_of(chosen, "encoder.fine_tune=none")
    rows, said, unsupported = [], Counter[str](), Counter[str]()
    with open_dataset(recipe, chosen.cache) as data:
        for seed in options.seeds_of(chosen):
            measured = measure(data, recipe, seed, chosen)
            rows.append(measured.cells)
            said += measured.said
            unsupported += measured.unsupported
            print("\n".join(measured.shown), flush=True)
    print()
    print_table(HEAD, rows)
    print()
    kinds = [[kind, str(n), str(unsupported[kind])] for kind, n in said.most_common()]
    print_table(("kind of fact", "said", "not supported"), kinds)


@dataclass(frozen=True)
class Measured:
    """Of one seed: the cells of its row, facts by kind, and some reasons."""

    cells: list[str]
    said: Counter[str]
    unsupported: Counter[str]
    shown: list[str]


def measure(data: Dataset, recipe: Recipe, seed: int, chosen: argparse.Namespace) -> Measured:
    """Fit, ask for reasons, and look up what they say."""
    training, summary = data.time_split()
    fit = FitContext(training, seed, threads=chosen.threads)
    users = read_users(training, read_queries(training, "test"))
    engine, seconds = fitted(training, data.work / str(seed), recipe, fit, Users(users))
    answers, times = ask(engine, pairs_of(read_queries(training, "test"), engine.bundle, chosen.reasons, seed))
    cut, opens = (datetime.fromisoformat(moment) for moment in (summary.validation_at, summary.test_at))
    facts = [said_in(answer) for answer in answers]
    shop = shop_of(engine.bundle, data.clean_tables(), cut, opens, facts)
    said, unsupported = supported(shop, facts)
    _, wrong_of_others = supported(shop, of_others(facts))
    n = max(sum(said.values()), 1)
    p50, p99 = np.percentile(times, [50, 99])
    cells = [
        str(seed), str(len(answers)), str(n),
        *(f"{1 - sum(wrong.values()) / n:.3f}" for wrong in (unsupported, wrong_of_others)),
        f"{n / len(answers):.2f}", f"{p50:.1f}", f"{p99:.1f}", f"{seconds:.0f}",
        *(f"{100 * share:.0f} %" for share in hits(engine, training, recipe)),
    ]  # fmt: skip
    places = np.random.default_rng(seed).choice(len(answers), min(chosen.show, len(answers)), replace=False)
    return Measured(cells, said, unsupported, [f"{answers[p].item_id}: {answers[p].text}" for p in sorted(places)])


def ask(engine: Engine, pairs: Sequence[tuple[str, str]]) -> tuple[list[Feedback], list[float]]:
    """A reason for each user and item, and the milliseconds that each took."""
    answers, times = [], []
    for number, (user_id, item_id) in enumerate(pairs):
        request = FeedbackRequest(user_id=user_id, item_id=item_id, kind="reason", seed=number)
        answer, seconds = timed(lambda request=request: engine.feedback(request))  # type: ignore[misc]
        answers.append(answer)
        times.append(1000 * seconds)
    return answers, times


def said_in(answer: Feedback) -> Said:
    """The facts of an answer, as they were found."""
    facts = [
        Fact(one.kind, one.value, one.support, one.numbers, tuple(one.item_ids), tuple(one.opinions))
        for one in answer.facts
    ]
    return Said(str(answer.user_id), answer.item_id, tuple(facts))


def fitted(training: Path, folder: Path, recipe: Recipe, fit: FitContext, users: Users) -> tuple[Engine, float]:
    """An engine with a bundle that gives reasons, and the seconds of processor time that their fit took."""
    embed_catalogue(fit, folder / "vectors", recipe.encoder, recipe.modality)
    fit_baseline(fit, RANKER, folder / "vectors", folder / "baseline", recipe)
    started = time.process_time()
    summary = fit_explainer(fit, folder / "vectors", folder / "explainer", recipe.reasons)
    seconds = time.process_time() - started
    if summary is None:
        raise SystemExit("too few choices to learn from")
    nothing = DataRange(fingerprint="", first_event_at="", last_event_at="", validation_at="", test_at="", rows={})
    names: tuple[Component, ...] = ("vectors", "baseline", "explainer")
    parts = {name: folder / name for name in names}
    described: dict[str, Any] = {"shop": "benchmark", "recipe": recipe, "data": nothing, "code_version": ""}
    assemble_bundle(folder / "bundle", components=parts, kind=RANKER, **described)
    return Engine(model="benchmark:1", bundle=load_bundle(folder / "bundle"), features=users, max_k=10), seconds


class Users:
    """The users as the test window opens, in the place of an online store."""

    def __init__(self, states: Mapping[str, UserState]) -> None:
        self._states = states

    def read_user(self, user_id: str, at: datetime | None = None) -> UserState | None:
        return self._states.get(user_id)

    def read_seen(self, user_id: str, within_days: float, at: datetime | None = None) -> SeenItems:
        raise AssertionError("reasons look at nothing that was seen")

    def items_at(self, at: datetime | None = None) -> ItemsThen:
        raise AssertionError("this ranker reads no items as of the moment")

    def read_items(self, item_ids: Sequence[str]) -> Mapping[str, Any]:
        raise AssertionError("reasons read no items as of the moment")


def hits(engine: Engine, training: Path, recipe: Recipe) -> tuple[float, float, float]:
    """Shares of test reviews whose first fact is spoken of: by relevance, by support, at random."""
    explainer, nearest = engine.bundle.explainer, engine.bundle.ranker.nearest_history
    assert explainer is not None
    columns = [
        schema.ITEM_ID, schema.RATING, schema.TEXT, schema.HISTORY_ITEMS, schema.HISTORY_VALUES, schema.HISTORY_EVENTS,
        schema.OWN_WORDS, schema.ATTRIBUTES,
    ]  # fmt: skip
    found: list[tuple[float, float, float]] = []
    for row in of_split(training, "reviews", "test", columns):
        if row[schema.RATING] is not None and row[schema.RATING] < 4:
            continue
        ranked = explainer.ranked(UserState.from_row(row), row[schema.ITEM_ID], nearest)
        facts = [fact for fact, _ in ranked if fact.kind in SPOKEN_OF]
        text = frozenset(words(row[schema.TEXT]))
        spoken = [speaks_of(text, fact, recipe.reasons.language) for fact in facts]
        if any(spoken):
            strongest = max(range(len(facts)), key=lambda place: _support(facts[place]))
            found.append((float(spoken[0]), float(spoken[strongest]), sum(spoken) / len(spoken)))
    first, by_support, at_random = np.mean(found, axis=0) if found else (0.0, 0.0, 0.0)
    return float(first), float(by_support), float(at_random)


def _support(fact: Fact) -> int:
    return fact.support


if __name__ == "__main__":
    main()
