"""Generated items are valid: `python -m benchmarks.generative_validity` prints what comes out of 100,000 of them.

Half of the histories are users', half are random items; every other request has a random filter beside its seen items.
The peer is the same network trained over all codes of a level, as published (TIGER), and decoded by a beam of the same
width that knows neither trie nor filter: what is no item, or not allowed, is counted. items/s counts good ones, in
batches of 32; p50 is of one request at a time. All on one thread.

Without --data the catalogue is made up. With it, FOLDER is read by the product's reader of kind `tables`, strict
leave-one-out, and a second table has the ranking: R@10 and N@10 of the whole catalogue, seen items masked; the figures
of TIGER are the paper's own.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from core import schema
from core.settings.loading import load_settings
from core.settings.source import TablesSource
from core.settings.tree import Recipe
from recommender.fitting.context import FitContext
from recommender.inputs.catalogue import Catalogue
from recommender.inputs.item_vectors import ItemVectors
from recommender.inputs.protocols import write_leave_one_out
from recommender.inputs.queries import read_queries
from recommender.metrics.ranking_evaluation import evaluate_ranker
from recommender.metrics.top_k import Scores
from recommender.ranking.ranker import Ranker
from recommender.retrieval.generative.model import GenerativeModel, load_generative_model, right_padded
from recommender.retrieval.generative.ranker import GenerativeRanker
from recommender.retrieval.generative.search import search
from recommender.retrieval.generative.training import fit_generative
from recommender.retrieval.popularity import PopularityRanker
from recommender.retrieval.sequence.fit import fit_sequence
from recommender.retrieval.sequence.model import load_sequence_model
from recommender.retrieval.text.embedding import embed_catalogue
from recommender.retrieval.text.ranker import TextRanker
from validation.gate import validate
from validation.sources.ingest import ingest

K = 10
SEED = 0
MADE_UP_GROUPS = 40
TIGER = (0.0648, 0.0384)

BATCH = 32
TIMED_ALONE = 200
NO_ITEM = 0

# A history as item indices, and what the request allows: shape (n_items,), bool.
Request = tuple[list[int], torch.Tensor]
# Histories, right-padded, and what each allows -> per history K item indices, NO_ITEM for what is none.
Search = Callable[[torch.Tensor, torch.Tensor], list[list[int]]]


@dataclass
class Tally:
    """What came out of one way of searching."""

    generated: int = 0
    no_item: int = 0
    not_allowed: int = 0
    repeated: int = 0
    short_lists: int = 0
    seconds: float = 0.0
    milliseconds: list[float] = field(default_factory=list)


def main(arguments: list[str] | None = None) -> None:
    """Fit both networks, generate, count."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="a folder of tables; a made-up catalogue without it")
    parser.add_argument("--generated", type=int, default=100_000, help="items to generate, at least")
    parser.add_argument("--items", type=int, default=2000, help="of the made-up catalogue")
    parser.add_argument("--set", action="append", default=[], metavar="a.b=value", help="of the recipe")
    parser.add_argument("--no-sequence", action="store_true", help="leave the sequence model out of the ranking")
    chosen = parser.parse_args(arguments)
    recipe = load_settings(overrides=[f"recipe.{one}" for one in chosen.set]).recipe
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        training, vectors = Path(name) / "training", Path(name) / "vectors"
        if chosen.data is None:
            _make_up(training, vectors, chosen.items)
        else:
            _read(chosen.data, training, vectors, recipe)
        for softmax in ("trie", "codes"):
            settings = recipe.generative.model_copy(update={"softmax": softmax})
            history = recipe.features.max_history
            fit_generative(
                FitContext(training, SEED, k=K, threads=1, progress=print),
                vectors,
                Path(name) / softmax,
                settings,
                history,
            )
        items = ItemVectors.load(vectors)
        models = {softmax: load_generative_model(Path(name) / softmax, items) for softmax in ("trie", "codes")}
        _print_validity(training, items, models, chosen.generated)
        if chosen.data is not None:
            _print_ranking(training, vectors, models, recipe, Path(name), not chosen.no_sequence)


def _read(data: Path, training: Path, vectors: Path, recipe: Recipe) -> None:
    folder = training.parent
    ingest(TablesSource(path=data), folder / "raw")
    validate(folder / "raw", folder / "clean", recipe.validation, folder / "docs")
    write_leave_one_out(folder / "clean", training, "strict")
    embed_catalogue(FitContext(training, SEED, threads=1, progress=print), vectors, recipe.encoder)


