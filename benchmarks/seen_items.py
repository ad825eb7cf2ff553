"""What a long history costs a request: `python -m benchmarks.seen_items` prints p50 for 50 to 5,000 seen items.

`Engine.recommend` in this process: the online read from SQLite, ranking, masking of seen items, reasons. The ranker is
the sequence model of the default shape with random weights, without neighbours, whose time would only hide the cost of
masking; with `--blend` texts and popularity rank beside it. Users of each length take turns within a run, so that a
slow moment of the machine meets all of them; a figure is the median over the runs. The push of an event is timed too:
it reads and writes the user's whole row.
"""

from __future__ import annotations

import itertools
import statistics
import tempfile
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from benchmarks.harness import options
from benchmarks.harness.tables import print_table
from benchmarks.harness.timing import in_turns, timed
from core import schema
from core.logs.events import Interaction
from core.settings.features import FeatureSettings
from core.settings.tree import Recipe
from features.online import OnlineFeatures
from features.refresh import refresh_features
from recommender.bundle.loading import Bundle
from recommender.inputs.catalogue import Catalogue
from recommender.inputs.item_vectors import ItemVectors
from recommender.ranking.blend import Blend
from recommender.ranking.parts import Popularity, Retriever, TextLikeness
from recommender.ranking.ranker import Ranker
from recommender.retrieval.sequence.model import SequenceModel, SequenceShape
from serving.api.recommend import RecommendRequest
from serving.engine import Engine

LIMIT_RATIO = 1.1
START = datetime(2026, 1, 1, tzinfo=UTC)
TEXT_WIDTH = 384
USERS_PER_LENGTH = 5


def main(arguments: list[str] | None = None) -> None:
    """Build a shop in a temporary folder, and time requests."""
    parser = options.command(__doc__)
    parser.add_argument("--items", type=int, default=20_000)
    parser.add_argument("--lengths", type=int, nargs="+", default=[50, 500, 5000], help="numbers of seen items")
    parser.add_argument("--requests", type=int, default=200, help="of each length, per run")
    parser.add_argument("--pushes", type=int, default=20, help="of each length, per run")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--blend", action="store_true", help="rank by texts and popularity too")
    chosen = parser.parse_args(arguments)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        settings = FeatureSettings()
        _write_clean_tables(Path(name) / "clean", chosen.items, chosen.lengths)
        refresh_features(Path(name) / "clean", Path(name) / "feast", settings)
        online = OnlineFeatures(Path(name) / "feast", settings)
        engine = Engine(model="random:1", bundle=_bundle(chosen.items, chosen.blend), features=online, max_k=100)
        engine.warm()
        reads = [_read_times(engine, chosen.lengths, chosen.requests) for _ in range(chosen.runs)]
        pushed = [_push_times(online, chosen.lengths, chosen.pushes, run) for run in range(chosen.runs)]
    print(f"{chosen.items} items, k=10, medians of {chosen.runs} runs of {chosen.requests} requests")
    first = statistics.median(run[0] for run in reads)
    rows = []
    for place, length in enumerate(chosen.lengths):
        p50, push = (statistics.median(run[place] for run in runs) for runs in (reads, pushed))
        limit = f"ratio <= {LIMIT_RATIO:g}" if place else ""
        rows.append([str(length), f"{p50:.3f}", f"{p50 / first:.2f}", f"{push:.2f}", limit])
    print_table(["seen items", "p50 ms", "ratio", "push p50 ms", "limit"], rows)


def _read_times(engine: Engine, lengths: Sequence[int], n: int) -> list[float]:
    """The p50 of a request per length, milliseconds."""

    def read(length: int) -> Callable[[int], float]:
        def step(number: int) -> float:
            answer, seconds = timed(lambda: engine.recommend(RecommendRequest(user_id=_user(length, number))))
            assert not answer.cold_start
            return seconds

        return step

    return _medians_ms({length: read(length) for length in lengths}, n)


