"""Generated items are valid: `python -m benchmarks.generative_validity` generates 100,000 and counts the invalid ones.

Half of the histories are users', half are random items; every other request has a random filter beside its seen items.
The peer is the same network trained over all codes of a level, as published (TIGER), and decoded by a beam of the same
width that knows neither trie nor filter: what is no item, or is not allowed, is counted. items/s counts valid ones, in
batches of 32; p50 is of one request at a time. Everything runs on one thread.

Without --data the catalogue is synthetic. With it, the data go through the product's own reader and data gate, and a
second table ranks by strict leave-one-out: R@10 and N@10 of the whole catalogue, seen items masked; TIGER's figures are
published ones.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from benchmarks.harness import options
from benchmarks.harness.datasets import history, open_dataset, write_training_tables
from benchmarks.harness.models import Fits, K, recall_and_ndcg
from benchmarks.harness.tables import RANKING_COLUMNS, print_table
from benchmarks.harness.timing import timed
from core import schema
from recommender.encoders.whitening import WHITENING_FILE, Whitening
from recommender.inputs.catalogue import Catalogue
from recommender.inputs.item_vectors import ItemVectors
from recommender.inputs.queries import read_queries
from recommender.metrics.top_k import Scores
from recommender.retrieval.generative.model import GenerativeModel, right_padded
from recommender.retrieval.generative.ranker import GenerativeRanker
from recommender.retrieval.generative.search import search
from recommender.retrieval.popularity import PopularityRanker
from recommender.retrieval.text.ranker import TextRanker

SEED = 0
N_GROUPS = 40
TIGER = (0.0648, 0.0384)

BATCH = 32
TIMED_ALONE = 200
NO_ITEM = 0

# A history as item indices, and what the request allows: shape (n_items,), bool.
Request = tuple[list[int], torch.Tensor]
# Histories, right-padded, and what each allows -> per history K item indices, NO_ITEM for an id that is no item.
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
    parser = options.command(__doc__)
    options.add_source(parser, instead="a synthetic catalogue")
    options.add_recipe(parser)
    parser.add_argument("--generated", type=int, default=100_000, help="items to generate, at least")
    parser.add_argument("--items", type=int, default=2000, help="of the synthetic catalogue")
    parser.add_argument("--no-sequence", action="store_true", help="leave the sequence model out of the ranking")
    chosen = options.parse(parser, arguments)
    recipe = options.recipe_of(chosen)
    torch.set_num_threads(1)
    fits = Fits(recipe, SEED, 1)
    with open_dataset(recipe, chosen.cache) as data:
        vectors = data.work / "vectors"
        if options.has_data(chosen):
            training = data.leave_one_out("strict")
            fits.embed(training, vectors)
        else:
            training = data.work / "training"
            _write_synthetic(training, vectors, chosen.items)
        models = {}
        for softmax in ("trie", "codes"):
            settings = recipe.generative.model_copy(update={"softmax": softmax})
            fit = fits.with_settings(generative=settings).fit_generative
            models[softmax] = fit(training, vectors, data.work / softmax)
        _print_validity(training, ItemVectors.load(vectors), models, chosen.generated)
        if options.has_data(chosen):
            rankers = _rankers(ItemVectors.load(vectors), models)
            if not chosen.no_sequence:
                rankers["sequence"], _ = fits.sequence_ranker(training, vectors, data.work / "sequence")
            _print_ranking(training, rankers)


def _write_synthetic(training: Path, vectors: Path, n_items: int) -> None:
    """Each user walks through a group of items; the vectors of a group's items are similar."""
    generator = np.random.default_rng(SEED)
    names = [f"i{number}" for number in range(n_items)]
    groups = generator.integers(0, N_GROUPS, n_items)
    members = [np.flatnonzero(groups == group) for group in range(N_GROUPS)]
    walks: list[list[str]] = []
    for group in generator.integers(0, N_GROUPS, n_items):
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
    known = [{schema.USER_ID: f"u{n}", **history(walk[:-1])} for n, walk in enumerate(walks)]
    queries = [
        {**row, schema.SPLIT: "validation", schema.TARGETS: walk[-1:]} for row, walk in zip(known, walks, strict=True)
    ]
    write_training_tables(training, {"catalogue": catalogue, "sequences": known, "queries": queries})
    order = Catalogue.read(training, SEED)
    places = [names.index(item) for item in order.ids]
    content = generator.normal(size=(N_GROUPS, 32))[groups] + 0.5 * generator.normal(size=(n_items, 32))
    content /= np.linalg.norm(content, axis=1, keepdims=True)
    vectors.mkdir()
    ItemVectors.from_rows(order, content[places]).save(vectors)
    Whitening(np.zeros(32, dtype=np.float32), np.eye(32, dtype=np.float32)).save(vectors / WHITENING_FILE)