def _make_up(training: Path, vectors: Path, n_items: int) -> None:
    """Users walk through a group of items each; the vectors of a group's items are alike."""
    generator = np.random.default_rng(SEED)
    names = [f"i{number}" for number in range(n_items)]
    groups = generator.integers(0, MADE_UP_GROUPS, n_items)
    members = [np.flatnonzero(groups == group) for group in range(MADE_UP_GROUPS)]
    walks: list[list[str]] = []
    for group in generator.integers(0, MADE_UP_GROUPS, n_items):
        taken = generator.permutation(members[group])[: generator.integers(5, 20)]
        walks.append([names[place] for place in taken])
    counts = dict.fromkeys(names, 0)
    for walk in walks:
        for item in walk[:-1]:
            counts[item] += 1
    none = {schema.ITEM_N_RATINGS: 0}
    catalogue = [
        {schema.ITEM_ID: name, schema.ITEM_TEXT: name, schema.ITEM_N_EVENTS: counts[name], **none} for name in names
    ]
    known = [{schema.USER_ID: f"u{n}", **_history(walk[:-1])} for n, walk in enumerate(walks)]
    queries = [
        {**row, schema.SPLIT: "validation", schema.TARGETS: walk[-1:]} for row, walk in zip(known, walks, strict=True)
    ]
    training.mkdir()
    for name, rows in (("catalogue", catalogue), ("sequences", known), ("queries", queries)):
        pq.write_table(pa.Table.from_pylist(rows, schema=schema.TRAINING_TABLES[name]), training / f"{name}.parquet")
    order = Catalogue.read(training, SEED)
    places = [names.index(item) for item in order.ids]
    content = generator.normal(size=(MADE_UP_GROUPS, 32))[groups] + 0.5 * generator.normal(size=(n_items, 32))
    content /= np.linalg.norm(content, axis=1, keepdims=True)
    vectors.mkdir()
    ItemVectors.from_rows(order, content[places]).save(vectors)


def _history(items: Sequence[str]) -> dict[str, object]:
    return {schema.HISTORY_ITEMS: list(items), schema.HISTORY_VALUES: [None] * len(items)}