def _push_times(online: OnlineFeatures, lengths: Sequence[int], n: int, run: int) -> list[float]:
    """The p50 of pushing one event on an item seen before, milliseconds."""
    sequence = itertools.count(run * n * len(lengths) + 1)

    def push(length: int) -> Callable[[int], float]:
        def step(number: int) -> float:
            at = next(sequence)
            event = Interaction(f"push{at}", _user(length, number), "i0", "click", START + timedelta(days=365))
            return timed(lambda: online.push([event], [at]))[1]

        return step

    return _medians_ms({length: push(length) for length in lengths}, n)


def _medians_ms(steps: dict[int, Callable[[int], float]], n: int) -> list[float]:
    return [1000 * statistics.median(seconds) for seconds in in_turns(steps, n).values()]


def _user(length: int, number: int) -> str:
    return f"u{length}-{number % USERS_PER_LENGTH}"


def _write_clean_tables(clean: Path, n_items: int, lengths: Sequence[int]) -> None:
    """Users who viewed as many random items as their length says, one a minute."""
    generator = np.random.default_rng(7)
    users = [_user(length, number) for length in lengths for number in range(USERS_PER_LENGTH)]
    events = []
    for user in users:
        length = int(user[1:].partition("-")[0])
        # All share the newest 50 items, so that their answers differ only by what is masked.
        items = [*generator.choice(np.arange(50, n_items), length - 50, replace=False).tolist(), *range(50)]
        events += [
            {
                schema.EVENT_ID: f"{user}-{place}", schema.USER_ID: user, schema.ITEM_ID: f"i{item}",
                schema.EVENT: "view", schema.TIMESTAMP: START + timedelta(minutes=place), schema.POSITION: place,
            }
            for place, item in enumerate(items)
        ]  # fmt: skip
    rows: dict[schema.TableName, list[dict[str, object]]] = {
        "users": [{schema.USER_ID: user} for user in users],
        "items": [{schema.ITEM_ID: f"i{n}", schema.TITLE: f"Item {n}"} for n in range(n_items)],
        "interactions": events,
        "feedback": [],
    }
    clean.mkdir()
    for name, table in rows.items():
        pq.write_table(pa.Table.from_pylist(table, schema=schema.TABLES[name].arrow()), clean / f"{name}.parquet")


def _bundle(n_items: int, is_blend: bool) -> Bundle:
    """A ranker of random weights over the catalogue, or its blend with texts and popularity, and nothing else."""
    recipe, generator = Recipe(), np.random.default_rng(7)
    rows = [
        {
            schema.ITEM_ID: f"i{n}", schema.TITLE: f"Item {n}", schema.ITEM_TEXT: f"Item {n}",
            schema.ITEM_N_EVENTS: 1, schema.ITEM_N_RATINGS: 0,
        }
        for n in range(n_items)
    ]  # fmt: skip
    table = pa.Table.from_pylist(rows, schema=schema.TRAINING_TABLES["catalogue"])
    content = generator.normal(size=(n_items, TEXT_WIDTH)).astype(np.float32)
    vectors = ItemVectors.from_rows(Catalogue.from_table(table, seed=7), content)
    shape = SequenceShape(
        n_items=n_items, text_width=TEXT_WIDTH, width=recipe.sequence.width, n_blocks=recipe.sequence.n_blocks,
        n_heads=recipe.sequence.n_heads, max_history=recipe.features.max_history, use_ids=True, use_text=True,
    )  # fmt: skip
    learned = torch.ones(n_items + 1, dtype=torch.bool)
    learned[0] = False
    torch.manual_seed(7)
    ranker = Ranker(vectors, SequenceModel(shape, vectors.text, learned))
    if is_blend:
        parts: dict[str, Retriever] = {"text": TextLikeness(vectors), "popularity": Popularity(vectors)}
        blend = Blend("weighted", {"sequence": 1.0, "text": 0.5, "popularity": 0.1})
        ranker = Ranker(vectors, ranker.model, parts, blend)
    # Of the manifest the recipe alone is read to recommend.
    manifest = SimpleNamespace(recipe=recipe)
    return Bundle(Path(), manifest, vectors.catalogue, ranker, None, None)  # type: ignore[arg-type]


if __name__ == "__main__":
    main()