def _requests(training: Path, items: ItemVectors, n: int) -> list[Request]:
    generator = np.random.default_rng(SEED)
    users, n_items = read_queries(training, "validation").users, len(items.ids)
    requests: list[Request] = []
    for number in range(n):
        if number % 2:
            seen = generator.choice(n_items, generator.integers(0, min(50, n_items // 2)), replace=False) + 1
        else:
            user = users[generator.integers(len(users))]
            seen = np.array(items.ids.known_indices(user.items), dtype=np.int64)
        # At least k items are left, from a few to all of them.
        share = 1.0 if number % 4 < 2 else generator.uniform() ** 3
        allowed = generator.uniform(size=n_items) <= share
        allowed[generator.choice(n_items, 2 * K + len(seen), replace=False)] = True
        allowed[seen - 1] = False
        requests.append((seen.tolist(), torch.from_numpy(allowed)))
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
        read = right_padded([seen for seen, _ in batch], max_history)
        allowed = torch.stack([mask for _, mask in batch])
        lists, seconds = timed(lambda: find(read, allowed))  # noqa: B023
        tally.seconds += seconds
        for listed, mask in zip(lists, allowed, strict=True):
            good = {item for item in listed if item != NO_ITEM and mask[item - 1]}
            tally.generated += len(listed)
            tally.no_item += listed.count(NO_ITEM)
            tally.not_allowed += sum(item != NO_ITEM and item not in good for item in listed)
            tally.repeated += len(listed) - listed.count(NO_ITEM) - len({*listed} - {NO_ITEM})
            tally.short_lists += len(good) < K
    for seen, mask in requests[:TIMED_ALONE]:
        _, seconds = timed(lambda: find(right_padded([seen], max_history), mask[None]))  # noqa: B023
        tally.milliseconds.append(1000 * seconds)
    return tally


def _print_validity(training: Path, items: ItemVectors, models: dict[str, GenerativeModel], n_generated: int) -> None:
    requests = _requests(training, items, -(-n_generated // K))
    shape = models["trie"].shape
    tallies = {
        "sommelier": _generate(_constrained(models["trie"]), requests, shape.max_history),
        "unconstrained": _generate(_free(models["codes"]), requests, shape.max_history),
    }
    print(f"\n{len(items.ids)} items, ids of {shape.sizes} codes, lists of {K}, beam of {shape.beam_width}")
    head = ["", "generated", "no item", "not allowed", "repeated", "short lists", "items/s", "p50 ms"]
    rows = []
    for name, tally in tallies.items():
        counts = (tally.generated, tally.no_item, tally.not_allowed, tally.repeated, tally.short_lists)
        speed = (tally.generated - tally.no_item - tally.not_allowed) / tally.seconds
        rows.append(
            [name, *(f"{count:,}" for count in counts), f"{speed:,.0f}", f"{np.median(tally.milliseconds):.1f}"]
        )
    print_table(head, [*rows, ["limit", f">= {n_generated:,}", "0", "0", "0", "0", "", ""]])


def _rankers(items: ItemVectors, models: dict[str, GenerativeModel]) -> dict[str, Scores]:
    rankers: dict[str, Scores] = {"popularity": PopularityRanker(items), "text encoder": TextRanker(items)}
    for softmax, model in models.items():
        rankers[f"generative, softmax over {softmax}"] = GenerativeRanker(items, model).at_least(K)
    return rankers


def _print_ranking(training: Path, rankers: dict[str, Scores]) -> None:
    queries = read_queries(training, "test")
    print(f"\nstrict leave-one-out, {len(queries)} users, 1 seed")
    figures = {name: recall_and_ndcg(ranker, queries) for name, ranker in rankers.items()}
    figures["TIGER on Beauty (published)"] = TIGER
    rows = [[name, f"{recall:.4f}", f"{ndcg:.4f}"] for name, (recall, ndcg) in figures.items()]
    print_table(["model", *RANKING_COLUMNS], rows)


if __name__ == "__main__":
    main()