def _requests(training: Path, items: ItemVectors, n: int) -> list[Request]:
    generator = np.random.default_rng(SEED)
    users, n_items = read_queries(training, "validation").users, len(items.ids)
    requests: list[Request] = []
    for number in range(n):
        if number % 2:
            history = generator.choice(n_items, generator.integers(0, min(50, n_items // 2)), replace=False) + 1
        else:
            user = users[generator.integers(len(users))]
            history = np.array(items.ids.known_indices(user.items), dtype=np.int64)
        # At least k items are left, from a few to all of them.
        share = 1.0 if number % 4 < 2 else generator.uniform() ** 3
        allowed = generator.uniform(size=n_items) <= share
        allowed[generator.choice(n_items, 2 * K + len(history), replace=False)] = True
        allowed[history - 1] = False
        requests.append((history.tolist(), torch.from_numpy(allowed)))
    return requests


@torch.inference_mode()
def _unconstrained(model: GenerativeModel, history: torch.Tensor, width: int) -> torch.Tensor:
    """A plain beam over all codes of every level. Shape (B, width, L)."""
    n, states = len(history), model.last_states(history)
    codes, scores = torch.zeros(n, 1, 0, dtype=torch.int64), torch.zeros(n, 1)
    for level, size in enumerate(model.shape.sizes):
        kept = codes.shape[1]
        decoded = model.decode(states.repeat_interleave(kept, dim=0), codes.flatten(0, 1))[:, -1]
        following = model.logits(level, decoded).log_softmax(dim=-1).view(n, kept, size)
        scores, places = (scores.unsqueeze(2) + following).flatten(1).topk(min(width, kept * size), dim=1)
        before = codes.gather(1, (places // size).unsqueeze(2).expand(-1, -1, level))
        codes = torch.cat([before, (places % size).unsqueeze(2)], dim=2)
    return codes


def _constrained(model: GenerativeModel) -> Search:
    def find(history: torch.Tensor, allowed: torch.Tensor) -> list[list[int]]:
        found = search(model, history, model.shape.beam_width, allowed)[0][:, :K]
        return [[item for item in row if item] for row in found.tolist()]

    return find


def _free(model: GenerativeModel) -> Search:
    known = {tuple(row): index for index, row in enumerate(model.codes.tolist(), 1)}

    def find(history: torch.Tensor, _: torch.Tensor) -> list[list[int]]:
        codes = _unconstrained(model, history, model.shape.beam_width)[:, :K]
        return [[known.get(tuple(one), NO_ITEM) for one in row] for row in codes.tolist()]

    return find


def _generate(find: Search, requests: Sequence[Request], max_history: int) -> Tally:
    """In batches, for the counts and the throughput; the first requests once more, one at a time."""
    tally = Tally()
    for start in range(0, len(requests), BATCH):
        batch = requests[start : start + BATCH]
        read = right_padded([history for history, _ in batch], max_history)
        allowed = torch.stack([mask for _, mask in batch])
        started = time.perf_counter()
        lists = find(read, allowed)
        tally.seconds += time.perf_counter() - started
        for listed, mask in zip(lists, allowed, strict=True):
            good = {item for item in listed if item != NO_ITEM and mask[item - 1]}
            tally.generated += len(listed)
            tally.no_item += listed.count(NO_ITEM)
            tally.not_allowed += sum(item != NO_ITEM and item not in good for item in listed)
            tally.repeated += len(listed) - listed.count(NO_ITEM) - len({*listed} - {NO_ITEM})
            tally.short_lists += len(good) < K
    for history, mask in requests[:TIMED_ALONE]:
        started = time.perf_counter()
        find(right_padded([history], max_history), mask[None])
        tally.milliseconds.append(1000 * (time.perf_counter() - started))
    return tally


def _print_validity(training: Path, items: ItemVectors, models: dict[str, GenerativeModel], n_generated: int) -> None:
    requests = _requests(training, items, -(-n_generated // K))
    shape = models["trie"].shape
    tallies = {
        "sommelier": _generate(_constrained(models["trie"]), requests, shape.max_history),
        "unconstrained": _generate(_free(models["codes"]), requests, shape.max_history),
    }
    print(f"\n{len(items.ids)} items, ids of {shape.sizes} codes, lists of {K}, beam of {shape.beam_width}")
    names = ("generated", "no item", "not allowed", "repeated", "short lists", "items/s", "p50 ms")
    print(f"{'':<14}" + "".join(f"{name:>13}" for name in names))
    for name, tally in tallies.items():
        figures = (tally.generated, tally.no_item, tally.not_allowed, tally.repeated, tally.short_lists)
        speed = (tally.generated - tally.no_item - tally.not_allowed) / tally.seconds
        cells = [f"{figure:>13,}" for figure in figures]
        print(f"{name:<14}" + "".join(cells) + f"{speed:>13,.0f}{np.median(tally.milliseconds):>13.1f}")
    print(f"{'limit':<14}{f'>= {n_generated:,}':>13}{0:>13}{0:>13}{0:>13}{0:>13}")


def _print_ranking(
    training: Path,
    vectors: Path,
    models: dict[str, GenerativeModel],
    recipe: Recipe,
    folder: Path,
    with_sequence: bool,
) -> None:
    items = ItemVectors.load(vectors)
    rankers: dict[str, Scores] = {"popularity": PopularityRanker(items), "text encoder": TextRanker(items)}
    for softmax, model in models.items():
        rankers[f"generative, softmax over {softmax}"] = GenerativeRanker(items, model).at_least(K)
    if with_sequence:
        history = recipe.features.max_history
        fit_sequence(
            FitContext(training, SEED, k=K, threads=1, progress=print),
            vectors,
            folder / "sequence",
            recipe.sequence,
            history,
        )
        rankers["sequence"] = Ranker(items, load_sequence_model(folder / "sequence", items))
    queries = read_queries(training, "test")
    print(f"\nstrict leave-one-out, {len(queries)} users, 1 seed\n{'':<34}{'R@10':>8}{'N@10':>8}")
    for name, ranker in rankers.items():
        judged = evaluate_ranker(ranker, queries, K).summary()
        print(f"{name:<34}{judged['recall_at_10']:>8.4f}{judged['ndcg_at_10']:>8.4f}")
    print(f"{'TIGER on Beauty (published)':<34}{TIGER[0]:>8.4f}{TIGER[1]:>8.4f}")


if __name__ == "__main__":
    main()
